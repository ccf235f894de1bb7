//! The place of a moment in the feed: nothing that was received from it on is missed, whatever the clock did.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use vigil_base::event::Event;
use vigil_base::{SimClock, Timestamp};
use vigil_region::index::{CommitSeq, Index, NewRevision};

use super::{Engine, clock, feed, slice_start, store, store_all};
use crate::common::{at, ended, event, secs};

/// Random runs over one index that grows from run to run.
const RUNS: u32 = 150;
/// So far apart do its events begin that every run lies in another slice, or in several.
const EVENTS_APART_S: u64 = 1_000;

fn ids(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| event.id.to_string()).collect()
}

/// What a reader gets that starts at `since`.
async fn delivered(index: &dyn Index, since: Timestamp) -> Vec<String> {
    let page = feed(index, index.seek(since).await.unwrap()).await;
    page.items.into_iter().map(|item| item.event.event_id).collect()
}

pub async fn a_reader_that_seeks_a_moment_gets_what_was_received_from_it_on(engine: &dyn Engine) {
    let clock = clock();
    let index = engine.open(clock.clone());
    assert_eq!(index.seek(at(Duration::ZERO)).await.unwrap(), CommitSeq(0));
    let start = clock_time(&clock);
    let events: Vec<Event> = (0..40).map(|i| event(secs(i))).collect();
    for pair in events.chunks(2) {
        store_all(&*index, pair.to_vec()).await;
        clock.advance(Duration::from_secs(10));
    }
    // Received again later: its first place is empty.
    store(&*index, ended(&events[10])).await;
    drop(index);
    let index = engine.open(clock.clone());
    let last = ids(&events[10..11]);
    let expected = |from: usize| {
        let kept = (from..events.len()).filter(|i| *i != 10).map(|i| events[i].id.to_string());
        kept.chain(last.clone()).collect::<Vec<_>>()
    };
    let after = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(delivered(&*index, Timestamp::MIN).await, expected(0));
    assert_eq!(delivered(&*index, after(50)).await, expected(11));
    assert_eq!(delivered(&*index, after(51)).await, expected(12));
    assert_eq!(delivered(&*index, after(190)).await, expected(38));
    assert_eq!(delivered(&*index, after(191)).await, last);
    assert_eq!(index.seek(after(1_000)).await.unwrap(), CommitSeq(41), "a moment to come: from now on");
}

pub async fn a_reader_that_seeks_a_moment_is_told_what_retention_removed(engine: &dyn Engine) {
    let clock = clock();
    clock.advance(engine.slice() * 2);
    let index = engine.open(clock.clone());
    let start = clock_time(&clock);
    for i in 0..10 {
        let slice = u32::from(i >= 4);
        store(&*index, event(slice_start(engine, slice) + Duration::from_secs(i))).await;
        clock.advance(Duration::from_secs(10));
    }
    assert_eq!(index.purge(slice_start(engine, 1)).await.unwrap(), 4);
    let has_gap = async |seconds| {
        let place = index.seek(start + Duration::from_secs(seconds)).await.unwrap();
        feed(&*index, place).await.purged_through > place
    };
    assert!(has_gap(0).await && has_gap(30).await, "the fourth was received after 30 s and is gone");
    assert!(!has_gap(31).await && !has_gap(90).await && !has_gap(1_000).await);
    assert_eq!(index.purge(slice_start(engine, 2)).await.unwrap(), 6);
    assert!(has_gap(90).await, "all are gone");
    assert!(!has_gap(91).await);
}

/// What happens between two questions: the clock goes on or is set, then a few events come or grow.
#[derive(Debug)]
struct Run {
    jump_s: i64,
    new: u64,
    grown: Option<prop::sample::Index>,
    /// Moments that are asked for: so many seconds from when one of the commits was received.
    asked: Vec<(prop::sample::Index, i64)>,
    purges: bool,
}

fn run() -> impl Strategy<Value = Run> {
    let jump = prop_oneof![4 => 0i64..30, 1 => -40i64..0, 1 => -2_000i64..2_000];
    let grown = prop::option::of(any::<prop::sample::Index>());
    let asked = prop::collection::vec((any::<prop::sample::Index>(), -1i64..=1), 6);
    (jump, 0u64..4, grown, asked, prop::bool::weighted(0.05)).prop_map(|(jump_s, new, grown, asked, purges)| Run {
        jump_s,
        new,
        grown,
        asked,
        purges,
    })
}

fn moved(time: Timestamp, by_s: i64) -> Timestamp {
    Timestamp::from_micros(time.as_micros() + by_s * 1_000_000)
}

fn clock_time(clock: &Arc<SimClock>) -> Timestamp {
    vigil_base::Clock::now(&**clock)
}

#[derive(Debug, Clone)]
struct Commit {
    seq: CommitSeq,
    received: Timestamp,
    event: Event,
}

/// What the index must know, in plain lists.
#[derive(Debug, Default)]
struct Model {
    /// The last commit of each event, in order.
    commits: Vec<Commit>,
    newest: CommitSeq,
    /// The last commit of those that retention removed.
    removed: Option<Commit>,
}

impl Model {
    fn commit(&mut self, event: Event, received: Timestamp) {
        self.newest.0 += 1;
        self.commits.retain(|commit| commit.event.id != event.id);
        self.commits.push(Commit { seq: self.newest, received, event });
    }

    fn purge(&mut self, older_than: Timestamp) {
        let (kept, removed) = self.commits.drain(..).partition(|commit| commit.event.begin_time >= older_than);
        self.commits = kept;
        self.removed = self.removed.take().into_iter().chain(removed).max_by_key(|commit| commit.seq);
    }

    /// What a reader at `place` still gets, and whether it is told of a gap.
    fn delivered(&self, place: CommitSeq) -> (Vec<CommitSeq>, bool) {
        let seqs = self.commits.iter().map(|commit| commit.seq).filter(|seq| *seq > place).collect();
        (seqs, self.removed.as_ref().is_some_and(|removed| removed.seq > place))
    }

    fn place_of(&self, since: Timestamp) -> CommitSeq {
        let first = self.commits.iter().find(|commit| commit.received >= since);
        let removed = self.removed.as_ref().filter(|removed| removed.received >= since);
        let places = first.into_iter().chain(removed).map(|commit| CommitSeq(commit.seq.0 - 1));
        places.min().unwrap_or(self.newest)
    }
}

pub async fn a_sought_moment_is_right_before_the_first_commit_received_since(engine: &dyn Engine) {
    let mut runner = TestRunner::new(Config::default());
    let clock = clock();
    clock.advance(Duration::from_secs(EVENTS_APART_S * u64::from(RUNS) * 4));
    let (index, mut model, mut made) = (engine.open(clock.clone()), Model::default(), 0);
    for _ in 0..RUNS {
        let run = run().new_tree(&mut runner).unwrap().current();
        clock.jump_to(moved(clock_time(&clock), run.jump_s));
        let grown = run.grown.into_iter().filter_map(|which| {
            let commits = &model.commits;
            (!commits.is_empty()).then(|| ended(&commits[which.index(commits.len())].event))
        });
        let new = (made..made + run.new).map(|number| event(secs(number * EVENTS_APART_S)));
        let changes: Vec<Event> = grown.chain(new).collect();
        made += run.new;
        for change in &changes {
            model.commit(change.clone(), clock_time(&clock));
        }
        index.commit(changes.into_iter().map(|event| NewRevision::new(event, Bytes::new())).collect()).await.unwrap();
        if run.purges && model.commits.len() > 20 {
            let mut begins: Vec<Timestamp> = model.commits.iter().map(|commit| commit.event.begin_time).collect();
            begins.sort_unstable();
            let oldest = begins[10].round_down(engine.slice());
            model.purge(oldest);
            while index.purge(oldest).await.unwrap() > 0 {}
        }
        for (which, by_s) in run.asked.into_iter().filter(|_| !model.commits.is_empty()) {
            let near = model.commits[which.index(model.commits.len())].received;
            let since = moved(near, by_s);
            let (place, expected) = (index.seek(since).await.unwrap(), model.place_of(since));
            assert_eq!(model.delivered(place), model.delivered(expected), "{since}: {place} for {expected}");
        }
    }
}
