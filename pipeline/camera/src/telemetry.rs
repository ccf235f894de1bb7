//! What is counted of each camera, as metrics.

use metrics::{Counter, Gauge, counter, gauge};
use vigil_base::CameraId;
use vigil_base::error::chain;

use crate::error::CameraError;

/// Handles taken once per camera.
pub(crate) struct Telemetry {
    camera: String,
    pub packets: Counter,
    pub bytes: Counter,
    pub sessions: Counter,
    pub stalls: Counter,
    pub clock_steps: Counter,
    pub dropped_full: Counter,
    pub dropped_before_keyframe: Counter,
    pub clock_offset: Gauge,
    pub up: Gauge,
}

impl Telemetry {
    pub fn new(camera: &CameraId) -> Self {
        let camera = camera.to_string();
        let dropped = |cause: &'static str| counter!("vigil_camera_dropped_packets_total", "camera" => camera.clone(), "cause" => cause);
        Self {
            packets: counter!("vigil_camera_packets_total", "camera" => camera.clone()),
            bytes: counter!("vigil_camera_bytes_total", "camera" => camera.clone()),
            sessions: counter!("vigil_camera_sessions_total", "camera" => camera.clone()),
            stalls: counter!("vigil_camera_stalls_total", "camera" => camera.clone()),
            clock_steps: counter!("vigil_camera_clock_steps_total", "camera" => camera.clone()),
            dropped_full: dropped("queue_full"),
            dropped_before_keyframe: dropped("before_keyframe"),
            clock_offset: gauge!("vigil_camera_clock_offset_seconds", "camera" => camera.clone()),
            up: gauge!("vigil_camera_up", "camera" => camera.clone()),
            camera,
        }
    }

    /// A session is over: the counters, and one log line for each new reason. A camera that stays away for days, asked every
    /// ten seconds, would else fill the log with the same sentence.
    pub fn session_ended(&self, reason: &CameraError, known: bool) {
        self.up.set(0.0);
        if matches!(reason, CameraError::Stalled { .. } | CameraError::NoAnswer { .. }) {
            self.stalls.increment(1);
        }
        counter!("vigil_camera_reconnects_total", "camera" => self.camera.clone(), "reason" => reason.reason())
            .increment(1);
        if known {
            tracing::debug!(camera = self.camera, reason = reason.reason(), error = %chain(reason), "camera is still down");
        } else {
            tracing::warn!(camera = self.camera, reason = reason.reason(), error = %chain(reason), "camera is down; it is tried again until it streams");
        }
    }
}
