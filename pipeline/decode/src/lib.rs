//! `EncodedPacket` to [`Frame`](vigil_base::Frame): the only place that decodes.
//!
//! [`Decoder`] takes the packets of one camera and hands out pictures; [`FileDecoder`] does the same for a video file.
//! Both decode with one thread per stream (more threads cost more CPU for the same pictures) and hand out the decoder's
//! own memory: planes of a [`Frame`](vigil_base::Frame) are never copied on the software path.
//!
//! There is no queue inside: [`Decoder::push`] decodes in the caller's thread and returns when the packet is decoded, so
//! that a slow consumer slows its own camera and nothing grows.
//!
//! Metrics, per camera: `vigil_decode_frames_total`, `vigil_decode_errors_total{cause}`,
//! `vigil_decode_skipped_packets_total{cause}`, and the gauge `vigil_decoder_info{decoder}`, 1 for the decoder in use.

mod candidates;
mod chain;
mod damage;
mod decoder;
mod error;
mod file;
mod memory;
mod opening;
mod patience;
mod picture;
mod telemetry;
mod timing;

pub use candidates::{DecoderInfo, Prefer, usable_decoders};
pub use damage::FileDamage;
pub use decoder::{Decoder, DecoderConfig, OnFrame};
pub use error::DecodeError;
pub use file::{FileDecoder, FileInfo, FrameRate};

/// Largest width and height that is decoded, pixels: above every camera on the market (8K is 7680 x 4320), and low enough
/// that a forged header cannot ask for more than about 100 MB a picture.
pub const MAX_SIDE: u32 = 8192;

/// Starts GStreamer; cheap when it runs already.
fn start_gstreamer() -> Result<(), DecodeError> {
    gstreamer::init().map_err(DecodeError::Gstreamer)
}
