//! The body of an answer, which holds its requester's place until it has gone out, and ends with its token.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Sleep, sleep};
use tonic::Status;

use super::limits::Place;
use crate::{ErrorCode, ServiceError};

/// Longest time that is waited for: beyond it the timer's own range ends, and no token lives so long.
const LONGEST: Duration = Duration::from_hours(365 * 24);

/// An answer on its way out.
pub(super) struct Held {
    /// None once it has ended.
    body: Option<Body>,
    _place: Option<Place>,
    end: Option<Pin<Box<Sleep>>>,
}

impl Held {
    /// `left` is the time until the requester's token ends.
    pub(super) fn new(body: Body, place: Option<Place>, left: Option<Duration>) -> Self {
        Self { body: Some(body), _place: place, end: left.map(|left| Box::pin(sleep(left.min(LONGEST)))) }
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.body.is_some() && self.end.as_mut().is_some_and(|end| end.as_mut().poll(context).is_ready()) {
            self.body = None;
            return Poll::Ready(Some(Ok(Frame::trailers(ended()))));
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

fn ended() -> http::HeaderMap {
    let error = ServiceError::new(ErrorCode::Unauthenticated, "the token has ended: sign in again, and resume");
    let (mut parts, ()) = Status::from(error).into_http::<()>().into_parts();
    parts.headers.remove(http::header::CONTENT_TYPE);
    parts.headers
}
