//! Inside, entering and leaving a zone (ONVIF: `FieldDetector`), and staying there for long (`LoiteringDetector`).

use std::time::Duration;

use super::Machine;
use crate::config::{RuleKind, ZoneRule};
use crate::firing::{Evidence, Reading};
use crate::moment::Moment;
use crate::report::{Object, Reports};
use crate::seen::Seen;
use crate::tracks::Tracks;
use crate::watch::{Change, ZoneWatch};

/// Fires while an object is inside, or when one enters, or when one leaves.
#[derive(Debug)]
pub(super) struct Zoned {
    rule: ZoneRule,
    kind: RuleKind,
    watch: ZoneWatch,
}

impl Zoned {
    pub fn new(rule: ZoneRule, kind: RuleKind) -> Self {
        Self { watch: ZoneWatch::new(rule.clone()), rule, kind }
    }
}

fn stay(since: Moment, now: Moment) -> Evidence {
    Evidence::Stay { since: since.time, dwell: now.since(since) }
}

impl Machine for Zoned {
    fn see(&mut self, seen: &Seen, _tracks: &Tracks, reports: &mut Reports) {
        let (inside, change) = self.watch.see(seen);
        let anchor = self.rule.anchor;
        match (self.kind, change) {
            (RuleKind::Inside, _) => {
                reports.state(seen, anchor, inside.map(|since| (since.time, stay(since, seen.moment))));
            }
            (RuleKind::Entered, Some(Change::Entered(passing))) | (RuleKind::Left, Some(Change::Left(passing))) => {
                let evidence = Evidence::Border { at: passing.at.spot(), from: passing.from, to: passing.to };
                reports.happened(seen, anchor, passing.at.moment.time, evidence);
            }
            _ => {}
        }
    }

    fn end(&mut self, slot: usize, _object: Object, _reports: &mut Reports) {
        self.watch.forget(slot);
    }

    fn reset(&mut self) {
        self.watch.clear();
    }

    fn reading(&self) -> Option<Reading> {
        (self.kind == RuleKind::Inside).then(|| Reading::Occupancy { count: self.watch.count(), capacity: None })
    }
}

/// Fires while an object has been inside for longer than it may be.
#[derive(Debug)]
pub(super) struct Loitering {
    rule: ZoneRule,
    threshold: Duration,
    watch: ZoneWatch,
}

impl Loitering {
    pub fn new(rule: ZoneRule, threshold: Duration) -> Self {
        Self { watch: ZoneWatch::new(rule.clone()), rule, threshold }
    }
}

impl Machine for Loitering {
    fn see(&mut self, seen: &Seen, _tracks: &Tracks, reports: &mut Reports) {
        let (inside, _) = self.watch.see(seen);
        let long = inside.filter(|since| seen.moment.since(*since) >= self.threshold);
        reports.state(seen, self.rule.anchor, long.map(|since| (since.time, stay(since, seen.moment))));
    }

    fn end(&mut self, slot: usize, _object: Object, _reports: &mut Reports) {
        self.watch.forget(slot);
    }

    fn reset(&mut self) {
        self.watch.clear();
    }
}
