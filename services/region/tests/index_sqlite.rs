//! The embedded engine: the suite that every engine passes, and what is its own.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;
mod index_suite;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use vigil_base::{RegionId, SimClock};
use vigil_region::index::sqlite::{SqliteConfig, SqliteIndex};
use vigil_region::index::{EventLookup, EventWriter, Index, IndexError, IndexStatus, NewRevision};

use common::{NOON, event, region};
use index_suite::Engine;

/// The shortest slice: the suite's tests go over many.
const HOUR: Duration = Duration::from_hours(1);

struct Sqlite(TempDir);

impl Sqlite {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Engine for Sqlite {
    fn open(&self, clock: Arc<SimClock>) -> Arc<dyn Index> {
        Arc::new(SqliteIndex::open(&config(self.0.path()), clock).unwrap())
    }

    fn slice(&self) -> Duration {
        HOUR
    }

    fn take_back_versions(&self) {
        let files = fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().path());
        for file in files.filter(|file| file.extension().is_some_and(|end| end == "db") && !file.ends_with("region.db"))
        {
            let back = "DROP TABLE plate_keys; DROP INDEX events_of_plate; DROP TABLE hourly; DROP TABLE tens;
                        CREATE TABLE hourly (
                            hour INTEGER NOT NULL, camera INTEGER NOT NULL, class INTEGER NOT NULL,
                            kind INTEGER NOT NULL, events INTEGER NOT NULL, PRIMARY KEY (hour, camera, class, kind)
                        ) STRICT, WITHOUT ROWID;
                        INSERT INTO hourly SELECT begin_us / 3600000000, camera, class, kind, count(*)
                            FROM events GROUP BY 1, 2, 3, 4;
                        PRAGMA user_version = 1";
            rusqlite::Connection::open(file).unwrap().execute_batch(back).unwrap();
        }
        let region = rusqlite::Connection::open(self.0.path().join("region.db")).unwrap();
        region.execute_batch("DROP TABLE starts; PRAGMA user_version = 1").unwrap();
    }

    fn back_up(&self) -> Box<dyn FnOnce() + '_> {
        let backup = tempfile::tempdir().unwrap();
        let copy = |from: &Path, to: &Path| {
            for file in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
                fs::copy(file.path(), to.join(file.file_name())).unwrap();
            }
        };
        copy(self.0.path(), backup.path());
        Box::new(move || {
            for file in fs::read_dir(self.0.path()).unwrap() {
                fs::remove_file(file.unwrap().path()).unwrap();
            }
            copy(backup.path(), self.0.path());
        })
    }
}

fn config(data_dir: &Path) -> SqliteConfig {
    SqliteConfig { data_dir: data_dir.to_owned(), region: region(), reader_threads: 2, slice: HOUR }
}

fn open(data_dir: &Path) -> Result<SqliteIndex, IndexError> {
    SqliteIndex::open(&config(data_dir), SimClock::new(NOON))
}

index_suite!(
    Sqlite::new();
    an_event_comes_back_as_it_was_stored,
    only_a_greater_revision_replaces_an_event,
    revisions_of_one_event_in_one_batch_end_as_the_last,
    an_event_does_not_change_its_begin_or_camera,
    a_rejected_record_does_not_cost_its_batch,
    commit_numbers_are_never_given_twice,
    each_condition_restricts_a_search,
    a_parked_car_is_found_for_as_long_as_it_stands,
    many_named_cameras_are_searched_and_counted_like_few,
    pages_neither_lose_nor_repeat_while_events_arrive,
    the_feed_gives_each_revision_in_commit_order,
    a_place_in_the_feed_survives_restarts,
    after_a_restore_a_reader_is_put_back_to_the_backup,
    the_feed_is_the_same_from_memory_and_from_the_tables,
    the_newest_commit_is_seen_by_whoever_waits,
    a_reader_that_seeks_a_moment_gets_what_was_received_from_it_on,
    a_reader_that_seeks_a_moment_is_told_what_retention_removed,
    a_sought_moment_is_right_before_the_first_commit_received_since,
    retention_removes_what_is_old_and_says_so_to_the_feed,
    retention_does_not_spare_events_of_a_camera_whose_clock_is_ahead,
    events_received_by_a_clock_that_was_behind_are_kept_by_their_begin,
    counts_follow_events_as_they_grow_change_and_go,
    counts_that_begin_and_end_anywhere_are_those_of_the_events,
    a_camera_is_replaced_only_by_who_has_read_it,
    an_announcement_does_not_overrule_an_operator,
    edges_are_remembered_until_they_are_forgotten,
    searches_and_counts_agree_with_the_model,
    an_index_of_the_version_before_is_taken_to_this_one,
    a_plate_at_several_cameras_within_a_time_is_found,
    a_track_is_its_object_and_what_rules_found_meanwhile,
    plates_are_found_with_any_other_condition,
    presence_is_the_objects_time_within_the_question_by_class,
    sightings_agree_with_the_model,
    coverage_is_counted_once_and_adds_up_by_steps,
    many_cameras_coverage_is_found_like_fews,
    publishers_of_the_same_events_leave_each_once_at_its_last_revision,
    old_coverage_goes_and_registered_cameras_are_named_all_the_same,
);

#[test]
fn a_folder_serves_one_process() {
    let temp = tempfile::tempdir().unwrap();
    let first = open(temp.path()).unwrap();
    let error = open(temp.path()).unwrap_err();
    assert!(matches!(error, IndexError::InUse { .. }), "{error}");
    drop(first);
    open(temp.path()).unwrap();
}

#[test]
fn an_index_of_another_region_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    drop(open(temp.path()).unwrap());
    let other = SqliteConfig { region: RegionId::new("south").unwrap(), ..config(temp.path()) };
    let error = SqliteIndex::open(&other, SimClock::new(NOON)).unwrap_err().to_string();
    assert!(error.contains("\"north\"") && error.contains("\"south\""), "{error}");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let error = open(Path::new("/proc/vigil-region")).unwrap_err();
    assert!(matches!(error, IndexError::Io { .. }) && error.to_string().contains("/proc/vigil-region"), "{error}");
}

#[tokio::test]
async fn a_damaged_index_is_reported_and_left_as_it_is() {
    let temp = tempfile::tempdir().unwrap();
    let index = open(temp.path()).unwrap();
    let events = (0..500).map(|_| NewRevision::new(event(NOON), bytes::Bytes::new())).collect();
    index.commit(events).await.unwrap();
    let path = index.path().to_owned();
    drop(index);
    let mut bytes = fs::read(&path).unwrap();
    bytes[4096..8 * 4096].fill(0xa5);
    fs::write(&path, &bytes).unwrap();
    let error = open(temp.path()).unwrap_err();
    assert!(matches!(error, IndexError::Corrupt { .. }), "{error:?}");
    assert!(error.to_string().contains("region.db"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_file_that_is_no_database_is_reported() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("region.db"), "a text that somebody put here".repeat(300)).unwrap();
    let error = open(temp.path()).unwrap_err();
    assert!(matches!(error, IndexError::Corrupt { .. }), "{error:?}");
}

#[tokio::test]
async fn many_publishers_at_once_get_one_order_and_lose_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let index = Arc::new(open(temp.path()).unwrap());
    let publish = |_| {
        let index = Arc::clone(&index);
        tokio::spawn(async move {
            let mut stored = Vec::new();
            for _ in 0..20 {
                let events: Vec<_> = (0..10).map(|_| event(NOON)).collect();
                stored.extend(events.iter().map(|event| event.id));
                let revisions = events.into_iter().map(|event| NewRevision::new(event, bytes::Bytes::new()));
                index.commit(revisions.collect()).await.unwrap();
            }
            stored
        })
    };
    let publishers: Vec<_> = (0..8).map(publish).collect();
    let mut stored = Vec::new();
    for publisher in publishers {
        stored.extend(publisher.await.unwrap());
    }
    assert_eq!(index.stats().await.unwrap().events, 1_600);
    for id in stored.into_iter().step_by(97) {
        assert!(index.event(id).await.unwrap().is_some());
    }
}
