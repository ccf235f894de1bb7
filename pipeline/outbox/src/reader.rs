//! What waits, read on a connection of its own.

use std::path::PathBuf;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Row, params};
use vigil_base::{EventId, Timestamp};

use crate::{OpenEvent, OutboxError, Pending, Record, SetAside};

/// Reads; one caller at a time, each for a bounded number of rows but the events that are open, which are as many as
/// tracks live.
#[derive(Debug)]
pub(crate) struct Reader {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Reader {
    pub(crate) fn new(path: PathBuf, connection: Connection) -> Self {
        Self { path, connection: Mutex::new(connection) }
    }

    pub(crate) fn next_batch(
        &self,
        after: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Pending>, OutboxError> {
        self.read("read what waits", |connection| next_batch(connection, after, max_records, max_bytes))
    }

    pub(crate) fn open_events(&self) -> Result<Vec<OpenEvent>, OutboxError> {
        self.read("read the open events", |connection| {
            let sql = "SELECT event_id, revision, event FROM records WHERE is_final = 0 ORDER BY event_id";
            let read = |row: &Row<'_>| {
                Ok(OpenEvent {
                    event_id: event_id(row, 0)?,
                    revision: row.get(1)?,
                    event: row.get::<_, Vec<u8>>(2)?.into(),
                })
            };
            connection.prepare_cached(sql)?.query_map([], read)?.collect()
        })
    }

    pub(crate) fn oldest_pending(&self) -> Result<Option<Timestamp>, OutboxError> {
        self.read("find the oldest record", |connection| {
            let sql = "SELECT queued_us FROM records WHERE sequence IS NOT NULL ORDER BY queued_us LIMIT 1";
            let oldest: Option<i64> = connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
            Ok(oldest.map(Timestamp::from_micros))
        })
    }

    pub(crate) fn set_aside(&self, max_records: usize) -> Result<Vec<SetAside>, OutboxError> {
        self.read("read what was set aside", |connection| {
            let sql =
                "SELECT event_id, revision, reason, set_aside_us, event FROM set_aside ORDER BY row DESC LIMIT ?1";
            let read = |row: &Row<'_>| {
                Ok(SetAside {
                    event_id: event_id(row, 0)?,
                    revision: row.get(1)?,
                    reason: row.get(2)?,
                    set_aside_at: Timestamp::from_micros(row.get(3)?),
                    event: row.get::<_, Vec<u8>>(4)?.into(),
                })
            };
            connection.prepare_cached(sql)?.query_map([as_limit(max_records)], read)?.collect()
        })
    }

    fn read<T>(
        &self,
        doing: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, OutboxError> {
        query(&self.connection.lock()).map_err(|e| OutboxError::sqlite(&self.path, doing, e))
    }
}

fn next_batch(
    connection: &Connection,
    after: u64,
    max_records: usize,
    max_bytes: usize,
) -> rusqlite::Result<Vec<Pending>> {
    let sql = "SELECT sequence, queued_us, event_id, revision, is_final, event, thumbnail FROM records
               WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![after, as_limit(max_records)])?;
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let pending = pending(row)?;
        bytes += pending.record.len();
        if bytes > max_bytes && !batch.is_empty() {
            break;
        }
        batch.push(pending);
    }
    Ok(batch)
}

fn pending(row: &Row<'_>) -> rusqlite::Result<Pending> {
    Ok(Pending {
        sequence: row.get::<_, i64>(0)?.unsigned_abs(),
        queued_at: Timestamp::from_micros(row.get(1)?),
        record: Record {
            event_id: event_id(row, 2)?,
            revision: row.get(3)?,
            is_final: row.get(4)?,
            event: row.get::<_, Vec<u8>>(5)?.into(),
            thumbnail: row.get::<_, Option<Vec<u8>>>(6)?.unwrap_or_default().into(),
        },
    })
}

pub(crate) fn event_id(row: &Row<'_>, column: usize) -> rusqlite::Result<EventId> {
    let bytes: [u8; 16] = row.get(column)?;
    EventId::from_bytes(bytes)
        .map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Blob, Box::new(e)))
}

pub(crate) fn as_limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
