//! Every question is written down before its answer leaves, at the gateway and at the region.

use std::path::Path;

use tonic::Code;
use vigil_audit::{PublicKey, Record, Search};
use vigil_proto::v1;
use vigil_proto::v1::RegionOutcome::{Answered, Denied};
use vigil_region::{RegionConfig, RegionServer};
use vigil_serve::Access;

use crate::support::{FakeRegion, Gateway, Subscriber, event, outcomes, until};

fn records(folder: &Path) -> Vec<Record> {
    vigil_audit::search(folder, &Search { limit: 1_000, ..Search::default() }).unwrap().records
}

fn why<M>(message: M) -> tonic::Request<M> {
    let mut request = tonic::Request::new(message);
    let access =
        Access { purpose: Some("寻找失踪的孩子".into()), case: Some("2026/417".into()), on_behalf_of: None };
    access.write(request.metadata_mut());
    request
}

fn search_for(camera: &str) -> v1::SearchRequest {
    let filter = v1::EventFilter { camera_ids: vec![camera.to_owned()], ..Default::default() };
    v1::SearchRequest { filter: Some(filter), ..Default::default() }
}

#[tokio::test]
async fn who_asked_what_why_and_what_they_were_given_is_in_the_log_when_the_answer_is_there() {
    let north = FakeRegion::start("north", [9, 5, 3].map(|s| event("north", s)).to_vec()).await;
    let gateway = Gateway::start(&[north.named()]).await;
    let answer = gateway.query().search(why(search_for("gate"))).await.unwrap().into_inner();
    let log = gateway.audit_folder();
    let [record] = &records(&log)[..] else { panic!("one question: {:?}", records(&log)) };
    let entry = &record.entry;
    assert_eq!((entry.subject.as_str(), entry.peer.as_str()), ("anonymous", "127.0.0.1"));
    assert_eq!(entry.method, "EventQueryService/Search");
    assert_eq!((entry.purpose.as_deref(), entry.case.as_deref()), (Some("寻找失踪的孩子"), Some("2026/417")));
    assert_eq!(entry.question["filter"]["cameraIds"][0], "gate");
    assert_eq!((entry.outcome.code.as_str(), entry.outcome.items), ("Ok", answer.events.len() as u64));
}

#[tokio::test]
async fn what_is_refused_and_what_fails_is_written_down_with_its_reason() {
    let north = FakeRegion::start("north", vec![event("north", 1)]).await;
    let gateway = Gateway::start(&[north.named()]).await;
    let bad = v1::SearchRequest { page_size: -1, ..Default::default() };
    gateway.query().search(bad).await.unwrap_err();
    gateway.query().get_event(v1::GetEventRequest { event_id: "x".into(), ..Default::default() }).await.unwrap_err();
    let outcomes: Vec<_> = records(&gateway.audit_folder()).into_iter().map(|record| record.entry.outcome).collect();
    assert_eq!(outcomes.len(), 2);
    assert!(outcomes.iter().all(|outcome| outcome.code == "InvalidArgument" && outcome.items == 0), "{outcomes:?}");
    assert!(outcomes[0].detail.as_ref().unwrap().contains("page_size"));
}

#[tokio::test]
async fn a_live_stream_is_written_down_when_it_opens_and_when_it_ends() {
    let north = FakeRegion::start("north", [1, 2].map(|s| event("north", s)).to_vec()).await;
    let gateway = Gateway::start(&[north.named()]).await;
    let mut subscriber = Subscriber::oldest(&gateway).await;
    let log = gateway.audit_folder();
    assert_eq!(records(&log).len(), 1, "before its first message");
    subscriber.take(2).await;
    drop(subscriber);
    let ended = until("the end in the log", async || records(&log), |records| records.len() == 2).await;
    let methods: Vec<_> = ended.iter().map(|record| record.entry.method.as_str()).collect();
    assert_eq!(methods, ["EventStreamService/Subscribe", "EventStreamService/Subscribe ended"]);
    assert_eq!(ended[1].entry.outcome.items, 2);
}

#[tokio::test]
async fn where_a_purpose_is_required_nobody_is_answered_without_one() {
    let north = FakeRegion::start("north", vec![event("north", 1)]).await;
    let gateway = Gateway::start_with(&[north.named()], |config| config.required.purpose = true).await;
    let refused = gateway.query().search(v1::SearchRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("without a purpose"), "{}", refused.message());
    gateway.query().search(why(v1::SearchRequest::default())).await.unwrap();
    let codes: Vec<_> = records(&gateway.audit_folder()).into_iter().map(|r| r.entry.outcome.code).collect();
    assert_eq!(codes, ["Refused", "Ok"]);
}

#[tokio::test]
async fn a_region_gets_purpose_and_case_from_the_gateway_and_may_require_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = RegionConfig::local(vigil_base::RegionId::new("north").unwrap(), folder.path());
    config.access.require_case = true;
    let log = config.audit_dir.clone();
    let region = RegionServer::start(config).await.unwrap();
    let gateway = Gateway::start(&[("north", region.grpc_address())]).await;
    let told = gateway.query().search(why(search_for("gate"))).await.unwrap().into_inner();
    assert_eq!(outcomes(&told.regions), [("north", Answered)]);
    let untold = gateway.query().search(search_for("gate")).await.unwrap().into_inner();
    assert_eq!(outcomes(&untold.regions), [("north", Denied)], "said, not hidden");
    assert!(untold.regions[0].detail.contains("without a case number"), "{untold:?}");
    let found = records(&log);
    assert_eq!(found[0].entry.case.as_deref(), Some("2026/417"));
    assert_eq!(found[1].entry.outcome.code, "Refused");

    region.stop().await;
    let key = PublicKey::load(&log.join("public-key.pem")).unwrap();
    let report = vigil_audit::verify(&log, &key, &[]).unwrap();
    assert!(report.is_whole() && report.unsigned == 0 && report.records >= 2, "{report:?}");
}

#[tokio::test]
async fn metadata_that_is_no_text_is_refused() {
    let north = FakeRegion::start("north", vec![event("north", 1)]).await;
    let gateway = Gateway::start(&[north.named()]).await;
    let mut request = tonic::Request::new(v1::SearchRequest::default());
    let value = tonic::metadata::BinaryMetadataValue::from_bytes(&[0xff, 0xfe]);
    request.metadata_mut().insert_bin("vigil-purpose-bin", value);
    assert_eq!(gateway.query().search(request).await.unwrap_err().code(), Code::InvalidArgument);
    let long = Access { case: Some("1".repeat(101)), ..Access::default() };
    let mut request = tonic::Request::new(v1::SearchRequest::default());
    long.write(request.metadata_mut());
    assert_eq!(gateway.query().search(request).await.unwrap_err().code(), Code::InvalidArgument);
}
