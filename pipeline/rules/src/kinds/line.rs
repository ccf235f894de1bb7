//! Line crossing and counting (ONVIF: `LineDetector`, `CountAggregation`).

use std::time::Duration;

use super::{Alarm, Interval, Machine};
use crate::config::{Direction, Directions, LineRule};
use crate::firing::{Counts, Evidence, Reading};
use crate::moment::Moment;
use crate::report::{Object, Reports};
use crate::schedule::TimesOfDay;
use crate::seen::Seen;
use crate::tracks::Tracks;
use crate::watch::LineWatch;

impl Counts {
    fn add(&mut self, direction: Direction) {
        match direction {
            Direction::Left => self.left += 1,
            Direction::Right => self.right += 1,
        }
    }

    fn begin(&mut self, now: Moment) {
        *self = Self { since: now.time, ..Self::default() };
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
    counts: Option<Counts>,
}

impl LineCrossed {
    pub fn new(rule: LineRule, directions: Directions) -> Self {
        Self { watch: LineWatch::new(rule.clone()), rule, directions, counts: None }
    }
}

impl Machine for LineCrossed {
    fn see(&mut self, seen: &Seen, _tracks: &Tracks, reports: &mut Reports) {
        let Some(crossing) = self.watch.see(seen) else { return };
        self.counts.get_or_insert(Counts { since: crossing.at.time, ..Counts::default() }).add(crossing.direction);
        if self.directions.listens_to(crossing.direction) {
            reports.happened(seen, self.rule.anchor, crossing.at.time, Evidence::Crossing(crossing));
        }
    }

    fn conclude(&mut self, now: Moment, _reports: &mut Reports) {
        self.counts.get_or_insert(Counts { since: now.time, ..Counts::default() });
    }

    fn end(&mut self, slot: usize, _object: Object, _reports: &mut Reports) {
        self.watch.forget(slot);
    }

    fn reset(&mut self) {
        self.watch.clear();
    }

    fn reading(&self) -> Option<Reading> {
        self.counts.map(Reading::Counts)
    }
}

/// Counts crossings; fires only to report the counts.
#[derive(Debug)]
pub(super) struct LineCount {
    watch: LineWatch,
    counts: Option<Counts>,
    reported: Counts,
    resets: Alarm,
    reports_every: Option<Interval>,
}

impl LineCount {
    pub fn new(rule: LineRule, reset: TimesOfDay, report_every: Option<Duration>) -> Self {
        Self {
            watch: LineWatch::new(rule),
            counts: None,
            reported: Counts::default(),
            resets: Alarm::new(reset),
            reports_every: report_every.map(Interval::new),
        }
    }
}

impl Machine for LineCount {
    fn see(&mut self, seen: &Seen, _tracks: &Tracks, _reports: &mut Reports) {
        if let Some(crossing) = self.watch.see(seen) {
            self.counts.get_or_insert(Counts { since: crossing.at.time, ..Counts::default() }).add(crossing.direction);
        }
    }

    fn conclude(&mut self, now: Moment, reports: &mut Reports) {
        let counts = self.counts.get_or_insert(Counts { since: now.time, ..Counts::default() });
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
            counts.begin(now);
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
        self.counts.map(Reading::Counts)
    }
}
