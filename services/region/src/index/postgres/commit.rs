//! Committing groups, one after the other, and telling who waits for them.

use std::sync::Arc;

use metrics::{Counter, Histogram};
use vigil_base::{RegionId, SharedClock, Timestamp};

use super::Shared;
use super::apply::{Writing, store};
use super::decide::Decided;
use super::extents::Extents;
use super::failure::Failure;
use super::group::Waiting;
use super::schema::Opened;
use super::session::{Session, within};
use crate::index::CommitSeq;
use crate::index::group::Batch;
use crate::index::tail::{Committed, LiveTail};

/// The end of a group. With those who wait, where it was not written; no failure when the server hangs.
pub(super) type Written = Result<(), (Option<Failure>, Vec<Batch>)>;

/// Where the index stands, and what the writer knows to be stored.
pub(super) struct Committer {
    shared: Arc<Shared>,
    extents: Extents,
    latest: CommitSeq,
    commit_time: Option<Timestamp>,
    tail: Arc<LiveTail>,
    clock: SharedClock,
    commit_seconds: Histogram,
    committed: Counter,
}

impl Committer {
    pub(super) fn new(
        region: &RegionId,
        shared: Arc<Shared>,
        tail: Arc<LiveTail>,
        clock: SharedClock,
        opened: Opened,
    ) -> Self {
        let region = || region.to_string();
        Self {
            shared,
            extents: Extents::default(),
            latest: opened.latest,
            commit_time: opened.commit_time,
            tail,
            clock,
            commit_seconds: metrics::histogram!("vigil_index_commit_seconds", "region" => region()),
            committed: metrics::counter!("vigil_index_committed_revisions_total", "region" => region()),
        }
    }

    /// The newest commit.
    pub(super) fn latest(&self) -> CommitSeq {
        self.latest
    }

    /// Takes over where the index stands. A commit whose answer was lost may have moved it on.
    pub(super) fn stand_at(&mut self, opened: Opened) {
        self.extents.clear();
        self.commit_time = opened.commit_time;
        if opened.latest != self.latest {
            self.latest = opened.latest;
            self.tail.restart(opened.latest);
        }
    }

    /// After a transaction that was undone.
    pub(super) fn forget_extents(&mut self) {
        self.extents.clear();
    }

    /// Commits what was decided, and tells those who wait and the readers of the feed.
    pub(super) async fn commit(&mut self, session: &Session, group: &Decided, waiting: Waiting) -> Written {
        debug_assert_eq!(group.after, self.latest, "a group is decided behind the one before it");
        if !group.commits.is_empty()
            && let Err(failure) = self.write(session, group).await
        {
            return Err((failure, waiting.into_batches()));
        }
        waiting.answer();
        Ok(())
    }

    async fn write(&mut self, session: &Session, group: &Decided) -> Result<(), Option<Failure>> {
        let (started, now) = (self.clock.monotonic(), self.clock.now());
        let shared = &self.shared;
        let (extents, commit_time) = (&mut self.extents, self.commit_time);
        let writing = Writing { session, shared, extents, commit_time, now };
        let days = within(shared.server.statement_timeout(), Box::pin(store(writing, group))).await?;
        shared.names.take(&group.names);
        shared.days.made(&days);
        (self.latest, self.commit_time) = (group.latest, Some(now));
        self.commit_seconds.record(self.clock.monotonic().saturating_sub(started));
        self.committed.increment(group.commits.len() as u64);
        let told = |commit: &Committed| Committed { receive_time: now, ..commit.clone() };
        self.tail.publish(group.commits.iter().map(told).collect());
        Ok(())
    }
}
