//! One event, one thumbnail.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use rusqlite::{CachedStatement, Connection, OptionalExtension};
use vigil_base::{EventId, Timestamp};
use vigil_proto::v1;

use super::failure::ReadError;
use super::readers::Snapshot;
use super::row::{EventRow, begin_range, find_by_id};
use super::slices::{Session, Slice};
use crate::index::types::committed_event;

/// Reads whole events by their rows.
pub(super) struct PayloadReader<'c> {
    statement: CachedStatement<'c>,
}

impl<'c> PayloadReader<'c> {
    pub(super) fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self { statement: connection.prepare_cached("SELECT event FROM payloads WHERE row = ?1")? })
    }

    /// The event with what the region adds to it.
    pub(super) fn event(&mut self, row: &EventRow) -> rusqlite::Result<v1::Event> {
        let event = self.statement.query_row([row.row], |stored| {
            let bytes = stored.get_ref(0)?.as_blob()?;
            v1::Event::decode(bytes)
                .map_err(|e| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(e)))
        })?;
        Ok(committed_event(event, Timestamp::from_micros(row.receive_us), row.thumbnail_revision))
    }
}

pub(super) fn event(snapshot: &Snapshot<'_>, id: EventId) -> Result<Option<v1::Event>, ReadError> {
    let Some((session, row)) = find(snapshot, id)? else { return Ok(None) };
    session.read(|slice| PayloadReader::new(slice)?.event(&row)).map(Some)
}

pub(super) fn thumbnail(snapshot: &Snapshot<'_>, id: EventId) -> Result<Option<Bytes>, ReadError> {
    let Some((session, row)) = find(snapshot, id)? else { return Ok(None) };
    let jpeg: Option<Vec<u8>> = session.read(|slice| {
        let mut statement = slice.prepare_cached("SELECT jpeg FROM thumbnails WHERE row = ?1")?;
        statement.query_row([row.row], |stored| stored.get(0)).optional()
    })?;
    Ok(jpeg.map(Bytes::from))
}

/// The row of an event, and its slice. The time in its id is that of its begin, so it lies in the dated slice of that time, or
/// in one of strays that reaches over it.
fn find(snapshot: &Snapshot<'_>, id: EventId) -> Result<Option<(Session, EventRow)>, ReadError> {
    let (first_us, last_us) = begin_range(id);
    let is_over = |slice: &&Arc<Slice>| {
        let summary = slice.summary();
        summary.first_begin_us <= last_us && summary.last_begin_us >= first_us
    };
    let list = snapshot.list();
    for slice in list.dated_at(first_us).into_iter().chain(list.strays.iter().filter(is_over)) {
        let session = snapshot.session(slice)?;
        if let Some(row) = session.read(|slice| find_by_id(slice, id))? {
            return Ok(Some((session, row)));
        }
    }
    Ok(None)
}
