//! What can go wrong while decoding, in terms an operator can act on.

use std::path::PathBuf;
use std::time::Duration;

use vigil_base::{Codec, Size};

use crate::MAX_SIDE;

/// Decoding failed. Damaged packets are not errors: they are counted, and decoding goes on.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// GStreamer itself does not start.
    #[error("GStreamer does not start; check its installation with gst-inspect-1.0")]
    Gstreamer(#[source] gstreamer::glib::Error),
    /// No installed decoder for this codec could be started.
    #[error("camera {camera}: no {codec} decoder works (tried {tried}); the package gstreamer1.0-libav has one")]
    NoDecoder {
        /// Camera label.
        camera: String,
        /// What was to be decoded.
        codec: Codec,
        /// Each decoder and why it is out, in one line.
        tried: String,
    },
    /// The stream's header announces pictures above [`MAX_SIDE`].
    #[error(
        "camera {camera}: pictures of {size} are above the limit of {MAX_SIDE}x{MAX_SIDE}; choose a smaller stream"
    )]
    TooLarge {
        /// Camera label.
        camera: String,
        /// What the stream announced.
        size: Size,
    },
    /// The decoder broke several times without a picture between.
    #[error("camera {camera}: decoder {decoder} broke {failures} times in a row: {reason}")]
    Broken {
        /// Camera label.
        camera: String,
        /// GStreamer element.
        decoder: String,
        /// How often.
        failures: u32,
        /// What GStreamer said last.
        reason: String,
    },
    /// A file cannot be read at all.
    #[error("video file {} cannot be read", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file has no byte in it, or is no plain file.
    #[error("video file {} is empty or no plain file", .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A file holds nothing that can be decoded as video.
    #[error("{} is not a video file that can be decoded: {reason}", .path.display())]
    NotVideo {
        /// The file.
        path: PathBuf,
        /// What GStreamer said.
        reason: String,
    },
    /// Reading broke off in the middle of a file.
    #[error("video file {} is damaged after frame {frames}: {reason}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Frames decoded before.
        frames: u64,
        /// What GStreamer said.
        reason: String,
    },
    /// A file ends before its header says it does; all frames that are there were handed out.
    #[error("video file {} is truncated after {frames} frames: {reason}", .path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Frames decoded.
        frames: u64,
        /// What its header declares, and what was found.
        reason: String,
    },
    /// No frame came out of a file for too long.
    #[error("video file {} gave no frame for {waited:?} after frame {frames}", .path.display())]
    Stalled {
        /// The file.
        path: PathBuf,
        /// Frames decoded before.
        frames: u64,
        /// How long.
        waited: Duration,
    },
}
