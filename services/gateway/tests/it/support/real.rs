//! Real regions in this process, each with its index on disk.

use std::net::SocketAddr;
use std::time::Duration;

use tempfile::TempDir;
use tokio_stream::StreamExt;
use tonic::transport::Channel;
use vigil_base::{InstanceId, RegionId, SharedClock, SystemClock, Timestamp};
use vigil_proto::convert::time_to_wire;
use vigil_proto::v1;
use vigil_proto::v1::event_ingest_service_client::EventIngestServiceClient;
use vigil_proto::v1::publish_request::Message as Publish;
use vigil_proto::v1::publish_response::Message as Answer;
use vigil_region::{RegionConfig, RegionServer};

use super::{ANY, PATIENCE, nth_event};

/// A region with its index on disk, and its place while it is down.
pub struct Region {
    pub id: String,
    folder: TempDir,
    pub address: SocketAddr,
    pub server: Option<RegionServer>,
}

impl Region {
    pub fn new(id: &str) -> Self {
        Self { id: id.to_owned(), folder: tempfile::tempdir().unwrap(), address: ANY, server: None }
    }

    pub async fn start(id: &str) -> Self {
        let mut region = Self::new(id);
        region.up().await;
        region
    }

    pub async fn up(&mut self) {
        self.up_by(SystemClock::shared()).await;
    }

    pub async fn up_by(&mut self, clock: SharedClock) {
        let mut config = RegionConfig::local(RegionId::new(&self.id).unwrap(), self.folder.path());
        config.listen = self.address;
        config.retention = Duration::from_hours(24 * 365 * 100);
        let server = RegionServer::start_at(config, clock).await.unwrap();
        self.address = server.grpc_address();
        self.server = Some(server);
    }

    pub async fn down(&mut self) {
        self.server.take().unwrap().stop().await;
    }

    pub fn named(&self) -> (&str, SocketAddr) {
        (&self.id, self.address)
    }

    /// Publishes as an edge does, and waits for the acknowledgement.
    pub async fn publish(&self, events: Vec<v1::Event>) {
        publish(self.named(), events).await;
    }

    /// Says one thing as an edge does; the answer to it.
    pub async fn tell(&self, message: Publish) -> Answer {
        tell(self.named(), message).await
    }
}

/// Publishes to a region as its edge does, and waits for the acknowledgement.
pub async fn publish(region: (&str, SocketAddr), events: Vec<v1::Event>) {
    let count = events.len() as u32;
    let record = |event| v1::EventRecord { event: Some(event), thumbnail_jpeg: vec![0xff, 0xd8, 0xff].into() };
    let batch = v1::EventBatch { sequence: 1, records: events.into_iter().map(record).collect() };
    let Answer::Ack(ack) = tell(region, Publish::Batch(batch)).await else { panic!("no acknowledgement") };
    assert_eq!((ack.accepted, ack.rejections), (count, Vec::new()));
}

async fn tell((id, address): (&str, SocketAddr), message: Publish) -> Answer {
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut client = EventIngestServiceClient::new(channel);
    let camera = v1::Camera { camera_id: "gate".into(), region_id: id.to_owned(), ..Default::default() };
    let hello = v1::PublishHello {
        edge_id: "edge".into(),
        instance_id: InstanceId::random().to_string(),
        region_id: id.to_owned(),
        software_version: "test".into(),
        cameras: vec![camera],
        marks: Vec::new(),
    };
    // The stream stays open until the answer is there.
    let (requests, receiver) = tokio::sync::mpsc::channel(2);
    for message in [Publish::Hello(hello), message] {
        requests.send(v1::PublishRequest { message: Some(message) }).await.unwrap();
    }
    let requests_stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut answers = client.publish(requests_stream).await.unwrap().into_inner();
    let answered = async {
        loop {
            match answers.next().await.unwrap().unwrap().message.unwrap() {
                Answer::Welcome(_) => {}
                answer => return answer,
            }
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.unwrap()
}

/// A whole event, as an edge sends it.
pub fn whole_event(region: &str, second: i64) -> v1::Event {
    let at = Some(time_to_wire(Timestamp::from_micros(second * 1_000_000)));
    let bbox = Some(v1::Box { left: 0.1, top: 0.1, width: 0.2, height: 0.2 });
    v1::Event {
        state: v1::EventState::Ended.into(),
        end_reason: v1::EndReason::Lost.into(),
        kind: v1::EventKind::Object.into(),
        confirm_time: at,
        best_time: at,
        best_box: bbox,
        confidence: 0.9,
        time_source: v1::TimeSource::Ntp.into(),
        model: Some(v1::ModelInfo { name: "model".into(), fingerprint: "0".repeat(64) }),
        receive_time: None,
        ..nth_event(region, second, 0)
    }
}
