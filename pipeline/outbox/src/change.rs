//! What one call changes in the tables.

use std::path::Path;

use bytes::Bytes;
use rusqlite::{OptionalExtension, Row, Savepoint, named_params, params};
use vigil_base::{EventId, Timestamp};

use crate::call::{Call, CallResult};
use crate::record::{MAX_RECORD_BYTES, MAX_SET_ASIDE};
use crate::{Backlog, OutboxError, PutOutcome, Record};

/// What SQLite and its indexes need beside the bytes of a record; makes many small records count.
pub(crate) const RECORD_OVERHEAD_BYTES: u64 = 128;

/// The row of an event.
struct Stored {
    row: i64,
    revision: u32,
    is_pending: bool,
    is_final: bool,
    queued_us: i64,
    event_bytes: u64,
    thumbnail_bytes: u64,
}

impl Stored {
    fn footprint(&self) -> u64 {
        self.event_bytes + self.thumbnail_bytes + RECORD_OVERHEAD_BYTES
    }
}

/// One call under way: its savepoint is undone when it fails.
pub(crate) struct Change<'a> {
    pub(crate) path: &'a Path,
    pub(crate) step: Savepoint<'a>,
    /// What the outbox holds after this call so far.
    pub(crate) backlog: Backlog,
    pub(crate) max_bytes: u64,
    pub(crate) now: Timestamp,
}

impl Change<'_> {
    pub(crate) fn apply(&mut self, call: &Call) -> CallResult {
        match call {
            Call::Put(records) => records.iter().map(|record| self.put(record)).collect(),
            Call::Acknowledge(acknowledged) => {
                for (event_id, revision) in acknowledged {
                    self.acknowledge(*event_id, *revision).map_err(|e| self.failed("acknowledge", e))?;
                }
                Ok(Vec::new())
            }
            Call::SetAside { event_id, revision, reason } => {
                self.set_aside(*event_id, *revision, reason).map_err(|e| self.failed("set aside", e))?;
                Ok(Vec::new())
            }
        }
    }

    fn failed(&self, doing: &'static str, error: rusqlite::Error) -> OutboxError {
        OutboxError::sqlite(self.path, doing, error)
    }

    fn put(&mut self, record: &Record) -> Result<PutOutcome, OutboxError> {
        let bytes = record.len();
        if bytes > MAX_RECORD_BYTES {
            return Err(OutboxError::TooLarge { event_id: record.event_id, bytes, limit: MAX_RECORD_BYTES });
        }
        let stored = self.find(record.event_id).map_err(|e| self.failed("put", e))?;
        if let Some(stored) = &stored
            && stored.revision >= record.revision
        {
            return Ok(PutOutcome::Stale { stored: stored.revision });
        }
        self.make_room(record, stored.as_ref())?;
        let sequence = self.backlog.next_sequence;
        self.backlog.next_sequence += 1;
        match stored {
            None => self.insert(record, sequence),
            Some(stored) => self.replace(record, sequence, &stored),
        }
        .map_err(|e| self.failed("put", e))?;
        Ok(PutOutcome::Stored { sequence })
    }

    /// Counts the record in, or refuses it at the bound.
    fn make_room(&mut self, record: &Record, stored: Option<&Stored>) -> Result<(), OutboxError> {
        let kept_thumbnail = match stored {
            Some(stored) if record.thumbnail.is_empty() => stored.thumbnail_bytes,
            _ => 0,
        };
        let before = stored.map_or(0, Stored::footprint);
        let after = record.len() as u64 + kept_thumbnail + RECORD_OVERHEAD_BYTES;
        let used = self.backlog.bytes - before + after;
        if used > self.max_bytes && after > before {
            return Err(OutboxError::Full { used: self.backlog.bytes, limit: self.max_bytes });
        }
        self.backlog.bytes = used;
        Ok(())
    }

    fn find(&self, event_id: EventId) -> rusqlite::Result<Option<Stored>> {
        let sql = "SELECT row, revision, sequence IS NOT NULL, is_final, queued_us, length(event),
                          ifnull(length(thumbnail), 0)
                   FROM records WHERE event_id = ?1";
        let read = |row: &Row<'_>| {
            Ok(Stored {
                row: row.get(0)?,
                revision: row.get(1)?,
                is_pending: row.get(2)?,
                is_final: row.get(3)?,
                queued_us: row.get(4)?,
                event_bytes: row.get::<_, i64>(5)?.unsigned_abs(),
                thumbnail_bytes: row.get::<_, i64>(6)?.unsigned_abs(),
            })
        };
        self.step.prepare_cached(sql)?.query_row([event_id.as_bytes()], read).optional()
    }

    fn insert(&mut self, record: &Record, sequence: u64) -> rusqlite::Result<()> {
        let sql = "INSERT INTO records (event_id, sequence, revision, is_final, queued_us, event, thumbnail)
                   VALUES (:event_id, :sequence, :revision, :is_final, :queued_us, :event, :thumbnail)";
        self.step.prepare_cached(sql)?.execute(named_params! {
            ":event_id": record.event_id.as_bytes(),
            ":sequence": sequence as i64,
            ":revision": record.revision,
            ":is_final": record.is_final,
            ":queued_us": self.now.as_micros(),
            ":event": &record.event[..],
            ":thumbnail": some_bytes(&record.thumbnail),
        })?;
        self.backlog.records += 1;
        Ok(())
    }

    /// The later revision takes the row. A thumbnail that still waits stays unless a new one comes with it, and the
    /// event keeps the time since which the region lacks something of it.
    fn replace(&mut self, record: &Record, sequence: u64, stored: &Stored) -> rusqlite::Result<()> {
        let sql = "UPDATE records SET sequence = :sequence, revision = :revision, is_final = :is_final,
                          queued_us = :queued_us, event = :event, thumbnail = coalesce(:thumbnail, thumbnail)
                   WHERE row = :row";
        self.step.prepare_cached(sql)?.execute(named_params! {
            ":row": stored.row,
            ":sequence": sequence as i64,
            ":revision": record.revision,
            ":is_final": record.is_final,
            ":queued_us": if stored.is_pending { stored.queued_us } else { self.now.as_micros() },
            ":event": &record.event[..],
            ":thumbnail": some_bytes(&record.thumbnail),
        })?;
        self.backlog.records += u64::from(!stored.is_pending);
        Ok(())
    }

    /// Lets go of a revision that the region has; a later one stays. An event that is not final is remembered without
    /// its thumbnail.
    fn acknowledge(&mut self, event_id: EventId, revision: u32) -> rusqlite::Result<()> {
        let Some(stored) = self.find(event_id)? else { return Ok(()) };
        if !stored.is_pending || stored.revision > revision {
            return Ok(());
        }
        if stored.is_final {
            self.step.prepare_cached("DELETE FROM records WHERE row = ?1")?.execute([stored.row])?;
            self.backlog.bytes -= stored.footprint();
        } else {
            let sql = "UPDATE records SET sequence = NULL, thumbnail = NULL WHERE row = ?1";
            self.step.prepare_cached(sql)?.execute([stored.row])?;
            self.backlog.bytes -= stored.thumbnail_bytes;
        }
        self.backlog.records -= 1;
        Ok(())
    }

    fn set_aside(&mut self, event_id: EventId, revision: u32, reason: &str) -> rusqlite::Result<()> {
        let sql = "INSERT INTO set_aside (event_id, revision, reason, set_aside_us, event)
                   SELECT event_id, revision, ?3, ?4, event FROM records
                   WHERE event_id = ?1 AND revision = ?2 AND sequence IS NOT NULL";
        let moved = self.step.prepare_cached(sql)?.execute(params![
            event_id.as_bytes(),
            revision,
            reason,
            self.now.as_micros()
        ])?;
        if moved == 0 {
            return Ok(());
        }
        self.backlog.set_aside += 1;
        self.backlog.set_aside_total += 1;
        self.backlog.bytes += self.find(event_id)?.map_or(0, |s| s.event_bytes + RECORD_OVERHEAD_BYTES);
        self.acknowledge(event_id, revision)?;
        if self.backlog.set_aside > MAX_SET_ASIDE {
            self.drop_oldest_set_aside()?;
        }
        Ok(())
    }

    fn drop_oldest_set_aside(&mut self) -> rusqlite::Result<()> {
        let sql = "DELETE FROM set_aside WHERE row = (SELECT min(row) FROM set_aside) RETURNING length(event)";
        let bytes: i64 = self.step.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        self.backlog.set_aside -= 1;
        self.backlog.bytes -= bytes.unsigned_abs() + RECORD_OVERHEAD_BYTES;
        Ok(())
    }
}

fn some_bytes(bytes: &Bytes) -> Option<&[u8]> {
    (!bytes.is_empty()).then_some(&bytes[..])
}
