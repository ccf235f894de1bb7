//! What the tests share: a region that does as it is told, raw servers that do not, and a gateway with its clients.
#![allow(dead_code, unused_imports)] // Shared with an example, which uses a part.

mod fake;
mod raw;
mod real;
mod subscriber;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tonic::transport::Channel;
use vigil_base::{EventId, RegionId, Timestamp};
use vigil_gateway::{GatewayConfig, GatewayServer, RegionEndpoint};
use vigil_proto::convert::time_to_wire;
use vigil_proto::v1;
use vigil_proto::v1::camera_service_client::CameraServiceClient;
use vigil_proto::v1::coverage_service_client::CoverageServiceClient;
use vigil_proto::v1::event_query_service_client::EventQueryServiceClient;
use vigil_proto::v1::event_stream_service_client::EventStreamServiceClient;
use vigil_proto::v1::region_service_client::RegionServiceClient;
use vigil_serve::Reloads;

pub use fake::{Behaviour, FakeRegion};
pub use raw::{RawServer, free_address};
pub use real::{Region, publish, whole_event};
pub use subscriber::Subscriber;

/// A free port of this machine.
pub const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway and the folder of its key.
pub struct Gateway {
    pub server: GatewayServer,
    pub channel: Channel,
    folder: TempDir,
}

impl Gateway {
    /// A gateway over these regions, its configuration changed by `change`.
    pub async fn start_with(regions: &[(&str, SocketAddr)], change: impl FnOnce(&mut GatewayConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let endpoints = regions.iter().map(|(id, address)| {
            RegionEndpoint::new(RegionId::new(id).unwrap(), &format!("http://{address}")).unwrap()
        });
        let key = folder.path().join("token.key");
        let mut config = GatewayConfig::local(key, endpoints.collect());
        // More for the way back than by default: machines that run tests are busy.
        config.region_share = 0.7;
        change(&mut config);
        let server = GatewayServer::start(config, None).await.unwrap();
        let channel = Channel::from_shared(format!("http://{}", server.address())).unwrap().connect().await.unwrap();
        Self { server, channel, folder }
    }

    /// A gateway that is told to read its configuration file again.
    pub async fn start_with_file(regions: &[(&str, SocketAddr)]) -> (Self, ConfigFile) {
        let folder = tempfile::tempdir().unwrap();
        let (requests, receiver) = tokio::sync::mpsc::channel(1);
        let file = ConfigFile { path: folder.path().join("gateway.toml"), requests };
        file.write(regions, "");
        let config = GatewayConfig::load(&file.path).unwrap();
        let reloads = Reloads { file: file.path.clone(), requests: receiver };
        let server = GatewayServer::start(config, Some(reloads)).await.unwrap();
        let channel = Channel::from_shared(format!("http://{}", server.address())).unwrap().connect().await.unwrap();
        (Self { server, channel, folder }, file)
    }

    /// A gateway over these regions.
    pub async fn start(regions: &[(&str, SocketAddr)]) -> Self {
        Self::start_with(regions, |_| {}).await
    }

    pub fn query(&self) -> EventQueryServiceClient<Channel> {
        EventQueryServiceClient::new(self.channel.clone())
    }

    pub fn stream(&self) -> EventStreamServiceClient<Channel> {
        EventStreamServiceClient::new(self.channel.clone())
    }

    pub fn cameras(&self) -> CameraServiceClient<Channel> {
        CameraServiceClient::new(self.channel.clone())
    }

    pub fn coverage(&self) -> CoverageServiceClient<Channel> {
        CoverageServiceClient::new(self.channel.clone())
    }

    pub fn regions(&self) -> RegionServiceClient<Channel> {
        RegionServiceClient::new(self.channel.clone())
    }

    /// Where its key is, as long as it lives.
    pub fn key_file(&self) -> PathBuf {
        self.folder.path().join("token.key")
    }

    /// Where its audit log is.
    pub fn audit_folder(&self) -> PathBuf {
        self.folder.path().join("audit")
    }

    /// One page of a search without conditions.
    pub async fn page(&self, page_size: i32, page_token: &str) -> v1::SearchResponse {
        let page_token = page_token.to_owned();
        let request = v1::SearchRequest { page_size, page_token, ..Default::default() };
        self.query().search(request).await.unwrap().into_inner()
    }

    /// What the address for operators answers.
    pub async fn ops(&self, path: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(self.server.ops_address()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

/// A gateway's configuration file, and the way to have it read again.
pub struct ConfigFile {
    path: PathBuf,
    requests: tokio::sync::mpsc::Sender<()>,
}

impl ConfigFile {
    fn write(&self, regions: &[(&str, SocketAddr)], extra: &str) {
        let mut text = format!(
            "listen = \"{ANY}\"\nops_listen = \"{ANY}\"\ntoken_key_file = \"token.key\"\nregion_share = 0.7\n{extra}\n"
        );
        text.extend(
            regions
                .iter()
                .map(|(id, address)| format!("[[regions]]\nregion_id = \"{id}\"\naddress = \"http://{address}\"\n")),
        );
        std::fs::write(&self.path, text).unwrap();
    }

    /// Has the gateway read these regions, and more lines before them.
    pub async fn change(&self, regions: &[(&str, SocketAddr)], extra: &str) {
        self.write(regions, extra);
        self.requests.send(()).await.unwrap();
    }
}

/// An event of `region` that began at this second; the same every time.
pub fn event(region: &str, second: i64) -> v1::Event {
    nth_event(region, second, 0)
}

/// The `n`th event of `region` that began at this second.
pub fn nth_event(region: &str, second: i64, n: u64) -> v1::Event {
    let begin = Timestamp::from_micros(second * 1_000_000);
    // RFC 9562, section 5.7: 48 bits of milliseconds, the version, the variant, and bits to tell ids apart.
    let told_apart = region.bytes().fold(n, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    let low = (0b10 << 62) | (told_apart & (u64::MAX >> 2));
    let id = (u128::from((second * 1_000).unsigned_abs()) << 80) | (0x7 << 76) | u128::from(low);
    v1::Event {
        event_id: EventId::from_bytes(id.to_be_bytes()).unwrap().to_string(),
        revision: 1,
        region_id: region.to_owned(),
        edge_id: "edge".to_owned(),
        camera_id: "gate".to_owned(),
        object_class: "person".to_owned(),
        begin_time: Some(time_to_wire(begin)),
        end_time: Some(time_to_wire(begin)),
        receive_time: Some(time_to_wire(begin)),
        ..v1::Event::default()
    }
}

/// The seconds at which events began.
pub fn seconds(events: &[v1::Event]) -> Vec<i64> {
    events.iter().map(|event| event.begin_time.unwrap().seconds).collect()
}

/// Each region's outcome.
pub fn outcomes(reports: &[v1::RegionReport]) -> Vec<(&str, v1::RegionOutcome)> {
    reports.iter().map(|report| (report.region_id.as_str(), report.outcome())).collect()
}

/// Asks again until the answer is as wanted; for what becomes true by itself in its own time.
pub async fn until<T, F: Future<Output = T>>(what: &str, mut ask: impl FnMut() -> F, wanted: impl Fn(&T) -> bool) -> T {
    let asking = async {
        loop {
            let answer = ask().await;
            if wanted(&answer) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("{what} did not happen within {PATIENCE:?}"))
}
