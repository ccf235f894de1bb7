//! Storing revisions inside the transactions of one group: the region's own file, and each slice they touch.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, params};
use vigil_base::{GeoPoint, Timestamp};

use super::catalogue;
use super::failure::ReadError;
use super::names::NameCache;
use super::placement::{Grid, existing};
use super::row::{EventRow, RowReader, find_place};
use super::schema::open_slice_writer;
use super::seek::note_step;
use super::slices::{Slice, SliceList, Summary};
use super::store::{CountChanges, Numbers, Writing};
use super::walk::Key;
pub(super) use crate::index::keys::id_carries_begin;
use crate::index::tail::Committed;
use crate::index::{CommitSeq, NewRevision, StoreOutcome};

/// What the writer keeps between transactions. After an undone one it is cleared.
#[derive(Debug, Default)]
pub(super) struct WriterCache {
    names: NameCache,
    extents: HashMap<i64, Extent>,
}

impl WriterCache {
    pub(super) fn clear(&mut self) {
        self.names.clear();
        self.extents.clear();
    }
}

/// A slice that is open for writing, and what its transaction has changed so far.
#[derive(Debug)]
pub(super) struct SliceWriter {
    pub(super) slice: Arc<Slice>,
    pub(super) connection: Connection,
    pub(super) pending: Option<Pending>,
    /// Grows with each use: the least recently used is closed first.
    pub(super) used: u64,
}

/// What the transaction of a slice will have changed.
#[derive(Debug)]
pub(super) struct Pending {
    summary: Summary,
    counts: CountChanges,
}

impl SliceWriter {
    pub(super) fn new(slice: Arc<Slice>, connection: Connection) -> Self {
        Self { slice, connection, pending: None, used: 0 }
    }

    fn begin(&mut self) -> rusqlite::Result<()> {
        if self.pending.is_none() {
            self.connection.prepare_cached("BEGIN")?.execute([])?;
            self.pending = Some(Pending { summary: self.slice.summary(), counts: CountChanges::default() });
        }
        Ok(())
    }

    fn write_sums(&mut self) -> rusqlite::Result<()> {
        let Some(pending) = &mut self.pending else { return Ok(()) };
        if pending.summary != self.slice.summary() {
            std::mem::take(&mut pending.counts).store(&self.connection)?;
            pending.summary.store(&self.connection)?;
        }
        Ok(())
    }

    /// Makes the transaction durable; what it changed is seen by questions from now on.
    fn commit(&mut self) -> rusqlite::Result<()> {
        if let Some(pending) = &self.pending {
            self.connection.prepare_cached("COMMIT")?.execute([])?;
            self.slice.set_summary(pending.summary);
            self.pending = None;
        }
        Ok(())
    }

    /// Undoes what is not committed, and reads again what the file holds: a sync that failed may have come after all.
    pub(super) fn undo(&mut self) -> rusqlite::Result<()> {
        if self.pending.take().is_some() {
            // It may be undone already, by the failure itself.
            let _ = self.connection.execute_batch("ROLLBACK");
            self.slice.set_summary(Summary::load(&self.connection)?);
        }
        Ok(())
    }
}

/// What a group needs of the writer, and of the moment.
pub(super) struct Applying<'w> {
    /// The region's own file, in a transaction.
    pub(super) region: &'w Connection,
    pub(super) open: &'w mut Vec<SliceWriter>,
    pub(super) cache: &'w mut WriterCache,
    pub(super) list: Arc<SliceList>,
    pub(super) grid: Grid,
    pub(super) now: Timestamp,
    /// The newest commit so far, and when it was received.
    pub(super) latest: CommitSeq,
    pub(super) latest_us: i64,
    /// Numbers up to this one are set apart.
    pub(super) reserved: u64,
    pub(super) committed: Vec<Committed>,
    /// Slices that the catalogue learns are written, once its transaction is committed.
    pub(super) unsealed: Vec<Arc<Slice>>,
    pub(super) uses: &'w mut u64,
}

impl Applying<'_> {
    /// Stores one revision, or says why not.
    pub(super) fn store(&mut self, revision: &NewRevision) -> Result<StoreOutcome, ReadError> {
        let event = &revision.event;
        let numbers = Numbers::of(&mut self.cache.names, self.region, event)?;
        let key = Key { begin_us: event.begin_time.as_micros(), id: *event.id.as_bytes() };
        let seq = CommitSeq(self.latest.0 + 1);
        for index in self.holders(key.begin_us)? {
            let Some(place) = self.in_slice(index, |slice| find_place(slice, event.id))? else { continue };
            if place != (numbers.camera, key) {
                return Ok(rejected("is known with another begin_time or camera_id; these never change"));
            }
            let stored = self.in_slice(index, |slice| {
                RowReader::new(slice)?.read(numbers.camera, &key)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
            })?;
            if stored.revision >= event.revision {
                return Ok(StoreOutcome::Duplicate);
            }
            return self.write(index, &numbers, seq, revision, Some(&stored));
        }
        if !id_carries_begin(event) {
            return Ok(rejected("its time part is not begin_time in milliseconds"));
        }
        let home = self.grid.home(key.begin_us, self.now.as_micros());
        // The writer made it before the group began.
        let slice = existing(home, &self.list).ok_or(ReadError::SlicesChanged)?;
        let index = self.enter(&Arc::clone(slice))?;
        self.write(index, &numbers, seq, revision, None)
    }

    /// Slices that may hold an event of this begin, open.
    fn holders(&mut self, begin_us: i64) -> Result<Vec<usize>, ReadError> {
        let list = Arc::clone(&self.list);
        let mut holders = Vec::with_capacity(1);
        if let Some(slice) = list.dated_at(begin_us) {
            holders.push(self.enter(slice)?);
        }
        for slice in &list.strays {
            let entered = self.open.iter().position(|open| open.slice.number == slice.number);
            let pending = entered.and_then(|index| self.open[index].pending.as_ref());
            let summary = pending.map_or_else(|| slice.summary(), |pending| pending.summary);
            if summary.may_hold(begin_us) {
                holders.push(self.enter(slice)?);
            }
        }
        Ok(holders)
    }

    /// Opens a slice for this group; returns where it is among the open ones.
    fn enter(&mut self, slice: &Arc<Slice>) -> Result<usize, ReadError> {
        let failed = |error| ReadError::Slice(Arc::clone(slice), error);
        let found = self.open.iter().position(|open| open.slice.number == slice.number);
        let index = found.unwrap_or(self.open.len());
        if found.is_none() {
            self.open.push(SliceWriter::new(Arc::clone(slice), open_slice_writer(&slice.path).map_err(failed)?));
        }
        let writer = &mut self.open[index];
        if writer.pending.is_none() {
            writer.begin().map_err(failed)?;
            *self.uses += 1;
            writer.used = *self.uses;
            let state = slice.state.read().clone();
            if state.is_sealed || state.seq_bound.unsigned_abs() < self.reserved {
                catalogue::unseal(self.region, slice, self.reserved)?;
                self.unsealed.push(Arc::clone(slice));
            }
        }
        Ok(index)
    }

    fn in_slice<T>(&self, index: usize, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, ReadError> {
        let SliceWriter { slice, connection, .. } = &self.open[index];
        read(connection).map_err(|error| ReadError::Slice(Arc::clone(slice), error))
    }

    fn write(
        &mut self,
        index: usize,
        numbers: &Numbers,
        seq: CommitSeq,
        revision: &NewRevision,
        stored: Option<&EventRow>,
    ) -> Result<StoreOutcome, ReadError> {
        let now = self.now;
        let SliceWriter { slice, connection, pending, .. } = &mut self.open[index];
        let pending = pending.as_mut().expect("a slice is entered before it is written");
        let mut writing = Writing { slice: connection, counts: &mut pending.counts, now };
        let written = match stored {
            None => writing.insert(revision, numbers, seq),
            Some(stored) => writing.replace(revision, numbers, seq, stored),
        };
        let thumbnail_revision = written.map_err(|error| ReadError::Slice(Arc::clone(slice), error))?;
        let event = &revision.event;
        pending.summary.events += u64::from(stored.is_none());
        let times = (event.begin_time.as_micros(), event.end_time.as_micros());
        pending.summary.note(times, seq.0 as i64, now.as_micros());
        self.grow_extent(numbers.camera, event.location)?;
        self.latest = seq;
        self.committed.push(Committed { seq, receive_time: now, thumbnail_revision, event: Arc::clone(event) });
        Ok(StoreOutcome::Accepted(seq))
    }

    /// Writes what was summed up, into each file's transaction.
    pub(super) fn write_sums(&mut self) -> Result<(), ReadError> {
        if let Some(first) = self.committed.first()
            && self.now.as_micros() < self.latest_us
        {
            note_step(self.region, CommitSeq(first.seq.0 - 1), Timestamp::from_micros(self.latest_us))?;
        }
        for writer in self.open.iter_mut() {
            let slice = Arc::clone(&writer.slice);
            writer.write_sums().map_err(|error| ReadError::Slice(slice, error))?;
        }
        Ok(())
    }

    /// Keeps the rectangle of the camera's events around `location`.
    fn grow_extent(&mut self, camera: i64, location: Option<GeoPoint>) -> rusqlite::Result<()> {
        let Some(at) = location else { return Ok(()) };
        if self.cache.extents.get(&camera).is_some_and(|extent| extent.contains(at)) {
            return Ok(());
        }
        let extent = widen_extent(self.region, camera, at)?;
        self.cache.extents.insert(camera, extent);
        Ok(())
    }
}

/// Makes every open slice's transaction durable, one after the other.
pub(super) fn commit_slices(open: &mut [SliceWriter]) -> Result<(), ReadError> {
    for writer in open {
        let slice = Arc::clone(&writer.slice);
        writer.commit().map_err(|error| ReadError::Slice(slice, error))?;
    }
    Ok(())
}

/// Takes a place into the rectangle of a camera's events.
pub(super) fn widen_extent(region: &Connection, camera: i64, at: GeoPoint) -> rusqlite::Result<Extent> {
    let sql = "INSERT INTO extents (camera, south, west, north, east) VALUES (?1, ?2, ?3, ?2, ?3)
               ON CONFLICT (camera) DO UPDATE SET
                      south = min(south, excluded.south), west = min(west, excluded.west),
                      north = max(north, excluded.north), east = max(east, excluded.east)
               RETURNING south, west, north, east";
    region.prepare_cached(sql)?.query_row(params![camera, at.latitude, at.longitude], |row| {
        Ok(Extent { south: row.get(0)?, west: row.get(1)?, north: row.get(2)?, east: row.get(3)? })
    })
}

/// WGS 84 degrees.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    south: f64,
    west: f64,
    north: f64,
    east: f64,
}

impl Extent {
    fn contains(&self, at: GeoPoint) -> bool {
        (self.south..=self.north).contains(&at.latitude) && (self.west..=self.east).contains(&at.longitude)
    }
}

fn rejected(problem: &str) -> StoreOutcome {
    StoreOutcome::Rejected(format!("event.event_id: {problem}"))
}
