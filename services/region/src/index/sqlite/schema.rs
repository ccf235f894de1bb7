//! Opening database files: settings, tables, and recognising a file that is damaged or not ours.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use uuid::Uuid;
use vigil_base::RegionId;
use vigil_base::error::chain;

use super::slices::{Slice, Summary};
use super::unsliced::add_up;
use crate::index::IndexError;

/// Marks the region's own file, and a slice's.
const REGION_FILE: i32 = 0x5667_5267;
const SLICE_FILE: i32 = 0x5667_536c;
/// Each takes the tables one version further; a file's version is how many it has behind it.
const REGION_TABLES: [&str; 2] = [include_str!("region.sql"), include_str!("region_v2.sql")];
const SLICE_TABLES: [&str; 3] = [include_str!("slice.sql"), include_str!("slice_v2.sql"), include_str!("slice_v3.sql")];
/// How long a connection waits for another of this process: they hold locks for milliseconds only.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages that a writing connection keeps in memory, in KiB: the upper levels of all trees and the leaves that are being
/// written. A few slices are open for writing at a time.
const WRITER_CACHE_KIB: i64 = 32 * 1024;
/// The same for the region's own file, which is small.
const REGION_CACHE_KIB: i64 = 4 * 1024;
/// The same for a connection that reads a slice: the upper levels of its trees. The rest is the kernel's to keep.
const READER_CACHE_KIB: i64 = 1024;
/// Pages in the write-ahead log before they are moved to the database, 16 MiB: each move costs two syncs.
const CHECKPOINT_PAGES: i64 = 4_000;
/// The log is cut back to this after a move.
const WAL_LIMIT_BYTES: i64 = 64 * 1024 * 1024;
/// A larger file is not checked page by page at start, which would keep a region down for minutes: its damage shows
/// when it is read.
const MAX_CHECKED_BYTES: u64 = 256 * 1024 * 1024;
/// Statements that stay prepared: more than the engine has.
const STATEMENTS: usize = 64;

/// The region's own file, open for writing, after all migrations.
pub(super) fn open_region(path: &Path, region: &RegionId) -> Result<(Connection, Uuid), IndexError> {
    let failed = |e| IndexError::sqlite(path, "open", e);
    let mode = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let connection = connect(path, mode, REGION_CACHE_KIB).map_err(failed)?;
    let version = recognise(path, &connection, REGION_FILE, REGION_TABLES.len())?;
    check_pages(path, &connection)?;
    set_up(&connection).map_err(failed)?;
    migrate(&connection, REGION_FILE, &REGION_TABLES[version..], |new| {
        let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2)";
        new.execute(sql, params!["region_id", region.as_str()])?;
        new.execute(sql, params!["index_id", Uuid::new_v4().to_string()])
    })
    .map_err(failed)?;
    let index_id = check_owner(path, &connection, region)?;
    Ok((connection, index_id))
}

/// The region's own file, for reading.
pub(super) fn open_region_reader(path: &Path) -> Result<Connection, IndexError> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, REGION_CACHE_KIB)
        .map_err(|e| IndexError::sqlite(path, "open for reading", e))
}

/// A slice that is not there yet, open for writing.
pub(super) fn create_slice(slice: &Slice, index_id: Uuid) -> Result<Connection, IndexError> {
    let path = &slice.path;
    let failed = |e| IndexError::sqlite(path, "make a slice", e);
    let mode = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let connection = connect(path, mode, WRITER_CACHE_KIB).map_err(failed)?;
    set_up(&connection).map_err(failed)?;
    migrate(&connection, SLICE_FILE, &SLICE_TABLES, |new| {
        let sql = "INSERT INTO slice VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, 0, 0, 0, 0, 0, 0)";
        let id = index_id.to_string();
        new.execute(sql, params![slice.number, id, slice.kind as i64, slice.from_us, slice.until_us])?;
        Summary::EMPTY.store(new)
    })
    .map_err(failed)?;
    Ok(connection)
}

/// A slice that is there, for writing.
pub(super) fn open_slice_writer(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, WRITER_CACHE_KIB)?;
    set_up(&connection)?;
    Ok(connection)
}

/// A slice that is there, for reading. Only whoever may write also empties the log and removes it when it closes a file
/// last, so that a slice at rest is one file; what is asked for is to read, and nothing else is let through.
pub(super) fn open_slice_reader(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, READER_CACHE_KIB)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Opens a slice, looks whether it is sound and this index's, and says what it holds. `budget` is how many bytes may still
/// be checked page by page.
pub(super) fn check_slice(path: &Path, number: i64, index_id: Uuid, budget: &mut u64) -> Result<Summary, IndexError> {
    let failed = |e| IndexError::sqlite(path, "open", e);
    let connection = open_slice_writer(path).map_err(failed)?;
    upgrade_slice(path, &connection)?;
    let bytes = std::fs::metadata(path).map_or(0, |file| file.len());
    if let Some(left) = budget.checked_sub(bytes) {
        *budget = left;
        check_pages(path, &connection)?;
    }
    let sql = "SELECT count(*) FROM slice WHERE number = ?1 AND index_id = ?2";
    let own: i64 =
        connection.query_row(sql, params![number, index_id.to_string()], |row| row.get(0)).map_err(failed)?;
    if own == 0 {
        let problem = "it is a slice of another index, or another slice of this one".to_owned();
        return Err(IndexError::Foreign { path: path.to_owned(), problem });
    }
    Summary::load(&connection).map_err(failed)
}

/// Bytes of slices that are checked page by page at a start: a second or two.
pub(super) const CHECKED_AT_START: u64 = MAX_CHECKED_BYTES;

fn connect(path: &Path, mode: OpenFlags, cache_kib: i64) -> rusqlite::Result<Connection> {
    // Each connection is used by one thread at a time.
    let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    Ok(connection)
}

/// How many migrations a file has behind it; refuses files of another kind.
pub(super) fn recognise(path: &Path, connection: &Connection, kind: i32, known: usize) -> Result<usize, IndexError> {
    let foreign = |problem| IndexError::Foreign { path: path.to_owned(), problem };
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i32>(0));
    let marks = || Ok((number("PRAGMA application_id")?, number("PRAGMA user_version")?));
    let (application, version) = marks().map_err(|e| IndexError::sqlite(path, "open", e))?;
    let objects = number("SELECT count(*) FROM sqlite_schema").map_err(|e| IndexError::sqlite(path, "open", e))?;
    match (application, usize::try_from(version).unwrap_or(usize::MAX)) {
        (0, 0) if objects == 0 => Ok(0),
        (other, version) if other == kind && version <= known => Ok(version),
        (other, version) if other == kind => {
            Err(foreign(format!("its tables have version {version}, this program knows {known}; use a newer program")))
        }
        (other, _) => Err(foreign(format!("its application id is {other:#x}"))),
    }
}

/// Brings a slice to this program's version, with all that is derived from its events: one transaction, so that a migration that
/// is cut off goes on with the slices that it has not done. Refuses what is no slice, or one of a later version.
pub(super) fn upgrade_slice(path: &Path, connection: &Connection) -> Result<(), IndexError> {
    let version = recognise(path, connection, SLICE_FILE, SLICE_TABLES.len())?;
    if version == 0 {
        return Err(IndexError::Foreign { path: path.to_owned(), problem: "it is empty".to_owned() });
    }
    let missing = &SLICE_TABLES[version..];
    if missing.is_empty() {
        return Ok(());
    }
    let upgrade = || {
        let transaction = connection.unchecked_transaction()?;
        for tables in missing {
            transaction.execute_batch(tables)?;
        }
        let summary = add_up(&transaction)?;
        transaction.pragma_update(None, "user_version", SLICE_TABLES.len() as i64)?;
        transaction.commit()?;
        Ok(summary.events)
    };
    // A slice that cannot be migrated now, for want of space say, is left out of answers, which say so; the next start tries again.
    let events = upgrade().map_err(|e| match IndexError::sqlite(path, "migrate", e) {
        damaged @ IndexError::Corrupt { .. } => damaged,
        other => {
            let problem = format!("its tables have version {version} and cannot be migrated: {}", chain(&other));
            IndexError::Foreign { path: path.to_owned(), problem }
        }
    })?;
    tracing::info!(slice = %path.display(), from = version, to = SLICE_TABLES.len(), events, "a slice was migrated");
    Ok(())
}

pub(super) fn check_pages(path: &Path, connection: &Connection) -> Result<(), IndexError> {
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

pub(super) fn set_up(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", WAL_LIMIT_BYTES, |_| Ok(()))?;
    // What is deleted is overwritten where that costs no write of its own.
    connection.pragma_update_and_check(None, "secure_delete", "FAST", |_| Ok(()))
}

/// Brings a file to the newest version, in one transaction. `first` fills a file that is new.
fn migrate(
    connection: &Connection,
    kind: i32,
    missing: &[&str],
    first: impl FnOnce(&Connection) -> rusqlite::Result<usize>,
) -> rusqlite::Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let transaction = connection.unchecked_transaction()?;
    let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    for tables in missing {
        transaction.execute_batch(tables)?;
    }
    if version == 0 {
        first(&transaction)?;
    }
    transaction.pragma_update(None, "application_id", kind)?;
    transaction.pragma_update(None, "user_version", version + missing.len() as i64)?;
    transaction.commit()
}

/// The index's id, if the file is this region's.
pub(super) fn check_owner(path: &Path, connection: &Connection, region: &RegionId) -> Result<Uuid, IndexError> {
    let foreign = |problem| IndexError::Foreign { path: path.to_owned(), problem };
    let failed = |e| IndexError::sqlite(path, "open", e);
    let owner = meta_text(connection, "region_id").map_err(failed)?;
    if owner != region.as_str() {
        return Err(foreign(format!(
            "it holds region {owner:?}, this one is {region:?}; use a data folder of its own"
        )));
    }
    let index_id = meta_text(connection, "index_id").map_err(failed)?;
    index_id.parse().map_err(|_| foreign(format!("its index id is {index_id:?}")))
}

fn meta_text(connection: &Connection, name: &str) -> rusqlite::Result<String> {
    let found = connection
        .prepare_cached("SELECT value FROM meta WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// A counter of the region; 0 until it is first set.
pub(super) fn meta_number(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE name = ?1")?;
    let found: Option<i64> = statement.query_row([name], |row| row.get(0)).optional()?;
    Ok(found.unwrap_or(0).unsigned_abs())
}

/// Sets a counter of the region.
pub(super) fn set_meta_number(connection: &Connection, name: &str, value: u64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    connection.prepare_cached(sql)?.execute(params![name, value as i64])?;
    Ok(())
}
