//! Threads that answer questions, each with a read-only connection to the region's own file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use parking_lot::{Mutex, RwLock};
use rusqlite::{Connection, ErrorCode, ffi};
use tokio::sync::oneshot;

use super::failure::ReadError;
use super::schema;
use super::slices::{Session, Slice, SliceList, Slices};
use crate::index::{IndexError, Result};

/// Questions that may wait per thread; at a few milliseconds each the last one waits a fraction of a second.
const QUEUE_PER_THREAD: usize = 64;

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// What a question sees: the slices that there are as it begins, each as it is when the question first comes to it.
pub(super) struct Snapshot<'c> {
    region: &'c Connection,
    slices: &'c Arc<Slices>,
    list: Arc<SliceList>,
    is_wanted: &'c dyn Fn() -> bool,
}

impl<'c> Snapshot<'c> {
    /// The region's own file. What is read from it is of the moment of each read: names are only ever added, before any slice
    /// has their numbers.
    pub(super) fn region(&self) -> &'c Connection {
        self.region
    }

    pub(super) fn list(&self) -> &SliceList {
        &self.list
    }

    /// Opens a slice.
    pub(super) fn session(&self, slice: &Arc<Slice>) -> std::result::Result<Session, ReadError> {
        self.check_wanted()?;
        self.slices.session(slice)
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
    slices: Arc<Slices>,
    /// None once closed.
    queue: RwLock<Option<Sender<Job>>>,
    threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

impl ReaderPool {
    pub(super) fn start(path: &Path, slices: Arc<Slices>, threads: usize) -> Result<Self> {
        let (queue, jobs) = bounded(QUEUE_PER_THREAD * threads);
        let pool = Self { path: path.to_owned(), slices, queue: RwLock::new(Some(queue)), threads: Mutex::default() };
        for number in 0..threads {
            let connection = schema::open_region_reader(path)?;
            let jobs = jobs.clone();
            let thread = std::thread::Builder::new()
                .name(format!("index-reader-{number}"))
                .spawn(move || serve(&connection, &jobs))
                .map_err(|e| IndexError::io(path, "start a reader thread for", e))?;
            pool.threads.lock().push(thread);
        }
        Ok(pool)
    }

    /// Answers a question on one of the threads. Dropping the future takes the question back. It is asked anew when a slice
    /// it came to was removed meanwhile, or is damaged: then without that slice.
    pub(super) async fn run<T, F>(&self, doing: &'static str, question: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&Snapshot<'_>) -> std::result::Result<T, ReadError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let (path, slices) = (self.path.clone(), Arc::clone(&self.slices));
        let job: Job = Box::new(move |region| {
            if reply.is_closed() {
                return;
            }
            let result = loop {
                let is_wanted = || !reply.is_closed();
                let snapshot = Snapshot { region, slices: &slices, list: slices.list(), is_wanted: &is_wanted };
                match question(&snapshot) {
                    Err(ReadError::SlicesChanged) => {}
                    Err(ReadError::Slice(slice, error)) => match damage_of(&slice, &error) {
                        Some(problem) => slices.mark_unreadable(&slice, problem),
                        None => break Err(IndexError::sqlite(&slice.path, doing, error)),
                    },
                    answered => break answered.map_err(|error| error.into_index_error(&path, doing)),
                }
            };
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

/// What is wrong with a slice's file, if that is why reading or writing it failed: pages or rows that do not hold together, or
/// a disk that cannot read them. Any other failure (a full disk, no file handles) is not the file's.
pub(super) fn damage_of(slice: &Slice, error: &rusqlite::Error) -> Option<String> {
    let is_damaged = match error {
        rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => true,
            ErrorCode::CannotOpen => !slice.path.exists(),
            _ => [ffi::SQLITE_IOERR_READ, ffi::SQLITE_IOERR_SHORT_READ].contains(&failure.extended_code),
        },
        // A row that its tables do not have, or that holds what was never written.
        rusqlite::Error::QueryReturnedNoRows
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::IntegralValueOutOfRange(..) => true,
        _ => false,
    };
    let is_there = slice.path.exists();
    is_damaged
        .then(|| if is_there { format!("its file is damaged: {error}") } else { "its file is not there".to_owned() })
}
