//! Taking over an index of earlier versions, which kept all in one file, `index.db`.
//!
//! ```text
//!   index.db ──(1)──▶ region.db: names, cameras, edges, coverage, numbers      one transaction, marks itself as under way
//!            ──(2)──▶ events-….db, one after the other                         each: row, file, rows copied, row marked as written
//!            ──(3)──▶ strays-….db                                              the same
//!            ──(4)──▶ counted; marked as done; index.db removed
//! ```
//! Nothing of `index.db` is changed but its version, so it can end at any point, by kill -9 or for want of space, and the next
//! start goes on: in (1) it begins again; in (2) and (3) a slice that is not marked as written is made anew; in (4) the file is
//! removed when the mark says that all was taken over. Needs as much free space as `index.db` has bytes. Both the start of a
//! region and `vigil region migrate` do it.

use std::ops::Range;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use uuid::Uuid;

use super::SqliteConfig;
use super::catalogue;
use super::folder::{DataFolder, remove_database};
use super::placement::{Grid, SLICES_AHEAD, SLICES_BACK};
use super::plates::note_all_plates;
use super::schema::{self, check_owner, check_pages, meta_number, recognise, set_meta_number, set_up};
use super::slices::{SliceKind, Summary};
use super::store::{NO_ZONE, TEN_US};
use crate::index::{IndexError, Result};

/// Marks `index.db`.
const UNSLICED_FILE: i32 = 0x5667_4978;
/// Each took its tables one version further.
const TABLES: [&str; 4] = [
    include_str!("unsliced/v1.sql"),
    include_str!("unsliced/v2.sql"),
    include_str!("unsliced/v3.sql"),
    include_str!("unsliced/v4.sql"),
];
/// In the region's file: how far it is.
const STAGE: &str = "unsliced";
const UNDER_WAY: u64 = 1;
const DONE: u64 = 2;

/// One slice that was filled from `index.db`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigratedSlice {
    /// Its file's name.
    pub name: String,
    /// Events in it.
    pub events: u64,
    /// Events taken over so far, of all, this slice included.
    pub so_far: u64,
    /// Events in `index.db`.
    pub of: u64,
}

/// Takes over `index.db` of the folder, if it has one; tells of each slice. False: there was nothing to do.
pub(super) fn migrate(
    folder: &DataFolder,
    config: &SqliteConfig,
    tell: &mut dyn FnMut(MigratedSlice) -> Result<()>,
) -> Result<bool> {
    let from = folder.unsliced();
    if !from.exists() {
        return Ok(false);
    }
    let (region, new_id) = schema::open_region(&folder.region(), &config.region)?;
    folder.sync()?;
    let path = folder.region();
    let failed = |e| IndexError::sqlite(&path, "take over index.db", e);
    if meta_number(&region, STAGE).map_err(failed)? != DONE {
        let index_id = open_unsliced(&from, config)?;
        begin(&region, &path, &from, (index_id, new_id))?;
        let mut filling = Filling {
            region: &region,
            path: &path,
            from: &from,
            folder,
            index_id,
            grid: Grid::new(config.slice),
            so_far: catalogued_events(&region).map_err(failed)?,
            of: count_events(&from)?,
        };
        filling.remove_unfinished()?;
        for kind in [SliceKind::Dated, SliceKind::Stray] {
            filling.fill_all(kind, tell)?;
        }
        filling.check_complete()?;
        set_meta_number(&region, STAGE, DONE).map_err(failed)?;
    }
    drop(region);
    remove_database(&from)?;
    folder.sync()?;
    Ok(true)
}

/// Brings `index.db` to its last version; refuses what is no index of this region.
fn open_unsliced(from: &Path, config: &SqliteConfig) -> Result<Uuid> {
    let failed = |e| IndexError::sqlite(from, "open", e);
    let connection = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
    let version = recognise(from, &connection, UNSLICED_FILE, TABLES.len())?;
    check_pages(from, &connection)?;
    set_up(&connection).map_err(failed)?;
    let transaction = connection.unchecked_transaction().map_err(failed)?;
    for tables in &TABLES[version..] {
        transaction.execute_batch(tables).map_err(failed)?;
    }
    transaction.pragma_update(None, "user_version", TABLES.len() as i64).map_err(failed)?;
    transaction.commit().map_err(failed)?;
    check_owner(from, &connection, &config.region)
}

/// All that is not an event, in one transaction.
fn begin(region: &Connection, path: &Path, from: &Path, (index_id, new_id): (Uuid, Uuid)) -> Result<()> {
    let failed = |e| IndexError::sqlite(path, "take over index.db", e);
    if meta_number(region, STAGE).map_err(failed)? == UNDER_WAY {
        return Ok(());
    }
    let in_use = "SELECT EXISTS (SELECT 1 FROM slices) OR EXISTS (SELECT 1 FROM names)";
    if index_id != new_id && region.query_row(in_use, [], |row| row.get(0)).map_err(failed)? {
        let problem = "region.db beside it holds an index already; move one of the two away".to_owned();
        return Err(IndexError::Foreign { path: from.to_owned(), problem });
    }
    attach(region, from).map_err(failed)?;
    let copied = copy_all_but_events(region, index_id);
    let detached = region.execute_batch("DETACH old");
    copied.and(detached).map_err(failed)
}

fn attach(connection: &Connection, from: &Path) -> rusqlite::Result<usize> {
    connection.execute("ATTACH ?1 AS old", [from.to_string_lossy()])
}

fn copy_all_but_events(region: &Connection, index_id: Uuid) -> rusqlite::Result<()> {
    let transaction = region.unchecked_transaction()?;
    for table in ["names", "extents", "clock_steps", "cameras", "edges", "analyses", "coverage", "coverage_hourly"] {
        transaction.execute(&format!("INSERT INTO main.{table} SELECT * FROM old.{table}"), [])?;
    }
    transaction.execute("UPDATE main.meta SET value = ?1 WHERE name = 'index_id'", [index_id.to_string()])?;
    let counters = "INSERT INTO main.meta SELECT name, value FROM old.meta
                    WHERE name IN ('purged_through', 'purged_us', 'camera_etag')";
    transaction.execute(counters, [])?;
    let numbers = "INSERT INTO main.meta SELECT 'seq_reserved', value FROM old.meta WHERE name = 'commit_seq'";
    transaction.execute(numbers, [])?;
    set_meta_number(&transaction, STAGE, UNDER_WAY)?;
    transaction.commit()
}

fn count_events(from: &Path) -> Result<u64> {
    let count = || {
        let connection = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.query_row("SELECT count(*) FROM events", [], |row| row.get::<_, i64>(0))
    };
    Ok(count().map_err(|e| IndexError::sqlite(from, "count", e))?.unsigned_abs())
}

/// Events of slices that are marked as written.
fn catalogued_events(region: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT ifnull(sum(events), 0) FROM slices WHERE seq_bound > 0";
    Ok(region.query_row(sql, [], |row| row.get::<_, i64>(0))?.unsigned_abs())
}

struct Filling<'f> {
    region: &'f Connection,
    path: &'f Path,
    from: &'f Path,
    folder: &'f DataFolder,
    index_id: Uuid,
    grid: Grid,
    so_far: u64,
    of: u64,
}

impl Filling<'_> {
    fn failed(&self, error: rusqlite::Error) -> IndexError {
        IndexError::sqlite(self.path, "take over index.db", error)
    }

    /// Slices that a run before this one did not finish.
    fn remove_unfinished(&self) -> Result<()> {
        for (number, file) in catalogue::never_written(self.region, self.folder.path()).map_err(|e| self.failed(e))? {
            remove_database(&file)?;
            catalogue::forget(self.region, number).map_err(|e| self.failed(e))?;
        }
        self.folder.sync()
    }

    /// Slice after slice of one kind, from where the run before this one ended.
    fn fill_all(&mut self, kind: SliceKind, tell: &mut dyn FnMut(MigratedSlice) -> Result<()>) -> Result<()> {
        while let Some(time) = self.next_time(kind).map_err(|e| self.failed(e))? {
            let (slice, connection) =
                catalogue::create(self.region, self.path, (self.folder.path(), self.index_id), kind, time.clone())?;
            let summary = self
                .fill(&connection, kind, &time)
                .map_err(|e| IndexError::sqlite(&slice.path, "take events over into", e))?;
            drop(connection);
            slice.set_summary(summary);
            let transaction = self.region.unchecked_transaction().map_err(|e| self.failed(e))?;
            catalogue::unseal(&transaction, &slice, summary.last_seq.unsigned_abs().max(1))
                .and_then(|()| catalogue::seal(&transaction, &slice))
                .and_then(|()| transaction.commit())
                .map_err(|e| self.failed(e))?;
            self.so_far += summary.events;
            let name = slice.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            tell(MigratedSlice { name, events: summary.events, so_far: self.so_far, of: self.of })?;
        }
        Ok(())
    }

    /// The time of the next slice that is to be filled.
    fn next_time(&self, kind: SliceKind) -> rusqlite::Result<Option<Range<i64>>> {
        let sql = "SELECT max(until_us) FROM slices WHERE kind = ?1";
        let done: Option<i64> = self.region.query_row(sql, [kind as i64], |row| row.get(0))?;
        let done = done.unwrap_or(i64::MIN);
        let old = Connection::open_with_flags(self.from, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let Sql { place, of_kind, index } = self.sql(kind);
        let sql =
            format!("SELECT {place} FROM events {index} WHERE {place} >= ?1 AND {of_kind} ORDER BY {place} LIMIT 1");
        let next: Option<i64> = old.query_row(&sql, [done], |row| row.get(0)).optional()?;
        Ok(next.map(|at_us| {
            let place = self.grid.around(at_us);
            place.start.max(done)..place.end
        }))
    }

    /// Copies what belongs to a slice, and adds up what it keeps of it.
    fn fill(&self, slice: &Connection, kind: SliceKind, time: &Range<i64>) -> rusqlite::Result<Summary> {
        attach(slice, self.from)?;
        let Sql { place, of_kind, index } = self.sql(kind);
        let chosen = format!("{place} >= ?1 AND {place} < ?2 AND {of_kind}");
        let transaction = slice.unchecked_transaction()?;
        let copies = [
            format!("INSERT INTO main.events SELECT {EVENT_COLUMNS} FROM old.events {index} WHERE {chosen}"),
            "INSERT INTO main.payloads SELECT row, event FROM old.payloads WHERE row IN (SELECT row FROM main.events)".into(),
            "INSERT INTO main.thumbnails SELECT row, jpeg FROM old.thumbnails WHERE row IN (SELECT row FROM main.events)".into(),
        ];
        transaction.execute(&copies[0], params![time.start, time.end])?;
        transaction.execute(&copies[1], [])?;
        transaction.execute(&copies[2], [])?;
        let summary = add_up(&transaction)?;
        transaction.commit()?;
        slice.execute_batch("DETACH old")?;
        Ok(summary)
    }

    /// Which events go to slices of a kind, by which time, and by which index they are found.
    fn sql(&self, kind: SliceKind) -> Sql {
        let length = self.grid.length_us();
        let is_near = format!("begin_us / {length} - receive_us / {length} BETWEEN -{SLICES_BACK} AND {SLICES_AHEAD}");
        match kind {
            SliceKind::Dated => Sql { place: "begin_us", of_kind: is_near, index: "INDEXED BY events_by_time" },
            SliceKind::Stray => Sql { place: "receive_us", of_kind: format!("NOT ({is_near})"), index: "" },
        }
    }

    /// Nothing is removed before all is where it belongs.
    fn check_complete(&self) -> Result<()> {
        let taken = catalogued_events(self.region).map_err(|e| self.failed(e))?;
        if taken == self.of {
            return Ok(());
        }
        let problem = format!("{taken} of its {} events were taken over; it is left as it is", self.of);
        Err(IndexError::Foreign { path: self.from.to_owned(), problem })
    }
}

struct Sql {
    place: &'static str,
    of_kind: String,
    index: &'static str,
}

const EVENT_COLUMNS: &str = "camera, begin_us, event_id, row, revision, commit_seq, receive_us, end_us, span, kind, class, \
     edge, confidence, colours, latitude, longitude, plate, thumbnail_revision, rule, zone";

/// Counts, plates and figures of a slice, from its events.
pub(super) fn add_up(slice: &Connection) -> rusqlite::Result<Summary> {
    let hour = super::store::HOUR_US;
    slice.execute("DELETE FROM main.hourly", [])?;
    for camera in ["camera", "0"] {
        let sql = format!(
            "INSERT INTO main.hourly (hour, camera, class, kind, zone, events)
             SELECT begin_us / {hour}, {camera}, class, kind, ifnull(zone, {NO_ZONE}), count(*) FROM main.events
             GROUP BY 1, 2, 3, 4, 5"
        );
        slice.execute(&sql, [])?;
    }
    slice.execute("DELETE FROM main.tens", [])?;
    let tens = format!(
        "INSERT INTO main.tens (ten, class, kind, zone, events)
         SELECT begin_us / {TEN_US}, class, kind, ifnull(zone, {NO_ZONE}), count(*) FROM main.events GROUP BY 1, 2, 3, 4"
    );
    slice.execute(&tens, [])?;
    note_all_plates(slice)?;
    let sql = "SELECT count(*), min(begin_us), max(begin_us), max(end_us), min(commit_seq), max(commit_seq),
                      (SELECT receive_us FROM main.events ORDER BY commit_seq DESC LIMIT 1), max(receive_us)
               FROM main.events HAVING count(*) > 0";
    let summary = slice.query_row(sql, [], |row| Summary::read(row, 0)).optional()?.unwrap_or(Summary::EMPTY);
    summary.store(slice)?;
    Ok(summary)
}

#[cfg(test)]
mod tests;
