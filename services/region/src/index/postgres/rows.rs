//! Rows of `events`: how they go in and how they come out.

use bytes::Bytes;
use prost::Message;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;
use vigil_base::{Event, GeoPoint, Timestamp};
use vigil_proto::v1;

use super::copy::CopyIn;
use super::failure::{Failure, damaged};
use super::values::At;
use crate::index::keys::{Key, colours_of, kind_number, span_of};
use crate::index::types::committed_event;
use crate::index::{CommitSeq, NewRevision};

/// The columns, in the order of [`TYPES`].
pub(super) const COLUMNS: &str = "camera, begin_time, event_id, revision, commit_seq, receive_time, end_time, span, kind, \
     class, edge, confidence, colours, latitude, longitude, plate, thumbnail_revision, rule, zone, event, jpeg";
pub(super) const TYPES: [Type; 21] = [
    Type::INT4,
    Type::TIMESTAMPTZ,
    Type::UUID,
    Type::INT8,
    Type::INT8,
    Type::TIMESTAMPTZ,
    Type::TIMESTAMPTZ,
    Type::INT2,
    Type::INT2,
    Type::INT4,
    Type::INT4,
    Type::FLOAT4,
    Type::INT4,
    Type::FLOAT8,
    Type::FLOAT8,
    Type::TEXT,
    Type::INT8,
    Type::INT4,
    Type::INT4,
    Type::BYTEA,
    Type::BYTEA,
];

/// The numbers of an event's names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    pub(super) camera: i32,
    pub(super) edge: i32,
    pub(super) class: i32,
    pub(super) rule: Option<i32>,
    pub(super) zone: Option<i32>,
}

/// A row that is to be written.
#[derive(Debug)]
pub(super) struct NewRow {
    pub(super) revision: NewRevision,
    pub(super) numbers: Numbers,
    pub(super) seq: CommitSeq,
    /// None: the one that is there stays.
    pub(super) jpeg: Option<Bytes>,
    pub(super) thumbnail_revision: u32,
    /// Whether nothing of the event is stored yet.
    pub(super) is_new: bool,
}

/// Writes a row into a COPY of [`COLUMNS`].
pub(super) async fn copy_row(
    copying: &mut CopyIn,
    row: &NewRow,
    received: Timestamp,
) -> Result<(), tokio_postgres::Error> {
    let NewRow { revision, numbers, seq, jpeg, thumbnail_revision, .. } = row;
    let event: &Event = revision.event();
    let location = event.location;
    copying
        .row(&[
            &numbers.camera,
            &At(event.begin_time),
            &Uuid::from_bytes(*event.id.as_bytes()),
            &i64::from(event.revision),
            &(seq.0 as i64),
            &At(received),
            &At(event.end_time),
            &(span_of(event.end_time.as_micros() - event.begin_time.as_micros()) as i16),
            &(kind_number(event.kind()) as i16),
            &numbers.class,
            &numbers.edge,
            &event.confidence,
            &(colours_of(event) as i32),
            &location.map(|at| at.latitude),
            &location.map(|at| at.longitude),
            &event.plate.as_ref().map(|plate| plate.text.as_str()),
            &i64::from(*thumbnail_revision),
            &numbers.rule,
            &numbers.zone,
            &&revision.payload[..],
            &jpeg.as_deref(),
        ])
        .await
}

/// What a walk or the feed reads of an event, and the event itself where it matches.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) key: Key,
    pub(super) commit: CommitSeq,
    pub(super) receive_time: Timestamp,
    pub(super) location: Option<GeoPoint>,
    thumbnail_revision: i64,
    payload: Option<Vec<u8>>,
}

impl Found {
    /// How many columns it is read from.
    pub(super) const COLUMN_COUNT: usize = 8;

    /// The columns of [`Self::read`], with the event where the SQL condition `matches` holds.
    pub(super) fn columns(matches: &str) -> String {
        format!(
            "begin_time, event_id, commit_seq, receive_time, latitude, longitude, thumbnail_revision,
             CASE WHEN {matches} THEN event END"
        )
    }

    /// From a row of [`Self::columns`].
    pub(super) fn read(row: &Row) -> Self {
        let location: Option<(f64, f64)> = row.get::<_, Option<f64>>(4).zip(row.get(5));
        Self {
            key: Key { begin_us: row.get::<_, At>(0).0.as_micros(), id: row.get::<_, Uuid>(1).into_bytes() },
            commit: CommitSeq(row.get::<_, i64>(2).unsigned_abs()),
            receive_time: row.get::<_, At>(3).0,
            location: location.map(|(latitude, longitude)| GeoPoint { latitude, longitude }),
            thumbnail_revision: row.get(6),
            payload: row.get(7),
        }
    }

    /// Whether the SQL condition holds.
    pub(super) fn matches(&self) -> bool {
        self.payload.is_some()
    }

    /// The event with what the region adds to it; none where the condition does not hold.
    pub(super) fn event(self, index: &str) -> Result<Option<v1::Event>, Failure> {
        let Some(payload) = self.payload else { return Ok(None) };
        let event = v1::Event::decode(&payload[..]).map_err(|e| damaged(index, e))?;
        Ok(Some(committed_event(event, self.receive_time, self.thumbnail_revision as u32)))
    }
}
