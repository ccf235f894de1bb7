//! Figures of an index, as JSON lines: ingest with full durability against a bare insert of the same rows, and the times of
//! questions over many events. Run with `cargo run --release -p vigil-region --example index_figures -- EVENTS [ENGINE]`, where
//! ENGINE is sqlite, the default, or postgres, for which a server of its own is started.
// A measurement: it may stop at any error, and reads the clock.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod bare;
#[path = "../../tests/common/events.rs"]
mod events;
mod made;
#[path = "../../tests/common/postgres.rs"]
#[allow(dead_code)] // The tests crash it, too.
mod postgres;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use vigil_base::event::Colour;
use vigil_base::{Clock, EventId, GeoPoint, Polygon, SystemClock, Timestamp};
use vigil_proto::convert::{Filter, PlateMatch, PlatePattern};
use vigil_region::index::postgres::PostgresIndex;
use vigil_region::index::sqlite::{SqliteConfig, SqliteIndex};
use vigil_region::index::{CountQuery, GroupKey, Index, NewRevision, Position, SearchQuery};

use events::region;
use made::{batch, camera_id, first_of};
use postgres::PostgresServer;

const CAMERAS: u32 = 2_000;
const DAYS: u64 = 30;
const BATCH: usize = 500;
/// Events of the comparison with a bare insert, in a fresh file each.
const COMPARED: usize = 100_000;
/// How often it is made.
const ROUNDS: usize = 3;
const PUBLISHERS: usize = 4;
const QUESTIONS: usize = 300;
const START: Timestamp = events::NOON;

/// The engine that is measured.
enum Engine {
    Sqlite(PathBuf),
    Postgres(PostgresServer),
}

impl Engine {
    /// Opens an index of this name.
    fn open(&self, name: &str) -> Arc<dyn Index> {
        match self {
            Self::Sqlite(folder) => {
                let config = SqliteConfig {
                    data_dir: folder.join(name),
                    region: region(),
                    reader_threads: 2,
                    slice: Duration::from_hours(24),
                };
                Arc::new(SqliteIndex::open(&config, SystemClock::shared()).unwrap())
            }
            Self::Postgres(server) => {
                Arc::new(PostgresIndex::open(&server.config(name), SystemClock::shared()).unwrap())
            }
        }
    }

    /// Lets a server do now what it does by itself in the background some time after so many rows came: its statistics, and the
    /// marks of what everybody sees. Questions are then asked of a region as it is on any day.
    fn settle(&self, runtime: &tokio::runtime::Runtime, name: &str) {
        if let Self::Postgres(server) = self {
            let started = Instant::now();
            runtime.block_on(bare::run(server.config(name).url.reveal(), &["VACUUM (ANALYZE)", "CHECKPOINT"]));
            report("settling", &[("seconds", started.elapsed().as_secs_f64())]);
        }
    }

    /// Events a second of the least that could be an index.
    fn bare(&self, runtime: &tokio::runtime::Runtime, name: &str, batches: &[Vec<NewRevision>]) -> f64 {
        match self {
            Self::Sqlite(folder) => bare::insert(&folder.join(name), batches),
            Self::Postgres(server) => runtime.block_on(bare::copy(server.config(name).url.reveal(), name, batches)),
        }
    }
}

fn main() {
    let events: u64 = std::env::args().nth(1).map_or(1_000_000, |text| text.parse().expect("EVENTS is a number"));
    let folder = tempfile::tempdir().unwrap();
    let engine = match std::env::args().nth(2).as_deref() {
        None | Some("sqlite") => Engine::Sqlite(folder.path().to_owned()),
        Some("postgres") => Engine::Postgres(PostgresServer::start(&["shared_buffers=2GB", "max_wal_size=4GB"])),
        Some(other) => panic!("{other} is no engine; there are sqlite and postgres"),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    compare_ingest(&runtime, &engine);
    forget_peak();
    let index = engine.open("large");
    let since = SystemClock::new().now();
    fill(&runtime, &index, events);
    engine.settle(&runtime, "large");
    runtime.block_on(ask_all(&index, events));
    runtime.block_on(seek(&index, since));
    index.close();
    let (now, peak) = (resident_mb("VmRSS:"), resident_mb("VmHWM:"));
    report("memory", &[("resident_mb", now), ("peak_mb", peak)]);
}

/// The peak of this process's memory begins anew: what was measured before does not count (proc(5), `clear_refs`).
fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// Memory of this process, of an engine that is no server all there is.
fn resident_mb(which: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(which)).unwrap();
    line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
}

fn report(name: &str, fields: &[(&str, f64)]) {
    let fields: Vec<String> = fields.iter().map(|(key, value)| format!("\"{key}\":{value:.3}")).collect();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{{\"figure\":\"{name}\",{}}}", fields.join(",")).unwrap();
}

/// The same rows into the index and into one bare table, both durable and in batches of the same size: in turns, so that each meets
/// the same machine, and the median of each.
fn compare_ingest(runtime: &tokio::runtime::Runtime, engine: &Engine) {
    let mut random = StdRng::seed_from_u64(1);
    let batches: Vec<Vec<NewRevision>> =
        (0..COMPARED / BATCH).map(|i| batch(&mut random, (i * BATCH) as u64, COMPARED as u64)).collect();
    let (mut bare, mut one, mut many, mut days) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        bare.push(engine.bare(runtime, &format!("bare{round}"), &batches));
        let index = engine.open(&format!("one{round}"));
        days.push(make_days(runtime, &index));
        let started = Instant::now();
        runtime.block_on(publish(&index, batches.clone()));
        one.push(COMPARED as f64 / started.elapsed().as_secs_f64());
        index.close();
        let index = engine.open(&format!("many{round}"));
        make_days(runtime, &index);
        many.push(ingest_beside_searches(runtime, &index, &batches));
        index.close();
    }
    let [bare, one, many, days] = [bare, one, many, days].map(median);
    report("making_a_day", &[("ms", days)]);
    report("bare_insert", &[("events_per_s", bare)]);
    report("ingest_one_publisher", &[("events_per_s", one), ("of_bare", one / bare)]);
    report("ingest_four_publishers_beside_searches", &[("events_per_s", many), ("of_bare", many / bare)]);
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Events a second of several publishers at once, while somebody searches.
fn ingest_beside_searches(
    runtime: &tokio::runtime::Runtime,
    index: &Arc<dyn Index>,
    batches: &[Vec<NewRevision>],
) -> f64 {
    let searching = runtime.spawn(search_again_and_again(Arc::clone(index)));
    let mut parts: Vec<Vec<Vec<NewRevision>>> = vec![Vec::new(); PUBLISHERS];
    for (i, batch) in batches.iter().enumerate() {
        parts[i % PUBLISHERS].push(batch.clone());
    }
    let started = Instant::now();
    runtime.block_on(async {
        let publishers: Vec<_> = parts
            .into_iter()
            .map(|part| {
                let index = Arc::clone(index);
                tokio::spawn(async move { publish(&index, part).await })
            })
            .collect();
        for publisher in publishers {
            publisher.await.unwrap();
        }
    });
    let rate = COMPARED as f64 / started.elapsed().as_secs_f64();
    searching.abort();
    rate
}

/// An event of each day: a region makes one a day, and what that takes is told apart. Milliseconds for each.
fn make_days(runtime: &tokio::runtime::Runtime, index: &Arc<dyn Index>) -> f64 {
    let mut random = StdRng::seed_from_u64(3);
    let started = Instant::now();
    for day in 0..DAYS {
        runtime.block_on(index.commit(first_of(&mut random, day, DAYS))).unwrap();
    }
    started.elapsed().as_secs_f64() * 1e3 / DAYS as f64
}

/// An operator who looks for what is new, twenty times a second.
async fn search_again_and_again(index: Arc<dyn Index>) {
    let mut often = tokio::time::interval(Duration::from_millis(50));
    loop {
        often.tick().await;
        let filter = Filter { classes: vec!["person".into()], ..Filter::default() };
        index.search(SearchQuery { filter, after: None, max_events: 100 }).await.unwrap();
    }
}

async fn publish(index: &Arc<dyn Index>, batches: Vec<Vec<NewRevision>>) {
    for batch in batches {
        index.commit(batch).await.unwrap();
    }
}

fn fill(runtime: &tokio::runtime::Runtime, index: &Arc<dyn Index>, events: u64) {
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
async fn seek(index: &Arc<dyn Index>, since: Timestamp) {
    let took = SystemClock::new().now().since(since);
    time("the_place_of_a_moment", |i| index.seek(since + took * i as u32 / QUESTIONS as u32)).await;
}

async fn ask_all(index: &Arc<dyn Index>, events: u64) {
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
    let plate = |i: usize| Filter {
        plate: format!("B{}", char::from(b'A' + (i % 26) as u8)).parse().ok(),
        ..Filter::default()
    };
    time("a_part_of_a_plate", |i| search(plate(i), None, 100)).await;
    let read = search(Filter { plate: Some(PlatePattern::ANY), ..Filter::default() }, None, QUESTIONS).await.events;
    let text = |i: usize| read[i * 31 % read.len()].plate.clone().unwrap_or_default().text;
    let named = |text: &str, how| Filter { plate: PlatePattern::new(text, how).ok(), ..Filter::default() };
    time("five_characters_of_a_plate", |i| search(named(&text(i)[1..6], PlateMatch::Part), None, 100)).await;
    time("a_plate_by_its_beginning", |i| search(named(&text(i)[..5], PlateMatch::Prefix), None, 100)).await;
    time("a_whole_plate", |i| search(named(&text(i), PlateMatch::Exact), None, 100)).await;
    time("a_plate_with_one_wrong_character", |i| {
        search(named(&format!("Q{}", &text(i)[1..]), PlateMatch::OneWrong), None, 100)
    })
    .await;
    time("a_part_that_no_plate_has", |_| search(named("0Q0", PlateMatch::Part), None, 100)).await;
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
    let zones = |i: usize| CountQuery { group_by: vec![GroupKey::Zone, GroupKey::Hour], ..week(i) };
    time("counts_by_zone_and_hour_over_7_days", |i| async move { index.count(zones(i)).await.unwrap() }).await;
    time("one_event", |i| index.event(ids[i % ids.len()])).await;
    let stats = index.stats().await.unwrap();
    assert_eq!(stats.events, events);
}
