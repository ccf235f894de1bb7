//! Room that is kept back on the disk, so that a full disk can be drained.
//!
//! Letting go of a record needs room: SQLite writes what it deletes to its log first, and the log's pages into the
//! database later. On a disk that is full to the last block acknowledgements would fail for ever, and the return of the
//! region, which is what makes room, would not help. So some blocks are kept in a file of their own, given to the disk
//! when it is full, and taken back as soon as there is room again.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::posix_fallocate;

/// What one emptying of the log can need: the log of a full group (8 MiB, and as much again for pages that are touched
/// beside it).
const RESERVE_BYTES: i64 = 16 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Held,
    /// Given to the disk, which has no room to give it back.
    Lent,
    /// This file system keeps no blocks for anybody.
    Impossible,
}

impl Reserve {
    /// The reserve in the file at `path`: held where an earlier process left it whole.
    pub(crate) fn new(path: PathBuf) -> Self {
        let is_whole = std::fs::metadata(&path).is_ok_and(|file| file.blocks() * 512 >= RESERVE_BYTES as u64);
        Self { path, state: if is_whole { State::Held } else { State::Lent } }
    }

    /// Takes the room from the disk where it is not held. Says whether there is nothing more to wait for.
    pub(crate) fn hold(&mut self) -> bool {
        if self.state == State::Lent {
            self.state = self.allocate();
        }
        self.state != State::Lent
    }

    /// Gives the room to the disk.
    pub(crate) fn lend(&mut self) {
        if self.state == State::Held {
            empty(&self.path);
            self.state = State::Lent;
        }
    }

    fn allocate(&self) -> State {
        let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&self.path);
        let allocated = opened.map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or_default()));
        match allocated.and_then(|file| posix_fallocate(&file, 0, RESERVE_BYTES)) {
            Ok(()) => State::Held,
            Err(error) => {
                // A part that was allocated is no use to anybody.
                empty(&self.path);
                state_without(&self.path, error)
            }
        }
    }
}

fn state_without(path: &Path, error: Errno) -> State {
    match error {
        Errno::ENOSPC | Errno::EDQUOT => State::Lent,
        Errno::EROFS => State::Impossible,
        _ => {
            tracing::warn!(path = %path.display(), %error, "no room can be kept back here: a full disk must be cleared by hand");
            State::Impossible
        }
    }
}

fn empty(path: &Path) {
    if let Err(error) = OpenOptions::new().write(true).open(path).and_then(|file: File| file.set_len(0)) {
        tracing::debug!(path = %path.display(), %error, "the reserve cannot be emptied");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_room_is_really_taken_and_lent_room_is_really_given() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("reserve");
        let blocks = || std::fs::metadata(&path).unwrap().blocks() * 512;
        let mut reserve = Reserve::new(path.clone());
        assert!(reserve.hold());
        assert!(blocks() >= RESERVE_BYTES as u64, "{} bytes are taken", blocks());
        reserve.lend();
        assert_eq!(blocks(), 0);
        assert!(reserve.hold());
        assert!(blocks() >= RESERVE_BYTES as u64);
    }

    #[test]
    fn a_place_that_takes_no_file_does_not_stop_the_outbox() {
        let mut reserve = Reserve::new(PathBuf::from("/proc/vigil-outbox/reserve"));
        assert!(reserve.hold(), "there is nothing to wait for");
    }
}
