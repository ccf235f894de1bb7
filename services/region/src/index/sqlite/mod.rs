//! The embedded engine: one SQLite file, one writing thread, a few reading threads.
//!
//! # Constraints
//! - An acknowledged revision survives kill -9 and loss of power: WAL, synchronous = FULL, answered after the commit.
//! - One writer, so that commit order is the order of the numbers it gives; many publishers share each sync (group
//!   commit).
//! - No question does unbounded work: searches end with a place to go on, counts with an error.
//! - One data folder belongs to one process at a time.
//!
//! # Layout
//! ```text
//! data_dir/
//!   lock                 locked (flock) for as long as the index is open
//!   index.db             + -wal, -shm
//!
//! events      key camera | begin_us | event_id  (clustered: one camera's events lie together, in time order)
//!             what filters need, the commit, and `row`
//!   by_time     begin_us | event_id | class                    newest first over all cameras
//!   by_span     span | begin_us | event_id | class             only events longer than a minute, see below
//!   by_plate    begin_us | event_id | class | plate            only events with a plate
//!   by_rule     begin_us | event_id | class | rule | zone      only events that a rule made
//!   by_commit   commit_seq                                     the feed
//! payloads    row -> the event for the wire, without receive time and thumbnail key
//! thumbnails  row -> JPEG
//! hourly      hour | camera | class | kind -> events           counts; camera 0 stands for all of them
//! extents     camera -> the rectangle in which its events lie  polygon to cameras
//! coverage    minute | camera | report -> analysis, tally      what was watched, see `coverage`
//! coverage_hourly  hour | camera | analysis -> tally           the same, added up
//! analyses    provider, model, fingerprint, rate as numbers
//! names       kind | number -> text                            cameras, edges, classes, rules and zones as numbers
//! clock_steps commit_seq -> receive time                       where the region's clock was set back, see `seek`
//! cameras, edges, meta
//! ```
//! An event matches a search that starts at `from` when it ended after `from`, so events that began before `from` count
//! too, and some are long. The walk back in time therefore goes on for a minute before `from`; what began earlier and
//! still touches it must be longer than a minute, and those are found by `span`, their length in powers of four: for
//! each span only begins within that length before `from` are looked at, so at least a quarter of them match. Without
//! this a single parked car would make every search walk through its whole stay.
//!
//! # Write, read, delete
//! The writer applies all revisions that wait, and the counts they change, in one transaction. A later revision
//! replaces the row and takes a new commit number. Searches merge one walk per camera, or walk `by_time`,
//! `by_plate` or `by_rule`, whichever looks at less (`walk`); every read sees one snapshot. Retention deletes in small
//! transactions between the others.
//!
//! # Crash cases
//! - Before the commit is synced: nothing was acknowledged; the edge sends again.
//! - After the commit, before the acknowledgement: the edge sends again and every revision is a duplicate.
//! - During retention: some steps are done, the next run does the rest; events and counts change together.
//! - During a migration: it is one transaction; the next start does it again.
//! - Disk full, read-only: the transaction is undone, publishers get an error and keep their batches.
//! - Damaged: recognised when the file is opened or read, reported with its name; never repaired silently.

mod apply;
mod budget;
mod cameras;
mod conditions;
mod counts;
mod coverage;
mod edges;
mod feed;
mod folder;
mod lookup;
mod names;
mod purge;
mod readers;
mod row;
mod schema;
mod search;
mod seek;
mod status;
#[cfg(test)]
mod testing;
mod walk;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use tonic::async_trait;
use vigil_base::coverage::CoverageReport;
use vigil_base::{CameraId, EdgeId, EventId, RegionId, SharedClock, Timestamp};
use vigil_proto::convert::{CoverageQuestion, CoverageSums, Filter};
use vigil_proto::v1;

use self::folder::DataFolder;
use self::readers::ReaderPool;
use self::writer::Writer;
use super::tail::LiveTail;
use super::{
    CameraEntry, CameraRegistry, CommitFeed, CommitSeq, CountQuery, Counts, CoverageLedger, EdgeRecord, EdgeRegistry,
    Etag, EventCounts, EventLookup, EventSearch, EventWriter, FeedPage, Index, IndexError, IndexStats, IndexStatus,
    NewRevision, PutCamera, Result, Retention, SearchPage, SearchQuery, StoreOutcome,
};

/// Where the index lies and how it is used.
#[derive(Debug, Clone)]
pub struct SqliteConfig {
    /// Its folder; made when it is not there.
    pub data_dir: PathBuf,
    /// The region whose events it holds; an index of another region is refused.
    pub region: RegionId,
    /// Threads that answer questions.
    pub reader_threads: usize,
}

/// The embedded engine.
#[derive(Debug)]
pub struct SqliteIndex {
    // Fields are dropped in this order: the writer, which may write, closes the file last (and empties its log), and
    // the folder's lock goes after it.
    readers: ReaderPool,
    writer: Writer,
    tail: Arc<LiveTail>,
    index_id: uuid::Uuid,
    path: PathBuf,
    folder: Mutex<Option<DataFolder>>,
}

impl SqliteIndex {
    /// Opens the index; makes it where there is none. Blocks for as long as a migration takes.
    ///
    /// # Errors
    /// [`IndexError::InUse`], [`IndexError::Io`], [`IndexError::Foreign`], [`IndexError::Corrupt`],
    /// [`IndexError::ReadOnly`].
    pub fn open(config: &SqliteConfig, clock: SharedClock) -> Result<Self> {
        let folder = DataFolder::open(&config.data_dir)?;
        let path = folder.database();
        let (connection, opened) = schema::open_writer(&path, &config.region)?;
        folder.sync()?;
        let tail = Arc::new(LiveTail::new(opened.latest, opened.purged_through));
        let readers = ReaderPool::start(&path, config.reader_threads)?;
        let writer = Writer::start(config, &path, (connection, opened.latest), Arc::clone(&tail), clock)?;
        Ok(Self { readers, writer, tail, index_id: opened.index_id, path, folder: Mutex::new(Some(folder)) })
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
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

    async fn seek(&self, since: Timestamp) -> Result<CommitSeq> {
        self.readers.run("find a moment in the feed", move |snapshot| seek::seek(snapshot, since)).await
    }

    async fn read(&self, after: CommitSeq, filter: Arc<Filter>, max_events: usize) -> Result<FeedPage> {
        if let Some(page) = self.tail.read(after, &filter, max_events) {
            return Ok(page);
        }
        self.readers.run("read the feed", move |snapshot| feed::read(snapshot, after, &filter, max_events)).await
    }
}

#[async_trait]
impl Retention for SqliteIndex {
    async fn purge(&self, older_than: Timestamp) -> Result<u64> {
        let purged = self.writer.run("remove old events", move |tx| purge::purge(tx, older_than)).await?;
        self.tail.purged(purged.through);
        Ok(purged.events)
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
        let mut stats = self.readers.run("read figures", status::stats).await?;
        (stats.bytes, stats.disk_free_bytes) = status::disk(&self.path);
        Ok(stats)
    }
}

#[async_trait]
impl CameraRegistry for SqliteIndex {
    async fn cameras(&self, after: Option<CameraId>, max_cameras: usize) -> Result<Vec<CameraEntry>> {
        self.readers.run("list cameras", move |snapshot| cameras::list(snapshot, after.as_ref(), max_cameras)).await
    }

    async fn camera(&self, id: CameraId) -> Result<Option<CameraEntry>> {
        self.readers.run("read a camera", move |snapshot| Ok(cameras::get(snapshot.connection(), &id)?)).await
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
        self.readers.run("list edges", |snapshot| Ok(edges::list(snapshot.connection())?)).await
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

    /// The writer, which may write, closes the file last and so empties its log; the folder's lock goes after it.
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

/// A question's own failures beside SQLite's.
#[derive(Debug)]
enum ReadError {
    Sqlite(rusqlite::Error),
    Index(IndexError),
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<IndexError> for ReadError {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}
