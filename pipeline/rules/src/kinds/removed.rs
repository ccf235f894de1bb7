//! A thing that stood and is gone (ONVIF: `ObjectRemoved`).
//!
//! It is gone when it is seen elsewhere, or no longer seen at all: the tracker keeps what stood for half as long as it
//! stood, at most ten minutes, so that who passes before it takes nothing away. A stream that breaks removes nothing.

use super::Machine;
use crate::config::StandingRule;
use crate::firing::Evidence;
use crate::report::{Object, Reports};
use crate::seen::Seen;
use crate::tracks::Tracks;
use crate::watch::{Left, Slots, StillWatch, ZoneWatch};

/// Fires when something leaves a place where it has stood for long.
#[derive(Debug)]
pub(super) struct Removed {
    rule: StandingRule,
    zone: ZoneWatch,
    still: StillWatch,
    /// Whether the object was inside, and counted, since it stands where it stands.
    kept: Slots<bool>,
}

impl Removed {
    pub fn new(rule: StandingRule) -> Self {
        let still = StillWatch::new(rule.zone.anchor, rule.tolerance);
        Self { zone: ZoneWatch::new(rule.zone.clone()), still, rule, kept: Slots::default() }
    }

    /// What there is to say of a place that was left.
    fn missed(&self, left: Left, kept: bool) -> Option<Evidence> {
        let long = kept && left.stood() >= self.rule.time_threshold;
        let (since, last_seen) = (left.since.time, left.last_there.time);
        long.then_some(Evidence::Removed { at: left.at, since, last_seen })
    }
}

impl Machine for Removed {
    fn see(&mut self, seen: &Seen, _tracks: &Tracks, reports: &mut Reports) {
        let (inside, _) = self.zone.see(seen);
        let (_, left) = self.still.see(seen);
        let kept = std::mem::take(self.kept.of(seen.slot));
        if let Some(left) = left
            && let Some(evidence) = self.missed(left, kept)
        {
            reports.happened(seen, self.rule.zone.anchor, left.last_there.time, evidence);
        }
        *self.kept.of(seen.slot) = inside.is_some() || (kept && left.is_none());
    }

    fn end(&mut self, slot: usize, object: Object, reports: &mut Reports) {
        self.zone.forget(slot);
        let (left, kept) = (self.still.forget(slot), self.kept.take(slot));
        if let Some(left) = left
            && let Some(evidence) = self.missed(left, kept)
        {
            reports.happened_to(slot, Object { at: left.at, ..object }, left.last_there, evidence);
        }
    }

    fn reset(&mut self) {
        self.zone.clear();
        self.still.clear();
        self.kept.clear();
    }
}
