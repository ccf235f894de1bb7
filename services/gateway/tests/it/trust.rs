//! A gateway among regions that ask for certificates.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tonic::Code;
use tonic::transport::Endpoint;
use vigil_base::{Clock, RegionId, SystemClock};
use vigil_gateway::{GatewayConfig, GatewayServer, RegionEndpoint};
use vigil_proto::v1;
use vigil_proto::v1::RegionOutcome::{Answered, Unreachable};
use vigil_proto::v1::event_query_service_client::EventQueryServiceClient;
use vigil_region::{RegionConfig, RegionServer};
use vigil_serve::Access;
use vigil_trust::{Authority, Dialer, Expect, Keeper, Owner, TlsFiles};

use crate::support::outcomes;

const DAY: Duration = Duration::from_hours(24);

fn files(authority: &Authority, folder: &Path, who: &str) -> TlsFiles {
    let (who, hosts) = (who.parse().unwrap(), ["127.0.0.1".to_owned()]);
    authority.issue_files(&who, &hosts, DAY, SystemClock::new().now(), (folder, true)).unwrap().0
}

async fn region(authority: &Authority, folder: &Path, id: &str) -> RegionServer {
    let data = folder.join(id);
    std::fs::create_dir_all(&data).unwrap();
    let mut config = RegionConfig::local(RegionId::new(id).unwrap(), data);
    config.tls = Some(files(authority, folder, &format!("vigil://region/{id}")));
    RegionServer::start(config).await.unwrap()
}

#[tokio::test]
async fn a_region_that_is_another_by_its_certificate_is_not_asked_and_only_operators_ask_a_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::create(&folder.path().join("pki"), "Test", DAY, SystemClock::new().now()).unwrap();
    let (north, south) =
        (region(&authority, folder.path(), "north").await, region(&authority, folder.path(), "south").await);
    // The gateway takes the south's address for the east's.
    let at = |id: &str, address: SocketAddr| {
        RegionEndpoint::new(RegionId::new(id).unwrap(), &format!("https://{address}")).unwrap()
    };
    let regions = vec![at("north", north.grpc_address()), at("east", south.grpc_address())];
    let mut config = GatewayConfig::local(folder.path().join("token.key"), regions);
    config.tls = Some(files(&authority, folder.path(), "vigil://gateway/city"));
    let gateway = GatewayServer::start(config, None).await.unwrap();

    let search_for = async |who: &str, on_behalf_of: Option<&str>| {
        let keeper =
            Keeper::open(files(&authority, folder.path(), who), Owner::Anybody, SystemClock::shared()).unwrap();
        let endpoint = Endpoint::from_shared(format!("https://{}", gateway.address())).unwrap();
        let channel = Dialer::new(endpoint, Some(keeper), Expect::Host).connect().await.unwrap();
        let mut request = tonic::Request::new(v1::SearchRequest::default());
        let access = Access { on_behalf_of: on_behalf_of.map(str::to_owned), ..Access::default() };
        access.write(request.metadata_mut());
        EventQueryServiceClient::new(channel).search(request).await
    };
    let search_as = async |who: &str| search_for(who, None).await;
    let answer = search_as("vigil://operator/alice").await.unwrap().into_inner();
    assert_eq!(outcomes(&answer.regions), [("east", Unreachable), ("north", Answered)]);
    let detail = &answer.regions[0].detail;
    assert!(detail.contains("vigil://region/south") && detail.contains("vigil://region/east"), "{detail}");
    for other in ["vigil://edge/box-7", "vigil://gateway/city-2"] {
        assert_eq!(search_as(other).await.unwrap_err().code(), Code::PermissionDenied, "{other}");
    }
    let (alice, chief) = ("vigil://operator/alice", "vigil://operator/chief");
    let refused = search_for(alice, Some(chief)).await.unwrap_err();
    assert!(refused.code() == Code::PermissionDenied && refused.message().contains("on behalf of others"), "{refused}");

    let asked = |log: &Path| {
        let all = vigil_audit::Search { limit: 100, ..Default::default() };
        let entries = vigil_audit::search(log, &all).unwrap().records.into_iter().map(|record| record.entry);
        entries.map(|entry| (entry.subject, entry.on_behalf_of, entry.outcome.code)).collect::<Vec<_>>()
    };
    let at_gateway = asked(&folder.path().join("audit"));
    assert_eq!(at_gateway[0], (alice.to_owned(), None, "Ok".to_owned()));
    assert_eq!(at_gateway.last().unwrap(), &(alice.to_owned(), None, "Refused".to_owned()));
    let at_region = asked(&folder.path().join("north/audit"));
    let for_alice = ("vigil://gateway/city".to_owned(), Some(alice.to_owned()), "Ok".to_owned());
    assert_eq!(at_region, [for_alice], "by whose certificate, and for whom");
    gateway.stop().await;
    north.stop().await;
    south.stop().await;
}
