//! Where an outbox lies and how large it may grow.

use std::path::PathBuf;

/// Room for about eight million events of 500 bytes, or a hundred thousand with a thumbnail: days of outage for a busy
/// edge.
pub const DEFAULT_MAX_BYTES: u64 = 4 * 1024 * 1024 * 1024;

/// Where an outbox lies and how large it may grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxConfig {
    /// Its folder; made when it is not there.
    pub folder: PathBuf,
    /// Most bytes of records (events, thumbnails and a fixed overhead for each) it holds. The files may be larger by
    /// SQLite's own overhead and by the write-ahead log, together about a tenth.
    pub max_bytes: u64,
    /// Label `outbox` of its metrics, for a process that holds several; empty where it holds one.
    pub metrics_label: String,
}

impl OutboxConfig {
    /// An outbox in `folder` with the default bound.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), max_bytes: DEFAULT_MAX_BYTES, metrics_label: String::new() }
    }
}
