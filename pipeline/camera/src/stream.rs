//! One connection to a camera, behind a trait: a test can play a script instead.

use std::time::Duration;

use bytes::Bytes;
use vigil_base::{SharedClock, Timestamp};

use crate::config::Source;
use crate::error::CameraError;
use crate::status::StreamInfo;

/// Makes connections.
pub trait Opener: Send {
    /// Begins a new connection; does not wait for the camera's answer, which comes with the stream's first event.
    fn open(&self, source: &Source, clock: &SharedClock) -> Result<Box<dyn PacketStream>, CameraError>;
}

/// One connection. Dropping it closes it.
pub trait PacketStream {
    /// The next event; nothing when none came in `at_most`. An error is the connection's end.
    fn next(&mut self, at_most: Duration) -> Result<Option<StreamEvent>, CameraError>;
}

/// What a connection brings.
#[derive(Debug, Clone)]
pub enum StreamEvent {
    /// What the packets from here on are: comes before the first one, and again when it changes.
    Format(StreamInfo),
    /// An access unit.
    Packet(RawPacket),
    /// So many access units were thrown away, because the ones before them were not taken in time.
    Overflow {
        /// How many.
        dropped: u64,
    },
}

/// An access unit as it arrived, not dated yet.
#[derive(Debug, Clone)]
pub struct RawPacket {
    /// Presentation time in the connection, from any origin.
    pub pts_ns: u64,
    /// The camera's NTP time for it, once its sender reports came.
    pub ntp: Option<Timestamp>,
    /// The edge's wall clock when it arrived.
    pub arrival: Timestamp,
    /// The edge's monotonic clock when it arrived.
    pub arrival_monotonic: Duration,
    /// Decoding can start here.
    pub keyframe: bool,
    /// Something before it was lost.
    pub discontinuity: bool,
    /// Annex B byte stream; a keyframe with its parameter sets.
    pub data: Bytes,
}
