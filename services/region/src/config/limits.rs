//! Bounds on what a region takes.

use std::time::Duration;

use serde::Deserialize;
use vigil_serve::grpc::MAX_MESSAGE_BYTES;

/// Room in a message beside the records of a batch.
const MESSAGE_OVERHEAD_BYTES: u64 = 64 * 1024;
/// One record with its thumbnail must fit into a batch.
const MIN_BATCH_BYTES: u64 = 1024 * 1024;

/// Bounds on what the region takes and does at a time.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Most records in a batch: 500 keep an acknowledgement within some tens of milliseconds.
    pub max_batch_records: u32,
    /// Most bytes in a batch, thumbnails included.
    pub max_batch_bytes: u32,
    /// Most edges connected at a time.
    pub max_edges: usize,
    /// Most subscriptions at a time.
    pub max_subscribers: usize,
    /// An edge that sends nothing for this long is taken for gone: three heartbeats of ten seconds.
    #[serde(with = "humantime_serde")]
    pub edge_timeout: Duration,
    /// A subscriber that takes nothing for this long is ended, and told its cursor.
    #[serde(with = "humantime_serde")]
    pub subscriber_timeout: Duration,
    /// Threads that answer questions; each may use up to 16 MiB.
    pub reader_threads: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_batch_records: 500,
            max_batch_bytes: 8 * 1024 * 1024,
            max_edges: 1_000,
            max_subscribers: 256,
            edge_timeout: Duration::from_secs(30),
            subscriber_timeout: Duration::from_mins(1),
            reader_threads: 4,
        }
    }
}

/// The first limit out of its range: its key and what is wrong.
pub(super) fn check_limits(limits: &Limits) -> Option<(&'static str, String)> {
    let largest_batch = MAX_MESSAGE_BYTES as u64 - MESSAGE_OVERHEAD_BYTES;
    let numbers = [
        ("limits.max_batch_records", u64::from(limits.max_batch_records), 1, 4_096),
        ("limits.max_batch_bytes", u64::from(limits.max_batch_bytes), MIN_BATCH_BYTES, largest_batch),
        ("limits.max_edges", limits.max_edges as u64, 1, 100_000),
        ("limits.max_subscribers", limits.max_subscribers as u64, 1, 10_000),
        ("limits.reader_threads", limits.reader_threads as u64, 1, 64),
        ("limits.edge_timeout", limits.edge_timeout.as_secs(), 1, 3_600),
        ("limits.subscriber_timeout", limits.subscriber_timeout.as_secs(), 1, 3_600),
    ];
    let (key, value, least, most) =
        numbers.into_iter().find(|(_, value, least, most)| !(least..=most).contains(&value))?;
    Some((key, format!("must be within {least} and {most}; is {value}")))
}
