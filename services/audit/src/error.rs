//! What can go wrong with an audit log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The log cannot be opened, written or read. Cloned to every caller of a group that failed together.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuditError {
    /// Another process has the folder open.
    #[error("audit folder {} is in use by another process", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// A file cannot be made, read or written.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Arc<io::Error>,
    },
    /// The log is not whole, so that nothing may be added to it.
    #[error(
        "the audit log in {} is not whole: {problem}; `vigil audit verify` says more. Keep it for its auditors and name \
         another folder",
        folder.display()
    )]
    Damaged {
        /// The folder.
        folder: PathBuf,
        /// What was found.
        problem: String,
    },
    /// A key file does not hold a key.
    #[error("{} holds no Ed25519 key in PEM: {problem}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The entry cannot be written as a record.
    #[error("the record is too large: {bytes} bytes of JSON, at most {most} are written")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        most: usize,
    },
    /// The log was closed while the call waited.
    #[error("the audit log is closed")]
    Closed,
}

impl AuditError {
    pub(crate) fn io(path: &Path, doing: &'static str, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), source: Arc::new(source) }
    }
}
