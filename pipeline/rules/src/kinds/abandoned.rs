//! A thing that is left alone (ONVIF: `ObjectAbandoned`).
//!
//! As PETS 2006 defined it (Thirde, Li and Ferryman, "Overview of the PETS2006 challenge"): luggage is attended while
//! its owner is within three metres, and abandoned when nobody has attended it for a time. Who is nearest when the
//! thing comes to stand owns it; who merely passes by does not attend it. When the owner's track ends beside the thing,
//! the nearest person there takes over, for tracks change their ids where people hide each other.

use vigil_base::detection::ModelIdentity;
use vigil_base::{PointNorm, TrackId};

use super::Machine;
use crate::config::{AbandonedRule, Reach};
use crate::firing::Evidence;
use crate::moment::Moment;
use crate::report::{Object, Reports};
use crate::seen::Seen;
use crate::shape::distance;
use crate::tracks::{Track, Tracks};
use crate::watch::{Slots, StillWatch, ZoneWatch};

/// Fires while a thing stands without its owner.
#[derive(Debug)]
pub(super) struct Abandoned {
    rule: AbandonedRule,
    zone: ZoneWatch,
    still: StillWatch,
    things: Slots<Option<Thing>>,
    /// By class index.
    owners: Vec<bool>,
}

/// A thing that stands.
#[derive(Debug, Clone, Copy)]
struct Thing {
    owner: Option<TrackId>,
    /// When it was last attended, or came to stand.
    attended: Moment,
    /// Whether it was at the last sighting.
    is_attended: bool,
}

impl Abandoned {
    pub fn new(rule: AbandonedRule) -> Self {
        let standing = &rule.standing;
        let (zone, still) =
            (ZoneWatch::new(standing.zone.clone()), StillWatch::new(standing.zone.anchor, standing.tolerance));
        Self { zone, still, things: Slots::default(), owners: Vec::new(), rule }
    }

    /// How far an owner is from the thing, as a share of the reach; `None` beyond it.
    fn nearness(&self, owner: &Track, at: PointNorm, aspect: f64) -> Option<f64> {
        let share = match self.rule.attended_within {
            Reach::Sizes(sizes) => distance(owner.foot, at, aspect) / (sizes * owner.size),
            Reach::Metres(metres) => {
                let ground = self.rule.ground.as_ref()?;
                ground.locate(owner.foot)?.distance(ground.locate(at)?) / metres
            }
        };
        (share <= 1.0).then_some(share)
    }

    /// The nearest owner within reach.
    fn nearest(&self, tracks: &Tracks, at: PointNorm, aspect: f64) -> Option<TrackId> {
        let is_owner = |track: &&Track| self.owners.get(usize::from(track.class)).copied().unwrap_or(false);
        let near = |track: &Track| self.nearness(track, at, aspect).map(|share| (share, track.id));
        tracks.iter().filter(is_owner).filter_map(near).min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, id)| id)
    }

    /// A standing thing after a sighting.
    fn attend(&self, thing: Option<Thing>, seen: &Seen, at: PointNorm, tracks: &Tracks) -> Thing {
        let Some(thing) = thing else {
            let owner = self.nearest(tracks, at, seen.aspect);
            return Thing { owner, attended: seen.moment, is_attended: owner.is_some() };
        };
        let (owner, is_attended) = match thing.owner.map(|id| (id, tracks.get(id))) {
            Some((id, Some(owner))) => (Some(id), self.nearness(owner, at, seen.aspect).is_some()),
            Some((id, None)) if thing.is_attended => {
                let heir = self.nearest(tracks, at, seen.aspect);
                (heir.or(Some(id)), heir.is_some())
            }
            Some((id, None)) => (Some(id), false),
            None => (None, false),
        };
        Thing { owner, attended: if is_attended { seen.moment } else { thing.attended }, is_attended }
    }
}

impl Machine for Abandoned {
    fn learn_classes(&mut self, model: &ModelIdentity) {
        self.owners.clear();
        self.owners.extend(model.classes.iter().map(|class| self.rule.owners.contains(class)));
    }

    fn see(&mut self, seen: &Seen, tracks: &Tracks, reports: &mut Reports) {
        let (inside, _) = self.zone.see(seen);
        let (place, left) = self.still.see(seen);
        let known = if left.is_some() { None } else { *self.things.of(seen.slot) };
        let thing = self.attend(known, seen, place.at, tracks);
        *self.things.of(seen.slot) = Some(thing);
        let unattended = seen.moment.since(thing.attended);
        let holds = inside.is_some() && unattended >= self.rule.standing.time_threshold;
        let (at, since, owner) = (place.at, place.moment.time, thing.owner);
        let evidence = Evidence::Abandoned { at, since, unattended, owner };
        reports.state(seen, self.rule.standing.zone.anchor, holds.then_some((thing.attended.time, evidence)));
    }

    fn end(&mut self, slot: usize, _object: Object, _reports: &mut Reports) {
        self.zone.forget(slot);
        self.still.forget(slot);
        self.things.take(slot);
    }

    fn reset(&mut self) {
        self.zone.clear();
        self.still.clear();
        self.things.clear();
    }
}
