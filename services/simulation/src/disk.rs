//! The disks of the hosts: folders that outlive their processes, as a kill -9 leaves them.
//!
//! A process that is killed does nothing any more; one that is dropped here closes its files in order. So whoever is to be killed
//! loses its folder first: what lies there is copied, and the copy is what the next process finds. All storage is waited for in
//! place, so none writes while it is copied.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

/// Folders in memory where the machine has them: each commit syncs, and no disk is to be measured here.
const MEMORY: &str = "/dev/shm";

/// The folder of all disks; removed with it.
pub(crate) fn all_disks() -> io::Result<tempfile::TempDir> {
    let builder = || tempfile::Builder::new().prefix("vigil-simulation-").to_owned();
    if Path::new(MEMORY).is_dir() { builder().tempdir_in(MEMORY) } else { builder().tempdir() }
}

/// One host's disk.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    copies: u32,
    /// The number of the copy in use.
    current: u32,
    backup: Option<u32>,
}

impl Disk {
    /// An empty disk below `all`.
    pub(crate) fn new(all: &Path, host: &str) -> io::Result<Self> {
        let disk = Self { root: all.join(host), state: Mutex::default() };
        fs::create_dir_all(disk.copy(0))?;
        Ok(disk)
    }

    /// Where the host's process reads and writes.
    pub(crate) fn folder(&self) -> PathBuf {
        self.copy(self.state.lock().current)
    }

    /// Leaves what lies there to the next process; whoever holds it now writes where nobody looks.
    pub(crate) fn leave(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        let kept = self.duplicate(&mut state)?;
        state.current = kept;
        Ok(())
    }

    /// Makes a backup of it as it is now.
    pub(crate) fn back_up(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.backup = Some(self.duplicate(&mut state)?);
        Ok(())
    }

    /// The next process finds the backup; false where there is none.
    pub(crate) fn restore(&self) -> bool {
        let mut state = self.state.lock();
        match state.backup.take() {
            Some(backup) => {
                state.current = backup;
                true
            }
            None => false,
        }
    }

    fn copy(&self, number: u32) -> PathBuf {
        self.root.join(number.to_string())
    }

    fn duplicate(&self, state: &mut State) -> io::Result<u32> {
        state.copies += 1;
        copy_folder(&self.copy(state.current), &self.copy(state.copies))?;
        Ok(state.copies)
    }
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(disk: &Disk, text: &str) {
        fs::create_dir_all(disk.folder().join("below")).unwrap();
        fs::write(disk.folder().join("below/file"), text).unwrap();
    }

    fn read(disk: &Disk) -> String {
        fs::read_to_string(disk.folder().join("below/file")).unwrap()
    }

    #[test]
    fn a_process_that_is_killed_writes_nothing_that_the_next_one_finds() {
        let all = tempfile::tempdir().unwrap();
        let disk = Disk::new(all.path(), "host").unwrap();
        write(&disk, "before");
        let held = disk.folder();
        disk.leave().unwrap();
        fs::write(held.join("below/file"), "by its destructor").unwrap();
        assert_eq!(read(&disk), "before");
    }

    #[test]
    fn a_backup_is_put_back_once() {
        let all = tempfile::tempdir().unwrap();
        let disk = Disk::new(all.path(), "host").unwrap();
        write(&disk, "old");
        disk.back_up().unwrap();
        write(&disk, "new");
        assert!(disk.restore());
        assert_eq!(read(&disk), "old");
        assert!(!disk.restore());
    }
}
