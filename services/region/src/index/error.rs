//! What can go wrong with an index, as callers branch on it.

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::ErrorCode;

/// What an engine's database says.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

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
    /// Another process writes to the schema.
    #[error("index {index} is in use by another process; give each region a schema of its own")]
    Taken {
        /// Schema and server.
        index: String,
    },
    /// The schema is of another region, of a later version of this program, or not yet migrated to this one.
    #[error("index {index} cannot be used: {problem}")]
    Unfit {
        /// Schema and server.
        index: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The server does not answer, restarts, or the connection with it was lost. It is tried again and again.
    #[error("the database server of index {index} cannot be reached, or is not ready")]
    Unreachable {
        /// Schema and server.
        index: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The server does not let this region in, or not at what it must do, or nobody vouches for it.
    #[error(
        "the database server of index {index} and this region refuse each other; check user, password, certificates, \
         database and rights, and that the server has TLS (without it only with sslmode=disable in the address)"
    )]
    Refused {
        /// Schema and server.
        index: String,
        /// What the server says.
        #[source]
        source: Cause,
    },
    /// The index is damaged.
    #[error(
        "index {index} is damaged; restore it from a backup, or move it away to start with an empty one \
         (edges send again what was not acknowledged)"
    )]
    Corrupt {
        /// The file, or schema and server.
        index: String,
        /// What the database says.
        #[source]
        source: Cause,
    },
    /// The disk is full. Nothing was lost; the same works again when there is space.
    #[error("no space left on the disk of index {index}")]
    DiskFull {
        /// The file, or schema and server.
        index: String,
        /// What the database says.
        #[source]
        source: Cause,
    },
    /// The folder or its disk is read-only, or the server is a standby.
    #[error("index {index} cannot be written: its folder, disk or server is read-only")]
    ReadOnly {
        /// The file, or schema and server.
        index: String,
        /// What the database says.
        #[source]
        source: Cause,
    },
    /// The index is another process's to write.
    #[error(
        "index {index} is only read here, by a replica of its region; whatever changes it goes to the region itself"
    )]
    Replica {
        /// Schema and server.
        index: String,
    },
    /// Any other failure of the database.
    #[error("index {index}: cannot {doing}")]
    Database {
        /// The file, or schema and server.
        index: String,
        /// What was tried.
        doing: &'static str,
        /// What the database says.
        #[source]
        source: Cause,
    },
    /// A statement ran for longer than one may, and was stopped.
    #[error("index {index}: took too long to {doing}; narrow the question's time or cameras")]
    TimedOut {
        /// Schema and server.
        index: String,
        /// What was tried.
        doing: &'static str,
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
        let index = path.display().to_string();
        let code = error.sqlite_error_code();
        let source = Arc::new(error);
        match code {
            Some(ErrorCode::DiskFull) => Self::DiskFull { index, source },
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly { index, source },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt { index, source },
            _ => Self::Database { index, doing, source },
        }
    }

    pub(crate) fn io(path: &std::path::Path, doing: &'static str, error: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), doing, source: Arc::new(error) }
    }
}
