//! The embedded engine: one SQLite file per slice of time, one writing thread, a few reading threads.
//!
//! # Constraints
//! - An acknowledged revision survives kill -9 and loss of power: WAL, synchronous = FULL, answered after the commit.
//! - Retention removes a file, and needs no free space for it.
//! - One writer, so that commit order is the order of the numbers it gives; many publishers share each sync (group
//!   commit).
//! - No question does unbounded work: searches end with a place to go on, counts with an error.
//! - A damaged slice costs its own events and no others, and answers over its time say that they lack them.
//! - One data folder belongs to one process at a time.
//!
//! # Layout
//! ```text
//! data_dir/
//!   lock                           locked (flock) for as long as the index is open
//!   reserve                        256 KiB that are kept back, so that a region can start on a full disk
//!   region.db                      all that is not an event; + -wal, -shm
//!   events-2026-01-05T00-17.db     slice 17: events that began on that day (a slice's length is configured)
//!   events-2026-01-06T00-18.db     each + -wal, -shm while it is open
//!   strays-2026-01-06T00-19.db     events received on that day whose begin is far from it, see `placement`
//!
//! region.db
//!   slices      number -> kind, time, what it held when it was closed, and what is to become of it; see `catalogue`
//!   names       kind | number -> text                            cameras, edges, classes, rules and zones as numbers
//!   extents     camera -> the rectangle in which its events lie  polygon to cameras
//!   coverage    minute | camera | report -> analysis, tally      what was watched, see `coverage`
//!   coverage_hourly  hour | camera | analysis -> tally           the same, added up
//!   analyses    provider, model, fingerprint, rate as numbers
//!   clock_steps commit_seq -> receive time                       where the region's clock was set back, see `seek`
//!   starts      each start of the index and the newest commit before it, see `starts`
//!   meta        whose it is; seq_reserved: no commit has a greater number; purged_through: what retention removed
//!   cameras, edges
//!
//! a slice
//!   events      key camera | begin_us | event_id  (clustered: one camera's events lie together, in time order)
//!               what filters need, the commit, and `row`
//!     by_time   begin_us | event_id | class | end_us           newest first over all cameras
//!     by_span   span | begin_us | event_id | class | end_us    only events longer than a minute, see below
//!     by_plate  begin_us | event_id | class | plate            only events with a plate
//!     of_plate  plate | begin_us | event_id | class            the same, plate by plate
//!     by_rule   begin_us | event_id | class | rule | zone      only events that a rule made
//!     by_commit commit_seq                                     the feed
//!   payloads    row -> the event for the wire, without receive time and thumbnail key
//!   thumbnails  row -> JPEG
//!   hourly      hour | camera | class | kind | zone -> events    counts; camera 0 stands for all of them
//!   tens        ten minutes | class | kind | zone -> events      the same over all cameras
//!   plate_keys  kind | key -> plate                              plates by their parts, and with a character left out
//!   slice       one row: whose it is, how many events, between which times and commits
//! ```
//! Slices are not attached to one connection: SQLite does not commit several files in WAL mode as one, and a question would hold
//! all of them. Each has connections of its own (`slices`), of which a bounded number is kept open.
//!
//! An event matches a search that starts at `from` when it ended after `from`, so events that began before `from` count
//! too, and some are long. The walk back in time therefore goes on for a minute before `from`; what began earlier and
//! still touches it must be longer than a minute, and those are found by `span`, their length in powers of four: for
//! each span only begins within that length before `from` are looked at, so at least a quarter of them match. Without
//! this a single parked car would make every search walk through its whole stay. A slice none of whose events lasted until
//! `from` is not opened at all.
//!
//! # Write
//! A group of revisions touches one slice as a rule, two around midnight, some more when an edge comes back after days. Slices
//! that are needed and not there are made first (row, file, folder). Then all is applied, each revision in its slice's
//! transaction; then the files are committed in this order:
//!
//! ```text
//!   region.db: new names, wider extents, numbers set apart ──▶ slice a ──▶ slice b ──▶ published ──▶ acknowledged
//! ```
//! Commit numbers are set apart in the thousands before any of them is given, so that the greatest number ever given is known
//! without any slice: they are never given twice, whatever was removed. A clean end gives back what was not used.
//!
//! # Read
//! Searches merge one walk per camera and slice, or walk `by_time`, `by_plate` or `by_rule`, whichever looks at less (`walk`). Where
//! plates are asked for, their keys say which ones a slice has; up to 64 are walked one by one. Slices
//! are opened from the newest back, until the page is full (`merge`). An event by its id is in the slice of the time that the id
//! carries. The feed merges slices by commit number, up to the newest that was published. Counts add up each slice's own.
//!
//! # Delete
//! Retention removes a slice once all of it is too old (`retire`): an event stays for up to a slice's length after its time.
//! Questions that have the file open finish with it.
//!
//! # Crash cases
//! - Before any file is synced: nothing was acknowledged; the edge sends again.
//! - After region.db, before a slice: a name or a range of numbers that nothing uses.
//! - Between two slices: nothing was acknowledged; the edge sends all again, and what is in the first slice is a duplicate. Its
//!   numbers are among those set apart, and the next start begins after them.
//! - After the commits, before the acknowledgement: the edge sends again and every revision is a duplicate.
//! - While a slice is made: its row says that it was never written; the next start removes both.
//! - While a slice is removed: its row says so, and the next start removes what is left; where the full disk did not take the
//!   row's change, the start finds a slice without its file, tells readers of the feed that they miss something, and the next run
//!   of retention forgets it.
//! - During a migration from the one file of earlier versions: see `unsliced`.
//! - Disk full, read-only: the transactions are undone, publishers get an error and keep their batches.
//! - region.db damaged: recognised when it is opened or read, reported with its name; never repaired silently.
//! - A slice damaged or lost: set aside when it is opened or read; all else goes on (`SliceList::unreadable`), and new events of
//!   its time go to a new slice.

mod apply;
mod budget;
mod cameras;
mod catalogue;
mod conditions;
mod config;
mod counts;
mod coverage;
mod edges;
mod failure;
mod feed;
mod folder;
mod lookup;
mod merge;
mod names;
mod placement;
mod plates;
mod readers;
mod reindex;
mod retire;
mod row;
mod scan;
mod schema;
mod search;
mod seek;
mod serving;
mod slices;
mod starts;
mod status;
mod store;
#[cfg(test)]
mod testing;
mod unsliced;
mod walk;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use tonic::async_trait;
use vigil_base::coverage::CoverageReport;
use vigil_base::{CameraId, EdgeId, EventId, SharedClock, Timestamp};
use vigil_proto::convert::{CoverageQuestion, CoverageSums, Filter};
use vigil_proto::v1;

pub use self::config::SqliteConfig;
use self::folder::DataFolder;
use self::placement::Grid;
pub(crate) use self::placement::SLICES_BACK;
use self::readers::ReaderPool;
pub use self::reindex::{Reindexed, ReindexedSlice};
pub use self::scan::scan;
use self::serving::Opened;
use self::slices::Slices;
pub use self::unsliced::MigratedSlice;
use self::writer::Writer;
use super::tail::LiveTail;
use super::{
    CameraEntry, CameraRegistry, CommitFeed, CommitSeq, CountQuery, Counts, CoverageLedger, EdgeRecord, EdgeRegistry,
    Etag, EventCounts, EventLookup, EventSearch, EventWriter, FeedPage, Index, IndexError, IndexStats, IndexStatus,
    Lineage, NewRevision, PutCamera, Result, Retention, SearchPage, SearchQuery, Sources, StoreOutcome, UnreadablePart,
};

/// The embedded engine.
#[derive(Debug)]
pub struct SqliteIndex {
    // Fields are dropped in this order: the writer, which may write, closes the files last (and empties their logs), and
    // the folder's lock goes after it.
    readers: ReaderPool,
    writer: Writer,
    tail: Arc<LiveTail>,
    slices: Arc<Slices>,
    index_id: uuid::Uuid,
    path: PathBuf,
    data_dir: PathBuf,
    folder: Mutex<Option<DataFolder>>,
}

impl SqliteIndex {
    /// Opens the index; makes it where there is none. Blocks for as long as a migration takes.
    ///
    /// # Errors
    /// [`IndexError::InUse`], [`IndexError::Io`], [`IndexError::Foreign`], [`IndexError::Corrupt`],
    /// [`IndexError::ReadOnly`]. A damaged slice is none: see [`IndexStatus::unreadable`].
    pub fn open(config: &SqliteConfig, clock: SharedClock) -> Result<Self> {
        let folder = DataFolder::open(&config.data_dir)?;
        unsliced::migrate(&folder, config, &mut |slice| {
            tracing::info!(slice = slice.name, events = slice.so_far, of = slice.of, "events taken over from index.db");
            Ok(())
        })?;
        let path = folder.region();
        let opened = schema::open_region(&path, &config.region);
        // A full disk shows by many names when the files beside a database cannot be made.
        let wants_space = matches!(opened, Err(IndexError::DiskFull { .. } | IndexError::Database { .. }));
        let opened =
            if wants_space && folder.give_reserve() { schema::open_region(&path, &config.region) } else { opened };
        let (region, index_id) = opened?;
        folder.sync()?;
        let slices = Arc::new(catalogue::load(&region, &path, folder.path(), index_id)?);
        let meta = |name| schema::meta_number(&region, name).map_err(|e| IndexError::sqlite(&path, "open", e));
        let newest = slices.list().readable().map(|slice| slice.summary()).max_by_key(|summary| summary.last_seq);
        // A folder that was put together from backups may hold slices that are newer than the region's file.
        let latest = CommitSeq(newest.map_or(0, |newest| newest.last_seq.unsigned_abs()).max(meta("seq_reserved")?));
        let lineage = starts::begin(&region, latest).map_err(|e| IndexError::sqlite(&path, "open", e))?;
        let tail = Arc::new(LiveTail::new(latest, CommitSeq(meta("purged_through")?), lineage));
        let readers = ReaderPool::start(&path, Arc::clone(&slices), config.reader_threads)?;
        let opened = Opened {
            region,
            path: path.clone(),
            folder: folder.path().to_owned(),
            index_id,
            slices: Arc::clone(&slices),
            latest,
            latest_us: newest.map_or(i64::MIN, |newest| newest.latest_us),
        };
        let grid = Grid::new(config.slice);
        let writer = Writer::start(opened, (&config.region, grid), Arc::clone(&tail), clock)?;
        folder::keep_reserve(folder.path());
        let data_dir = folder.path().to_owned();
        Ok(Self { readers, writer, tail, slices, index_id, path, data_dir, folder: Mutex::new(Some(folder)) })
    }

    /// Takes an index of earlier versions over into slices, and does nothing else; tells of each slice. False: there was none.
    ///
    /// # Errors
    /// As [`Self::open`], and those of `tell`. What was done stays done.
    pub fn migrate(config: &SqliteConfig, tell: &mut dyn FnMut(MigratedSlice) -> Result<()>) -> Result<bool> {
        unsliced::migrate(&DataFolder::open(&config.data_dir)?, config, tell)
    }

    /// Builds anew what is derived from events, and takes slices back that were damaged or lost from the list; tells of each.
    ///
    /// # Errors
    /// As [`Self::open`], and those of `tell`. A slice that cannot be read is none: it is told.
    pub fn reindex(config: &SqliteConfig, tell: &mut dyn FnMut(ReindexedSlice) -> Result<()>) -> Result<()> {
        let folder = DataFolder::open(&config.data_dir)?;
        if folder.unsliced().exists() {
            let problem = "it is an index of an earlier version; run vigil region migrate first".to_owned();
            return Err(IndexError::Foreign { path: folder.unsliced(), problem });
        }
        reindex::reindex(&folder, config, tell)
    }

    /// The region's own file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files of the slices that can be read.
    pub fn slice_files(&self) -> Vec<PathBuf> {
        self.slices.list().readable().map(|slice| slice.path.clone()).collect()
    }
}

#[async_trait]
impl EventWriter for SqliteIndex {
    async fn commit(&self, revisions: Vec<NewRevision>) -> Result<Vec<StoreOutcome>> {
        self.writer.commit(revisions).await
    }
}

#[async_trait]
impl EventSearch for SqliteIndex {
    async fn search(&self, query: SearchQuery) -> Result<SearchPage> {
        self.readers.run("search", move |snapshot| search::search(snapshot, &query)).await
    }
}

#[async_trait]
impl EventLookup for SqliteIndex {
    async fn event(&self, id: EventId) -> Result<Option<v1::Event>> {
        self.readers.run("read an event", move |snapshot| lookup::event(snapshot, id)).await
    }

    async fn thumbnail(&self, id: EventId) -> Result<Option<Bytes>> {
        self.readers.run("read a thumbnail", move |snapshot| lookup::thumbnail(snapshot, id)).await
    }
}

#[async_trait]
impl EventCounts for SqliteIndex {
    async fn count(&self, query: CountQuery) -> Result<Counts> {
        self.readers.run("count events", move |snapshot| counts::count(snapshot, &query)).await
    }
}

#[async_trait]
impl CommitFeed for SqliteIndex {
    fn latest(&self) -> watch::Receiver<CommitSeq> {
        self.tail.latest()
    }

    fn lineage(&self) -> Arc<Lineage> {
        self.tail.lineage()
    }

    async fn seek(&self, since: Timestamp) -> Result<CommitSeq> {
        let newest = *self.tail.latest().borrow();
        self.readers.run("find a moment in the feed", move |snapshot| seek::seek(snapshot, newest, since)).await
    }

    async fn read(&self, after: CommitSeq, filter: Arc<Filter>, max_events: usize) -> Result<FeedPage> {
        if let Some(page) = self.tail.read(after, &filter, max_events) {
            return Ok(page);
        }
        let published = *self.tail.latest().borrow();
        let read =
            move |snapshot: &readers::Snapshot<'_>| feed::read(snapshot, (after, published), &filter, max_events);
        let page = self.readers.run("read the feed", read).await?;
        // A slice may have been removed while it was read.
        Ok(FeedPage { purged_through: page.purged_through.max(self.tail.purged_through()), ..page })
    }
}

#[async_trait]
impl Retention for SqliteIndex {
    async fn purge(&self, older_than: Timestamp) -> Result<u64> {
        self.writer.with_state(move |state| state.purge(older_than)).await
    }
}

#[async_trait]
impl CoverageLedger for SqliteIndex {
    async fn store_coverage(&self, reports: Vec<CoverageReport>) -> Result<()> {
        self.writer.run("store coverage", move |tx| coverage::store(tx, &reports)).await
    }

    async fn coverage(&self, question: CoverageQuestion) -> Result<CoverageSums> {
        self.readers.run("read coverage", move |snapshot| coverage::sums(snapshot, &question)).await
    }

    async fn purge_coverage(&self, older_than: Timestamp) -> Result<usize> {
        self.writer.run("remove old coverage", move |tx| coverage::purge(tx, older_than)).await
    }
}

#[async_trait]
impl IndexStatus for SqliteIndex {
    async fn stats(&self) -> Result<IndexStats> {
        let (bytes, disk_free_bytes) = folder::disk(&self.data_dir);
        Ok(IndexStats { bytes, disk_free_bytes, ..status::stats(&self.slices.list()) })
    }

    async fn sources(&self) -> Result<Sources> {
        self.readers.run("list the cameras with events", |snapshot| Ok(status::sources(snapshot.region())?)).await
    }

    fn unreadable(&self) -> Vec<UnreadablePart> {
        self.slices.unreadable()
    }
}

#[async_trait]
impl CameraRegistry for SqliteIndex {
    async fn cameras(&self, after: Option<CameraId>, max_cameras: usize) -> Result<Vec<CameraEntry>> {
        self.readers.run("list cameras", move |snapshot| cameras::list(snapshot, after.as_ref(), max_cameras)).await
    }

    async fn camera(&self, id: CameraId) -> Result<Option<CameraEntry>> {
        self.readers.run("read a camera", move |snapshot| Ok(cameras::get(snapshot.region(), &id)?)).await
    }

    async fn put_camera(&self, entry: CameraEntry, expected: Option<Etag>) -> Result<PutCamera> {
        self.writer.run("put a camera", move |tx| cameras::put(tx, &entry, expected)).await
    }

    async fn delete_camera(&self, id: CameraId) -> Result<bool> {
        self.writer.run("delete a camera", move |tx| cameras::delete(tx, &id)).await
    }

    async fn announce_cameras(&self, entries: Vec<CameraEntry>) -> Result<()> {
        self.writer.run("announce cameras", move |tx| cameras::announce(tx, &entries)).await
    }
}

#[async_trait]
impl EdgeRegistry for SqliteIndex {
    async fn edges(&self) -> Result<Vec<EdgeRecord>> {
        self.readers.run("list edges", |snapshot| Ok(edges::list(snapshot.region())?)).await
    }

    async fn save_edge(&self, edge: EdgeRecord) -> Result<()> {
        self.writer.run("remember an edge", move |tx| edges::save(tx, &edge)).await
    }

    async fn forget_edge(&self, id: EdgeId) -> Result<()> {
        self.writer.run("forget an edge", move |tx| edges::forget(tx, &id)).await
    }
}

impl Index for SqliteIndex {
    fn index_id(&self) -> uuid::Uuid {
        self.index_id
    }

    /// The writer, which may write, closes the files last and so empties their logs; the folder's lock goes after it.
    fn close(&self) {
        self.readers.close();
        self.writer.close();
        self.folder.lock().take();
    }
}

impl Drop for SqliteIndex {
    fn drop(&mut self) {
        self.close();
    }
}
