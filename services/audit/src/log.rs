//! The log as its users see it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::thread::{Builder, JoinHandle};

use tokio::sync::{mpsc, oneshot};
use vigil_base::SharedClock;

use crate::entry::Entry;
use crate::error::AuditError;
use crate::folder::Folder;
use crate::writer::{Call, Writer};

/// Calls that wait for the writer: each belongs to a question that is answered now, and a process answers a few hundred at a
/// time. More wait at the sender.
const WAITING: usize = 256;

/// An open log. Dropping it writes what waits, and then lets the folder go.
#[derive(Debug)]
pub struct AuditLog {
    /// None only while it is dropped.
    calls: Option<mpsc::Sender<Call>>,
    thread: Option<JoinHandle<()>>,
    folder: PathBuf,
    _lock: File,
}

impl AuditLog {
    /// Opens the log in `folder`, which is made with a key where it is missing. Blocks: the newest file, at most 64 MiB, is
    /// checked.
    ///
    /// # Errors
    /// Another process has it open, a file cannot be used, or records are missing or altered in the newest file: nothing is
    /// added to a log that is not whole.
    pub fn open(folder: &Path, clock: SharedClock) -> Result<Self, AuditError> {
        let files = Folder(folder.to_owned());
        let lock = files.lock()?;
        let writer = Writer::open(files, clock)?;
        let (calls, receiver) = mpsc::channel(WAITING);
        let thread = Builder::new().name("audit".to_owned()).spawn(move || writer.run(receiver));
        let thread = thread.map_err(|error| AuditError::io(folder, "start a thread for", error))?;
        Ok(Self { calls: Some(calls), thread: Some(thread), folder: folder.to_owned(), _lock: lock })
    }

    /// Writes an entry down; returns its number once it is on the disk, with a signed head. On an error it is not there, and the
    /// answer it is about must not be given.
    ///
    /// # Errors
    /// The disk is full or fails; the entry is too large. The next call may go well.
    pub async fn append(&self, entry: Entry) -> Result<u64, AuditError> {
        let (answer, answered) = oneshot::channel();
        let calls = self.calls.as_ref().ok_or(AuditError::Closed)?;
        calls.send(Call { entry, answer }).await.map_err(|_| AuditError::Closed)?;
        answered.await.map_err(|_| AuditError::Closed)?
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        // The writer ends once it has no more senders.
        self.calls = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(folder = %self.folder.display(), "the audit log's thread panicked");
        }
    }
}
