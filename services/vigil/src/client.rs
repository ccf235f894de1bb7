//! The command line as a client of a gateway or region.

use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tonic_types::StatusExt;
use vigil_proto::v1;
use vigil_proto::v1::camera_service_client::CameraServiceClient;
use vigil_proto::v1::event_query_service_client::EventQueryServiceClient;
use vigil_proto::v1::event_stream_service_client::EventStreamServiceClient;
use vigil_proto::v1::region_service_client::RegionServiceClient;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Whom to ask.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// Gateway or region to ask.
    #[arg(long, global = true, env = "VIGIL_SERVER", default_value = "http://127.0.0.1:7000", value_name = "URL")]
    pub server: String,
    /// How long an answer may take. A gateway answers within it with what it has.
    #[arg(long, global = true, default_value = "5s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
}

impl ServerArgs {
    /// A connection to the server.
    pub async fn connect(&self) -> anyhow::Result<Channel> {
        let endpoint = Endpoint::from_shared(self.server.clone())
            .with_context(|| format!("--server {:?} is not an address such as http://127.0.0.1:7000", self.server))?;
        let connected = endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true).connect().await;
        connected.with_context(|| format!("nothing answers at {}: is a gateway or region running there?", self.server))
    }

    /// A request that carries the deadline.
    pub fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.set_timeout(self.timeout);
        request
    }
}

/// Raises a service's own 4 MiB limit: pages of 1000 events are larger.
const MAX_ANSWER: usize = vigil_serve::grpc::MAX_MESSAGE_BYTES;

/// The query service.
pub fn queries(channel: Channel) -> EventQueryServiceClient<Channel> {
    EventQueryServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER)
}

/// The stream service.
pub fn streams(channel: Channel) -> EventStreamServiceClient<Channel> {
    EventStreamServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER)
}

/// The camera registry.
pub fn cameras(channel: Channel) -> CameraServiceClient<Channel> {
    CameraServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER)
}

/// The regions' state.
pub fn regions(channel: Channel) -> RegionServiceClient<Channel> {
    RegionServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER)
}

/// A refusal of the server as people should read it.
pub fn explain(status: &Status) -> anyhow::Error {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| format!(" [{}]", info.reason)).unwrap_or_default();
    let retry = details.retry_info().and_then(|info| info.retry_delay);
    let retry = retry.map(|delay| format!("; try again in {}", humantime::format_duration(delay))).unwrap_or_default();
    anyhow!("the server refused: {}{reason}{retry}", status.message())
}

/// Whether every region that was asked answered.
pub fn complete(reports: &[v1::RegionReport]) -> bool {
    reports.iter().all(|report| report.outcome() == v1::RegionOutcome::Answered)
}
