//! What a detector found on one frame.

use std::sync::Arc;

use crate::{BoxPx, ConfidenceScale, Size, TimeSource, Timestamp};

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
    pub confidence: ConfidenceScale,
}

impl ModelIdentity {
    /// The name of a class; "unknown" for an index the model does not have.
    pub fn class_name(&self, class: u16) -> &str {
        self.classes.get(usize::from(class)).map_or("unknown", String::as_str)
    }
}
