//! `Detections` to `TrackUpdate`: which boxes, frame after frame, are one object.
//!
//! Pure: no files, no sockets, no clock; time is the capture time of the frames it is given, which may come unevenly,
//! at 1 to 25 a second. One [`Tracker`] serves one camera for as long as the process lives.
//!
//! What happens on a frame ([`Tracker::update`]):
//! 1. Detections are checked, sorted, and each object kept once; their confidences become log-odds
//!    ([`vigil_base::ConfidenceScale`]).
//! 2. Every track's Kalman filter (SORT, `BoT-SORT`) lets the true time pass.
//! 3. Sure detections are matched to tracks, then unsure ones to the tracks left over (`ByteTrack`), each time
//!    optimally, by the overlap of boxes grown by the motion's uncertainty (`C-BIoU`) and, where boxes compete or a
//!    track was hidden, by what they look like ([`Tracker::update_looking`], [`stripes`]).
//! 4. What no track took begins a candidate; a candidate that was there for long enough, sure enough, and moved or
//!    convinces, becomes a track and gets its id.
//! 5. Tracks that were missed for too long end. A stationary one waits longer the longer it has stood, so a parked car
//!    stays one track for days.
//!
//! Every parameter, with its unit, default and reason: [`TrackerConfig`]. For files there are [`MotFile`],
//! [`track_mot`], and [`TrackRecorder`], which tells tracks for every frame.
//!
//! Deliberately absent: compensation of camera motion (tried from the boxes' common shift; it cost more on fixed
//! cameras than it gave on moving ones), and any link between cameras.

mod appearance;
mod assign;
mod association;
mod classes;
mod config;
mod interpolate;
mod kalman;
mod mot;
mod offline;
mod sighting;
mod stripes;
mod track;
mod tracker;
mod update;

pub use appearance::{Descriptor, MAX_DESCRIPTOR_LEN};
pub use config::{AssociationConfig, ConfirmationConfig, LifeConfig, MotionConfig, TrackerConfig};
pub use interpolate::Interpolation;
pub use mot::{MAX_FRAME, MAX_LINE, MAX_ROWS, MotError, MotFile, MotProblem, MotRow};
pub use offline::{FrameRate, TrackRecorder, track_mot};
pub use sighting::MAX_DETECTIONS;
pub use stripes::stripes;
pub use tracker::{Tracker, TrackerStats};
pub use update::{Observation, Outlook, TrackUpdate, TrackView};
