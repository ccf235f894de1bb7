//! Removing what is too old, a bounded step at a time.

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
    pub(super) events: usize,
    /// The last commit of which nothing is left to read, of all steps so far.
    pub(super) through: CommitSeq,
}

/// Removes at most `max_events` events that began before `older_than`, or that were last received before it: a camera
/// whose clock is years ahead does not keep its events for years.
pub(super) fn purge(
    changing: &mut Changing<'_>,
    older_than: Timestamp,
    max_events: usize,
) -> Result<Purged, ReadError> {
    let transaction = &changing.transaction;
    let by_begin = format!(
        "SELECT {COLUMNS} FROM events INDEXED BY events_by_time WHERE begin_us < ?1 ORDER BY begin_us LIMIT ?2"
    );
    let mut rows = read(transaction, &by_begin, older_than, max_events)?;
    if rows.is_empty() {
        // Commits are in the order of their receive times as long as the region's clock is not set back.
        let by_commit =
            format!("SELECT {COLUMNS} FROM events INDEXED BY events_by_commit ORDER BY commit_seq LIMIT ?2");
        rows = read(transaction, &by_commit, older_than, max_events)?;
        rows.retain(|row| row.receive_us < older_than.as_micros());
    }
    remove(transaction, &rows)?;
    let through = note_removed(transaction, &rows)?;
    forget_steps(transaction)?;
    Ok(Purged { events: rows.len(), through })
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

fn read(
    transaction: &Transaction<'_>,
    sql: &str,
    older_than: Timestamp,
    max_events: usize,
) -> rusqlite::Result<Vec<EventRow>> {
    let mut statement = transaction.prepare_cached(sql)?;
    statement.query_map(params![older_than.as_micros(), max_events as i64], EventRow::read)?.collect()
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
