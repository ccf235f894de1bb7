//! All events of a time, read beside the region that may be running.
//!
//! Nothing is locked or written: each slice is read within a transaction that begins before the first event is given, so that
//! each is as of one moment, all of them within as long as opening takes.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use rusqlite::{Connection, params};
use vigil_base::Timestamp;
use vigil_proto::v1;

use super::catalogue::readable;
use super::failure::ReadError;
use super::lookup::PayloadReader;
use super::row::{COLUMNS, EventRow};
use super::schema::{check_owner, open_region_reader};
use super::slices::{Session, Slices};
use super::walk::Key;
use super::{SqliteConfig, folder};
use crate::index::{IndexError, Result};

/// Events that are given at a time.
const CHUNK: usize = 1_000;
const DAY_US: i64 = 86_400_000_000;

/// Gives all events that begin within a time, a day after the other; returns what is wrong with slices that it could not read.
///
/// # Errors
/// The region's own file cannot be read, or is another's; a slice fails while it is read; those of `give`.
pub fn scan(
    config: &SqliteConfig,
    time: &Range<Timestamp>,
    give: &mut dyn FnMut(Vec<v1::Event>) -> Result<()>,
) -> Result<Vec<String>> {
    let path = folder::region_of(&config.data_dir);
    let region = open_region_reader(&path)?;
    check_owner(&path, &region, &config.region)?;
    let time = time.start.as_micros()..time.end.as_micros();
    let failed = |error: ReadError| error.into_index_error(&path, "read all events");
    let (listed, mut missing) = readable(&region, &config.data_dir, &time).map_err(|e| failed(e.into()))?;
    let slices = Arc::new(Slices::default());
    let mut sessions = Vec::with_capacity(listed.len());
    for slice in &listed {
        match slices.session(slice) {
            Ok(session) => sessions.push(session),
            // Retention has removed it since the list was read.
            Err(_) if !slice.path.exists() => {}
            Err(error) => missing.push(format!("{}: {}", slice.path.display(), failed(error))),
        }
    }
    let mut days = BTreeSet::new();
    for session in &sessions {
        days.extend(session.read(|slice| days_of(slice, &time)).map_err(failed)?);
    }
    for day in days {
        let of_day = (day * DAY_US).max(time.start)..((day + 1) * DAY_US).min(time.end);
        for session in &sessions {
            give_all(session, &of_day, give, &failed)?;
        }
    }
    Ok(missing)
}

/// The days since 1970 on which events of a slice begin.
fn days_of(slice: &Connection, time: &Range<i64>) -> rusqlite::Result<Vec<i64>> {
    let sql = format!(
        "SELECT DISTINCT begin_us / {DAY_US} FROM events INDEXED BY events_by_time WHERE begin_us >= ?1 AND begin_us < ?2"
    );
    slice.prepare(&sql)?.query_map([time.start, time.end], |row| row.get(0))?.collect()
}

fn give_all(
    session: &Session,
    time: &Range<i64>,
    give: &mut dyn FnMut(Vec<v1::Event>) -> Result<()>,
    failed: &dyn Fn(ReadError) -> IndexError,
) -> Result<()> {
    let mut after = Key::before(time.start);
    loop {
        let (last, events) = session.read(|slice| chunk(slice, after, time.end)).map_err(failed)?;
        let is_last = events.len() < CHUNK;
        if !events.is_empty() {
            give(events)?;
        }
        match last.filter(|_| !is_last) {
            Some(last) => after = last,
            None => return Ok(()),
        }
    }
}

/// The next events in time order, and the place of the last.
fn chunk(slice: &Connection, after: Key, end_us: i64) -> rusqlite::Result<(Option<Key>, Vec<v1::Event>)> {
    let sql = format!(
        "SELECT {COLUMNS} FROM events INDEXED BY events_by_time
         WHERE (begin_us, event_id) > (?1, ?2) AND begin_us < ?3 ORDER BY begin_us, event_id LIMIT ?4"
    );
    let mut statement = slice.prepare_cached(&sql)?;
    let rows = statement.query_map(params![after.begin_us, after.id, end_us, CHUNK as i64], EventRow::read)?;
    let mut payloads = PayloadReader::new(slice)?;
    let (mut last, mut events) = (None, Vec::new());
    for row in rows {
        let row = row?;
        events.push(payloads.event(&row)?);
        last = Some(row.key);
    }
    Ok((last, events))
}
