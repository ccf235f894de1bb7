//! Folders as earlier versions left them, and migrations that are killed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use rusqlite::Connection;
use vigil_base::{Event, SimClock, Timestamp};
use vigil_proto::convert::Filter;

use super::super::SqliteIndex;
use super::super::names::NameCache;
use super::super::store::{CountChanges, Numbers, Writing};
use super::super::testing::{NOON, config, event, open_at};
use super::*;
use crate::index::{
    CommitFeed, CommitSeq, CountQuery, EventCounts, EventLookup, EventSearch, EventWriter, GroupKey, IndexStatus,
    NewRevision, SearchQuery, StoreOutcome,
};

/// Set for the process that is to die in the middle: the data folder, and after how many slices.
const DIES: &str = "VIGIL_MIGRATION_DIES";
const HOURS: u64 = 6;
const EVENTS: u64 = 120;

/// A file of version four, by its tables, with events of some hours, and one of a camera that believes it is 1970.
fn fourth_version(folder: &Path) -> Vec<Event> {
    let connection = Connection::open(folder.join("index.db")).unwrap();
    set_up(&connection).unwrap();
    for tables in TABLES {
        connection.execute_batch(tables).unwrap();
    }
    let mut events: Vec<Event> = (0..EVENTS).map(|i| event(i * 61 % HOURS * 3_600 + i)).collect();
    events.push(Event { begin_time: Timestamp::from_micros(5_000_000), ..event(0) });
    let stray = events.last_mut().unwrap();
    stray.end_time = stray.begin_time + Duration::from_secs(10);
    stray.id = vigil_base::EventId::at(stray.begin_time);
    let (mut names, mut counts) = (NameCache::default(), CountChanges::default());
    let transaction = connection.unchecked_transaction().unwrap();
    for (seq, event) in (1..).zip(&events) {
        let numbers = Numbers::of(&mut names, &connection, event).unwrap();
        let now = NOON + Duration::from_secs(3_600 * HOURS + seq);
        let mut writing = Writing { slice: &connection, counts: &mut counts, now };
        let revision = NewRevision::new(event.clone(), Bytes::from_static(b"a picture"));
        writing.insert(&revision, &numbers, CommitSeq(seq)).unwrap();
    }
    // That version knew no counts by zone.
    let counted = "INSERT INTO hourly (camera, hour, class, kind, events)
                   SELECT camera, begin_us / 3600000000, class, kind, count(*) FROM events GROUP BY 1, 2, 3, 4";
    connection.execute(counted, []).unwrap();
    let meta = "INSERT INTO meta (name, value) VALUES ('region_id', 'north'), ('index_id', ?1), ('commit_seq', ?2)";
    connection.execute(meta, params![Uuid::new_v4().to_string(), events.len() as i64]).unwrap();
    transaction.commit().unwrap();
    connection.pragma_update(None, "application_id", UNSLICED_FILE).unwrap();
    connection.pragma_update(None, "user_version", 4).unwrap();
    events
}

async fn check_complete(folder: &Path, events: &[Event]) {
    let index = open_at(folder, SimClock::new(NOON + Duration::from_hours(HOURS + 1)));
    assert!(!folder.join("index.db").exists());
    let query = SearchQuery { filter: Filter::default(), after: None, max_events: 1_000 };
    let found = index.search(query).await.unwrap().events;
    let mut expected: Vec<&Event> = events.iter().collect();
    expected.sort_by_key(|event| std::cmp::Reverse((event.begin_time, event.id)));
    let expected: Vec<String> = expected.into_iter().map(|event| event.id.to_string()).collect();
    assert_eq!(found.into_iter().map(|event| event.event_id).collect::<Vec<_>>(), expected);
    let page = index.read(CommitSeq(0), std::sync::Arc::default(), 1_000).await.unwrap();
    let seqs: Vec<u64> = page.items.iter().map(|item| item.seq.0).collect();
    assert_eq!(seqs, (1..=events.len() as u64).collect::<Vec<_>>(), "each keeps its place in the feed");
    assert_eq!(index.thumbnail(events[7].id).await.unwrap(), Some(Bytes::from_static(b"a picture")));
    let filter = Filter { from: Some(NOON), until: Some(NOON + Duration::from_hours(24)), ..Filter::default() };
    let counts = index.count(CountQuery { filter, group_by: vec![GroupKey::Hour], max_groups: 100 }).await.unwrap();
    assert_eq!(counts.groups.iter().map(|group| group.events).sum::<u64>(), EVENTS);
    assert_eq!(index.stats().await.unwrap().events, events.len() as u64);
    let next = index.commit(vec![NewRevision::new(event(9), Bytes::new())]).await.unwrap();
    assert_eq!(next, [StoreOutcome::Accepted(CommitSeq(events.len() as u64 + 1))]);
}

#[tokio::test]
async fn an_index_of_one_file_becomes_one_of_slices() {
    let temp = tempfile::tempdir().unwrap();
    let events = fourth_version(temp.path());
    let mut told = Vec::new();
    let mut tell = |slice: MigratedSlice| {
        told.push((slice.events, slice.so_far, slice.of));
        Ok(())
    };
    assert!(SqliteIndex::migrate(&config(temp.path()), &mut tell).unwrap());
    let all = EVENTS + 1;
    assert_eq!(
        told,
        [(20, 20, all), (20, 40, all), (20, 60, all), (20, 80, all), (20, 100, all), (20, 120, all), (1, all, all)]
    );
    assert!(!SqliteIndex::migrate(&config(temp.path()), &mut |_| unreachable!("there is nothing more")).unwrap());
    check_complete(temp.path(), &events).await;
}

/// The process that dies: without any end of its own, as by kill -9.
fn die_after(folder: &Path, slices: usize) {
    let mut left = slices;
    let outcome = SqliteIndex::migrate(&config(folder), &mut |_| {
        left -= 1;
        if left == 0 {
            std::process::abort();
        }
        Ok(())
    });
    panic!("it came to its end: {outcome:?}");
}

#[tokio::test]
async fn a_migration_that_is_killed_again_and_again_goes_on_where_it_was() {
    if let Some(order) = std::env::var_os(DIES) {
        let order = order.into_string().unwrap();
        let (slices, folder) = order.split_once(' ').unwrap();
        let (slices, folder) = (slices.parse().unwrap(), PathBuf::from(folder));
        tokio::task::spawn_blocking(move || die_after(&folder, slices)).await.unwrap();
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let events = fourth_version(temp.path());
    let name = "index::sqlite::unsliced::tests::a_migration_that_is_killed_again_and_again_goes_on_where_it_was";
    for slices in [1, 2, 1] {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let order = format!("{slices} {}", temp.path().display());
        let died = child.args(["--exact", name]).env(DIES, order).output().unwrap();
        let said = String::from_utf8_lossy(&died.stdout).into_owned();
        assert!(!died.status.success() && !said.contains("came to its end"), "{said}");
    }
    // One more dies with a slice half made.
    let region = Connection::open(temp.path().join("region.db")).unwrap();
    let row = "INSERT INTO slices (kind, from_us, until_us) VALUES (1, ?1, ?2)";
    let from = NOON + Duration::from_hours(4);
    region.execute(row, params![from.as_micros(), from.as_micros() + 3_600_000_000i64]).unwrap();
    let half = temp.path().join(format!("events-{}-{}.db", &from.to_string()[..13], region.last_insert_rowid()));
    std::fs::write(&half, "the beginning of a file").unwrap();
    drop(region);
    let index = SqliteIndex::open(&config(temp.path()), SimClock::new(NOON)).unwrap();
    assert_eq!(index.stats().await.unwrap().events, EVENTS + 1);
    assert!(!half.exists());
    drop(index);
    check_complete(temp.path(), &events).await;
}

#[test]
fn two_indexes_in_one_folder_are_not_mixed() {
    let temp = tempfile::tempdir().unwrap();
    let region = schema::open_region(&temp.path().join("region.db"), &config(temp.path()).region).unwrap();
    NameCache::default().number(&region.0, super::super::names::NameKind::Camera, "gate-1").unwrap();
    drop(region);
    fourth_version(temp.path());
    let error = SqliteIndex::open(&config(temp.path()), SimClock::new(NOON)).unwrap_err().to_string();
    assert!(error.contains("index.db") && error.contains("region.db beside it"), "{error}");
}

/// A file as the first version left it, with commits received at these seconds after noon.
fn first_version(path: &Path, received_s: &[i64]) {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(TABLES[0]).unwrap();
    let meta = "INSERT INTO meta (name, value) VALUES ('region_id', 'north'), ('index_id', ?1), ('commit_seq', ?2)";
    connection.execute(meta, params![Uuid::new_v4().to_string(), received_s.len() as i64]).unwrap();
    let insert = "INSERT INTO events
                  VALUES (1, 0, randomblob(16), ?1, 1, ?1, ?2, 0, 0, 1, 1, 1, 0.5, 0, NULL, NULL, NULL, 0)";
    for (seq, second) in (1..).zip(received_s) {
        connection.execute(insert, params![seq, NOON.as_micros() + second * 1_000_000]).unwrap();
    }
    connection.pragma_update(None, "application_id", UNSLICED_FILE).unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
}

#[tokio::test]
async fn an_index_of_the_first_version_is_taken_over_with_the_steps_its_clock_made() {
    let temp = tempfile::tempdir().unwrap();
    first_version(&temp.path().join("index.db"), &[10, 20, 30, 15, 25, 5, 40]);
    let index = open_at(temp.path(), SimClock::new(NOON));
    for (second, place) in [(10, 0), (21, 2), (30, 2), (31, 6), (41, 7)] {
        let since = Timestamp::from_micros(NOON.as_micros() + second * 1_000_000);
        assert_eq!(index.seek(since).await.unwrap(), CommitSeq(place), "from second {second}");
    }
}
