//! The body of an answer, which holds its requester's place until it has gone out, and ends with the token or certificate of
//! whoever asked.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tonic::Status;
use vigil_trust::{Ending, Over};

use super::limits::Place;
use crate::{ErrorCode, ServiceError};

/// Longest time that is waited for: beyond it the timer's own range ends, and no token lives so long.
const LONGEST: Duration = Duration::from_hours(365 * 24);
/// When whoever has a renewed certificate may come back.
const RETRY_RENEWED: Duration = Duration::from_secs(1);

/// What ends an answer before it is whole.
#[derive(Debug, Default)]
pub(super) struct Until {
    /// Time until the requester's token ends, where it showed one.
    pub(super) token: Option<Duration>,
    /// Of the connection, where there is a certificate that may end.
    pub(super) connection: Option<Ending>,
    /// The answer goes on and on: it ends with a certificate, where one that is at hand still goes out.
    pub(super) is_stream: bool,
}

impl Until {
    async fn over(self) -> ServiceError {
        let token = async {
            match self.token {
                Some(left) => tokio::time::sleep(left.min(LONGEST)).await,
                None => std::future::pending().await,
            }
        };
        let connection = async {
            let Some(ending) = &self.connection else { return std::future::pending().await };
            ending.told().await;
            match ending.over() {
                Some(over) if self.is_stream || !matches!(over, Over::Ended { .. }) => refusal(over),
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            () = token => ServiceError::new(ErrorCode::Unauthenticated, "the token has ended: sign in again, and resume"),
            refusal = connection => refusal,
        }
    }
}

/// What is said on a connection whose certificate is over. Whose certificate has merely ended may come back with the next.
pub(super) fn refusal(over: &Over) -> ServiceError {
    match over {
        Over::Ended { .. } => ServiceError::unavailable(over.to_string(), RETRY_RENEWED),
        Over::Refused { .. } => ServiceError::new(ErrorCode::Unauthenticated, over.to_string()),
    }
}

/// An answer on its way out.
pub(super) struct Held {
    /// None once it has ended.
    body: Option<Body>,
    _place: Option<Place>,
    end: Option<Pin<Box<dyn Future<Output = ServiceError> + Send>>>,
}

impl Held {
    pub(super) fn new(body: Body, place: Option<Place>, until: Until) -> Self {
        let ends = until.token.is_some() || until.connection.is_some();
        Self { body: Some(body), _place: place, end: ends.then(|| Box::pin(until.over()) as _) }
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.body.is_some()
            && let Some(Poll::Ready(error)) = self.end.as_mut().map(|end| end.as_mut().poll(context))
        {
            (self.body, self.end) = (None, None);
            return Poll::Ready(Some(Ok(Frame::trailers(trailers(error)))));
        }
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

fn trailers(error: ServiceError) -> http::HeaderMap {
    let (mut parts, ()) = Status::from(error).into_http::<()>().into_parts();
    parts.headers.remove(http::header::CONTENT_TYPE);
    parts.headers
}
