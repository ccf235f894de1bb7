//! What is known of a camera right now.

use std::sync::Arc;
use std::time::Duration;

use vigil_base::{Codec, Size, TimeSource, Timestamp};

use crate::error::CameraError;
use crate::timeline::CameraClock;

/// What the stream says of itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StreamInfo {
    /// Coding standard.
    pub codec: Codec,
    /// Picture size.
    pub size: Option<Size>,
    /// Frames per second, where the stream tells.
    pub fps: Option<f64>,
}

/// What a connection lacks to be one that streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// The camera has not sent anything.
    FirstPacket,
    /// Packets come, and none where decoding can start.
    Keyframe,
}

/// How a camera does, told at each change.
#[derive(Debug, Clone)]
pub enum CameraStatus {
    /// A connection is being made.
    Connecting {
        /// Attempts since it last streamed, from 1.
        attempt: u32,
    },
    /// A connection is there, or being made, and takes long: told once, before it is given up.
    Waiting {
        /// What for.
        awaited: Awaited,
    },
    /// Packets come.
    Streaming {
        /// What comes.
        info: StreamInfo,
        /// Counts the sessions with this camera, from 1.
        session: u32,
        /// Which clock dates the pictures.
        time_source: TimeSource,
        /// How the camera's clock compares with the edge's.
        camera_clock: CameraClock,
    },
    /// There is no connection.
    Down {
        /// Why.
        reason: Arc<CameraError>,
        /// Since when there are no pictures: the edge's clock.
        since: Timestamp,
        /// When it will be tried again.
        retry_in: Duration,
    },
}
