//! Who stands, where and since when.
//!
//! An object stands where it was first seen until it is seen twice in a row farther from there than its tolerance; then
//! it stands where it is now. One that creeps is moving: the place it is measured from does not follow it.

use std::time::Duration;

use vigil_base::PointNorm;

use super::{CONFIRMING, Slots};
use crate::config::Anchor;
use crate::moment::{Moment, Place};
use crate::seen::Seen;
use crate::shape::distance;

/// Watches whether tracks stand.
#[derive(Debug)]
pub(crate) struct StillWatch {
    anchor: Anchor,
    /// Object sizes.
    tolerance: f64,
    tracks: Slots<Stand>,
}

/// Where a track stands.
#[derive(Debug, Default)]
struct Stand {
    /// Where it was when it came to stand.
    place: Option<Place>,
    /// When it was last seen there.
    last_there: Moment,
    /// Sightings in a row elsewhere.
    away: u8,
}

/// Where something stood.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Left {
    pub at: PointNorm,
    pub since: Moment,
    pub last_there: Moment,
}

impl Left {
    /// How long it stood, as far as it was seen.
    pub fn stood(&self) -> Duration {
        self.last_there.since(self.since)
    }
}

impl StillWatch {
    pub fn new(anchor: Anchor, tolerance: f64) -> Self {
        Self { anchor, tolerance, tracks: Slots::default() }
    }

    /// Takes in a sighting: where the object stands and since when, and the place that it has just left.
    pub fn see(&mut self, seen: &Seen) -> (Place, Option<Left>) {
        let here = seen.place(self.anchor);
        let stand = self.tracks.of(seen.slot);
        let Some(place) = stand.place else {
            *stand = Stand { place: Some(here), last_there: here.moment, away: 0 };
            return (here, None);
        };
        if distance(place.at, here.at, seen.aspect) <= self.tolerance * seen.size {
            (stand.last_there, stand.away) = (here.moment, 0);
            return (place, None);
        }
        stand.away += 1;
        if stand.away < CONFIRMING {
            return (place, None);
        }
        let left = stand.left();
        *stand = Stand { place: Some(here), last_there: here.moment, away: 0 };
        (here, left)
    }

    /// Forgets a track; where it last stood.
    pub fn forget(&mut self, slot: usize) -> Option<Left> {
        self.tracks.take(slot).left()
    }

    pub fn clear(&mut self) {
        self.tracks.clear();
    }
}

impl Stand {
    fn left(&self) -> Option<Left> {
        self.place.map(|place| Left { at: place.at, since: place.moment, last_there: self.last_there })
    }
}
