//! Removing what is too old, an hour of events at a time.

use std::time::Duration;

use rusqlite::{Transaction, params};
use vigil_base::Timestamp;

use super::ReadError;
use super::apply::{CountChanges, row_hourly_key};
use super::row::{COLUMNS, EventRow};
use super::schema::{meta_number, set_meta_number};
use super::seek::forget_steps;
use super::writer::Changing;
use crate::index::CommitSeq;

/// What a step removed.
pub(super) struct Purged {
    pub(super) events: u64,
    /// The last commit of which nothing is left to read, of all steps so far.
    pub(super) through: CommitSeq,
}

/// The slice of time that goes at once.
pub(super) const SLICE: Duration = Duration::from_hours(1);

/// Removes the events of the oldest hour, where all of it is before `older_than`; else those that were last received before
/// it.
pub(super) fn purge(changing: &mut Changing<'_>, older_than: Timestamp) -> Result<Purged, ReadError> {
    let transaction = &changing.transaction;
    let oldest: Option<i64> = transaction.query_row("SELECT min(begin_us) FROM events", [], |row| row.get(0))?;
    let end = oldest.map(|begin_us| Timestamp::from_micros(begin_us).round_down(SLICE) + SLICE);
    let mut rows = Vec::new();
    if let Some(end) = end.filter(|end| *end <= older_than) {
        let by_begin = format!("SELECT {COLUMNS} FROM events INDEXED BY events_by_time WHERE begin_us < ?1");
        rows = read(transaction, &by_begin, end)?;
    }
    if rows.is_empty() {
        rows = read(transaction, &format!("SELECT {COLUMNS} FROM events WHERE receive_us < ?1"), older_than)?;
    }
    remove(transaction, &rows)?;
    let through = note_removed(transaction, &rows)?;
    forget_steps(transaction)?;
    Ok(Purged { events: rows.len() as u64, through })
}

/// Keeps the last commit that was removed, and when it was received: readers that need what is gone are told.
fn note_removed(transaction: &Transaction<'_>, rows: &[EventRow]) -> rusqlite::Result<CommitSeq> {
    let before = CommitSeq(meta_number(transaction, "purged_through")?);
    let Some(last) = rows.iter().max_by_key(|row| row.commit).filter(|row| row.commit > before) else {
        return Ok(before);
    };
    set_meta_number(transaction, "purged_through", last.commit.0)?;
    set_meta_number(transaction, "purged_us", last.receive_us.unsigned_abs())?;
    Ok(last.commit)
}

fn read(transaction: &Transaction<'_>, sql: &str, before: Timestamp) -> rusqlite::Result<Vec<EventRow>> {
    let mut statement = transaction.prepare_cached(sql)?;
    statement.query_map(params![before.as_micros()], EventRow::read)?.collect()
}

fn remove(transaction: &Transaction<'_>, rows: &[EventRow]) -> rusqlite::Result<()> {
    let mut counts = CountChanges::default();
    for row in rows {
        transaction.prepare_cached("DELETE FROM payloads WHERE row = ?1")?.execute([row.row])?;
        transaction.prepare_cached("DELETE FROM thumbnails WHERE row = ?1")?.execute([row.row])?;
        transaction
            .prepare_cached("DELETE FROM events WHERE camera = ?1 AND begin_us = ?2 AND event_id = ?3")?
            .execute(params![row.camera, row.key.begin_us, row.key.id])?;
        counts.add(row_hourly_key(row), -1);
    }
    if rows.is_empty() { Ok(()) } else { counts.store(transaction) }
}
