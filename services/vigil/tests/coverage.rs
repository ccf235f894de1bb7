//! The coverage ledger from a real edge to its region, over a region that is away and an edge that is killed.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use common::clock::ShiftedClock;
use common::edge::{EdgePlan, camera, simulator};
use common::look::{camera_until, eventually, metric};
use common::{Process, connect, free_address, run, vigil};
use vigil_base::coverage::Tally;
use vigil_base::{Clock, SystemClock, Timestamp};
use vigil_proto::convert::{tally_from_wire, tally_to_wire, time_to_wire};
use vigil_proto::v1;
use vigil_proto::v1::coverage_service_client::CoverageServiceClient;

const MINUTE: i64 = 60;

/// Camera and minute to the sums.
type Minutes = BTreeMap<(String, i64), v1::CoverageTally>;

/// What a server says of the hours around now, minute by minute.
async fn minutes(address: SocketAddr) -> Minutes {
    let now = SystemClock::new().now().as_micros();
    let hour = |hours: i64| Some(time_to_wire(Timestamp::from_micros(now + hours * 3_600_000_000)));
    let step = v1::CoverageStep::Minute.into();
    let request = v1::GetCoverageRequest { from: hour(-1), until: hour(2), step, ..Default::default() };
    let mut client = CoverageServiceClient::new(connect(address).await);
    let spans = client.get_coverage(request).await.unwrap().into_inner().spans;
    spans.into_iter().map(|s| ((s.camera_id, s.begin_time.unwrap().seconds / MINUTE), s.tally.unwrap())).collect()
}

/// All of one camera.
fn sum(minutes: &Minutes, camera: &str) -> v1::CoverageTally {
    let mut sum = Tally::default();
    for tally in minutes.iter().filter(|((name, _), _)| name == camera).map(|(_, tally)| *tally) {
        sum += tally_from_wire(tally);
    }
    tally_to_wire(&sum)
}

/// Waits for a minute that the server did not know of.
async fn another_minute(address: SocketAddr, known: &Minutes) -> Minutes {
    let grown = async || Some(minutes(address).await).filter(|now| now.len() >= known.len() + 2);
    eventually("another minute of both cameras", grown).await
}

fn edge(plan: &EdgePlan, clock: &ShiftedClock) -> Process {
    let mut command = plan.command();
    clock.rule(&mut command);
    Process::start(command, &plan.log)
}

#[tokio::test(flavor = "multi_thread")]
async fn minutes_are_told_once_whatever_dies_and_the_blind_are_told_from_the_watched() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = simulator(&["gate"], None);
    let (region, clock) = (free_address(), ShiftedClock::new(folder.path()));
    let stream = |url: &str| format!("address = \"{url}\"");
    let cameras = [
        camera("gate", &stream(&simulator.url("gate"))),
        camera("dead", &stream(&format!("rtsp://{}/1", free_address()))),
    ];
    let plan = EdgePlan::write(folder.path(), "edge-1", ("north", region), &cameras.concat());
    let region_process = common::region(folder.path(), "north", region);
    let edge_process = edge(&plan, &clock);
    let channel = connect(region).await;
    camera_until(&channel, "gate", "looked at", |camera| camera.frames_analysed >= 10).await;

    // The edge's clock enters the next minute: the first one, or what there was of it, is told. A real minute may end, too.
    clock.set(MINUTE);
    let looked_at = async || Some(minutes(region).await).filter(|now| sum(now, "gate").frames_analysed >= 10);
    let first = eventually("ten looks of the camera", looked_at).await;
    let (gate, dead) = (sum(&first, "gate"), sum(&first, "dead"));
    assert!(gate.watched_ms > 0 && gate.watched_ms <= gate.accounted_ms, "{gate:?}");
    assert!(gate.frames_analysed >= 10 && gate.packets_received >= gate.frames_analysed, "{gate:?}");
    assert!(dead.accounted_ms > 0 && dead.watched_ms == 0 && dead.packets_received == 0, "{dead:?}");
    let gauge = |camera: &str| metric(plan.ops, &format!("vigil_coverage_watched_ratio{{camera=\"{camera}\"}}"));
    assert!(gauge("gate").unwrap() > 0.0 && gauge("dead") == Some(0.0));

    the_doctor_reads_it(&plan);

    // Two minutes end while the region is away, and the edge is killed before it is back.
    region_process.kill();
    let mut told = first.clone();
    for shift in [2, 3] {
        clock.set(shift * MINUTE);
        told = another_minute(plan.grpc, &told).await;
    }
    edge_process.kill();
    let _region = common::region(folder.path(), "north", region);
    let edge_process = edge(&plan, &clock);
    let all_there = async || Some(minutes(region).await).filter(|now| told.keys().all(|key| now.contains_key(key)));
    let arrived = eventually("the minutes that waited", all_there).await;
    for (key, tally) in &told {
        assert_eq!(arrived[key], *tally, "{key:?} was told otherwise, or twice");
    }

    // An edge that stops tells the minute under way.
    let channel = connect(region).await;
    camera_until(&channel, "gate", "looked at again", |camera| camera.frames_analysed >= 3).await;
    assert!(edge_process.terminate().success());
    another_minute(region, &arrived).await;
    people_see_it(region);
}

fn the_doctor_reads_it(plan: &EdgePlan) {
    let mut doctor = vigil();
    doctor.args(["doctor", "--json", "--providers", "cpu", "--edge", &format!("http://{}", plan.grpc)]);
    let (status, shown, complaint) = run(doctor.arg("--manifest").arg(common::edge::manifest()));
    let line = |camera: &str| shown.lines().find(|line| line.contains(&format!("camera {camera}, last "))).unwrap();
    assert!(line("gate").contains("analysed"), "{shown}{complaint}");
    assert!(line("dead").contains("broken"), "{shown}");
    assert_eq!(status, Some(1), "a camera that is not seen is not well");
}

fn people_see_it(region: SocketAddr) {
    let ask = |more: &[&str]| {
        let mut command = vigil();
        command.args(["coverage", "--server", &format!("http://{region}"), "--from", "30m"]).args(more);
        run(&mut command)
    };
    let (status, shown, _) = ask(&["--below", "100"]);
    assert!(status == Some(0) && shown.contains("gate") && shown.contains(" on cpu"), "{shown}");
    let dead = shown.lines().find(|line| line.contains("dead")).unwrap();
    assert!(dead.contains("0.0 %"), "{dead}");
    let (status, shown, _) = ask(&["--camera", "gate", "--step", "minute", "--json"]);
    let spans: Vec<serde_json::Value> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(status, Some(0));
    assert!(spans.iter().any(|span| span["analyses"][0]["model_fingerprint"].as_str().is_some_and(|f| f.len() == 64)));
    let (status, _, complaint) = ask(&["--until", "2020-01-01T00:00:00Z"]);
    assert!(status == Some(2) && complaint.contains("until"), "{complaint}");
}
