//! The registry of cameras.

use tokio_postgres::Row;
use vigil_base::{CameraId, EdgeId, GeoPoint, Timestamp};

use super::connect::Connection;
use super::failure::{Failure, damaged};
use super::readers::Snapshot;
use super::values::At;
use super::writer::Changing;
use crate::index::{CameraEntry, CameraOrigin, Etag, PutCamera};

const COLUMNS: &str = "camera_id, edge_id, display_name, latitude, longitude, address, by_operator, update_time, etag";

pub(super) async fn list(
    snapshot: Snapshot,
    after: Option<CameraId>,
    max_cameras: usize,
) -> Result<Vec<CameraEntry>, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM cameras WHERE camera_id > $1 ORDER BY camera_id LIMIT $2");
    // No id is empty, so all come after the empty text.
    let after = after.as_ref().map_or("", CameraId::as_str);
    let rows = snapshot.connection.query(&sql, &[&after, &(max_cameras as i64)]).await?;
    rows.iter().map(|row| read(snapshot.connection.index_name(), row)).collect()
}

pub(super) async fn get(connection: &Connection, id: &CameraId) -> Result<Option<CameraEntry>, Failure> {
    let sql = format!("SELECT {COLUMNS} FROM cameras WHERE camera_id = $1");
    let row = connection.query_opt(&sql, &[&id.as_str()]).await?;
    row.map(|row| read(connection.index_name(), &row)).transpose()
}

pub(super) async fn put(changing: Changing, entry: CameraEntry, expected: Option<Etag>) -> Result<PutCamera, Failure> {
    let current = get(&changing.connection, &entry.id).await?.map(|entry| entry.etag);
    if current != expected {
        return Ok(PutCamera::Conflict(current));
    }
    Ok(PutCamera::Stored(store(&changing.connection, &entry, changing.now).await?))
}

pub(super) async fn delete(changing: Changing, id: CameraId) -> Result<bool, Failure> {
    Ok(changing.connection.execute("DELETE FROM cameras WHERE camera_id = $1", &[&id.as_str()]).await? > 0)
}

pub(super) async fn announce(changing: Changing, entries: Vec<CameraEntry>) -> Result<(), Failure> {
    for entry in entries {
        let current = get(&changing.connection, &entry.id).await?;
        let is_settled = current.is_some_and(|current| {
            current.origin == CameraOrigin::Operator
                || CameraEntry { update_time: current.update_time, etag: current.etag, ..entry.clone() } == current
        });
        if !is_settled {
            store(&changing.connection, &entry, changing.now).await?;
        }
    }
    Ok(())
}

async fn store(
    connection: &Connection,
    entry: &CameraEntry,
    now: Timestamp,
) -> Result<CameraEntry, tokio_postgres::Error> {
    // One counter for all cameras: a camera that was deleted and made again does not get an old etag.
    let statement =
        connection.prepare("UPDATE index_state SET camera_etag = camera_etag + 1 RETURNING camera_etag").await?;
    let etag: i64 = connection.client().query_one(&statement, &[]).await?.get(0);
    let sql = format!(
        "INSERT INTO cameras ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         ON CONFLICT (camera_id) DO UPDATE SET
             edge_id = excluded.edge_id, display_name = excluded.display_name, latitude = excluded.latitude,
             longitude = excluded.longitude, address = excluded.address, by_operator = excluded.by_operator,
             update_time = excluded.update_time, etag = excluded.etag"
    );
    connection
        .execute(
            &sql,
            &[
                &entry.id.as_str(),
                &entry.edge.as_ref().map(EdgeId::as_str),
                &entry.display_name,
                &entry.location.map(|at| at.latitude),
                &entry.location.map(|at| at.longitude),
                &entry.address,
                &(entry.origin == CameraOrigin::Operator),
                &At(now),
                &etag,
            ],
        )
        .await?;
    Ok(CameraEntry { update_time: now, etag: Etag(etag.unsigned_abs()), ..entry.clone() })
}

fn read(index: &str, row: &Row) -> Result<CameraEntry, Failure> {
    let location: Option<(f64, f64)> = row.get::<_, Option<f64>>(3).zip(row.get(4));
    let edge = row.get::<_, Option<&str>>(1).map(EdgeId::new).transpose();
    Ok(CameraEntry {
        id: CameraId::new(row.get::<_, &str>(0)).map_err(|e| damaged(index, e))?,
        edge: edge.map_err(|e| damaged(index, e))?,
        display_name: row.get(2),
        location: location.map(|(latitude, longitude)| GeoPoint { latitude, longitude }),
        address: row.get(5),
        origin: if row.get(6) { CameraOrigin::Operator } else { CameraOrigin::Edge },
        update_time: row.get::<_, At>(7).0,
        etag: Etag(row.get::<_, i64>(8).unsigned_abs()),
    })
}
