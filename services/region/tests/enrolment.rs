//! Tokens become certificates at a region that holds the authority: once, for one name, within their time.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use vigil_base::{SharedClock, SystemClock};
use vigil_proto::v1;
use vigil_proto::v1::enrolment_service_client::EnrolmentServiceClient;
use vigil_proto::v1::renewal_service_client::RenewalServiceClient;
use vigil_region::{EnrolmentConfig, RegionConfig, RegionServer};
use vigil_trust::ledger::Ledger;
use vigil_trust::request::OwnKey;
use vigil_trust::revocation::Reason;
use vigil_trust::token::EnrolToken;
use vigil_trust::{Authority, CertificateInfo, Dialer, Expect, Fingerprint, Identity, Keeper, Owner, certificate};

use common::region;
use common::server::reason;

const DAY: Duration = Duration::from_hours(24);
const LOOPBACK: &str = "127.0.0.1:0";

struct City {
    folder: tempfile::TempDir,
    authority: Authority,
    clock: SharedClock,
    server: RegionServer,
}

impl City {
    async fn start() -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), SystemClock::shared());
        let authority = Authority::create(&folder.path().join("pki"), "Test", DAY, clock.now()).unwrap();
        let server = serve(folder.path(), &authority, &clock).await;
        Self { folder, authority, clock, server }
    }

    async fn restart(mut self) -> Self {
        self.server.stop().await;
        self.server = serve(self.folder.path(), &self.authority, &self.clock).await;
        self
    }

    /// A token for `name`, in the ledger, good for `valid`.
    fn token(&self, name: &str, valid: Duration) -> EnrolToken {
        let address = format!("https://{}", self.server.enrolment_address().unwrap());
        let token = EnrolToken::random(edge(name), self.authority.fingerprint(), region(), address);
        let now = self.clock.now();
        Ledger::open(self.authority.folder()).unwrap().add(&token, now + valid, now).unwrap();
        token
    }

    async fn channel(&self, authority: Fingerprint) -> Result<Channel, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(format!("https://{}", self.server.enrolment_address().unwrap())).unwrap();
        Dialer::pinned(endpoint, authority, Identity::Region(region()), self.clock.clone()).connect().await
    }

    async fn enrol(&self, token: &EnrolToken, request: Vec<u8>) -> Result<String, Status> {
        let mut client = EnrolmentServiceClient::new(self.channel(self.authority.fingerprint()).await.unwrap());
        let request = v1::EnrolRequest {
            token_id: token.id.to_vec(),
            token_secret: token.secret.to_vec(),
            certificate_request: request,
        };
        Ok(client.enrol(request).await?.into_inner().certificate_pem)
    }

    /// The request of the key in file `key`.
    fn request(&self, key: &str, name: &str) -> Vec<u8> {
        OwnKey::load_or_make(&self.folder.path().join(key)).unwrap().request(&edge(name)).unwrap()
    }
}

async fn serve(folder: &Path, authority: &Authority, clock: &SharedClock) -> RegionServer {
    let mut config = RegionConfig::local(region(), folder.join("data"));
    std::fs::create_dir_all(&config.data_dir).unwrap();
    let own = authority.issue_files(&Identity::Region(region()), &[], DAY, clock.now(), (folder, true)).unwrap();
    config.tls = Some(own.0);
    let (listen, pki) = (LOOPBACK.parse().unwrap(), authority.folder().to_owned());
    config.enrolment = Some(EnrolmentConfig { listen, authority: pki, lifetime: Duration::from_hours(2) });
    RegionServer::start_at(config, clock.clone()).await.unwrap()
}

fn edge(name: &str) -> Identity {
    format!("vigil://edge/{name}").parse().unwrap()
}

fn info(pem: &str) -> CertificateInfo {
    CertificateInfo::of(&certificate::from_pem(pem.as_bytes()).unwrap()[0]).unwrap()
}

#[tokio::test]
async fn a_token_gives_one_certificate_to_one_key_for_ever() {
    let city = City::start().await;
    let token = city.token("box-7", DAY);
    let given = city.enrol(&token, city.request("a.key", "box-7")).await.unwrap();
    assert_eq!(info(&given).identity, Ok(edge("box-7")));
    // The answer was lost: the same key asks again, also of a region that was started anew.
    assert_eq!(city.enrol(&token, city.request("a.key", "box-7")).await.unwrap(), given);
    let city = city.restart().await;
    assert_eq!(city.enrol(&token, city.request("a.key", "box-7")).await.unwrap(), given);
    let status = city.enrol(&token, city.request("b.key", "box-7")).await.unwrap_err();
    assert_eq!(reason(&status), (Code::PermissionDenied, "DENIED".to_owned()));
    assert!(status.message().contains("used before"), "{status:?}");
    city.server.stop().await;
}

#[tokio::test]
async fn two_keys_that_come_at_once_get_one_certificate_between_them() {
    let city = City::start().await;
    let token = city.token("box-7", DAY);
    let requests: Vec<_> = (0..6).map(|n| city.request(&format!("{n}.key"), "box-7")).collect();
    let asked = futures_of(&city, &token, requests).await;
    assert_eq!(asked.iter().filter(|answer| answer.is_ok()).count(), 1, "{asked:?}");
    city.server.stop().await;
}

async fn futures_of(city: &City, token: &EnrolToken, requests: Vec<Vec<u8>>) -> Vec<Result<String, Status>> {
    let mut tasks = tokio::task::JoinSet::new();
    let channel = city.channel(city.authority.fingerprint()).await.unwrap();
    for certificate_request in requests {
        let (token_id, token_secret) = (token.id.to_vec(), token.secret.to_vec());
        let mut client = EnrolmentServiceClient::new(channel.clone());
        tasks.spawn(async move {
            let asked = v1::EnrolRequest { token_id, token_secret, certificate_request };
            client.enrol(asked).await.map(|answer| answer.into_inner().certificate_pem)
        });
    }
    tasks.join_all().await
}

#[tokio::test]
async fn what_is_no_good_token_or_request_is_refused_and_uses_up_nothing() {
    let city = City::start().await;
    let token = city.token("box-7", DAY);
    let request = || city.request("a.key", "box-7");
    let denied = async |token: &EnrolToken, request, code, told: &str| {
        let status = city.enrol(token, request).await.unwrap_err();
        assert!(status.code() == code && status.message().contains(told), "{told}: {status:?}");
    };
    let mut forged = token.clone();
    forged.secret[0] ^= 1;
    denied(&forged, request(), Code::PermissionDenied, "not known").await;
    forged.id[0] ^= 1;
    denied(&forged, request(), Code::PermissionDenied, "not known").await;
    denied(&city.token("late", Duration::ZERO), city.request("a.key", "late"), Code::PermissionDenied, "ended").await;
    denied(&token, city.request("a.key", "box-8"), Code::InvalidArgument, "box-8").await;
    denied(&token, vec![0x30; 900], Code::InvalidArgument, "certificate_request").await;
    denied(&token, vec![0x30; 5_000], Code::InvalidArgument, "more than").await;
    denied(&token, Vec::new(), Code::InvalidArgument, "certificate_request").await;
    assert!(city.enrol(&token, request()).await.is_ok(), "the token was not used up");
    // Neither the ledger's files nor anything else on the disk holds the secret.
    let secret: String = token.secret.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    for entry in std::fs::read_dir(city.authority.folder().join("tokens")).unwrap() {
        let text = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains(&secret));
        assert!(!text.windows(32).any(|window| window == token.secret));
    }
    city.server.stop().await;
}

#[tokio::test]
async fn who_keeps_failing_is_told_to_wait() {
    let city = City::start().await;
    let (mut forged, request) = (city.token("box-7", DAY), city.request("a.key", "box-7"));
    forged.secret = [0; 32];
    let mut last = None;
    for _ in 0..12 {
        last = Some(city.enrol(&forged, request.clone()).await.unwrap_err());
    }
    assert_eq!(last.unwrap().code(), Code::ResourceExhausted);
    city.server.stop().await;
}

#[tokio::test]
async fn a_server_of_another_authority_sees_no_token() {
    let city = City::start().await;
    let told = city.channel(Fingerprint::from_bytes([7; 32])).await.unwrap_err();
    let told = vigil_serve::error::chain(&told);
    assert!(told.contains("not signed by an authority of ours"), "{told}");
    city.server.stop().await;
}

#[tokio::test]
async fn an_edge_renews_its_own_name_and_nobody_else_does() {
    let city = City::start().await;
    let (keeper, at) = (|who: &str| keeper(&city, who), city.server.grpc_address());
    let renew = async |who: &str, request: Vec<u8>| -> Result<String, Status> {
        let endpoint = Endpoint::from_shared(format!("https://{at}")).unwrap();
        let dialer = Dialer::new(endpoint, Some(keeper(who)), Expect::Identity(Identity::Region(region())));
        let mut client = RenewalServiceClient::new(dialer.connect().await.unwrap());
        let request = v1::RenewRequest { certificate_request: request };
        Ok(client.renew(request).await?.into_inner().certificate_pem)
    };
    let renewed = info(&renew("vigil://edge/box-7", city.request("a.key", "box-7")).await.unwrap());
    assert_eq!(renewed.identity, Ok(edge("box-7")));
    let status = renew("vigil://edge/box-7", city.request("a.key", "box-8")).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let status = renew("vigil://operator/alice", city.request("a.key", "box-7")).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    // Enrolment is not served where certificates are asked for, nor the index where they are not.
    let pinned = city.channel(city.authority.fingerprint()).await.unwrap();
    let mut queries = v1::event_query_service_client::EventQueryServiceClient::new(pinned);
    assert_eq!(queries.search(v1::SearchRequest::default()).await.unwrap_err().code(), Code::Unimplemented);
    city.server.stop().await;
}

fn keeper(city: &City, who: &str) -> Arc<Keeper> {
    let who: Identity = who.parse().unwrap();
    let issued = city.authority.issue_files(&who, &[], DAY, city.clock.now(), (city.folder.path(), true)).unwrap();
    Keeper::open(issued.0, Owner::Exactly(who), city.clock.clone()).unwrap()
}

#[tokio::test]
async fn who_was_revoked_gets_no_further_certificate_but_by_a_new_token() {
    let city = City::start().await;
    let (first, unused) = (city.token("box-7", DAY), city.token("box-7", DAY));
    let given = city.enrol(&first, city.request("a.key", "box-7")).await.unwrap();
    let connected = keeper(&city, "vigil://edge/box-7");
    let endpoint = Endpoint::from_shared(format!("https://{}", city.server.grpc_address())).unwrap();
    let dialer = Dialer::new(endpoint, Some(connected.clone()), Expect::Identity(Identity::Region(region())));
    let mut renewals = RenewalServiceClient::new(dialer.connect().await.unwrap());
    let mut renew = async || {
        let certificate_request = city.request("a.key", "box-7");
        renewals.renew(v1::RenewRequest { certificate_request }).await
    };
    renew().await.unwrap();

    // This region's own configuration names no list: the authority's counts.
    let now = city.clock.now();
    let serials = city.authority.issued_to(&edge("box-7"), now).unwrap();
    assert!(serials.contains(&info(&given).serial) && serials.contains(&connected.current().unwrap().info.serial));
    city.authority.revoke(&serials, Reason::KeyCompromise, DAY, now).unwrap();
    assert_eq!(Ledger::open(city.authority.folder()).unwrap().withdraw(&edge("box-7")).unwrap(), 1);
    let status = renew().await.unwrap_err();
    assert!(status.code() == Code::PermissionDenied && status.message().contains("was revoked"), "{status:?}");
    let status = city.enrol(&first, city.request("a.key", "box-7")).await.unwrap_err();
    assert!(status.code() == Code::PermissionDenied && status.message().contains("was revoked"), "{status:?}");
    let status = city.enrol(&unused, city.request("b.key", "box-7")).await.unwrap_err();
    assert!(status.code() == Code::PermissionDenied && status.message().contains("not known"), "{status:?}");

    let again = city.token("box-7", DAY);
    let restored = info(&city.enrol(&again, city.request("b.key", "box-7")).await.unwrap());
    assert!(!city.authority.list().unwrap().unwrap().holds(&restored.serial));
    city.server.stop().await;
}
