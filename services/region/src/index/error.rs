//! What can go wrong with an index, as callers branch on it.

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::ErrorCode;

/// The index cannot do what was asked. Cloned to every caller of a group that failed together.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IndexError {
    /// Another process has the folder open.
    #[error("data folder {} is in use by another process; give each region a folder of its own", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// A file or folder of the index cannot be made, read or written.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The file belongs to another program, another region, or a later version of this one.
    #[error("{} is not an index that this region can use: {problem}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// How that was seen and what to do.
        problem: String,
    },
    /// The file is damaged.
    #[error(
        "index {} is damaged; restore it from a backup, or move it away to start with an empty one \
         (edges send again what was not acknowledged)",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// The disk is full. Nothing was lost; the same works again when there is space.
    #[error("no space left on the disk of index {}", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// The folder or its disk is read-only.
    #[error("index {} cannot be written: its folder or disk is read-only", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// Any other failure of the database.
    #[error("index {}: cannot {doing}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What SQLite says.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// More questions wait than the index takes.
    #[error("the index is busy: too many questions wait")]
    Busy,
    /// The question would look at more events, or minutes, than one question may.
    #[error("the question would look at more than {limit} entries; narrow its time or cameras")]
    TooMuchWork {
        /// The bound.
        limit: usize,
    },
    /// The caller went away, so the work was stopped.
    #[error("the caller went away")]
    Cancelled,
    /// The index was closed while the call waited.
    #[error("the index is closed")]
    Closed,
}

impl IndexError {
    /// SQLite's error in the terms of callers.
    pub(crate) fn sqlite(path: &std::path::Path, doing: &'static str, error: rusqlite::Error) -> Self {
        let path = path.to_owned();
        let code = error.sqlite_error_code();
        let source = Arc::new(error);
        match code {
            Some(ErrorCode::DiskFull) => Self::DiskFull { path, source },
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly { path, source },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt { path, source },
            _ => Self::Database { path, doing, source },
        }
    }

    pub(crate) fn io(path: &std::path::Path, doing: &'static str, error: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), doing, source: Arc::new(error) }
    }
}
