//! Events that a test makes up, published as an edge does.

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use vigil_base::{EventId, Timestamp};
use vigil_proto::convert::time_to_wire;
use vigil_proto::v1;
use vigil_proto::v1::event_ingest_service_client::EventIngestServiceClient;
use vigil_proto::v1::publish_request::Message;

/// The smallest JPEG that is one: start and end of image (ITU-T T.81, annex B).
pub const JPEG: &[u8] = &[0xff, 0xd8, 0xff, 0xd9];

/// An event of two seconds that has ended.
pub fn event(region: &str, camera: &str, class: &str, begin: Timestamp) -> v1::Event {
    let at = |seconds| Some(time_to_wire(begin + std::time::Duration::from_secs(seconds)));
    v1::Event {
        event_id: EventId::at(begin).to_string(),
        revision: 1,
        state: v1::EventState::Ended.into(),
        end_reason: v1::EndReason::Lost.into(),
        region_id: region.to_owned(),
        edge_id: "edge-1".to_owned(),
        camera_id: camera.to_owned(),
        kind: v1::EventKind::Object.into(),
        object_class: class.to_owned(),
        track_id: 1,
        begin_time: at(0),
        end_time: at(2),
        confirm_time: at(0),
        time_source: v1::TimeSource::Ntp.into(),
        confidence: 0.9,
        best_box: Some(v1::Box { left: 0.1, top: 0.2, width: 0.3, height: 0.4 }),
        best_time: at(1),
        model: Some(v1::ModelInfo { name: "test".to_owned(), fingerprint: "0".to_owned() }),
        ..v1::Event::default()
    }
}

/// What begins a stream of edge `edge-1`.
pub fn hello(region: &str) -> v1::PublishRequest {
    let hello = v1::PublishHello {
        edge_id: "edge-1".to_owned(),
        instance_id: vigil_base::InstanceId::random().to_string(),
        region_id: region.to_owned(),
        software_version: "test".to_owned(),
        cameras: Vec::new(),
        marks: Vec::new(),
    };
    v1::PublishRequest { message: Some(Message::Hello(hello)) }
}

/// A batch of `events`, each with a thumbnail.
pub fn batch(events: Vec<v1::Event>) -> v1::PublishRequest {
    let record = |event| v1::EventRecord { event: Some(event), thumbnail_jpeg: Bytes::from_static(JPEG) };
    let batch = v1::EventBatch { sequence: 1, records: events.into_iter().map(record).collect() };
    v1::PublishRequest { message: Some(Message::Batch(batch)) }
}

/// Publishes `events` to the region and returns when all are stored and the stream has ended in order.
pub async fn publish(channel: Channel, region: &str, events: Vec<v1::Event>) {
    let count = events.len();
    let (requests, outgoing) = mpsc::channel(2);
    requests.send(hello(region)).await.unwrap();
    requests.send(batch(events)).await.unwrap();
    let mut client = EventIngestServiceClient::new(channel);
    let mut answers = client.publish(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
    answers.message().await.unwrap().expect("a welcome");
    let answer = answers.message().await.unwrap().expect("an acknowledgement");
    let Some(v1::publish_response::Message::Ack(ack)) = answer.message else {
        panic!("no acknowledgement: {answer:?}")
    };
    assert_eq!(ack.accepted as usize, count, "{:?}", ack.rejections);
    drop(requests);
    assert_eq!(answers.message().await.unwrap(), None);
}
