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

const LASTING: &str = r#"
zones = [{ id = "plaza", points = [[0.05, 0.05], [0.95, 0.05], [0.95, 0.95], [0.05, 0.95]] }]
lines = [{ id = "middle", points = [[0.5, 0.0], [0.5, 1.0]] }]
[[rules]]
id = "crowded"
occupancy = { zone = "plaza", capacity = 1, hold = "1s" }
[[rules]]
id = "once"
cool_down = "2h"
line_crossed = { line = "middle" }
[[rules]]
id = "off"
armed = false
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

/// How many went over the line of rule `once`, both ways, as the edge's metrics have it.
fn crossings(plan: &EdgePlan) -> Option<f64> {
    let series = |way| format!("vigil_rule_crossings{{camera=\"one\",rule=\"once\",direction=\"{way}\"}}");
    Some(metric(plan.ops, &series("left"))? + metric(plan.ops, &series("right"))?)
}

async fn crossings_above(plan: &EdgePlan, least: f64) -> f64 {
    let what = format!("more than {least} crossings");
    eventually(&what, async || crossings(plan).filter(|count| *count > least)).await
}

async fn the_one_found_by(channel: &Channel, rule: &str) -> v1::Event {
    let events = found_by(channel, rule).await;
    let [event] = &events[..] else { panic!("{} events of rule {rule}: {events:#?}", events.len()) };
    event.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rules_count_and_found_goes_on_over_kill_9_and_restarts_and_nothing_is_told_twice() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = simulator(&["one"], None);
    let region = free_address();
    let _region = common::region(folder.path(), "north", region);
    let channel = connect(region).await;
    let cameras = ruled("one", &simulator.url("one"), "lasting.toml");
    let plan = EdgePlan::write(folder.path(), "edge-1", ("north", region), &cameras);
    std::fs::write(plan.config.with_file_name("lasting.toml"), LASTING).unwrap();
    let mut edge = plan.start();
    let first = first_found_by(&channel, "crowded", "one").await;
    let crossing = first_found_by(&channel, "once", "one").await;
    let mut counted = crossings_above(&plan, 0.0).await;

    for (nth, in_order) in [false, true, false].into_iter().enumerate() {
        let revision = the_one_found_by(&channel, "crowded").await.revision;
        if in_order {
            assert!(edge.terminate().success());
        } else {
            edge.kill();
        }
        edge = plan.start();
        let goes_on = async || {
            let found = found_by(&channel, "crowded").await;
            found.into_iter().find(|event| event.revision > revision + 1 && event.state() == v1::EventState::Ongoing)
        };
        let again = eventually(&format!("the crowd goes on after restart {nth}"), goes_on).await;
        assert_eq!((&again.event_id, again.begin_time), (&first.event_id, first.begin_time));
        // What was counted within the last ten seconds before a kill may be lost, nothing else.
        if in_order {
            let now = eventually("counts", async || crossings(&plan)).await;
            assert!(now >= counted, "{now} after {counted}");
        }
        counted = crossings_above(&plan, if in_order { counted } else { 1.0 }).await;
    }
    assert_eq!(the_one_found_by(&channel, "once").await.event_id, crossing.event_id, "its cool-down goes on");

    // Who asks the region sees the same.
    let seen = camera_until(&channel, "one", "tells its rules", |camera| camera.rules.len() == 3).await;
    let rules: Vec<(&str, bool)> = seen.rules.iter().map(|rule| (rule.rule_id.as_str(), rule.on)).collect();
    assert_eq!(rules, [("crowded", true), ("once", true), ("off", false)]);
    let mut asked = vigil();
    asked.args(["status", "--server"]).arg(format!("http://{region}"));
    let (status, shown, _) = run(&mut asked);
    assert!(status == Some(0) && shown.contains("rule crowded: on, ") && shown.contains(" right since "), "{shown}");

    // A file that is damaged is thrown away, and said so.
    edge.kill();
    let file = plan.data.join("rules/one");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    edge = plan.start();
    let twice = async || (found_by(&channel, "once").await.len() == 2).then_some(());
    eventually("a rule whose cool-down was lost fires again", twice).await;
    assert!(std::fs::read_to_string(&plan.log).unwrap().contains("what the rules remember cannot be used"));
    assert!(edge.terminate().success());
}
