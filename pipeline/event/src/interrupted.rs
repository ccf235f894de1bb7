//! What rules had found and was cut off: the stream broke, or the edge ended. Where it still goes on when the camera is seen
//! again, its event goes on, too, and is no second alarm.
//!
//! Tracks have new numbers then, so what is the same is decided by what a stranger could check: the same rule and
//! place; about an object, one of the same class where the last one was, there as soon as the camera was seen again.
//! Nobody watched in between. So this is claimed of what stays where it is (parked cars, bags, full zones, a covered lens),
//! and not of what goes (wrong way, speeding, plates), nor after a longer break.

use std::time::Duration;

use vigil_base::event::Event;
use vigil_base::{BoxNorm, Evidence, Timestamp};
use vigil_rules::Firing;

/// Longest break after which something is taken for the same: an update or a restart of the box, of the camera or of a switch.
pub const MAX_BREAK: Duration = Duration::from_mins(10);
/// What was there all along is seen within so long of the first frame: a track needs a few sightings to begin.
const SEEN_AGAIN_WITHIN: Duration = Duration::from_secs(10);
/// Intersection over union with where the object was, from which one is taken for the same: a detector's boxes of one that
/// stands still overlap by more, neighbours in a row of parked cars by less.
const SAME_PLACE: f32 = 0.5;
/// Most that are remembered of one camera; beyond it the oldest are told anew.
pub const MAX_INTERRUPTED: usize = 64;

/// Events of what was cut off, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Interrupted {
    events: Vec<Event>,
    /// When the camera was seen again.
    back_at: Option<Timestamp>,
    is_changed: bool,
}

impl Interrupted {
    /// An event has ended because nobody looks any more.
    pub fn add(&mut self, event: Event) {
        if lasts(&event) {
            if self.events.len() == MAX_INTERRUPTED {
                self.events.remove(0);
            }
            self.events.push(event);
            self.is_changed = true;
        }
        self.back_at = None;
    }

    /// What another process was told. An event that is given twice counts by its last revision.
    pub fn recall(&mut self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            match self.events.iter_mut().find(|known| known.id == event.id) {
                Some(known) if known.revision < event.revision => *known = event,
                Some(_) => {}
                None => self.add(event),
            }
        }
        self.is_changed = true;
    }

    /// A frame is looked at; the first one after a break decides what may go on.
    pub fn look(&mut self, now: Timestamp) {
        if self.events.is_empty() || self.back_at.is_some() {
            return;
        }
        self.back_at = Some(now);
        let before = self.events.len();
        self.events.retain(|event| now >= event.end_time && now.since(event.end_time) <= MAX_BREAK);
        self.is_changed |= self.events.len() != before;
    }

    /// The event that goes on with a firing that begins, about an object at `bbox` of a class, or about none.
    pub fn take(&mut self, firing: &Firing, class: &str, bbox: BoxNorm) -> Option<Event> {
        let back_at = self.back_at?;
        if firing.begin > back_at + SEEN_AGAIN_WITHIN {
            return None;
        }
        let index = self.events.iter().position(|event| goes_on(event, firing, class, bbox))?;
        self.is_changed = true;
        Some(self.events.remove(index))
    }

    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Whether they changed since they were last asked for.
    pub fn is_changed(&self) -> bool {
        self.is_changed
    }

    pub fn set_saved(&mut self) {
        self.is_changed = false;
    }
}

/// Whether what was found is of a kind that stays where it is.
fn lasts(event: &Event) -> bool {
    let evidence = event.finding.as_ref().map(|finding| &finding.evidence);
    matches!(
        evidence,
        Some(
            Evidence::Stay { .. }
                | Evidence::Standing { .. }
                | Evidence::Abandoned { .. }
                | Evidence::Occupancy { .. }
                | Evidence::Density { .. }
                | Evidence::Tampered { .. }
        )
    )
}

fn goes_on(event: &Event, firing: &Firing, class: &str, bbox: BoxNorm) -> bool {
    let Some(finding) = &event.finding else { return false };
    let same_rule = (&finding.rule, finding.kind, &finding.zone) == (&firing.rule, firing.kind, &firing.zone);
    let same_cause = match (&finding.evidence, &firing.evidence) {
        (Evidence::Tampered { cause, .. }, Evidence::Tampered { cause: now, .. }) => cause == now,
        _ => true,
    };
    let last_box = event.path.last().map_or(event.best_box, |point| point.bbox);
    let same_object = firing.object.is_none() || overlap(last_box, bbox) >= SAME_PLACE;
    same_rule && same_cause && *event.object_class == *class && same_object
}

/// Intersection over union; both are shares of the same picture.
fn overlap(a: BoxNorm, b: BoxNorm) -> f32 {
    let unit = vigil_base::Size::new(1, 1);
    a.to_px(unit).iou(&b.to_px(unit))
}
