//! What a running server shows, waited for.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use tonic::transport::Channel;
use vigil_proto::v1;
use vigil_proto::v1::event_query_service_client::EventQueryServiceClient;
use vigil_proto::v1::region_service_client::RegionServiceClient;

use super::PATIENCE;

/// Between two looks.
const POLL: Duration = Duration::from_millis(100);

/// Looks until there is something; panics with `what` was waited for when it never comes.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("never came: {what}"))
}

/// The body of an HTTP answer, whatever its status; nothing while nobody answers.
pub fn http_get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

/// Waits for a state of `/healthz`.
pub async fn health_until(ops: SocketAddr, what: &str, enough: impl Fn(&Value) -> bool) -> Value {
    let look = async || http_get(ops, "/healthz").and_then(|body| serde_json::from_str(&body).ok()).filter(&enough);
    eventually(what, look).await
}

/// What a component has on the board.
pub fn problem<'a>(health: &'a Value, component: &str) -> Option<&'a str> {
    let mut problems = health["problems"].as_array()?.iter();
    problems.find(|problem| problem["component"] == component)?["detail"].as_str()
}

/// A counter or gauge of `/metrics`; all of its labels stand in `series`.
pub fn metric(ops: SocketAddr, series: &str) -> Option<f64> {
    let shown = http_get(ops, "/metrics")?;
    shown.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
}

/// Waits for something in the state of the one region that answers.
pub async fn status_until<T>(channel: &Channel, what: &str, look: impl Fn(&v1::RegionStatus) -> Option<T>) -> T {
    let mut regions = RegionServiceClient::new(channel.clone());
    eventually(what, async || {
        let status = regions.get_status(v1::GetStatusRequest::default()).await.ok()?.into_inner();
        status.statuses.first().and_then(&look)
    })
    .await
}

/// Waits for a camera in a state.
pub async fn camera_until(
    channel: &Channel,
    id: &str,
    what: &str,
    enough: impl Fn(&v1::CameraHealth) -> bool,
) -> v1::CameraHealth {
    status_until(channel, &format!("camera {id}: {what}"), |status| {
        let mut cameras = status.edges.iter().flat_map(|edge| &edge.cameras);
        cameras.find(|camera| camera.camera_id == id && enough(camera)).cloned()
    })
    .await
}

/// Searches until `enough` says so of an answer.
pub async fn search_until(
    channel: &Channel,
    what: &str,
    enough: impl Fn(&v1::SearchResponse) -> bool,
) -> v1::SearchResponse {
    let mut queries = EventQueryServiceClient::new(channel.clone()).max_decoding_message_size(16 << 20);
    eventually(what, async || {
        let request = v1::SearchRequest { page_size: 1000, ..Default::default() };
        Some(queries.search(request).await.unwrap().into_inner()).filter(&enough)
    })
    .await
}
