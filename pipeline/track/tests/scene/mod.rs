//! A street without a camera: what a detector would say of objects that move as a test tells them to.
#![allow(dead_code)] // Each test file uses a part of it.

use std::sync::Arc;

use vigil_base::detection::ModelIdentity;
use vigil_base::{BoxPx, ConfidenceScale, Detection, Detections, Size, TimeSource, Timestamp, TrackId};
use vigil_track::{Descriptor, TrackUpdate, Tracker, TrackerConfig};

pub const PERSON: u16 = 0;
pub const CAR: u16 = 2;
pub const TRUCK: u16 = 7;

/// Whose confidences are probabilities.
pub fn config() -> TrackerConfig {
    TrackerConfig { confidence: ConfidenceScale::PROBABILITY.into(), ..TrackerConfig::default() }
}

/// The moment `seconds` after noon of some day.
pub fn at(seconds: f64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + (seconds * 1e6).round() as i64)
}

/// A person of 40 x 100 pixels.
pub fn person(left: f64, confidence: f32) -> Detection {
    Detection { bbox: BoxPx::new(left as f32, 200.0, 40.0, 100.0), class: PERSON, confidence }
}

/// A car of 200 x 100 pixels.
pub fn car(left: f64, class: u16, confidence: f32) -> Detection {
    Detection { bbox: BoxPx::new(left as f32, 400.0, 200.0, 100.0), class, confidence }
}

pub fn frame(seconds: f64, items: Vec<Detection>) -> Detections {
    let model =
        ModelIdentity { name: "m".into(), fingerprint: "f".into(), classes: vec![], ..ModelIdentity::default() };
    Detections {
        capture_time: at(seconds),
        time_source: TimeSource::Ntp,
        size: Size::new(1280, 720),
        items,
        model: Arc::new(model),
    }
}

/// What each detection of a frame looks like, by its place in the list.
pub fn look(seen: &Detections, looks: &[Option<Descriptor>]) -> impl Fn(BoxPx) -> Option<Descriptor> {
    move |bbox| {
        let index = seen.items.iter().position(|item| item.bbox == bbox)?;
        looks.get(index).cloned().flatten()
    }
}

/// A tracker and all it has said that matters later.
pub struct Street {
    pub tracker: Tracker,
    pub began: Vec<TrackId>,
    pub ended: Vec<TrackId>,
}

impl Street {
    pub fn new() -> Self {
        Self { tracker: Tracker::new(config()), began: Vec::new(), ended: Vec::new() }
    }

    pub fn see(&mut self, seconds: f64, items: Vec<Detection>) -> TrackUpdate {
        self.see_looks(seconds, items, &[])
    }

    pub fn see_looks(&mut self, seconds: f64, items: Vec<Detection>, looks: &[Option<Descriptor>]) -> TrackUpdate {
        let seen = frame(seconds, items);
        let update = self.tracker.update_looking(&seen, &look(&seen, looks));
        self.began.extend(update.tracks.iter().filter(|track| track.began()).map(|track| track.id));
        self.ended.extend(&update.ended);
        update
    }
}

/// The id of the track of `class` within 20 pixels of `left`, seen on this frame.
pub fn id_near(update: &TrackUpdate, left: f64, class: u16) -> Option<TrackId> {
    let close = |track: &&vigil_track::TrackView| {
        track.class == class && track.seen_on(update) && (f64::from(track.bbox.left) - left).abs() < 20.0
    };
    update.tracks.iter().find(close).map(|track| track.id)
}

/// The id of the track whose box is within 5 pixels of `left`, seen on this frame.
pub fn id_at(update: &TrackUpdate, left: f64) -> Option<TrackId> {
    let close = |track: &&vigil_track::TrackView| (f64::from(track.bbox.left) - left).abs() < 5.0;
    update.tracks.iter().filter(|track| track.seen_on(update)).find(close).map(|track| track.id)
}
