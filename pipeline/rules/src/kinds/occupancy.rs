//! More than may be in a zone, or in a room behind a line (ONVIF: `OccupancyCounter`, which counts up to the right and
//! down to the left).

use vigil_base::Timestamp;

use super::{Alarm, Machine};
use crate::config::{Capacity, Direction, OccupancyRule};
use crate::firing::{Evidence, Reading};
use crate::memory::KeptTally;
use crate::moment::Moment;
use crate::report::{Object, Reports};
use crate::seen::Seen;
use crate::tracks::Tracks;
use crate::watch::{Hold, LineWatch, ZoneWatch};

/// Fires while there are more than the capacity.
#[derive(Debug)]
pub(super) struct Occupancy {
    rule: OccupancyRule,
    counter: Counter,
    hold: Hold,
    peak: u32,
}

#[derive(Debug)]
enum Counter {
    Zone(ZoneWatch),
    /// A room: nobody can come out who did not go in unseen, so the count never falls below zero.
    Room {
        door: LineWatch,
        inside: u32,
        resets: Alarm,
    },
}

impl Occupancy {
    pub fn new(rule: OccupancyRule) -> Self {
        let counter = match &rule.of {
            Capacity::Zone(zone) => Counter::Zone(ZoneWatch::new(zone.clone())),
            Capacity::Line { line, reset } => {
                Counter::Room { door: LineWatch::new(line.clone()), inside: 0, resets: Alarm::new(reset.clone()) }
            }
        };
        Self { rule, counter, hold: Hold::default(), peak: 0 }
    }

    fn count(&self) -> u32 {
        match &self.counter {
            Counter::Zone(watch) => watch.count(),
            Counter::Room { inside, .. } => *inside,
        }
    }
}

impl Machine for Occupancy {
    fn see(&mut self, seen: &Seen, _tracks: &Tracks, _reports: &mut Reports) {
        match &mut self.counter {
            Counter::Zone(watch) => {
                watch.see(seen);
            }
            Counter::Room { door, inside, .. } => match door.see(seen).map(|crossing| crossing.direction) {
                Some(Direction::Right) => *inside = inside.saturating_add(1),
                Some(Direction::Left) => *inside = inside.saturating_sub(1),
                None => {}
            },
        }
    }

    fn conclude(&mut self, now: Moment, reports: &mut Reports) {
        if let Counter::Room { inside, resets, .. } = &mut self.counter
            && resets.rings(now.time)
        {
            *inside = 0;
        }
        let (count, capacity) = (self.count(), self.rule.capacity);
        let above = self.hold.update(count > capacity, now, self.rule.hold);
        self.peak = if above.is_some() { self.peak.max(count) } else { count };
        let evidence = Evidence::Occupancy { count, capacity, peak: self.peak };
        reports.state_at_all(0, above.map(|since| (since.time, evidence)));
    }

    fn end(&mut self, slot: usize, _object: Object, _reports: &mut Reports) {
        match &mut self.counter {
            Counter::Zone(watch) => watch.forget(slot),
            Counter::Room { door, .. } => door.forget(slot),
        }
    }

    fn reset(&mut self) {
        self.hold = Hold::default();
        match &mut self.counter {
            Counter::Zone(watch) => watch.clear(),
            Counter::Room { door, .. } => door.clear(),
        }
    }

    fn reading(&self) -> Option<Reading> {
        Some(Reading::Occupancy { count: self.count(), capacity: Some(self.rule.capacity) })
    }

    fn kept(&self) -> Option<KeptTally> {
        match &self.counter {
            Counter::Zone(_) => None,
            Counter::Room { inside, .. } => Some(KeptTally::Room { inside: *inside }),
        }
    }

    fn recall(&mut self, kept: KeptTally, at: Timestamp) {
        if let (Counter::Room { inside, resets, .. }, KeptTally::Room { inside: were }) = (&mut self.counter, kept) {
            *inside = were;
            resets.asked_at(at);
        }
    }
}
