//! The one task that writes, its connection with the writer's lock, and group commit.
//!
//! The lock is a session-level advisory lock of the very connection that writes: with the connection the lock is gone, and
//! without it nothing can be written, so two processes never write to one schema. A lost connection is made anew, with the
//! lock, for as long as the index is open; until then publishers are told that the server cannot be reached, and keep their
//! events. A commit whose answer was lost with the connection may have been made: the publisher sends again, and what is there
//! is a duplicate.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use metrics::{Counter, Histogram};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{interval, timeout};
use vigil_base::{SharedClock, Timestamp};
use vigil_serve::error::chain;

use super::apply::{MAKE_STAGING, Writing, store};
use super::connect::Connection;
use super::days::{self, MAKE_AHEAD_EVERY};
use super::extents::Extents;
use super::failure::{Failure, index_error};
use super::schema::{self, Opened, Upgrade};
use super::{PostgresConfig, Shared, starts};
use crate::index::tail::LiveTail;
use crate::index::{CommitSeq, IndexError, Lineage, NewRevision, Result, StoreOutcome};

/// Requests that may wait: a few batches of each of many edges. Beyond it publishers are told to come back.
const QUEUE_REQUESTS: usize = 1_024;
/// Most revisions in one transaction: bounds how long the first of them waits, to some tens of milliseconds.
const MAX_GROUP_REVISIONS: usize = 4_096;
/// Most bytes in one transaction.
const MAX_GROUP_BYTES: usize = 32 * 1024 * 1024;
/// When a lost server is looked for again.
const RETRY: Duration = Duration::from_secs(1);
/// How long the lock is waited for: a region that was killed has it until its server notices.
const LOCK_PATIENCE: &str = "3s";
/// What a transaction may take beyond its longest statement; then the server hangs, and its connection is given up.
const GRACE: Duration = Duration::from_secs(5);

/// Acknowledged means durable, also where a server's default is not. What is stronger (a standby that must have applied it) stays.
const DURABLE: &str =
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

type Outcomes = Result<Vec<StoreOutcome>>;
type Task = Box<dyn for<'w> FnOnce(&'w mut WriterState) -> BoxFuture<'w, ()> + Send>;

enum Request {
    Commit { revisions: Vec<NewRevision>, reply: oneshot::Sender<Outcomes> },
    Task(Task),
}

/// The task's handle.
#[derive(Debug)]
pub(super) struct Writer {
    /// None once closed.
    queue: Mutex<Option<mpsc::Sender<Request>>>,
    /// What callers get then.
    without: IndexError,
}

/// A transaction of [`Writer::run`].
pub(super) struct Changing {
    pub(super) connection: Arc<Connection>,
    pub(super) shared: Arc<Shared>,
    pub(super) now: Timestamp,
}

impl Writer {
    /// Of a replica: takes nothing, ever.
    pub(super) fn of_replica(index: &str) -> Self {
        Self { queue: Mutex::new(None), without: IndexError::Replica { index: index.to_owned() } }
    }

    /// Stores revisions, together with those of other callers that wait.
    pub(super) async fn commit(&self, revisions: Vec<NewRevision>) -> Outcomes {
        let (reply, outcomes) = oneshot::channel();
        self.send(Request::Commit { revisions, reply })?;
        outcomes.await.unwrap_or(Err(IndexError::Closed))
    }

    /// Changes something else, in a transaction of its own.
    pub(super) async fn run<T, F, Fut>(&self, doing: &'static str, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(Changing) -> Fut + Send + 'static,
        Fut: Future<Output = std::result::Result<T, Failure>> + Send + 'static,
    {
        let (reply, result) = oneshot::channel();
        let task: Task = Box::new(move |state: &mut WriterState| {
            Box::pin(async move {
                // Nobody may wait any more; the change is made all the same.
                let _ = reply.send(state.change(doing, change).await);
            })
        });
        self.send(Request::Task(task))?;
        result.await.unwrap_or(Err(IndexError::Closed))
    }

    /// Takes no more; the task ends once all that waits is done.
    pub(super) fn close(&self) {
        self.queue.lock().take();
    }

    fn send(&self, request: Request) -> Result<()> {
        match self.queue.lock().as_ref().ok_or_else(|| self.without.clone())?.try_send(request) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(IndexError::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(IndexError::Closed),
        }
    }
}

/// What begins with the index: the writer, what the index says of itself, and the tail of its commits.
pub(super) struct Started {
    pub(super) writer: Writer,
    pub(super) opened: Opened,
    pub(super) tail: Arc<LiveTail>,
    /// Ends when the writer has.
    pub(super) serving: BoxFuture<'static, ()>,
}

/// Takes the lock, migrates where that is wanted, and reads where the index stands.
pub(super) async fn start(config: &PostgresConfig, shared: Arc<Shared>, clock: SharedClock) -> Result<Started> {
    let upgrade = Upgrade { migrate: config.migrate, citus: config.citus };
    let (connection, opened) = begin_session(config, &shared, upgrade, clock.now()).await?;
    let lineage = note_start(&connection, &opened).await?;
    let tail = Arc::new(LiveTail::new(opened.latest, opened.purged_through, lineage));
    let region = || config.region.to_string();
    let state = WriterState {
        config: config.clone(),
        shared,
        session: Ok(connection),
        extents: Extents::default(),
        latest: opened.latest,
        commit_time: opened.commit_time,
        tail: Arc::clone(&tail),
        clock,
        commit_seconds: metrics::histogram!("vigil_index_commit_seconds", "region" => region()),
        committed: metrics::counter!("vigil_index_committed_revisions_total", "region" => region()),
    };
    let (queue, requests) = mpsc::channel(QUEUE_REQUESTS);
    let writer = Writer { queue: Mutex::new(Some(queue)), without: IndexError::Closed };
    Ok(Started { writer, opened, tail, serving: Box::pin(state.serve(requests)) })
}

/// A connection that holds the writer's lock over a schema of this program's version.
pub(super) async fn begin_session(
    config: &PostgresConfig,
    shared: &Shared,
    upgrade: Upgrade,
    now: Timestamp,
) -> Result<(Arc<Connection>, Opened)> {
    let index = shared.server.name();
    let connection = shared.server.connect().await?;
    take_lock(&connection, &config.schema).await?;
    let opened = schema::open(&connection, &config.schema, &config.region, upgrade).await;
    let opened = opened.map_err(|failure| failure.told(index, "open"))?;
    let prepared = async {
        connection.client().batch_execute(DURABLE).await?;
        connection.client().batch_execute(MAKE_STAGING).await?;
        shared.days.load(&connection).await?;
        make_days(&connection, shared, now).await
    };
    prepared.await.map_err(|e| index_error(index, "open", e))?;
    Ok((Arc::new(connection), opened))
}

/// Notes that a writer goes on from here.
async fn note_start(connection: &Connection, opened: &Opened) -> Result<Lineage> {
    starts::begin(connection, opened.latest).await.map_err(|e| index_error(connection.index_name(), "open", e))
}

/// Waits a little for the lock of the schema.
///
/// # Errors
/// [`IndexError::Taken`] when another process keeps it.
async fn take_lock(connection: &Connection, schema: &str) -> Result<()> {
    let index = connection.index_name();
    let locked = async {
        let client = connection.client();
        client.execute("SELECT set_config('lock_timeout', $1, false)", &[&LOCK_PATIENCE]).await?;
        client.execute("SELECT pg_advisory_lock(hashtextextended('vigil-region ' || $1, 0))", &[&schema]).await?;
        client.batch_execute("SET lock_timeout = 0").await
    };
    locked.await.map_err(|error| match index_error(index, "lock", error) {
        IndexError::Busy => IndexError::Taken { index: index.to_owned() },
        other => other,
    })
}

/// Makes the days to come, in a transaction of its own.
async fn make_days(
    connection: &Connection,
    shared: &Shared,
    now: Timestamp,
) -> std::result::Result<(), tokio_postgres::Error> {
    let missing = shared.days.missing([], now);
    if missing.is_empty() {
        return Ok(());
    }
    connection.client().batch_execute("BEGIN").await?;
    for day in &missing {
        if let Err(error) = days::make(connection, *day).await {
            // The error that matters is the first.
            let _ = connection.client().batch_execute("ROLLBACK").await;
            return Err(error);
        }
    }
    connection.client().batch_execute("COMMIT").await?;
    shared.days.made(&missing);
    Ok(())
}

struct WriterState {
    config: PostgresConfig,
    shared: Arc<Shared>,
    /// The connection that holds the lock, or why there is none.
    session: Result<Arc<Connection>>,
    extents: Extents,
    latest: CommitSeq,
    commit_time: Option<Timestamp>,
    tail: Arc<LiveTail>,
    clock: SharedClock,
    commit_seconds: Histogram,
    committed: Counter,
}

impl WriterState {
    async fn serve(mut self, mut requests: mpsc::Receiver<Request>) {
        let (mut retries, mut ahead) = (interval(RETRY), interval(MAKE_AHEAD_EVERY));
        let mut next = None;
        loop {
            let request = if next.is_some() {
                next.take()
            } else {
                // In this order: who publishes again and again must not keep a lost server from being looked for.
                tokio::select! {
                    biased;
                    () = lost(&self.session) => {
                        self.lose(unreachable(&self.shared, "the connection was lost"));
                        continue;
                    }
                    _ = retries.tick(), if self.session.is_err() => {
                        self.reconnect().await;
                        continue;
                    }
                    _ = ahead.tick() => {
                        self.make_days_ahead().await;
                        continue;
                    }
                    request = requests.recv() => request,
                }
            };
            match request {
                None => break,
                Some(Request::Task(task)) => task(&mut self).await,
                Some(Request::Commit { revisions, reply }) => {
                    let (group, following) = collect(revisions, reply, &mut requests);
                    self.commit(group).await;
                    next = following;
                }
            }
        }
        self.give_back().await;
    }

    async fn make_days_ahead(&self) {
        let Ok(connection) = &self.session else { return };
        if let Err(error) = make_days(connection, &self.shared, self.clock.now()).await {
            tracing::warn!(%error, "the index's next days could not be made; they are made when events come");
        }
    }

    async fn reconnect(&mut self) {
        let upgrade = Upgrade { migrate: false, citus: false };
        let begun = async {
            let (connection, opened) = begin_session(&self.config, &self.shared, upgrade, self.clock.now()).await?;
            let lineage = note_start(&connection, &opened).await?;
            Ok((connection, opened, lineage))
        };
        match begun.await {
            Ok((connection, opened, lineage)) => {
                tracing::info!(index = connection.index_name(), "the index's database is back");
                self.session = Ok(connection);
                self.tail.begin(lineage);
                self.stand_at(opened);
            }
            Err(error) => {
                tracing::debug!(error = %chain(&error), "the index's database is not back yet");
                self.session = Err(error);
            }
        }
    }

    /// Takes over where the index stands. A commit whose answer was lost may have moved it on.
    fn stand_at(&mut self, opened: Opened) {
        self.extents.clear();
        self.commit_time = opened.commit_time;
        if opened.latest != self.latest {
            self.latest = opened.latest;
            self.tail.restart(opened.latest);
        }
    }

    fn lose(&mut self, error: IndexError) {
        tracing::error!(error = %chain(&error), "the index's database is lost; it is looked for again and again");
        self.session = Err(error);
    }

    /// Commits a group and answers each of its callers. When the group fails for a reason that one of them alone may
    /// have brought, each is tried alone.
    async fn commit(&mut self, group: Group) {
        let Group { revisions, replies } = group;
        let outcomes = match self.try_commit(&revisions).await {
            Err(IndexError::Database { .. }) if revisions.len() > 1 => {
                for (batch, reply) in revisions.into_iter().zip(replies) {
                    let alone = self.try_commit(&[batch]).await.map(|mut outcomes| outcomes.remove(0));
                    let _ = reply.send(alone);
                }
                return;
            }
            other => other,
        };
        match outcomes {
            Err(error) => {
                for reply in replies {
                    let _ = reply.send(Err(error.clone()));
                }
            }
            Ok(outcomes) => {
                for (reply, outcomes) in replies.into_iter().zip(outcomes) {
                    // A publisher that went away sends again and gets duplicates.
                    let _ = reply.send(Ok(outcomes));
                }
            }
        }
    }

    async fn try_commit(&mut self, batches: &[Vec<NewRevision>]) -> Result<Vec<Vec<StoreOutcome>>> {
        let started = self.clock.monotonic();
        let connection = self.session.clone()?;
        let (shared, now) = (Arc::clone(&self.shared), self.clock.now());
        let (latest, commit_time) = (self.latest, self.commit_time);
        let extents = &mut self.extents;
        let storing = async {
            connection.client().batch_execute("BEGIN").await?;
            let mut writing = Writing { connection: &connection, shared: &shared, extents, latest, commit_time, now };
            let stored = store(&mut writing, batches).await?;
            connection.client().batch_execute("COMMIT").await?;
            Ok(stored)
        };
        let stored = match within(self.shared.server.statement_timeout(), storing).await {
            Ok(stored) => stored,
            Err(failure) => return Err(self.undo(&connection, failure, "store events").await),
        };
        stored.names.commit();
        self.shared.days.made(&stored.days);
        if let Some(newest) = stored.commits.last() {
            (self.latest, self.commit_time) = (newest.seq, Some(now));
        }
        self.commit_seconds.record(self.clock.monotonic().saturating_sub(started));
        self.committed.increment(stored.commits.len() as u64);
        self.tail.publish(stored.commits);
        Ok(stored.outcomes)
    }

    async fn change<T, F, Fut>(&mut self, doing: &'static str, change: F) -> Result<T>
    where
        F: FnOnce(Changing) -> Fut,
        Fut: Future<Output = std::result::Result<T, Failure>>,
    {
        let connection = self.session.clone()?;
        let changing =
            Changing { connection: Arc::clone(&connection), shared: Arc::clone(&self.shared), now: self.clock.now() };
        let working = async {
            connection.client().batch_execute("BEGIN").await?;
            let value = change(changing).await?;
            connection.client().batch_execute("COMMIT").await?;
            Ok(value)
        };
        match within(self.shared.server.statement_timeout(), working).await {
            Ok(value) => Ok(value),
            Err(failure) => Err(self.undo(&connection, failure, doing).await),
        }
    }

    /// After a failure: the transaction is undone, or the connection is given up where that cannot be known.
    async fn undo(&mut self, connection: &Connection, failure: Option<Failure>, doing: &'static str) -> IndexError {
        self.extents.clear();
        let index = self.shared.server.name();
        let Some(failure) = failure else {
            let error = unreachable(&self.shared, "it does not answer");
            self.lose(error.clone());
            return error;
        };
        let error = failure.told(index, doing);
        let undone = timeout(GRACE, connection.client().batch_execute("ROLLBACK")).await;
        if !matches!(undone, Ok(Ok(()))) {
            self.lose(unreachable(&self.shared, "the connection was lost"));
        }
        error
    }

    /// Gives the lock back before the connection goes, so that whoever opens the index next need not wait for the server to
    /// notice.
    async fn give_back(self) {
        if let Ok(connection) = self.session {
            let unlocked = connection.client().batch_execute("SELECT pg_advisory_unlock_all()");
            let _ = timeout(GRACE, unlocked).await;
        }
    }
}

/// Returns when the connection that there is has ended.
async fn lost(session: &Result<Arc<Connection>>) {
    match session {
        Ok(connection) => connection.lost().cancelled().await,
        Err(_) => std::future::pending().await,
    }
}

/// A transaction's end; none when the server hangs.
async fn within<T>(
    statement_timeout: Duration,
    work: impl Future<Output = std::result::Result<T, Failure>>,
) -> std::result::Result<T, Option<Failure>> {
    match timeout(statement_timeout + GRACE, work).await {
        Ok(done) => done.map_err(Some),
        Err(_) => Err(None),
    }
}

fn unreachable(shared: &Shared, why: &str) -> IndexError {
    let source = Arc::new(std::io::Error::other(why.to_owned()));
    IndexError::Unreachable { index: shared.server.name().to_string(), source }
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
    requests: &mut mpsc::Receiver<Request>,
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
