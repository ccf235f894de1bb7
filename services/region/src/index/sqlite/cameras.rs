//! The registry of cameras.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, named_params, params};
use vigil_base::{CameraId, EdgeId, GeoPoint, Timestamp};

use super::failure::ReadError;
use super::readers::Snapshot;
use super::schema::{meta_number, set_meta_number};
use super::writer::Changing;
use crate::index::{CameraEntry, CameraOrigin, Etag, PutCamera};

const COLUMNS: &str = "camera_id, edge_id, display_name, latitude, longitude, address, by_operator, update_us, etag";

pub(super) fn list(
    snapshot: &Snapshot<'_>,
    after: Option<&CameraId>,
    max_cameras: usize,
) -> Result<Vec<CameraEntry>, ReadError> {
    let sql = format!("SELECT {COLUMNS} FROM cameras WHERE camera_id > ?1 ORDER BY camera_id LIMIT ?2");
    let mut statement = snapshot.region().prepare_cached(&sql)?;
    // No id is empty, so all come after the empty text.
    let after = after.map_or("", CameraId::as_str);
    let entries = statement.query_map(params![after, max_cameras as i64], read)?;
    Ok(entries.collect::<rusqlite::Result<_>>()?)
}

pub(super) fn get(connection: &Connection, id: &CameraId) -> rusqlite::Result<Option<CameraEntry>> {
    let sql = format!("SELECT {COLUMNS} FROM cameras WHERE camera_id = ?1");
    connection.prepare_cached(&sql)?.query_row([id.as_str()], read).optional()
}

pub(super) fn put(
    changing: &mut Changing<'_>,
    entry: &CameraEntry,
    expected: Option<Etag>,
) -> Result<PutCamera, ReadError> {
    let current = get(&changing.transaction, &entry.id)?.map(|entry| entry.etag);
    if current != expected {
        return Ok(PutCamera::Conflict(current));
    }
    let stored = store(&changing.transaction, entry, changing.now)?;
    Ok(PutCamera::Stored(stored))
}

pub(super) fn delete(changing: &mut Changing<'_>, id: &CameraId) -> Result<bool, ReadError> {
    let deleted = changing.transaction.execute("DELETE FROM cameras WHERE camera_id = ?1", [id.as_str()])?;
    Ok(deleted > 0)
}

pub(super) fn announce(changing: &mut Changing<'_>, entries: &[CameraEntry]) -> Result<(), ReadError> {
    for entry in entries {
        let current = get(&changing.transaction, &entry.id)?;
        let is_settled = current.is_some_and(|current| {
            current.origin == CameraOrigin::Operator
                || CameraEntry { update_time: current.update_time, etag: current.etag, ..entry.clone() } == current
        });
        if !is_settled {
            store(&changing.transaction, entry, changing.now)?;
        }
    }
    Ok(())
}

fn store(transaction: &Transaction<'_>, entry: &CameraEntry, now: Timestamp) -> rusqlite::Result<CameraEntry> {
    // One counter for all cameras: a camera that was deleted and made again does not get an old etag.
    let etag = meta_number(transaction, "camera_etag")? + 1;
    set_meta_number(transaction, "camera_etag", etag)?;
    let sql = "INSERT OR REPLACE INTO cameras
                  (camera_id, edge_id, display_name, latitude, longitude, address, by_operator, update_us, etag)
               VALUES (:camera_id, :edge_id, :display_name, :latitude, :longitude, :address, :by_operator,
                   :update_us, :etag)";
    transaction.prepare_cached(sql)?.execute(named_params! {
        ":camera_id": entry.id.as_str(),
        ":edge_id": entry.edge.as_ref().map(EdgeId::as_str),
        ":display_name": entry.display_name,
        ":latitude": entry.location.map(|at| at.latitude),
        ":longitude": entry.location.map(|at| at.longitude),
        ":address": entry.address,
        ":by_operator": entry.origin == CameraOrigin::Operator,
        ":update_us": now.as_micros(),
        ":etag": etag as i64,
    })?;
    Ok(CameraEntry { update_time: now, etag: Etag(etag), ..entry.clone() })
}

fn read(row: &Row<'_>) -> rusqlite::Result<CameraEntry> {
    let location: Option<(f64, f64)> = row.get::<_, Option<f64>>(3)?.zip(row.get(4)?);
    Ok(CameraEntry {
        id: parsed(row, 0)?,
        edge: row.get::<_, Option<String>>(1)?.map(|_| parsed(row, 1)).transpose()?,
        display_name: row.get(2)?,
        location: location.map(|(latitude, longitude)| GeoPoint { latitude, longitude }),
        address: row.get(5)?,
        origin: if row.get(6)? { CameraOrigin::Operator } else { CameraOrigin::Edge },
        update_time: Timestamp::from_micros(row.get(7)?),
        etag: Etag(row.get::<_, i64>(8)?.unsigned_abs()),
    })
}

/// An id that was checked before it was stored.
pub(super) fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text: String = row.get(column)?;
    text.parse().map_err(|e: T::Err| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(e))
    })
}
