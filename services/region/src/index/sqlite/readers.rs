//! Threads that answer questions, each with a read-only connection of its own.

use std::path::{Path, PathBuf};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::{Mutex, RwLock};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{ReadError, schema};
use crate::index::{IndexError, Result};

/// Questions that may wait per thread; at a few milliseconds each the last one waits a fraction of a second.
const QUEUE_PER_THREAD: usize = 64;

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// One read transaction: everything read through it is of one commit.
pub(super) struct Snapshot<'c> {
    connection: &'c Connection,
    is_wanted: &'c dyn Fn() -> bool,
}

impl<'c> Snapshot<'c> {
    pub(super) fn connection(&self) -> &'c Connection {
        self.connection
    }

    /// Ends work whose caller went away: asked now and then by whoever walks far.
    pub(super) fn check_wanted(&self) -> Result<()> {
        if (self.is_wanted)() { Ok(()) } else { Err(IndexError::Cancelled) }
    }
}

/// The threads.
#[derive(Debug)]
pub(super) struct ReaderPool {
    path: PathBuf,
    /// None once closed.
    queue: RwLock<Option<Sender<Job>>>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

impl ReaderPool {
    pub(super) fn start(path: &Path, threads: usize) -> Result<Self> {
        let (queue, jobs) = bounded(QUEUE_PER_THREAD * threads);
        let pool = Self { path: path.to_owned(), queue: RwLock::new(Some(queue)), threads: Mutex::default() };
        for number in 0..threads {
            let connection = schema::open_reader(path)?;
            let jobs = jobs.clone();
            let thread = std::thread::Builder::new()
                .name(format!("index-reader-{number}"))
                .spawn(move || serve(&connection, &jobs))
                .map_err(|e| IndexError::io(path, "start a reader thread for", e))?;
            pool.threads.lock().push(thread);
        }
        Ok(pool)
    }

    /// Answers a question on one of the threads. Dropping the future takes the question back.
    pub(super) async fn run<T, F>(&self, doing: &'static str, question: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Snapshot<'_>) -> std::result::Result<T, ReadError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let path = self.path.clone();
        let job: Job = Box::new(move |connection| {
            if reply.is_closed() {
                return;
            }
            let result = in_snapshot(connection, &|| !reply.is_closed(), question);
            let result = result.map_err(|error| match error {
                ReadError::Sqlite(error) => IndexError::sqlite(&path, doing, error),
                ReadError::Index(error) => error,
            });
            // Nobody may wait any more.
            let _ = reply.send(result);
        });
        self.send(job)?;
        answer.await.unwrap_or(Err(IndexError::Closed))
    }

    /// Ends the threads once all that waits is answered.
    pub(super) fn close(&self) {
        self.queue.write().take();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a reader thread of the index panicked");
            }
        }
    }

    fn send(&self, job: Job) -> Result<()> {
        match self.queue.read().as_ref().ok_or(IndexError::Closed)?.try_send(job) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => Err(IndexError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(IndexError::Closed),
        }
    }
}

fn serve(connection: &Connection, jobs: &Receiver<Job>) {
    while let Ok(job) = jobs.recv() {
        job(connection);
    }
}

fn in_snapshot<T>(
    connection: &Connection,
    is_wanted: &dyn Fn() -> bool,
    question: impl FnOnce(&Snapshot<'_>) -> std::result::Result<T, ReadError>,
) -> std::result::Result<T, ReadError> {
    // Never committed: it only reads, and its end by drop is cheaper than a commit and as good.
    let transaction = connection.unchecked_transaction()?;
    question(&Snapshot { connection: &transaction, is_wanted })
}
