//! Where an index lies in files, and how it is used.

use std::path::PathBuf;
use std::time::Duration;

use vigil_base::RegionId;

/// Where the index lies and how it is used.
#[derive(Debug, Clone)]
pub struct SqliteConfig {
    /// Its folder; made when it is not there.
    pub data_dir: PathBuf,
    /// The region whose events it holds; an index of another region is refused.
    pub region: RegionId,
    /// Threads that answer questions.
    pub reader_threads: usize,
    /// Length of a slice of time: whole hours. Slices that are there keep theirs.
    pub slice: Duration,
}
