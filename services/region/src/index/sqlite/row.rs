//! A row of `events`: what filters and answers need without reading the event itself.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};
use vigil_base::{EventId, GeoPoint};

use crate::index::CommitSeq;
use crate::index::keys::Key;
pub(super) use crate::index::keys::{begin_range, colour_bits, colours_of, kind_number, span_of};

/// Columns of [`EventRow`], in its order.
pub(super) const COLUMNS: &str = "camera, begin_us, event_id, row, revision, commit_seq, receive_us, end_us, kind, \
     class, edge, confidence, colours, latitude, longitude, plate, thumbnail_revision, rule, zone";

/// One event as its last revision has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct EventRow {
    pub(super) camera: i64,
    pub(super) key: Key,
    /// Of its payload and thumbnail.
    pub(super) row: i64,
    pub(super) revision: u32,
    pub(super) commit: CommitSeq,
    pub(super) receive_us: i64,
    pub(super) end_us: i64,
    pub(super) kind: i64,
    pub(super) class: i64,
    pub(super) edge: i64,
    pub(super) confidence: f32,
    pub(super) colours: i64,
    pub(super) location: Option<GeoPoint>,
    pub(super) plate: Option<String>,
    pub(super) thumbnail_revision: u32,
    /// The rule that made it, and what that watches.
    pub(super) rule: Option<i64>,
    pub(super) zone: Option<i64>,
}

impl EventRow {
    /// From a row of [`COLUMNS`].
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let location: Option<(f64, f64)> = row.get::<_, Option<f64>>(13)?.zip(row.get(14)?);
        Ok(Self {
            camera: row.get(0)?,
            key: Key { begin_us: row.get(1)?, id: row.get(2)? },
            row: row.get(3)?,
            revision: row.get(4)?,
            commit: CommitSeq(row.get::<_, i64>(5)?.unsigned_abs()),
            receive_us: row.get(6)?,
            end_us: row.get(7)?,
            kind: row.get(8)?,
            class: row.get(9)?,
            edge: row.get(10)?,
            confidence: row.get::<_, f64>(11)? as f32,
            colours: row.get(12)?,
            location: location.map(|(latitude, longitude)| GeoPoint { latitude, longitude }),
            plate: row.get(15)?,
            thumbnail_revision: row.get(16)?,
            rule: row.get(17)?,
            zone: row.get(18)?,
        })
    }
}

/// Reads rows by their key.
pub(super) struct RowReader<'c> {
    statement: CachedStatement<'c>,
}

impl<'c> RowReader<'c> {
    pub(super) fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        let sql = format!("SELECT {COLUMNS} FROM events WHERE camera = ?1 AND begin_us = ?2 AND event_id = ?3");
        Ok(Self { statement: connection.prepare_cached(&sql)? })
    }

    pub(super) fn read(&mut self, camera: i64, key: &Key) -> rusqlite::Result<Option<EventRow>> {
        self.statement.query_row(params![camera, key.begin_us, key.id], EventRow::read).optional()
    }
}

/// The row of an event of which only the id is known.
pub(super) fn find_by_id(connection: &Connection, id: EventId) -> rusqlite::Result<Option<EventRow>> {
    let Some((camera, key)) = find_place(connection, id)? else { return Ok(None) };
    RowReader::new(connection)?.read(camera, &key)
}

/// Camera and key of an event of which only the id is known: its time part says where to look.
pub(super) fn find_place(connection: &Connection, id: EventId) -> rusqlite::Result<Option<(i64, Key)>> {
    let (first_us, last_us) = begin_range(id);
    let sql = "SELECT camera, begin_us FROM events INDEXED BY events_by_time
               WHERE begin_us BETWEEN ?1 AND ?2 AND event_id = ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let place = |row: &Row<'_>| Ok((row.get(0)?, Key { begin_us: row.get(1)?, id: *id.as_bytes() }));
    statement.query_row(params![first_us, last_us, id.as_bytes()], place).optional()
}
