//! The outbox as the edge sees it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use vigil_base::{EventId, InstanceId, SharedClock, Timestamp};

use crate::call::{Call, CallResult};
use crate::folder::Folder;
use crate::reader::Reader;
use crate::reserve::Reserve;
use crate::schema::{self, OpenFailure};
use crate::store::Store;
use crate::telemetry::{self, Telemetry};
use crate::writer::{Request, Shared, Writer};
use crate::{Backlog, OpenEvent, OutboxConfig, OutboxError, Pending, PutOutcome, Record, SetAside};

/// Records on their way to the region. See the crate's documentation for what it promises.
///
/// Every method that is not `async` may block for the time of a disk sync: call it from a thread of its own, not from
/// an async task. All methods may be called from many threads.
#[derive(Debug)]
pub struct Outbox {
    // Fields are dropped in this order: the writer, which may write, closes the file last (and empties its log), and
    // the folder's lock goes after it.
    reader: Reader,
    writer: Writer,
    shared: Shared,
    quarantined: Option<PathBuf>,
    folder: Folder,
}

impl Outbox {
    /// Opens the outbox of `config`; makes it where there is none.
    ///
    /// # Errors
    /// [`OutboxError::InUse`], [`OutboxError::Io`] (folder cannot be made or written), [`OutboxError::Foreign`].
    /// A damaged file is no error: see [`Self::quarantined`].
    pub fn open(config: &OutboxConfig, clock: SharedClock) -> Result<Self, OutboxError> {
        let folder = Folder::open(&config.folder)?;
        let path = folder.database();
        let mut reserve = Reserve::new(folder.reserve());
        let mut quarantined = None;
        let connection = match schema::open_writer(&path) {
            Ok(connection) => connection,
            Err(OpenFailure::Other(OutboxError::DiskFull { .. })) => {
                reserve.lend();
                schema::open_writer(&path).map_err(|failure| failure.into_error(&path))?
            }
            Err(OpenFailure::Other(error)) => return Err(error),
            Err(OpenFailure::Damaged(damage)) => {
                let aside = folder.quarantine(clock.now())?;
                telemetry::quarantined(&config.metrics_label, &aside, &damage);
                quarantined = Some(aside);
                schema::open_writer(&path).map_err(|failure| failure.into_error(&path))?
            }
        };
        folder.sync()?;
        let store = Store::new(&path, connection, config.max_bytes, reserve)?;
        let backlog = store.backlog();
        let shared =
            Shared { backlog: Arc::new(Mutex::new(backlog)), newest: watch::Sender::new(backlog.next_sequence - 1) };
        let reader = Reader::new(path.clone(), schema::open_reader(&path)?);
        let writer = Writer::start(store, shared.clone(), Telemetry::new(&config.metrics_label), clock)
            .map_err(|e| OutboxError::io(&path, "start the writer thread", e))?;
        Ok(Self { reader, writer, shared, quarantined, folder })
    }

    /// Keeps one record; returns when it is durable.
    ///
    /// # Errors
    /// [`OutboxError::Full`] and [`OutboxError::DiskFull`]: nothing changed, try again later.
    /// [`OutboxError::TooLarge`]: never try again.
    pub fn put(&self, record: Record) -> Result<PutOutcome, OutboxError> {
        let outcomes = self.put_many(vec![record])?;
        outcomes.into_iter().next().ok_or(OutboxError::Closed)
    }

    /// Keeps all of `records`, or none; returns when they are durable. An outcome for each, in their order.
    pub fn put_many(&self, records: Vec<Record>) -> Result<Vec<PutOutcome>, OutboxError> {
        self.call(Call::Put(records))
    }

    /// Hands `records` over without waiting for the disk, so that a caller can have several puts under way; waits only
    /// while the writer's queue is full.
    pub fn submit(&self, records: Vec<Record>) -> Result<Commit, OutboxError> {
        self.send(Call::Put(records))
    }

    /// The oldest records that wait, in order of their sequence: at most `max_records`, and at most `max_bytes` of
    /// events and thumbnails, but at least one where one waits.
    pub fn next_batch(&self, max_records: usize, max_bytes: usize) -> Result<Vec<Pending>, OutboxError> {
        self.next_batch_after(0, max_records, max_bytes)
    }

    /// As [`Self::next_batch`], for records after a sequence: the next batch while earlier ones are still under way.
    pub fn next_batch_after(
        &self,
        sequence: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Vec<Pending>, OutboxError> {
        self.reader.next_batch(sequence, max_records, max_bytes)
    }

    /// Lets go of revisions that the region has stored; returns when that is durable. A record with a later revision
    /// than the one acknowledged stays, an event that is not there is passed over.
    pub fn acknowledge(&self, acknowledged: &[(EventId, u32)]) -> Result<(), OutboxError> {
        self.call(Call::Acknowledge(acknowledged.to_vec())).map(|_| ())
    }

    /// Takes a revision that the region rejected out of the order of sending and keeps it for people to look at. A
    /// later revision that waits is still sent.
    pub fn set_aside(&self, event_id: EventId, revision: u32, reason: &str) -> Result<(), OutboxError> {
        self.call(Call::SetAside { event_id, revision, reason: reason.to_owned() }).map(|_| ())
    }

    /// Events whose last revision is not final, acknowledged or not, in order of their ids. After a restart these were
    /// in view when the edge died.
    pub fn open_events(&self) -> Result<Vec<OpenEvent>, OutboxError> {
        self.reader.open_events()
    }

    /// The newest rejected records, at most `max_records`.
    pub fn rejected(&self, max_records: usize) -> Result<Vec<SetAside>, OutboxError> {
        self.reader.set_aside(max_records)
    }

    /// How much waits, as of the last commit.
    pub fn backlog(&self) -> Backlog {
        *self.shared.backlog.lock()
    }

    /// The edge's clock when the record that waits longest began to; none when nothing waits. All that was put before
    /// then has been acknowledged or rejected.
    pub fn oldest_pending(&self) -> Result<Option<Timestamp>, OutboxError> {
        self.reader.oldest_pending()
    }

    /// The newest sequence, and each change of it: wakes whoever sends the records. Works in any async runtime.
    pub fn newest_sequence(&self) -> watch::Receiver<u64> {
        self.shared.newest.subscribe()
    }

    /// Made once with the folder.
    pub fn instance_id(&self) -> InstanceId {
        self.folder.instance()
    }

    /// Where the damaged file lies that this opening found and moved aside. What waited in it was not sent: report it.
    pub fn quarantined(&self) -> Option<&Path> {
        self.quarantined.as_deref()
    }

    fn call(&self, call: Call) -> CallResult {
        self.send(call)?.wait()
    }

    fn send(&self, call: Call) -> Result<Commit, OutboxError> {
        let (reply, receiver) = oneshot::channel();
        self.writer.send(Request { call, reply })?;
        Ok(Commit { receiver })
    }
}

/// A put under way.
#[derive(Debug)]
pub struct Commit {
    receiver: oneshot::Receiver<CallResult>,
}

impl Commit {
    /// Waits until the records are durable, on a thread that may block.
    pub fn wait(self) -> Result<Vec<PutOutcome>, OutboxError> {
        self.receiver.blocking_recv().unwrap_or(Err(OutboxError::Closed))
    }

    /// Waits until the records are durable, in an async task.
    pub async fn done(self) -> Result<Vec<PutOutcome>, OutboxError> {
        self.receiver.await.unwrap_or(Err(OutboxError::Closed))
    }
}
