//! One event, one thumbnail.

use bytes::Bytes;
use prost::Message;
use rusqlite::{CachedStatement, Connection, OptionalExtension};
use vigil_base::{EventId, Timestamp};
use vigil_proto::v1;

use super::ReadError;
use super::readers::Snapshot;
use super::row::{EventRow, find_by_id};
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
    pub(super) fn event(&mut self, row: &EventRow) -> Result<v1::Event, ReadError> {
        let event = self.statement.query_row([row.row], |stored| {
            let bytes = stored.get_ref(0)?.as_blob()?;
            v1::Event::decode(bytes)
                .map_err(|e| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(e)))
        })?;
        Ok(committed_event(event, Timestamp::from_micros(row.receive_us), row.thumbnail_revision))
    }
}

pub(super) fn event(snapshot: &Snapshot<'_>, id: EventId) -> Result<Option<v1::Event>, ReadError> {
    let Some(row) = find_by_id(snapshot.connection(), id)? else { return Ok(None) };
    PayloadReader::new(snapshot.connection())?.event(&row).map(Some)
}

pub(super) fn thumbnail(snapshot: &Snapshot<'_>, id: EventId) -> Result<Option<Bytes>, ReadError> {
    let connection = snapshot.connection();
    let Some(row) = find_by_id(connection, id)? else { return Ok(None) };
    let mut statement = connection.prepare_cached("SELECT jpeg FROM thumbnails WHERE row = ?1")?;
    let jpeg: Option<Vec<u8>> = statement.query_row([row.row], |stored| stored.get(0)).optional()?;
    Ok(jpeg.map(Bytes::from))
}
