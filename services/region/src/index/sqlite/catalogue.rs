//! The list of slices in the region's own file, and opening what it names.
//!
//! A slice's row is there before its file, and goes after it. A row tells whether its file was ever written
//! (`seq_bound`), so that a file that is not there was either never made, or was removed, or is lost: each is told apart.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use rusqlite::{Connection, Row, params};
use uuid::Uuid;
use vigil_base::Timestamp;

use super::folder::{remove_database, sync};
use super::schema::{CHECKED_AT_START, check_slice, create_slice};
use super::slices::{Slice, SliceKind, SliceState, Slices, Summary};
use crate::index::IndexError;

type Result<T> = std::result::Result<T, IndexError>;

/// Commit numbers that are set apart at a time: one write to the region's file for so many commits, and at most twice as many
/// numbers that are never used after a crash.
const RESERVED_NUMBERS: u64 = 1 << 16;

/// Numbers up to this one are to be set apart when `latest` is the last that was given.
pub(super) fn reservation_after(latest: u64) -> u64 {
    (latest / RESERVED_NUMBERS + 2) * RESERVED_NUMBERS
}

/// A row of `slices`.
struct Entry {
    number: i64,
    kind: SliceKind,
    from_us: i64,
    until_us: i64,
    seq_bound: i64,
    is_dropping: bool,
    damage: Option<String>,
    sealed: Option<Summary>,
}

impl Entry {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            number: row.get(0)?,
            kind: if row.get::<_, i64>(1)? == SliceKind::Stray as i64 { SliceKind::Stray } else { SliceKind::Dated },
            from_us: row.get(2)?,
            until_us: row.get(3)?,
            seq_bound: row.get(4)?,
            is_dropping: row.get(5)?,
            damage: row.get(6)?,
            sealed: row.get::<_, Option<i64>>(7)?.map(|_| Summary::read(row, 7)).transpose()?,
        })
    }

    fn time(&self) -> (i64, i64) {
        (self.from_us, self.until_us)
    }

    fn is_sound_and_dated(&self) -> bool {
        self.damage.is_none() && !self.is_dropping && self.kind == SliceKind::Dated
    }

    fn into_slice(self, folder: &Path, summary: Option<Summary>, problem: Option<String>) -> Arc<Slice> {
        let path = path_of(folder, self.number, self.kind, self.from_us);
        let state = SliceState {
            summary: summary.or(self.sealed),
            seq_bound: self.seq_bound,
            is_sealed: self.sealed.is_some(),
            problem,
            is_dropped: false,
        };
        let Self { number, kind, from_us, until_us, .. } = self;
        Arc::new(Slice { number, kind, from_us, until_us, path, state: RwLock::new(state) })
    }
}

/// The file of a slice. Its number is in its name: no file is ever made under the name of one that was removed, which a
/// reader may still have open with the log that SQLite finds by that name.
fn path_of(folder: &Path, number: i64, kind: SliceKind, from_us: i64) -> PathBuf {
    let from = Timestamp::from_micros(from_us).to_string();
    let what = match kind {
        SliceKind::Dated => "events",
        SliceKind::Stray => "strays",
    };
    folder.join(format!("{what}-{}-{number}.db", from.get(..13).unwrap_or_default()))
}

/// Opens what the catalogue names: finishes what a crash left half done, and looks whether slices are sound, the newest first,
/// for as long as that takes no more than a moment.
pub(super) fn load(region: &Connection, path: &Path, folder: &Path, index_id: Uuid) -> Result<Slices> {
    let failed = |e| IndexError::sqlite(path, "read the list of slices", e);
    let slices = Slices::default();
    let mut budget = CHECKED_AT_START;
    let entries = entries(region).map_err(failed)?;
    let sound: Vec<(i64, i64)> = entries.iter().filter(|entry| entry.is_sound_and_dated()).map(Entry::time).collect();
    for entry in entries {
        let file = path_of(folder, entry.number, entry.kind, entry.from_us);
        let was_written = entry.seq_bound > 0;
        if entry.is_dropping || (!was_written && !is_sound(&file, entry.number, index_id)) {
            remove_database(&file)?;
            sync(folder)?;
            forget(region, entry.number).map_err(failed)?;
            continue;
        }
        let (from_us, until_us) = entry.time();
        let found = match &entry.damage {
            // Events of its time may have been sent again, to the slice that took its place.
            Some(damage) if sound.iter().any(|other| other.0 < until_us && from_us < other.1) => Err(damage.clone()),
            _ => look(&file, &entry, index_id, &mut budget)?,
        };
        match found {
            Ok(summary) => {
                let was_damaged = entry.damage.is_some();
                let slice = entry.into_slice(folder, Some(summary), None);
                if was_damaged {
                    tracing::info!(slice = %slice.path.display(), "a slice of the index can be read again");
                    clear_damage(region, &slice).map_err(failed)?;
                }
                slices.add(slice);
            }
            Err(problem) => {
                tracing::error!(slice = %file.display(), problem, "a slice of the index cannot be read");
                slices.add(entry.into_slice(folder, None, Some(problem)));
            }
        }
    }
    Ok(slices)
}

/// All rows, the newest slice first.
fn entries(region: &Connection) -> rusqlite::Result<Vec<Entry>> {
    let sql = format!(
        "SELECT number, kind, from_us, until_us, seq_bound, dropping, damage, {} FROM slices
         ORDER BY from_us DESC, number DESC",
        Summary::COLUMNS
    );
    region.prepare(&sql)?.query_map([], Entry::read)?.collect()
}

/// Slices of which events may begin within a time, as the list has them, and what is wrong with those that cannot be read. Looks at
/// the list alone, and changes nothing.
pub(super) fn readable(
    region: &Connection,
    folder: &Path,
    time: &std::ops::Range<i64>,
) -> rusqlite::Result<(Vec<Arc<Slice>>, Vec<String>)> {
    let (mut slices, mut problems) = (Vec::new(), Vec::new());
    for entry in entries(region)? {
        let may_hold = entry.kind == SliceKind::Stray || (entry.from_us < time.end && time.start < entry.until_us);
        if entry.is_dropping || entry.seq_bound == 0 || !may_hold {
            continue;
        }
        let damage = entry.damage.clone();
        let slice = entry.into_slice(folder, None, None);
        match damage {
            Some(damage) => problems.push(format!("{}: {damage}", slice.path.display())),
            None => slices.push(slice),
        }
    }
    Ok((slices, problems))
}

/// Slices that were being made: their numbers and files.
pub(super) fn never_written(region: &Connection, folder: &Path) -> rusqlite::Result<Vec<(i64, PathBuf)>> {
    let unfinished = entries(region)?.into_iter().filter(|entry| entry.seq_bound == 0);
    Ok(unfinished.map(|entry| (entry.number, path_of(folder, entry.number, entry.kind, entry.from_us))).collect())
}

fn is_sound(file: &Path, number: i64, index_id: Uuid) -> bool {
    check_slice(file, number, index_id, &mut 0).is_ok()
}

/// What a slice holds, or why it cannot be read. Any other failure (no memory, no file handles, no space for its log) is not
/// the slice's: it is not opened now, and what the catalogue remembers of it holds.
fn look(file: &Path, entry: &Entry, index_id: Uuid, budget: &mut u64) -> Result<std::result::Result<Summary, String>> {
    if !file.exists() {
        return Ok(Err("its file is not there".to_owned()));
    }
    match check_slice(file, entry.number, index_id, budget) {
        Ok(summary) => Ok(Ok(summary)),
        Err(IndexError::Corrupt { source, .. }) => Ok(Err(format!("its file is damaged: {source}"))),
        Err(IndexError::Foreign { problem, .. }) => Ok(Err(problem)),
        Err(error) => entry.sealed.map(Ok).ok_or(error),
    }
}

/// A new slice: its row first, then its file, then its name in the folder. On a failure in between the row is found by the next
/// start, which removes what there is of it.
pub(super) fn create(
    region: &Connection,
    path: &Path,
    (folder, index_id): (&Path, Uuid),
    kind: SliceKind,
    time: std::ops::Range<i64>,
) -> Result<(Arc<Slice>, Connection)> {
    let sql = "INSERT INTO slices (kind, from_us, until_us) VALUES (?1, ?2, ?3)";
    let inserted = region.prepare_cached(sql).and_then(|mut insert| {
        insert.execute(params![kind as i64, time.start, time.end])?;
        Ok(region.last_insert_rowid())
    });
    let number = inserted.map_err(|e| IndexError::sqlite(path, "note a new slice", e))?;
    let (from_us, until_us) = (time.start, time.end);
    let entry = Entry { number, kind, from_us, until_us, seq_bound: 0, is_dropping: false, damage: None, sealed: None };
    let slice = entry.into_slice(folder, Some(Summary::EMPTY), None);
    let created = create_slice(&slice, index_id).and_then(|connection| {
        sync(folder)?;
        Ok(connection)
    });
    if created.is_err() {
        // Best effort: what stays is removed at the next start.
        let _ = remove_database(&slice.path).map(|()| forget(region, number));
    }
    Ok((slice, created?))
}

/// No commit that is about to be written to the slice has a number above `seq_bound`; and what the catalogue says it holds
/// no longer counts.
pub(super) fn unseal(region: &Connection, slice: &Slice, seq_bound: u64) -> rusqlite::Result<()> {
    let sql = "UPDATE slices SET seq_bound = ?2, events = NULL WHERE number = ?1";
    region.prepare_cached(sql)?.execute(params![slice.number, seq_bound as i64])?;
    Ok(())
}

/// What a slice holds that is not written any more.
pub(super) fn seal(region: &Connection, slice: &Slice) -> rusqlite::Result<()> {
    let Summary {
        events,
        first_begin_us,
        last_begin_us,
        last_end_us,
        first_seq,
        last_seq,
        latest_us,
        newest_receive_us,
    } = slice.summary();
    let sql =
        "UPDATE slices SET events = ?2, first_begin_us = ?3, last_begin_us = ?4, last_end_us = ?5, first_seq = ?6,
               last_seq = ?7, latest_us = ?8, newest_receive_us = ?9 WHERE number = ?1";
    region.prepare_cached(sql)?.execute(params![
        slice.number,
        events as i64,
        first_begin_us,
        last_begin_us,
        last_end_us,
        first_seq,
        last_seq,
        latest_us,
        newest_receive_us
    ])?;
    slice.state.write().is_sealed = true;
    Ok(())
}

/// The slice's file is to go.
pub(super) fn mark_dropping(region: &Connection, number: i64) -> rusqlite::Result<()> {
    region.prepare_cached("UPDATE slices SET dropping = 1 WHERE number = ?1")?.execute([number])?;
    Ok(())
}

/// Keeps why a slice cannot be read, before another takes its place.
pub(super) fn note_damage(region: &Connection, slice: &Slice) -> rusqlite::Result<()> {
    let problem = slice.state.read().problem.clone();
    let sql = "UPDATE slices SET damage = ?2 WHERE number = ?1 AND damage IS NULL";
    region.prepare_cached(sql)?.execute(params![slice.number, problem])?;
    Ok(())
}

/// The slice can be read again.
pub(super) fn clear_damage(region: &Connection, slice: &Slice) -> rusqlite::Result<()> {
    region.prepare_cached("UPDATE slices SET damage = NULL WHERE number = ?1")?.execute([slice.number])?;
    Ok(())
}

/// The slice and its file are no more.
pub(super) fn forget(region: &Connection, number: i64) -> rusqlite::Result<()> {
    region.prepare_cached("DELETE FROM slices WHERE number = ?1")?.execute([number])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_set_apart_ahead_of_their_use() {
        for latest in [0, 1, RESERVED_NUMBERS - 1, RESERVED_NUMBERS, 10 * RESERVED_NUMBERS + 7] {
            let reserved = reservation_after(latest);
            assert!((RESERVED_NUMBERS..=2 * RESERVED_NUMBERS).contains(&(reserved - latest)), "{latest}");
        }
    }
}
