//! The objects of a camera, each with a small number (its slot) under which rules keep what they know of it.

use vigil_base::{PointNorm, TrackId};
use vigil_track::TrackView;

use crate::moment::Moment;

/// Most objects at a time; the tracker's own limit is 256. More are not looked at, and counted.
pub const MAX_TRACKS: usize = 1024;

/// An object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Track {
    pub id: TrackId,
    pub class: u16,
    /// Highest confidence so far.
    pub confidence: f32,
    /// When it was first detected.
    pub first: Moment,
    /// Where it is, seen or expected.
    pub foot: PointNorm,
    /// Longer side of its box, picture widths.
    pub size: f64,
    /// The frame on which the tracker last told of it.
    frame: u64,
}

/// All objects that live.
#[derive(Debug, Default)]
pub(crate) struct Tracks {
    /// Slots in order of the tracks' ids.
    order: Vec<(TrackId, usize)>,
    slots: Vec<Option<Track>>,
    frame: u64,
}

impl Tracks {
    /// A new frame: objects that are not noted from now on are gone.
    pub fn begin_frame(&mut self) {
        self.frame += 1;
    }

    /// Notes where an object is on this frame: its foot and size. Its slot, or `None` when there is no room for it.
    pub fn note(&mut self, view: &TrackView, foot: PointNorm, size: f64, first: Moment) -> Option<usize> {
        let frame = self.frame;
        match self.order.binary_search_by_key(&view.id, |(id, _)| *id) {
            Ok(place) => {
                let slot = self.order[place].1;
                let track = self.slots[slot].as_mut()?;
                *track = Track { class: view.class, foot, size, frame, ..*track };
                Some(slot)
            }
            Err(place) => {
                let slot = self.free_slot()?;
                self.order.insert(place, (view.id, slot));
                let (id, class) = (view.id, view.class);
                self.slots[slot] = Some(Track { id, class, confidence: 0.0, first, foot, size, frame });
                Some(slot)
            }
        }
    }

    /// Takes in a detection's confidence; the highest so far, and when the object was first detected.
    pub fn detected(&mut self, slot: usize, confidence: f32) -> Option<(f32, Moment)> {
        let track = self.slots.get_mut(slot)?.as_mut()?;
        track.confidence = track.confidence.max(confidence);
        Some((track.confidence, track.first))
    }

    /// The object with the lowest id that was not noted on this frame, by its slot.
    pub fn next_gone(&self) -> Option<(usize, Track)> {
        let mut all = self.order.iter().filter_map(|(_, slot)| self.slots[*slot].map(|track| (*slot, track)));
        all.find(|(_, track)| track.frame != self.frame)
    }

    /// Frees a slot.
    pub fn release(&mut self, slot: usize) {
        if let Some(track) = self.slots.get_mut(slot).and_then(Option::take) {
            self.order.retain(|(id, _)| *id != track.id);
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.order.clear();
        self.slots.clear();
    }

    pub fn slot_of(&self, id: TrackId) -> Option<usize> {
        self.order.binary_search_by_key(&id, |(id, _)| *id).ok().map(|place| self.order[place].1)
    }

    pub fn get(&self, id: TrackId) -> Option<&Track> {
        self.slots[self.slot_of(id)?].as_ref()
    }

    /// All objects, in order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Track> {
        self.order.iter().filter_map(|(_, slot)| self.slots[*slot].as_ref())
    }

    fn free_slot(&mut self) -> Option<usize> {
        if let Some(slot) = self.slots.iter().position(Option::is_none) {
            return Some(slot);
        }
        if self.slots.len() >= MAX_TRACKS {
            return None;
        }
        self.slots.push(None);
        Some(self.slots.len() - 1)
    }
}
