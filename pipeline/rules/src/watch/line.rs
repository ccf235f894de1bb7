//! Who crosses a line.
//!
//! A crossing is sure when an object was on one side, went over the line, and was seen on the other side twice in a
//! row, the second time clear of the line. So none of these is one: a detection on the wrong side for one frame; a walk
//! along the line that trembles over it; a track that begins on the line; a way around the line's end; over and back
//! again. An object that is lost before it is clear of the line is not counted.
//!
//! Passages add up (right less left) from when a side was sure until the next is: so a line may have any bends.

use std::sync::Arc;

use super::{CONFIRMING, Slots};
use crate::Direction;
use crate::config::LineRule;
use crate::firing::Crossing;
use crate::moment::Place;
use crate::seen::Seen;
use crate::shape::{Line, between};

/// Watches all tracks of a camera at one line.
#[derive(Debug)]
pub(crate) struct LineWatch {
    rule: LineRule,
    tracks: Slots<Walk>,
}

/// A track's way in respect of the line.
#[derive(Debug, Default)]
struct Walk {
    last: Option<Place>,
    /// Sightings in a row without a passage between them.
    run: u8,
    /// It was once surely on a side.
    had_side: bool,
    /// Passages to the right less passages to the left since it last was.
    net: i32,
    /// The last passage in the direction of `net`: where the line was passed, between which sightings.
    passed: Option<(Place, Place, Place)>,
}

impl LineWatch {
    pub fn new(rule: LineRule) -> Self {
        Self { rule, tracks: Slots::default() }
    }

    /// Takes in a sighting; the crossing that is now sure. One of an object that is not eligible waits until it is, and
    /// is forgotten when it goes back before.
    pub fn see(&mut self, seen: &Seen) -> Option<Crossing> {
        let here = seen.place(self.rule.anchor);
        let walk = self.tracks.of(seen.slot);
        walk.step(&self.rule.line, here);
        let clear = || self.rule.line.distance(here.at, seen.aspect) > self.rule.hysteresis * seen.size;
        if walk.run < CONFIRMING || (walk.had_side && walk.net == 0) || !clear() {
            return None;
        }
        if !walk.had_side {
            (walk.had_side, walk.net) = (true, 0);
            return None;
        }
        if !seen.eligible {
            return None;
        }
        let direction = if walk.net > 0 { Direction::Right } else { Direction::Left };
        walk.net = 0;
        let (at, from, to) = walk.passed.take()?;
        Some(Crossing { direction, at: at.spot(), from: from.spot(), to: to.spot() })
    }

    pub fn forget(&mut self, slot: usize) {
        self.tracks.take(slot);
    }

    pub fn clear(&mut self) {
        self.tracks.clear();
    }
}

impl Walk {
    fn step(&mut self, line: &Arc<Line>, here: Place) {
        let last = self.last.replace(here);
        let passage = last.and_then(|last| Some((last, line.passage(last.at, here.at)?)));
        let Some((last, passage)) = passage else {
            self.run = self.run.saturating_add(1);
            return;
        };
        self.run = 1;
        self.net += passage.net;
        if self.net.signum() == passage.net.signum() {
            let moment = last.moment.towards(here.moment, passage.share);
            let at = Place { moment, at: between(last.at, here.at, passage.share) };
            self.passed = Some((at, last, here));
        }
    }
}
