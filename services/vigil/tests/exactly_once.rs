//! Kill -9 of the edge's process and the region's, in turn and together, under load; then count.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::Receiver;

use common::{PATIENCE, Process};

/// Rounds of killing: each of region, edge and both more than once.
const ROUNDS: usize = 9;
/// Events that must be made between two kills, so that there is something under way.
const EVENTS_BETWEEN: usize = 200;
/// Events the edge makes in one commit: at most so many are durable and not yet told when it is killed.
const GROUP: usize = 10;

fn source(folder: &Path, region: SocketAddr) -> (Process, Receiver<String>) {
    let mut command = common::example("event_source");
    command.arg(folder.join("outbox")).arg(format!("http://{region}")).args(["north", "edge-1"]);
    Process::start_with_lines(command, &folder.join("source.log"))
}

/// Takes lines until `count` ids were told or the process has no more to tell.
fn take_ids(lines: &Receiver<String>, count: usize, told: &mut HashSet<String>) {
    for _ in 0..count {
        told.insert(lines.recv_timeout(PATIENCE).expect("the edge makes events"));
    }
}

/// What was still on its way when the process was killed; a last line cut in the middle is no id.
fn take_rest(lines: &Receiver<String>, told: &mut HashSet<String>) {
    told.extend(lines.iter().filter(|line| line.len() == 36));
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
    edge.close_input();
    loop {
        match lines.recv_timeout(PATIENCE).expect("the edge ships all it has").as_str() {
            "shipped" => break,
            id => told.insert(id.to_owned()),
        };
    }

    let found = common::all_events(common::connect(address).await).await;
    let missing: Vec<_> = told.iter().filter(|id| !found.contains_key(*id)).collect();
    assert!(missing.is_empty(), "{} of {} events are lost: {missing:?}", missing.len(), told.len());
    let doubled: Vec<_> = found.iter().filter(|(_, times)| **times != 1).collect();
    assert!(doubled.is_empty(), "found more than once: {doubled:?}");
    let untold = found.len() - told.len();
    assert!(untold <= edge_kills * GROUP, "{untold} events nobody made after {edge_kills} kills of the edge");
    assert!(told.len() >= (ROUNDS + 1) * EVENTS_BETWEEN);
}
