//! Rules on a running edge: what they find reaches the region, and they and the cameras change without a restart.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use common::edge::{EdgePlan, camera, simulator};
use common::look::{camera_until, eventually, health_until, http_get, metric, problem};
use common::{Process, connect, free_address, run, vigil};
use tonic::transport::Channel;
use vigil_proto::v1;
use vigil_proto::v1::event_query_service_client::EventQueryServiceClient;
use vigil_proto::v1::rule_evidence::Detail;

const OVER: &str = r#"
lines = [{ id = "middle", points = [[0.5, 0.0], [0.5, 1.0]] }]
[[rules]]
id = "over"
classes = ["person"]
line_crossed = { line = "middle" }
"#;
const PRESENT: &str = r#"
zones = [{ id = "plaza", points = [[0.05, 0.05], [0.95, 0.05], [0.95, 0.95], [0.05, 0.95]] }]
[[rules]]
id = "present"
inside = { zone = "plaza" }
"#;

/// A camera with the rules of a file beside the configuration.
fn ruled(id: &str, url: &str, rules: &str) -> String {
    format!("{}rules = \"{rules}\"\n", camera(id, &format!("address = \"{url}\"")))
}

async fn found_by(channel: &Channel, rule: &str) -> Vec<v1::Event> {
    let filter = v1::EventFilter { rule_ids: vec![rule.to_owned()], ..v1::EventFilter::default() };
    let request = v1::SearchRequest { filter: Some(filter), page_size: 1000, ..v1::SearchRequest::default() };
    let mut queries = EventQueryServiceClient::new(channel.clone()).max_decoding_message_size(16 << 20);
    queries.search(request).await.unwrap().into_inner().events
}

async fn first_found_by(channel: &Channel, rule: &str, by: &str) -> v1::Event {
    let look = async || found_by(channel, rule).await.into_iter().find(|event| event.camera_id == by);
    eventually(&format!("an event of rule {rule} by {by}"), look).await
}

/// Writes other cameras into the configuration and has it read again.
fn change(plan: &EdgePlan, edge: &Process, cameras: &str) {
    let text = std::fs::read_to_string(&plan.config).unwrap();
    let fixed = text.split("[[cameras]]").next().unwrap();
    std::fs::write(&plan.config, format!("{fixed}{cameras}")).unwrap();
    edge.hang_up();
}

async fn reads(plan: &EdgePlan, outcome: &str, times: f64) {
    let series = format!("vigil_configuration_reads_total{{outcome=\"{outcome}\"}}");
    eventually(&series, async || metric(plan.ops, &series).filter(|count| *count >= times)).await;
}

/// How often a camera was connected with.
fn sessions(plan: &EdgePlan, id: &str) -> Option<f64> {
    metric(plan.ops, &format!("vigil_camera_sessions_total{{camera=\"{id}\"}}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rules_find_reaches_the_region_and_rules_and_cameras_change_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = simulator(&["one", "two"], None);
    let region = free_address();
    let _region = common::region(folder.path(), "north", region);
    let channel = connect(region).await;
    let one = |rules| ruled("one", &simulator.url("one"), rules);
    let plan = EdgePlan::write(folder.path(), "edge-1", ("north", region), &one("over.toml"));
    let beside = plan.config.parent().unwrap();
    std::fs::write(beside.join("over.toml"), OVER).unwrap();
    std::fs::write(beside.join("present.toml"), PRESENT).unwrap();
    let edge = plan.start();

    let crossing = first_found_by(&channel, "over", "one").await;
    assert_eq!((crossing.kind(), crossing.end_reason()), (v1::EventKind::LineCrossed, v1::EndReason::Over));
    assert_eq!((crossing.zone_id.as_str(), crossing.object_class.as_str()), ("middle", "person"));
    let Some(Detail::Crossing(evidence)) = crossing.evidence.unwrap().detail else { panic!("no crossing") };
    assert!((evidence.at.unwrap().at.unwrap().x - 0.5).abs() < 1e-3);

    // People are shown what was found, by which rule.
    let mut asked = vigil();
    asked.args(["query", "--rule", "over", "--server"]).arg(format!("http://{region}"));
    let (status, shown, _) = run(&mut asked);
    assert!(status == Some(0) && shown.contains("person line_crossed (over)"), "{shown}");

    // Another rule for the one camera, and a second camera.
    let two = ruled("two", &simulator.url("two"), "present.toml");
    change(&plan, &edge, &format!("{}{two}", one("present.toml")));
    reads(&plan, "taken_over", 1.0).await;
    for by in ["one", "two"] {
        let present = first_found_by(&channel, "present", by).await;
        assert_eq!((present.kind(), present.zone_id.as_str()), (v1::EventKind::Inside, "plaza"));
    }
    assert_eq!(sessions(&plan, "one"), Some(1.0), "a change of rules touches no stream");
    let before = camera_until(&channel, "two", "is announced", |camera| camera.frames_received > 0).await;

    // A rule that is wrong, or a class that the model does not find: nothing changes.
    let wrong = PRESENT.replace("zone = \"plaza\"", "zone = \"palza\"");
    let unfit = PRESENT.replace("inside", "classes = [\"ghost\"]\ninside");
    for (nth, (rules, why)) in
        [(wrong, "no zone \"palza\""), (unfit, "\"ghost\" is not a class")].into_iter().enumerate()
    {
        std::fs::write(beside.join("wrong.toml"), rules).unwrap();
        change(&plan, &edge, &one("wrong.toml"));
        reads(&plan, "refused", nth as f64 + 1.0).await;
        let said = |health: &serde_json::Value| problem(health, "configuration").is_some_and(|said| said.contains(why));
        health_until(plan.ops, why, said).await;
    }
    let enough = before.frames_received + 20;
    camera_until(&channel, "two", "goes on", |camera| camera.frames_received > enough).await;

    // What cannot change is named.
    let text = std::fs::read_to_string(&plan.config).unwrap();
    std::fs::write(&plan.config, text.replace("wrong.toml", "over.toml").replace("workers = 1", "workers = 2"))
        .unwrap();
    edge.hang_up();
    reads(&plan, "refused", 3.0).await;
    std::fs::write(&plan.config, text.replace("wrong.toml", "over.toml")).unwrap();

    // The second camera is taken out; its events end, and the first goes on with its first rule.
    edge.hang_up();
    reads(&plan, "taken_over", 2.0).await;
    let open = async || {
        let events = found_by(&channel, "present").await;
        events.iter().all(|event| event.state() == v1::EventState::Ended).then_some(events)
    };
    let ended = eventually("all that the rule found has ended", open).await;
    let last = |by: &str| ended.iter().filter(|event| event.camera_id == by).map(v1::Event::end_reason).next().unwrap();
    assert_eq!((last("one"), last("two")), (v1::EndReason::RuleChanged, v1::EndReason::EdgeStopped));
    assert!(http_get(plan.ops, "/healthz").is_some_and(|health| !health.contains("configuration")));
    assert_eq!((sessions(&plan, "one"), sessions(&plan, "two")), (Some(1.0), Some(1.0)));
    assert!(edge.terminate().success());
}
