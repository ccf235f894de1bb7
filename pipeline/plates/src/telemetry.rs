//! How many looks were taken and what came of them: `vigil_plate_looks_total{camera, outcome}`. Never what was read.

use metrics::{Counter, counter};
use vigil_base::CameraId;

/// Counters of one camera.
pub(crate) struct Telemetry {
    /// A plate was read.
    pub read: Counter,
    /// A plate was found, and too little of it could be read.
    pub unreadable: Counter,
    /// No plate was found.
    pub nothing: Counter,
    /// The plate that was found is that of a vehicle before this one.
    pub another: Counter,
    /// All models were at work for other cameras.
    pub busy: Counter,
    /// A model failed.
    pub failed: Counter,
}

impl Telemetry {
    pub fn new(camera: &CameraId) -> Self {
        let outcome = |outcome: &'static str| counter!("vigil_plate_looks_total", "camera" => camera.to_string(), "outcome" => outcome);
        Self {
            read: outcome("read"),
            unreadable: outcome("unreadable"),
            nothing: outcome("nothing"),
            another: outcome("another_vehicle"),
            busy: outcome("busy"),
            failed: outcome("failed"),
        }
    }
}
