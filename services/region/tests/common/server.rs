//! A region that serves on this machine, and an edge that publishes to it over gRPC.

use std::path::Path;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt;
use vigil_base::event::Event;
use vigil_base::{InstanceId, SharedClock};
use vigil_proto::convert::{event_to_wire, time_to_wire};
use vigil_proto::v1;
use vigil_proto::v1::camera_service_client::CameraServiceClient;
use vigil_proto::v1::event_ingest_service_client::EventIngestServiceClient;
use vigil_proto::v1::event_query_service_client::EventQueryServiceClient;
use vigil_proto::v1::event_stream_service_client::EventStreamServiceClient;
use vigil_proto::v1::region_service_client::RegionServiceClient;
use vigil_proto::v1::{publish_request, publish_response, subscribe_response};
use vigil_region::{RegionConfig, RegionServer};

use super::{REGION, afternoon, region};

pub struct TestRegion {
    server: Option<RegionServer>,
    channel: Channel,
}

impl TestRegion {
    /// By a clock that stands an hour after the events' noon, so that retention leaves them alone.
    pub async fn start(data_dir: &Path) -> Self {
        Self::start_with(RegionConfig::local(region(), data_dir), afternoon()).await
    }

    pub async fn start_with(config: RegionConfig, clock: SharedClock) -> Self {
        Self::serving(RegionServer::start_at(config, clock).await.unwrap()).await
    }

    /// One that was started otherwise.
    pub async fn serving(server: RegionServer) -> Self {
        let channel = connect(&format!("http://{}", server.grpc_address())).await;
        Self { server: Some(server), channel }
    }

    pub async fn stop(mut self) {
        let server = self.server.take().unwrap();
        drop(self);
        server.stop().await;
    }

    /// Where others find it.
    pub fn address(&self) -> String {
        format!("http://{}", self.server.as_ref().unwrap().grpc_address())
    }

    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// What Prometheus would scrape.
    pub async fn metrics(&self) -> String {
        let address = self.server.as_ref().unwrap().ops_address();
        http_get(address, "/metrics").await
    }

    /// What is wrong with it.
    pub async fn health(&self) -> String {
        let address = self.server.as_ref().unwrap().ops_address();
        http_get(address, "/healthz").await
    }

    pub fn query(&self) -> EventQueryServiceClient<Channel> {
        EventQueryServiceClient::new(self.channel.clone()).max_decoding_message_size(64 << 20)
    }

    pub fn stream(&self) -> EventStreamServiceClient<Channel> {
        EventStreamServiceClient::new(self.channel.clone())
    }

    pub fn cameras(&self) -> CameraServiceClient<Channel> {
        CameraServiceClient::new(self.channel.clone())
    }

    pub fn regions(&self) -> RegionServiceClient<Channel> {
        RegionServiceClient::new(self.channel.clone())
    }

    pub async fn status(&self) -> v1::RegionStatus {
        let answer = self.regions().get_status(v1::GetStatusRequest::default()).await.unwrap().into_inner();
        answer.statuses.into_iter().next().unwrap()
    }

    /// An edge of a new installation.
    pub async fn edge(&self, edge: &str) -> Edge {
        self.edge_instance(edge, &InstanceId::random().to_string()).await.unwrap()
    }

    pub async fn edge_instance(&self, edge: &str, instance: &str) -> Result<Edge, Status> {
        Edge::connect(self.channel.clone(), hello(edge, instance)).await
    }

    /// A raw publish stream: whatever is sent, and the first answer to it.
    pub async fn publish_raw(&self, requests: Vec<publish_request::Message>) -> Result<v1::PublishResponse, Status> {
        let (sender, stream) = mpsc::channel(16);
        for message in requests {
            sender.send(v1::PublishRequest { message: Some(message) }).await.unwrap();
        }
        let mut client = EventIngestServiceClient::new(self.channel.clone()).max_encoding_message_size(usize::MAX);
        let mut answers = client.publish(ReceiverStream::new(stream)).await?.into_inner();
        let mut last = Err(Status::ok("the stream ended without an answer"));
        while let Some(answer) = answers.message().await? {
            last = Ok(answer);
        }
        last
    }

    /// All ids that a search finds, page by page.
    pub async fn search_all(&self, filter: v1::EventFilter, page_size: i32) -> Vec<v1::Event> {
        let (mut events, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = v1::SearchRequest { filter: Some(filter.clone()), page_size, page_token, after: None };
            let page = self.query().search(request).await.unwrap().into_inner();
            assert_eq!(page.regions.len(), 1);
            assert_eq!(page.regions[0].outcome(), v1::RegionOutcome::Answered);
            events.extend(page.events);
            if page.next_page_token.is_empty() {
                return events;
            }
            page_token = page.next_page_token;
        }
    }
}

pub async fn connect(address: &str) -> Channel {
    Channel::from_shared(address.to_owned()).unwrap().connect().await.unwrap()
}

pub fn hello(edge: &str, instance: &str) -> v1::PublishHello {
    v1::PublishHello {
        edge_id: edge.to_owned(),
        instance_id: instance.to_owned(),
        region_id: REGION.to_owned(),
        software_version: "1.2.3".to_owned(),
        cameras: Vec::new(),
        marks: Vec::new(),
    }
}

pub fn record(event: &Event) -> v1::EventRecord {
    record_with(event, Bytes::new())
}

pub fn record_with(event: &Event, thumbnail_jpeg: Bytes) -> v1::EventRecord {
    v1::EventRecord { event: Some(event_to_wire(event)), thumbnail_jpeg }
}

/// An edge's stream.
pub struct Edge {
    requests: mpsc::Sender<v1::PublishRequest>,
    answers: Streaming<v1::PublishResponse>,
    sequence: u64,
    pub welcome: v1::PublishWelcome,
}

impl Edge {
    pub async fn connect(channel: Channel, hello: v1::PublishHello) -> Result<Self, Status> {
        let (requests, stream) = mpsc::channel(16);
        let message = Some(publish_request::Message::Hello(hello));
        requests.send(v1::PublishRequest { message }).await.unwrap();
        let mut client = EventIngestServiceClient::new(channel).max_encoding_message_size(usize::MAX);
        let mut answers = client.publish(ReceiverStream::new(stream)).await?.into_inner();
        let first = answers.message().await?.and_then(|answer| answer.message);
        let Some(publish_response::Message::Welcome(welcome)) = first else { panic!("no welcome: {first:?}") };
        Ok(Self { requests, answers, sequence: 0, welcome })
    }

    /// Sends a batch without waiting for its acknowledgement; returns its sequence.
    pub async fn send(&mut self, records: Vec<v1::EventRecord>) -> u64 {
        self.sequence += 1;
        let batch = v1::EventBatch { sequence: self.sequence, records };
        self.say(publish_request::Message::Batch(batch)).await;
        self.sequence
    }

    pub async fn say(&mut self, message: publish_request::Message) {
        // A region that was killed takes nothing more; the acknowledgement that stays away tells.
        let _ = self.requests.send(v1::PublishRequest { message: Some(message) }).await;
    }

    pub async fn heartbeat(&mut self, heartbeat: v1::PublishHeartbeat) {
        self.say(publish_request::Message::Heartbeat(heartbeat)).await;
    }

    /// The next acknowledgement, or why the stream ended.
    pub async fn ack(&mut self) -> Result<v1::BatchAck, Status> {
        match self.answers.message().await?.and_then(|answer| answer.message) {
            Some(publish_response::Message::Ack(ack)) => Ok(ack),
            other => Err(Status::unavailable(format!("the stream ended: {other:?}"))),
        }
    }

    /// Sends what was watched, and waits until it is stored.
    pub async fn report(&mut self, reports: Vec<v1::CoverageReport>) -> v1::CoverageAck {
        self.say(publish_request::Message::Coverage(v1::CoverageBatch { sequence: 99, reports })).await;
        let answer = self.answers.message().await.unwrap().and_then(|answer| answer.message);
        let Some(publish_response::Message::CoverageAck(ack)) = answer else {
            panic!("no acknowledgement: {answer:?}")
        };
        ack
    }

    pub async fn publish(&mut self, events: &[Event]) -> v1::BatchAck {
        let sequence = self.send(events.iter().map(record).collect()).await;
        let ack = self.ack().await.unwrap();
        assert_eq!(ack.sequence, sequence);
        ack
    }
}

pub fn heartbeat(edge_time: vigil_base::Timestamp, complete_until: vigil_base::Timestamp) -> v1::PublishHeartbeat {
    v1::PublishHeartbeat {
        edge_time: Some(time_to_wire(edge_time)),
        complete_until: Some(time_to_wire(complete_until)),
        backlog: 3,
        cameras: Vec::new(),
    }
}

/// A minute in which a camera was watched all the time.
pub fn watched<'c>(minute: vigil_base::Timestamp, cameras: impl IntoIterator<Item = &'c str>) -> v1::CoverageReport {
    let tally = v1::CoverageTally { accounted_ms: 60_000, watched_ms: 60_000, ..Default::default() };
    let watched =
        |camera: &str| v1::CameraCoverage { camera_id: camera.to_owned(), tally: Some(tally), ..Default::default() };
    v1::CoverageReport {
        report_id: uuid::Uuid::now_v7().to_string(),
        minute: Some(time_to_wire(minute)),
        cameras: cameras.into_iter().map(watched).collect(),
    }
}

/// A subscription, read message by message.
pub struct Subscription {
    messages: Streaming<v1::SubscribeResponse>,
    /// Of the last message that had one.
    pub cursor: String,
}

impl Subscription {
    pub async fn open(region: &TestRegion, request: v1::SubscribeRequest) -> Result<Self, Status> {
        Self::open_with(region, tonic::Request::new(request)).await
    }

    /// The same for who says who it is.
    pub async fn open_with(region: &TestRegion, request: tonic::Request<v1::SubscribeRequest>) -> Result<Self, Status> {
        let messages = region.stream().subscribe(request).await?.into_inner();
        let mut subscription = Self { messages, cursor: String::new() };
        let first = subscription.next().await?;
        assert!(
            matches!(first, subscribe_response::Message::Heartbeat(_)),
            "a stream begins with a heartbeat: {first:?}"
        );
        Ok(subscription)
    }

    pub async fn next(&mut self) -> Result<subscribe_response::Message, Status> {
        let message = self.messages.message().await?.and_then(|response| response.message);
        let message = message.ok_or_else(|| Status::ok("the stream ended"))?;
        match &message {
            subscribe_response::Message::Delivery(delivery) => self.cursor.clone_from(&delivery.cursor),
            subscribe_response::Message::Heartbeat(heartbeat) => self.cursor.clone_from(&heartbeat.cursor),
            _ => {}
        }
        Ok(message)
    }

    /// The next event.
    pub async fn event(&mut self) -> Result<v1::Event, Status> {
        loop {
            if let subscribe_response::Message::Delivery(delivery) = self.next().await? {
                return Ok(delivery.event.unwrap());
            }
        }
    }
}

/// Code and reason of an error, as clients branch on them.
pub fn reason(status: &Status) -> (Code, String) {
    let details = status.get_error_details();
    (status.code(), details.error_info().map(|info| info.reason.clone()).unwrap_or_default())
}

/// The body of an answer; the server closes the connection after it.
pub async fn http_get(address: std::net::SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: region\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Asks again and again until there is an answer; what a region learns from a connection takes it a moment.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let poll = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    let patience = std::time::Duration::from_mins(1);
    tokio::time::timeout(patience, poll).await.unwrap_or_else(|_| panic!("did not happen: {what}"))
}
