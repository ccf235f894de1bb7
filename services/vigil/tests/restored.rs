//! A region whose index is put back from a backup: what it had acknowledged since comes back from the edges. Then count.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::collections::HashSet;
use std::path::Path;

use common::look::status_until;
use common::reader::Reader;
use common::{Process, assert_found_once, free_address, ship_all, take_ids};
use vigil_proto::v1;

/// Events before the backup, and after it.
const BEFORE: usize = 500;
const AFTER: usize = 8_000;
/// The region is killed so often while it gets back what it lost, each time after so many more events.
const KILLS: u64 = 3;
const EVENTS_BETWEEN: u64 = 1_500;

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&from, &to);
        } else {
            std::fs::copy(from, to).unwrap();
        }
    }
}

/// How many events a backup holds: more than were waited for, by what came until the region had ended.
async fn events_of(folder: &Path, backup: &Path) -> u64 {
    let copy = folder.join("copy");
    copy_folder(backup, &copy.join("north/data"));
    let address = free_address();
    let _region = common::region(&copy, "north", address);
    status_until(&common::connect(address).await, "the backup's events", |status| Some(status.events)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_after_the_backup_comes_back_from_the_edge_whoever_is_killed_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let (data, backup) = (folder.path().join("north/data"), folder.path().join("backup"));
    let address = free_address();
    let region = common::region(folder.path(), "north", address);
    let command = common::event_source(folder.path(), "edge-1", ("north", address));
    let (mut source, lines) = Process::start_with_lines(command, &folder.path().join("source.log"));
    let mut told = HashSet::new();
    take_ids(&lines, BEFORE, &mut told);
    let channel = common::connect(address).await;
    let holds = |least: u64| move |status: &v1::RegionStatus| (status.events >= least).then_some(status.events);
    status_until(&channel, "the first events", holds(BEFORE as u64)).await;
    assert!(region.terminate().success());
    copy_folder(&data, &backup);
    let before = events_of(folder.path(), &backup).await;

    let region = common::region(folder.path(), "north", address);
    take_ids(&lines, AFTER, &mut told);
    let channel = common::connect(address).await;
    status_until(&channel, "the next events", holds(before + AFTER as u64)).await;
    let mut reader = Reader::default();
    reader.read_until(channel, |seen| seen.len() as u64 >= before + AFTER as u64 / 2).await;
    region.kill();

    // The disk is gone.
    std::fs::remove_dir_all(&data).unwrap();
    copy_folder(&backup, &data);
    for kill in 1..=KILLS {
        let region = common::region(folder.path(), "north", address);
        let channel = common::connect(address).await;
        status_until(&channel, "events that come back", holds(before + kill * EVENTS_BETWEEN)).await;
        region.kill();
    }
    let _region = common::region(folder.path(), "north", address);
    take_ids(&lines, BEFORE, &mut told);
    ship_all(&mut source, &lines, &mut told);
    assert_eq!(assert_found_once(common::connect(address).await, &told).await, 0);
    // Its cursor lies in a past that is no more: with the same number, other events were committed before it.
    reader.read_until(common::connect(address).await, |seen| seen.is_superset(&told)).await;
    assert_eq!(reader.gaps, [v1::GapReason::Restored]);
    for (log, says) in
        [("north/log", "the index lacks events that it had acknowledged"), ("source.log", "is sent again")]
    {
        let log = std::fs::read_to_string(folder.path().join(log)).unwrap();
        assert!(log.contains(says), "{log}");
    }
}
