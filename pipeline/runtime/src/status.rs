//! How one camera is, for health, heartbeats and logs.

use parking_lot::Mutex;
use vigil_base::{CameraId, TimeSource, Timestamp};
use vigil_camera::CameraStatus;

use crate::ledger::LedgerCounts;

/// What a camera does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CameraState {
    /// No session yet, for the first time.
    Connecting,
    /// Packets come.
    Streaming,
    /// No packets; trying again and again.
    Down,
}

/// How one camera is.
#[derive(Debug, Clone)]
pub struct CameraHealth {
    /// The camera.
    pub camera: CameraId,
    /// What it does now.
    pub state: CameraState,
    /// For people: why, or what comes. Holds no password.
    pub detail: String,
    /// Capture time of the newest frame.
    pub last_frame_time: Option<Timestamp>,
    /// What became of its frames.
    pub counts: LedgerCounts,
}

/// What the camera's thread knows, read by others.
#[derive(Debug)]
pub(crate) struct StatusCell {
    inner: Mutex<(CameraState, String, Option<Timestamp>)>,
}

impl StatusCell {
    pub(crate) fn new() -> Self {
        Self { inner: Mutex::new((CameraState::Connecting, "connecting".to_owned(), None)) }
    }

    /// Takes over what the camera says; returns the sentence for people.
    pub(crate) fn follow(&self, status: &CameraStatus) -> String {
        let (state, detail) = describe(status);
        let mut inner = self.inner.lock();
        // A camera that was lost is down until it streams again: another attempt changes nothing for those who watch.
        if inner.0 != CameraState::Down || state != CameraState::Connecting {
            inner.0 = state;
            inner.1.clone_from(&detail);
        }
        detail
    }

    pub(crate) fn frame_at(&self, capture_time: Timestamp) {
        self.inner.lock().2 = Some(capture_time);
    }

    pub(crate) fn health(&self, camera: &CameraId, counts: LedgerCounts) -> CameraHealth {
        let (state, detail, last_frame_time) = self.inner.lock().clone();
        CameraHealth { camera: camera.clone(), state, detail, last_frame_time, counts }
    }
}

fn describe(status: &CameraStatus) -> (CameraState, String) {
    match status {
        CameraStatus::Connecting { attempt } => (CameraState::Connecting, format!("connecting, attempt {attempt}")),
        CameraStatus::Streaming { info, time_source, .. } => {
            let size = info.size.map_or("size unknown".to_owned(), |size| size.to_string());
            let fps = info.fps.map_or(String::new(), |fps| format!(" at {fps:.1} fps"));
            let clock = match time_source {
                TimeSource::Ntp => "the camera's clock",
                TimeSource::Arrival => "the time of arrival",
                TimeSource::File => "a file's times",
            };
            (CameraState::Streaming, format!("{} {size}{fps}, by {clock}", info.codec))
        }
        CameraStatus::Down { reason, retry_in, .. } => {
            (CameraState::Down, format!("{reason}; trying again in {:.1} s", retry_in.as_secs_f64()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_camera_stays_down_while_it_is_tried_again() {
        let cell = StatusCell::new();
        let camera = CameraId::new("gate").unwrap();
        let state = || cell.health(&camera, LedgerCounts::default()).state;
        assert_eq!(state(), CameraState::Connecting);
        cell.inner.lock().0 = CameraState::Down;
        cell.follow(&CameraStatus::Connecting { attempt: 2 });
        assert_eq!(state(), CameraState::Down);
    }
}
