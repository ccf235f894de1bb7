//! Which vehicle is looked at when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use vigil_base::detection::ModelIdentity;
use vigil_base::error::chain;
use vigil_base::event::{Plate, PlateReading};
use vigil_base::{BoxPx, CameraId, Frame, Size, Timestamp, TrackId};
use vigil_detect::{PlateLook, ReadPlates};
use vigil_track::{TrackUpdate, TrackView};

use crate::telemetry::Telemetry;
use crate::vote::Ballot;

/// Most looks on one frame: with the detector's own look a frame then costs at most three.
pub const MAX_LOOKS_PER_FRAME: usize = 2;
/// Most looks at one vehicle: what was not read by then stays unread, as with a car that is parked with its side to the camera.
pub const MAX_LOOKS: u32 = 40;
/// Least width of a vehicle, pixels: a plate is a quarter of it, and below ten pixels of height nothing is read (README).
pub const MIN_VEHICLE_WIDTH: f32 = 80.0;
/// A reading that so many looks agree on, with that confidence, is certain.
const CERTAIN_READINGS: u32 = 3;
const CERTAIN: f32 = 0.95;
/// Below, a reading is not told: it is more likely wrong than right.
const LEAST_TOLD: f32 = 0.5;
/// A change of confidence that is told of.
const NEWS: f32 = 0.02;
/// Time to the next look after one without a plate; doubled with each, up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(400);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// A vehicle whose box has grown so much since the last look is looked at without waiting.
const NEARER: f32 = 1.3;
/// A box that touches the picture's edge, as a share of the picture, shows a part of its vehicle.
const EDGE: f32 = 0.005;

/// Whether and how a camera's plates are read.
#[derive(Clone)]
pub struct PlateConfig {
    /// Class names whose objects carry plates.
    pub classes: Vec<String>,
    /// Who reads.
    pub reader: Arc<dyn ReadPlates>,
}

impl std::fmt::Debug for PlateConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlateConfig").field("classes", &self.classes).finish_non_exhaustive()
    }
}

/// Reads the plates of one camera's vehicles.
pub struct PlateWatch {
    config: PlateConfig,
    camera: CameraId,
    telemetry: Telemetry,
    /// As many as the tracker has tracks, which is bounded there.
    vehicles: BTreeMap<TrackId, Vehicle>,
    /// A failure is told once, until a look goes well again.
    failing: bool,
}

#[derive(Default)]
struct Vehicle {
    ballot: Ballot,
    looks: u32,
    /// Looks without a plate since the last one with.
    misses: u32,
    /// Square pixels of its box at the last look.
    area: f32,
    looked_at: Option<Timestamp>,
    told: Option<Plate>,
}

impl Vehicle {
    fn wants(&self, bbox: &BoxPx, now: Timestamp) -> bool {
        let certain = |told: &Plate| told.looks >= CERTAIN_READINGS && told.confidence >= CERTAIN;
        if self.looks >= MAX_LOOKS || self.told.as_ref().is_some_and(certain) {
            return false;
        }
        // A clock that was set back must not keep it waiting.
        let waited = self.looked_at.is_none_or(|at| now < at || now >= at + self.wait());
        waited || bbox.area() >= self.area * NEARER
    }

    fn wait(&self) -> Duration {
        match self.misses {
            0 => Duration::ZERO,
            misses => FIRST_WAIT.saturating_mul(1 << (misses - 1).min(16)).min(LONGEST_WAIT),
        }
    }
}

impl PlateWatch {
    /// A watch that has seen nothing yet.
    pub fn new(config: PlateConfig, camera: &CameraId) -> Self {
        let telemetry = Telemetry::new(camera);
        Self { config, camera: camera.clone(), telemetry, vehicles: BTreeMap::new(), failing: false }
    }

    /// Looks at some of a frame's vehicles; the readings that are new, or better than before. `classes` is whose class indices
    /// stand in `update`, which is the tracker's answer to `frame`.
    pub fn observe(&mut self, update: &TrackUpdate, frame: &Frame, classes: &ModelIdentity) -> Vec<PlateReading> {
        for id in &update.ended {
            self.vehicles.remove(id);
        }
        let mut chosen = [None::<(f32, &TrackView)>; MAX_LOOKS_PER_FRAME];
        for track in update.tracks.iter().filter(|track| self.is_due(track, update, classes)) {
            let looks = self.vehicles.get(&track.id).map_or(0, |vehicle| vehicle.looks);
            let mut next = Some((urgency(track, looks, frame.size), track));
            for place in &mut chosen {
                if next.map(|(urgency, _)| urgency) > place.map(|(urgency, _)| urgency) {
                    std::mem::swap(place, &mut next);
                }
            }
        }
        let looked = chosen.into_iter().flatten();
        looked.filter_map(|(_, track)| self.look_at(track, update, frame)).collect()
    }

    /// All tracks are gone.
    pub fn reset(&mut self) {
        self.vehicles.clear();
    }

    fn is_due(&self, track: &TrackView, update: &TrackUpdate, classes: &ModelIdentity) -> bool {
        let class = classes.class_name(track.class);
        track.seen_on(update)
            && track.bbox.width >= MIN_VEHICLE_WIDTH
            && self.config.classes.iter().any(|carries| carries == class)
            && self.vehicles.get(&track.id).is_none_or(|known| known.wants(&track.bbox, update.capture_time))
    }

    fn look_at(&mut self, track: &TrackView, update: &TrackUpdate, frame: &Frame) -> Option<PlateReading> {
        let look = self.config.reader.look(frame, track.bbox);
        let vehicle = self.vehicles.entry(track.id).or_default();
        let found = match look {
            Ok(PlateLook::Busy) => {
                self.telemetry.busy.increment(1);
                return None;
            }
            Ok(PlateLook::Found(found)) if is_anothers(found.corners.centre(), track, update) => {
                self.telemetry.another.increment(1);
                None
            }
            Ok(PlateLook::Found(found)) => Some(found.characters),
            Ok(PlateLook::Nothing) => {
                self.telemetry.nothing.increment(1);
                None
            }
            Err(error) => {
                self.telemetry.failed.increment(1);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(camera = %self.camera, error = %chain(&error), "plates cannot be read; the camera goes on without");
                }
                vehicle.note(track, update.capture_time, false);
                return None;
            }
        };
        self.failing = false;
        let read = found.as_ref().is_some_and(|characters| vehicle.ballot.add(characters));
        vehicle.note(track, update.capture_time, read);
        if !read {
            if found.is_some() {
                self.telemetry.unreadable.increment(1);
            }
            return None;
        }
        self.telemetry.read.increment(1);
        let verdict = vehicle.ballot.verdict().filter(|verdict| verdict.confidence >= LEAST_TOLD)?;
        let model = Some(self.config.reader.identity().clone());
        let plate = Plate { text: verdict.text, confidence: verdict.confidence, looks: verdict.readings, model };
        let known = vehicle.told.replace(plate.clone());
        let same = |known: Plate| {
            known.looks >= CERTAIN_READINGS
                && known.text == plate.text
                && (known.confidence - plate.confidence).abs() < NEWS
        };
        (!known.is_some_and(same)).then_some(PlateReading { track: track.id, plate })
    }
}

impl Vehicle {
    fn note(&mut self, track: &TrackView, now: Timestamp, read: bool) {
        self.looks += 1;
        self.misses = if read { 0 } else { self.misses + 1 };
        (self.area, self.looked_at) = (track.bbox.area(), Some(now));
    }
}

/// Large, whole and surely a vehicle first; those that were looked at often stand back.
fn urgency(track: &TrackView, looks: u32, size: Size) -> f32 {
    let (dx, dy) = (size.width as f32 * EDGE, size.height as f32 * EDGE);
    let BoxPx { left, top, .. } = track.bbox;
    let inside = left > dx
        && top > dy
        && track.bbox.right() < size.width as f32 - dx
        && track.bbox.bottom() < size.height as f32 - dy;
    let whole = if inside { 1.0 } else { 0.5 };
    track.confidence * track.bbox.area().sqrt() * whole / (1.0 + looks as f32)
}

/// Whether a plate lies on a vehicle that stands before this one: what is nearer to the camera reaches farther down.
fn is_anothers((x, y): (f32, f32), track: &TrackView, update: &TrackUpdate) -> bool {
    let holds = |bbox: &BoxPx| (bbox.left..bbox.right()).contains(&x) && (bbox.top..bbox.bottom()).contains(&y);
    let before = |other: &TrackView| other.class == track.class && other.bbox.bottom() > track.bbox.bottom();
    update.tracks.iter().any(|other| other.id != track.id && before(other) && holds(&other.bbox))
}
