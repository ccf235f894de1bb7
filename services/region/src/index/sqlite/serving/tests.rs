//! Commits that fail, in one file or in one of several.

use std::time::Duration;

use bytes::Bytes;
use vigil_base::{Event, SimClock};

use super::super::SqliteIndex;
use super::super::testing::{NOON, event, open, open_at};
use super::*;
use crate::index::{CommitFeed, EventLookup, EventWriter, IndexStatus};

fn large() -> Vec<NewRevision> {
    vec![NewRevision::new(event(0), Bytes::from(vec![7; 200_000]))]
}

fn revision(event: &Event) -> NewRevision {
    NewRevision::new(event.clone(), Bytes::new())
}

/// SQLite refuses to grow an open slice, with the same code that it gives for ENOSPC. `which` counts them from the oldest.
async fn limit_pages(index: &SqliteIndex, which: usize, more: Option<i64>) {
    let set = move |state: &mut Serving| {
        state.open.sort_by_key(|open| open.slice.from_us);
        let slice = &state.open[which].connection;
        let pages: i64 = slice.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        let limit = more.map_or(1_000_000, |more| pages + more);
        slice.pragma_update_and_check(None, "max_page_count", limit, |_| Ok(())).unwrap();
        Ok(())
    };
    index.writer.with_state(set).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_fails_the_commit_keeps_the_rest_and_works_again_with_space() {
    let temp = tempfile::tempdir().unwrap();
    let index = open(temp.path());
    let kept = event(0);
    index.commit(vec![revision(&kept)]).await.unwrap();
    limit_pages(&index, 0, Some(4)).await;
    let refused = large();
    let error = index.commit(refused.clone()).await.unwrap_err();
    assert!(matches!(error, IndexError::DiskFull { .. }), "{error:?}");
    assert!(index.event(kept.id).await.unwrap().is_some());
    assert_eq!(index.stats().await.unwrap().events, 1);
    limit_pages(&index, 0, None).await;
    let outcomes = index.commit(refused).await.unwrap();
    assert_eq!(outcomes, [StoreOutcome::Accepted(CommitSeq(2))], "the failed commit used no number");
    assert_eq!(index.stats().await.unwrap().events, 2);
}

#[tokio::test]
async fn a_group_of_which_one_slice_fails_is_told_to_nobody_and_comes_again_as_duplicates() {
    let temp = tempfile::tempdir().unwrap();
    let index = open(temp.path());
    let hour = 3_600;
    index.commit(vec![revision(&event(0)), revision(&event(hour))]).await.unwrap();
    // The second slice fails at its commit, when the first has made its own.
    let refuse = |state: &mut Serving| {
        state.open.sort_by_key(|open| open.slice.from_us);
        let slice = &state.open[1].connection;
        let deferred = "PRAGMA foreign_keys = ON;
                        CREATE TABLE parent (number INTEGER PRIMARY KEY) STRICT;
                        CREATE TABLE child (number INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED) STRICT;
                        CREATE TRIGGER refuse AFTER INSERT ON events BEGIN INSERT INTO child VALUES (1); END";
        slice.execute_batch(deferred).unwrap();
        Ok(())
    };
    index.writer.with_state(refuse).await.unwrap();
    let group = [event(1), event(hour + 1), event(2)];
    let send = || index.commit(group.iter().map(revision).collect());
    send().await.unwrap_err();
    assert_eq!(*index.latest().borrow(), CommitSeq(5), "the numbers of the first slice are given");
    let allow = |state: &mut Serving| {
        state.open.sort_by_key(|open| open.slice.from_us);
        state.open[1].connection.execute_batch("DROP TRIGGER refuse").unwrap();
        Ok(())
    };
    index.writer.with_state(allow).await.unwrap();
    let expected = [StoreOutcome::Duplicate, StoreOutcome::Accepted(CommitSeq(6)), StoreOutcome::Duplicate];
    assert_eq!(send().await.unwrap(), expected);
    assert_eq!(index.stats().await.unwrap().events, 5);
    let page = index.read(CommitSeq(2), Arc::default(), 10).await.unwrap();
    let seqs: Vec<u64> = page.items.iter().map(|item| item.seq.0).collect();
    assert_eq!(seqs, [3, 5, 6], "what was committed without being told is in the feed in its place");
}

#[tokio::test]
async fn names_of_an_undone_commit_are_given_anew() {
    let temp = tempfile::tempdir().unwrap();
    let index = open(temp.path());
    let first = Event { camera: vigil_base::CameraId::new("gate-0").unwrap(), ..event(0) };
    index.commit(vec![revision(&first)]).await.unwrap();
    limit_pages(&index, 0, Some(4)).await;
    index.commit(large()).await.unwrap_err();
    limit_pages(&index, 0, None).await;
    let stored = event(0);
    index.commit(vec![revision(&stored)]).await.unwrap();
    let found = index.event(stored.id).await.unwrap().unwrap();
    assert_eq!(found.camera_id, "gate-1");
    let names = |changing: &mut Changing<'_>| {
        let sql = "SELECT count(*) FROM names WHERE kind = 1";
        Ok(changing.transaction.query_row(sql, [], |row| row.get::<_, i64>(0))?)
    };
    assert_eq!(index.writer.run("look", names).await.unwrap(), 2);
}

#[tokio::test]
async fn a_read_only_index_is_said_to_be_read_only() {
    let temp = tempfile::tempdir().unwrap();
    let index = open(temp.path());
    let set =
        |on: bool| move |changing: &mut Changing<'_>| Ok(changing.transaction.pragma_update(None, "query_only", on)?);
    index.writer.run("set", set(true)).await.unwrap();
    let error = index.commit(large()).await.unwrap_err();
    assert!(matches!(error, IndexError::ReadOnly { .. }), "{error:?}");
    index.writer.run("set", set(false)).await.unwrap();
    index.commit(large()).await.unwrap();
}

#[tokio::test]
async fn an_edge_that_was_away_for_days_reaches_many_slices_in_one_batch() {
    let temp = tempfile::tempdir().unwrap();
    let index = open_at(temp.path(), SimClock::new(NOON + Duration::from_hours(60)));
    let events: Vec<Event> = (0..100).map(|hours| event(hours * 3_600 % 180_000)).collect();
    let outcomes = index.commit(events.iter().map(revision).collect()).await.unwrap();
    let expected: Vec<_> = (1..=100).map(|seq| StoreOutcome::Accepted(CommitSeq(seq))).collect();
    assert_eq!(outcomes, expected, "in their order, whatever slice they are of");
    let open = index.writer.with_state(|state| Ok(state.open.len())).await.unwrap();
    assert_eq!(open, MAX_OPEN_SLICES);
    for event in events {
        assert!(index.event(event.id).await.unwrap().is_some());
    }
}
