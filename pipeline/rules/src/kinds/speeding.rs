//! An object that is too fast.
//!
//! A speed is the straight way between two sightings at least a window apart, over the time between them. The ends of
//! the way tremble with the box, which a longer window divides by. It is too high when two measurements in a row are,
//! and so is the way over both of them: a box that jumps away and back goes nowhere.

use vigil_base::PointNorm;
use vigil_base::event::Speed;

use super::Machine;
use crate::config::{SpeedScale, SpeedingRule};
use crate::firing::Evidence;
use crate::moment::{Moment, Place};
use crate::report::{Object, Reports};
use crate::seen::Seen;
use crate::tracks::Tracks;
use crate::watch::{Slots, ZoneWatch};

/// A way that took more windows than this was partly hidden: it tells no speed.
const MAX_WINDOWS: u32 = 4;

/// Fires while an object is faster than it may be.
#[derive(Debug)]
pub(super) struct Speeding {
    rule: SpeedingRule,
    zone: ZoneWatch,
    runs: Slots<Run>,
}

/// An object's measurements.
#[derive(Debug, Default)]
struct Run {
    /// Where the current one began.
    from: Option<Post>,
    /// Where the one before began, and its speed.
    before: Option<(Post, f64)>,
    /// Since when it is too fast, and the highest speed since.
    fast: Option<(Moment, f64)>,
}

/// A place in the picture and on the scale.
#[derive(Debug, Clone, Copy)]
struct Post {
    place: Place,
    at: [f64; 2],
}

impl Post {
    fn speed_to(&self, later: &Self) -> f64 {
        let took = later.place.moment.since(self.place.moment).as_secs_f64();
        (later.at[0] - self.at[0]).hypot(later.at[1] - self.at[1]) / took
    }
}

impl Run {
    /// Takes in a measurement; the speed.
    fn measure(&mut self, from: Post, here: Post, limit: f64) -> f64 {
        let speed = from.speed_to(&here);
        let before = self.before.replace((from, speed));
        let too_fast = |(start, first): (Post, f64)| first > limit && speed > limit && start.speed_to(&here) > limit;
        match (&mut self.fast, before) {
            (Some((_, peak)), _) if speed > limit => *peak = peak.max(speed),
            (Some(_), Some((_, first))) if first <= limit => self.fast = None,
            (None, Some(before)) if too_fast(before) => {
                self.fast = Some((before.0.place.moment, speed.max(before.1)));
            }
            _ => {}
        }
        speed
    }
}

impl Speeding {
    pub fn new(rule: SpeedingRule) -> Self {
        Self { zone: ZoneWatch::new(rule.zone.clone()), runs: Slots::default(), rule }
    }

    fn speed(&self, value: f64) -> Speed {
        match self.rule.scale {
            SpeedScale::Ground(_) => Speed::MetresPerSecond(value as f32),
            SpeedScale::Picture => Speed::PictureWidthsPerSecond(value as f32),
        }
    }
}

impl SpeedScale {
    /// Where a point of the picture is; `None` where the ground cannot be measured.
    fn locate(&self, at: PointNorm, aspect: f64) -> Option<[f64; 2]> {
        match self {
            Self::Ground(ground) => ground.locate(at).map(|place| [place.x, place.y]),
            Self::Picture => Some([at.x, at.y * aspect]),
        }
    }
}

impl Machine for Speeding {
    fn see(&mut self, seen: &Seen, _tracks: &Tracks, reports: &mut Reports) {
        let anchor = self.rule.zone.anchor;
        let here = seen.place(anchor);
        let inside = self.zone.see(seen).0.is_some();
        let run = self.runs.of(seen.slot);
        let located = self.rule.scale.locate(here.at, seen.aspect).filter(|_| inside);
        let Some(at) = located else {
            *run = Run::default();
            return reports.state(seen, anchor, None);
        };
        let here = Post { place: here, at };
        let Some(from) = run.from else {
            run.from = Some(here);
            return;
        };
        let took = here.place.moment.since(from.place.moment);
        if took < self.rule.window {
            return;
        }
        run.from = Some(here);
        if took > self.rule.window * MAX_WINDOWS {
            run.before = None;
            return;
        }
        let speed = run.measure(from, here, self.rule.limit);
        let fast = run.fast;
        let holds = fast.map(|(since, peak)| {
            let (from, to) = (from.place.spot(), here.place.spot());
            let [speed, peak, limit] = [speed, peak, self.rule.limit].map(|value| self.speed(value));
            (since.time, Evidence::Speeding { speed, peak, limit, from, to })
        });
        reports.state(seen, anchor, holds);
    }

    fn end(&mut self, slot: usize, _object: Object, _reports: &mut Reports) {
        self.zone.forget(slot);
        self.runs.take(slot);
    }

    fn reset(&mut self) {
        self.zone.clear();
        self.runs.clear();
    }
}
