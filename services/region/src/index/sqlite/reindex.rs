//! Building anew what is derived: an event's columns from its payload, the counts and figures of a slice from its events, all
//! indexes, the cameras' extents, and the list of slices from their files.
//!
//! A slice says itself whose it is and of which time, and payloads hold names, not numbers. So the region's own file can be made
//! anew from its slices: what it alone has (the registry, coverage, remembered edges, numbers set apart) is lost, what was seen is not.
//! Kept as they are: commit numbers, receive times and thumbnails, which stand nowhere else.
//!
//! Each slice is one transaction, after one of the region's file for the names it needs: a run that ends in between changed
//! some slices and not yet others, and can be run again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prost::Message;
use rusqlite::{Connection, params};
use uuid::Uuid;
use vigil_base::Event;
use vigil_proto::convert::event_from_wire;
use vigil_proto::v1;

use super::SqliteConfig;
use super::apply::widen_extent;
use super::catalogue;
use super::folder::DataFolder;
use super::names::NameCache;
use super::row::{COLUMNS, EventRow, colours_of, kind_number, span_of};
use super::schema::{check_pages, meta_number, open_region, open_slice_writer, set_meta_number, upgrade_slice};
use super::slices::{Slice, SliceKind, SliceList, Summary};
use super::store::{Numbers, length_us};
use super::unsliced::add_up;
use super::walk::Key;
use crate::index::{IndexError, Result};

/// Events that are compared at a time.
const CHUNK_EVENTS: usize = 2_048;

/// What became of one slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReindexedSlice {
    /// Its file's name.
    pub name: String,
    /// What was found and done, or why it could not be.
    pub outcome: std::result::Result<Reindexed, String>,
}

/// What was found and done in one slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reindexed {
    /// Events in it.
    pub events: u64,
    /// Events whose columns said something else than their payload, and were put right.
    pub corrected: u64,
    /// Whether its counts said something else than its events.
    pub counts_differed: bool,
    /// Whether the list of slices did not have it, or had it for damaged.
    pub taken_back: bool,
}

/// Builds anew what is derived, slice by slice; tells of each.
pub(super) fn reindex(
    folder: &DataFolder,
    config: &SqliteConfig,
    tell: &mut dyn FnMut(ReindexedSlice) -> Result<()>,
) -> Result<()> {
    let path = folder.region();
    let (region, index_id) = open_region(&path, &config.region)?;
    let failed = |e| IndexError::sqlite(&path, "reindex", e);
    let index_id = adopt(&region, folder.path(), index_id).map_err(failed)?;
    let slices = catalogue::load(&region, &path, folder.path(), index_id)?;
    let mut reindexing = Reindexing { region: &region, names: NameCache::default() };
    let mut latest = meta_number(&region, "seq_reserved").map_err(failed)?;
    let list = slices.list();
    for slice in list.all() {
        let outcome = reindexing.slice(slice, &list);
        if outcome.is_err() {
            reindexing.names.clear();
        }
        latest = latest.max(slice.summary().last_seq.unsigned_abs());
        let name = slice.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        tell(ReindexedSlice { name, outcome: outcome.map_err(|error| vigil_base::error::chain(&error)) })?;
    }
    set_meta_number(&region, "seq_reserved", latest).map_err(failed)
}

/// Takes slices of the folder into the list that it does not have: it was lost, or is older than they are. Only those of this
/// index; where the list is empty, of the index that the first of them names.
fn adopt(region: &Connection, folder: &Path, index_id: Uuid) -> rusqlite::Result<Uuid> {
    let is_empty: bool = region.query_row("SELECT NOT EXISTS (SELECT 1 FROM slices)", [], |row| row.get(0))?;
    let mut index_id = index_id;
    let mut is_open_to_any = is_empty;
    for file in slice_files(folder) {
        let Ok(marks) = open_slice_writer(&file).and_then(|slice| Marks::load(&slice)) else { continue };
        if is_open_to_any && marks.index_id != index_id {
            index_id = marks.index_id;
            region.execute("UPDATE meta SET value = ?1 WHERE name = 'index_id'", [index_id.to_string()])?;
        }
        is_open_to_any = false;
        if marks.index_id == index_id {
            let sql =
                "INSERT OR IGNORE INTO slices (number, kind, from_us, until_us, seq_bound) VALUES (?1, ?2, ?3, ?4, ?5)";
            region.execute(
                sql,
                params![marks.number, marks.kind, marks.from_us, marks.until_us, marks.last_seq.max(1)],
            )?;
        }
    }
    Ok(index_id)
}

fn slice_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_slice = |name: &str| {
        let stem = name.strip_suffix(".db");
        stem.is_some_and(|stem| stem.starts_with("events-") || stem.starts_with("strays-"))
    };
    let mut files: Vec<PathBuf> =
        entries.filter(|entry| entry.file_name().to_str().is_some_and(is_slice)).map(|entry| entry.path()).collect();
    files.sort();
    files
}

/// What a slice says of itself.
struct Marks {
    number: i64,
    index_id: Uuid,
    kind: i64,
    from_us: i64,
    until_us: i64,
    last_seq: i64,
}

impl Marks {
    fn load(slice: &Connection) -> rusqlite::Result<Self> {
        let sql = "SELECT number, index_id, kind, from_us, until_us, last_seq FROM slice";
        slice.query_row(sql, [], |row| {
            let index_id: String = row.get(1)?;
            let not_an_id = |e| rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(e));
            Ok(Self {
                number: row.get(0)?,
                index_id: index_id.parse().map_err(not_an_id)?,
                kind: row.get(2)?,
                from_us: row.get(3)?,
                until_us: row.get(4)?,
                last_seq: row.get(5)?,
            })
        })
    }
}

struct Reindexing<'r> {
    region: &'r Connection,
    names: NameCache,
}

impl Reindexing<'_> {
    fn slice(&mut self, slice: &Arc<Slice>, list: &SliceList) -> Result<Reindexed> {
        let failed = |e| IndexError::sqlite(&slice.path, "reindex", e);
        check_time_is_free(slice, list)?;
        let connection = open_slice_writer(&slice.path).map_err(failed)?;
        upgrade_slice(&slice.path, &connection)?;
        check_pages(&slice.path, &connection)?;
        let transaction = connection.unchecked_transaction().map_err(failed)?;
        let names = self.region.unchecked_transaction().map_err(failed)?;
        let mut done = Reindexed { taken_back: slice.state.read().problem.is_some(), ..Reindexed::default() };
        let before = counts(&transaction).map_err(failed)?;
        self.correct(&transaction, &mut done).map_err(failed)?;
        transaction.execute_batch("REINDEX").map_err(failed)?;
        let summary = add_up(&transaction).map_err(failed)?;
        done.events = summary.events;
        done.counts_differed = before != counts(&transaction).map_err(failed)?;
        names.commit().map_err(failed)?;
        transaction.commit().map_err(failed)?;
        self.note(slice, summary).map_err(failed)?;
        Ok(done)
    }

    /// The list has what the slice holds; a slice that is sound is no longer set aside.
    fn note(&self, slice: &Slice, summary: Summary) -> rusqlite::Result<()> {
        slice.set_summary(summary);
        let transaction = self.region.unchecked_transaction()?;
        catalogue::unseal(&transaction, slice, summary.last_seq.unsigned_abs().max(1))?;
        catalogue::seal(&transaction, slice)?;
        catalogue::clear_damage(&transaction, slice)?;
        transaction.commit()
    }

    /// Goes over all events and puts right those whose columns differ from their payload.
    fn correct(&mut self, slice: &Connection, done: &mut Reindexed) -> rusqlite::Result<()> {
        let mut after = (i64::MIN, Key { begin_us: i64::MIN, id: [0; 16] });
        loop {
            let chunk = chunk_after(slice, after)?;
            for (row, event) in &chunk {
                let numbers = Numbers::of(&mut self.names, self.region, event)?;
                if let Some(at) = event.location {
                    widen_extent(self.region, numbers.camera, at)?;
                }
                if differs(row, event, &numbers) {
                    put_right(slice, row, event, &numbers)?;
                    done.corrected += 1;
                }
            }
            match chunk.last() {
                Some((row, _)) if chunk.len() == CHUNK_EVENTS => after = (row.camera, row.key),
                _ => return Ok(()),
            }
        }
    }
}

/// A slice that was set aside is not taken back where another has taken its place: events that were sent again are in both.
fn check_time_is_free(slice: &Slice, list: &SliceList) -> Result<()> {
    let overlaps = |other: &&Arc<Slice>| slice.from_us < other.until_us && other.from_us < slice.until_us;
    let is_aside = slice.kind == SliceKind::Dated && slice.state.read().problem.is_some();
    match list.dated.iter().find(overlaps).filter(|_| is_aside) {
        Some(other) => {
            let problem = format!("{} has taken its place since; it stays aside", other.path.display());
            Err(IndexError::Foreign { path: slice.path.clone(), problem })
        }
        None => Ok(()),
    }
}

/// The next events with their payloads, in the order of their keys.
fn chunk_after(slice: &Connection, (camera, key): (i64, Key)) -> rusqlite::Result<Vec<(EventRow, Event)>> {
    let sql = format!(
        "SELECT {COLUMNS}, (SELECT event FROM payloads WHERE payloads.row = events.row) FROM events
         WHERE (camera, begin_us, event_id) > (?1, ?2, ?3) ORDER BY camera, begin_us, event_id LIMIT ?4"
    );
    let damaged = |e: Box<dyn std::error::Error + Send + Sync>| {
        rusqlite::Error::FromSqlConversionFailure(PAYLOAD, rusqlite::types::Type::Blob, e)
    };
    let read = |row: &rusqlite::Row<'_>| {
        let payload = row.get_ref(PAYLOAD)?.as_blob().map_err(|e| damaged(Box::new(e)))?;
        let wire = v1::Event::decode(payload).map_err(|e| damaged(Box::new(e)))?;
        let event = event_from_wire(wire).map_err(|e| damaged(Box::new(e)))?;
        Ok((EventRow::read(row)?, event))
    };
    let mut statement = slice.prepare_cached(&sql)?;
    statement.query_map(params![camera, key.begin_us, key.id, CHUNK_EVENTS as i64], read)?.collect()
}

/// The column after those of a row.
const PAYLOAD: usize = 19;

fn differs(row: &EventRow, event: &Event, numbers: &Numbers) -> bool {
    let expected = EventRow {
        camera: numbers.camera,
        revision: event.revision,
        end_us: event.end_time.as_micros(),
        kind: kind_number(event.kind()),
        class: numbers.class,
        edge: numbers.edge,
        confidence: event.confidence,
        colours: colours_of(event),
        location: event.location,
        plate: event.plate.as_ref().map(|plate| plate.text.clone()),
        rule: numbers.rule,
        zone: numbers.zone,
        ..row.clone()
    };
    *row != expected
}

fn put_right(slice: &Connection, row: &EventRow, event: &Event, numbers: &Numbers) -> rusqlite::Result<()> {
    let sql = "UPDATE events SET camera = ?4, revision = ?5, end_us = ?6, span = ?7, kind = ?8, class = ?9, edge = ?10,
                      confidence = ?11, colours = ?12, latitude = ?13, longitude = ?14, plate = ?15, rule = ?16, zone = ?17
               WHERE camera = ?1 AND begin_us = ?2 AND event_id = ?3";
    slice.prepare_cached(sql)?.execute(params![
        row.camera,
        row.key.begin_us,
        row.key.id,
        numbers.camera,
        event.revision,
        event.end_time.as_micros(),
        span_of(length_us(event)),
        kind_number(event.kind()),
        numbers.class,
        numbers.edge,
        f64::from(event.confidence),
        colours_of(event),
        event.location.map(|at| at.latitude),
        event.location.map(|at| at.longitude),
        event.plate.as_ref().map(|plate| &plate.text),
        numbers.rule,
        numbers.zone,
    ])?;
    Ok(())
}

/// All counts, to be compared: hour, camera, class, kind, zone, events; those by ten minutes under camera -1.
fn counts(slice: &Connection) -> rusqlite::Result<Vec<[i64; 6]>> {
    let sql = "SELECT hour, camera, class, kind, zone, events FROM hourly
               UNION ALL SELECT ten, -1, class, kind, zone, events FROM tens ORDER BY 1, 2, 3, 4, 5";
    let read =
        |row: &rusqlite::Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?]);
    slice.prepare(sql)?.query_map([], read)?.collect()
}
