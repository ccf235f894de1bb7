//! Opening the database: settings, tables, and recognising a file that is damaged or not ours.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::OutboxError;

/// Marks the file as an outbox.
const APPLICATION_ID: i32 = 0x5667_4f62;
/// Version of the tables below.
const SCHEMA_VERSION: i32 = 1;
/// A larger file is not checked page by page at start, which would take long on a slow disk: its damage shows when it
/// is read, as [`OutboxError::Corrupt`]. An outbox that is drained stays far below.
const MAX_CHECKED_BYTES: u64 = 256 * 1024 * 1024;
/// How long a connection waits for the other one of this process: both hold locks for milliseconds only.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The write-ahead log is cut back to this after a checkpoint, so that one long backlog does not keep it large.
const WAL_LIMIT_BYTES: i64 = 16 * 1024 * 1024;

const TABLES: &str = "
CREATE TABLE records (
    row        INTEGER PRIMARY KEY,
    event_id   BLOB    NOT NULL UNIQUE,
    sequence   INTEGER,
    revision   INTEGER NOT NULL,
    is_final   INTEGER NOT NULL,
    queued_us  INTEGER NOT NULL,
    event      BLOB    NOT NULL,
    thumbnail  BLOB
) STRICT;
CREATE UNIQUE INDEX records_in_order ON records (sequence) WHERE sequence IS NOT NULL;
CREATE INDEX records_by_age ON records (queued_us) WHERE sequence IS NOT NULL;
CREATE INDEX records_open ON records (event_id) WHERE is_final = 0;
CREATE TABLE set_aside (
    row          INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id     BLOB    NOT NULL,
    revision     INTEGER NOT NULL,
    reason       TEXT    NOT NULL,
    set_aside_us INTEGER NOT NULL,
    event        BLOB    NOT NULL
) STRICT;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
INSERT INTO counters VALUES ('next_sequence', 1), ('set_aside_total', 0);
";

/// Why a file cannot be opened as it is.
pub(crate) enum OpenFailure {
    /// It is damaged: move it aside.
    Damaged(String),
    /// Anything else: leave it alone.
    Other(OutboxError),
}

impl OpenFailure {
    /// As an error of a file that was only just made.
    pub(crate) fn into_error(self, path: &Path) -> OutboxError {
        match self {
            Self::Damaged(problem) => OutboxError::Foreign { path: path.to_owned(), problem },
            Self::Other(error) => error,
        }
    }
}

/// The writing connection to a file that passed its checks; makes the file where there is none.
pub(crate) fn open_writer(path: &Path) -> Result<Connection, OpenFailure> {
    let mode = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let mut connection = connect(path, mode).map_err(|e| failure(path, e))?;
    if let Some(damage) = find_damage(&connection, path).map_err(|e| failure(path, e))? {
        return Err(OpenFailure::Damaged(damage));
    }
    prepare(path, &mut connection)?;
    Ok(connection)
}

/// A connection for reading.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, OutboxError> {
    connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(|e| OutboxError::sqlite(path, "open for reading", e))
}

fn failure(path: &Path, error: rusqlite::Error) -> OpenFailure {
    match OutboxError::sqlite(path, "open", error) {
        OutboxError::Corrupt { source, .. } => OpenFailure::Damaged(source.to_string()),
        other => OpenFailure::Other(other),
    }
}

fn connect(path: &Path, mode: OpenFlags) -> rusqlite::Result<Connection> {
    // Each connection is used by one thread at a time.
    let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// What is wrong with the pages of the file, in SQLite's words; `None` when nothing is, or the file is too large to
/// look.
fn find_damage(connection: &Connection, path: &Path) -> rusqlite::Result<Option<String>> {
    if std::fs::metadata(path).is_ok_and(|file| file.len() > MAX_CHECKED_BYTES) {
        return Ok(None);
    }
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    Ok((verdict != "ok").then_some(verdict))
}

fn prepare(path: &Path, connection: &mut Connection) -> Result<(), OpenFailure> {
    let foreign = |problem| Err(OpenFailure::Other(OutboxError::Foreign { path: path.to_owned(), problem }));
    let is_new = match marks(connection).map_err(|e| failure(path, e))? {
        (APPLICATION_ID, SCHEMA_VERSION, _) => false,
        (0, 0, 0) => true,
        (APPLICATION_ID, newer, _) => {
            return foreign(format!("its tables have version {newer}, this program knows {SCHEMA_VERSION}"));
        }
        (other, ..) => return foreign(format!("its application id is {other:#x}")),
    };
    settle(connection, is_new).map_err(|e| failure(path, e))
}

/// Application id, version of the tables, and how many tables and indexes there are.
fn marks(connection: &Connection) -> rusqlite::Result<(i32, i32, i64)> {
    let application = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let version = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let objects = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok((application, version, objects))
}

fn settle(connection: &mut Connection, is_new: bool) -> rusqlite::Result<()> {
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update_and_check(None, "journal_size_limit", WAL_LIMIT_BYTES, |_| Ok(()))?;
    // Freed pages are overwritten where that costs no write of its own.
    connection.pragma_update_and_check(None, "secure_delete", "FAST", |_| Ok(()))?;
    if is_new {
        let transaction = connection.transaction()?;
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(result: Result<Connection, OpenFailure>) -> String {
        match result {
            Err(OpenFailure::Other(error)) => error.to_string(),
            Err(OpenFailure::Damaged(why)) => panic!("taken for damaged: {why}"),
            Ok(_) => panic!("opened"),
        }
    }

    #[test]
    fn a_file_of_another_program_is_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("outbox.db");
        Connection::open(&path).unwrap().execute_batch("PRAGMA application_id = 99; CREATE TABLE t (x);").unwrap();
        assert!(problem(open_writer(&path)).contains("application id is 0x63"));
    }

    #[test]
    fn a_file_of_a_later_version_is_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("outbox.db");
        assert!(open_writer(&path).is_ok());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 7).unwrap();
        assert!(problem(open_writer(&path)).contains("version 7"));
    }
}
