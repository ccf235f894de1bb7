//! What every engine must do, written against the traits. A test file of an engine calls `index_suite!` with a way to
//! open it.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod counts;
mod coverage;
mod crowd;
mod insight;
mod lineage;
mod migrated;
mod model;
mod retention;
mod seek;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use vigil_base::event::{Attributes, Colour, ColourShare, Event, Part};
use vigil_base::{CameraId, EdgeId, EventId, GeoPoint, Polygon, SimClock, Timestamp};
use vigil_proto::convert::{Filter, PlateMatch, PlatePattern, event_to_wire, time_to_wire};
use vigil_proto::v1;
use vigil_region::index::{
    CameraEntry, CameraOrigin, CommitSeq, CountQuery, EdgeRecord, Etag, FeedPage, GroupKey, Index, NewRevision,
    PutCamera, SearchQuery, StoreOutcome,
};

use crate::common::{NOON, at, camera, class, ended, event, jpeg, plate, secs};

pub use counts::{
    counts_follow_events_as_they_grow_change_and_go, counts_that_begin_and_end_anywhere_are_those_of_the_events,
};
pub use coverage::{
    coverage_is_counted_once_and_adds_up_by_steps, many_cameras_coverage_is_found_like_fews,
    old_coverage_goes_and_registered_cameras_are_named_all_the_same,
};
pub use crowd::publishers_of_the_same_events_leave_each_once_at_its_last_revision;
pub use insight::{
    a_plate_at_several_cameras_within_a_time_is_found, a_track_is_its_object_and_what_rules_found_meanwhile,
    plates_are_found_with_any_other_condition, presence_is_the_objects_time_within_the_question_by_class,
    sightings_agree_with_the_model,
};
pub use lineage::{a_place_in_the_feed_survives_restarts, after_a_restore_a_reader_is_put_back_to_the_backup};
pub use migrated::an_index_of_the_version_before_is_taken_to_this_one;
pub use model::searches_and_counts_agree_with_the_model;
pub use retention::{
    events_received_by_a_clock_that_was_behind_are_kept_by_their_begin,
    retention_does_not_spare_events_of_a_camera_whose_clock_is_ahead,
    retention_removes_what_is_old_and_says_so_to_the_feed,
};
pub use seek::{
    a_reader_that_seeks_a_moment_gets_what_was_received_from_it_on,
    a_reader_that_seeks_a_moment_is_told_what_retention_removed,
    a_sought_moment_is_right_before_the_first_commit_received_since,
};

/// A way to open one engine, again and again over the same data.
pub trait Engine {
    fn open(&self, clock: Arc<SimClock>) -> Arc<dyn Index>;
    /// Length of its slices of time: whole hours, counted from 1970.
    fn slice(&self) -> Duration;
    /// Makes of the index, which is closed, one of the first version: without keys of plates, counts by zone and starts.
    fn take_back_versions(&self);
    /// Keeps what the index, which is closed, now holds; what puts it back.
    fn back_up(&self) -> Box<dyn FnOnce() + '_>;
}

/// Where slice `number` after that of [`NOON`] begins.
fn slice_start(engine: &dyn Engine, number: u32) -> Timestamp {
    NOON.round_down(engine.slice()) + engine.slice() * number
}

/// The suite as tests of an engine. `$make` gives a fresh one, and something to be kept until the test ends.
#[macro_export]
macro_rules! index_suite {
    ($make:expr; $($name:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                let engine = $make;
                index_suite::$name(&engine).await;
            }
        )*
    };
}

fn clock() -> Arc<SimClock> {
    SimClock::new(at(Duration::from_hours(1)))
}

fn open(engine: &dyn Engine) -> Arc<dyn Index> {
    engine.open(clock())
}

async fn store(index: &dyn Index, event: Event) -> StoreOutcome {
    store_with(index, event, Bytes::new()).await
}

async fn store_with(index: &dyn Index, event: Event, thumbnail: Bytes) -> StoreOutcome {
    index.commit(vec![NewRevision::new(event, thumbnail)]).await.unwrap().remove(0)
}

async fn store_all(index: &dyn Index, events: impl IntoIterator<Item = Event>) {
    let revisions = events.into_iter().map(|event| NewRevision::new(event, Bytes::new())).collect();
    for outcome in index.commit(revisions).await.unwrap() {
        assert!(matches!(outcome, StoreOutcome::Accepted(_)), "{outcome:?}");
    }
}

async fn find(index: &dyn Index, filter: Filter) -> Vec<v1::Event> {
    let page = index.search(SearchQuery { filter, after: None, max_events: 1_000 }).await.unwrap();
    assert_eq!(page.next, None);
    page.events
}

fn ids(events: &[v1::Event]) -> Vec<String> {
    events.iter().map(|event| event.event_id.clone()).collect()
}

async fn feed(index: &dyn Index, after: CommitSeq) -> FeedPage {
    index.read(after, Arc::new(Filter::default()), 1_000).await.unwrap()
}

pub async fn an_event_comes_back_as_it_was_stored(engine: &dyn Engine) {
    let index = open(engine);
    let stored = plate(event(NOON), "B AB 12");
    let picture = jpeg(1, 500);
    store_with(&*index, stored.clone(), picture.clone()).await;
    let found = index.event(stored.id).await.unwrap().unwrap();
    let expected = v1::Event {
        receive_time: Some(time_to_wire(at(Duration::from_hours(1)))),
        thumbnail_key: found.thumbnail_key.clone(),
        ..event_to_wire(&stored)
    };
    assert_eq!(found, expected);
    assert!(found.thumbnail_key.starts_with(&stored.id.to_string()));
    assert_eq!(index.thumbnail(stored.id).await.unwrap(), Some(picture));
    assert_eq!(index.event(EventId::at(NOON)).await.unwrap(), None);
}

pub async fn only_a_greater_revision_replaces_an_event(engine: &dyn Engine) {
    let index = open(engine);
    let first = event(NOON);
    let second = Event { revision: 2, confidence: 0.9, ..first.clone() };
    assert_eq!(store(&*index, second.clone()).await, StoreOutcome::Accepted(CommitSeq(1)));
    assert_eq!(store(&*index, first.clone()).await, StoreOutcome::Duplicate);
    assert_eq!(store(&*index, Event { confidence: 0.1, ..second.clone() }).await, StoreOutcome::Duplicate);
    assert_eq!(index.event(first.id).await.unwrap().unwrap().confidence, 0.9);
    assert_eq!(store(&*index, ended(&second)).await, StoreOutcome::Accepted(CommitSeq(2)));
    assert_eq!(find(&*index, Filter::default()).await.len(), 1);
    assert_eq!(index.stats().await.unwrap().events, 1);
}

pub async fn revisions_of_one_event_in_one_batch_end_as_the_last(engine: &dyn Engine) {
    let index = open(engine);
    let first = event(NOON);
    let revisions = vec![
        NewRevision::new(first.clone(), jpeg(1, 100)),
        NewRevision::new(ended(&first), Bytes::new()),
        NewRevision::new(first.clone(), Bytes::new()),
    ];
    let outcomes = index.commit(revisions).await.unwrap();
    let expected =
        [StoreOutcome::Accepted(CommitSeq(1)), StoreOutcome::Accepted(CommitSeq(2)), StoreOutcome::Duplicate];
    assert_eq!(outcomes, expected);
    assert_eq!(index.event(first.id).await.unwrap().unwrap().revision, 2);
    assert_eq!(index.thumbnail(first.id).await.unwrap(), Some(jpeg(1, 100)), "a revision without a thumbnail keeps it");
}

pub async fn an_event_does_not_change_its_begin_or_camera(engine: &dyn Engine) {
    let index = open(engine);
    let first = event(NOON);
    store(&*index, first.clone()).await;
    let moved = Event { revision: 2, begin_time: NOON + Duration::from_micros(1), ..first.clone() };
    let elsewhere = Event { revision: 2, ..camera(first.clone(), "gate-2") };
    let mislabelled = Event { id: EventId::at(NOON + Duration::from_secs(9)), ..first.clone() };
    for bad in [moved, elsewhere, mislabelled] {
        let outcome = store(&*index, bad).await;
        assert!(matches!(&outcome, StoreOutcome::Rejected(why) if why.contains("event_id")), "{outcome:?}");
    }
    assert_eq!(find(&*index, Filter::default()).await.len(), 1);
}

pub async fn a_rejected_record_does_not_cost_its_batch(engine: &dyn Engine) {
    let index = open(engine);
    let good = event(NOON);
    let bad = Event { id: EventId::at(secs(99)), ..event(NOON) };
    let batch = vec![NewRevision::new(bad, Bytes::new()), NewRevision::new(good.clone(), Bytes::new())];
    let outcomes = index.commit(batch).await.unwrap();
    assert!(matches!(outcomes[..], [StoreOutcome::Rejected(_), StoreOutcome::Accepted(CommitSeq(1))]), "{outcomes:?}");
    assert!(index.event(good.id).await.unwrap().is_some());
}

pub async fn commit_numbers_are_never_given_twice(engine: &dyn Engine) {
    let index = open(engine);
    store_all(&*index, (0..5).map(|i| event(secs(i)))).await;
    assert_eq!(index.purge(slice_start(engine, 1)).await.unwrap(), 5);
    drop(index);
    let index = open(engine);
    assert_eq!(*index.latest().borrow(), CommitSeq(5));
    assert_eq!(store(&*index, event(secs(6))).await, StoreOutcome::Accepted(CommitSeq(6)));
}

pub async fn each_condition_restricts_a_search(engine: &dyn Engine) {
    let index = open(engine);
    let plain = event(secs(0));
    let other_camera = camera(event(secs(1)), "gate-2");
    let car = plate(class(event(secs(2)), "car"), "BAB12");
    let elsewhere = Event {
        location: Some(GeoPoint { latitude: 48.13, longitude: 11.58 }),
        confidence: 0.25,
        edge: EdgeId::new("edge-2").unwrap(),
        ..camera(event(secs(3)), "south-1")
    };
    let blue = Event { attributes: colours(&[Colour::Blue]), location: None, ..event(secs(4)) };
    let all = [&plain, &other_camera, &car, &elsewhere, &blue];
    store_all(&*index, all.into_iter().cloned()).await;

    let munich = Polygon::new(vec![degrees(48.0, 11.0), degrees(48.0, 12.0), degrees(49.0, 12.0), degrees(49.0, 11.0)]);
    let none = Filter::default;
    let cases: Vec<(Filter, Vec<&Event>)> = vec![
        (none(), vec![&blue, &elsewhere, &car, &other_camera, &plain]),
        (Filter { cameras: vec![CameraId::new("gate-2").unwrap()], ..none() }, vec![&other_camera]),
        (Filter { cameras: vec![CameraId::new("gate-9").unwrap()], ..none() }, vec![]),
        (Filter { classes: vec!["car".into()], ..none() }, vec![&car]),
        (Filter { edges: vec![EdgeId::new("edge-2").unwrap()], ..none() }, vec![&elsewhere]),
        (Filter { colours: vec![Colour::Blue, Colour::Pink], ..none() }, vec![&blue]),
        (Filter { min_confidence: 0.5, ..none() }, vec![&blue, &car, &other_camera, &plain]),
        (Filter { area: munich, ..none() }, vec![&elsewhere]),
        (Filter { plate: plates("ab1", PlateMatch::Part), ..none() }, vec![&car]),
        (Filter { plate: plates("AB2", PlateMatch::Part), ..none() }, vec![]),
        (Filter { plate: plates("BA", PlateMatch::Prefix), ..none() }, vec![&car]),
        (Filter { plate: plates("AB", PlateMatch::Prefix), ..none() }, vec![]),
        (Filter { plate: plates("BAB12", PlateMatch::Exact), ..none() }, vec![&car]),
        (Filter { plate: plates("BAB1", PlateMatch::Exact), ..none() }, vec![]),
        (Filter { plate: plates("BAB1", PlateMatch::OneWrong), ..none() }, vec![&car]),
        (Filter { plate: plates("8AB12", PlateMatch::OneWrong), ..none() }, vec![&car]),
        (Filter { plate: plates("B8812", PlateMatch::OneWrong), ..none() }, vec![]),
        (Filter { plate: plates("", PlateMatch::Any), ..none() }, vec![&car]),
        (Filter { until: Some(secs(2)), ..none() }, vec![&other_camera, &plain]),
        (Filter { from: Some(secs(13)), ..none() }, vec![&blue, &elsewhere]),
    ];
    for (filter, expected) in cases {
        let expected: Vec<String> = expected.into_iter().map(|event| event.id.to_string()).collect();
        assert_eq!(ids(&find(&*index, filter.clone()).await), expected, "{filter:?}");
    }
}

#[allow(clippy::unnecessary_wraps)] // As requests take it.
fn plates(text: &str, how: PlateMatch) -> Option<PlatePattern> {
    Some(PlatePattern::new(text, how).unwrap())
}

fn colours(colours: &[Colour]) -> Attributes {
    let told = |colour: &Colour| ColourShare { part: Part::Whole, colour: *colour, share: 0.5, confidence: 0.75 };
    Attributes { colours: colours.iter().map(told).collect(), ..Attributes::default() }
}

fn degrees(latitude: f64, longitude: f64) -> GeoPoint {
    GeoPoint { latitude, longitude }
}

pub async fn a_parked_car_is_found_for_as_long_as_it_stands(engine: &dyn Engine) {
    let index = open(engine);
    let lengths_s = [30, 61, 300, 3_000, 20_000, 100_000, 1_000_000, 10_000_000];
    let parked: Vec<Event> = lengths_s
        .iter()
        .map(|seconds| Event { end_time: NOON + Duration::from_secs(*seconds), ..event(NOON) })
        .collect();
    store_all(&*index, parked.clone()).await;
    for (i, seconds) in lengths_s.iter().enumerate() {
        let end = NOON + Duration::from_secs(*seconds);
        let still_there = parked.len() - i;
        let touching = |from| Filter { from: Some(from), ..Filter::default() };
        assert_eq!(find(&*index, touching(end)).await.len(), still_there, "{seconds} s");
        assert_eq!(find(&*index, touching(end + Duration::from_micros(1))).await.len(), still_there - 1, "{seconds} s");
    }
}

pub async fn many_named_cameras_are_searched_and_counted_like_few(engine: &dyn Engine) {
    let index = open(engine);
    let name = |number: u64| format!("camera-{number:03}");
    let events: Vec<Event> = (0..400).map(|i| camera(event(secs(i * 37 % 7_000)), &name(i % 100))).collect();
    store_all(&*index, events.clone()).await;
    for named in [3, 70, 100] {
        let filter = Filter {
            cameras: (0..named).map(|number| CameraId::new(name(number)).unwrap()).collect(),
            from: Some(secs(0)),
            until: Some(secs(20_000)),
            ..Filter::default()
        };
        let mut expected: Vec<&Event> = events.iter().filter(|event| filter.matches(event)).collect();
        expected.sort_by_key(|event| std::cmp::Reverse((event.begin_time, event.id)));
        let expected: Vec<String> = expected.into_iter().map(|event| event.id.to_string()).collect();
        assert_eq!(ids(&find(&*index, filter.clone()).await), expected, "{named} cameras");
        let query = CountQuery { filter, group_by: vec![GroupKey::Hour], max_groups: 100 };
        let counts = index.count(query).await.unwrap();
        let counted: u64 = counts.groups.iter().map(|group| group.events).sum();
        assert_eq!(counted as usize, expected.len(), "{named} cameras");
    }
}

pub async fn pages_neither_lose_nor_repeat_while_events_arrive(engine: &dyn Engine) {
    let index = open(engine);
    let before: Vec<Event> = (0..50).map(|i| event(secs(i / 3))).collect();
    store_all(&*index, before.clone()).await;
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let query = SearchQuery { filter: Filter::default(), after, max_events: 7 };
        let page = index.search(query).await.unwrap();
        found.extend(ids(&page.events));
        // One newer than all, one older than all, and a revision of one that was there.
        store_all(&*index, [event(secs(1_000)), ended(&before[found.len() % before.len()])]).await;
        let Some(next) = page.next else { break };
        after = Some(next);
    }
    let mut expected: Vec<&Event> = before.iter().collect();
    expected.sort_by_key(|event| std::cmp::Reverse((event.begin_time, event.id)));
    assert_eq!(found, expected.iter().map(|event| event.id.to_string()).collect::<Vec<_>>());
}

pub async fn the_feed_gives_each_revision_in_commit_order(engine: &dyn Engine) {
    let index = open(engine);
    let events: Vec<Event> = (0..5).map(|i| event(secs(i))).collect();
    store_all(&*index, events.clone()).await;
    store(&*index, ended(&events[1])).await;
    drop(index);
    // Reopened: nothing is in memory, all comes from the tables, where a replaced revision is no more.
    let index = open(engine);
    let page = feed(&*index, CommitSeq(0)).await;
    let seqs: Vec<u64> = page.items.iter().map(|item| item.seq.0).collect();
    assert_eq!(seqs, [1, 3, 4, 5, 6]);
    assert_eq!(page.items[4].event.event_id, events[1].id.to_string());
    assert_eq!((page.through, page.purged_through), (CommitSeq(6), CommitSeq(0)));
    let page = feed(&*index, CommitSeq(6)).await;
    assert_eq!((page.items.len(), page.through), (0, CommitSeq(6)));
}

pub async fn the_feed_is_the_same_from_memory_and_from_the_tables(engine: &dyn Engine) {
    let index = open(engine);
    let people: Vec<Event> = (0..10).map(|i| event(secs(i))).collect();
    let cars: Vec<Event> = (0..10).map(|i| class(event(secs(i)), "car")).collect();
    for (person, car) in people.iter().zip(&cars) {
        store_with(&*index, person.clone(), jpeg(1, 50)).await;
        store(&*index, car.clone()).await;
    }
    let filter = Arc::new(Filter { classes: vec!["person".into()], ..Filter::default() });
    let live = index.read(CommitSeq(3), Arc::clone(&filter), 1_000).await.unwrap();
    drop(index);
    let stored = open(engine).read(CommitSeq(3), filter, 1_000).await.unwrap();
    assert_eq!(live, stored);
    assert_eq!(live.items.len(), 8);
    assert_eq!(live.through, CommitSeq(20), "what the filter passes over is not looked at again");
}

pub async fn the_newest_commit_is_seen_by_whoever_waits(engine: &dyn Engine) {
    let index = open(engine);
    let mut latest = index.latest();
    assert_eq!(*latest.borrow_and_update(), CommitSeq(0));
    store(&*index, event(NOON)).await;
    latest.changed().await.unwrap();
    assert_eq!(*latest.borrow(), CommitSeq(1));
    assert_eq!(feed(&*index, CommitSeq(0)).await.items.len(), 1);
}

pub async fn a_camera_is_replaced_only_by_who_has_read_it(engine: &dyn Engine) {
    let index = open(engine);
    let entry = camera_entry("gate-1", CameraOrigin::Operator);
    let PutCamera::Stored(first) = index.put_camera(entry.clone(), None).await.unwrap() else { panic!("not stored") };
    assert_eq!(index.camera(entry.id.clone()).await.unwrap(), Some(first.clone()));
    assert_eq!(index.put_camera(entry.clone(), None).await.unwrap(), PutCamera::Conflict(Some(first.etag)));
    let renamed = CameraEntry { display_name: "West gate".into(), ..entry.clone() };
    let PutCamera::Stored(second) = index.put_camera(renamed, Some(first.etag)).await.unwrap() else {
        panic!("not stored")
    };
    assert_eq!(
        index.put_camera(entry.clone(), Some(first.etag)).await.unwrap(),
        PutCamera::Conflict(Some(second.etag))
    );
    assert!(index.delete_camera(entry.id.clone()).await.unwrap());
    assert!(!index.delete_camera(entry.id.clone()).await.unwrap());
    let PutCamera::Stored(again) = index.put_camera(entry, None).await.unwrap() else { panic!("not stored") };
    assert!(again.etag != first.etag && again.etag != second.etag, "an etag is never given twice");
}

pub async fn an_announcement_does_not_overrule_an_operator(engine: &dyn Engine) {
    let index = open(engine);
    let put = camera_entry("gate-1", CameraOrigin::Operator);
    index.put_camera(put.clone(), None).await.unwrap();
    let announced =
        |name: &str| CameraEntry { display_name: "As announced".into(), ..camera_entry(name, CameraOrigin::Edge) };
    index.announce_cameras(vec![announced("gate-1"), announced("gate-2")]).await.unwrap();
    let cameras = index.cameras(None, 10).await.unwrap();
    let names: Vec<_> = cameras.iter().map(|entry| (entry.id.as_str(), entry.display_name.as_str())).collect();
    assert_eq!(names, [("gate-1", "The gate"), ("gate-2", "As announced")]);
    index.announce_cameras(vec![announced("gate-2")]).await.unwrap();
    let again = index.camera(CameraId::new("gate-2").unwrap()).await.unwrap().unwrap();
    assert_eq!(again.etag, cameras[1].etag, "the same announcement again changes nothing");
    assert_eq!(index.cameras(Some(put.id), 1).await.unwrap(), [again]);
}

fn camera_entry(id: &str, origin: CameraOrigin) -> CameraEntry {
    CameraEntry {
        id: CameraId::new(id).unwrap(),
        edge: Some(EdgeId::new("edge-1").unwrap()),
        display_name: "The gate".into(),
        location: Some(degrees(52.5, 13.4)),
        address: "rtsp://10.0.0.1/stream".into(),
        origin,
        update_time: Timestamp::MIN,
        etag: Etag(0),
    }
}

pub async fn edges_are_remembered_until_they_are_forgotten(engine: &dyn Engine) {
    let index = open(engine);
    let edge = EdgeRecord {
        id: EdgeId::new("edge-1").unwrap(),
        instance: "i".into(),
        software_version: "1.0".into(),
        last_seen: NOON,
        complete_until: None,
    };
    index.save_edge(edge.clone()).await.unwrap();
    let later = EdgeRecord { last_seen: secs(5), complete_until: Some(secs(4)), ..edge.clone() };
    index.save_edge(later.clone()).await.unwrap();
    drop(index);
    let index = open(engine);
    assert_eq!(index.edges().await.unwrap(), [later]);
    index.forget_edge(edge.id).await.unwrap();
    assert_eq!(index.edges().await.unwrap(), []);
}
