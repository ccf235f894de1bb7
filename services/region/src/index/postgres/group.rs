//! Batches that share a transaction: group commit.

use tokio::sync::mpsc;

use super::Shared;
use super::connect::Connection;
use super::decide::{Decided, Found};
use super::failure::Failure;
use super::session::within;
use super::writer::Request;
use crate::index::group::{Batch, MAX_GROUP_BYTES, MAX_GROUP_REVISIONS};
use crate::index::{CommitSeq, NewRevision, StoreOutcome};

/// Batches, and what becomes of their revisions.
#[derive(Debug)]
pub(super) struct Group {
    waiting: Waiting,
    decided: Decided,
    revisions: usize,
    bytes: usize,
}

/// Those who wait until a group is committed.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    batches: Vec<Batch>,
    /// Of each batch.
    outcomes: Vec<Vec<StoreOutcome>>,
}

impl Waiting {
    pub(super) fn into_batches(self) -> Vec<Batch> {
        self.batches
    }

    /// Tells each what became of its revisions, now that it has.
    pub(super) fn answer(self) {
        for (batch, outcomes) in self.batches.into_iter().zip(self.outcomes) {
            batch.answer(Ok(outcomes));
        }
    }
}

impl Group {
    /// Without a batch; `after` is the newest commit before it.
    pub(super) fn after(after: CommitSeq) -> Self {
        Self { waiting: Waiting::default(), decided: Decided::after(after), revisions: 0, bytes: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.batches.is_empty()
    }

    pub(super) fn into_batches(self) -> Vec<Batch> {
        self.waiting.batches
    }

    /// What is to be written, and who waits for it.
    pub(super) fn split(self) -> (Decided, Waiting) {
        (self.decided, self.waiting)
    }

    pub(super) fn has_room(&self) -> bool {
        self.revisions < MAX_GROUP_REVISIONS && self.bytes < MAX_GROUP_BYTES
    }

    /// Takes a batch and all that wait behind it, while there is room; the request that is none.
    pub(super) fn collect(
        &mut self,
        first: Batch,
        requests: &mut mpsc::Receiver<Request>,
    ) -> (Vec<Batch>, Option<Request>) {
        let mut batches = Vec::new();
        let mut next = Some(first);
        while let Some(batch) = next.take() {
            self.revisions += batch.revisions.len();
            self.bytes += batch.len();
            batches.push(batch);
            if !self.has_room() {
                break;
            }
            match requests.try_recv() {
                Ok(Request::Commit(batch)) => next = Some(batch),
                Ok(other) => return (batches, Some(other)),
                Err(_) => break,
            }
        }
        (batches, None)
    }

    /// Decides what becomes of batches. `before` is the group that is committed before this one, where that is not yet.
    ///
    /// # Errors
    /// With the batches, about which nothing is decided; no failure when the server hangs.
    pub(super) async fn add(
        &mut self,
        connection: &Connection,
        shared: &Shared,
        batches: Vec<Batch>,
        before: Option<&Decided>,
    ) -> Result<(), (Option<Failure>, Vec<Batch>)> {
        let revisions: Vec<NewRevision> = batches.iter().flat_map(|batch| &batch.revisions).cloned().collect();
        let asked = within(shared.server.statement_timeout(), Found::ask(connection, shared, &revisions)).await;
        let found = match asked {
            Ok(found) => found,
            Err(failure) => return Err((failure, batches)),
        };
        for batch in batches {
            let decide = |revision| self.decided.decide(revision, &found, before, &shared.names);
            self.waiting.outcomes.push(batch.revisions.iter().map(decide).collect());
            self.waiting.batches.push(batch);
        }
        Ok(())
    }
}
