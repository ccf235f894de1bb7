//! A wall clock that jumps, for one process alone: a small library, preloaded, stands before the system's own.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiled by the C compiler that also links Rust.
const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/clock_shift.c");

pub struct ShiftedClock {
    library: PathBuf,
    shift: PathBuf,
}

impl ShiftedClock {
    /// A clock that is right until it is set.
    pub fn new(folder: &Path) -> Self {
        let (library, shift) = (folder.join("clock_shift.so"), folder.join("clock_shift"));
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(SOURCE).output();
        let compiled = compiled.expect("the C compiler `cc`, which also links Rust");
        assert!(compiled.status.success(), "{SOURCE}: {}", String::from_utf8_lossy(&compiled.stderr));
        std::fs::write(&shift, 0i64.to_ne_bytes()).unwrap();
        Self { library, shift }
    }

    /// Makes the process that `command` will start live by this clock.
    pub fn rule(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("CLOCK_SHIFT", &self.shift);
    }

    /// Sets it so many seconds before or after the true time, at once.
    pub fn set(&self, seconds: i64) {
        let file = std::fs::File::options().write(true).open(&self.shift).unwrap();
        file.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }
}
