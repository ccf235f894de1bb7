//! What a detector found on one frame.

use std::sync::Arc;

use crate::{BoxPx, Confidences, Size, TimeSource, Timestamp};

/// One object on one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// Where, in pixels of the frame (not of the model's input); may reach a little beyond it.
    pub bbox: BoxPx,
    /// Index into the model's class names.
    pub class: u16,
    /// The model's confidence, 0..1.
    pub confidence: f32,
}

/// All objects of one frame, most confident first.
#[derive(Debug, Clone)]
pub struct Detections {
    /// Capture time of the frame.
    pub capture_time: Timestamp,
    /// Which clock `capture_time` comes from.
    pub time_source: TimeSource,
    /// Size of the frame the boxes are in.
    pub size: Size,
    /// What was found.
    pub items: Vec<Detection>,
    /// The model that found them.
    pub model: Arc<ModelIdentity>,
}

/// How firmly a tracker holds something that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// A candidate that has stood there unconvincing for a while.
    Doubtful,
    /// A candidate that was first seen a moment ago and has not moved.
    New,
    /// A candidate that has left the place where it was first seen.
    Moving,
    /// A track that was seen on the last frame.
    Followed,
    /// A track that was not, and may be anywhere near.
    Lost,
    /// A track that has kept its place for long, seen or not.
    Settled,
}

impl Hold {
    /// It is a track; else a candidate.
    pub fn is_track(self) -> bool {
        matches!(self, Self::Followed | Self::Lost | Self::Settled)
    }

    /// What or where it is has to turn out.
    pub fn is_undecided(self) -> bool {
        matches!(self, Self::New | Self::Moving | Self::Lost)
    }

    /// It may move on before the next look.
    pub fn may_move(self) -> bool {
        self.is_track() || self == Self::Moving
    }
}

/// Which model made a detection.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelIdentity {
    /// Its name in the manifest.
    pub name: String,
    /// SHA-256 of its file, lower-case hex.
    pub fingerprint: String,
    /// Class names, lower case, by class index.
    pub classes: Vec<String>,
    /// What its confidences are worth.
    pub confidence: Confidences,
}

impl ModelIdentity {
    /// The name of a class; "unknown" for an index the model does not have.
    pub fn class_name(&self, class: u16) -> &str {
        self.classes.get(usize::from(class)).map_or("unknown", String::as_str)
    }
}
