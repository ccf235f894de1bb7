//! What a process holds of the machine.

use std::path::PathBuf;

/// Memory, threads and open files of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Resident memory, MiB.
    pub memory_mb: u64,
    pub threads: u64,
    pub files: u64,
}

impl Footprint {
    /// Of process `id`, now.
    pub fn of(id: u32) -> Self {
        let process = PathBuf::from(format!("/proc/{id}"));
        let status = std::fs::read_to_string(process.join("status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_start_matches(':').split_whitespace().next().unwrap().parse::<u64>().unwrap()
        };
        let files = std::fs::read_dir(process.join("fd")).unwrap().count() as u64;
        Self { memory_mb: field("VmRSS") / 1024, threads: field("Threads"), files }
    }

    /// The larger of each.
    pub fn peak(self, other: Self) -> Self {
        Self {
            memory_mb: self.memory_mb.max(other.memory_mb),
            threads: self.threads.max(other.threads),
            files: self.files.max(other.files),
        }
    }
}
