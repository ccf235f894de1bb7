//! What a camera's tracker did that no event tells, as metrics: `vigil_tracker_*_total{camera}`.

use metrics::{Counter, counter};
use vigil_base::CameraId;
use vigil_track::TrackerStats;

/// Exports what the tracker counts.
pub(crate) struct TrackerTelemetry {
    told: TrackerStats,
    crowded_out: Counter,
    malformed: Counter,
    late_frames: Counter,
    set_back: Counter,
}

impl TrackerTelemetry {
    /// Of a camera's tracker that was just made.
    pub fn new(camera: &CameraId) -> Self {
        let counter = |name: &'static str| counter!(name, "camera" => camera.to_string());
        Self {
            told: TrackerStats::default(),
            crowded_out: counter("vigil_tracker_crowded_out_total"),
            malformed: counter("vigil_tracker_malformed_detections_total"),
            late_frames: counter("vigil_tracker_late_frames_total"),
            set_back: counter("vigil_tracker_clock_set_back_total"),
        }
    }

    /// Tells what was counted since the last call.
    pub fn follow(&mut self, now: TrackerStats) {
        if now == self.told {
            return;
        }
        self.crowded_out.increment(now.crowded_out - self.told.crowded_out);
        self.malformed.increment(now.malformed - self.told.malformed);
        self.late_frames.increment(now.late_frames - self.told.late_frames);
        self.set_back.increment(now.set_back - self.told.set_back);
        self.told = now;
    }
}
