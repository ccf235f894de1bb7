//! A vehicle that stands where it may not.

use super::Machine;
use crate::config::StandingRule;
use crate::firing::Evidence;
use crate::report::{Object, Reports};
use crate::seen::Seen;
use crate::tracks::Tracks;
use crate::watch::{StillWatch, ZoneWatch};

/// Fires while an object has stood inside for longer than it may.
#[derive(Debug)]
pub(super) struct Stopped {
    rule: StandingRule,
    zone: ZoneWatch,
    still: StillWatch,
}

impl Stopped {
    pub fn new(rule: StandingRule) -> Self {
        let still = StillWatch::new(rule.zone.anchor, rule.tolerance);
        Self { zone: ZoneWatch::new(rule.zone.clone()), still, rule }
    }
}

impl Machine for Stopped {
    fn see(&mut self, seen: &Seen, _tracks: &Tracks, reports: &mut Reports) {
        let (inside, _) = self.zone.see(seen);
        let (place, _) = self.still.see(seen);
        let stood = seen.moment.since(place.moment);
        let holds = inside.is_some() && stood >= self.rule.time_threshold;
        let since = place.moment.time;
        let evidence = Evidence::Standing { at: place.at, since, stood };
        reports.state(seen, self.rule.zone.anchor, holds.then_some((since, evidence)));
    }

    fn end(&mut self, slot: usize, _object: Object, _reports: &mut Reports) {
        self.zone.forget(slot);
        self.still.forget(slot);
    }

    fn reset(&mut self) {
        self.zone.clear();
        self.still.clear();
    }
}
