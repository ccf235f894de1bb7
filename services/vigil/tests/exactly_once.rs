//! Kill -9 of the edge's process and the region's, in turn and together, under load; then count.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::Receiver;

use common::{Process, assert_found_once, ship_all, take_ids, take_rest};

/// Rounds of killing: each of region, edge and both more than once.
const ROUNDS: usize = 9;
/// Events that must be made between two kills, so that there is something under way.
const EVENTS_BETWEEN: usize = 200;
/// Events the edge makes in one commit: at most so many are durable and not yet told when it is killed.
const GROUP: usize = 10;

fn source(folder: &Path, region: SocketAddr) -> (Process, Receiver<String>) {
    let command = common::event_source(folder, "edge-1", ("north", region));
    Process::start_with_lines(command, &folder.join("source.log"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_that_was_made_is_found_exactly_once_whoever_is_killed_whenever() {
    let folder = tempfile::tempdir().unwrap();
    let address = common::free_address();
    let mut region = common::region(folder.path(), "north", address);
    let (mut edge, mut lines) = source(folder.path(), address);
    let (mut told, mut edge_kills) = (HashSet::new(), 0);
    for round in 0..ROUNDS {
        take_ids(&lines, EVENTS_BETWEEN, &mut told);
        if round % 3 != 1 {
            region.kill();
            region = common::region(folder.path(), "north", address);
        }
        if round % 3 != 0 {
            edge.kill();
            take_rest(&lines, &mut told);
            (edge, lines) = source(folder.path(), address);
            edge_kills += 1;
        }
    }
    take_ids(&lines, EVENTS_BETWEEN, &mut told);
    ship_all(&mut edge, &lines, &mut told);
    let untold = assert_found_once(common::connect(address).await, &told).await;
    assert!(untold <= edge_kills * GROUP, "{untold} events nobody made after {edge_kills} kills of the edge");
    assert!(told.len() >= (ROUNDS + 1) * EVENTS_BETWEEN);
}
