//! The edges that were ever connected.

use rusqlite::{Connection, Row, params};
use vigil_base::{EdgeId, Timestamp};

use super::cameras::parsed;
use super::failure::ReadError;
use super::writer::Changing;
use crate::index::EdgeRecord;

pub(super) fn list(connection: &Connection) -> rusqlite::Result<Vec<EdgeRecord>> {
    let sql = "SELECT edge_id, instance, software_version, last_seen_us, complete_until_us FROM edges ORDER BY edge_id";
    let read = |row: &Row<'_>| {
        Ok(EdgeRecord {
            id: parsed(row, 0)?,
            instance: row.get(1)?,
            software_version: row.get(2)?,
            last_seen: Timestamp::from_micros(row.get(3)?),
            complete_until: row.get::<_, Option<i64>>(4)?.map(Timestamp::from_micros),
        })
    };
    connection.prepare_cached(sql)?.query_map([], read)?.collect()
}

pub(super) fn save(changing: &mut Changing<'_>, edge: &EdgeRecord) -> Result<(), ReadError> {
    let sql = "INSERT OR REPLACE INTO edges (edge_id, instance, software_version, last_seen_us, complete_until_us)
               VALUES (?1, ?2, ?3, ?4, ?5)";
    changing.transaction.prepare_cached(sql)?.execute(params![
        edge.id.as_str(),
        edge.instance,
        edge.software_version,
        edge.last_seen.as_micros(),
        edge.complete_until.map(Timestamp::as_micros),
    ])?;
    Ok(())
}

pub(super) fn forget(changing: &mut Changing<'_>, id: &EdgeId) -> Result<(), ReadError> {
    changing.transaction.execute("DELETE FROM edges WHERE edge_id = ?1", [id.as_str()])?;
    Ok(())
}
