//! The thread that owns the writing connection, and group commit.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use metrics::{Counter, Histogram};
use parking_lot::{Mutex, RwLock};
use rusqlite::{Connection, Transaction};
use tokio::sync::oneshot;
use vigil_base::{SharedClock, Timestamp};

use super::apply::{Applying, WriterCache};
use super::schema::meta_number;
use super::{ReadError, SqliteConfig};
use crate::index::tail::{Committed, LiveTail};
use crate::index::{CommitSeq, IndexError, NewRevision, Result, StoreOutcome};

/// Requests that may wait: a few batches of each of many edges. Beyond it publishers are told to come back.
const QUEUE_REQUESTS: usize = 1_024;
/// Most revisions in one transaction: bounds how long the first of them waits, to some tens of milliseconds.
const MAX_GROUP_REVISIONS: usize = 4_096;
/// Most bytes in one transaction: bounds the write-ahead log.
const MAX_GROUP_BYTES: usize = 32 * 1024 * 1024;

type Outcomes = Result<Vec<StoreOutcome>>;
type Task = Box<dyn FnOnce(&mut WriterState) + Send>;

enum Request {
    Commit { revisions: Vec<NewRevision>, reply: oneshot::Sender<Outcomes> },
    Task(Task),
}

/// The thread's handle.
#[derive(Debug)]
pub(super) struct Writer {
    /// None once closed.
    queue: RwLock<Option<Sender<Request>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(
        config: &SqliteConfig,
        path: &Path,
        (connection, latest): (Connection, CommitSeq),
        tail: Arc<LiveTail>,
        clock: SharedClock,
    ) -> Result<Self> {
        let region = || config.region.to_string();
        let (queue, requests) = bounded(QUEUE_REQUESTS);
        let mut state = WriterState {
            path: path.to_owned(),
            connection,
            cache: WriterCache::default(),
            latest,
            tail,
            clock,
            commit_seconds: metrics::histogram!("vigil_index_commit_seconds", "region" => region()),
            committed: metrics::counter!("vigil_index_committed_revisions_total", "region" => region()),
        };
        let thread = std::thread::Builder::new()
            .name("index-writer".to_owned())
            .spawn(move || state.serve(&requests))
            .map_err(|e| IndexError::io(path, "start the writer thread for", e))?;
        Ok(Self { queue: RwLock::new(Some(queue)), thread: Mutex::new(Some(thread)) })
    }

    /// Stores revisions, together with those of other callers that wait.
    pub(super) async fn commit(&self, revisions: Vec<NewRevision>) -> Outcomes {
        let (reply, outcomes) = oneshot::channel();
        self.send(Request::Commit { revisions, reply })?;
        outcomes.await.unwrap_or(Err(IndexError::Closed))
    }

    /// Changes something else, in a transaction of its own.
    pub(super) async fn run<T, F>(&self, doing: &'static str, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Changing<'_>) -> std::result::Result<T, ReadError> + Send + 'static,
    {
        let (reply, result) = oneshot::channel();
        let task: Task = Box::new(move |state| {
            // Nobody may wait any more; the change is made all the same.
            let _ = reply.send(state.change(doing, change));
        });
        self.send(Request::Task(task))?;
        result.await.unwrap_or(Err(IndexError::Closed))
    }

    /// Ends the thread once all that waits is done.
    pub(super) fn close(&self) {
        self.queue.write().take();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the index's writer thread panicked");
        }
    }

    fn send(&self, request: Request) -> Result<()> {
        match self.queue.read().as_ref().ok_or(IndexError::Closed)?.try_send(request) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(IndexError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(IndexError::Closed),
        }
    }
}

/// A transaction of [`Writer::run`].
pub(super) struct Changing<'t> {
    pub(super) transaction: Transaction<'t>,
    pub(super) now: Timestamp,
}

struct WriterState {
    path: PathBuf,
    connection: Connection,
    cache: WriterCache,
    latest: CommitSeq,
    tail: Arc<LiveTail>,
    clock: SharedClock,
    commit_seconds: Histogram,
    committed: Counter,
}

impl WriterState {
    fn serve(&mut self, requests: &Receiver<Request>) {
        let mut next = requests.recv().ok();
        while let Some(request) = next.take() {
            match request {
                Request::Task(task) => task(self),
                Request::Commit { revisions, reply } => {
                    let (group, following) = collect(revisions, reply, requests);
                    self.commit(group);
                    next = following;
                }
            }
            next = next.or_else(|| requests.recv().ok());
        }
    }

    /// Commits a group and answers each of its callers. When the group fails for a reason that one of them alone may
    /// have brought, each is tried alone.
    fn commit(&mut self, group: Group) {
        match self.try_commit(&group.revisions) {
            Err(IndexError::Database { .. }) if group.revisions.len() > 1 => {
                for (revisions, reply) in group.revisions.into_iter().zip(group.replies) {
                    self.commit(Group { revisions: vec![revisions], replies: vec![reply] });
                }
            }
            Err(error) => {
                for reply in group.replies {
                    let _ = reply.send(Err(error.clone()));
                }
            }
            Ok(outcomes) => {
                for (reply, outcomes) in group.replies.into_iter().zip(outcomes) {
                    // A publisher that went away sends again and gets duplicates.
                    let _ = reply.send(Ok(outcomes));
                }
            }
        }
    }

    fn try_commit(&mut self, batches: &[Vec<NewRevision>]) -> Result<Vec<Vec<StoreOutcome>>> {
        let started = self.clock.monotonic();
        let applied = self.apply(batches);
        let (outcomes, commits) = applied.map_err(|error| {
            self.recover();
            IndexError::sqlite(&self.path, "store events", error)
        })?;
        self.commit_seconds.record(self.clock.monotonic().saturating_sub(started));
        self.committed.increment(commits.len() as u64);
        if let Some(newest) = commits.last() {
            self.latest = newest.seq;
        }
        self.tail.publish(commits);
        Ok(outcomes)
    }

    /// After a failure: what was remembered of the undone transaction goes, and where the database is a commit ahead
    /// after all (a sync that failed halfway), its numbers are not given again.
    fn recover(&mut self) {
        self.cache.clear();
        if let Ok(stored) = meta_number(&self.connection, "commit_seq").map(CommitSeq)
            && stored > self.latest
        {
            self.latest = stored;
            self.tail.restart(stored);
        }
    }

    fn apply(&mut self, batches: &[Vec<NewRevision>]) -> rusqlite::Result<(Vec<Vec<StoreOutcome>>, Vec<Committed>)> {
        let now = self.clock.now();
        let transaction = self.connection.transaction()?;
        let mut applying = Applying::new(&transaction, &mut self.cache, self.latest, now);
        let mut outcomes = Vec::with_capacity(batches.len());
        for batch in batches {
            outcomes.push(batch.iter().map(|revision| applying.store(revision)).collect::<rusqlite::Result<_>>()?);
        }
        let commits = applying.finish()?;
        transaction.commit()?;
        Ok((outcomes, commits))
    }

    fn change<T>(
        &mut self,
        doing: &'static str,
        change: impl FnOnce(&mut Changing<'_>) -> std::result::Result<T, ReadError>,
    ) -> Result<T> {
        let now = self.clock.now();
        let result = self.connection.transaction().map_err(ReadError::from).and_then(|transaction| {
            let mut changing = Changing { transaction, now };
            let value = change(&mut changing)?;
            changing.transaction.commit()?;
            Ok(value)
        });
        result.map_err(|error| match error {
            ReadError::Sqlite(error) => IndexError::sqlite(&self.path, doing, error),
            ReadError::Index(error) => error,
        })
    }
}

/// Batches that share a transaction, and where their outcomes go.
struct Group {
    revisions: Vec<Vec<NewRevision>>,
    replies: Vec<oneshot::Sender<Outcomes>>,
}

/// The first batch and all that wait behind it, up to the bounds of a group; and the request that ended it.
fn collect(
    revisions: Vec<NewRevision>,
    reply: oneshot::Sender<Outcomes>,
    requests: &Receiver<Request>,
) -> (Group, Option<Request>) {
    let size = |batch: &[NewRevision]| batch.iter().map(NewRevision::len).sum::<usize>();
    let (mut count, mut bytes) = (revisions.len(), size(&revisions));
    let mut group = Group { revisions: vec![revisions], replies: vec![reply] };
    while count < MAX_GROUP_REVISIONS && bytes < MAX_GROUP_BYTES {
        match requests.try_recv() {
            Ok(Request::Commit { revisions, reply }) => {
                count += revisions.len();
                bytes += size(&revisions);
                group.revisions.push(revisions);
                group.replies.push(reply);
            }
            Ok(task) => return (group, Some(task)),
            Err(_) => break,
        }
    }
    (group, None)
}

#[cfg(test)]
mod tests {
    use super::super::SqliteIndex;
    use super::super::testing::{event, open};
    use super::*;
    use crate::index::{EventLookup, EventWriter, IndexStatus};
    use bytes::Bytes;

    fn large() -> Vec<NewRevision> {
        vec![NewRevision::new(event(0), Bytes::from(vec![7; 200_000]))]
    }

    /// SQLite refuses to grow the file, with the same code that it gives for ENOSPC.
    async fn limit_pages(index: &SqliteIndex, more: Option<i64>) {
        let set = move |changing: &mut Changing<'_>| {
            let pages: i64 = changing.transaction.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            let limit = more.map_or(1_000_000, |more| pages + more);
            changing.transaction.pragma_update_and_check(None, "max_page_count", limit, |_| Ok(()))?;
            Ok(())
        };
        index.writer.run("limit the file", set).await.unwrap();
    }

    #[tokio::test]
    async fn a_full_disk_fails_the_commit_keeps_the_rest_and_works_again_with_space() {
        let temp = tempfile::tempdir().unwrap();
        let index = open(temp.path());
        let kept = event(0);
        index.commit(vec![NewRevision::new(kept.clone(), Bytes::new())]).await.unwrap();
        limit_pages(&index, Some(4)).await;
        let refused = large();
        let error = index.commit(refused.clone()).await.unwrap_err();
        assert!(matches!(error, IndexError::DiskFull { .. }), "{error:?}");
        assert!(index.event(kept.id).await.unwrap().is_some());
        assert_eq!(index.stats().await.unwrap().events, 1);
        limit_pages(&index, None).await;
        let outcomes = index.commit(refused).await.unwrap();
        assert_eq!(outcomes, [StoreOutcome::Accepted(CommitSeq(2))], "the failed commit used no number");
        assert_eq!(index.stats().await.unwrap().events, 2);
    }

    #[tokio::test]
    async fn names_of_an_undone_commit_are_given_anew() {
        let temp = tempfile::tempdir().unwrap();
        let index = open(temp.path());
        limit_pages(&index, Some(4)).await;
        index.commit(large()).await.unwrap_err();
        limit_pages(&index, None).await;
        let stored = event(0);
        index.commit(vec![NewRevision::new(stored.clone(), Bytes::new())]).await.unwrap();
        let found = index.event(stored.id).await.unwrap().unwrap();
        assert_eq!(found.camera_id, "gate-1");
        let camera = |changing: &mut Changing<'_>| {
            let sql = "SELECT count(*) FROM events JOIN names ON names.kind = 1 AND number = camera";
            Ok(changing.transaction.query_row(sql, [], |row| row.get::<_, i64>(0))?)
        };
        assert_eq!(index.writer.run("look", camera).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_read_only_index_is_said_to_be_read_only() {
        let temp = tempfile::tempdir().unwrap();
        let index = open(temp.path());
        let set = |on: bool| {
            move |changing: &mut Changing<'_>| Ok(changing.transaction.pragma_update(None, "query_only", on)?)
        };
        index.writer.run("set", set(true)).await.unwrap();
        let error = index.commit(large()).await.unwrap_err();
        assert!(matches!(error, IndexError::ReadOnly { .. }), "{error:?}");
        index.writer.run("set", set(false)).await.unwrap();
        index.commit(large()).await.unwrap();
    }
}
