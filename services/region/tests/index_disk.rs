//! Retention on a disk that is full to the last byte: a real file system, filled while the index is open, whichever way its
//! process ended and whatever stood in its logs then.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;
#[allow(dead_code)] // This test uses a part of it.
#[path = "../../vigil/tests/common/disk.rs"]
mod disk;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use vigil_base::{SimClock, Timestamp};
use vigil_region::index::sqlite::{SqliteConfig, SqliteIndex};
use vigil_region::index::{EventWriter, Index, IndexStatus, NewRevision, Retention};

use common::{NOON, event, jpeg, region};
use disk::SmallDisk;

/// Set for the process inside: what it does, with how many events, and where.
const ORDER: &str = "VIGIL_FULL_DISK_ORDER";
const DISK: u64 = 24 * 1024 * 1024;
const DAY: Duration = Duration::from_hours(24);

fn open(folder: &Path, now: Timestamp) -> SqliteIndex {
    let config = SqliteConfig { data_dir: folder.to_owned(), region: region(), reader_threads: 1, slice: DAY };
    SqliteIndex::open(&config, SimClock::new(now)).unwrap()
}

/// Takes the last byte that there is.
fn fill(folder: &Path) {
    let mut ballast = File::options().create(true).append(true).open(folder.join("ballast")).unwrap();
    for size in [65_536, 4_096, 1] {
        while ballast.write_all(&vec![0; size]).is_ok() {}
    }
}

/// Stores events of three days, fills the disk, and ends.
async fn store_and_fill(folder: &Path, events: u64, is_killed: bool) {
    let index = open(folder, NOON + 3 * DAY);
    for first in 0..events {
        let begin = NOON + DAY * 3 / events as u32 * first as u32;
        index.commit(vec![NewRevision::new(event(begin), jpeg(first as u8, 20_000))]).await.unwrap();
    }
    fill(folder);
    let refused = NewRevision::new(event(NOON + 2 * DAY), jpeg(1, 500_000));
    index.commit(vec![refused]).await.expect_err("the disk is full");
    if is_killed {
        std::process::abort();
    }
    index.close();
    fill(folder);
}

/// Starts months later, removes all, and has room for new events.
async fn remove_all(folder: &Path, events: u64) {
    let now = NOON + 100 * DAY;
    let index = open(folder, now);
    assert_eq!(index.stats().await.unwrap().events, events);
    let mut removed = 0;
    loop {
        match index.purge(now - 30 * DAY).await.unwrap() {
            0 => break,
            more => removed += more,
        }
    }
    assert_eq!((removed, index.stats().await.unwrap().events), (events, 0));
    index.commit(vec![NewRevision::new(event(now), Bytes::new())]).await.unwrap();
    index.close();
    assert_eq!(open(folder, now).stats().await.unwrap().events, 1);
}

fn ordered(disk: &SmallDisk, what: &str, events: u64, folder: &Path) -> (bool, String) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "retention_needs_no_free_space", "--nocapture"]);
    child.env(ORDER, format!("{what} {events} {}", folder.display())).env("RUST_BACKTRACE", "0");
    let output = disk.inside(&child).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test]
async fn retention_needs_no_free_space() {
    if let Some(order) = std::env::var_os(ORDER) {
        let order = order.into_string().unwrap();
        let [what, events, folder] = order.split(' ').collect::<Vec<_>>()[..] else { panic!("{order}") };
        let (events, folder) = (events.parse().unwrap(), PathBuf::from(folder));
        match what {
            "killed" => store_and_fill(&folder, events, true).await,
            "closed" => store_and_fill(&folder, events, false).await,
            _ => remove_all(&folder, events).await,
        }
        return;
    }
    for end in ["killed", "closed"] {
        // Other numbers leave the logs in other states: just moved, about to be, never yet.
        for events in [3, 17, 60, 190, 240, 300] {
            let temp = tempfile::tempdir().unwrap();
            let folder = temp.path().join("data");
            let disk = SmallDisk::new(&folder, DISK);
            let (ended, said) = ordered(&disk, end, events, &folder);
            assert!(ended == (end == "closed") && !said.contains("panicked"), "{events} events, {end}: {said}");
            let (removed, said) = ordered(&disk, "remove", events, &folder);
            assert!(removed, "{events} events, {end}: {said}");
        }
    }
}
