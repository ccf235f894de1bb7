//! Connections that answer questions, each within one snapshot of one moment.

use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{self, Metrics, Object, Pool, PoolError, QueueMode, RecycleError, RecycleResult, Timeouts};
use futures::FutureExt;
use futures::future::join;
use tokio::runtime::Handle;

use super::Shared;
use super::connect::Connection;
use super::failure::Failure;
use crate::index::{IndexError, Result};

/// How long a question waits for a connection while all of them work.
const WAIT: Duration = Duration::from_secs(5);
/// What a question may take beyond its longest statement; then the server hangs, and its connection is given up.
const GRACE: Duration = Duration::from_secs(5);

/// One read transaction: everything read through it is of one commit.
#[derive(Clone)]
pub(super) struct Snapshot {
    pub(super) connection: Arc<Connection>,
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
struct Manager {
    shared: Arc<Shared>,
    /// The index's own runtime, on which connections live.
    runtime: Handle,
}

impl managed::Manager for Manager {
    type Type = Arc<Connection>;
    type Error = IndexError;

    async fn create(&self) -> Result<Arc<Connection>> {
        let shared = Arc::clone(&self.shared);
        let connecting = self.runtime.spawn(async move { shared.server.connect().await });
        connecting.await.unwrap_or(Err(IndexError::Closed)).map(Arc::new)
    }

    async fn recycle(&self, connection: &mut Arc<Connection>, _: &Metrics) -> RecycleResult<IndexError> {
        if connection.lost().is_cancelled() { Err(RecycleError::message("the connection was lost")) } else { Ok(()) }
    }
}

/// The connections.
#[derive(Debug)]
pub(super) struct Readers {
    pool: Pool<Manager>,
    shared: Arc<Shared>,
    runtime: Handle,
}

impl Readers {
    pub(super) fn new(shared: Arc<Shared>, connections: usize, runtime: Handle) -> Self {
        let manager = Manager { shared: Arc::clone(&shared), runtime: runtime.clone() };
        let timeouts = Timeouts { wait: Some(WAIT), create: Some(WAIT), recycle: None };
        // The one that was used last: it has its statements parsed and planned.
        let pool = Pool::builder(manager)
            .max_size(connections)
            .timeouts(timeouts)
            .queue_mode(QueueMode::Lifo)
            .runtime(deadpool::Runtime::Tokio1);
        Self { pool: pool.build().expect("a runtime is given for the time limits"), shared, runtime }
    }

    /// Answers a question. Dropping the future stops what runs on the server.
    pub(super) async fn ask<T, F, Fut>(&self, doing: &'static str, question: F) -> Result<T>
    where
        F: FnOnce(Snapshot) -> Fut,
        Fut: Future<Output = std::result::Result<T, Failure>>,
    {
        if let Some(unfit) = self.shared.unfit.lock().clone() {
            return Err(unfit);
        }
        let object = self.pool.get().await.map_err(|e| self.not_connected(e))?;
        let connection = Arc::clone(&object);
        let asking = Asking { object: Some(object), shared: Arc::clone(&self.shared), runtime: self.runtime.clone() };
        let snapshot = Snapshot { connection: Arc::clone(&connection), shared: Arc::clone(&self.shared) };
        // The question's first statement follows right behind, in the same packet.
        let begin = connection.client().batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
        let limit = self.shared.server.statement_timeout() + GRACE;
        let index = self.shared.server.name();
        let timed_out = || IndexError::TimedOut { index: index.to_string(), doing };
        let (begun, answer) =
            tokio::time::timeout(limit, join(begin, question(snapshot))).await.map_err(|_| timed_out())?;
        asking.finish();
        begun.map_err(Failure::from).and(answer).map_err(|failure| failure.told(index, doing))
    }

    fn not_connected(&self, error: PoolError<IndexError>) -> IndexError {
        let index = || self.shared.server.name().to_string();
        match error {
            PoolError::Backend(error) => error,
            PoolError::Timeout(managed::TimeoutType::Wait) => IndexError::Busy,
            PoolError::Timeout(_) => {
                let source = std::io::Error::from(std::io::ErrorKind::TimedOut);
                IndexError::Unreachable { index: index(), source: Arc::new(source) }
            }
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => IndexError::Closed,
        }
    }

    /// Later questions get [`IndexError::Closed`].
    pub(super) fn close(&self) {
        self.pool.close();
    }
}

/// A connection while a question is asked on it.
struct Asking {
    object: Option<Object<Manager>>,
    shared: Arc<Shared>,
    runtime: Handle,
}

impl Asking {
    /// Ends the transaction behind the caller's back, which has its answer, and gives the connection back.
    fn finish(mut self) {
        if let Some(object) = self.object.take() {
            // Polled once it is on its way, before whatever is asked next on this connection; nobody needs its answer. A connection
            // that fails here is found lost when it is taken again.
            let _ = object.client().batch_execute("ROLLBACK").now_or_never();
        }
    }
}

impl Drop for Asking {
    /// Nobody waits for the answer any more. The connection is not used again: what stops the question may come late, and would
    /// stop the next.
    fn drop(&mut self) {
        let Some(object) = self.object.take() else { return };
        let connection = Object::take(object);
        let (token, shared) = (connection.client().cancel_token(), Arc::clone(&self.shared));
        self.runtime.spawn(async move { shared.server.cancel(token).await });
    }
}
