//! Why a session with a camera ended.

use std::time::Duration;

use vigil_base::Size;

/// Why there are no pictures from a camera, and what to do. Never holds a password.
///
/// Addresses in here are redacted.
#[derive(Debug, thiserror::Error)]
pub enum CameraError {
    /// Nobody listens on the port.
    #[error("{address} refuses connections: is the camera on, and is the port right?")]
    Refused {
        /// Of the stream.
        address: String,
    },
    /// The host has no address, or no way leads to it.
    #[error("{address} cannot be reached: check the host name and the network")]
    Unreachable {
        /// Of the stream.
        address: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The server knows no such stream.
    #[error("{address} has no such stream: check the path in the address")]
    NotFound {
        /// Of the stream.
        address: String,
    },
    /// User or password are wrong or missing.
    #[error("{address} does not accept the user and password: check both, and that the account may view this stream")]
    Unauthorised {
        /// Of the stream.
        address: String,
    },
    /// The server answers with another error.
    #[error("{address} rejects the session: {answer}")]
    Rejected {
        /// Of the stream.
        address: String,
        /// What it or the client library says.
        answer: String,
    },
    /// A new connection brought no packet in time.
    #[error("{address} sent nothing for {}: is the camera overloaded or hung?", humantime::format_duration(*waited))]
    NoAnswer {
        /// Of the stream.
        address: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A session that brought packets brings none.
    #[error("the stream stalled for {}: the camera or the network hangs", humantime::format_duration(*waited))]
    Stalled {
        /// How long it was waited for.
        waited: Duration,
    },
    /// Packets come, and none where decoding can start.
    #[error("no keyframe came in {}: set the camera's keyframe interval to a few seconds", humantime::format_duration(*waited))]
    NoKeyframe {
        /// How long it was waited for.
        waited: Duration,
    },
    /// The camera ended the session.
    #[error("the camera ended the stream")]
    Ended,
    /// The connection broke while the stream ran.
    #[error("the stream broke off: {what}")]
    Broken {
        /// What the client library says.
        what: String,
    },
    /// Nothing in the stream is video.
    #[error("{address} offers no video: check the path in the address")]
    NoVideo {
        /// Of the stream.
        address: String,
    },
    /// The video is coded in a way that is not supported.
    #[error("{address} sends {codec}: set the camera to H.264 or H.265")]
    UnsupportedCodec {
        /// Of the stream.
        address: String,
        /// Name of the RTP payload, as in the camera's description.
        codec: String,
    },
    /// An access unit is larger than any camera's.
    #[error("an access unit of more than {limit} bytes came: the stream is damaged, or no camera's")]
    TooLarge {
        /// Bytes.
        limit: usize,
    },
    /// The pictures are larger than any camera's.
    #[error("pictures of {size} are above the limit of {limit} a side: choose a smaller stream of the camera")]
    PictureTooLarge {
        /// As the stream says.
        size: Size,
        /// Pixels.
        limit: u32,
    },
    /// The stream cannot be understood.
    #[error("the stream is damaged: {what}")]
    Damaged {
        /// What the parser says.
        what: String,
    },
    /// The thread for the cameras' sockets cannot be started.
    #[error("no thread for the cameras' sockets could be started: check the limits on processes and memory")]
    Thread {
        /// What the system says.
        source: std::io::Error,
    },
    /// GStreamer, or one of its plugins, is not installed.
    #[error("GStreamer cannot {what}: install its base, good and bad plugins")]
    GStreamer {
        /// What it was asked to do.
        what: &'static str,
        /// What it says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl CameraError {
    /// A short name that does not change, for metrics and logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "refused",
            Self::Unreachable { .. } => "unreachable",
            Self::NotFound { .. } => "not_found",
            Self::Unauthorised { .. } => "unauthorised",
            Self::Rejected { .. } => "rejected",
            Self::NoAnswer { .. } => "no_answer",
            Self::Stalled { .. } => "stalled",
            Self::NoKeyframe { .. } => "no_keyframe",
            Self::Ended => "ended",
            Self::Broken { .. } => "broken",
            Self::NoVideo { .. } => "no_video",
            Self::UnsupportedCodec { .. } => "unsupported_codec",
            Self::TooLarge { .. } | Self::PictureTooLarge { .. } => "too_large",
            Self::Damaged { .. } => "damaged",
            Self::Thread { .. } => "thread",
            Self::GStreamer { .. } => "gstreamer",
        }
    }
}
