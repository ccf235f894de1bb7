//! A plate that is on a list, or is not (ONVIF: `Recognition/LicensePlate`).

use std::sync::Arc;

use vigil_base::event::Plate;

use super::Machine;
use crate::config::{Anchor, PlateMatch, PlateRule};
use crate::firing::Evidence;
use crate::report::{Object, Reports};
use crate::seen::Seen;
use crate::tracks::Tracks;
use crate::watch::Slots;

/// Fires once for each track whose plate is looked for.
#[derive(Debug)]
pub(super) struct PlateListed {
    rule: PlateRule,
    tracks: Slots<Reading>,
}

#[derive(Debug, Default)]
enum Reading {
    #[default]
    None,
    /// To be told with the next sighting on which the object counts.
    Wanted(Evidence),
    Told,
}

impl PlateListed {
    pub fn new(rule: PlateRule) -> Self {
        Self { rule, tracks: Slots::default() }
    }
}

impl Machine for PlateListed {
    fn read(&mut self, slot: usize, plate: &Plate) {
        let reading = self.tracks.of(slot);
        let likely = plate.confidence >= self.rule.min_likelihood.get();
        if matches!(reading, Reading::Told) || !likely {
            return;
        }
        let listed = self.rule.list.holds(&plate.text);
        *reading = if listed == (self.rule.on == PlateMatch::Listed) {
            let text = Arc::from(plate.text.as_str());
            Reading::Wanted(Evidence::Plate { text, likelihood: plate.confidence, listed })
        } else {
            // A better reading shows that the one before was wrong.
            Reading::None
        };
    }

    fn see(&mut self, seen: &Seen, _tracks: &Tracks, reports: &mut Reports) {
        let reading = self.tracks.of(seen.slot);
        if !seen.eligible || !matches!(reading, Reading::Wanted(_)) {
            return;
        }
        if let Reading::Wanted(evidence) = std::mem::replace(reading, Reading::Told) {
            reports.happened(seen, Anchor::BottomCentre, seen.moment.time, evidence);
        }
    }

    fn end(&mut self, slot: usize, _object: Object, _reports: &mut Reports) {
        self.tracks.take(slot);
    }

    fn reset(&mut self) {
        self.tracks.clear();
    }
}
