//! The data folder and its lock.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use crate::index::IndexError;

const LOCK: &str = "lock";
const DATABASE: &str = "index.db";

/// A folder that this process has to itself for as long as this lives.
#[derive(Debug)]
pub(super) struct DataFolder {
    path: PathBuf,
    /// Closing it gives the lock back; the kernel does so when the process dies, however it dies.
    _lock: File,
}

impl DataFolder {
    /// Makes the folder where it is not there, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, IndexError> {
        fs::create_dir_all(path).map_err(|e| IndexError::io(path, "make data folder", e))?;
        let lock_path = path.join(LOCK);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(|e| IndexError::io(&lock_path, "make lock file", e))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(IndexError::InUse { folder: path.to_owned() }),
            Err(TryLockError::Error(e)) => Err(IndexError::io(&lock_path, "lock", e)),
        }
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    /// Makes new names in the folder durable.
    pub(super) fn sync(&self) -> Result<(), IndexError> {
        let synced = File::open(&self.path).and_then(|folder| folder.sync_all());
        synced.map_err(|e| IndexError::io(&self.path, "sync data folder", e))
    }
}
