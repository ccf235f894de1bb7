//! Failures of files in the terms of callers.

use std::path::Path;
use std::sync::Arc;

use super::slices::Slice;
use crate::index::IndexError;

/// What ends a question or a change.
#[derive(Debug)]
pub(super) enum ReadError {
    /// A failure of the region's own file.
    Sqlite(rusqlite::Error),
    /// A failure of a slice.
    Slice(Arc<Slice>, rusqlite::Error),
    /// A slice that was in the list is not there any more: it is to be begun anew.
    SlicesChanged,
    Index(IndexError),
}

impl ReadError {
    /// For whoever asked; `path` is the region's own file.
    pub(super) fn into_index_error(self, path: &Path, doing: &'static str) -> IndexError {
        match self {
            Self::Sqlite(error) => IndexError::sqlite(path, doing, error),
            Self::Slice(slice, error) => IndexError::sqlite(&slice.path, doing, error),
            Self::SlicesChanged => IndexError::Busy,
            Self::Index(error) => error,
        }
    }
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<IndexError> for ReadError {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}
