//! The data folder, its lock, and the names of its files.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::index::IndexError;

const LOCK: &str = "lock";
const REGION: &str = "region.db";
/// The one file of versions that had no slices.
const UNSLICED: &str = "index.db";
/// Space that is kept back, so that the region's file can be opened on a full disk: SQLite keeps an index of its log beside it
/// (32 KiB), and writes a log.
const RESERVE: &str = "reserve";
const RESERVE_BYTES: usize = 256 * 1024;
/// What SQLite keeps beside a database file while it is open.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

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

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The region's own file.
    pub(super) fn region(&self) -> PathBuf {
        region_of(&self.path)
    }

    /// The file of an index that was made before there were slices.
    pub(super) fn unsliced(&self) -> PathBuf {
        self.path.join(UNSLICED)
    }

    /// Gives back what was kept; whether there was any.
    pub(super) fn give_reserve(&self) -> bool {
        fs::remove_file(self.path.join(RESERVE)).is_ok()
    }

    /// Makes new names in the folder durable, and removed ones stay away.
    pub(super) fn sync(&self) -> Result<(), IndexError> {
        sync(&self.path)
    }
}

/// The region's own file in a data folder that somebody else may have open.
pub(super) fn region_of(folder: &Path) -> PathBuf {
    folder.join(REGION)
}

/// As [`DataFolder::sync`].
pub(super) fn sync(folder: &Path) -> Result<(), IndexError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|e| IndexError::io(folder, "sync data folder", e))
}

/// Keeps space back for the next start on a full disk; where there is none now, after the next slice that is removed.
pub(super) fn keep_reserve(folder: &Path) {
    let reserve = folder.join(RESERVE);
    if reserve.metadata().is_ok_and(|file| file.len() == RESERVE_BYTES as u64) {
        return;
    }
    let kept = File::create(&reserve).and_then(|mut file| {
        file.write_all(&vec![0; RESERVE_BYTES])?;
        file.sync_all()
    });
    if let Err(error) = kept {
        tracing::warn!(file = %reserve.display(), %error, "no space can be kept back for a start on a full disk");
    }
}

/// Removes a database file, then what SQLite kept beside it: without the file the rest is nothing, the other way round it
/// would lack commits. Needs no free space. What is not there is no error.
pub(super) fn remove_database(path: &Path) -> Result<(), IndexError> {
    remove(path)?;
    for companion in COMPANIONS {
        remove(&beside(path, companion))?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), IndexError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(IndexError::io(path, "remove", error)),
        _ => Ok(()),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Bytes of the index on disk, and bytes free there; 0 for what cannot be asked.
pub(super) fn disk(folder: &Path) -> (u64, u64) {
    let is_ours = |name: &str| [".db", ".db-wal", ".db-shm"].iter().any(|end| name.ends_with(end));
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_ours));
    let bytes = ours.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum();
    (bytes, fs4::available_space(folder).unwrap_or(0))
}
