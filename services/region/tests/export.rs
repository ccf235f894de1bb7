//! Exports as Parquet, beside a region's index that is open: every event once, in the file of its day.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use parquet::file::reader::SerializedFileReader;
use parquet::record::{Field, Row};
use vigil_base::event::Event;
use vigil_base::{RuleKind, SimClock, Timestamp};
use vigil_region::RegionConfig;
use vigil_region::config::IndexConfig;
use vigil_region::export::{ExportError, ExportRequest, Exported, export};
use vigil_region::index::postgres::PostgresIndex;
use vigil_region::index::sqlite::{SqliteConfig, SqliteIndex};
use vigil_region::index::{Index, NewRevision};
use vigil_serve::Access;

use common::postgres::PostgresServer;
use common::{NOON, at, camera, ended, event, found_by, plate, region};

const HOUR: Duration = Duration::from_hours(1);

/// Some of three days, one from a camera whose clock is years off, and a later revision of each fifth.
fn events() -> Vec<Event> {
    let begin = |i: u64| at(Duration::from_secs(i * 200));
    let near = (0..1_000u64).map(|i| match i % 3 {
        0 => plate(camera(event(begin(i)), "gate-2"), &format!("BAB{i}")),
        1 => found_by(event(begin(i)), RuleKind::Entered, "in", Some("door")),
        _ => event(begin(i)),
    });
    let far = event(Timestamp::parse("2031-07-01T00:00:00Z").unwrap());
    near.chain([far]).collect()
}

async fn store(index: &dyn Index) -> Vec<Event> {
    let mut events = events();
    let commit = async |events: &[Event]| {
        let revisions = events.iter().map(|event| NewRevision::new(event.clone(), Bytes::new())).collect();
        index.commit(revisions).await.unwrap();
    };
    commit(&events).await;
    for event in events.iter_mut().step_by(5) {
        *event = ended(event);
    }
    commit(&events).await;
    events
}

fn request(out: &Path) -> ExportRequest {
    let time = Timestamp::MIN..Timestamp::MAX;
    ExportRequest { out: out.to_owned(), time, with_plates: false, access: Access::default() }
}

fn files(out: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let mut files: Vec<PathBuf> = folders.map(|folder| folder.join("events.parquet")).collect();
    files.sort();
    files
}

fn rows(out: &Path) -> Vec<Row> {
    let read = |file: PathBuf| SerializedFileReader::new(File::open(file).unwrap()).unwrap();
    files(out).into_iter().flat_map(|file| read(file).into_iter().map(Result::unwrap).collect::<Vec<_>>()).collect()
}

fn field<'r>(row: &'r Row, name: &str) -> Option<&'r Field> {
    row.get_column_iter().find(|(column, _)| *column == name).map(|(_, field)| field)
}

/// What a few columns of different kinds say of an event.
fn told(row: &Row) -> [String; 6] {
    ["event_id", "revision", "begin_time", "confidence", "zone", "ongoing"]
        .map(|name| field(row, name).unwrap().to_string())
}

fn expected(event: &Event) -> [String; 6] {
    let zone = event.finding.as_ref().and_then(|found| found.zone.as_ref());
    let text = |text: String| Field::Str(text).to_string();
    [
        text(event.id.to_string()),
        Field::Long(event.revision.into()).to_string(),
        Field::TimestampMicros(event.begin_time.as_micros()).to_string(),
        Field::Double(event.confidence.into()).to_string(),
        zone.map_or(Field::Null.to_string(), |zone| text(zone.to_string())),
        Field::Long((event.revision == 1).into()).to_string(),
    ]
}

async fn check(config: &RegionConfig, index: &dyn Index, temp: &Path) {
    let events = store(index).await;
    let out = temp.join("out");
    let done = export(config, request(&out)).await.unwrap();
    assert_eq!(done, Exported { events: events.len() as u64, files: 4, missing: Vec::new() });
    let rows_told = rows(&out);
    let mut found: Vec<_> = rows_told.iter().map(told).collect();
    let mut stored: Vec<_> = events.iter().map(expected).collect();
    found.sort();
    stored.sort();
    assert_eq!(found, stored);
    assert!(field(&rows_told[0], "plate").is_none(), "plates only where they are asked for");
    let days: Vec<_> = files(&out).iter().map(|f| f.parent().unwrap().file_name().unwrap().to_owned()).collect();
    assert_eq!(days, ["day=2026-01-05", "day=2026-01-06", "day=2026-01-07", "day=2031-07-01"]);
    for file in files(&out) {
        let day = file.parent().unwrap().to_string_lossy().into_owned();
        let reader = SerializedFileReader::new(File::open(&file).unwrap()).unwrap();
        for row in reader.into_iter().map(Result::unwrap) {
            let Some(Field::TimestampMicros(begin)) = field(&row, "begin_time") else { panic!("no begin_time") };
            assert!(day.ends_with(&Timestamp::from_micros(*begin).to_string()[..10]));
        }
    }

    let asked = ExportRequest { time: NOON..NOON + HOUR, with_plates: true, ..request(&temp.join("hour")) };
    let hour = export(config, asked.clone()).await.unwrap();
    assert_eq!((hour.events, hour.files), (18, 1));
    let plates = rows(&asked.out).iter().filter(|row| field(row, "plate") != Some(&Field::Null)).count();
    assert_eq!(plates, 6);

    let mut strict = config.clone();
    strict.access.require_case = true;
    assert!(matches!(export(&strict, asked).await, Err(ExportError::Unsaid("case"))));
}

#[tokio::test]
async fn an_embedded_index_is_exported_while_it_is_written() {
    let temp = tempfile::tempdir().unwrap();
    let config = RegionConfig::local(region(), temp.path());
    let slice = Duration::from_hours(24);
    let own = SqliteConfig { data_dir: config.data_dir.clone(), region: region(), reader_threads: 1, slice };
    let index = SqliteIndex::open(&own, SimClock::new(at(HOUR * 60))).unwrap();
    check(&config, &index, temp.path()).await;
    // Each of the two that were made is in their audit log, as begun and as done.
    let log = fs::read_dir(config.audit_dir.join("exports")).unwrap().map(|entry| entry.unwrap().path());
    let lines: String = log.filter(|path| path.is_file()).filter_map(|path| fs::read_to_string(path).ok()).collect();
    assert_eq!(lines.matches("Region/Export").count(), 4, "{lines}");
}

#[tokio::test]
async fn an_index_in_postgresql_is_exported_while_it_is_written() {
    let temp = tempfile::tempdir().unwrap();
    let server = PostgresServer::start(&["fsync=off"]);
    let postgres = server.config("exported");
    let index = PostgresIndex::open(&postgres, SimClock::new(at(HOUR * 60))).unwrap();
    let local = RegionConfig::local(region(), temp.path());
    let config = RegionConfig { index: IndexConfig::Postgres(postgres), ..local };
    check(&config, &index, temp.path()).await;
}
