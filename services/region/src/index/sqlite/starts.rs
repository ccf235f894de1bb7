//! The marks that each start leaves in the region's own file, see [`crate::index::lineage`].

use rusqlite::{Connection, params};

use crate::index::CommitSeq;
use crate::index::lineage::{Lineage, MAX_STARTS, Start};

/// Notes that the index starts after `latest`; all its starts. On a disk that takes nothing the start is not noted, which
/// harms nobody: what is committed under it counts to the one before.
pub(super) fn begin(region: &Connection, latest: CommitSeq) -> rusqlite::Result<Lineage> {
    let start = Start::new(latest);
    if let Err(error) = note(region, start) {
        tracing::warn!(%error, "this start could not be noted in the index");
        let mut starts = noted(region)?;
        starts.push(start);
        return Ok(Lineage::new(starts));
    }
    Ok(Lineage::new(noted(region)?))
}

/// One under which nothing was committed gives its place to the next.
fn note(region: &Connection, start: Start) -> rusqlite::Result<()> {
    let after = start.after.0 as i64;
    let transaction = region.unchecked_transaction()?;
    transaction.execute("DELETE FROM starts WHERE after_seq = ?1", [after])?;
    let sql = "INSERT INTO starts SELECT coalesce(max(number), 0) + 1, ?1, ?2 FROM starts";
    transaction.execute(sql, params![start.id, after])?;
    let sql = "DELETE FROM starts WHERE number NOT IN (SELECT number FROM starts ORDER BY number DESC LIMIT ?1)";
    transaction.execute(sql, [MAX_STARTS as i64])?;
    transaction.commit()
}

fn noted(region: &Connection) -> rusqlite::Result<Vec<Start>> {
    let mut statement = region.prepare("SELECT id, after_seq FROM starts ORDER BY number")?;
    let read =
        |row: &rusqlite::Row<'_>| Ok(Start { id: row.get(0)?, after: CommitSeq(row.get::<_, i64>(1)?.unsigned_abs()) });
    statement.query_map([], read)?.collect()
}
