//! One event, one thumbnail.

use bytes::Bytes;
use uuid::Uuid;
use vigil_base::EventId;
use vigil_proto::v1;

use super::failure::Failure;
use super::readers::Snapshot;
use super::rows::Found;
use super::values::At;
use crate::index::keys::begin_range;

/// What an id says of where its event lies.
struct Place {
    first: At,
    last: At,
    id: Uuid,
}

impl Place {
    fn of(id: EventId) -> Self {
        let (first, last) = begin_range(id);
        Self { first: At::micros(first), last: At::micros(last), id: Uuid::from_bytes(*id.as_bytes()) }
    }
}

const WHERE: &str = "FROM events WHERE begin_time >= $1 AND begin_time <= $2 AND event_id = $3";

pub(super) async fn event(snapshot: Snapshot, id: EventId) -> Result<Option<v1::Event>, Failure> {
    let sql = format!("SELECT {} {WHERE}", Found::columns("true"));
    let Place { first, last, id } = Place::of(id);
    let Some(row) = snapshot.connection.query_opt(&sql, &[&first, &last, &id]).await? else { return Ok(None) };
    Found::read(&row).event(snapshot.connection.index_name())
}

pub(super) async fn thumbnail(snapshot: Snapshot, id: EventId) -> Result<Option<Bytes>, Failure> {
    let sql = format!("SELECT jpeg {WHERE}");
    let Place { first, last, id } = Place::of(id);
    let row = snapshot.connection.query_opt(&sql, &[&first, &last, &id]).await?;
    Ok(row.and_then(|row| row.get::<_, Option<Vec<u8>>>(0)).map(Bytes::from))
}
