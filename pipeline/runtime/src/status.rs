//! How one camera is, for health, heartbeats and logs.

use parking_lot::Mutex;
use vigil_base::coverage::FrameCounts;
use vigil_base::{CameraId, TimeSource, Timestamp};
use vigil_camera::{Awaited, CameraStatus};

/// What a camera does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CameraState {
    /// No session yet, for the first time.
    Connecting,
    /// Packets come.
    Streaming,
    /// No packets, or none that can be turned into pictures and looked at; trying again and again.
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
    /// Its clock less this machine's, milliseconds; none while it tells no time.
    pub clock_offset_ms: Option<i64>,
    /// What became of its frames since the start.
    pub counts: FrameCounts,
}

/// A stage without which a picture is not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Decode,
    Detect,
}

/// What the camera's threads know, read by others.
#[derive(Debug)]
pub(crate) struct StatusCell {
    inner: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    state: CameraState,
    detail: String,
    last_frame_time: Option<Timestamp>,
    clock_offset_ms: Option<i64>,
    /// Why packets give no pictures.
    not_decoded: Option<String>,
    /// Why pictures are not looked at.
    not_detected: Option<String>,
}

impl StatusCell {
    pub(crate) fn new() -> Self {
        Self {
            inner: Mutex::new(Known {
                state: CameraState::Connecting,
                detail: "connecting".to_owned(),
                last_frame_time: None,
                clock_offset_ms: None,
                not_decoded: None,
                not_detected: None,
            }),
        }
    }

    /// Takes over what the camera says; returns the sentence for people.
    pub(crate) fn follow(&self, status: &CameraStatus) -> String {
        let (state, detail) = describe(status);
        let mut known = self.inner.lock();
        // A camera that was lost is down until it streams again: another attempt changes nothing for those who watch.
        if known.state != CameraState::Down || state != CameraState::Connecting {
            known.state = state;
            known.detail.clone_from(&detail);
        }
        if let CameraStatus::Streaming { camera_clock, .. } = status {
            known.clock_offset_ms = camera_clock.offset_ms();
        }
        detail
    }

    pub(crate) fn frame_at(&self, capture_time: Timestamp) {
        self.inner.lock().last_frame_time = Some(capture_time);
    }

    /// Notes why a stage fails, or that it works; returns whether that is news.
    pub(crate) fn sight(&self, stage: Stage, trouble: Option<&str>) -> bool {
        let mut known = self.inner.lock();
        let place = match stage {
            Stage::Decode => &mut known.not_decoded,
            Stage::Detect => &mut known.not_detected,
        };
        let news = place.as_deref() != trouble;
        if news {
            *place = trouble.map(str::to_owned);
        }
        news
    }

    /// Why nothing is seen although packets come.
    pub(crate) fn blind(&self) -> Option<String> {
        self.inner.lock().blind().cloned()
    }

    pub(crate) fn health(&self, camera: &CameraId, counts: FrameCounts) -> CameraHealth {
        let known = self.inner.lock();
        let (state, detail) = match known.blind() {
            Some(why) if known.state == CameraState::Streaming => (CameraState::Down, why.clone()),
            _ => (known.state, known.detail.clone()),
        };
        CameraHealth {
            camera: camera.clone(),
            state,
            detail,
            last_frame_time: known.last_frame_time,
            clock_offset_ms: known.clock_offset_ms,
            counts,
        }
    }
}

impl Known {
    fn blind(&self) -> Option<&String> {
        self.not_decoded.as_ref().or(self.not_detected.as_ref())
    }
}

fn describe(status: &CameraStatus) -> (CameraState, String) {
    match status {
        CameraStatus::Connecting { attempt } => (CameraState::Connecting, format!("connecting, attempt {attempt}")),
        CameraStatus::Waiting { awaited: Awaited::FirstPacket } => {
            (CameraState::Down, "it sends nothing yet: is the camera overloaded or hung?".to_owned())
        }
        CameraStatus::Waiting { awaited: Awaited::Keyframe } => {
            let why = "its packets come, and no keyframe yet: set the camera's keyframe interval to a few seconds";
            (CameraState::Down, why.to_owned())
        }
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
        let state = || cell.health(&camera, FrameCounts::default()).state;
        assert_eq!(state(), CameraState::Connecting);
        cell.inner.lock().state = CameraState::Down;
        cell.follow(&CameraStatus::Connecting { attempt: 2 });
        assert_eq!(state(), CameraState::Down);
    }

    #[test]
    fn a_camera_that_streams_and_is_not_seen_is_down_with_the_reason() {
        let cell = StatusCell::new();
        cell.inner.lock().state = CameraState::Streaming;
        let health = || cell.health(&CameraId::new("gate").unwrap(), FrameCounts::default());
        assert!(cell.sight(Stage::Detect, Some("the model fails")));
        assert!(cell.sight(Stage::Decode, Some("no decoder")));
        assert!(!cell.sight(Stage::Decode, Some("no decoder")), "no news");
        assert_eq!((health().state, health().detail.as_str()), (CameraState::Down, "no decoder"));
        assert!(cell.sight(Stage::Decode, None));
        assert_eq!(health().detail, "the model fails");
        assert!(cell.sight(Stage::Detect, None));
        assert_eq!(health().state, CameraState::Streaming);
    }
}
