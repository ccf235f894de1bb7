//! What is asked of the writer.

use vigil_base::EventId;

use crate::{OutboxError, PutOutcome, Record};

/// One call to the outbox.
#[derive(Debug)]
pub(crate) enum Call {
    /// Records to keep: all of them or, on an error, none.
    Put(Vec<Record>),
    /// Revisions that the region has.
    Acknowledge(Vec<(EventId, u32)>),
    /// A revision that the region will never take.
    SetAside { event_id: EventId, revision: u32, reason: String },
}

impl Call {
    /// Bytes it brings.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Put(records) => records.iter().map(Record::len).sum(),
            Self::Acknowledge(_) | Self::SetAside { .. } => 0,
        }
    }

    /// Whether it takes room; the others give some.
    pub(crate) fn is_put(&self) -> bool {
        matches!(self, Self::Put(_))
    }
}

/// The outcomes of a put's records; empty for the other calls.
pub(crate) type CallResult = Result<Vec<PutOutcome>, OutboxError>;
