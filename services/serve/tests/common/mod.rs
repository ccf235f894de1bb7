//! Servers and clients with certificates.
#![allow(dead_code, clippy::unwrap_used)] // Each test file uses its part; a test ends where it cannot go on.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use vigil_base::error::chain;
use vigil_base::{SharedClock, SystemClock};
use vigil_serve::{GrpcServer, HealthBoard};
use vigil_trust::accept::Protocol;
use vigil_trust::{Authority, Dialer, Expect, Identity, Keeper, Owner, Right, Security, TlsFiles, dial};

pub const PATIENCE: Duration = Duration::from_secs(30);
pub const DAY: Duration = Duration::from_hours(24);
pub const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

pub fn id(text: &str) -> Identity {
    text.parse().unwrap()
}

pub fn clock() -> SharedClock {
    SystemClock::shared()
}

/// An authority in a folder of its own.
pub struct Pki {
    pub folder: tempfile::TempDir,
    pub authority: Authority,
}

impl Pki {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(&folder.path().join("pki"), "Test", DAY, clock().now()).unwrap();
        Self { folder, authority }
    }

    /// Files of `who`, good until `until` from now, or ended so long ago.
    pub fn files(&self, who: &str, hosts: &[&str], from: vigil_base::Timestamp, lifetime: Duration) -> TlsFiles {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let out = (self.folder.path(), true);
        self.authority.issue_files(&id(who), &hosts, lifetime, from, out).unwrap().0
    }

    pub fn keeper(&self, who: &str) -> Arc<Keeper> {
        let files = self.files(who, &["localhost", "127.0.0.1"], clock().now(), DAY);
        Keeper::open(files, Owner::Exactly(id(who)), clock()).unwrap()
    }
}

/// A server of `keeper` that answers about its health.
pub async fn serve(keeper: &Arc<Keeper>, shutdown: &CancellationToken) -> SocketAddr {
    let security = Security::of(Some(keeper), Right::Connect, Protocol::Grpc);
    let server = GrpcServer::bind(ANY, security, HealthBoard::new()).await.unwrap();
    let address = server.address();
    server.spawn(shutdown.clone());
    address
}

pub fn endpoint(scheme: &str, address: SocketAddr) -> Endpoint {
    Endpoint::from_shared(format!("{scheme}://{address}")).unwrap().connect_timeout(PATIENCE)
}

pub async fn connect(address: SocketAddr, keeper: Arc<Keeper>, expect: Expect) -> Result<Channel, String> {
    let dialer = Dialer::new(endpoint("https", address), Some(keeper), expect);
    dialer
        .connect()
        .await
        .map_err(|error| dial::fault_in(&error).map_or_else(|| chain(&error), |fault| fault.to_string()))
}

/// Asks once: well, or why not.
pub async fn ask(channel: Channel) -> Result<(), String> {
    let mut client = HealthClient::new(channel);
    let asked = client.check(HealthCheckRequest { service: String::new() });
    let answer = tokio::time::timeout(PATIENCE, asked).await.expect("an answer");
    answer
        .map(|_| ())
        .map_err(|status| dial::fault_in(&status).map_or_else(|| format!("{status:?}"), |fault| fault.to_string()))
}

pub fn region() -> Expect {
    Expect::Identity(id("vigil://region/north"))
}

pub async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what} did not come"));
}
