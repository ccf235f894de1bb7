//! What the thread that owns the writing connections does, and group commit.
//!
//! A group is cut into runs that touch few slices. The slices that a run needs are made first; then its revisions are applied in
//! their order, each in the transaction of its slice; then the region's own file is committed (names, numbers set apart), then
//! each slice. Only when all are durable is anybody told, and the newest commit published.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use crossbeam_channel::Receiver;
use metrics::{Counter, Histogram};
use rusqlite::Connection;
use uuid::Uuid;
use vigil_base::{RegionId, SharedClock, Timestamp};

use super::apply::{Applying, SliceWriter, WriterCache, commit_slices, id_carries_begin};
use super::catalogue::{self, reservation_after};
use super::failure::ReadError;
use super::placement::{Grid, Home, existing};
use super::readers::damage_of;
use super::retire::Gone;
use super::schema::set_meta_number;
use super::slices::Slices;
use super::writer::{Changing, Request};
use crate::index::group::{Batch, MAX_GROUP_BYTES, MAX_GROUP_REVISIONS};
use crate::index::tail::{Committed, LiveTail};
use crate::index::{CommitSeq, IndexError, NewRevision, Result, StoreOutcome};

/// Most new homes in one run: bounds the files that are open for writing. An edge that comes back after a week needs as many.
const MAX_RUN_SLICES: usize = 8;
/// Slices that stay open for writing: today's, yesterday's, and two of an edge that was away.
const MAX_OPEN_SLICES: usize = 4;

/// What the writing thread starts with.
pub(super) struct Opened {
    pub(super) region: Connection,
    pub(super) path: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) index_id: Uuid,
    pub(super) slices: Arc<Slices>,
    /// The newest commit, and when it was received.
    pub(super) latest: CommitSeq,
    pub(super) latest_us: i64,
}

/// The thread's state.
pub(super) struct Serving {
    pub(super) opened: Opened,
    grid: Grid,
    pub(super) open: Vec<SliceWriter>,
    /// Counts how often a slice was taken into a run.
    uses: u64,
    cache: WriterCache,
    /// Commit numbers up to this one are set apart: the region's file says so.
    reserved: u64,
    pub(super) tail: Arc<LiveTail>,
    /// Slices that are removed, of which the region's file could not be told yet.
    pub(super) unnoted: Vec<Gone>,
    clock: SharedClock,
    commit_seconds: Histogram,
    committed: Counter,
}

impl Serving {
    pub(super) fn new(
        opened: Opened,
        (region, grid): (&RegionId, Grid),
        tail: Arc<LiveTail>,
        clock: SharedClock,
    ) -> Self {
        let label = || region.to_string();
        Self {
            reserved: opened.latest.0,
            grid,
            open: Vec::new(),
            unnoted: Vec::new(),
            uses: 0,
            cache: WriterCache::default(),
            tail,
            clock,
            commit_seconds: metrics::histogram!("vigil_index_commit_seconds", "region" => label()),
            committed: metrics::counter!("vigil_index_committed_revisions_total", "region" => label()),
            opened,
        }
    }

    /// Until the handle is gone and all that waits is done.
    pub(super) fn serve(mut self, requests: &Receiver<Request>) {
        let mut next = requests.recv().ok();
        while let Some(request) = next.take() {
            match request {
                Request::Task(task) => task(&mut self),
                Request::Commit(batch) => {
                    let (batches, following) = collect(batch, requests);
                    self.commit(batches);
                    next = following;
                }
            }
            next = next.or_else(|| requests.recv().ok());
        }
        self.close_all();
    }

    /// Commits a group and answers each of its callers. When the group fails for a reason that one of them alone may
    /// have brought, each is tried alone.
    fn commit(&mut self, group: Vec<Batch>) {
        match self.try_commit(&group) {
            Err(IndexError::Database { .. }) if group.len() > 1 => {
                for batch in group {
                    self.commit(vec![batch]);
                }
            }
            Err(error) => {
                for batch in group {
                    batch.answer(Err(error.clone()));
                }
            }
            Ok(outcomes) => {
                let mut outcomes = outcomes.into_iter();
                for batch in group {
                    let own = outcomes.by_ref().take(batch.revisions.len()).collect();
                    batch.answer(Ok(own));
                }
            }
        }
    }

    fn try_commit(&mut self, group: &[Batch]) -> Result<Vec<StoreOutcome>> {
        let started = self.clock.monotonic();
        let revisions: Vec<&NewRevision> = group.iter().flat_map(|batch| &batch.revisions).collect();
        let now = self.clock.now();
        let mut outcomes = Vec::with_capacity(revisions.len());
        let mut rest = &revisions[..];
        while !rest.is_empty() {
            let (run, following) = rest.split_at(length_of_run(self.grid, rest, now));
            outcomes.extend(self.store(run, now)?);
            rest = following;
        }
        self.commit_seconds.record(self.clock.monotonic().saturating_sub(started));
        Ok(outcomes)
    }

    /// Stores a run. A slice that turns out to be damaged is set aside, and the run begins anew without it.
    fn store(&mut self, run: &[&NewRevision], now: Timestamp) -> Result<Vec<StoreOutcome>> {
        loop {
            for revision in run.iter().filter(|revision| id_carries_begin(revision.event())) {
                self.make_home(home_of(self.grid, revision, now))?;
            }
            let error = match self.apply(run, now) {
                Ok((outcomes, commits)) => {
                    self.publish(commits);
                    self.close_surplus();
                    return Ok(outcomes);
                }
                Err(error) => error,
            };
            self.recover();
            match error {
                ReadError::Slice(slice, error) => match damage_of(&slice, &error) {
                    Some(problem) => {
                        self.open.retain(|open| open.slice.number != slice.number);
                        self.opened.slices.mark_unreadable(&slice, problem);
                    }
                    None => return Err(IndexError::sqlite(&slice.path, "store events", error)),
                },
                ReadError::Sqlite(error) => return Err(IndexError::sqlite(&self.opened.path, "store events", error)),
                ReadError::Index(error) => return Err(error),
                ReadError::SlicesChanged => {}
            }
        }
    }

    /// Makes the slice of a home where there is none.
    fn make_home(&mut self, home: Home) -> Result<()> {
        let list = self.opened.slices.list();
        if existing(home, &list).is_some() {
            return Ok(());
        }
        let Opened { region, path, folder, index_id, slices, .. } = &self.opened;
        for unreadable in &list.unreadable {
            catalogue::note_damage(region, unreadable).map_err(|e| IndexError::sqlite(path, "note a damage", e))?;
        }
        let time = self.grid.time_of_new(home, &list);
        let (slice, connection) = catalogue::create(region, path, (folder, *index_id), home.kind, time)?;
        slices.add(Arc::clone(&slice));
        self.open.push(SliceWriter::new(slice, connection));
        Ok(())
    }

    fn apply(
        &mut self,
        run: &[&NewRevision],
        now: Timestamp,
    ) -> std::result::Result<(Vec<StoreOutcome>, Vec<Committed>), ReadError> {
        let region = self.opened.region.unchecked_transaction()?;
        let mut reserved = self.reserved;
        if self.opened.latest.0 + run.len() as u64 > reserved {
            reserved = reservation_after(self.opened.latest.0);
            set_meta_number(&region, "seq_reserved", reserved)?;
        }
        let mut applying = Applying {
            region: &region,
            open: &mut self.open,
            cache: &mut self.cache,
            list: self.opened.slices.list(),
            grid: self.grid,
            now,
            latest: self.opened.latest,
            latest_us: self.opened.latest_us,
            reserved,
            committed: Vec::new(),
            unsealed: Vec::new(),
            uses: &mut self.uses,
        };
        let outcomes = run.iter().map(|revision| applying.store(revision)).collect::<std::result::Result<_, _>>()?;
        applying.write_sums()?;
        let (commits, unsealed) = (applying.committed, applying.unsealed);
        region.commit()?;
        self.reserved = reserved;
        for slice in unsealed {
            let mut state = slice.state.write();
            (state.seq_bound, state.is_sealed) = (reserved as i64, false);
        }
        commit_slices(&mut self.open)?;
        Ok((outcomes, commits))
    }

    /// After a failure: what was remembered of the undone transactions goes. Where a slice was committed after all, before
    /// another failed, the numbers of that run are not given again, and readers get from the files what is there.
    fn recover(&mut self) {
        self.cache.clear();
        let mut newest = self.opened.latest.0;
        self.open.retain_mut(|open| {
            let undone = open.undo();
            newest = newest.max(open.slice.summary().last_seq.unsigned_abs());
            if undone.is_err() {
                // Nobody knows what its file holds: none of the numbers set apart is given again.
                newest = newest.max(self.reserved);
            }
            undone.is_ok()
        });
        if newest > self.opened.latest.0 {
            self.opened.latest = CommitSeq(newest);
            self.tail.restart(CommitSeq(newest));
        }
    }

    fn publish(&mut self, commits: Vec<Committed>) {
        self.committed.increment(commits.len() as u64);
        if let Some(newest) = commits.last() {
            self.opened.latest = newest.seq;
            self.opened.latest_us = newest.receive_time.as_micros();
        }
        self.tail.publish(commits);
    }

    /// Closes the slices that were not written for the longest.
    fn close_surplus(&mut self) {
        while self.open.len() > MAX_OPEN_SLICES {
            let oldest = (0..self.open.len()).min_by_key(|index| self.open[*index].used).expect("some are open");
            let closing = self.open.swap_remove(oldest);
            self.close_slice(closing);
        }
    }

    /// Empties a slice's log into its file, and notes what it holds. Where that fails the log stays, and the catalogue says
    /// what it said: the next start reads the slice itself.
    fn close_slice(&self, closing: SliceWriter) {
        let SliceWriter { slice, connection, .. } = closing;
        let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        drop(connection);
        if let Err(error) = emptied.and_then(|()| catalogue::seal(&self.opened.region, &slice)) {
            tracing::warn!(slice = %slice.path.display(), %error, "a slice of the index was closed with its log");
        }
    }

    /// At the end: every slice is one file again, and the numbers that were set apart and not given are given back.
    fn close_all(&mut self) {
        self.opened.slices.close_idle();
        for closing in std::mem::take(&mut self.open) {
            self.close_slice(closing);
        }
        let latest = self.opened.latest.0;
        if self.reserved > latest
            && let Err(error) = set_meta_number(&self.opened.region, "seq_reserved", latest)
        {
            tracing::warn!(%error, "commit numbers that were set apart are left out");
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn change<T>(
        &mut self,
        doing: &'static str,
        change: impl FnOnce(&mut Changing<'_>) -> std::result::Result<T, ReadError>,
    ) -> Result<T> {
        let now = self.clock.now();
        let result = self.opened.region.transaction().map_err(ReadError::from).and_then(|transaction| {
            let mut changing = Changing { transaction, now };
            let value = change(&mut changing)?;
            changing.transaction.commit()?;
            Ok(value)
        });
        result.map_err(|error| error.into_index_error(&self.opened.path, doing))
    }
}

fn home_of(grid: Grid, revision: &NewRevision, now: Timestamp) -> Home {
    grid.home(revision.event().begin_time.as_micros(), now.as_micros())
}

/// How many revisions, from the first on, have few homes.
fn length_of_run(grid: Grid, revisions: &[&NewRevision], now: Timestamp) -> usize {
    let mut homes = BTreeSet::new();
    let starts_next = |revision: &&NewRevision| {
        homes.insert(grid.place_of(home_of(grid, revision, now)));
        homes.len() > MAX_RUN_SLICES
    };
    revisions.iter().position(starts_next).unwrap_or(revisions.len())
}

/// The first batch and all that wait behind it, up to the bounds of a group; and the request that ended it.
fn collect(first: Batch, requests: &Receiver<Request>) -> (Vec<Batch>, Option<Request>) {
    let (mut count, mut bytes) = (first.revisions.len(), first.len());
    let mut group = vec![first];
    while count < MAX_GROUP_REVISIONS && bytes < MAX_GROUP_BYTES {
        match requests.try_recv() {
            Ok(Request::Commit(batch)) => {
                count += batch.revisions.len();
                bytes += batch.len();
                group.push(batch);
            }
            Ok(task) => return (group, Some(task)),
            Err(_) => break,
        }
    }
    (group, None)
}

#[cfg(test)]
mod tests;
