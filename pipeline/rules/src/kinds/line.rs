//! Line crossing and counting (ONVIF: `LineDetector`, `CountAggregation`).

use std::time::Duration;

use vigil_base::Timestamp;

use super::{Alarm, Interval, Machine};
use crate::config::{Direction, Directions, LineRule};
use crate::firing::{Counts, Crossing, Evidence, Reading};
use crate::memory::KeptTally;
use crate::moment::Moment;
use crate::report::{Object, Reports};
use crate::schedule::TimesOfDay;
use crate::seen::Seen;
use crate::tracks::Tracks;
use crate::watch::LineWatch;

/// Crossings counted in both directions, from the first frame or crossing on.
#[derive(Debug, Default)]
struct Tally(Option<Counts>);

impl Tally {
    /// The counts; they begin at `since` where they have not begun.
    fn begun(&mut self, since: Timestamp) -> &mut Counts {
        self.0.get_or_insert(Counts { since, ..Counts::default() })
    }

    fn add(&mut self, crossing: &Crossing) {
        let counts = self.begun(crossing.at.time);
        match crossing.direction {
            Direction::Left => counts.left += 1,
            Direction::Right => counts.right += 1,
        }
    }

    fn reading(&self) -> Option<Reading> {
        self.0.map(Reading::Counts)
    }

    fn kept(&self, reported: Counts, interval_since: Option<Timestamp>) -> Option<KeptTally> {
        let counts = self.0?.into();
        Some(KeptTally::Line { counts, reported: reported.into(), interval_since })
    }
}

impl Directions {
    fn listens_to(self, direction: Direction) -> bool {
        match self {
            Self::Any => true,
            Self::Left => direction == Direction::Left,
            Self::Right => direction == Direction::Right,
        }
    }
}

/// Fires with each crossing in its direction; counts both.
#[derive(Debug)]
pub(super) struct LineCrossed {
    rule: LineRule,
    directions: Directions,
    watch: LineWatch,
    tally: Tally,
}

impl LineCrossed {
    pub fn new(rule: LineRule, directions: Directions) -> Self {
        Self { watch: LineWatch::new(rule.clone()), rule, directions, tally: Tally::default() }
    }
}

impl Machine for LineCrossed {
    fn see(&mut self, seen: &Seen, _tracks: &Tracks, reports: &mut Reports) {
        let Some(crossing) = self.watch.see(seen) else { return };
        self.tally.add(&crossing);
        if self.directions.listens_to(crossing.direction) {
            reports.happened(seen, self.rule.anchor, crossing.at.time, Evidence::Crossing(crossing));
        }
    }

    fn conclude(&mut self, now: Moment, _reports: &mut Reports) {
        self.tally.begun(now.time);
    }

    fn end(&mut self, slot: usize, _object: Object, _reports: &mut Reports) {
        self.watch.forget(slot);
    }

    fn reset(&mut self) {
        self.watch.clear();
    }

    fn reading(&self) -> Option<Reading> {
        self.tally.reading()
    }

    fn kept(&self) -> Option<KeptTally> {
        self.tally.kept(Counts::default(), None)
    }

    fn recall(&mut self, kept: KeptTally, _at: Timestamp) {
        if let KeptTally::Line { counts, .. } = kept {
            self.tally.0 = Some(counts.into());
        }
    }
}

/// Counts crossings; fires only to report the counts.
#[derive(Debug)]
pub(super) struct LineCount {
    watch: LineWatch,
    tally: Tally,
    reported: Counts,
    resets: Alarm,
    reports_every: Option<Interval>,
}

impl LineCount {
    pub fn new(rule: LineRule, reset: TimesOfDay, report_every: Option<Duration>) -> Self {
        Self {
            watch: LineWatch::new(rule),
            tally: Tally::default(),
            reported: Counts::default(),
            resets: Alarm::new(reset),
            reports_every: report_every.map(Interval::new),
        }
    }
}

impl Machine for LineCount {
    fn see(&mut self, seen: &Seen, _tracks: &Tracks, _reports: &mut Reports) {
        if let Some(crossing) = self.watch.see(seen) {
            self.tally.add(&crossing);
        }
    }

    fn conclude(&mut self, now: Moment, reports: &mut Reports) {
        let counts = self.tally.begun(now.time);
        let rings = self.resets.rings(now.time);
        if let Some(interval) = &mut self.reports_every {
            // What was counted before a reset is told with it, not lost.
            let due = interval.ends(now.time).or(rings.then_some(counts.since));
            if let Some(begin) =
                due.filter(|_| (counts.left, counts.right) != (self.reported.left, self.reported.right))
            {
                reports.happened_at_all(begin, Evidence::Counts(*counts));
                self.reported = *counts;
            }
        }
        if rings {
            *counts = Counts { since: now.time, ..Counts::default() };
            self.reported = *counts;
        }
    }

    fn end(&mut self, slot: usize, _object: Object, _reports: &mut Reports) {
        self.watch.forget(slot);
    }

    fn reset(&mut self) {
        self.watch.clear();
    }

    fn reading(&self) -> Option<Reading> {
        self.tally.reading()
    }

    fn kept(&self) -> Option<KeptTally> {
        self.tally.kept(self.reported, self.reports_every.as_ref().and_then(|interval| interval.since))
    }

    fn recall(&mut self, kept: KeptTally, at: Timestamp) {
        let KeptTally::Line { counts, reported, interval_since } = kept else { return };
        (self.tally.0, self.reported) = (Some(counts.into()), reported.into());
        self.resets.asked_at(at);
        if let Some(interval) = &mut self.reports_every {
            interval.since = interval_since;
        }
    }
}
