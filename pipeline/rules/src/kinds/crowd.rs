//! How densely objects stand.
//!
//! Above 3 to 4 persons per square metre a crowd no longer moves freely, above 5 it becomes dangerous (Fruin, "The
//! causes and prevention of crowd disasters", 1993). The count is of tracked objects: where people hide each other it
//! is too low, so the limit belongs below what is dangerous.

use super::Machine;
use crate::config::{CrowdRule, Density};
use crate::firing::{DensityUnit, Evidence, Reading};
use crate::moment::Moment;
use crate::report::{Object, Reports};
use crate::seen::Seen;
use crate::tracks::Tracks;
use crate::watch::{Hold, ZoneWatch};

/// Fires while a zone is fuller than it may be.
#[derive(Debug)]
pub(super) struct Crowd {
    rule: CrowdRule,
    watch: ZoneWatch,
    hold: Hold,
}

impl Crowd {
    pub fn new(rule: CrowdRule) -> Self {
        Self { watch: ZoneWatch::new(rule.zone.clone()), rule, hold: Hold::default() }
    }

    fn limit(&self) -> (f64, DensityUnit) {
        match self.rule.limit.density {
            Density::PerSquareMetre(limit) => (limit, DensityUnit::PerSquareMetre),
            Density::PerPicture(limit) => (limit, DensityUnit::PerPicture),
        }
    }

    fn density(&self) -> (u32, f64) {
        let count = self.watch.count();
        (count, f64::from(count) / self.rule.limit.area)
    }
}

impl Machine for Crowd {
    fn see(&mut self, seen: &Seen, _tracks: &Tracks, _reports: &mut Reports) {
        self.watch.see(seen);
    }

    fn conclude(&mut self, now: Moment, reports: &mut Reports) {
        let ((count, density), (limit, unit)) = (self.density(), self.limit());
        let above = self.hold.update(density > limit, now, self.rule.hold);
        let evidence = Evidence::Density { count, density, limit, unit };
        reports.state_at_all(0, above.map(|since| (since.time, evidence)));
    }

    fn end(&mut self, slot: usize, _object: Object, _reports: &mut Reports) {
        self.watch.forget(slot);
    }

    fn reset(&mut self) {
        self.hold = Hold::default();
        self.watch.clear();
    }

    fn reading(&self) -> Option<Reading> {
        let ((count, density), (_, unit)) = (self.density(), self.limit());
        Some(Reading::Density { count, density, unit })
    }
}
