//! Group commit: batches of several callers share a transaction.

use tokio::sync::oneshot;

use super::{NewRevision, Result, StoreOutcome};

/// Most revisions in one group: bounds how long the first of them waits, to some tens of milliseconds.
pub(super) const MAX_GROUP_REVISIONS: usize = 4_096;
/// Most bytes in one group: bounds what a transaction writes.
pub(super) const MAX_GROUP_BYTES: usize = 32 * 1024 * 1024;

/// What became of each revision of a batch.
pub(super) type Outcomes = Result<Vec<StoreOutcome>>;

/// What one caller brings, and where its outcomes go.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) revisions: Vec<NewRevision>,
    pub(super) reply: oneshot::Sender<Outcomes>,
}

impl Batch {
    /// Bytes of its revisions.
    pub(super) fn len(&self) -> usize {
        self.revisions.iter().map(NewRevision::len).sum()
    }

    /// Tells its caller; one that went away sends again, and gets duplicates.
    pub(super) fn answer(self, outcomes: Outcomes) {
        let _ = self.reply.send(outcomes);
    }
}
