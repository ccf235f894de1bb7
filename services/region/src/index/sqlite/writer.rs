//! The handle of the thread that writes; what that thread does is in `serving`.

use std::sync::Arc;

use crossbeam_channel::{Sender, TrySendError, bounded};
use parking_lot::{Mutex, RwLock};
use rusqlite::Transaction;
use tokio::sync::oneshot;
use vigil_base::{RegionId, SharedClock, Timestamp};

use super::failure::ReadError;
use super::placement::Grid;
use super::serving::{Opened, Serving};
use crate::index::group::{Batch, Outcomes};
use crate::index::tail::LiveTail;
use crate::index::{IndexError, NewRevision, Result};

/// Requests that may wait: a few batches of each of many edges. Beyond it publishers are told to come back.
const QUEUE_REQUESTS: usize = 1_024;

/// A change that is no batch of revisions.
pub(super) type Task = Box<dyn FnOnce(&mut Serving) + Send>;

/// What the thread is asked for.
pub(super) enum Request {
    Commit(Batch),
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
        opened: Opened,
        of: (&RegionId, Grid),
        tail: Arc<LiveTail>,
        clock: SharedClock,
    ) -> Result<Self> {
        let (queue, requests) = bounded(QUEUE_REQUESTS);
        let path = opened.path.clone();
        let serving = Serving::new(opened, of, tail, clock);
        let thread = std::thread::Builder::new()
            .name("index-writer".to_owned())
            .spawn(move || serving.serve(&requests))
            .map_err(|e| IndexError::io(&path, "start the writer thread for", e))?;
        Ok(Self { queue: RwLock::new(Some(queue)), thread: Mutex::new(Some(thread)) })
    }

    /// Stores revisions, together with those of other callers that wait.
    pub(super) async fn commit(&self, revisions: Vec<NewRevision>) -> Outcomes {
        let (reply, outcomes) = oneshot::channel();
        self.send(Request::Commit(Batch { revisions, reply }))?;
        outcomes.await.unwrap_or(Err(IndexError::Closed))
    }

    /// Changes something else in the region's own file, in a transaction of its own.
    pub(super) async fn run<T, F>(&self, doing: &'static str, change: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Changing<'_>) -> std::result::Result<T, ReadError> + Send + 'static,
    {
        self.with_state(move |state| state.change(doing, change)).await
    }

    /// Does something that concerns the files themselves.
    pub(super) async fn with_state<T, F>(&self, act: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Serving) -> Result<T> + Send + 'static,
    {
        let (reply, result) = oneshot::channel();
        let task: Task = Box::new(move |state: &mut Serving| {
            // Nobody may wait any more; the change is made all the same.
            let _ = reply.send(act(state));
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
