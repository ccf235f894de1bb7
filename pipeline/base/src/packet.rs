//! What a camera sends, before anything is decoded.

use bytes::Bytes;

use crate::{TimeSource, Timestamp};

/// A video coding standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// ITU-T H.264 (AVC).
    H264,
    /// ITU-T H.265 (HEVC).
    H265,
}

impl std::fmt::Display for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::H264 => "H.264",
            Self::H265 => "H.265",
        })
    }
}

/// One access unit (all slices of one picture) in Annex B byte-stream form.
///
/// A keyframe carries its parameter sets in-band, so that decoding can start at any keyframe.
#[derive(Debug, Clone)]
pub struct EncodedPacket {
    /// Coding standard of `data`.
    pub codec: Codec,
    /// Counts the sessions with the camera; timestamps and references never reach over a session's end.
    pub session: u32,
    /// Presentation time since the session's start, nanoseconds.
    pub pts_ns: u64,
    /// When the picture was taken.
    pub capture_time: Timestamp,
    /// Which clock `capture_time` comes from.
    pub time_source: TimeSource,
    /// Decoding can start here.
    pub keyframe: bool,
    /// The stream was cut just before this packet: packets are missing, or the session is new.
    pub discontinuity: bool,
    /// The access unit.
    pub data: Bytes,
}
