//! What one frame changed.

use vigil_base::{BoxPx, Hold, Size, TimeSource, Timestamp, TrackId};

/// The tracks of one camera after one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackUpdate {
    /// Capture time of the frame.
    pub capture_time: Timestamp,
    /// Which clock it comes from.
    pub time_source: TimeSource,
    /// Size of the picture the boxes are in.
    pub size: Size,
    /// Confirmed tracks that live, by id. Those that began with this frame have a [`TrackView::history`].
    pub tracks: Vec<TrackView>,
    /// Tracks that ended with this frame; they are no longer among `tracks`. Each track that began ends exactly once.
    pub ended: Vec<TrackId>,
}

/// One confirmed track now.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackView {
    /// Given on confirmation, never again.
    pub id: TrackId,
    /// Class index, voted over the track.
    pub class: u16,
    /// Capture time of its first detection.
    pub first_seen: Timestamp,
    /// Capture time of its last detection; this frame's when it was seen on it.
    pub last_seen: Timestamp,
    /// Where it is, pixels: the detection when it was seen on this frame, else where the motion model expects it.
    pub bbox: BoxPx,
    /// Confidence of this frame's detection, 0..1; zero when it was not seen on this frame.
    pub confidence: f32,
    /// Pixels per second, x then y.
    pub velocity: (f32, f32),
    /// It has not moved for a while (see `TrackerConfig`).
    pub stationary: bool,
    /// On the frame that confirmed it: its detections so far, in time order, this frame's last. Empty on all later
    /// frames.
    pub history: Vec<Observation>,
}

impl TrackView {
    /// Whether it was detected on the frame of `update`.
    pub fn seen_on(&self, update: &TrackUpdate) -> bool {
        self.last_seen == update.capture_time
    }

    /// Whether this frame confirmed it.
    pub fn began(&self) -> bool {
        !self.history.is_empty()
    }
}

/// One detection of a track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// Capture time.
    pub time: Timestamp,
    /// Pixels.
    pub bbox: BoxPx,
    /// 0..1.
    pub confidence: f32,
}

/// Where something that is open is expected to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlook {
    /// Pixels of the picture.
    pub bbox: BoxPx,
    /// Pixels per second.
    pub speed: f32,
    /// How firmly it is held.
    pub hold: Hold,
    /// It has left the place where it was first seen.
    pub moved: bool,
}
