//! The video index of a region: one trait per question, so that an engine answers each in its own best way.
//!
//! An engine is whatever implements them all ([`Index`]). The embedded one is [`sqlite`], the one that scales out
//! [`postgres`]. The suite in `tests/index_suite` is written against the traits and runs over any engine.
//!
//! What every engine keeps:
//! - An event has one row: its last revision. A revision is stored only when it is greater than the one that is there.
//! - `camera`, `begin_time` and `event_id` of an event never change; together they are its key, so that an engine may
//!   spread its rows by camera and cut them by time.
//! - Events lie in slices of time, which retention removes whole.
//! - Each stored revision gets a [`CommitSeq`], greater than all before it; none is given twice, not after a restart
//!   and not after its event was deleted.
//! - An event that a writer was told is stored is found by every later question, and by readers of the feed in its place.

mod error;
mod group;
pub(crate) mod keys;
mod lineage;
pub mod postgres;
pub mod sqlite;
pub(crate) mod tail;
pub(crate) mod types;

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;
use tonic::async_trait;
use vigil_base::coverage::CoverageReport;
use vigil_base::{CameraId, EdgeId, EventId, Timestamp};
use vigil_proto::convert::{CoverageQuestion, CoverageSums, Filter};
use vigil_proto::v1;

pub use error::{Cause, IndexError};
pub use lineage::{Lineage, Locator, Start};
pub use types::{
    CameraEntry, CameraOrigin, CommitSeq, CountGroup, CountQuery, Counts, EdgeRecord, Etag, FeedItem, FeedPage,
    GroupKey, IndexStats, NewRevision, Position, PutCamera, SearchPage, SearchQuery, Sources, StoreOutcome,
    UnreadablePart,
};

/// What an engine answers with.
pub type Result<T> = std::result::Result<T, IndexError>;

/// Stores revisions.
#[async_trait]
pub trait EventWriter: Send + Sync {
    /// Stores `revisions`; returns when all are durable, with an outcome for each, in their order. On an error none of
    /// them may be taken for stored.
    async fn commit(&self, revisions: Vec<NewRevision>) -> Result<Vec<StoreOutcome>>;
}

/// Which events match, newest first.
#[async_trait]
pub trait EventSearch: Send + Sync {
    /// Events in descending order of begin time, then event id. The work is bounded: a page may be shorter than asked
    /// for, or empty, and still say where to go on.
    async fn search(&self, query: SearchQuery) -> Result<SearchPage>;
}

/// One event.
#[async_trait]
pub trait EventLookup: Send + Sync {
    /// The last revision of an event.
    async fn event(&self, id: EventId) -> Result<Option<v1::Event>>;
    /// The JPEG of an event's best moment.
    async fn thumbnail(&self, id: EventId) -> Result<Option<Bytes>>;
}

/// How many events match.
#[async_trait]
pub trait EventCounts: Send + Sync {
    /// Counts of matching events, by group. The sum is the number of events that a search with the same filter finds.
    ///
    /// # Errors
    /// [`IndexError::TooMuchWork`] when the filter has conditions for which no counts are kept, and too many events to
    /// look at.
    async fn count(&self, query: CountQuery) -> Result<Counts>;
}

/// Revisions in the order of their commit.
#[async_trait]
pub trait CommitFeed: Send + Sync {
    /// The newest commit that readers see, and each change of it.
    fn latest(&self) -> watch::Receiver<CommitSeq>;
    /// The starts of this index, by which a reader that comes back finds its place. Another one when the index was found
    /// changed while it was open.
    fn lineage(&self) -> Arc<Lineage>;
    /// The place from which on a reader gets, at least, every commit with a receive time of `since` or later: right before
    /// the first of them in commit order, so that commits received before `since` follow it where the region's clock was set
    /// back. Further back where retention has removed such a commit: who reads on from there learns that something is gone.
    /// The newest commit when there is none yet. The work is bounded.
    async fn seek(&self, since: Timestamp) -> Result<CommitSeq>;
    /// Matching events whose last commit came after `after`, in commit order, at most `max_events`. A page may be empty
    /// and still move on.
    async fn read(&self, after: CommitSeq, filter: Arc<Filter>, max_events: usize) -> Result<FeedPage>;
}

/// Removes what is too old.
#[async_trait]
pub trait Retention: Send + Sync {
    /// Removes one slice of time of which every event began before `older_than`, or every event was last received before
    /// it and begins more than a day from now (a camera whose clock is years ahead does not keep its events for years; all others
    /// go by their begin, since the region's clock may have been wrong when it received them); returns how many events went, and
    /// 0 when there is no such slice. An event so stays for at most the length of a slice after its time.
    async fn purge(&self, older_than: Timestamp) -> Result<u64>;
}

/// What was watched, and what was not.
#[async_trait]
pub trait CoverageLedger: Send + Sync {
    /// Stores reports; returns when they are durable. One that is there already is not counted again.
    async fn store_coverage(&self, reports: Vec<CoverageReport>) -> Result<()>;
    /// Sums by camera and step. Over all of the time, cameras of the registry are named of which nothing is known.
    ///
    /// # Errors
    /// [`IndexError::TooMuchWork`] when too many minutes or hours would have to be read.
    async fn coverage(&self, question: CoverageQuestion) -> Result<CoverageSums>;
    /// Removes some of the oldest minutes before `older_than`; returns how many entries. 0: none are left.
    async fn purge_coverage(&self, older_than: Timestamp) -> Result<usize>;
}

/// How the index is.
#[async_trait]
pub trait IndexStatus: Send + Sync {
    /// Figures about the whole index.
    async fn stats(&self) -> Result<IndexStats>;
    /// Every camera and edge of which there are events, and perhaps some of which there were.
    async fn sources(&self) -> Result<Sources>;
    /// Parts of the index that cannot be read now: an answer over their time lacks events, and must say so.
    fn unreadable(&self) -> Vec<UnreadablePart> {
        Vec::new()
    }
}

/// The region's cameras.
#[async_trait]
pub trait CameraRegistry: Send + Sync {
    /// Cameras after `after`, in order of their ids.
    async fn cameras(&self, after: Option<CameraId>, max_cameras: usize) -> Result<Vec<CameraEntry>>;
    /// One camera.
    async fn camera(&self, id: CameraId) -> Result<Option<CameraEntry>>;
    /// Makes or replaces a camera, when it now has the etag that the caller last read (none: it must not be there).
    async fn put_camera(&self, entry: CameraEntry, expected: Option<Etag>) -> Result<PutCamera>;
    /// Takes a camera out; whether it was there.
    async fn delete_camera(&self, id: CameraId) -> Result<bool>;
    /// Adds the cameras that an edge announces; leaves alone those that an operator has put.
    async fn announce_cameras(&self, entries: Vec<CameraEntry>) -> Result<()>;
}

/// The edges that were ever connected, so that one which stays away after a restart of the region is missed.
#[async_trait]
pub trait EdgeRegistry: Send + Sync {
    /// All that are remembered.
    async fn edges(&self) -> Result<Vec<EdgeRecord>>;
    /// Remembers an edge.
    async fn save_edge(&self, edge: EdgeRecord) -> Result<()>;
    /// Forgets an edge.
    async fn forget_edge(&self, id: EdgeId) -> Result<()>;
}

/// An engine: the answers to all questions, from the same data.
pub trait Index:
    EventWriter
    + EventSearch
    + EventLookup
    + EventCounts
    + CommitFeed
    + Retention
    + CoverageLedger
    + IndexStatus
    + CameraRegistry
    + EdgeRegistry
    + 'static
{
    /// Made once with the index: a cursor of another index, or of this one before it was made anew, is not taken.
    fn index_id(&self) -> uuid::Uuid;

    /// Ends what waits, then gives the data back to whoever opens it next; later calls get [`IndexError::Closed`].
    /// Blocks. Dropping the index does the same.
    fn close(&self);
}
