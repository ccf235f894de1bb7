//! The marks that each start leaves in the schema, see [`crate::index::lineage`]. Each new session of the writer is a start:
//! the server it finds may be a standby that lacks commits which the last one had.

use super::connect::Connection;
use crate::index::CommitSeq;
use crate::index::lineage::{Lineage, MAX_STARTS, Start};

/// Notes that the index starts after `latest`, in one statement; all its starts. One under which nothing was committed
/// gives its place to the next. The caller holds the writer's lock.
pub(super) async fn begin(connection: &Connection, latest: CommitSeq) -> Result<Lineage, tokio_postgres::Error> {
    let start = Start::new(latest);
    let (id, after, most) = (i64::from(start.id), start.after.0 as i64, MAX_STARTS as i64);
    // Each part sees the table as it was before.
    let sql = "WITH next AS (SELECT coalesce(max(number), 0) + 1 AS number FROM starts),
                    gone AS (DELETE FROM starts WHERE after_seq = $2 OR number <= (SELECT number FROM next) - $3)
               INSERT INTO starts SELECT number, $1, $2 FROM next";
    connection.client().execute(sql, &[&id, &after, &most]).await?;
    read(connection).await
}

/// All that there are.
pub(super) async fn read(connection: &Connection) -> Result<Lineage, tokio_postgres::Error> {
    let rows = connection.client().query("SELECT id, after_seq FROM starts ORDER BY number", &[]).await?;
    let start = |row: &tokio_postgres::Row| Start {
        id: row.get::<_, i64>(0) as u32,
        after: CommitSeq(row.get::<_, i64>(1).unsigned_abs()),
    };
    Ok(Lineage::new(rows.iter().map(start).collect()))
}
