//! The edges that were ever connected.

use vigil_base::EdgeId;

use super::failure::{Failure, damaged};
use super::readers::Snapshot;
use super::values::At;
use super::writer::Changing;
use crate::index::EdgeRecord;

pub(super) async fn list(snapshot: Snapshot) -> Result<Vec<EdgeRecord>, Failure> {
    let sql = "SELECT edge_id, instance, software_version, last_seen, complete_until FROM edges ORDER BY edge_id";
    let rows = snapshot.connection.query(sql, &[]).await?;
    let read = |row: &tokio_postgres::Row| {
        Ok(EdgeRecord {
            id: EdgeId::new(row.get::<_, &str>(0)).map_err(|e| damaged(snapshot.connection.index_name(), e))?,
            instance: row.get(1),
            software_version: row.get(2),
            last_seen: row.get::<_, At>(3).0,
            complete_until: row.get::<_, Option<At>>(4).map(|at| at.0),
        })
    };
    rows.iter().map(read).collect()
}

pub(super) async fn save(changing: Changing, edge: EdgeRecord) -> Result<(), Failure> {
    let sql = "INSERT INTO edges (edge_id, instance, software_version, last_seen, complete_until)
               VALUES ($1, $2, $3, $4, $5)
               ON CONFLICT (edge_id) DO UPDATE SET
                   instance = excluded.instance, software_version = excluded.software_version,
                   last_seen = excluded.last_seen, complete_until = excluded.complete_until";
    let (seen, until) = (At(edge.last_seen), edge.complete_until.map(At));
    let row: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
        [&edge.id.as_str(), &edge.instance, &edge.software_version, &seen, &until];
    changing.connection.execute(sql, &row).await?;
    Ok(())
}

pub(super) async fn forget(changing: Changing, id: EdgeId) -> Result<(), Failure> {
    changing.connection.execute("DELETE FROM edges WHERE edge_id = $1", &[&id.as_str()]).await?;
    Ok(())
}
