//! What the kinds tell of a frame, before schedules and cool-downs judge it.

use vigil_base::{PointNorm, Timestamp, TrackId};

use crate::config::Anchor;
use crate::firing::Evidence;
use crate::moment::Moment;
use crate::seen::Seen;

/// What one rule tells of one frame. Kept from frame to frame, so that nothing is allocated while nothing is told.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    items: Vec<Report>,
    /// By key: whether the last that was told of its state is that it is so.
    told: Vec<bool>,
}

/// Keys of what is about no object; those of tracks come after.
const WHOLE_KEYS: usize = 8;

/// The key of what is about a track.
pub(crate) fn key_of(slot: usize) -> usize {
    WHOLE_KEYS + slot
}

/// One thing that was told.
#[derive(Debug)]
pub(crate) struct Report {
    /// What the firing is about, among all of this rule's: a track ([`key_of`]), or something of the kind's own.
    pub key: usize,
    pub object: Option<Object>,
    pub what: What,
    /// Watched time of the sighting, then the order of telling: what decides who is first.
    pub order: (i64, u64, usize),
    /// Whether the object counts; a state that is already reported goes on either way.
    pub eligible: bool,
}

/// Whom it is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Object {
    pub track: TrackId,
    pub class: u16,
    pub at: PointNorm,
}

#[derive(Debug)]
pub(crate) enum What {
    /// Something happened.
    Happened { begin: Timestamp, evidence: Evidence },
    /// Something is so; told on every frame on which it is.
    Holds { begin: Timestamp, evidence: Evidence },
    /// It is not so.
    Over,
}

impl Reports {
    /// An object did something.
    pub fn happened(&mut self, seen: &Seen, anchor: Anchor, begin: Timestamp, evidence: Evidence) {
        self.tell(seen, anchor, What::Happened { begin, evidence });
    }

    /// Something is so of an object, or `None`: it is not.
    pub fn state(&mut self, seen: &Seen, anchor: Anchor, holds: Option<(Timestamp, Evidence)>) {
        if let Some(what) = self.change(key_of(seen.slot), holds) {
            self.tell(seen, anchor, what);
        }
    }

    /// As [`Reports::happened`], about an object that is no longer seen.
    pub fn happened_to(&mut self, slot: usize, object: Object, begin: Moment, evidence: Evidence) {
        let order = (begin.watched, object.track.0, self.items.len());
        let what = What::Happened { begin: begin.time, evidence };
        self.items.push(Report { key: key_of(slot), object: Some(object), what, order, eligible: true });
    }

    /// As [`Reports::happened`], about no object.
    pub fn happened_at_all(&mut self, begin: Timestamp, evidence: Evidence) {
        self.tell_of_none(0, What::Happened { begin, evidence });
    }

    /// As [`Reports::state`], about no object; `key`, below 8, tells several such states of one rule apart.
    pub fn state_at_all(&mut self, key: usize, holds: Option<(Timestamp, Evidence)>) {
        if let Some(what) = self.change(key, holds) {
            self.tell_of_none(key, what);
        }
    }

    /// A track is gone.
    pub fn forget(&mut self, slot: usize) {
        if let Some(told) = self.told.get_mut(key_of(slot)) {
            *told = false;
        }
    }

    /// Whatever any key stood for is gone, and what was told with it.
    pub fn clear(&mut self) {
        self.items.clear();
        self.told.fill(false);
    }

    /// What there is to tell of a state: that it is so each time, that it is not once.
    fn change(&mut self, key: usize, holds: Option<(Timestamp, Evidence)>) -> Option<What> {
        if key >= self.told.len() {
            self.told.resize(key + 1, false);
        }
        let was = std::mem::replace(&mut self.told[key], holds.is_some());
        match holds {
            Some((begin, evidence)) => Some(What::Holds { begin, evidence }),
            None => was.then_some(What::Over),
        }
    }

    /// All that was told, the earliest first; at one time, the lowest track first.
    pub fn take(&mut self) -> impl Iterator<Item = Report> + '_ {
        self.items.sort_unstable_by_key(|report| report.order);
        self.items.drain(..)
    }

    fn tell(&mut self, seen: &Seen, anchor: Anchor, what: What) {
        self.items.push(Report {
            key: key_of(seen.slot),
            object: Some(Object { track: seen.track, class: seen.class, at: seen.at(anchor) }),
            what,
            order: (seen.moment.watched, seen.track.0, self.items.len()),
            eligible: seen.eligible,
        });
    }

    fn tell_of_none(&mut self, key: usize, what: What) {
        let order = (i64::MAX, 0, self.items.len());
        self.items.push(Report { key, object: None, what, order, eligible: true });
    }
}
