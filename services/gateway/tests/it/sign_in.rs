//! People sign in at a gateway and its regions: each verifies the same token, and nobody is told what is not open to them.
#![allow(clippy::needless_pass_by_value)] // Claims are written where they are given.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;
use vigil_base::{Clock, EdgeId, RegionId, SystemClock};
use vigil_gateway::GatewayConfig;
use vigil_issuer::{Issuer, SigningAlgorithm};
use vigil_proto::v1;
use vigil_proto::v1::RegionOutcome::{Answered, Denied};
use vigil_proto::v1::audit_service_client::AuditServiceClient;
use vigil_proto::v1::subscribe_response::Message;
use vigil_region::{RegionConfig, RegionServer};
use vigil_serve::DoorConfig;
use vigil_signin::{RightsRow, SignInConfig};

use crate::real_regions::event;
use crate::support::{Gateway, PATIENCE, Region, outcomes};

/// A row of rights for a role.
fn row(role: &str) -> RightsRow {
    RightsRow {
        subject: None,
        role: Some(role.to_owned()),
        department: None,
        regions: None,
        sites: None,
        cameras: None,
    }
}

/// Two regions and a gateway that believe one issuer.
struct City {
    issuer: Issuer,
    folder: TempDir,
    regions: Vec<RegionServer>,
    gateway: Gateway,
}

impl City {
    async fn open() -> Self {
        Self::open_with(vec![row("operator"), row("auditor"), row("integrator")], |_| {}).await
    }

    /// With these rights everywhere, and the gateway's configuration changed by `change`.
    async fn open_with(rights: Vec<RightsRow>, change: impl FnOnce(&mut GatewayConfig)) -> Self {
        let issuer = Issuer::start(0, SigningAlgorithm::Es256).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut sign_in = SignInConfig::new(issuer.url(), "vigil").unwrap();
        sign_in.claims.department = Some("department".to_owned());
        sign_in.refetch_after = Duration::ZERO;
        sign_in.leeway = Duration::ZERO;
        let with = |door: DoorConfig| DoorConfig { sign_in: Some(sign_in.clone()), rights: rights.clone(), ..door };
        let mut regions = Vec::new();
        for id in ["north", "south"] {
            let mut config = RegionConfig::local(RegionId::new(id).unwrap(), folder.path().join(id));
            config.door = with(config.door);
            regions.push(RegionServer::start(config).await.unwrap());
        }
        let named: Vec<_> =
            ["north", "south"].into_iter().zip(regions.iter().map(RegionServer::grpc_address)).collect();
        let gateway = Gateway::start_with(&named, |config| {
            config.door = with(config.door.clone());
            change(config);
        });
        Self { gateway: gateway.await, issuer, folder, regions }
    }

    /// A token that says this of whom it is for.
    fn token(&self, said: Value) -> String {
        let now = now();
        let mut claims = json!({
            "iss": self.issuer.url(), "aud": "vigil", "sub": "alice", "iat": now, "exp": now + 300, "roles": ["operator"]
        });
        for (name, value) in said.as_object().unwrap() {
            claims[name] = value.clone();
        }
        self.issuer.sign(&claims).unwrap()
    }

    async fn search(&self, token: &str) -> Result<v1::SearchResponse, Status> {
        let asked = self.gateway.query().search(with(v1::SearchRequest::default(), token)).await;
        asked.map(tonic::Response::into_inner)
    }

    async fn stop(self) {
        self.gateway.server.stop().await;
        for region in self.regions {
            region.stop().await;
        }
        self.issuer.stop().await;
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    SystemClock::new().now().as_micros() / 1_000_000
}

fn with<M>(message: M, token: &str) -> Request<M> {
    let mut request = Request::new(message);
    let value: MetadataValue<_> = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

fn asked(log: &Path) -> Vec<(String, String, String)> {
    let all = vigil_audit::Search { limit: 100, ..Default::default() };
    let entries = vigil_audit::search(log, &all).unwrap().records.into_iter().map(|record| record.entry);
    entries.map(|entry| (entry.subject, entry.method, entry.outcome.code)).collect()
}

#[tokio::test]
async fn who_shows_no_token_is_told_to_sign_in_and_a_token_opens_gateway_and_regions() {
    let city = City::open().await;
    let refused = city.gateway.query().search(v1::SearchRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(refused.message().contains("vigil sign-in --issuer") && refused.message().contains(city.issuer.url()));
    for bad in ["garbage", ""] {
        assert_eq!(city.search(bad).await.unwrap_err().code(), Code::Unauthenticated);
    }
    let answer = city.search(&city.token(json!({}))).await.unwrap();
    assert_eq!(outcomes(&answer.regions), [("north", Answered), ("south", Answered)]);
    let ended = city.token(json!({ "exp": now() - 1 }));
    assert_eq!(city.search(&ended).await.unwrap_err().code(), Code::Unauthenticated, "replayed after its end");

    let log = asked(&city.gateway.audit_folder());
    assert_eq!(log[0], ("anonymous".into(), "EventQueryService/Search".into(), "Unauthenticated".into()));
    assert_eq!(log[3], ("alice".into(), "EventQueryService/Search".into(), "Ok".into()));
    let at_region = asked(&city.folder.path().join("north/audit"));
    assert_eq!(at_region.last().unwrap(), &("alice".into(), "EventQueryService/Search".into(), "Ok".into()));
    city.stop().await;
}

#[tokio::test]
async fn a_role_opens_what_the_table_says_and_one_that_was_taken_away_opens_nothing() {
    let city = City::open().await;
    let auditor = city.token(json!({ "roles": ["auditor"], "sub": "olga" }));
    let refused = city.search(&auditor).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("operator or supervisor or integrator"), "{}", refused.message());
    let status = city.gateway.regions().get_status(with(v1::GetStatusRequest::default(), &auditor)).await.unwrap();
    assert_eq!(outcomes(&status.get_ref().regions), [("north", Answered), ("south", Answered)]);

    let operator = city.token(json!({}));
    city.search(&operator).await.unwrap();
    let camera = v1::Camera { region_id: "north".into(), camera_id: "gate".into(), ..Default::default() };
    let put = v1::PutCameraRequest { camera: Some(camera) };
    let refused = city.gateway.cameras().put_camera(with(put, &operator)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    for roles in [json!([]), json!(["dentist"]), json!(["Operator"])] {
        let refused = city.search(&city.token(json!({ "roles": roles }))).await.unwrap_err();
        assert!(refused.code() == Code::PermissionDenied && refused.message().contains("none that is known"));
    }
    city.stop().await;
}

#[tokio::test]
async fn rights_open_regions_by_department_and_nothing_to_whom_no_row_is_for() {
    let north = Some(vec![RegionId::new("north").unwrap()]);
    let rights = vec![RightsRow { department: Some("traffic".into()), regions: north, ..row("operator") }];
    let city = City::open_with(rights, |_| {}).await;
    let refused = city.search(&city.token(json!({}))).await.unwrap_err();
    assert!(refused.code() == Code::PermissionDenied && refused.message().contains("[[rights]]"), "{refused:?}");
    let answer = city.search(&city.token(json!({ "department": "traffic" }))).await.unwrap();
    assert_eq!(outcomes(&answer.regions), [("north", Answered), ("south", Denied)], "said, not hidden");
    assert!(asked(&city.folder.path().join("south/audit")).is_empty(), "it was not asked");
    city.stop().await;
}

#[tokio::test]
async fn keys_rotate_while_questions_flow_and_known_ones_go_on_when_the_issuer_is_gone() {
    let city = City::open().await;
    let mut tokens = vec![city.token(json!({}))];
    for algorithm in [SigningAlgorithm::EdDsa, SigningAlgorithm::Es256] {
        for token in &tokens {
            city.search(token).await.unwrap();
        }
        city.issuer.rotate(algorithm).unwrap();
        tokens = vec![tokens.pop().unwrap(), city.token(json!({}))];
    }
    for token in &tokens {
        let answer = city.search(token).await.unwrap();
        assert_eq!(outcomes(&answer.regions), [("north", Answered), ("south", Answered)]);
    }
    let City { issuer, gateway, regions, folder: _folder } = city;
    issuer.stop().await;
    for token in &tokens {
        let answer = gateway.query().search(with(v1::SearchRequest::default(), token)).await.unwrap().into_inner();
        assert_eq!(outcomes(&answer.regions), [("north", Answered), ("south", Answered)]);
    }
    gateway.server.stop().await;
    for region in regions {
        region.stop().await;
    }
}

#[tokio::test]
async fn a_live_stream_ends_with_its_token() {
    let city = City::open().await;
    let token = city.token(json!({ "exp": now() + 3 }));
    let request = with(v1::SubscribeRequest::default(), &token);
    let mut stream = city.gateway.stream().subscribe(request).await.unwrap().into_inner();
    let mut heard = 0;
    let ended = tokio::time::timeout(PATIENCE, async {
        loop {
            match stream.message().await {
                Ok(Some(message)) => heard += usize::from(matches!(message.message, Some(Message::Heartbeat(_)))),
                Ok(None) => panic!("it ended without a word"),
                Err(status) => return status,
            }
        }
    });
    let ended = ended.await.unwrap();
    assert!(ended.code() == Code::Unauthenticated && ended.message().contains("sign in again"), "{ended:?}");
    assert!(heard > 0, "it ran until then");
    city.stop().await;
}

#[tokio::test]
async fn who_asks_too_often_is_turned_away_and_others_are_not() {
    let city = City::open_with(vec![row("operator")], |config| {
        config.door.limits.questions_per_second = 1;
        config.door.limits.streams = 1;
    });
    let city = city.await;
    let (alice, bob) = (city.token(json!({})), city.token(json!({ "sub": "bob" })));
    let mut refused = None;
    for _ in 0..200 {
        if let Err(status) = city.search(&alice).await {
            refused = Some(status);
            break;
        }
    }
    let refused = refused.expect("200 questions within a moment");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.get_error_details().retry_info().unwrap().retry_delay.unwrap() <= Duration::from_secs(1));
    city.search(&bob).await.expect("bob asked nothing yet");
    let _stream = city.gateway.stream().subscribe(with(v1::SubscribeRequest::default(), &bob)).await.unwrap();
    let codes: Vec<_> = asked(&city.gateway.audit_folder()).into_iter().map(|(_, _, code)| code).collect();
    assert!(!codes.contains(&"ResourceExhausted".to_owned()), "no line in the log for who floods it");
    city.stop().await;
}

#[tokio::test]
async fn auditors_search_the_logs_and_nobody_else_and_each_search_is_in_them() {
    let city = City::open().await;
    city.search(&city.token(json!({}))).await.unwrap();
    city.search(&city.token(json!({ "sub": "bob" }))).await.unwrap();
    let channel = &city.gateway.channel;
    let look = async |token: &str, request: v1::SearchAuditRequest| {
        let mut client = AuditServiceClient::new(channel.clone());
        client.search_audit(with(request, token)).await.map(tonic::Response::into_inner)
    };
    let refused = look(&city.token(json!({})), v1::SearchAuditRequest::default()).await.unwrap_err();
    assert!(refused.code() == Code::PermissionDenied && refused.message().contains("auditor"), "{refused:?}");

    let auditor = city.token(json!({ "sub": "olga", "roles": ["auditor"] }));
    let mut found = Vec::new();
    let mut request = v1::SearchAuditRequest { page_size: 1, subject: "bob".into(), ..Default::default() };
    loop {
        let page = look(&auditor, request.clone()).await.unwrap();
        assert!(page.records.len() <= 1);
        found.extend(page.records);
        if page.next_page_token.is_empty() {
            break;
        }
        let other =
            v1::SearchAuditRequest { subject: "alice".into(), page_token: page.next_page_token.clone(), ..request };
        assert_eq!(look(&auditor, other.clone()).await.unwrap_err().code(), Code::InvalidArgument);
        request = v1::SearchAuditRequest { subject: "bob".into(), page_token: page.next_page_token, ..other };
    }
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].method.as_str(), found[0].outcome.as_str()), ("EventQueryService/Search", "Ok"));
    let denied = v1::SearchAuditRequest { outcome: "PermissionDenied".into(), ..Default::default() };
    assert_eq!(look(&auditor, denied).await.unwrap().records[0].method, "AuditService/SearchAudit");
    let at_region = v1::SearchAuditRequest { region_id: "north".into(), subject: "alice".into(), ..Default::default() };
    assert_eq!(look(&auditor, at_region).await.unwrap().records.len(), 1, "a region's log, through the gateway");
    let log = asked(&city.gateway.audit_folder());
    assert!(log.iter().filter(|(who, method, _)| who == "olga" && method.starts_with("AuditService")).count() >= 3);
    city.stop().await;
}

#[tokio::test]
async fn rights_open_cameras_and_sites_through_the_gateway_and_what_they_do_not_open_is_marked_as_withheld() {
    let cameras = |ids: &[&str]| Some(ids.iter().map(|id| (*id).to_owned()).collect());
    let sites = |ids: &[&str]| Some(ids.iter().map(|id| EdgeId::new(id).unwrap()).collect());
    let rights = vec![
        RightsRow { department: Some("traffic".into()), cameras: cameras(&["ga*"]), ..row("operator") },
        RightsRow { department: Some("harbour".into()), cameras: cameras(&["quay-*"]), ..row("operator") },
        RightsRow { department: Some("site".into()), sites: sites(&["edge"]), ..row("operator") },
        RightsRow { department: Some("elsewhere".into()), sites: sites(&["edge-9"]), ..row("operator") },
    ];
    let city = City::open_with(rights, |_| {}).await;
    for (id, region) in ["north", "south"].into_iter().zip(&city.regions) {
        let mut published = Region::new(id);
        published.address = region.grpc_address();
        published.publish(vec![event(id, 1), event(id, 2)]).await;
    }
    let search = async |department: &str| {
        let token = city.token(json!({ "department": department }));
        let answer = city.search(&token).await.unwrap();
        let all = answer.regions.iter().all(|report| report.outcome() == Answered);
        assert!(all, "{:?}", answer.regions);
        (answer.events.len(), answer.regions.iter().filter(|report| report.withheld.is_some()).count())
    };
    for seen in ["traffic", "site"] {
        assert_eq!(search(seen).await, (4, 0), "{seen}");
    }
    for blind in ["harbour", "elsewhere"] {
        assert_eq!(search(blind).await, (0, 2), "{blind}");
    }
    let token = city.token(json!({ "department": "harbour" }));
    let listed = city.gateway.cameras().list_cameras(with(v1::ListCamerasRequest::default(), &token)).await.unwrap();
    assert!(listed.get_ref().cameras.is_empty(), "{listed:?}");
    city.stop().await;
}
