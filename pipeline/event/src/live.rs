//! One event while its track lives.

use std::sync::Arc;

use image::RgbImage;
use vigil_appearance::Looks;
use vigil_base::event::{Appearance, Attributes, Event, EventState, PathPoint, Plate};
use vigil_base::{BoxNorm, BoxPx, EventId, Frame, GeoPoint, GroundPlane, Size, TimeSource, Timestamp};
use vigil_track::{Observation, TrackView};

use crate::colour::{ColourVotes, has_colours};
use crate::maker::{EventContext, EventIds, Revision};
use crate::motion;
use crate::path::Path;
use crate::thumbnail;

/// A moment must be this much better than the best so far to take its place: a thumbnail costs a crop and a JPEG.
const BETTER: f32 = 1.15;
/// A box that touches the picture's edge shows a part of its object; its moment counts so much less.
const CUT_OFF: f32 = 0.5;
/// How near the edge a box touches it, as a share of the picture.
const EDGE: f32 = 0.005;

/// An event that grows.
pub(crate) struct LiveEvent {
    event: Event,
    /// Whether its class becomes an event; else the track is followed for the rules alone.
    pub(crate) is_told: bool,
    path: Path,
    /// Picture height over width.
    aspect: f32,
    colours: ColourVotes,
    looks: Looks,
    ground: Option<Arc<GroundPlane>>,
    best_score: f32,
    /// The best moment's picture; taken when it is sent.
    unsent_picture: Option<RgbImage>,
    /// Capture time of the frame that the last revision was made on.
    pub(crate) revised_at: Timestamp,
}

impl LiveEvent {
    /// An event for a track that was confirmed on `frame`.
    pub(crate) fn begin(context: &EventContext, ids: EventIds, track: &TrackView, class: &str, frame: &Frame) -> Self {
        let model = context.model.clone();
        let id = match ids {
            EventIds::Random => EventId::at(track.first_seen),
            EventIds::Repeatable => EventId::numbered(track.first_seen, track.id.0),
        };
        let event = Event {
            id,
            revision: 0,
            state: EventState::Ongoing,
            region: context.region.clone(),
            edge: context.edge.clone(),
            camera: context.camera.clone(),
            object_class: class.into(),
            track: track.id,
            begin_time: track.first_seen,
            end_time: track.last_seen,
            confirm_time: frame.capture_time,
            receive_time: None,
            time_source: frame.time_source,
            confidence: 0.0,
            best_box: track.bbox.normalise(frame.size),
            best_time: frame.capture_time,
            path: Vec::new(),
            attributes: Attributes::default(),
            location: context.location,
            finding: None,
            plate: None,
            thumbnail_key: None,
            model,
            trace_parent: Some(id.trace_parent().into()),
            appearance: None,
        };
        let mut live = Self {
            event,
            is_told: false,
            path: Path::new(),
            aspect: frame.size.height as f32 / frame.size.width.max(1) as f32,
            colours: ColourVotes::default(),
            looks: Looks::default(),
            ground: context.ground.clone(),
            best_score: 0.0,
            unsent_picture: None,
            revised_at: frame.capture_time,
        };
        for observation in &track.history {
            live.add_point(observation, frame.size);
        }
        live
    }

    /// The track was detected on `frame`.
    pub(crate) fn see(&mut self, track: &TrackView, class: &str, frame: &Frame, pictures: bool) {
        let observation = Observation { time: track.last_seen, bbox: track.bbox, confidence: track.confidence };
        if !track.began() {
            self.add_point(&observation, frame.size);
        }
        if *self.event.object_class != *class {
            self.event.object_class = class.into();
        }
        self.event.time_source = worse(self.event.time_source, frame.time_source);
        let score = score(&observation, frame.size);
        if score > self.best_score * BETTER {
            self.best_score = score;
            self.event.best_box = track.bbox.normalise(frame.size);
            self.event.best_time = frame.capture_time;
            if pictures {
                self.unsent_picture = thumbnail::crop(frame, track.bbox).or(self.unsent_picture.take());
            }
        }
    }

    /// Lets this sighting vote on the object's colours, and add to its appearance, where it shows the object whole; `hidden` says
    /// whether something stands before it.
    pub(crate) fn look_closely(&mut self, track: &TrackView, frame: &Frame, hidden: impl FnOnce() -> bool) {
        let (time, bbox) = (frame.capture_time, track.bbox);
        let seen = Observation { time: track.last_seen, bbox, confidence: track.confidence };
        let score = score(&seen, frame.size);
        let (colours, looks) = (self.colours.wants(time), self.looks.wants(time, score));
        if !(colours || looks) || touches_edge(bbox, frame.size) || hidden() {
            return;
        }
        if colours {
            self.colours.look(frame, bbox, &self.event.object_class);
        }
        // By night all that is seen in infrared would look alike, and unlike itself by day.
        if looks && has_colours(frame) {
            self.looks.look(frame, bbox, score);
        }
    }

    /// Where it was, up to now.
    pub(crate) fn path(&self) -> Vec<PathPoint> {
        self.path.points()
    }

    /// What it looked like, up to now.
    pub(crate) fn appearance(&self) -> Option<Appearance> {
        self.looks.appearance()
    }

    /// Its plate was read, or read better.
    pub(crate) fn carry(&mut self, plate: &Plate) {
        self.event.plate = Some(plate.clone());
    }

    /// The track as it is now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let path = self.path.points();
        let mut attributes = self.event.attributes.clone();
        let location = self.describe(&path, &mut attributes);
        Snapshot {
            class: self.event.object_class.clone(),
            confidence: self.event.confidence,
            bbox: path.last().map_or(self.event.best_box, |point| point.bbox),
            path,
            attributes,
            location: location.or(self.event.location),
            plate: self.event.plate.clone(),
            appearance: self.looks.appearance(),
        }
    }

    /// How it looks and moves, from all that was seen of it; where it is on the map.
    fn describe(&self, path: &[PathPoint], attributes: &mut Attributes) -> Option<GeoPoint> {
        (attributes.colours, attributes.colour_method) = (self.colours.colours(), self.colours.method());
        motion::describe(path, self.aspect, self.ground.as_deref(), attributes)
    }

    fn add_point(&mut self, observation: &Observation, size: Size) {
        let event = &mut self.event;
        event.confidence = event.confidence.max(observation.confidence);
        event.end_time = event.end_time.max(observation.time);
        let bbox = observation.bbox.normalise(size);
        self.path.push(PathPoint { time: observation.time, bbox, confidence: observation.confidence });
    }

    /// The next revision. The picture goes with the first revision after it was taken.
    pub(crate) fn revise(&mut self, state: EventState, at: Timestamp) -> Revision {
        let path = self.path.points();
        let mut attributes = std::mem::take(&mut self.event.attributes);
        let location = self.describe(&path, &mut attributes);
        let event = &mut self.event;
        event.revision += 1;
        event.state = state;
        (event.path, event.attributes, event.location) = (path, attributes, location.or(event.location));
        event.appearance = self.looks.appearance();
        self.revised_at = at;
        let picture = self.unsent_picture.take();
        let encoded = picture.map(|picture| thumbnail::encode(&picture));
        let thumbnail = match encoded {
            Some(Ok(jpeg)) => {
                event.thumbnail_key = Some(Arc::from(event.id.to_string()));
                Some(jpeg)
            }
            // An event without a picture is worth more than none; the key stays that of an earlier picture.
            Some(Err(_)) | None => None,
        };
        Revision { event: event.clone(), thumbnail, resumes: false }
    }
}

/// What is known of a track, for the events that are about it.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub class: Arc<str>,
    /// Highest so far, 0..1.
    pub confidence: f32,
    /// Where it was last seen.
    pub bbox: BoxNorm,
    pub path: Vec<PathPoint>,
    pub attributes: Attributes,
    /// Of the object, or else of the camera.
    pub location: Option<GeoPoint>,
    pub plate: Option<Plate>,
    pub appearance: Option<Appearance>,
}

/// How well a moment shows its object: sure, large, whole.
fn score(observation: &Observation, size: Size) -> f32 {
    let area = observation.bbox.clamp(size).area() / (size.width * size.height).max(1) as f32;
    let whole = if touches_edge(observation.bbox, size) { CUT_OFF } else { 1.0 };
    observation.confidence * area.sqrt() * whole
}

fn touches_edge(bbox: BoxPx, size: Size) -> bool {
    let (dx, dy) = (size.width as f32 * EDGE, size.height as f32 * EDGE);
    bbox.left <= dx
        || bbox.top <= dy
        || bbox.right() >= size.width as f32 - dx
        || bbox.bottom() >= size.height as f32 - dy
}

/// An event is as sure of its time as the least sure of its frames.
fn worse(a: TimeSource, b: TimeSource) -> TimeSource {
    if a == TimeSource::Arrival || b == TimeSource::Arrival { TimeSource::Arrival } else { a }
}
