//! A gateway among regions that ask for certificates.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tonic::Code;
use tonic::transport::Endpoint;
use vigil_base::{Clock, RegionId, SharedClock, SimClock, SystemClock};
use vigil_gateway::{GatewayConfig, GatewayServer, RegionEndpoint};
use vigil_proto::v1;
use vigil_proto::v1::RegionOutcome::{Answered, Unreachable};
use vigil_proto::v1::event_query_service_client::EventQueryServiceClient;
use vigil_region::{RegionConfig, RegionServer};
use vigil_serve::Access;
use vigil_trust::revocation::Reason;
use vigil_trust::{Authority, Dialer, Expect, Keeper, Owner, TlsFiles};

use crate::support::outcomes;

const DAY: Duration = Duration::from_hours(24);

fn files(authority: &Authority, folder: &Path, who: &str) -> TlsFiles {
    let (who, hosts) = (who.parse().unwrap(), ["127.0.0.1".to_owned()]);
    authority.issue_files(&who, &hosts, DAY, SystemClock::new().now(), (folder, true)).unwrap().0
}

async fn region(authority: &Authority, folder: &Path, id: &str) -> RegionServer {
    region_with(files(authority, folder, &format!("vigil://region/{id}")), folder, id, SystemClock::shared()).await
}

async fn region_with(tls: TlsFiles, folder: &Path, id: &str, clock: SharedClock) -> RegionServer {
    let data = folder.join(id);
    std::fs::create_dir_all(&data).unwrap();
    let mut config = RegionConfig::local(RegionId::new(id).unwrap(), data);
    config.tls = Some(tls);
    RegionServer::start_at(config, clock).await.unwrap()
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

#[tokio::test]
async fn regions_that_refuse_the_gateways_certificate_are_told_of_with_the_reason_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let now = SystemClock::new().now();
    let authority = Authority::create(&folder.join("pki"), "Test", 9 * DAY, now).unwrap();
    let other = Authority::create(&folder.join("other"), "Test", 9 * DAY, now).unwrap();
    let own = files(&authority, folder, "vigil://gateway/city");
    let serials = authority.issued_to(&"vigil://gateway/city".parse().unwrap(), now).unwrap();
    authority.revoke(&serials, Reason::PrivilegeWithdrawn, DAY, now).unwrap();
    let of = |authority: &Authority, id: &str| files(authority, folder, &format!("vigil://region/{id}"));
    let lists = TlsFiles { revoked: Some(authority.list_path()), ..of(&authority, "north") };
    let ahead = SimClock::new(now + 2 * DAY);
    let regions = [
        ("east", region_with(of(&authority, "east"), folder, "east", ahead).await, "by the server's clock"),
        (
            "north",
            region_with(lists, folder, "north", SystemClock::shared()).await,
            "it was revoked: have another issued",
        ),
        ("south", region(&other, folder, "south").await, "have it issued by one that the server names"),
    ];
    // The gateway believes both authorities.
    let both = folder.join("both.pem");
    std::fs::write(&both, authority.pem().unwrap() + &other.pem().unwrap()).unwrap();
    let endpoint = |id: &str, server: &RegionServer| {
        RegionEndpoint::new(RegionId::new(id).unwrap(), &format!("https://{}", server.grpc_address())).unwrap()
    };
    let endpoints = regions.iter().map(|(id, server, _)| endpoint(id, server)).collect();
    let mut config = GatewayConfig::local(folder.join("token.key"), endpoints);
    config.tls = Some(TlsFiles { authority: both, ..own });
    let gateway = GatewayServer::start(config, None).await.unwrap();

    let alice =
        Keeper::open(files(&authority, folder, "vigil://operator/alice"), Owner::Anybody, SystemClock::shared());
    let at = Endpoint::from_shared(format!("https://{}", gateway.address())).unwrap();
    let channel = Dialer::new(at, Some(alice.unwrap()), Expect::Host).connect().await.unwrap();
    let answer = EventQueryServiceClient::new(channel).search(v1::SearchRequest::default()).await.unwrap().into_inner();
    assert_eq!(outcomes(&answer.regions), [("east", Unreachable), ("north", Unreachable), ("south", Unreachable)]);
    for (report, (id, _, why)) in answer.regions.iter().zip(&regions) {
        let detail = &report.detail;
        assert!(detail.contains("refuses the certificate") && detail.contains("gateway-city.pem"), "{id}: {detail}");
        assert!(detail.contains(why), "{id}: {detail}");
    }
    gateway.stop().await;
    for (_, server, _) in regions {
        server.stop().await;
    }
}
