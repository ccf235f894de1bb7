//! What the region has acknowledged, kept for a while in case the region loses it: a disk that dies and a backup of yesterday
//! take the index back to yesterday, and an acknowledgement cannot be taken back.
//!
//! The last revision of each event, in the order of acknowledgement, in a SQLite file of its own beside the outbox. It is a
//! second copy and is treated as one: not synced, dropped from its oldest end at its bounds, given up where the disk runs
//! short, and made anew where it is damaged. Nothing waits for it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use nix::sys::statvfs::statvfs;
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Row, named_params, params};
use vigil_base::{EventId, Timestamp};

use crate::reader::{as_limit, event_id};
use crate::{OutboxError, Record};

/// Most places that an edge names to its region: at doubling distances, they span more records than anybody keeps.
pub const MAX_MARKS: usize = 32;
/// So much of the disk stays free for what is not a second copy.
const LEAVE_FREE_BYTES: u64 = 512 * 1024 * 1024;
/// Records dropped at once at a bound: far more than a batch brings.
const DROP_AT_ONCE: usize = 2_000;
/// Version of the table.
const VERSION: i32 = 1;

const TABLE: &str = "
CREATE TABLE kept (
    place     INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id  BLOB    NOT NULL UNIQUE,
    revision  INTEGER NOT NULL,
    is_final  INTEGER NOT NULL,
    kept_us   INTEGER NOT NULL,
    event     BLOB    NOT NULL,
    thumbnail BLOB    NOT NULL
) STRICT;
";

/// Where acknowledged records are kept, for how long and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptConfig {
    /// The file.
    pub path: PathBuf,
    /// For how long; zero keeps none.
    pub keep: Duration,
    /// Most bytes of records. The file may be larger by a tenth.
    pub max_bytes: u64,
}

/// A place in the order of acknowledgement, by what was acknowledged there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Grows with each acknowledgement.
    pub place: u64,
    /// The event.
    pub event_id: EventId,
    /// Its revision.
    pub revision: u32,
}

/// Acknowledged records. Every method may block for the disk.
#[derive(Debug)]
pub struct Kept {
    config: KeptConfig,
    file: Mutex<File>,
}

#[derive(Debug, Default)]
struct File {
    /// None where it could not be opened again, or nothing is to be kept.
    connection: Option<Connection>,
    bytes: u64,
}

impl Kept {
    /// Opens the file; makes it where there is none, and anew where it is damaged. What cannot be opened keeps nothing: the
    /// log says so.
    pub fn open(config: KeptConfig) -> Self {
        let mut file = File::default();
        if config.keep.is_zero() {
            remove(&config.path);
        } else {
            file.open(&config.path);
        }
        Self { config, file: Mutex::new(file) }
    }

    /// Keeps what the region has acknowledged at `now`, in the order of acknowledgement.
    pub fn keep(&self, records: &[Record], now: Timestamp) {
        let mut file = self.file.lock();
        if file.connection.is_none() || records.is_empty() {
            return;
        }
        if free_bytes(&self.config.path).is_some_and(|free| free < LEAVE_FREE_BYTES) {
            if file.bytes > 0 {
                tracing::warn!(file = %self.config.path.display(), "the disk runs short: what the region has acknowledged is no longer kept");
                file.renew(&self.config.path);
            }
            return;
        }
        let kept =
            file.keep(records, now).and_then(|()| file.drop_oldest(now - self.config.keep, self.config.max_bytes));
        if let Err(error) = kept {
            tracing::warn!(file = %self.config.path.display(), %error, "what the region has acknowledged is forgotten");
            file.renew(&self.config.path);
        }
    }

    /// Places to ask the region for, newest first, at doubling distances, the oldest last.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn marks(&self) -> Result<Vec<Mark>, OutboxError> {
        self.read("find the newest", |connection| {
            let mut marks: Vec<Mark> = Vec::new();
            let (mut below, mut skip) = (i64::MAX, 0_i64);
            while marks.len() < MAX_MARKS - 1 {
                let sql =
                    "SELECT place, event_id, revision FROM kept WHERE place < ?1 ORDER BY place DESC LIMIT 1 OFFSET ?2";
                let Some(mark) = connection.prepare_cached(sql)?.query_row(params![below, skip], mark).optional()?
                else {
                    break;
                };
                (below, skip) = (mark.place.cast_signed(), 2 * skip + 1);
                marks.push(mark);
            }
            let sql = "SELECT place, event_id, revision FROM kept ORDER BY place LIMIT 1";
            let oldest = connection.prepare_cached(sql)?.query_row([], mark).optional()?;
            marks.extend(oldest.filter(|oldest| marks.last().is_some_and(|last| last.place > oldest.place)));
            Ok(marks)
        })
    }

    /// Records after a place in their order: at most `max_records`, and at most `max_bytes`, but at least one where there is
    /// one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn after(&self, place: u64, max_records: usize, max_bytes: usize) -> Result<Vec<(u64, Record)>, OutboxError> {
        self.read("read what was acknowledged", |connection| {
            let sql = "SELECT place, event_id, revision, is_final, event, thumbnail FROM kept
                       WHERE place > ?1 ORDER BY place LIMIT ?2";
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query(params![place.cast_signed(), as_limit(max_records)])?;
            let (mut records, mut bytes) = (Vec::new(), 0);
            while let Some(row) = rows.next()? {
                let (place, record) = record(row)?;
                bytes += record.len();
                if bytes > max_bytes && !records.is_empty() {
                    break;
                }
                records.push((place, record));
            }
            Ok(records)
        })
    }

    /// How many records come after a place.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn count_after(&self, place: u64) -> Result<u64, OutboxError> {
        self.read("count what was acknowledged", |connection| {
            let sql = "SELECT count(*) FROM kept WHERE place > ?1";
            connection.query_row(sql, [place.cast_signed()], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
        })
    }

    fn read<T: Default>(
        &self,
        doing: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, OutboxError> {
        let file = self.file.lock();
        let Some(connection) = &file.connection else { return Ok(T::default()) };
        query(connection).map_err(|error| OutboxError::sqlite(&self.config.path, doing, error))
    }
}

impl File {
    fn open(&mut self, path: &Path) {
        let opened = open(path).or_else(|error| {
            tracing::warn!(file = %path.display(), %error, "cannot be used and is made anew: the region's acknowledged events are forgotten");
            remove(path);
            open(path)
        });
        match opened {
            Ok((connection, bytes)) => *self = Self { connection: Some(connection), bytes },
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "cannot be made: the region's acknowledged events are not kept");
                *self = Self { connection: None, bytes: 0 };
            }
        }
    }

    /// Begins with an empty file.
    fn renew(&mut self, path: &Path) {
        self.connection = None;
        remove(path);
        self.open(path);
    }

    fn keep(&mut self, records: &[Record], now: Timestamp) -> rusqlite::Result<()> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let transaction = connection.transaction()?;
        let mut bytes = self.bytes;
        for record in records {
            let sql = "DELETE FROM kept WHERE event_id = ?1 RETURNING thumbnail, length(event)";
            let taken = |row: &Row<'_>| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?.unsigned_abs()));
            let before = transaction.prepare_cached(sql)?.query_row([record.event_id.as_bytes()], taken).optional()?;
            let (thumbnail, event_bytes) = before.unwrap_or_default();
            bytes = bytes.saturating_sub(event_bytes + thumbnail.len() as u64);
            // A revision without a picture leaves the one before as it is.
            let thumbnail = if record.thumbnail.is_empty() { &thumbnail } else { &record.thumbnail[..] };
            bytes += (record.event.len() + thumbnail.len()) as u64;
            let sql = "INSERT INTO kept (event_id, revision, is_final, kept_us, event, thumbnail)
                       VALUES (:event_id, :revision, :is_final, :kept_us, :event, :thumbnail)";
            transaction.prepare_cached(sql)?.execute(named_params! {
                ":event_id": record.event_id.as_bytes(),
                ":revision": record.revision,
                ":is_final": record.is_final,
                ":kept_us": now.as_micros(),
                ":event": &record.event[..],
                ":thumbnail": thumbnail,
            })?;
        }
        transaction.commit()?;
        self.bytes = bytes;
        Ok(())
    }

    /// Drops what was kept before `since`, and the oldest beyond `max_bytes`.
    fn drop_oldest(&mut self, since: Timestamp, max_bytes: u64) -> rusqlite::Result<()> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let sql = "SELECT place, kept_us, length(event) + length(thumbnail) FROM kept ORDER BY place LIMIT ?1";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([as_limit(DROP_AT_ONCE)])?;
        let (mut last, mut bytes) = (None, self.bytes);
        while let Some(row) = rows.next()? {
            if row.get::<_, i64>(1)? >= since.as_micros() && bytes <= max_bytes {
                break;
            }
            last = Some(row.get::<_, i64>(0)?);
            bytes = bytes.saturating_sub(row.get::<_, i64>(2)?.unsigned_abs());
        }
        if let Some(last) = last {
            connection.prepare_cached("DELETE FROM kept WHERE place <= ?1")?.execute([last])?;
            self.bytes = bytes;
        }
        Ok(())
    }
}

fn open(path: &Path) -> rusqlite::Result<(Connection, u64)> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // A loss of power may take some of it back or damage it; the region that loses its disk at that very moment is not
    // what it is for.
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update(None, "secure_delete", "FAST")?;
    let version: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version != VERSION {
        let transaction = connection.transaction()?;
        transaction.execute_batch("DROP TABLE IF EXISTS kept;")?;
        transaction.execute_batch(TABLE)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.commit()?;
    }
    let sql = "SELECT ifnull(sum(length(event) + length(thumbnail)), 0) FROM kept";
    let bytes = connection.query_row(sql, [], |row| row.get::<_, i64>(0))?.unsigned_abs();
    Ok((connection, bytes))
}

/// Takes the file away, with what SQLite keeps beside it. What is not there need not be taken away; what cannot be taken away
/// shows when it is opened.
fn remove(path: &Path) {
    for end in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        let _ = std::fs::remove_file(name);
    }
}

fn free_bytes(path: &Path) -> Option<u64> {
    let disk = statvfs(path.parent()?).ok()?;
    Some(disk.blocks_available() * disk.fragment_size())
}

fn mark(row: &Row<'_>) -> rusqlite::Result<Mark> {
    Ok(Mark { place: row.get::<_, i64>(0)?.unsigned_abs(), event_id: event_id(row, 1)?, revision: row.get(2)? })
}

fn record(row: &Row<'_>) -> rusqlite::Result<(u64, Record)> {
    let bytes = |column| row.get::<_, Vec<u8>>(column).map(Bytes::from);
    let record = Record {
        event_id: event_id(row, 1)?,
        revision: row.get(2)?,
        is_final: row.get(3)?,
        event: bytes(4)?,
        thumbnail: bytes(5)?,
    };
    Ok((row.get::<_, i64>(0)?.unsigned_abs(), record))
}
