//! An object that goes against the allowed direction.
//!
//! Its progress along the allowed direction is followed. When it has fallen behind its own best place by the least
//! distance, and the way from there lies within the tolerance of the opposite direction, it goes the wrong way; until
//! it has come forward again as far from its worst place. So neither trembling nor crossing the lane is wrong,
//! reversing is, and how often it was looked at on its way does not matter.

use std::time::Duration;

use super::Machine;
use crate::config::WrongWayRule;
use crate::firing::Evidence;
use crate::moment::Place;
use crate::report::{Object, Reports};
use crate::seen::Seen;
use crate::tracks::Tracks;
use crate::watch::{Hold, Slots, ZoneWatch};

/// Fires while an object goes the wrong way.
#[derive(Debug)]
pub(super) struct WrongWay {
    rule: WrongWayRule,
    zone: ZoneWatch,
    courses: Slots<Course>,
}

/// An object's progress, picture widths along the allowed direction.
#[derive(Debug, Default)]
struct Course {
    /// Where it got farthest, before it went wrong.
    best: Option<(f64, Place)>,
    /// How far back it got, while it goes wrong.
    worst: f64,
    hold: Hold,
}

impl WrongWay {
    pub fn new(rule: WrongWayRule) -> Self {
        Self { zone: ZoneWatch::new(rule.zone.clone()), courses: Slots::default(), rule }
    }

    /// The allowed direction as a unit vector, in picture widths.
    fn direction(&self, aspect: f64) -> (f64, f64) {
        let (x, y) = (self.rule.allowed.0, self.rule.allowed.1 * aspect);
        let length = x.hypot(y);
        (x / length, y / length)
    }
}

impl Course {
    /// Takes in where an object is, at a progress; where it went wrong, if it did.
    fn follow(
        &mut self,
        here: Place,
        progress: f64,
        is_wrong: impl Fn(f64, Place) -> bool,
        back: f64,
    ) -> Option<Place> {
        let (mut high, mut place) = *self.best.get_or_insert((progress, here));
        let was_wrong = self.hold.since().is_some();
        let wrong = if was_wrong {
            self.worst = self.worst.min(progress);
            progress - self.worst < back
        } else {
            if progress >= high {
                (high, place) = (progress, here);
                self.best = Some((high, place));
            }
            is_wrong(high - progress, place)
        };
        let is_wrong_now = self.hold.update(wrong, here.moment, Duration::ZERO).is_some();
        if is_wrong_now && !was_wrong {
            self.worst = progress;
        } else if was_wrong && !is_wrong_now {
            self.best = Some((progress, here));
        }
        is_wrong_now.then_some(place)
    }
}

/// Degrees in the picture, 0 up, 90 right.
fn compass(x: f64, y: f64) -> f32 {
    x.atan2(-y).to_degrees().rem_euclid(360.0) as f32
}

impl Machine for WrongWay {
    fn see(&mut self, seen: &Seen, _tracks: &Tracks, reports: &mut Reports) {
        let anchor = self.rule.zone.anchor;
        let here = seen.place(anchor);
        if self.zone.see(seen).0.is_none() {
            self.courses.take(seen.slot);
            return reports.state(seen, anchor, None);
        }
        let (x, y) = self.direction(seen.aspect);
        let way = |from: Place| (here.at.x - from.at.x, (here.at.y - from.at.y) * seen.aspect);
        let least = self.rule.min_distance * seen.size;
        let opposite = self.rule.tolerance_degrees.to_radians().cos();
        let is_wrong = |fallen: f64, best: Place| {
            let (dx, dy) = way(best);
            fallen >= least && fallen >= opposite * dx.hypot(dy)
        };
        let progress = here.at.x * x + here.at.y * seen.aspect * y;
        let turned = self.courses.of(seen.slot).follow(here, progress, is_wrong, least);
        let holds = turned.map(|from| {
            let (dx, dy) = way(from);
            let (allowed_degrees, went_degrees) = (compass(x, y), compass(dx, dy));
            let evidence = Evidence::WrongWay { from: from.spot(), to: here.spot(), allowed_degrees, went_degrees };
            (from.moment.time, evidence)
        });
        reports.state(seen, anchor, holds);
    }

    fn end(&mut self, slot: usize, _object: Object, _reports: &mut Reports) {
        self.zone.forget(slot);
        self.courses.take(slot);
    }

    fn reset(&mut self) {
        self.zone.clear();
        self.courses.clear();
    }
}
