//! Figures of the embedded index, as JSON lines: ingest with full durability against a bare insert of the same rows,
//! and the times of questions over many events. Run with `cargo run --release -p vigil-region --example index_figures
//! -- EVENTS`.
// A measurement: it may stop at any error, and reads the clock.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../tests/common/events.rs"]
mod events;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rusqlite::{Connection, params};
use vigil_base::event::{
    Attributes, Colour, ColourShare, EndReason, Event, EventState, ModelRef, Part, PathPoint, Plate,
};
use vigil_base::{BoxNorm, CameraId, Clock, EdgeId, EventId, GeoPoint, Polygon, SystemClock, Timestamp, TrackId};
use vigil_proto::convert::Filter;
use vigil_region::index::sqlite::{SqliteConfig, SqliteIndex};
use vigil_region::index::{
    CommitFeed, CountQuery, EventCounts, EventLookup, EventSearch, EventWriter, GroupKey, Index, IndexStatus,
    NewRevision, Position, SearchQuery,
};

const CAMERAS: u32 = 2_000;
const DAYS: u64 = 30;
const BATCH: usize = 500;
/// Events of the comparison with a bare insert, in a fresh file each.
const COMPARED: usize = 100_000;
const PUBLISHERS: usize = 4;
const QUESTIONS: usize = 300;
const START: Timestamp = events::NOON;

fn main() {
    let events: u64 = std::env::args().nth(1).map_or(1_000_000, |text| text.parse().expect("EVENTS is a number"));
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    compare_ingest(&runtime, folder.path());
    let index = Arc::new(open(&folder.path().join("large")));
    let since = SystemClock::new().now();
    fill(&runtime, &index, events);
    runtime.block_on(ask_all(&index, events));
    runtime.block_on(seek(&index, since));
    index.close();
}

fn report(name: &str, fields: &[(&str, f64)]) {
    let fields: Vec<String> = fields.iter().map(|(key, value)| format!("\"{key}\":{value:.3}")).collect();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{{\"figure\":\"{name}\",{}}}", fields.join(",")).unwrap();
}

fn open(data_dir: &Path) -> SqliteIndex {
    let config = SqliteConfig {
        data_dir: data_dir.to_owned(),
        region: events::region(),
        reader_threads: 2,
        slice: Duration::from_hours(24),
    };
    SqliteIndex::open(&config, SystemClock::shared()).unwrap()
}

fn camera_id(number: u32) -> CameraId {
    CameraId::new(format!("camera-{number:04}")).unwrap()
}

fn class(random: &mut StdRng) -> &'static str {
    match random.random_range(0..100) {
        0..55 => "person",
        55..90 => "car",
        90..97 => "bicycle",
        97..99 => "bus",
        _ => "truck",
    }
}

/// The `number`th of `of` events, spread evenly over the days: a street's mix of classes, lengths and colours.
fn made(random: &mut StdRng, number: u64, of: u64) -> Event {
    let span_us = DAYS * 86_400_000_000;
    let begin = START + Duration::from_micros(span_us / of * number + random.random_range(0..1_000_000));
    let camera = random.random_range(0..CAMERAS);
    let object_class = class(random);
    let seconds =
        if random.random_range(0..100) < 3 { random.random_range(60..7_200) } else { random.random_range(2..60) };
    let point = |i: u64| PathPoint {
        time: begin + Duration::from_secs(i),
        bbox: BoxNorm { left: 0.05 * i as f32, top: 0.25, width: 0.125, height: 0.5 },
        confidence: 0.7,
    };
    let has_plate = object_class == "car" && random.random_range(0..5) == 0;
    let mut letter = || char::from(b'A' + random.random_range(0..26u8));
    let letters: String = [letter(), letter(), letter()].iter().collect();
    let plate = has_plate.then(|| Plate {
        text: format!("B{letters}{}", random.random_range(100..9_999)),
        confidence: 0.9,
        looks: 5,
        model: None,
    });
    Event {
        state: EventState::Ended(EndReason::Lost),
        edge: EdgeId::new(format!("edge-{}", camera / 8)).unwrap(),
        camera: camera_id(camera),
        object_class: object_class.into(),
        track: TrackId(number),
        end_time: begin + Duration::from_secs(seconds),
        confidence: random.random_range(0.3..1.0),
        path: (0..16).map(point).collect(),
        attributes: Attributes {
            colours: [(Part::Upper, 0.5), (Part::Lower, 0.2)]
                .map(|(part, share)| {
                    let colour = Colour::ALL[random.random_range(0..12)];
                    ColourShare { part, colour, share, confidence: 0.8 }
                })
                .into(),
            direction_degrees: Some(90.0),
            ..Attributes::default()
        },
        location: Some(GeoPoint {
            latitude: 52.0 + f64::from(camera) / 4_000.0,
            longitude: 13.0 + f64::from(camera % 50) / 100.0,
        }),
        plate,
        model: ModelRef { name: "nanodet-g-416".into(), fingerprint: "ab".repeat(32).into() },
        ..events::event(begin)
    }
}

fn batch(random: &mut StdRng, first: u64, of: u64) -> Vec<NewRevision> {
    (first..first + BATCH as u64).map(|number| NewRevision::new(made(random, number, of), Bytes::new())).collect()
}

/// The same rows into the index and into one bare table, both with synchronous FULL and batches of the same size.
fn compare_ingest(runtime: &tokio::runtime::Runtime, folder: &Path) {
    let mut random = StdRng::seed_from_u64(1);
    let batches: Vec<Vec<NewRevision>> =
        (0..COMPARED / BATCH).map(|i| batch(&mut random, (i * BATCH) as u64, COMPARED as u64)).collect();
    let bare = bare_insert(&folder.join("bare.db"), &batches);
    let index = Arc::new(open(&folder.join("one")));
    let started = Instant::now();
    runtime.block_on(publish(&index, batches.clone()));
    let one = COMPARED as f64 / started.elapsed().as_secs_f64();
    index.close();
    let index = Arc::new(open(&folder.join("many")));
    let mut parts: Vec<Vec<Vec<NewRevision>>> = vec![Vec::new(); PUBLISHERS];
    for (i, batch) in batches.into_iter().enumerate() {
        parts[i % PUBLISHERS].push(batch);
    }
    let started = Instant::now();
    runtime.block_on(async {
        let publishers: Vec<_> = parts
            .into_iter()
            .map(|part| {
                let index = Arc::clone(&index);
                tokio::spawn(async move { publish(&index, part).await })
            })
            .collect();
        for publisher in publishers {
            publisher.await.unwrap();
        }
    });
    let many = COMPARED as f64 / started.elapsed().as_secs_f64();
    index.close();
    report("bare_insert", &[("events_per_s", bare)]);
    report("ingest_one_publisher", &[("events_per_s", one), ("of_bare", one / bare)]);
    report("ingest_four_publishers", &[("events_per_s", many), ("of_bare", many / bare)]);
}

async fn publish(index: &SqliteIndex, batches: Vec<Vec<NewRevision>>) {
    for batch in batches {
        index.commit(batch).await.unwrap();
    }
}

/// What the least index that could answer anything costs: one table, keyed by the event, and the payload.
fn bare_insert(path: &Path, batches: &[Vec<NewRevision>]) -> f64 {
    let mut connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -65536;
             CREATE TABLE events (camera TEXT, begin_us INTEGER, event_id BLOB, revision INTEGER, end_us INTEGER,
                class TEXT, edge TEXT, confidence REAL, latitude REAL, longitude REAL, plate TEXT, payload BLOB,
                PRIMARY KEY (camera, begin_us, event_id))",
        )
        .unwrap();
    // The payload is not public: any bytes of its size do.
    let payloads: Vec<Vec<u8>> = batches.iter().flatten().map(|revision| vec![7; revision.len()]).collect();
    let mut payloads = payloads.iter();
    let started = Instant::now();
    for batch in batches {
        let transaction = connection.transaction().unwrap();
        for revision in batch {
            let event = revision.event();
            let sql = "INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
            let row = params![
                event.camera.as_str(),
                event.begin_time.as_micros(),
                event.id.as_bytes(),
                event.revision,
                event.end_time.as_micros(),
                &*event.object_class,
                event.edge.as_str(),
                event.confidence,
                event.location.map(|at| at.latitude),
                event.location.map(|at| at.longitude),
                event.plate.as_ref().map(|plate| &plate.text),
                payloads.next().unwrap(),
            ];
            transaction.prepare_cached(sql).unwrap().execute(row).unwrap();
        }
        transaction.commit().unwrap();
    }
    batches.iter().map(Vec::len).sum::<usize>() as f64 / started.elapsed().as_secs_f64()
}

fn fill(runtime: &tokio::runtime::Runtime, index: &Arc<SqliteIndex>, events: u64) {
    let mut random = StdRng::seed_from_u64(2);
    let started = Instant::now();
    for first in (0..events).step_by(BATCH) {
        let batch = batch(&mut random, first, events);
        runtime.block_on(index.commit(batch)).unwrap();
    }
    let stats = runtime.block_on(index.stats()).unwrap();
    let seconds = started.elapsed().as_secs_f64();
    report(
        "fill",
        &[
            ("events", stats.events as f64),
            ("seconds", seconds),
            ("bytes_per_event", stats.bytes as f64 / events as f64),
        ],
    );
}

/// Times of one kind of question, in milliseconds.
async fn time<F: Future>(name: &str, mut ask: impl FnMut(usize) -> F) {
    let mut times = Vec::with_capacity(QUESTIONS);
    for i in 0..QUESTIONS {
        let started = Instant::now();
        ask(i).await;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    report(name, &[("p50_ms", times[QUESTIONS / 2]), ("p99_ms", times[QUESTIONS * 99 / 100])]);
}

/// The place in the feed of moments spread over the time since the filling began.
async fn seek(index: &SqliteIndex, since: Timestamp) {
    let took = SystemClock::new().now().since(since);
    time("the_place_of_a_moment", |i| index.seek(since + took * i as u32 / QUESTIONS as u32)).await;
}

async fn ask_all(index: &SqliteIndex, events: u64) {
    let at = |i: usize| START + Duration::from_secs(DAYS * 86_400 / QUESTIONS as u64 * (i as u64 + 1));
    let search = |filter, after, max_events| async move {
        index.search(SearchQuery { filter, after, max_events }).await.unwrap()
    };
    let twenty = |i: usize| Filter {
        cameras: (0..20).map(|c| camera_id((i as u32 * 37 + c * 101) % CAMERAS)).collect(),
        classes: vec!["person".into()],
        ..Filter::default()
    };
    time("newest_100_of_20_cameras_and_a_class", |i| search(twenty(i), None, 100)).await;
    time("the_same_before_a_time", |i| search(Filter { until: Some(at(i)), ..twenty(i) }, None, 100)).await;
    time("an_hour_of_20_cameras", |i| {
        search(Filter { from: Some(at(i)), until: Some(at(i) + Duration::from_hours(1)), ..twenty(i) }, None, 100)
    })
    .await;
    let deep = Position { begin_time: at(QUESTIONS / 2), event_id: [0; 16] };
    time("a_page_far_back", |i| search(twenty(i), Some(deep), 100)).await;
    time("newest_100_of_all", |_| search(Filter::default(), None, 100)).await;
    let trucks = || Filter { classes: vec!["truck".into()], ..Filter::default() };
    time("newest_100_of_a_rare_class", |_| search(trucks(), None, 100)).await;
    let colour = |i: usize| Filter { colours: vec![Colour::ALL[i % 12]], ..twenty(i) };
    time("20_cameras_a_class_and_a_colour", |i| search(colour(i), None, 100)).await;
    let plate =
        |i: usize| Filter { plate: Some(format!("B{}", char::from(b'A' + (i % 26) as u8))), ..Filter::default() };
    time("a_part_of_a_plate", |i| search(plate(i), None, 100)).await;
    let corner = |dy: f64, dx: f64| GeoPoint { latitude: 52.2 + dy, longitude: 13.2 + dx };
    let square = Polygon::new(vec![corner(0.0, 0.0), corner(0.0, 0.05), corner(0.02, 0.05), corner(0.02, 0.0)]);
    time("within_a_polygon", |_| search(Filter { area: square.clone(), ..Filter::default() }, None, 100)).await;
    let week = |i: usize| {
        let from = at(i / 2);
        let filter = Filter { from: Some(from), until: Some(from + Duration::from_hours(7 * 24)), ..Filter::default() };
        CountQuery { filter, group_by: vec![GroupKey::Hour, GroupKey::Class], max_groups: 100_000 }
    };
    time("counts_by_hour_and_class_over_7_days", |i| async move { index.count(week(i)).await.unwrap() }).await;
    let some = search(Filter { until: Some(at(QUESTIONS / 3)), ..Filter::default() }, None, QUESTIONS).await.events;
    let ids: Vec<EventId> = some.iter().map(|event| event.event_id.parse().unwrap()).collect();
    time("one_event", |i| index.event(ids[i % ids.len()])).await;
    let stats = index.stats().await.unwrap();
    assert_eq!(stats.events, events);
}
