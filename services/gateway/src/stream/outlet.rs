//! The subscriber's end of a live stream.
//!
//! A bounded queue. When it is full the regions are no longer read, and flow control holds them back. A subscriber that
//! takes nothing for its patience is ended with a status that names the cursor of the last message it took; what still
//! waited in the queue is dropped, and comes again when the stream is resumed there.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::Status;
use vigil_proto::v1;
use vigil_proto::v1::subscribe_response::Message;
use vigil_serve::{ErrorCode, ServiceError};

/// Messages that wait for the subscriber: a burst, while the network turns round.
const QUEUE: usize = 64;
/// Longest cursor that is put into a status: it travels in a header, and clients take 16 KiB of those.
const MAX_CURSOR_IN_STATUS: usize = 4 * 1024;

/// Why the server ends a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The subscriber took nothing for this long.
    TooSlow(Duration),
    /// The server shuts down.
    ShutDown,
    /// The gateway has other regions now, and can no longer serve this stream over those that are meant.
    OtherRegions,
}

impl End {
    fn status(self, cursor: &str) -> Status {
        let place = if cursor.len() <= MAX_CURSOR_IN_STATUS { cursor } else { "of the last message" };
        match self {
            Self::TooSlow(patience) => {
                let message = format!("nothing was read for {} s; resume with cursor {place}", patience.as_secs());
                ServiceError::new(ErrorCode::LimitReached, message).into()
            }
            Self::OtherRegions => {
                let message = format!("this gateway has other regions now; resume with cursor {place}");
                ServiceError::new(ErrorCode::Unavailable, message).into()
            }
            Self::ShutDown => {
                let message = format!("this gateway shuts down; resume at another with cursor {place}");
                ServiceError::new(ErrorCode::Unavailable, message).into()
            }
        }
    }
}

/// The server's side of the queue.
#[derive(Debug)]
pub(super) struct Outlet {
    queue: mpsc::Sender<v1::SubscribeResponse>,
    end: Arc<Mutex<Option<End>>>,
    patience: Duration,
}

/// What the gRPC server reads from.
#[derive(Debug)]
pub(crate) struct ClientStream {
    queue: mpsc::Receiver<v1::SubscribeResponse>,
    end: Arc<Mutex<Option<End>>>,
    /// Of the last message taken.
    cursor: String,
    ended: bool,
}

/// The subscriber is gone, or was too slow: the stream is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Over;

/// A stream to a subscriber who stands at `cursor`.
pub(super) fn open(cursor: String, patience: Duration) -> (Outlet, ClientStream) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let end = Arc::new(Mutex::new(None));
    let outlet = Outlet { queue: sender, end: end.clone(), patience };
    (outlet, ClientStream { queue: receiver, end, cursor, ended: false })
}

impl Outlet {
    /// Hands one message over, waiting for room as long as the subscriber's patience.
    pub(super) async fn send(&self, message: Message) -> Result<(), Over> {
        let response = v1::SubscribeResponse { message: Some(message) };
        match tokio::time::timeout(self.patience, self.queue.send(response)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Over),
            Err(_) => {
                self.finish(End::TooSlow(self.patience));
                metrics::counter!("vigil_gateway_subscribers_too_slow_total").increment(1);
                Err(Over)
            }
        }
    }

    /// Ends the stream from this side.
    pub(super) fn finish(&self, end: End) {
        *self.end.lock() = Some(end);
    }

    /// Ready when the subscriber has gone.
    pub(super) async fn closed(&self) {
        self.queue.closed().await;
    }
}

impl Stream for ClientStream {
    type Item = Result<v1::SubscribeResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        // Before the queue and, as the end is said before the queue is closed, once more after it.
        if let Some(status) = self.take_end() {
            return Poll::Ready(Some(Err(status)));
        }
        let received = std::task::ready!(self.queue.poll_recv(cx));
        let Some(response) = received else {
            return Poll::Ready(self.take_end().map(Err));
        };
        match &response.message {
            Some(Message::Delivery(delivery)) => self.cursor.clone_from(&delivery.cursor),
            Some(Message::Heartbeat(heartbeat)) => self.cursor.clone_from(&heartbeat.cursor),
            Some(Message::Gap(_) | Message::Region(_)) | None => {}
        }
        Poll::Ready(Some(Ok(response)))
    }
}

impl ClientStream {
    fn take_end(&mut self) -> Option<Status> {
        let end = self.end.lock().take()?;
        self.ended = true;
        self.queue.close();
        Some(end.status(&self.cursor))
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;
    use tonic::Code;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);

    fn heartbeat(cursor: &str) -> Message {
        Message::Heartbeat(v1::StreamHeartbeat { cursor: cursor.into(), ..Default::default() })
    }

    #[tokio::test]
    async fn a_subscriber_that_stops_reading_is_told_where_it_stood() {
        let (outlet, mut stream) = open("c0".into(), PATIENCE);
        outlet.send(heartbeat("c1")).await.unwrap();
        stream.next().await.unwrap().unwrap();
        for i in 0..QUEUE {
            outlet.send(heartbeat(&format!("unread{i}"))).await.unwrap();
        }
        assert_eq!(outlet.send(heartbeat("too much")).await, Err(Over));
        let status = stream.next().await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().ends_with("cursor c1"), "{status}");
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn a_subscriber_that_reads_slowly_is_waited_for() {
        let (outlet, mut stream) = open("c0".into(), PATIENCE);
        let reading = async {
            // Three times the patience in all, a fraction of it at a time.
            for _ in 0..QUEUE * 2 {
                tokio::time::sleep(PATIENCE * 3 / (QUEUE as u32 * 2)).await;
                stream.next().await.unwrap().unwrap();
            }
        };
        let writing = async {
            for i in 0..QUEUE * 2 {
                outlet.send(heartbeat(&i.to_string())).await.unwrap();
            }
        };
        tokio::join!(reading, writing);
    }

    #[tokio::test]
    async fn shutdown_ends_the_stream_even_when_it_waits_for_news() {
        let (outlet, mut stream) = open("c0".into(), PATIENCE);
        let waiting = tokio::spawn(async move { stream.next().await });
        outlet.finish(End::ShutDown);
        drop(outlet);
        let status = waiting.await.unwrap().unwrap().unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.message().ends_with("cursor c0"), "{status}");
    }

    #[test]
    fn a_cursor_too_long_for_a_header_is_not_put_into_one() {
        let status = End::ShutDown.status(&"x".repeat(MAX_CURSOR_IN_STATUS + 1));
        assert!(status.message().len() < 200);
    }
}
