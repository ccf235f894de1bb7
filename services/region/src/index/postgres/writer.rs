//! The writer's handle; what the one task behind it does is in `serving`.

use std::future::Future;
use std::sync::Arc;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use vigil_base::{SharedClock, Timestamp};

use super::connect::Connection;
use super::failure::Failure;
use super::schema::{Opened, Upgrade};
use super::serving::Serving;
use super::session::Session;
use super::{PostgresConfig, Shared};
use crate::index::group::{Batch, Outcomes};
use crate::index::tail::LiveTail;
use crate::index::{IndexError, NewRevision, Result};

/// Requests that may wait: a few batches of each of many edges. Beyond it publishers are told to come back.
const QUEUE_REQUESTS: usize = 1_024;

/// A change that is no batch of revisions.
pub(super) type Task = Box<dyn for<'w> FnOnce(&'w mut Serving) -> BoxFuture<'w, ()> + Send>;

/// What the task is asked for.
pub(super) enum Request {
    Commit(Batch),
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
        self.send(Request::Commit(Batch { revisions, reply }))?;
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
        let task: Task = Box::new(move |state: &mut Serving| {
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
    let (session, opened, lineage) = Session::begin(config, &shared, upgrade, clock.now()).await?;
    let tail = Arc::new(LiveTail::new(opened.latest, opened.purged_through, lineage));
    let (queue, requests) = mpsc::channel(QUEUE_REQUESTS);
    let writer = Writer { queue: Mutex::new(Some(queue)), without: IndexError::Closed };
    let serving = Serving::new(config.clone(), shared, session, opened, Arc::clone(&tail), clock);
    Ok(Started { writer, opened, tail, serving: Box::pin(serving.serve(requests)) })
}
