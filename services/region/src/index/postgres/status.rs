//! Figures about the whole index.

use vigil_base::{CameraId, EdgeId, Timestamp};

use super::failure::Failure;
use super::names::{NameKind, names_of};
use super::readers::Snapshot;
use super::values::At;
use crate::index::{IndexStats, Sources};

/// What the tables tell. How much is free on the server's disk it does not say.
pub(super) async fn stats(snapshot: Snapshot) -> Result<IndexStats, Failure> {
    let connection = &snapshot.connection;
    // Subqueries: each begin is found at an end of an index.
    let sql = "SELECT events, commit_time, (SELECT min(begin_time) FROM events), (SELECT max(begin_time) FROM events),
                      (SELECT sum(pg_total_relation_size(c.oid))::int8 FROM pg_class c
                       WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r')
               FROM index_state";
    let statement = connection.prepare(sql).await?;
    let row = connection.client().query_one(&statement, &[]).await?;
    let time = |column: usize| row.get::<_, Option<At>>(column).map(|at: At| -> Timestamp { at.0 });
    Ok(IndexStats {
        events: row.get::<_, i64>(0).unsigned_abs(),
        oldest_begin: time(2),
        newest_begin: time(3),
        last_commit: time(1),
        bytes: row.get::<_, Option<i64>>(4).unwrap_or(0).unsigned_abs(),
        disk_free_bytes: IndexStats::FREE_UNKNOWN,
    })
}

/// Whatever was ever given a number. A name that is no id any more is of no event that a question can name.
pub(super) async fn sources(snapshot: Snapshot) -> Result<Sources, Failure> {
    let cameras = names_of(&snapshot.connection, NameKind::Camera).await?;
    let edges = names_of(&snapshot.connection, NameKind::Edge).await?;
    Ok(Sources {
        cameras: cameras.iter().filter_map(|name| CameraId::new(name).ok()).collect(),
        edges: edges.iter().filter_map(|name| EdgeId::new(name).ok()).collect(),
    })
}
