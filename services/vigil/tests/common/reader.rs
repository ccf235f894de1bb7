//! Somebody who reads a stream, comes back with the cursor, and keeps what it read.

use std::collections::HashSet;

use tokio::time::timeout;
use tonic::transport::Channel;
use vigil_proto::v1;
use vigil_proto::v1::event_stream_service_client::EventStreamServiceClient;
use vigil_proto::v1::subscribe_response::Message;

use super::PATIENCE;

#[derive(Default)]
pub struct Reader {
    cursor: String,
    /// Ids of events.
    pub seen: HashSet<String>,
    /// What it was told that the stream is not.
    pub gaps: Vec<v1::GapReason>,
}

impl Reader {
    /// Reads on, from the oldest event at first, until it has seen enough.
    pub async fn read_until(&mut self, channel: Channel, enough: impl Fn(&HashSet<String>) -> bool) {
        let start = v1::SubscribeStart::Oldest.into();
        let request = v1::SubscribeRequest { cursor: self.cursor.clone(), start, ..Default::default() };
        let mut stream = EventStreamServiceClient::new(channel).subscribe(request).await.unwrap().into_inner();
        while !enough(&self.seen) {
            let next = timeout(PATIENCE, stream.message()).await.expect("the stream brings what is missing");
            match next.unwrap().unwrap().message.unwrap() {
                Message::Delivery(delivery) => {
                    self.seen.insert(delivery.event.unwrap().event_id);
                    self.cursor = delivery.cursor;
                }
                Message::Gap(gap) => self.gaps.push(gap.reason()),
                Message::Heartbeat(_) | Message::Region(_) => {}
            }
        }
    }
}
