//! What goes in and what comes out.

use bytes::Bytes;
use vigil_base::{EventId, Timestamp};

/// Largest record: event and thumbnail together. An event is below 16 KiB and a thumbnail at most 256 KiB, so this
/// leaves room for what is to come and stays below the region's smallest batch.
pub const MAX_RECORD_BYTES: usize = 1024 * 1024;

/// Most rejected records that are kept for people to look at; beyond it the oldest go, still counted.
pub const MAX_SET_ASIDE: u64 = 1_000;

/// One revision of an event, ready to be sent. The outbox does not look inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The event.
    pub event_id: EventId,
    /// From 1, growing.
    pub revision: u32,
    /// Whether no further revision follows.
    pub is_final: bool,
    /// The event, encoded.
    pub event: Bytes,
    /// JPEG; empty when it has not changed since an earlier revision.
    pub thumbnail: Bytes,
}

impl Record {
    /// Bytes of event and thumbnail.
    pub fn len(&self) -> usize {
        self.event.len() + self.thumbnail.len()
    }

    /// Whether it carries nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What became of one record of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// It waits to be sent.
    Stored {
        /// Its place in the order of sending.
        sequence: u64,
    },
    /// The outbox holds this revision or a later one already; nothing changed.
    Stale {
        /// The revision it holds.
        stored: u32,
    },
}

/// A record that waits for its region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its place in the order of sending.
    pub sequence: u64,
    /// The edge's clock when the event began to wait: an earlier revision that it replaced counts.
    pub queued_at: Timestamp,
    /// The record.
    pub record: Record,
}

/// An event whose last revision is not final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenEvent {
    /// The event.
    pub event_id: EventId,
    /// Its last revision.
    pub revision: u32,
    /// That revision, encoded.
    pub event: Bytes,
}

/// A record that its region rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// The event.
    pub event_id: EventId,
    /// The revision that was rejected.
    pub revision: u32,
    /// The region's reason.
    pub reason: String,
    /// The edge's clock when that was.
    pub set_aside_at: Timestamp,
    /// The event, encoded; without its thumbnail.
    pub event: Bytes,
}

/// How much an outbox holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Records that wait for the region.
    pub records: u64,
    /// Bytes of all the outbox holds, as its bound counts them.
    pub bytes: u64,
    /// Rejected records that are kept.
    pub set_aside: u64,
    /// Records rejected since the folder was made.
    pub set_aside_total: u64,
    /// The sequence that the next put gets.
    pub next_sequence: u64,
}
