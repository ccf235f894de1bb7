//! Tokens over TLS at a gateway and its region: one that is bound to a certificate (RFC 8705) is worth something beside that
//! certificate alone, and one that was replayed, forged or meant for others nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};
use tonic::metadata::{BinaryMetadataValue, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use vigil_base::{Clock, RegionId, SystemClock};
use vigil_gateway::{GatewayConfig, GatewayServer, RegionEndpoint};
use vigil_issuer::{Issuer, SigningAlgorithm};
use vigil_proto::v1;
use vigil_proto::v1::RegionOutcome::Answered;
use vigil_proto::v1::event_query_service_client::EventQueryServiceClient;
use vigil_region::{RegionConfig, RegionServer};
use vigil_serve::DoorConfig;
use vigil_signin::{RightsRow, SignInConfig};
use vigil_trust::{Authority, Dialer, Expect, Fingerprint, Keeper, Owner, TlsFiles};

use crate::support::{PATIENCE, outcomes};

const DAY: Duration = Duration::from_hours(24);

/// A region and a gateway that ask for certificates and believe one issuer, and two operators.
struct City {
    issuer: Issuer,
    region: RegionServer,
    gateway: GatewayServer,
    alice: Person,
    mallory: Person,
    _folder: tempfile::TempDir,
}

/// An operator's connections, and its certificate.
struct Person {
    shown: Fingerprint,
    to_gateway: Channel,
    to_region: Channel,
}

fn files(authority: &Authority, folder: &Path, who: &str) -> TlsFiles {
    let (who, hosts) = (who.parse().unwrap(), ["127.0.0.1".to_owned()]);
    authority.issue_files(&who, &hosts, DAY, SystemClock::new().now(), (folder, true)).unwrap().0
}

impl City {
    async fn open(require_bound: bool) -> Self {
        let issuer = Issuer::start(0, SigningAlgorithm::Es256).await.unwrap();
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path();
        let authority = Authority::create(&folder.join("pki"), "Test", DAY, SystemClock::new().now()).unwrap();
        let mut sign_in = SignInConfig::new(issuer.url(), "vigil").unwrap();
        (sign_in.leeway, sign_in.require_bound) = (Duration::ZERO, require_bound);
        let rights = RightsRow {
            subject: None,
            role: Some("operator".to_owned()),
            department: None,
            regions: None,
            sites: None,
            cameras: None,
        };
        let behind =
            |door: DoorConfig| DoorConfig { sign_in: Some(sign_in.clone()), rights: vec![rights.clone()], ..door };

        let north = RegionId::new("north").unwrap();
        let mut config = RegionConfig::local(north.clone(), folder.join("north"));
        config.tls = Some(files(&authority, folder, "vigil://region/north"));
        config.door = behind(config.door);
        let region = RegionServer::start(config).await.unwrap();
        let endpoint = RegionEndpoint::new(north, &format!("https://{}", region.grpc_address())).unwrap();
        let mut config = GatewayConfig::local(folder.join("token.key"), vec![endpoint]);
        config.tls = Some(files(&authority, folder, "vigil://gateway/city"));
        config.door = behind(config.door);
        let gateway = GatewayServer::start(config, None).await.unwrap();

        let person = async |name: &str| {
            let files = files(&authority, folder, &format!("vigil://operator/{name}"));
            let keeper = Keeper::open(files, Owner::Anybody, SystemClock::shared()).unwrap();
            let connect = async |address: SocketAddr| {
                let at = Endpoint::from_shared(format!("https://{address}")).unwrap();
                Dialer::new(at, Some(keeper.clone()), Expect::Host).connect().await.unwrap()
            };
            let shown = keeper.current().unwrap().info.fingerprint;
            let (to_gateway, to_region) = (connect(gateway.address()).await, connect(region.grpc_address()).await);
            Person { shown, to_gateway, to_region }
        };
        let (alice, mallory) = (person("alice").await, person("mallory").await);
        Self { issuer, region, gateway, alice, mallory, _folder: temp }
    }

    fn claims(&self, said: &Value) -> Value {
        let now = now();
        let mut claims = json!({
            "iss": self.issuer.url(), "aud": "vigil", "sub": "alice", "iat": now, "exp": now + 300, "roles": ["operator"]
        });
        claims.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
        claims
    }

    fn token(&self, said: &Value) -> String {
        self.issuer.sign(&self.claims(said)).unwrap()
    }

    /// What a token is bound by to the certificate of `person`.
    fn bound_to(person: &Person) -> Value {
        json!({ "cnf": { "x5t#S256": BASE64.encode(person.shown.as_bytes()) } })
    }

    /// Asks gateway and region with a token: both refuse it, and say this.
    async fn refuse(&self, person: &Person, token: &str, why: &str) {
        for channel in [&person.to_gateway, &person.to_region] {
            let status = search(channel, request(token)).await.unwrap_err();
            assert_eq!(status.code(), Code::Unauthenticated, "{why}: {status:?}");
            assert!(status.message().contains(why), "{why}: {status:?}");
        }
    }

    /// Asks gateway and region with a token: both answer.
    async fn answer(&self, person: &Person, token: &str) {
        for channel in [&person.to_gateway, &person.to_region] {
            let answer = search(channel, request(token)).await.unwrap();
            assert_eq!(outcomes(&answer.regions), [("north", Answered)]);
        }
    }

    async fn stop(self) {
        self.gateway.stop().await;
        self.region.stop().await;
        self.issuer.stop().await;
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    SystemClock::new().now().as_micros() / 1_000_000
}

fn request(token: &str) -> Request<v1::SearchRequest> {
    let mut request = Request::new(v1::SearchRequest::default());
    let value: MetadataValue<_> = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

async fn search(channel: &Channel, request: Request<v1::SearchRequest>) -> Result<v1::SearchResponse, Status> {
    EventQueryServiceClient::new(channel.clone()).search(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_bound_token_counts_beside_its_certificate_alone_at_gateway_and_region() {
    let city = City::open(false).await;
    let token = city.token(&City::bound_to(&city.alice));
    city.answer(&city.alice, &token).await;
    let not_theirs = "bound to a client certificate";
    city.refuse(&city.mallory, &token, not_theirs).await;
    // Nobody but a gateway says which certificate was shown to it.
    for channel in [&city.mallory.to_gateway, &city.mallory.to_region] {
        let mut request = request(&token);
        let shown = BinaryMetadataValue::from_bytes(city.alice.shown.as_bytes());
        request.metadata_mut().insert_bin("vigil-client-certificate-bin", shown);
        let status = search(channel, request).await.unwrap_err();
        assert!(status.code() == Code::Unauthenticated && status.message().contains(not_theirs), "{status:?}");
    }
    // One that is not bound is whoever's has it.
    city.answer(&city.mallory, &city.token(&json!({}))).await;
    city.stop().await;
}

#[tokio::test]
async fn where_tokens_must_be_bound_a_plain_one_opens_nothing() {
    let city = City::open(true).await;
    city.refuse(&city.alice, &city.token(&json!({})), "not bound to a client certificate").await;
    city.answer(&city.alice, &city.token(&City::bound_to(&city.alice))).await;
    city.stop().await;
}

#[tokio::test]
async fn a_token_that_is_replayed_forged_or_meant_for_others_is_refused_over_tls_too() {
    let city = City::open(false).await;
    let alice = &city.alice;
    city.refuse(alice, &city.token(&json!({ "aud": "billing" })), "not for this audience").await;
    city.refuse(alice, &city.token(&json!({ "iss": "https://id.example" })), "of another issuer").await;
    // Signed by another key under the name of the issuer's, and by none.
    let forger = Issuer::start(0, SigningAlgorithm::Es256).await.unwrap();
    let forged = forger.sign(&city.claims(&json!({}))).unwrap();
    city.refuse(alice, &forged, "").await;
    let part = |value: &Value| BASE64.encode(value.to_string());
    let unsigned = format!("{}.{}.", part(&json!({ "alg": "none", "typ": "at+jwt" })), part(&city.claims(&json!({}))));
    city.refuse(alice, &unsigned, "").await;
    let token = city.token(&json!({}));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (head, _) = signed.split_once('.').unwrap();
    let raised = part(&city.claims(&json!({ "sub": "chief" })));
    city.refuse(alice, &format!("{head}.{raised}.{signature}"), "signature does not hold").await;

    // The very token that was answered a moment ago, by its holder and by whoever overheard it.
    let brief = city.token(&json!({ "exp": now() + 3 }));
    city.answer(alice, &brief).await;
    let ended = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        while search(&alice.to_region, request(&brief)).await.is_ok() {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("it ends");
    city.refuse(alice, &brief, "the token has ended").await;
    city.refuse(&city.mallory, &brief, "the token has ended").await;
    forger.stop().await;
    city.stop().await;
}
