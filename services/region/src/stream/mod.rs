//! `EventStreamService`: events as they are committed, from a cursor.
//!
//! A subscriber has a place in the commit order and reads on from there: at the live end from memory, further back from
//! the index ([`crate::index::CommitFeed`]). Nothing is kept for it but its place and a few messages, so a slow
//! subscriber costs nothing, and falls back; one that takes nothing at all is ended, and told its cursor.

mod subscriber;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, async_trait};
use vigil_base::Timestamp;
use vigil_proto::convert::time_from_wire;
use vigil_proto::v1;
use vigil_proto::v1::event_stream_service_server::{EventStreamService, EventStreamServiceServer};
use vigil_serve::grpc::MAX_MESSAGE_BYTES;
use vigil_serve::{ErrorCode, ServiceError, Trail};

use self::subscriber::{Subscriber, Subscription};
use crate::context::Context;
use crate::guard::Guest;
use crate::index::CommitSeq;
use crate::query::checked_filter;
use crate::tokens::{FilterHash, Resumed};

/// Messages that wait for a subscriber's transport: enough to keep it busy between two turns of its task.
const MESSAGES_WAITING: usize = 64;

/// The service.
pub(crate) struct StreamService {
    context: Arc<Context>,
    shutdown: CancellationToken,
    subscribers: Arc<AtomicUsize>,
}

impl StreamService {
    pub(crate) fn server(context: Arc<Context>, shutdown: CancellationToken) -> EventStreamServiceServer<Self> {
        EventStreamServiceServer::new(Self { context, shutdown, subscribers: Arc::default() })
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Checks what is asked for, and where it starts.
    async fn open(&self, request: &v1::SubscribeRequest) -> Result<Subscription, ServiceError> {
        let filter = checked_filter(request.filter.clone())?;
        let since = request.since.map(|at| time_from_wire("since", at)).transpose()?;
        let hash = FilterHash::of(&filter);
        let (lineage, latest) = (self.context.guard.lineage(), *self.context.guard.latest().borrow());
        // A cursor of the region's may be ahead of a replica, which waits until it is there.
        let newest_given = if self.context.is_replica { CommitSeq(u64::MAX) } else { latest };
        let at = |after| Resumed { after, is_set_back: false };
        let Resumed { after: start, is_set_back } = match (request.cursor.as_str(), since, request.start()) {
            ("", Some(since), _) => at(self.seek(since).await?),
            ("", None, v1::SubscribeStart::Oldest) => at(CommitSeq(0)),
            ("", None, _) => at(latest),
            (cursor, ..) => self.context.tokens.open_cursor(cursor, &hash, newest_given, &lineage)?,
        };
        // Who names no place asked for what is there, and misses nothing.
        let names_a_place = since.is_some() || !request.cursor.is_empty();
        let gaps_known_through = if names_a_place { start } else { latest };
        let is_asked = self.context.is_asked(&filter);
        Ok(Subscription { filter: Arc::new(filter), hash, is_asked, start, is_set_back, lineage, gaps_known_through })
    }

    async fn seek(&self, since: Timestamp) -> Result<CommitSeq, ServiceError> {
        self.context
            .guard
            .seek(since)
            .await
            .map_err(|error| self.context.failure("finding where the stream begins", &error))
    }

    fn enter(&self) -> Result<Place, ServiceError> {
        let most = self.context.limits.max_subscribers;
        let before = self.subscribers.fetch_add(1, Ordering::Relaxed);
        let place = Place { subscribers: Arc::clone(&self.subscribers), context: Arc::clone(&self.context) };
        self.context.telemetry.subscribed();
        if before >= most {
            let message = format!("{most} subscribers are connected; this region takes no more");
            return Err(ServiceError::new(ErrorCode::LimitReached, message));
        }
        Ok(place)
    }
}

/// A subscriber's place among those that may be connected; given back when dropped.
struct Place {
    subscribers: Arc<AtomicUsize>,
    context: Arc<Context>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.subscribers.fetch_sub(1, Ordering::Relaxed);
        self.context.telemetry.unsubscribed();
    }
}

#[async_trait]
impl EventStreamService for StreamService {
    type SubscribeStream = ReceiverStream<Result<v1::SubscribeResponse, Status>>;

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let (trail, requester) = (Trail::of(request.extensions()), Guest::of(request.extensions()));
        let subscription = self.open(request.get_ref()).await?;
        let place = self.enter()?;
        // One more than may wait: the last place is kept for the message that ends the stream.
        let (messages, stream) = mpsc::channel(MESSAGES_WAITING + 1);
        let farewell =
            messages.clone().reserve_owned().await.map_err(|_| Status::cancelled("the subscriber is gone"))?;
        let subscriber = Subscriber::new(Arc::clone(&self.context), subscription, requester, messages, trail);
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move {
            let _place = place;
            if let Some(error) = subscriber.run(&shutdown).await {
                farewell.send(Err(error.into()));
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}
