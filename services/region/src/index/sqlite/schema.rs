//! Opening the database: settings, tables and their migrations, and recognising a file that is damaged or not ours.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, params};
use uuid::Uuid;
use vigil_base::RegionId;

use crate::index::{CommitSeq, IndexError};

/// Marks the file as a region's index.
const APPLICATION_ID: i32 = 0x5667_4978;
/// Each takes the tables one version further; a file's version is how many it has behind it.
const MIGRATIONS: [&str; 4] =
    [include_str!("v1.sql"), include_str!("v2.sql"), include_str!("v3.sql"), include_str!("v4.sql")];
/// How long a connection waits for another of this process: they hold locks for milliseconds only.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages the writer keeps in memory, in KiB: the upper levels of all trees and the leaves that are being written.
const WRITER_CACHE_KIB: i64 = 64 * 1024;
/// The same for each reader.
const READER_CACHE_KIB: i64 = 16 * 1024;
/// Pages in the write-ahead log before they are moved to the database, 16 MiB: each move costs two syncs.
const CHECKPOINT_PAGES: i64 = 4_000;
/// The log is cut back to this after a move.
const WAL_LIMIT_BYTES: i64 = 64 * 1024 * 1024;
/// A larger file is not checked page by page at start, which would keep a region down for minutes: its damage shows
/// when it is read.
const MAX_CHECKED_BYTES: u64 = 256 * 1024 * 1024;
/// Statements that stay prepared: more than the engine has.
const STATEMENTS: usize = 64;

/// What an opened index says about itself.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) index_id: Uuid,
    pub(super) latest: CommitSeq,
    pub(super) purged_through: CommitSeq,
}

/// The writing connection, after all migrations.
pub(super) fn open_writer(path: &Path, region: &RegionId) -> Result<(Connection, Opened), IndexError> {
    let failed = |e| IndexError::sqlite(path, "open", e);
    let mode = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let mut connection = connect(path, mode, WRITER_CACHE_KIB).map_err(failed)?;
    let version = recognise(path, &connection)?;
    check_pages(path, &connection)?;
    set_up(&connection).map_err(failed)?;
    migrate(&mut connection, version, region).map_err(failed)?;
    let opened = read_meta(path, &connection, region)?;
    Ok((connection, opened))
}

/// A connection for reading.
pub(super) fn open_reader(path: &Path) -> Result<Connection, IndexError> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, READER_CACHE_KIB)
        .map_err(|e| IndexError::sqlite(path, "open for reading", e))
}

fn connect(path: &Path, mode: OpenFlags, cache_kib: i64) -> rusqlite::Result<Connection> {
    // Each connection is used by one thread at a time.
    let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    Ok(connection)
}

/// How many migrations the file has behind it; refuses files that are not an index.
fn recognise(path: &Path, connection: &Connection) -> Result<usize, IndexError> {
    let foreign = |problem| IndexError::Foreign { path: path.to_owned(), problem };
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i32>(0));
    let marks = || Ok((number("PRAGMA application_id")?, number("PRAGMA user_version")?));
    let (application, version) = marks().map_err(|e| IndexError::sqlite(path, "open", e))?;
    let objects = number("SELECT count(*) FROM sqlite_schema").map_err(|e| IndexError::sqlite(path, "open", e))?;
    match (application, usize::try_from(version).unwrap_or(usize::MAX)) {
        (0, 0) if objects == 0 => Ok(0),
        (APPLICATION_ID, version) if version <= MIGRATIONS.len() => Ok(version),
        (APPLICATION_ID, version) => Err(foreign(format!(
            "its tables have version {version}, this program knows {}; use a newer program",
            MIGRATIONS.len()
        ))),
        (other, _) => Err(foreign(format!("its application id is {other:#x}"))),
    }
}

fn check_pages(path: &Path, connection: &Connection) -> Result<(), IndexError> {
    if std::fs::metadata(path).is_ok_and(|file| file.len() > MAX_CHECKED_BYTES) {
        return Ok(());
    }
    let verdict = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    let verdict = verdict.map_err(|e| IndexError::sqlite(path, "check", e))?;
    if verdict == "ok" {
        return Ok(());
    }
    let damaged = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Err(IndexError::sqlite(path, "check", rusqlite::Error::SqliteFailure(damaged, Some(verdict))))
}

fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", WAL_LIMIT_BYTES, |_| Ok(()))?;
    // What retention deletes is overwritten where that costs no write of its own.
    connection.pragma_update_and_check(None, "secure_delete", "FAST", |_| Ok(()))
}

fn migrate(connection: &mut Connection, version: usize, region: &RegionId) -> rusqlite::Result<()> {
    if version == MIGRATIONS.len() {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for migration in &MIGRATIONS[version..] {
        transaction.execute_batch(migration)?;
    }
    if version == 0 {
        let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2)";
        transaction.execute(sql, params!["region_id", region.as_str()])?;
        transaction.execute(sql, params!["index_id", Uuid::new_v4().to_string()])?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    transaction.commit()
}

fn read_meta(path: &Path, connection: &Connection, region: &RegionId) -> Result<Opened, IndexError> {
    let foreign = |problem| IndexError::Foreign { path: path.to_owned(), problem };
    let failed = |e| IndexError::sqlite(path, "open", e);
    let owner = meta_text(connection, "region_id").map_err(failed)?;
    if owner != region.as_str() {
        return Err(foreign(format!(
            "it holds region {owner:?}, this one is {region:?}; use a data folder of its own"
        )));
    }
    let index_id = meta_text(connection, "index_id").map_err(failed)?;
    let index_id = index_id.parse().map_err(|_| foreign(format!("its index id is {index_id:?}")))?;
    let latest = CommitSeq(meta_number(connection, "commit_seq").map_err(failed)?);
    let purged_through = CommitSeq(meta_number(connection, "purged_through").map_err(failed)?);
    Ok(Opened { index_id, latest, purged_through })
}

fn meta_text(connection: &Connection, name: &str) -> rusqlite::Result<String> {
    let found = connection
        .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// A counter of the index; 0 until it is first set.
pub(super) fn meta_number(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
    let found: Option<i64> = statement.query_row([name], |row| row.get(0)).optional()?;
    Ok(found.unwrap_or(0).unsigned_abs())
}

/// Sets a counter of the index.
pub(super) fn set_meta_number(transaction: &Transaction<'_>, name: &str, value: u64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    transaction.prepare_cached(sql)?.execute(params![name, value as i64])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use vigil_base::{SimClock, Timestamp};

    use super::super::testing::{NOON, open_at};
    use super::*;
    use crate::index::CommitFeed;

    /// A file as the first version left it, with commits received at these seconds after noon.
    fn first_version(path: &Path, received_s: &[i64]) {
        let connection = Connection::open(path).unwrap();
        connection.execute_batch(MIGRATIONS[0]).unwrap();
        let meta = "INSERT INTO meta (name, value) VALUES ('region_id', 'north'), ('index_id', ?1), ('commit_seq', ?2)";
        connection.execute(meta, params![Uuid::new_v4().to_string(), received_s.len() as i64]).unwrap();
        let insert = "INSERT INTO events
                      VALUES (1, 0, randomblob(16), ?1, 1, ?1, ?2, 0, 0, 1, 1, 1, 0.5, 0, NULL, NULL, NULL, 0)";
        for (seq, second) in (1..).zip(received_s) {
            connection.execute(insert, params![seq, NOON.as_micros() + second * 1_000_000]).unwrap();
        }
        connection.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
    }

    #[tokio::test]
    async fn an_index_of_the_first_version_is_taken_over_with_the_steps_its_clock_made() {
        let temp = tempfile::tempdir().unwrap();
        first_version(&temp.path().join("index.db"), &[10, 20, 30, 15, 25, 5, 40]);
        let index = open_at(temp.path(), SimClock::new(NOON));
        for (second, place) in [(10, 0), (21, 2), (30, 2), (31, 6), (41, 7)] {
            let since = Timestamp::from_micros(NOON.as_micros() + second * 1_000_000);
            assert_eq!(index.seek(since).await.unwrap(), CommitSeq(place), "from second {second}");
        }
    }
}
