//! The folder of an outbox: its lock, its instance id, and damaged files that are moved aside.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use vigil_base::{InstanceId, Timestamp};

use crate::OutboxError;

const LOCK: &str = "lock";
const INSTANCE: &str = "instance-id";
const DATABASE: &str = "outbox.db";
const RESERVE: &str = "reserve";
/// Start of the name of a damaged database that was moved aside.
const ASIDE: &str = "outbox.db.corrupt-";
/// What SQLite keeps beside its file, in the order in which they are moved aside.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// A folder that this process has to itself for as long as this lives.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Closing it gives the lock back; the kernel does so when the process dies, however it dies.
    _lock: File,
    instance: InstanceId,
}

impl Folder {
    /// Makes the folder where it is not there, and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, OutboxError> {
        fs::create_dir_all(path).map_err(|e| OutboxError::io(path, "make the folder", e))?;
        let lock = lock(path)?;
        finish_quarantine(path)?;
        let instance = instance_id(path)?;
        Ok(Self { path: path.to_owned(), _lock: lock, instance })
    }

    pub(crate) fn instance(&self) -> InstanceId {
        self.instance
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }

    pub(crate) fn reserve(&self) -> PathBuf {
        self.path.join(RESERVE)
    }

    /// Moves a damaged database aside; returns its new name.
    pub(crate) fn quarantine(&self, now: Timestamp) -> Result<PathBuf, OutboxError> {
        let database = self.database();
        let aside = self.path.join(format!("{ASIDE}{}", now.as_micros()));
        for companion in COMPANIONS {
            move_aside(&with_suffix(&database, companion), &with_suffix(&aside, companion))?;
        }
        move_aside(&database, &aside)?;
        self.sync()?;
        Ok(aside)
    }

    /// Makes new names in the folder durable.
    pub(crate) fn sync(&self) -> Result<(), OutboxError> {
        sync_folder(&self.path)
    }
}

fn move_aside(from: &Path, to: &Path) -> Result<(), OutboxError> {
    match fs::rename(from, to) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(OutboxError::io(from, "move the damaged file aside", e)),
        _ => Ok(()),
    }
}

/// A crash between the moves of [`Folder::quarantine`] leaves a moved log without its database: the rest follows it, so
/// that no database is opened without the log that belongs to it.
fn finish_quarantine(folder: &Path) -> Result<(), OutboxError> {
    let list_error = |e| OutboxError::io(folder, "list the folder", e);
    for entry in fs::read_dir(folder).map_err(list_error)? {
        let name = entry.map_err(list_error)?.file_name().to_string_lossy().into_owned();
        let Some(aside) = name.strip_suffix(COMPANIONS[0]).filter(|name| name.starts_with(ASIDE)) else { continue };
        let aside = folder.join(aside);
        if !aside.exists() {
            move_aside(&folder.join(DATABASE), &aside)?;
            sync_folder(folder)?;
        }
    }
    Ok(())
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn sync_folder(path: &Path) -> Result<(), OutboxError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(|e| OutboxError::io(path, "sync the folder", e))
}

fn lock(folder: &Path) -> Result<File, OutboxError> {
    let path = folder.join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| OutboxError::io(&path, "make the lock file", e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OutboxError::InUse { folder: folder.to_owned() }),
        Err(TryLockError::Error(e)) => Err(OutboxError::io(&path, "lock", e)),
    }
}

/// The id in the folder; made, whole or not at all, where there is none.
fn instance_id(folder: &Path) -> Result<InstanceId, OutboxError> {
    let path = folder.join(INSTANCE);
    match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|e| OutboxError::Foreign {
            path: path.clone(),
            problem: format!("{e}; delete the file to have a new id made"),
        }),
        Err(e) if e.kind() == ErrorKind::NotFound => make_instance_id(folder, &path),
        Err(e) => Err(OutboxError::io(&path, "read", e)),
    }
}

fn make_instance_id(folder: &Path, path: &Path) -> Result<InstanceId, OutboxError> {
    let instance = InstanceId::random();
    let draft = folder.join(format!("{INSTANCE}.draft"));
    let written = File::create(&draft).and_then(|mut file| {
        writeln!(file, "{instance}")?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&draft, path)).map_err(|e| OutboxError::io(path, "write", e))?;
    sync_folder(folder)?;
    Ok(instance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_id_is_made_once() {
        let temp = tempfile::tempdir().unwrap();
        let first = Folder::open(temp.path()).unwrap().instance();
        assert_eq!(Folder::open(temp.path()).unwrap().instance(), first);
    }

    #[test]
    fn a_second_opening_is_refused_by_the_name_of_the_folder() {
        let temp = tempfile::tempdir().unwrap();
        let first = Folder::open(temp.path()).unwrap();
        let error = Folder::open(temp.path()).unwrap_err();
        assert!(matches!(error, OutboxError::InUse { .. }), "{error}");
        assert!(error.to_string().contains(temp.path().to_str().unwrap()), "{error}");
        drop(first);
        Folder::open(temp.path()).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let error = Folder::open(Path::new("/proc/vigil-outbox")).unwrap_err();
        assert!(matches!(error, OutboxError::Io { .. }) && error.to_string().contains("/proc/vigil-outbox"), "{error}");
    }

    #[test]
    fn a_move_that_a_crash_cut_short_is_finished() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("outbox.db"), "damaged").unwrap();
        fs::write(temp.path().join("outbox.db.corrupt-1-wal"), "its log").unwrap();
        fs::write(temp.path().join("outbox.db.corrupt-0"), "an older one").unwrap();
        fs::write(temp.path().join("outbox.db.corrupt-0-wal"), "its log").unwrap();
        let folder = Folder::open(temp.path()).unwrap();
        assert!(!folder.database().exists());
        assert_eq!(fs::read(temp.path().join("outbox.db.corrupt-1")).unwrap(), b"damaged");
        assert_eq!(fs::read(temp.path().join("outbox.db.corrupt-0")).unwrap(), b"an older one");
    }

    #[test]
    fn a_garbled_instance_id_is_an_error_not_a_new_identity() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join(INSTANCE), "half an i").unwrap();
        let error = Folder::open(temp.path()).unwrap_err().to_string();
        assert!(error.contains("instance-id") && error.contains("half an i"), "{error}");
    }
}
