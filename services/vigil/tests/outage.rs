//! Regions that are away, edges that share an id, clocks that jump meanwhile: then count.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::collections::HashSet;

use common::clock::ShiftedClock;
use common::edge::{EdgePlan, camera};
use common::look::{eventually, health_until, metric, problem, status_until};
use common::{Process, assert_found_once, free_address, ship_all, take_ids};
use vigil_proto::v1;

/// What an edge makes in hours without its region.
const BACKLOG: usize = 5_000;
const DAY: i64 = 24 * 60 * 60;

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_hours_arrives_once_whatever_the_clock_did_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let region = free_address();
    let clock = ShiftedClock::new(folder.path());
    let mut command = common::event_source(folder.path(), "edge-1", ("north", region));
    clock.rule(&mut command);
    let (mut source, lines) = Process::start_with_lines(command, &folder.path().join("source.log"));
    let mut told = HashSet::new();
    // The region is not there from the start; the edge's clock is set ahead, back beyond where it was, and right again.
    for shift in [0, DAY, -DAY, 0] {
        clock.set(shift);
        take_ids(&lines, BACKLOG / 4, &mut told);
    }
    assert_eq!(told.len(), BACKLOG, "no id is given twice");
    let log = std::fs::read_to_string(folder.path().join("source.log")).unwrap();
    assert!(log.contains("cannot reach region north") && log.contains(&region.to_string()), "{log}");

    let _region = common::region(folder.path(), "north", region);
    let channel = common::connect(region).await;
    // While the backlog is shipped, the clock jumps again.
    clock.set(DAY);
    take_ids(&lines, 500, &mut told);
    clock.set(0);
    ship_all(&mut source, &lines, &mut told);
    assert_eq!(assert_found_once(channel, &told).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_edges_with_one_id_the_second_is_told_and_takes_over_when_the_first_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let region = free_address();
    let _region = common::region(folder.path(), "north", region);
    // Nobody answers there: the edges run, connect and make no events.
    let camera = camera("gate", &format!("address = \"rtsp://{}/1\"", free_address()));
    let edge = |name: &str| EdgePlan::write(&folder.path().join(name), "edge-1", ("north", region), &camera);
    let (first, second) = (edge("first"), edge("second"));
    let first_process = first.start();
    let channel = common::connect(region).await;
    let connected = |status: &v1::RegionStatus| status.edges.iter().any(|edge| edge.connected).then_some(());
    status_until(&channel, "the first edge", connected).await;

    let _second = second.start();
    let health = health_until(second.ops, "the refusal", |health| problem(health, "region").is_some()).await;
    let told = problem(&health, "region").unwrap();
    assert!(told.contains("edge-1 is connected from another installation"), "{told}");
    health_until(first.ops, "the first edge goes on", |health| problem(health, "region").is_none()).await;

    first_process.kill();
    health_until(second.ops, "the second edge is taken", |health| problem(health, "region").is_none()).await;
    let is_connected = "vigil_region_connected";
    eventually("the second edge connected", async || metric(second.ops, is_connected).filter(|n| *n == 1.0)).await;
    status_until(&channel, "an edge", connected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_pointed_at_something_else_says_what_answers_there() {
    let folder = tempfile::tempdir().unwrap();
    let (north, front) = (free_address(), free_address());
    let _region = common::region(folder.path(), "north", north);
    let _gateway = common::gateway(folder.path(), front, &[("north", north)]);
    common::connect(front).await;
    let camera = camera("gate", &format!("address = \"rtsp://{}/1\"", free_address()));
    for (name, region, told) in [
        ("other", ("south", north), "edge edge-1 is configured for region \"south\""),
        ("gateway", ("north", front), "no region answers at http://"),
    ] {
        let plan = EdgePlan::write(&folder.path().join(name), "edge-1", region, &camera);
        let _edge = plan.start();
        let health = health_until(plan.ops, told, |health| problem(health, "region").is_some()).await;
        assert!(problem(&health, "region").unwrap().contains(told), "{health}");
    }
}
