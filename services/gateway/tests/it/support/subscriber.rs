//! A subscriber, message by message.

use std::collections::BTreeMap;

use tonic::{Status, Streaming};
use vigil_proto::v1;
use vigil_proto::v1::subscribe_response::Message;

use super::{Gateway, PATIENCE};

/// A subscriber to a gateway's stream.
pub struct Subscriber(pub Streaming<v1::SubscribeResponse>);

impl Subscriber {
    /// From now on, or as asked for.
    pub async fn start(gateway: &Gateway, request: v1::SubscribeRequest) -> Self {
        Self(gateway.stream().subscribe(request).await.unwrap().into_inner())
    }

    /// After a cursor.
    pub async fn resume(gateway: &Gateway, cursor: &str) -> Self {
        Self::start(gateway, v1::SubscribeRequest { cursor: cursor.into(), ..Default::default() }).await
    }

    /// All that is held, and then what comes.
    pub async fn oldest(gateway: &Gateway) -> Self {
        let start = v1::SubscribeStart::Oldest.into();
        Self::start(gateway, v1::SubscribeRequest { start, ..Default::default() }).await
    }

    /// The next message, or how the stream ended.
    pub async fn next(&mut self) -> Result<Message, Status> {
        let message = tokio::time::timeout(PATIENCE, self.0.message()).await.expect("a message in time")?;
        Ok(message.expect("the stream does not end by itself").message.unwrap())
    }

    /// The next event.
    pub async fn delivery(&mut self) -> v1::EventDelivery {
        loop {
            if let Message::Delivery(delivery) = self.next().await.unwrap() {
                return delivery;
            }
        }
    }

    /// The seconds of the next `count` events, by region, and the last cursor.
    pub async fn take(&mut self, count: usize) -> (BTreeMap<String, Vec<i64>>, String) {
        let (mut seconds, mut cursor) = (BTreeMap::<String, Vec<i64>>::new(), String::new());
        for _ in 0..count {
            let delivery = self.delivery().await;
            let event = delivery.event.unwrap();
            seconds.entry(event.region_id).or_default().push(event.begin_time.unwrap().seconds);
            cursor = delivery.cursor;
        }
        (seconds, cursor)
    }

    /// The next report on a region.
    pub async fn report(&mut self) -> v1::RegionReport {
        loop {
            if let Message::Region(report) = self.next().await.unwrap() {
                return report;
            }
        }
    }

    /// The next report of this outcome on that region.
    pub async fn report_on(&mut self, region: &str, outcome: v1::RegionOutcome) -> v1::RegionReport {
        loop {
            let report = self.report().await;
            if (report.region_id.as_str(), report.outcome()) == (region, outcome) {
                return report;
            }
        }
    }

    /// The next heartbeat.
    pub async fn heartbeat(&mut self) -> v1::StreamHeartbeat {
        loop {
            if let Message::Heartbeat(heartbeat) = self.next().await.unwrap() {
                return heartbeat;
            }
        }
    }
}
