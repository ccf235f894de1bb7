//! Figures about the whole index.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension};
use vigil_base::Timestamp;

use super::ReadError;
use super::readers::Snapshot;
use super::schema::meta_number;
use crate::index::IndexStats;

/// What the tables tell; the disk is asked by [`disk`].
pub(super) fn stats(snapshot: &Snapshot<'_>) -> Result<IndexStats, ReadError> {
    let connection = snapshot.connection();
    let commit_us = meta_number(connection, "commit_us")?;
    Ok(IndexStats {
        events: meta_number(connection, "events")?,
        oldest_begin: begin(connection, "ASC")?,
        newest_begin: begin(connection, "DESC")?,
        last_commit: (commit_us > 0).then(|| Timestamp::from_micros(commit_us as i64)),
        bytes: 0,
        disk_free_bytes: 0,
    })
}

fn begin(connection: &Connection, order: &str) -> rusqlite::Result<Option<Timestamp>> {
    let sql = format!("SELECT begin_us FROM events INDEXED BY events_by_time ORDER BY begin_us {order} LIMIT 1");
    let found = connection.prepare_cached(&sql)?.query_row([], |row| row.get(0)).optional()?;
    Ok(found.map(Timestamp::from_micros))
}

/// Bytes of the index on disk, and bytes free there; 0 for what cannot be asked.
pub(super) fn disk(path: &Path) -> (u64, u64) {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    let free = path.parent().and_then(|folder| fs4::available_space(folder).ok()).unwrap_or(0);
    (size(path) + size(Path::new(&log)), free)
}
