//! What slices of time are for: old ones go as files, and a damaged one costs its own events alone.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use vigil_base::event::Event;
use vigil_base::{SimClock, Timestamp};
use vigil_proto::convert::Filter;
use vigil_region::index::sqlite::{Reindexed, ReindexedSlice, SqliteConfig, SqliteIndex};
use vigil_region::index::{
    CommitFeed, CommitSeq, CountQuery, EventCounts, EventLookup, EventSearch, EventWriter, GroupKey, Index,
    IndexStatus, NewRevision, Retention, SearchQuery, StoreOutcome,
};

use common::{NOON, event, region};

const HOUR: Duration = Duration::from_hours(1);

fn config(data_dir: &Path) -> SqliteConfig {
    SqliteConfig { data_dir: data_dir.to_owned(), region: region(), reader_threads: 2, slice: HOUR }
}

/// At a moment when all hours of these tests are over.
fn open(data_dir: &Path) -> SqliteIndex {
    SqliteIndex::open(&config(data_dir), SimClock::new(hour(12))).unwrap()
}

fn hour(number: u32) -> Timestamp {
    NOON + HOUR * number
}

/// Some events of each hour, of several minutes each.
async fn store_hours(index: &SqliteIndex, hours: std::ops::Range<u32>) -> Vec<Event> {
    let begins = hours.flat_map(|number| (0..40).map(move |i| hour(number) + Duration::from_secs(i * 60)));
    let events: Vec<Event> =
        begins.map(|begin| Event { end_time: begin + Duration::from_mins(5), ..event(begin) }).collect();
    store(index, &events).await;
    events
}

async fn store(index: &SqliteIndex, events: &[Event]) {
    let revisions = events.iter().map(|event| NewRevision::new(event.clone(), Bytes::new())).collect();
    for outcome in index.commit(revisions).await.unwrap() {
        assert!(matches!(outcome, StoreOutcome::Accepted(_)), "{outcome:?}");
    }
}

/// Page by page.
async fn search(index: &SqliteIndex) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = index.search(SearchQuery { filter: Filter::default(), after, max_events: 23 }).await.unwrap();
        found.extend(page.events.into_iter().map(|event| event.event_id));
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

async fn count(index: &SqliteIndex) -> u64 {
    let filter = Filter { from: Some(hour(0)), until: Some(hour(24)), ..Filter::default() };
    let counts = index.count(CountQuery { filter, group_by: vec![GroupKey::Hour], max_groups: 100 }).await.unwrap();
    counts.groups.iter().map(|group| group.events).sum()
}

/// Newest first.
fn ids<'e>(events: impl IntoIterator<Item = &'e Event>) -> Vec<String> {
    let mut events: Vec<&Event> = events.into_iter().collect();
    events.sort_by_key(|event| std::cmp::Reverse((event.begin_time, event.id)));
    events.into_iter().map(|event| event.id.to_string()).collect()
}

/// The file of an hour's slice.
fn file_of(data_dir: &Path, number: u32) -> PathBuf {
    let start = format!("events-{}-", &hour(number).to_string()[..13]);
    let mut files = fs::read_dir(data_dir).unwrap().map(|entry| entry.unwrap().path());
    let is_it = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.strip_suffix(".db").is_some_and(|stem| stem.starts_with(&start))
    };
    files.find(is_it).unwrap()
}

fn damage(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let end = bytes.len();
    bytes[4_096..end].fill(0xa5);
    fs::write(file, bytes).unwrap();
}

#[tokio::test]
async fn a_damaged_slice_costs_its_own_events_and_says_so() {
    let temp = tempfile::tempdir().unwrap();
    let index = open(temp.path());
    let events = store_hours(&index, 0..3).await;
    drop(index);
    damage(&file_of(temp.path(), 1));

    let index = open(temp.path());
    let (lost, left): (Vec<&Event>, Vec<&Event>) =
        events.iter().partition(|event| (hour(1)..hour(2)).contains(&event.begin_time));
    let parts = index.unreadable();
    assert_eq!((parts.len(), parts[0].from, parts[0].until), (1, hour(1), hour(2)));
    assert!(parts[0].problem.contains("damaged") && parts[0].problem.contains("events-2026-01-05T11"), "{parts:?}");
    assert_eq!(search(&index).await, ids(left.iter().copied()));
    assert_eq!((count(&index).await, index.stats().await.unwrap().events), (80, 80));
    assert_eq!(index.event(lost[0].id).await.unwrap(), None);
    assert!(index.event(left[0].id).await.unwrap().is_some());

    // Who asks for another time lacks nothing.
    let asks = |from, until| Filter { from: Some(from), until: Some(until), ..Filter::default() };
    assert!(parts[0].may_match(&asks(hour(1), hour(2))) && parts[0].may_match(&Filter::default()));
    assert!(!parts[0].may_match(&asks(hour(0), hour(1))));

    // A reader of the feed learns that something is gone.
    let page = index.read(CommitSeq(0), Arc::default(), 1_000).await.unwrap();
    assert_eq!((page.items.len(), page.through), (80, CommitSeq(120)));
    assert!(page.purged_through >= CommitSeq(80), "{:?}", page.purged_through);
    assert!(index.seek(Timestamp::MIN).await.unwrap() < CommitSeq(80));

    // Its time is written on, in a slice of its own.
    let new = event(hour(1) + Duration::from_secs(5));
    store(&index, std::slice::from_ref(&new)).await;
    assert!(index.event(new.id).await.unwrap().is_some());
    drop(index);
    let index = open(temp.path());
    assert_eq!(index.unreadable().len(), 1, "it is remembered beside the slice that took its place");
    assert_eq!(search(&index).await, ids(left.into_iter().chain([&new])));
    while index.purge(hour(2)).await.unwrap() > 0 {}
    assert_eq!(index.unreadable(), []);
    assert_eq!(index.stats().await.unwrap().events, 40);
}

#[tokio::test]
async fn a_slice_that_is_found_damaged_by_a_question_is_set_aside() {
    let temp = tempfile::tempdir().unwrap();
    let index = open(temp.path());
    let events = store_hours(&index, 0..8).await;
    // The newest are open for writing; the first was closed, and its pages are in nobody's memory.
    damage(&file_of(temp.path(), 0));
    assert_eq!(index.unreadable(), []);
    assert_eq!(search(&index).await, ids(&events[40..]));
    assert_eq!(index.unreadable().len(), 1);
    assert_eq!(count(&index).await, 280);
}

#[tokio::test]
async fn a_slice_whose_file_is_lost_is_missed() {
    let temp = tempfile::tempdir().unwrap();
    let index = open(temp.path());
    let events = store_hours(&index, 0..2).await;
    drop(index);
    fs::remove_file(file_of(temp.path(), 0)).unwrap();
    let index = open(temp.path());
    assert!(index.unreadable()[0].problem.contains("not there"), "{:?}", index.unreadable());
    assert_eq!(search(&index).await, ids(&events[40..]));
}

#[tokio::test]
async fn retention_removes_files_and_frees_their_space_while_questions_are_asked() {
    let temp = tempfile::tempdir().unwrap();
    let index = Arc::new(open(temp.path()));
    let events = store_hours(&index, 0..10).await;
    let asking: Vec<_> = (0..3)
        .map(|_| {
            let index = Arc::clone(&index);
            tokio::spawn(async move {
                for _ in 0..30 {
                    let query = SearchQuery { filter: Filter::default(), after: None, max_events: 1_000 };
                    let found = index.search(query).await.unwrap().events.len();
                    assert!(found.is_multiple_of(40), "slices go whole: {found}");
                }
            })
        })
        .collect();
    for number in 0..6 {
        assert_eq!(index.purge(hour(6)).await.unwrap(), 40, "hour {number}");
    }
    assert_eq!(index.purge(hour(6)).await.unwrap(), 0);
    for task in asking {
        task.await.unwrap();
    }
    assert_eq!(search(&index).await, ids(&events[240..]));
    let named: Vec<String> =
        fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let gone = |name: &String| (0..6).any(|number| name.contains(&hour(number).to_string()[..13]));
    assert_eq!(named.iter().find(|name| gone(name)), None, "{named:?}");
    let held = fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
    let folder = temp.path().to_str().unwrap();
    let deleted = |path: &PathBuf| path.to_str().is_some_and(|p| p.starts_with(folder) && p.ends_with("(deleted)"));
    assert_eq!(held.into_iter().find(deleted), None, "space is free once nobody has the file open");
}

#[tokio::test]
async fn events_far_from_the_regions_clock_make_no_files_of_their_own() {
    let temp = tempfile::tempdir().unwrap();
    let index = open(temp.path());
    let begins = (0..200).map(|i| Timestamp::from_micros(i * 9_000_000_000_000));
    let events: Vec<Event> = begins.map(event).collect();
    store(&index, &events).await;
    assert!(index.slice_files().len() <= 2, "{:?}", index.slice_files());
    assert_eq!(search(&index).await, ids(&events));
    for event in &events {
        assert!(index.event(event.id).await.unwrap().is_some());
    }
    // A later revision finds the first, whatever the clock is by then.
    drop(index);
    let index = SqliteIndex::open(&config(temp.path()), SimClock::new(events[197].begin_time)).unwrap();
    let grown = common::ended(&events[197]);
    let outcome = index.commit(vec![NewRevision::new(grown, Bytes::new())]).await.unwrap();
    assert!(matches!(outcome[..], [StoreOutcome::Accepted(_)]), "{outcome:?}");
    assert_eq!(search(&index).await.len(), 200, "replaced, not stored beside");
}

fn reindex(data_dir: &Path) -> Vec<ReindexedSlice> {
    let mut told = Vec::new();
    SqliteIndex::reindex(&config(data_dir), &mut |slice| {
        told.push(slice);
        Ok(())
    })
    .unwrap();
    told
}

#[tokio::test]
async fn reindexing_puts_right_what_differs_from_the_payloads() {
    let temp = tempfile::tempdir().unwrap();
    let index = open(temp.path());
    let events = store_hours(&index, 0..2).await;
    drop(index);
    let slice = rusqlite::Connection::open(file_of(temp.path(), 1)).unwrap();
    slice
        .execute_batch("UPDATE hourly SET events = 7; UPDATE events SET confidence = 0.1, end_us = 0 WHERE row = 3")
        .unwrap();
    drop(slice);
    let told = reindex(temp.path());
    let sound = Reindexed { events: 40, ..Reindexed::default() };
    let put_right = Reindexed { corrected: 1, counts_differed: true, ..sound };
    assert_eq!(told.iter().map(|slice| slice.outcome.clone().unwrap()).collect::<Vec<_>>(), [sound, put_right]);
    let index = open(temp.path());
    assert_eq!((count(&index).await, search(&index).await), (80, ids(&events)));
}

#[tokio::test]
async fn an_index_whose_own_file_is_lost_is_made_anew_from_its_slices() {
    let temp = tempfile::tempdir().unwrap();
    let index = open(temp.path());
    let events = store_hours(&index, 0..3).await;
    let index_id = index.index_id();
    drop(index);
    fs::remove_file(temp.path().join("region.db")).unwrap();
    let told = reindex(temp.path());
    assert_eq!(told.len(), 3);
    let index = open(temp.path());
    assert_eq!(index.index_id(), index_id, "cursors are good again");
    assert_eq!((count(&index).await, search(&index).await), (120, ids(&events)));
    assert_eq!(index.event(events[5].id).await.unwrap().unwrap().camera_id, "gate-1");
    let next = index.commit(vec![NewRevision::new(event(hour(2)), Bytes::new())]).await.unwrap();
    assert_eq!(next, [StoreOutcome::Accepted(CommitSeq(121))], "no number is given twice");
}

#[tokio::test]
async fn a_damaged_slice_that_is_put_back_is_taken_back() {
    let temp = tempfile::tempdir().unwrap();
    let index = open(temp.path());
    let events = store_hours(&index, 0..2).await;
    drop(index);
    let file = file_of(temp.path(), 0);
    let sound = fs::read(&file).unwrap();
    damage(&file);
    let told = reindex(temp.path());
    assert!(told.iter().any(|slice| slice.outcome.as_ref().is_err_and(|why| why.contains("damaged"))), "{told:?}");
    fs::write(&file, sound).unwrap();
    let told = reindex(temp.path());
    assert!(told.iter().all(|slice| slice.outcome.is_ok()), "{told:?}");
    let index = open(temp.path());
    assert_eq!((index.unreadable(), search(&index).await), (vec![], ids(&events)));
}
