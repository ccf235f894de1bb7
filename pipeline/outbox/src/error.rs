//! What can go wrong, as callers branch on it.

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::ErrorCode;
use vigil_base::EventId;

/// An outbox cannot do what was asked. Cloned to every caller of a group that failed together.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OutboxError {
    /// Another process has the folder open.
    #[error("outbox {} is in use by another process; give each edge a data folder of its own", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// A file of the outbox cannot be made, read or written.
    #[error("outbox file {}: cannot {doing}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why not.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The file belongs to another program or to a later version of this one.
    #[error("{} is not an outbox that this version can use: {problem}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// How that was seen.
        problem: String,
    },
    /// The bound of the configuration is reached. Nothing was dropped; room comes with acknowledgements.
    #[error("the outbox holds {used} of at most {limit} bytes; is its region reachable?")]
    Full {
        /// Bytes held.
        used: u64,
        /// The bound.
        limit: u64,
    },
    /// One record is too large to be sent at all.
    #[error("the record of event {event_id} has {bytes} bytes; at most {limit} are taken")]
    TooLarge {
        /// The event.
        event_id: EventId,
        /// Its size with the thumbnail.
        bytes: usize,
        /// [`crate::MAX_RECORD_BYTES`].
        limit: usize,
    },
    /// The disk is full. Nothing was lost; the same call works again when there is space.
    #[error("no space left on the disk of outbox {}", path.display())]
    DiskFull {
        /// The database file.
        path: PathBuf,
    },
    /// The folder or its disk is read-only.
    #[error("outbox {} cannot be written: its folder or disk is read-only", path.display())]
    ReadOnly {
        /// The database file.
        path: PathBuf,
    },
    /// The file was damaged while in use. The next start moves it aside.
    #[error("outbox file {} is damaged; restart the edge: it moves the file aside and goes on", path.display())]
    Corrupt {
        /// The database file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// Any other failure of the database.
    #[error("outbox {}: cannot {doing}", path.display())]
    Database {
        /// The database file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What SQLite says.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// The outbox was closed while the call waited.
    #[error("the outbox is closed")]
    Closed,
}

impl OutboxError {
    /// SQLite's error in the terms of callers.
    pub(crate) fn sqlite(path: &std::path::Path, doing: &'static str, error: rusqlite::Error) -> Self {
        let path = path.to_owned();
        let (code, extended) = (error.sqlite_error_code(), error.sqlite_error().map(|e| e.extended_code));
        let source = Arc::new(error);
        match code {
            Some(ErrorCode::DiskFull) => Self::DiskFull { path },
            // The file beside the database that its connections share found no room to grow.
            _ if extended == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE) => Self::DiskFull { path },
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly { path },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt { path, source },
            _ => Self::Database { path, doing, source },
        }
    }

    pub(crate) fn io(path: &std::path::Path, doing: &'static str, error: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), doing, source: Arc::new(error) }
    }

    /// Whether the caller's own records are at fault, not the disk.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::TooLarge { .. })
    }
}
