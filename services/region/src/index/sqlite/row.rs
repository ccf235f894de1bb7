//! A row of `events`: what filters and answers need without reading the event itself.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params};
use vigil_base::event::{Colour, EventKind};
use vigil_base::{Event, EventId, GeoPoint, RuleKind};

use super::walk::Key;
use crate::index::CommitSeq;
pub(super) use crate::index::types::begin_range;

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

/// The stored number of a kind.
pub(super) fn kind_number(kind: EventKind) -> i64 {
    let EventKind::Rule(kind) = kind else { return 1 };
    match kind {
        RuleKind::LineCrossed => 2,
        RuleKind::LineCount => 3,
        RuleKind::Inside => 4,
        RuleKind::Entered => 5,
        RuleKind::Left => 6,
        RuleKind::Loitering => 7,
        RuleKind::Occupancy => 8,
        RuleKind::CrowdDensity => 9,
        RuleKind::StoppedVehicle => 10,
        RuleKind::WrongWay => 11,
        RuleKind::Speeding => 12,
        RuleKind::ObjectAbandoned => 13,
        RuleKind::ObjectRemoved => 14,
        RuleKind::CameraTampered => 15,
        RuleKind::PlateListed => 16,
    }
}

/// The colours as one bit each, in the order of [`Colour::ALL`].
pub(super) fn colour_bits(colours: impl IntoIterator<Item = Colour>) -> i64 {
    colours.into_iter().map(|colour| 1 << (colour as i64)).fold(0, |bits, bit: i64| bits | bit)
}

/// The colours of an event.
pub(super) fn colours_of(event: &Event) -> i64 {
    colour_bits(event.attributes.colours.iter().map(|told| told.colour))
}

/// Length of the first span: most events of a street are shorter.
pub(super) const FIRST_SPAN_US: i64 = 60_000_000;
/// Each span is this many times as long as the one before.
const SPAN_FACTOR: i64 = 4;
/// The last span, 45 days and longer: it has no upper bound.
pub(super) const LAST_SPAN: i64 = 9;

/// How long an event is, in powers of four of a minute: 0 is up to [`FIRST_SPAN_US`].
pub(super) fn span_of(length_us: i64) -> i64 {
    (0..LAST_SPAN).find(|span| length_us <= longest_of_span(*span)).unwrap_or(LAST_SPAN)
}

/// The longest event of a span, in microseconds.
pub(super) fn longest_of_span(span: i64) -> i64 {
    if span >= LAST_SPAN {
        return i64::MAX;
    }
    FIRST_SPAN_US * SPAN_FACTOR.pow(span as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_has_one_span_that_holds_it() {
        let lengths = [0, 1, FIRST_SPAN_US, FIRST_SPAN_US + 1, 4 * FIRST_SPAN_US, 86_400_000_000, i64::MAX];
        for length in lengths {
            let span = span_of(length);
            assert!(length <= longest_of_span(span), "{length}");
            assert!(span == 0 || length > longest_of_span(span - 1), "{length}");
        }
    }

    #[test]
    fn each_colour_has_a_bit_of_its_own() {
        let bits: Vec<i64> = Colour::ALL.into_iter().map(|colour| colour_bits([colour])).collect();
        assert_eq!(bits.iter().map(|bit| bit.count_ones()).sum::<u32>(), 12);
        assert_eq!(colour_bits(Colour::ALL).count_ones(), 12);
    }
}
