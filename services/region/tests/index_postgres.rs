//! The scale-out engine: the suite that every engine passes, and what is its own. One server for all tests of this file, a
//! schema for each.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;
mod index_suite;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use vigil_base::config::Secret;
use vigil_base::event::Event;
use vigil_base::{RegionId, SharedClock, SimClock};
use vigil_proto::convert::Filter;
use vigil_region::index::postgres::{PostgresConfig, PostgresIndex, migrate};
use vigil_region::index::{
    CommitFeed, CommitSeq, EventLookup, EventSearch, EventWriter, Index, IndexError, IndexStatus, NewRevision,
    Retention, SearchQuery, StoreOutcome,
};

use common::postgres::PostgresServer;
use common::{NOON, at, event, region, secs};
use index_suite::Engine;

/// Nothing is to outlive this process, so nothing need reach the disk.
fn server() -> &'static PostgresServer {
    static SERVER: OnceLock<PostgresServer> = OnceLock::new();
    SERVER.get_or_init(|| PostgresServer::start(&["fsync=off", "max_connections=200"]))
}

struct Postgres(PostgresConfig);

impl Postgres {
    fn new() -> Self {
        static SCHEMAS: AtomicU32 = AtomicU32::new(0);
        Self(server().config(&format!("test_{}", SCHEMAS.fetch_add(1, Ordering::Relaxed))))
    }

    fn open_at(&self, clock: &Arc<SimClock>) -> Result<PostgresIndex, IndexError> {
        PostgresIndex::open(&self.0, clock.clone())
    }

    fn count(&self, sql: &str) -> String {
        server().sql(&format!("SET search_path TO {}; {sql}", self.0.schema)).lines().last().unwrap().to_owned()
    }
}

impl Engine for Postgres {
    fn open(&self, clock: Arc<SimClock>) -> Arc<dyn Index> {
        Arc::new(self.open_at(&clock).unwrap())
    }

    fn slice(&self) -> Duration {
        days(1)
    }

    fn take_back_versions(&self) {
        self.count(
            "DROP TABLE plate_keys; DROP INDEX events_of_plate;
             CREATE TEMP TABLE kept AS SELECT camera, hour, class, kind, sum(events)::int8 FROM hourly
                 WHERE camera >= 0 GROUP BY 1, 2, 3, 4;
             TRUNCATE hourly; ALTER TABLE hourly DROP CONSTRAINT hourly_pkey; ALTER TABLE hourly DROP COLUMN zone;
             ALTER TABLE hourly ADD PRIMARY KEY (camera, hour, class, kind);
             INSERT INTO hourly SELECT * FROM kept; DROP TABLE starts; UPDATE schema_version SET version = 1; SELECT 1",
        );
    }

    fn back_up(&self) -> Box<dyn FnOnce() + '_> {
        let dump = server().dump(&self.0.schema);
        Box::new(move || {
            server().sql(&format!("DROP SCHEMA {} CASCADE", self.0.schema));
            server().load(&dump);
        })
    }
}

index_suite!(
    Postgres::new();
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

fn new(event: Event) -> NewRevision {
    NewRevision::new(event, Bytes::new())
}

async fn store(index: &PostgresIndex, events: impl IntoIterator<Item = Event>) -> Vec<StoreOutcome> {
    index.commit(events.into_iter().map(new).collect()).await.unwrap()
}

async fn found(index: &PostgresIndex) -> Vec<String> {
    let query = SearchQuery { filter: Filter::default(), after: None, max_events: 1_000 };
    index.search(query).await.unwrap().events.into_iter().map(|event| event.event_id).collect()
}

fn newest_first(events: &[&Event]) -> Vec<String> {
    let mut events = events.to_vec();
    events.sort_by_key(|event| std::cmp::Reverse((event.begin_time, event.id)));
    events.into_iter().map(|event| event.id.to_string()).collect()
}

fn days(days: u64) -> Duration {
    Duration::from_hours(24 * days)
}

#[tokio::test]
async fn a_schema_serves_one_process() {
    let engine = Postgres::new();
    let clock = SimClock::new(NOON);
    let first = engine.open_at(&clock).unwrap();
    let error = engine.open_at(&clock).unwrap_err();
    assert!(matches!(error, IndexError::Taken { .. }) && error.to_string().contains(&engine.0.schema), "{error:?}");
    drop(first);
    engine.open_at(&clock).unwrap();
}

#[test]
fn an_index_of_another_region_is_refused() {
    let engine = Postgres::new();
    let clock = SimClock::new(NOON);
    drop(engine.open_at(&clock).unwrap());
    let other = Postgres(PostgresConfig { region: RegionId::new("south").unwrap(), ..engine.0 });
    let error = other.open_at(&clock).unwrap_err().to_string();
    assert!(error.contains("\"north\"") && error.contains("\"south\""), "{error}");
}

#[test]
fn a_schema_is_migrated_when_that_is_wanted_and_one_of_the_future_is_refused() {
    let engine = Postgres::new();
    let clock = SimClock::new(NOON);
    let by_hand = Postgres(PostgresConfig { migrate: false, ..engine.0.clone() });
    let error = by_hand.open_at(&clock).unwrap_err();
    assert!(
        matches!(error, IndexError::Unfit { .. }) && error.to_string().contains("vigil region migrate"),
        "{error:?}"
    );
    let shared: SharedClock = clock.clone();
    migrate(&by_hand.0, &shared).unwrap();
    migrate(&by_hand.0, &shared).unwrap();
    drop(by_hand.open_at(&clock).unwrap());
    engine.count("UPDATE schema_version SET version = 99; SELECT 1");
    let error = engine.open_at(&clock).unwrap_err();
    assert!(matches!(error, IndexError::Unfit { .. }) && error.to_string().contains("newer program"), "{error:?}");
}

#[test]
fn what_keeps_a_region_from_its_database_is_told_apart_and_shows_no_password() {
    let clock = SimClock::new(NOON);
    let opened = |url: &str| {
        let config = PostgresConfig::new(Secret::new(url), region());
        PostgresIndex::open(&config, clock.clone()).unwrap_err()
    };
    let nobody = opened("postgres://vigil:hunter2@127.0.0.1:1/postgres");
    assert!(matches!(nobody, IndexError::Unreachable { .. }), "{nobody:?}");
    let named = server().config("x").url.reveal().replace("/postgres?", "/nowhere?password=hunter2&");
    let no_database = opened(&named);
    assert!(matches!(no_database, IndexError::Refused { .. }), "{no_database:?}");
    let named = server().config("x").url.reveal().replace("user=vigil", "user=nobody&password=hunter2");
    let no_user = opened(&named);
    assert!(matches!(no_user, IndexError::Refused { .. }), "{no_user:?}");
    for error in [nobody, no_database, no_user] {
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

#[tokio::test]
async fn a_database_of_another_encoding_is_refused() {
    server().sql("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0");
    let url = server().config("x").url.reveal().replace("/postgres?", "/latin?");
    let error = PostgresIndex::open(&PostgresConfig::new(Secret::new(url), region()), SimClock::new(NOON)).unwrap_err();
    assert!(error.to_string().contains("LATIN1"), "{error}");
}

#[tokio::test]
async fn events_of_an_edge_that_was_away_and_of_absurd_clocks_are_found_where_they_belong() {
    let engine = Postgres::new();
    let clock = SimClock::new(at(days(500)));
    let index = engine.open_at(&clock).unwrap();
    let began = [days(500), days(493), days(101), days(99), days(1), days(510), days(100_000)];
    let events: Vec<Event> = began.into_iter().map(|since| event(at(since))).collect();
    store(&index, events.clone()).await;
    let all: Vec<&Event> = events.iter().collect();
    assert_eq!(found(&index).await, newest_first(&all));
    assert_eq!(engine.count("SELECT count(*) FROM events_other"), "4", "older than 400 days, and days ahead");
    for event in &events {
        assert!(index.event(event.id).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_day_that_comes_takes_over_what_came_too_early() {
    let engine = Postgres::new();
    let clock = SimClock::new(NOON);
    let index = engine.open_at(&clock).unwrap();
    let early = event(at(days(10)));
    store(&index, [early.clone()]).await;
    assert_eq!(engine.count("SELECT count(*) FROM events_other"), "1");
    clock.jump_to(at(days(10)));
    let later = event(at(days(10) + Duration::from_secs(5)));
    store(&index, [later.clone()]).await;
    assert_eq!(engine.count("SELECT count(*) FROM events_other"), "0");
    assert_eq!(engine.count("SELECT count(*) FROM hourly_other"), "0");
    assert_eq!(found(&index).await, newest_first(&[&early, &later]));
    let outcomes = store(&index, [common::ended(&early)]).await;
    assert_eq!(outcomes, [StoreOutcome::Accepted(CommitSeq(3))], "its revisions go on");
}

#[tokio::test]
async fn retention_drops_whole_days_with_their_counts() {
    let engine = Postgres::new();
    let clock = SimClock::new(NOON);
    let index = engine.open_at(&clock).unwrap();
    for day in 0..4 {
        clock.jump_to(at(days(day)));
        store(&index, (0..20).map(|i| event(at(days(day) + Duration::from_secs(i))))).await;
    }
    let kept_from = at(days(2));
    for expected in [20, 20, 0] {
        assert_eq!(index.purge(kept_from).await.unwrap(), expected);
    }
    let partitions = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'events'::regclass";
    assert_eq!(engine.count(partitions), "5", "two days, two to come, and the one for all others");
    assert_eq!(engine.count("SELECT sum(events) FROM hourly WHERE camera = 0"), "40");
    assert_eq!(index.stats().await.unwrap().events, 40);
    drop(index);
    let index = engine.open_at(&clock).unwrap();
    let page = index.read(CommitSeq(0), Arc::new(Filter::default()), 100).await.unwrap();
    assert_eq!((page.items.len(), page.purged_through), (40, CommitSeq(40)));
    let late = event(at(days(0) + Duration::from_secs(99)));
    store(&index, [late.clone()]).await;
    assert!(index.event(late.id).await.unwrap().is_some(), "a day that was dropped is made again");
}

#[tokio::test]
async fn a_question_whose_caller_went_away_is_stopped_and_the_next_is_answered() {
    let engine = Postgres::new();
    let index = Arc::new(engine.open_at(&SimClock::new(NOON)).unwrap());
    store(&index, (0..50).map(|i| event(secs(i)))).await;
    for _ in 0..20 {
        let asked = Arc::clone(&index);
        let asking = tokio::spawn(async move { found(&asked).await });
        tokio::task::yield_now().await;
        asking.abort();
    }
    assert_eq!(found(&index).await.len(), 50);
}

#[tokio::test]
async fn many_publishers_at_once_get_one_order_and_lose_nothing() {
    let engine = Postgres::new();
    let index = Arc::new(engine.open_at(&SimClock::new(NOON)).unwrap());
    let publish = |_| {
        let index = Arc::clone(&index);
        tokio::spawn(async move {
            let mut stored = Vec::new();
            for _ in 0..20 {
                let events: Vec<_> = (0..10).map(|_| event(NOON)).collect();
                stored.extend(events.iter().map(|event| event.id));
                index.commit(events.into_iter().map(new).collect()).await.unwrap();
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
    assert_eq!(*index.latest().borrow(), CommitSeq(1_600));
    for id in stored.into_iter().step_by(97) {
        assert!(index.event(id).await.unwrap().is_some());
    }
}

/// The server refuses some batches; others are decided behind them and with them at the same time.
#[tokio::test]
async fn a_batch_that_the_server_refuses_costs_no_other() {
    const BATCHES: u32 = 40;
    let engine = Postgres::new();
    let index = Arc::new(engine.open_at(&SimClock::new(NOON)).unwrap());
    engine.count("ALTER TABLE events ADD CONSTRAINT harmless CHECK (confidence < 0.95); SELECT 1");
    let publish = |publisher: u32| {
        let index = Arc::clone(&index);
        tokio::spawn(async move {
            let mut stored = Vec::new();
            for number in 0..BATCHES {
                let is_refused = (number + publisher).is_multiple_of(5);
                let of = |i: u64| Event { confidence: if is_refused && i == 2 { 0.99 } else { 0.5 }, ..event(secs(i)) };
                let events: Vec<Event> = (0..4).map(of).collect();
                match index.commit(events.iter().cloned().map(new).collect()).await {
                    Ok(outcomes) => {
                        assert!(!is_refused && outcomes.iter().all(|o| matches!(o, StoreOutcome::Accepted(_))));
                        stored.extend(events.iter().map(|event| event.id.to_string()));
                    }
                    Err(error) => assert!(is_refused && matches!(error, IndexError::Database { .. }), "{error:?}"),
                }
            }
            stored
        })
    };
    let publishers: Vec<_> = (0..8).map(publish).collect();
    let mut stored = Vec::new();
    for publisher in publishers {
        stored.extend(publisher.await.unwrap());
    }
    assert_eq!(stored.len(), 8 * 32 * 4);
    assert_eq!(index.stats().await.unwrap().events, stored.len() as u64);
    assert_eq!(*index.latest().borrow(), CommitSeq(stored.len() as u64), "what was refused leaves no gap");
    assert_eq!(engine.count("SELECT sum(events) FROM hourly WHERE camera > 0"), stored.len().to_string());
    assert_eq!(engine.count("SELECT count(DISTINCT commit_seq) FROM events"), stored.len().to_string());
}
