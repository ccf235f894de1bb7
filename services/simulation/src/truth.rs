//! What really happened, seen from outside: what was made, what each index holds, what anybody was told, and what of that breaks a
//! promise. Everything is written into a trace, whose hash tells two runs apart.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use vigil_base::{Event, EventId, Timestamp};

/// Violations that are kept: the first ones tell, the rest follows from them.
const MAX_PROBLEMS: usize = 20;

/// A revision of an event that its edge took as kept for good.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    pub(crate) revision: u32,
    /// By the edge's clock.
    pub(crate) at: Timestamp,
}

/// An event, from its first revision on.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) region: String,
    pub(crate) edge: String,
    pub(crate) class: String,
    pub(crate) kept: Vec<Kept>,
}

impl Made {
    /// The newest revision.
    pub(crate) fn newest(&self) -> u32 {
        self.kept.iter().map(|kept| kept.revision).max().unwrap_or(0)
    }
}

/// What a region's index holds.
#[derive(Debug, Default, Clone)]
pub(crate) struct Held {
    /// Event to its revision and the number of its commit.
    pub(crate) events: BTreeMap<EventId, (u32, u64)>,
}

#[derive(Debug, Default)]
struct State {
    made: BTreeMap<EventId, Made>,
    held: BTreeMap<String, Held>,
    backups: BTreeMap<String, Held>,
    /// Since when each region knows each of its edges.
    met: BTreeMap<String, BTreeMap<String, f64>>,
    /// How often each region was put back, and when last.
    restored: BTreeMap<String, (u32, f64)>,
    counts: BTreeMap<&'static str, u64>,
    problems: Vec<String>,
    trace: Sha256,
    echo: bool,
}

/// All that is known about one run.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    state: Mutex<State>,
}

impl Truth {
    /// Nothing has happened yet; with `echo`, all that does is told on standard error, too.
    pub(crate) fn new(echo: bool) -> Self {
        Self { state: Mutex::new(State { echo, ..State::default() }) }
    }

    /// Something happened: a line of the trace, and one more of its kind.
    pub(crate) fn note(&self, kind: &'static str, what: impl fmt::Display) {
        let mut state = self.state.lock();
        *state.counts.entry(kind).or_default() += 1;
        state.write(kind, &what.to_string());
    }

    /// A promise was broken.
    pub(crate) fn violated(&self, what: impl fmt::Display) {
        let mut state = self.state.lock();
        let what = format!("at {:.3} s: {what}", now());
        state.write("VIOLATED", &what);
        if state.problems.len() < MAX_PROBLEMS {
            state.problems.push(what);
        }
    }

    /// The outbox has kept these.
    pub(crate) fn made(&self, events: &[Event], at: Timestamp) {
        let mut state = self.state.lock();
        for event in events {
            let made = state.made.entry(event.id).or_insert_with(|| Made {
                region: event.region.to_string(),
                edge: event.edge.to_string(),
                class: event.object_class.to_string(),
                kept: Vec::new(),
            });
            made.kept.push(Kept { revision: event.revision, at });
            state.write("made", &format!("{} {}", event.id, event.revision));
        }
    }

    /// The region's index has stored a revision.
    pub(crate) fn committed(&self, region: &str, event: &Event, seq: u64) {
        let mut state = self.state.lock();
        *state.counts.entry("committed").or_default() += 1;
        state.held.entry(region.to_owned()).or_default().events.insert(event.id, (event.revision, seq));
        state.write("committed", &format!("{region} {} {} as {seq}", event.id, event.revision));
    }

    /// The region has written down that it knows an edge.
    pub(crate) fn met(&self, region: &str, edge: &str) {
        let mut state = self.state.lock();
        state.met.entry(region.to_owned()).or_default().entry(edge.to_owned()).or_insert_with(now);
    }

    /// The region's disk was backed up.
    pub(crate) fn backed_up(&self, region: &str) {
        let mut state = self.state.lock();
        let held = state.held.get(region).cloned().unwrap_or_default();
        state.backups.insert(region.to_owned(), held);
    }

    /// The region's disk was put back to its backup.
    pub(crate) fn restored(&self, region: &str) {
        let mut state = self.state.lock();
        let held = state.backups.remove(region).unwrap_or_default();
        state.held.insert(region.to_owned(), held);
        state.met.remove(region);
        let (times, at) = state.restored.entry(region.to_owned()).or_default();
        (*times, *at) = (*times + 1, now());
    }

    /// How often a region was put back, and whether that was less than `seconds` ago.
    pub(crate) fn restores(&self, region: &str, seconds: f64) -> (u32, bool) {
        let state = self.state.lock();
        state.restored.get(region).map_or((0, false), |(times, at)| (*times, now() - at < seconds))
    }

    /// All restores of all regions.
    pub(crate) fn all_restores(&self) -> u32 {
        self.state.lock().restored.values().map(|(times, _)| times).sum()
    }

    /// An event, if it was made.
    pub(crate) fn event(&self, id: EventId) -> Option<Made> {
        self.state.lock().made.get(&id).cloned()
    }

    /// All events that were made.
    pub(crate) fn all(&self) -> BTreeMap<EventId, Made> {
        self.state.lock().made.clone()
    }

    /// The number of the commit under which a region holds a revision, if it still does.
    pub(crate) fn seq(&self, region: &str, id: EventId, revision: u32) -> Option<u64> {
        let state = self.state.lock();
        let (held, seq) = state.held.get(region)?.events.get(&id)?;
        (*held == revision).then_some(*seq)
    }

    /// Events that the indexes hold now; of one class, where it is given.
    pub(crate) fn held(&self, class: Option<&str>) -> BTreeSet<EventId> {
        let state = self.state.lock();
        let is_meant =
            |id: &EventId| class.is_none_or(|class| state.made.get(id).is_some_and(|made| made.class == class));
        state.held.values().flat_map(|held| held.events.keys().copied()).filter(is_meant).collect()
    }

    /// Events of a region that were kept before `until`, on edges that it has known for `seconds`, and are not in its index as they
    /// were then.
    pub(crate) fn missing_before(&self, region: &str, until: Timestamp, seconds: f64) -> Vec<EventId> {
        let state = self.state.lock();
        let held = state.held.get(region);
        let knows = |edge: &String| {
            state.met.get(region).and_then(|met| met.get(edge)).is_some_and(|since| now() - since > seconds)
        };
        let lacks = |id: &EventId, made: &Made| {
            let claimed = made.kept.iter().filter(|kept| kept.at < until).map(|kept| kept.revision).max();
            let has = held.and_then(|held| held.events.get(id)).map_or(0, |(revision, _)| *revision);
            claimed.is_some_and(|revision| has < revision)
        };
        let made = state.made.iter().filter(|(_, made)| made.region == region && knows(&made.edge));
        made.filter(|(id, made)| lacks(id, made)).map(|(id, _)| *id).collect()
    }

    /// Events that an edge holds no longer, as they were made last, and that its region does not hold either. `waiting` is what its
    /// outbox holds.
    pub(crate) fn let_go(&self, edge: &str, waiting: &BTreeSet<EventId>) -> Vec<EventId> {
        let state = self.state.lock();
        let has = |id: &EventId, made: &Made| {
            let held = state.held.get(&made.region).and_then(|held| held.events.get(id));
            held.is_some_and(|(revision, _)| *revision >= made.newest())
        };
        let made = state.made.iter().filter(|(id, made)| made.edge == edge && !waiting.contains(id));
        made.filter(|(id, made)| !has(id, made)).map(|(id, _)| *id).collect()
    }

    /// What has gone wrong so far.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.state.lock().problems.clone()
    }

    /// How often each kind of thing happened, and the hash of the trace.
    pub(crate) fn summary(&self) -> (BTreeMap<&'static str, u64>, String) {
        let state = self.state.lock();
        // 64 bits tell two runs apart.
        let hash = state.trace.clone().finalize().iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte));
        (state.counts.clone(), format!("{hash:016x}"))
    }
}

impl State {
    #[allow(clippy::print_stderr)] // Asked for, by who looks into a seed.
    fn write(&mut self, kind: &str, what: &str) {
        let line = format!("{:10.3} {kind} {what}\n", now());
        self.trace.update(line.as_bytes());
        if self.echo {
            eprint!("{line}");
        }
    }
}

/// Simulated seconds since the beginning; between two steps, of the last that was known.
fn now() -> f64 {
    thread_local!(static LAST: std::cell::Cell<f64> = const { std::cell::Cell::new(0.0) });
    if Handle::try_current().is_ok()
        && let Some(elapsed) = turmoil::sim_elapsed()
    {
        LAST.set(elapsed.as_secs_f64());
    }
    LAST.get()
}
