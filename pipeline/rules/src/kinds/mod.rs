//! The kinds of rules: each turns sightings into reports. Whether a report fires is judged by [`crate::live`].

mod abandoned;
mod crowd;
mod line;
mod occupancy;
mod plate;
mod removed;
mod speeding;
mod stopped;
mod tampered;
mod wrong_way;
mod zone;

use std::fmt;
use std::time::Duration;

use vigil_base::Timestamp;
use vigil_base::detection::ModelIdentity;
use vigil_base::event::Plate;

use crate::config::Watch;
use crate::firing::Reading;
use crate::memory::KeptTally;
use crate::moment::Moment;
use crate::report::{Object, Reports};
use crate::scene::SceneStatistics;
use crate::schedule::TimesOfDay;
use crate::seen::Seen;
use crate::tracks::Tracks;

/// A kind at work for one rule.
pub(crate) trait Machine: fmt::Debug + Send {
    /// The class names that sightings' class indices stand for, before the first sighting and whenever they change.
    fn learn_classes(&mut self, _model: &ModelIdentity) {}

    /// A sighting of an object, in the order of its time. `tracks` are all objects of the frame.
    fn see(&mut self, seen: &Seen, tracks: &Tracks, reports: &mut Reports);

    /// A plate was read on an object.
    fn read(&mut self, _slot: usize, _plate: &Plate) {}

    /// The picture as a whole.
    fn look(&mut self, _scene: &SceneStatistics, _now: Moment, _reports: &mut Reports) {}

    /// All objects of the frame were seen.
    fn conclude(&mut self, _now: Moment, _reports: &mut Reports) {}

    /// An object's track has ended.
    fn end(&mut self, slot: usize, object: Object, reports: &mut Reports);

    /// Forgets all objects; counts and what was learned stay.
    fn reset(&mut self);

    /// What it counts.
    fn reading(&self) -> Option<Reading> {
        None
    }

    /// What it counts, for a process that goes on later; none where that is about objects only.
    fn kept(&self) -> Option<KeptTally> {
        None
    }

    /// Goes on with what was kept, as of `at`. What belongs to another kind changes nothing.
    fn recall(&mut self, _kept: KeptTally, _at: Timestamp) {}
}

/// The kind that a rule asks for.
pub(crate) fn machine(watch: &Watch) -> Box<dyn Machine> {
    match watch.clone() {
        Watch::LineCrossed(rule, directions) => Box::new(line::LineCrossed::new(rule, directions)),
        Watch::LineCount { line, reset, report_every } => Box::new(line::LineCount::new(line, reset, report_every)),
        Watch::Zone(rule, kind) => Box::new(zone::Zoned::new(rule, kind)),
        Watch::Loitering(rule, threshold) => Box::new(zone::Loitering::new(rule, threshold)),
        Watch::Occupancy(rule) => Box::new(occupancy::Occupancy::new(rule)),
        Watch::Crowd(rule) => Box::new(crowd::Crowd::new(rule)),
        Watch::Stopped(rule) => Box::new(stopped::Stopped::new(rule)),
        Watch::WrongWay(rule) => Box::new(wrong_way::WrongWay::new(rule)),
        Watch::Speeding(rule) => Box::new(speeding::Speeding::new(rule)),
        Watch::Abandoned(rule) => Box::new(abandoned::Abandoned::new(rule)),
        Watch::Removed(rule) => Box::new(removed::Removed::new(rule)),
        Watch::Tampered(rule) => Box::new(tampered::Tampered::new(rule)),
        Watch::Plate(rule) => Box::new(plate::PlateListed::new(rule)),
    }
}

/// Rings at local times of day.
#[derive(Debug)]
struct Alarm {
    times: TimesOfDay,
    /// The last time it was asked, and when it rings next from there.
    next: Option<(Timestamp, Option<Timestamp>)>,
}

impl Alarm {
    fn new(times: TimesOfDay) -> Self {
        Self { times, next: None }
    }

    /// As if it had last been asked at `at`: a time that came since then rings.
    fn asked_at(&mut self, at: Timestamp) {
        self.next = Some((at, self.times.next_after(at)));
    }

    /// Whether one of the times has come since it was last asked. A clock that is set back makes it ring again.
    fn rings(&mut self, now: Timestamp) -> bool {
        let (asked, next) = match self.next {
            Some((asked, next)) if asked <= now => (asked, next),
            _ => (now, self.times.next_after(now)),
        };
        let due = next.is_some_and(|next| next <= now && asked < now);
        self.next = Some((now, if due { self.times.next_after(now) } else { next }));
        due
    }
}

/// Rings once in a while.
#[derive(Debug)]
struct Interval {
    every: Duration,
    since: Option<Timestamp>,
}

impl Interval {
    fn new(every: Duration) -> Self {
        Self { every, since: None }
    }

    /// The beginning of the interval that has just ended.
    fn ends(&mut self, now: Timestamp) -> Option<Timestamp> {
        let since = *self.since.get_or_insert(now);
        if now < since {
            // The clock was set back.
            self.since = Some(now);
        } else if now.since(since) >= self.every {
            self.since = Some(now);
            return Some(since);
        }
        None
    }
}
