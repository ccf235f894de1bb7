//! A region's real index, with the time that its disk takes, and with the moments between which a region can be killed.
//!
//! The engine's threads do the work while the simulation waits, so it costs no simulated time; what a disk would have taken is drawn
//! from the seed and spent before and after. In between lie the crashes that matter: what came in and is not committed, and what is
//! committed and not acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::SmallRng;
use tokio::sync::watch;
use tonic::async_trait;
use vigil_base::coverage::CoverageReport;
use vigil_base::{CameraId, EdgeId, EventId, Timestamp};
use vigil_proto::convert::{CoverageQuestion, CoverageSums, Filter};
use vigil_proto::v1;
use vigil_region::index::{
    CameraEntry, CameraRegistry, CommitFeed, CommitSeq, CountQuery, Counts, CoverageLedger, EdgeRecord, EdgeRegistry,
    Etag, EventCounts, EventLookup, EventSearch, EventWriter, FeedPage, Index, IndexError, IndexStats, IndexStatus,
    Lineage, NewRevision, PutCamera, Result, Retention, SearchPage, SearchQuery, Sources, StoreOutcome, UnreadablePart,
};
use vigil_serve::Threads;

use crate::truth::Truth;

/// Longest commit of a disk that is busy, before and after the moment at which it is durable.
const COMMIT_MS: (u64, u64) = (40, 20);
/// Longest answer to a question.
const READ_MS: u64 = 4;

/// Where in a commit a region is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The batch is there, and nothing of it is stored.
    BeforeCommit,
    /// It is stored, and nobody was told.
    AfterCommit,
}

/// What the disk of one region does.
#[derive(Debug)]
pub(crate) struct Fate {
    rng: Mutex<SmallRng>,
    kill_at: Mutex<Option<Moment>>,
    is_killed: AtomicBool,
    is_full: AtomicBool,
}

impl Fate {
    pub(crate) fn new(rng: SmallRng) -> Self {
        let (is_killed, is_full) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { rng: Mutex::new(rng), kill_at: Mutex::new(None), is_killed, is_full }
    }

    /// The next commit is the region's last.
    pub(crate) fn kill_at(&self, moment: Moment) {
        *self.kill_at.lock() = Some(moment);
    }

    /// No commit finds room any more, or all do again.
    pub(crate) fn fill(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Relaxed);
    }

    /// It is well, and not killed any more.
    pub(crate) fn spare(&self) {
        *self.kill_at.lock() = None;
        self.fill(false);
    }

    /// Whether it has come to where it is to be killed; once.
    pub(crate) fn take_killed(&self) -> bool {
        self.is_killed.swap(false, Ordering::Relaxed)
    }

    async fn spend(&self, most_ms: u64) {
        let took = self.rng.lock().random_range(0..=most_ms);
        tokio::time::sleep(Duration::from_millis(took)).await;
    }

    /// Goes on, unless the region is to be killed at this moment: then it never does.
    async fn pass(&self, moment: Moment) {
        let is_here = self.kill_at.lock().take_if(|at| *at == moment).is_some();
        if is_here {
            self.is_killed.store(true, Ordering::Relaxed);
            std::future::pending::<()>().await;
        }
    }
}

/// See the module.
pub(crate) struct SimulatedDisk {
    pub(crate) region: String,
    pub(crate) index: Arc<dyn Index>,
    pub(crate) fate: Arc<Fate>,
    pub(crate) truth: Arc<Truth>,
}

impl SimulatedDisk {
    async fn read<T>(&self, answer: impl Future<Output = T>) -> T {
        self.fate.spend(READ_MS).await;
        Threads::InPlace.settle(answer).await
    }

    /// What an engine says when a commit finds no room.
    fn check_room(&self) -> Result<()> {
        if !self.fate.is_full.load(Ordering::Relaxed) {
            return Ok(());
        }
        let source = Arc::new(std::io::Error::from(std::io::ErrorKind::StorageFull));
        Err(IndexError::DiskFull { index: self.region.clone(), source })
    }

    async fn write<T>(&self, change: impl Future<Output = T>) -> T {
        self.fate.spend(COMMIT_MS.0).await;
        Threads::InPlace.settle(change).await
    }
}

#[async_trait]
impl EventWriter for SimulatedDisk {
    async fn commit(&self, revisions: Vec<NewRevision>) -> Result<Vec<StoreOutcome>> {
        let events: Vec<_> = revisions.iter().map(|revision| revision.event().clone()).collect();
        self.fate.pass(Moment::BeforeCommit).await;
        self.check_room().inspect_err(|_| self.truth.note("full", &self.region))?;
        let outcomes = self.write(self.index.commit(revisions)).await?;
        for (event, outcome) in events.iter().zip(&outcomes) {
            match outcome {
                StoreOutcome::Accepted(seq) => self.truth.committed(&self.region, event, seq.0),
                StoreOutcome::Duplicate => {
                    self.truth.note("duplicate", format_args!("{} {}", event.id, event.revision));
                }
                StoreOutcome::Rejected(why) => self.truth.violated(format_args!("{} was rejected: {why}", event.id)),
            }
        }
        self.fate.pass(Moment::AfterCommit).await;
        self.fate.spend(COMMIT_MS.1).await;
        Ok(outcomes)
    }
}

#[async_trait]
impl EventSearch for SimulatedDisk {
    async fn search(&self, query: SearchQuery) -> Result<SearchPage> {
        self.read(self.index.search(query)).await
    }
}

#[async_trait]
impl EventLookup for SimulatedDisk {
    async fn event(&self, id: EventId) -> Result<Option<v1::Event>> {
        self.read(self.index.event(id)).await
    }

    async fn thumbnail(&self, id: EventId) -> Result<Option<Bytes>> {
        self.read(self.index.thumbnail(id)).await
    }
}

#[async_trait]
impl EventCounts for SimulatedDisk {
    async fn count(&self, query: CountQuery) -> Result<Counts> {
        self.read(self.index.count(query)).await
    }
}

#[async_trait]
impl CommitFeed for SimulatedDisk {
    fn latest(&self) -> watch::Receiver<CommitSeq> {
        self.index.latest()
    }

    fn lineage(&self) -> Arc<Lineage> {
        self.index.lineage()
    }

    async fn seek(&self, since: Timestamp) -> Result<CommitSeq> {
        self.read(self.index.seek(since)).await
    }

    async fn read(&self, after: CommitSeq, filter: Arc<Filter>, max_events: usize) -> Result<FeedPage> {
        Self::read(self, self.index.read(after, filter, max_events)).await
    }
}

#[async_trait]
impl Retention for SimulatedDisk {
    async fn purge(&self, older_than: Timestamp) -> Result<u64> {
        self.write(self.index.purge(older_than)).await
    }
}

#[async_trait]
impl CoverageLedger for SimulatedDisk {
    async fn store_coverage(&self, reports: Vec<CoverageReport>) -> Result<()> {
        self.write(self.index.store_coverage(reports)).await
    }

    async fn coverage(&self, question: CoverageQuestion) -> Result<CoverageSums> {
        self.read(self.index.coverage(question)).await
    }

    async fn purge_coverage(&self, older_than: Timestamp) -> Result<usize> {
        self.write(self.index.purge_coverage(older_than)).await
    }
}

#[async_trait]
impl IndexStatus for SimulatedDisk {
    async fn stats(&self) -> Result<IndexStats> {
        self.read(self.index.stats()).await
    }

    async fn sources(&self) -> Result<Sources> {
        self.read(self.index.sources()).await
    }

    fn unreadable(&self) -> Vec<UnreadablePart> {
        self.index.unreadable()
    }
}

#[async_trait]
impl CameraRegistry for SimulatedDisk {
    async fn cameras(&self, after: Option<CameraId>, max_cameras: usize) -> Result<Vec<CameraEntry>> {
        self.read(self.index.cameras(after, max_cameras)).await
    }

    async fn camera(&self, id: CameraId) -> Result<Option<CameraEntry>> {
        self.read(self.index.camera(id)).await
    }

    async fn put_camera(&self, entry: CameraEntry, expected: Option<Etag>) -> Result<PutCamera> {
        self.write(self.index.put_camera(entry, expected)).await
    }

    async fn delete_camera(&self, id: CameraId) -> Result<bool> {
        self.write(self.index.delete_camera(id)).await
    }

    async fn announce_cameras(&self, entries: Vec<CameraEntry>) -> Result<()> {
        self.write(self.index.announce_cameras(entries)).await
    }
}

#[async_trait]
impl EdgeRegistry for SimulatedDisk {
    async fn edges(&self) -> Result<Vec<EdgeRecord>> {
        self.read(self.index.edges()).await
    }

    async fn save_edge(&self, edge: EdgeRecord) -> Result<()> {
        self.truth.met(&self.region, edge.id.as_str());
        self.write(self.index.save_edge(edge)).await
    }

    async fn forget_edge(&self, id: EdgeId) -> Result<()> {
        self.write(self.index.forget_edge(id)).await
    }
}

impl Index for SimulatedDisk {
    fn index_id(&self) -> uuid::Uuid {
        self.index.index_id()
    }

    fn close(&self) {
        self.index.close();
    }
}
