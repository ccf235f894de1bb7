//! The scale-out engine: PostgreSQL 15 or later, one schema for each region.
//!
//! # Constraints
//! - An acknowledged revision is committed with `synchronous_commit = on`: it survives the loss of power, and with a
//!   synchronous standby the loss of the primary.
//! - One writer, kept by a lock in the server: commit order is the order of the numbers it gives.
//! - No question does unbounded work: searches end with a place to go on, counts with an error, each statement with a time
//!   limit; a question whose caller went away is stopped in the server.
//! - The server may go and come back at any time. The region keeps running and says that it cannot be reached; edges keep their
//!   events.
//!
//! # Layout
//! ```text
//! schema vigil_<region>
//!   events       key camera | begin_time | event_id, one partition a UTC day, `events_other` for absurd clocks (`days`)
//!     by_time    begin_time | event_id              newest first over all cameras
//!     by_span    span | begin_time | event_id | end_time, and what is counted; only events longer than a minute, see below
//!     by_plate, by_rule                             only events with a plate, only those that a rule made
//!     of_plate   plate | begin_time | event_id      the same, plate by plate
//!     by_commit  commit_seq                         the feed
//!   hourly       camera | hour | class | kind | zone -> events, cut by the same days; camera 0 stands for all of them, and -1 by
//!                ten minutes
//!   plate_keys   key kind | key | plate | day, cut by the same days: plates by their parts, and with a character left out
//!   names        kind | number -> text              cameras, edges, classes, rules and zones as numbers
//!   extents      camera -> the rectangle in which its events lie
//!   coverage, coverage_hourly, analyses             what was watched
//!   clock_steps  where the region's clock was set back (`feed`)
//!   starts       each start of the index and the newest commit before it (`starts`)
//!   cameras, edges, index_state, schema_version
//! ```
//! An event matches a search that starts at `from` when it ended after `from`, so events that began before `from` count
//! too, and some are long. The walk back in time therefore goes on for a minute before `from`; what began earlier and
//! still touches it must be longer than a minute, and those are found by `span`, their length in powers of four.
//!
//! # Write, read, delete
//! The writer stores all revisions that wait, and the counts they change, in one transaction (`apply`); while the server works on
//! one, what becomes of those behind it is found and decided over a second connection (`serving`, `decide`). Questions are answered
//! over a pool of connections, each within one snapshot (`readers`); searches merge one walk per camera, or walk one index over
//! all of them (`walk`). Retention drops whole days (`purge`).
//!
//! Replicas read the same tables, or a standby's copy of them, beside the region that writes (`replica`).
//!
//! # Crash cases
//! - The region dies before the commit: nothing was acknowledged; the edge sends again. After it, before the acknowledgement:
//!   the edge sends again and every revision is a duplicate.
//! - The server dies in a commit: whether it was made is read when the server is back; the edge sends again either way.
//! - A second process opens the schema: it is refused while the first holds the lock. A process that lost its connection lost
//!   the lock with it, and cannot write.
//! - During a migration: it is one transaction; the next start does it again.
//!
//! # Libraries
//! tokio-postgres, since ingest is a binary COPY and searches are pipelined, both of which it has and sqlx has not; deadpool
//! for the pool; rustls for TLS. Connections live on a small runtime of the index's own, so that opening and closing it are
//! the same for all engines.

mod apply;
mod cameras;
mod citus;
mod commit;
mod conditions;
mod config;
mod connect;
mod copy;
mod counts;
mod coverage;
mod days;
mod decide;
mod edges;
mod extents;
mod failure;
mod feed;
mod group;
mod hourly;
mod lanes;
mod lookup;
mod names;
mod plates;
mod purge;
mod readers;
mod replica;
mod rows;
mod runtime;
mod scan;
mod schema;
mod search;
mod secured;
mod serving;
mod session;
mod starts;
mod status;
mod values;
mod walk;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::async_trait;
use vigil_base::coverage::CoverageReport;
use vigil_base::{CameraId, EdgeId, EventId, SharedClock, Timestamp};
use vigil_proto::convert::{CoverageQuestion, CoverageSums, Filter};
use vigil_proto::v1;

pub use self::config::{
    DEFAULT_CONNECTIONS, DEFAULT_STATEMENT_TIMEOUT, PostgresConfig, default_schema, is_schema_name,
};
pub use self::scan::scan;

use self::connect::{Connection, Server};
use self::days::Days;
use self::names::Names;
use self::readers::Readers;
use self::runtime::OwnRuntime;
use self::schema::Upgrade;
use self::writer::{Started, Writer};
use super::tail::LiveTail;
use super::{
    CameraEntry, CameraRegistry, CommitFeed, CommitSeq, CountQuery, Counts, CoverageLedger, EdgeRecord, EdgeRegistry,
    Etag, EventCounts, EventLookup, EventSearch, EventWriter, FeedPage, Index, IndexError, IndexStats, IndexStatus,
    Lineage, NewRevision, PutCamera, Result, Retention, SearchPage, SearchQuery, Sources, StoreOutcome,
};

/// How long closing waits for what was begun.
const CLOSE_PATIENCE: Duration = Duration::from_secs(30);

/// What writer and readers share.
#[derive(Debug)]
struct Shared {
    server: Server,
    days: Days,
    names: Names,
    /// Whether the database may spread its tables over other servers (Citus).
    is_spread: AtomicBool,
    /// Why a replica's questions are not answered now.
    unfit: Mutex<Option<IndexError>>,
}

impl Shared {
    fn new(config: &PostgresConfig) -> Result<Arc<Self>> {
        let server = Server::new(config)?;
        let (days, names) = (Days::default(), Names::default());
        Ok(Arc::new(Self { server, days, names, is_spread: AtomicBool::default(), unfit: Mutex::default() }))
    }

    /// Learns how the tables lie.
    async fn load(&self, connection: &Connection) -> std::result::Result<(), tokio_postgres::Error> {
        self.is_spread.store(citus::is_used(connection).await?, Ordering::Relaxed);
        self.days.load(connection).await
    }

    fn is_spread(&self) -> bool {
        self.is_spread.load(Ordering::Relaxed)
    }
}

/// Brings the schema to this program's version; makes it where there is none. Blocks for as long as that takes.
///
/// # Errors
/// As [`PostgresIndex::open`]; [`IndexError::Taken`] while the region runs.
pub fn migrate(config: &PostgresConfig, clock: &SharedClock) -> Result<()> {
    let shared = Shared::new(config)?;
    let runtime = OwnRuntime::start()?;
    let (config, now) = (config.clone(), clock.now());
    let upgrade = Upgrade { migrate: true, citus: config.citus };
    runtime.wait_for(async move { session::begin_writing(&config, &shared, upgrade, now).await.map(drop) })
}

/// The engine.
#[derive(Debug)]
pub struct PostgresIndex {
    readers: Readers,
    writer: Writer,
    shared: Arc<Shared>,
    tail: Arc<LiveTail>,
    index_id: uuid::Uuid,
    /// Says when the writer has ended.
    ended: Mutex<Option<Receiver<()>>>,
    /// Ends what follows another process's writer, in a replica.
    following: Option<CancellationToken>,
    /// Dropped last: connections live on it.
    _runtime: OwnRuntime,
}

impl PostgresIndex {
    /// Opens the index; makes it where there is none and the configuration says so. Blocks for as long as a migration takes.
    ///
    /// # Errors
    /// [`IndexError::Unreachable`], [`IndexError::Refused`], [`IndexError::Taken`], [`IndexError::Unfit`],
    /// [`IndexError::ReadOnly`].
    pub fn open(config: &PostgresConfig, clock: SharedClock) -> Result<Self> {
        let shared = Shared::new(config)?;
        let runtime = OwnRuntime::start()?;
        let starting = {
            let (config, shared) = (config.clone(), Arc::clone(&shared));
            async move { writer::start(&config, shared, clock).await }
        };
        let Started { writer, opened, tail, serving } = runtime.wait_for(starting)?;
        let (end, ended) = sync_channel(1);
        runtime.handle().spawn(async move {
            serving.await;
            // Nobody may wait for it.
            let _ = end.send(());
        });
        let readers = Readers::new(Arc::clone(&shared), config.connections, runtime.handle().clone());
        let ended = Mutex::new(Some(ended));
        let index_id = opened.index_id;
        Ok(Self { readers, writer, shared, tail, index_id, ended, following: None, _runtime: runtime })
    }
}

#[async_trait]
impl EventWriter for PostgresIndex {
    async fn commit(&self, revisions: Vec<NewRevision>) -> Result<Vec<StoreOutcome>> {
        self.writer.commit(revisions).await
    }
}

#[async_trait]
impl EventSearch for PostgresIndex {
    async fn search(&self, query: SearchQuery) -> Result<SearchPage> {
        self.readers.ask("search", |snapshot| search::search(snapshot, query)).await
    }
}

#[async_trait]
impl EventLookup for PostgresIndex {
    async fn event(&self, id: EventId) -> Result<Option<v1::Event>> {
        self.readers.ask("read an event", |snapshot| lookup::event(snapshot, id)).await
    }

    async fn thumbnail(&self, id: EventId) -> Result<Option<Bytes>> {
        self.readers.ask("read a thumbnail", |snapshot| lookup::thumbnail(snapshot, id)).await
    }
}

#[async_trait]
impl EventCounts for PostgresIndex {
    async fn count(&self, query: CountQuery) -> Result<Counts> {
        self.readers.ask("count events", |snapshot| counts::count(snapshot, query)).await
    }
}

#[async_trait]
impl CommitFeed for PostgresIndex {
    fn latest(&self) -> watch::Receiver<CommitSeq> {
        self.tail.latest()
    }

    fn lineage(&self) -> Arc<Lineage> {
        self.tail.lineage()
    }

    async fn seek(&self, since: Timestamp) -> Result<CommitSeq> {
        self.readers.ask("find a moment in the feed", |snapshot| feed::seek(snapshot, since)).await
    }

    async fn read(&self, after: CommitSeq, filter: Arc<Filter>, max_events: usize) -> Result<FeedPage> {
        if let Some(page) = self.tail.read(after, &filter, max_events) {
            return Ok(page);
        }
        self.readers.ask("read the feed", |snapshot| feed::read(snapshot, after, filter, max_events)).await
    }
}

#[async_trait]
impl Retention for PostgresIndex {
    async fn purge(&self, older_than: Timestamp) -> Result<u64> {
        let purged = self.writer.run("remove old events", move |changing| purge::purge(changing, older_than)).await?;
        self.shared.days.dropped(&purged.days);
        self.tail.purged(purged.through);
        Ok(purged.events)
    }
}

#[async_trait]
impl CoverageLedger for PostgresIndex {
    async fn store_coverage(&self, reports: Vec<CoverageReport>) -> Result<()> {
        self.writer.run("store coverage", move |changing| coverage::store(changing, reports)).await
    }

    async fn coverage(&self, question: CoverageQuestion) -> Result<CoverageSums> {
        self.readers.ask("read coverage", |snapshot| coverage::sums(snapshot, question)).await
    }

    async fn purge_coverage(&self, older_than: Timestamp) -> Result<usize> {
        self.writer.run("remove old coverage", move |changing| coverage::purge(changing, older_than)).await
    }
}

#[async_trait]
impl IndexStatus for PostgresIndex {
    async fn stats(&self) -> Result<IndexStats> {
        self.readers.ask("read figures", status::stats).await
    }

    async fn sources(&self) -> Result<Sources> {
        self.readers.ask("list the cameras with events", status::sources).await
    }
}

#[async_trait]
impl CameraRegistry for PostgresIndex {
    async fn cameras(&self, after: Option<CameraId>, max_cameras: usize) -> Result<Vec<CameraEntry>> {
        self.readers.ask("list cameras", |snapshot| cameras::list(snapshot, after, max_cameras)).await
    }

    async fn camera(&self, id: CameraId) -> Result<Option<CameraEntry>> {
        let get = |snapshot: readers::Snapshot| async move { cameras::get(&snapshot.connection, &id).await };
        self.readers.ask("read a camera", get).await
    }

    async fn put_camera(&self, entry: CameraEntry, expected: Option<Etag>) -> Result<PutCamera> {
        self.writer.run("put a camera", move |changing| cameras::put(changing, entry, expected)).await
    }

    async fn delete_camera(&self, id: CameraId) -> Result<bool> {
        self.writer.run("delete a camera", move |changing| cameras::delete(changing, id)).await
    }

    async fn announce_cameras(&self, entries: Vec<CameraEntry>) -> Result<()> {
        self.writer.run("announce cameras", move |changing| cameras::announce(changing, entries)).await
    }
}

#[async_trait]
impl EdgeRegistry for PostgresIndex {
    async fn edges(&self) -> Result<Vec<EdgeRecord>> {
        self.readers.ask("list edges", edges::list).await
    }

    async fn save_edge(&self, edge: EdgeRecord) -> Result<()> {
        self.writer.run("remember an edge", move |changing| edges::save(changing, edge)).await
    }

    async fn forget_edge(&self, id: EdgeId) -> Result<()> {
        self.writer.run("forget an edge", move |changing| edges::forget(changing, id)).await
    }
}

impl Index for PostgresIndex {
    fn index_id(&self) -> uuid::Uuid {
        self.index_id
    }

    fn close(&self) {
        self.readers.close();
        self.writer.close();
        if let Some(following) = &self.following {
            following.cancel();
        }
        if let Some(ended) = self.ended.lock().take()
            && ended.recv_timeout(CLOSE_PATIENCE).is_err()
        {
            tracing::error!("the index's writer did not end in time; its server gives the lock back when it notices");
        }
    }
}

impl Drop for PostgresIndex {
    fn drop(&mut self) {
        self.close();
    }
}
