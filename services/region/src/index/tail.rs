//! The last commits, in memory, for readers at the live end: they touch neither disk nor database.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::watch;
use vigil_base::{Event, Timestamp};
use vigil_proto::convert::{Filter, event_to_wire};

use super::types::committed_event;
use super::{CommitSeq, FeedItem, FeedPage, Lineage};

/// Commits kept: a few seconds of a very busy region, at most about 20 MiB. A reader that falls behind them reads the
/// index.
const TAIL_COMMITS: usize = 4_096;

/// A revision as it was committed.
#[derive(Debug, Clone)]
pub(crate) struct Committed {
    pub(crate) seq: CommitSeq,
    pub(crate) receive_time: Timestamp,
    /// The revision that brought its thumbnail; 0 where there is none.
    pub(crate) thumbnail_revision: u32,
    /// As it was published.
    pub(crate) event: Arc<Event>,
}

impl Committed {
    fn item(&self) -> FeedItem {
        let event = event_to_wire(&self.event);
        FeedItem { seq: self.seq, event: committed_event(event, self.receive_time, self.thumbnail_revision) }
    }
}

#[derive(Debug)]
struct Ring {
    commits: VecDeque<Arc<Committed>>,
    /// Every commit after this one is in `commits`.
    covers_after: CommitSeq,
    purged_through: CommitSeq,
}

/// The last commits, and the newest of them for whoever waits.
#[derive(Debug)]
pub(crate) struct LiveTail {
    ring: RwLock<Ring>,
    latest: watch::Sender<CommitSeq>,
    lineage: RwLock<Arc<Lineage>>,
}

impl LiveTail {
    /// Nothing in memory yet; `latest` is the newest commit of the index.
    pub(crate) fn new(latest: CommitSeq, purged_through: CommitSeq, lineage: Lineage) -> Self {
        let ring = Ring { commits: VecDeque::new(), covers_after: latest, purged_through };
        let lineage = RwLock::new(Arc::new(lineage));
        Self { ring: RwLock::new(ring), latest: watch::Sender::new(latest), lineage }
    }

    /// The starts of the index.
    pub(crate) fn lineage(&self) -> Arc<Lineage> {
        Arc::clone(&self.lineage.read())
    }

    /// The index was started once more. Before what it now holds is shown: who reads finds its place first.
    pub(crate) fn begin(&self, lineage: Lineage) {
        *self.lineage.write() = Arc::new(lineage);
    }

    /// Takes what was committed, in order, and wakes the readers.
    pub(crate) fn publish(&self, commits: Vec<Committed>) {
        let Some(newest) = commits.last().map(|commit| commit.seq) else { return };
        let mut ring = self.ring.write();
        ring.commits.extend(commits.into_iter().map(Arc::new));
        while ring.commits.len() > TAIL_COMMITS {
            let Some(oldest) = ring.commits.pop_front() else { break };
            ring.covers_after = oldest.seq;
        }
        drop(ring);
        self.latest.send_replace(newest);
    }

    /// Forgets what is in memory: commits up to `latest` were made that were not published.
    pub(crate) fn restart(&self, latest: CommitSeq) {
        let mut ring = self.ring.write();
        ring.commits.clear();
        ring.covers_after = latest;
        drop(ring);
        self.latest.send_replace(latest);
    }

    /// Says that retention removed commits up to this one.
    pub(crate) fn purged(&self, through: CommitSeq) {
        let mut ring = self.ring.write();
        ring.purged_through = ring.purged_through.max(through);
    }

    pub(crate) fn purged_through(&self) -> CommitSeq {
        self.ring.read().purged_through
    }

    pub(crate) fn latest(&self) -> watch::Receiver<CommitSeq> {
        self.latest.subscribe()
    }

    /// As [`super::CommitFeed::read`]; none when the commits right after `after` are no longer in memory.
    pub(crate) fn read(&self, after: CommitSeq, filter: &Filter, max_events: usize) -> Option<FeedPage> {
        let (commits, purged_through) = self.commits_after(after, max_events)?;
        let resumes_at = commits.first().map(|commit| commit.receive_time);
        let through = commits.last().map_or(after, |commit| commit.seq);
        let matching = commits.iter().filter(|commit| filter.matches(&commit.event));
        let items = matching.map(|commit| commit.item()).collect();
        Some(FeedPage { items, through, purged_through, resumes_at })
    }

    /// Copies pointers only, so that the lock is held for microseconds.
    fn commits_after(&self, after: CommitSeq, max: usize) -> Option<(Vec<Arc<Committed>>, CommitSeq)> {
        let ring = self.ring.read();
        if after < ring.covers_after {
            return None;
        }
        let start = ring.commits.partition_point(|commit| commit.seq <= after);
        Some((ring.commits.iter().skip(start).take(max).map(Arc::clone).collect(), ring.purged_through))
    }
}
