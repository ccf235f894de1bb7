//! Who may do what at a region that asks for certificates.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::sync::Arc;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use vigil_base::{InstanceId, SharedClock, SystemClock};
use vigil_proto::v1;
use vigil_proto::v1::event_query_service_client::EventQueryServiceClient;
use vigil_region::{RegionConfig, RegionServer};
use vigil_trust::{Authority, Dialer, Expect, Identity, Keeper, Owner};

use common::region;
use common::server::{Edge, hello, reason};

const DAY: Duration = Duration::from_hours(24);

/// A region with certificates, and the authority that makes more.
struct Secured {
    folder: tempfile::TempDir,
    authority: Authority,
    clock: SharedClock,
    server: Option<RegionServer>,
}

impl Secured {
    async fn start() -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), SystemClock::shared());
        let authority = Authority::create(&folder.path().join("pki"), "Test", DAY, clock.now()).unwrap();
        let mut secured = Self { folder, authority, clock, server: None };
        let mut config = RegionConfig::local(region(), secured.folder.path().join("data"));
        std::fs::create_dir_all(&config.data_dir).unwrap();
        config.tls = Some(secured.keeper(&format!("vigil://region/{}", common::REGION)).files().clone());
        secured.server = Some(RegionServer::start_at(config, secured.clock.clone()).await.unwrap());
        secured
    }

    fn keeper(&self, who: &str) -> Arc<Keeper> {
        let who: Identity = who.parse().unwrap();
        let issued = self.authority.issue_files(&who, &[], DAY, self.clock.now(), (self.folder.path(), true));
        Keeper::open(issued.unwrap().0, Owner::Exactly(who), self.clock.clone()).unwrap()
    }

    /// A connection that shows the certificate of `who`.
    async fn channel(&self, who: &str) -> Channel {
        let address = self.server.as_ref().unwrap().grpc_address();
        let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
        let expect = Expect::Identity(Identity::Region(region()));
        Dialer::new(endpoint, Some(self.keeper(who)), expect).connect().await.unwrap()
    }

    async fn publish_as(&self, shown: &str, claimed: &str) -> Result<v1::BatchAck, Status> {
        let hello = hello(claimed, &InstanceId::random().to_string());
        let mut edge = Edge::connect(self.channel(shown).await, hello).await?;
        Ok(edge.publish(&[common::event(self.clock.now())]).await)
    }

    async fn search_as(&self, shown: &str) -> Result<usize, Status> {
        let mut queries = EventQueryServiceClient::new(self.channel(shown).await);
        Ok(queries.search(v1::SearchRequest::default()).await?.into_inner().events.len())
    }
}

#[tokio::test]
async fn an_edge_publishes_under_its_own_name_and_no_other() {
    let region = Secured::start().await;
    assert_eq!(region.publish_as("vigil://edge/edge-1", "edge-1").await.unwrap().accepted, 1);
    let status = region.publish_as("vigil://edge/edge-1", "edge-2").await.unwrap_err();
    assert_eq!(reason(&status), (Code::PermissionDenied, "DENIED".to_owned()));
    assert!(status.message().contains("edge-2") && status.message().contains("vigil://edge/edge-1"), "{status:?}");
}

#[tokio::test]
async fn gateways_and_operators_ask_and_publish_nothing_and_edges_ask_nothing() {
    let region = Secured::start().await;
    region.publish_as("vigil://edge/edge-1", "edge-1").await.unwrap();
    for asker in ["vigil://gateway/city", "vigil://operator/alice"] {
        assert_eq!(region.search_as(asker).await.unwrap(), 1);
        let name = asker.rsplit('/').next().unwrap();
        let status = region.publish_as(asker, name).await.unwrap_err();
        assert!(status.code() == Code::PermissionDenied && status.message().contains(asker), "{status:?}");
    }
    let status = region.search_as("vigil://edge/edge-1").await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("gateway or operator"), "{status:?}");
}

#[tokio::test]
async fn a_region_starts_with_its_own_certificate_alone() {
    let other = Secured::start().await;
    let mut config = RegionConfig::local(region(), other.folder.path().join("more"));
    config.tls = Some(other.keeper("vigil://region/elsewhere").files().clone());
    let told = RegionServer::start_at(config, other.clock.clone()).await.err().unwrap();
    let told = vigil_serve::error::chain(&told);
    assert!(told.contains("[tls]") && told.contains("vigil://region/elsewhere"), "{told}");
    other.server.unwrap().stop().await;
}
