//! What a region's stream moves to many subscribers, against a bare tonic stream of the same messages:
//! `cargo run --release -p vigil-region --example subscribers -- [SUBSCRIBERS]`.
//!
//! Servers and subscribers are in one process, each subscriber with a connection of its own, so both ways pay for the same
//! clients. The region's events are committed before the subscribers come: ingest is measured elsewhere. One JSON line.
#![allow(clippy::print_stdout, clippy::unwrap_used)] // The line is the measurement; what fails here ends it.

#[path = "../tests/common/mod.rs"]
mod common;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::Server;
use tonic::{Request, Response, Status, async_trait};
use vigil_base::{Clock, SystemClock};
use vigil_proto::v1;
use vigil_proto::v1::event_stream_service_client::EventStreamServiceClient;
use vigil_proto::v1::event_stream_service_server::{EventStreamService, EventStreamServiceServer};
use vigil_proto::v1::subscribe_response::Message;

use common::server::{TestRegion, connect};
use common::{event, secs};

/// Fewer than a region keeps in memory, and enough that connecting does not count.
const EVENTS: u64 = 4_000;
const BATCH: usize = 500;
const SUBSCRIBERS: usize = 100;
/// Both are measured in turns; the median counts.
const ROUNDS: usize = 5;
/// Messages that wait for a subscriber's transport, as a region has it.
const WAITING: usize = 64;

/// Sends the same messages to whoever asks.
struct Bare(Vec<v1::SubscribeResponse>);

#[async_trait]
impl EventStreamService for Bare {
    type SubscribeStream = ReceiverStream<Result<v1::SubscribeResponse, Status>>;

    async fn subscribe(&self, _: Request<v1::SubscribeRequest>) -> Result<Response<Self::SubscribeStream>, Status> {
        let (sender, stream) = mpsc::channel(WAITING);
        let messages = self.0.clone();
        tokio::spawn(async move {
            for message in messages {
                if sender.send(Ok(message)).await.is_err() {
                    break;
                }
            }
            sender.closed().await;
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

async fn serve(bare: Bare) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = TcpListenerStream::new(listener);
    tokio::spawn(Server::builder().add_service(EventStreamServiceServer::new(bare)).serve_with_incoming(incoming));
    address
}

/// Reads all events of a server's stream, as they came.
async fn read_all(address: String) -> Vec<v1::SubscribeResponse> {
    let start = v1::SubscribeStart::Oldest.into();
    let request = v1::SubscribeRequest { start, ..Default::default() };
    let mut client = EventStreamServiceClient::new(connect(&address).await);
    let mut stream = client.subscribe(request).await.unwrap().into_inner();
    let mut events = Vec::new();
    while events.len() < EVENTS as usize {
        let response = stream.message().await.unwrap().unwrap();
        if matches!(response.message, Some(Message::Delivery(_))) {
            events.push(response);
        }
    }
    events
}

/// How long so many subscribers take, all at once.
async fn time(address: &str, subscribers: usize) -> Duration {
    let watch = SystemClock::new();
    let mut reading = JoinSet::new();
    for _ in 0..subscribers {
        reading.spawn(read_all(address.to_owned()));
    }
    while let Some(read) = reading.join_next().await {
        read.unwrap();
    }
    watch.monotonic()
}

#[tokio::main]
async fn main() {
    let subscribers = std::env::args().nth(1).map_or(SUBSCRIBERS, |text| text.parse().expect("a number"));
    let folder = tempfile::tempdir().unwrap();
    let region = TestRegion::start(folder.path()).await;
    let mut edge = region.edge("edge-1").await;
    let events: Vec<_> = (0..EVENTS).map(|second| event(secs(second % 3_000))).collect();
    for batch in events.chunks(BATCH) {
        edge.publish(batch).await;
    }
    let region_address = region.address();
    let bare_address = format!("http://{}", serve(Bare(read_all(region_address.clone()).await)).await);
    let (mut of_region, mut of_bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        of_region.push(time(&region_address, subscribers).await);
        of_bare.push(time(&bare_address, subscribers).await);
    }
    let rate = |mut times: Vec<Duration>| {
        times.sort();
        subscribers as f64 * EVENTS as f64 / times[ROUNDS / 2].as_secs_f64()
    };
    let (of_region, of_bare) = (rate(of_region), rate(of_bare));
    println!(
        "{{\"subscribers\":{subscribers},\"events\":{EVENTS},\"events_per_s\":{of_region:.0},\"bare_per_s\":{of_bare:.0},\
         \"of_bare\":{:.3}}}",
        of_region / of_bare
    );
    region.stop().await;
}
