//! Who is in a zone, and since when.
//!
//! An object is inside after two sightings in a row inside, and outside after two in a row that are outside and clear
//! of the border; where it first was is neither entering nor leaving. It entered when its straight way between two
//! sightings passed the border.

use super::{CONFIRMING, Slots};
use crate::config::ZoneRule;
use crate::moment::{Moment, Place, Spot};
use crate::seen::Seen;
use crate::shape::between;

/// Watches all tracks of a camera at one zone.
#[derive(Debug)]
pub(crate) struct ZoneWatch {
    rule: ZoneRule,
    tracks: Slots<Visit>,
}

/// How the zone's border was passed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Passing {
    pub at: Place,
    pub from: Spot,
    pub to: Spot,
}

/// What a sighting changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Change {
    /// It came from outside.
    Entered(Passing),
    /// It went outside.
    Left(Passing),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Side {
    #[default]
    Unknown,
    Outside,
    Inside,
}

/// A track in respect of the zone.
#[derive(Debug, Default)]
struct Visit {
    side: Side,
    /// The other side, when sightings speak for it: how many in a row, and the first of them.
    other: Option<(Side, u8, Moment)>,
    /// Of the last sighting: where, and whether it was within the border.
    last: Option<(Place, bool)>,
    /// How the border was last passed.
    passed: Option<Passing>,
    /// When it came in, while it is inside.
    since: Moment,
    /// Whether it was of the rule's classes when it was last seen: a track may change its class.
    eligible: bool,
}

impl ZoneWatch {
    pub fn new(rule: ZoneRule) -> Self {
        Self { rule, tracks: Slots::default() }
    }

    /// Takes in a sighting; since when the object is inside, where it is, and what changed. One that is not eligible
    /// comes inside once it is.
    pub fn see(&mut self, seen: &Seen) -> (Option<Moment>, Option<Change>) {
        let here = seen.place(self.rule.anchor);
        let visit = self.tracks.of(seen.slot);
        visit.eligible = seen.eligible;
        let Some(zone) = &self.rule.zone else {
            return (visit.see_anywhere(here, seen.eligible), None);
        };
        let within = zone.contains(here.at);
        if let Some((last, was_within)) = visit.last.replace((here, within))
            && was_within != within
        {
            let share = zone.border(last.at, here.at);
            let moment = last.moment.towards(here.moment, share);
            let at = Place { moment, at: between(last.at, here.at, share) };
            visit.passed = Some(Passing { at, from: last.spot(), to: here.spot() });
        }
        let near = || zone.distance(here.at, seen.aspect) <= self.rule.hysteresis * seen.size;
        let says = match (within, visit.side) {
            (true, _) => Side::Inside,
            (false, Side::Outside) => Side::Outside,
            // On the border: not yet outside for who was inside, and nothing at all for who is new.
            (false, side) if near() => side,
            (false, _) => Side::Outside,
        };
        let change = visit.hear(says, here.moment, seen.eligible);
        (visit.inside(), change)
    }

    /// How many are inside, seen or hidden.
    pub fn count(&self) -> u32 {
        self.tracks.iter().filter(|visit| visit.side == Side::Inside && visit.eligible).count() as u32
    }

    pub fn forget(&mut self, slot: usize) {
        self.tracks.take(slot);
    }

    pub fn clear(&mut self) {
        self.tracks.clear();
    }
}

impl Visit {
    fn inside(&self) -> Option<Moment> {
        (self.side == Side::Inside).then_some(self.since)
    }

    /// In a zone that is everywhere.
    fn see_anywhere(&mut self, here: Place, eligible: bool) -> Option<Moment> {
        if self.last.replace((here, true)).is_none() {
            self.since = here.moment;
        }
        if eligible {
            self.side = Side::Inside;
        }
        self.inside()
    }

    fn hear(&mut self, says: Side, now: Moment, eligible: bool) -> Option<Change> {
        if says == self.side || says == Side::Unknown {
            self.other = None;
            return None;
        }
        let (run, first) = match self.other {
            Some((side, run, first)) if side == says => (run.saturating_add(1), first),
            _ => (1, now),
        };
        self.other = Some((says, run, first));
        if run < CONFIRMING || (says == Side::Inside && !eligible) {
            return None;
        }
        self.other = None;
        let was = std::mem::replace(&mut self.side, says);
        match (was, says, self.passed) {
            (Side::Outside, Side::Inside, Some(passing)) => {
                self.since = passing.at.moment;
                Some(Change::Entered(passing))
            }
            (Side::Inside, Side::Outside, Some(passing)) => Some(Change::Left(passing)),
            (_, Side::Inside, _) => {
                self.since = first;
                None
            }
            _ => None,
        }
    }
}
