//! Counters of one camera's decoding, each taken once.

use metrics::{Counter, counter, gauge};

/// The counters of one camera.
pub(crate) struct Telemetry {
    camera: String,
    /// Pictures handed out.
    pub frames: Counter,
    /// Packets whose picture never came out, or came out marked as damaged.
    pub damaged: Counter,
    /// Times the decoder broke and was made anew.
    pub broken: Counter,
    /// Packets passed over because decoding cannot start there.
    pub awaiting_keyframe: Counter,
    /// Packets empty or too large to be real.
    pub malformed: Counter,
}

impl Telemetry {
    pub fn new(camera: &str) -> Self {
        let error = |cause: &'static str| counter!("vigil_decode_errors_total", "camera" => camera.to_owned(), "cause" => cause);
        let skipped = |cause: &'static str| counter!("vigil_decode_skipped_packets_total", "camera" => camera.to_owned(), "cause" => cause);
        Self {
            camera: camera.to_owned(),
            frames: counter!("vigil_decode_frames_total", "camera" => camera.to_owned()),
            damaged: error("damaged_data"),
            broken: error("decoder_broke"),
            awaiting_keyframe: skipped("awaiting_keyframe"),
            malformed: skipped("malformed"),
        }
    }

    /// Shows `decoder` as the one in use (1), or as no longer so (0).
    pub fn decoder_in_use(&self, decoder: &str, in_use: bool) {
        gauge!("vigil_decoder_info", "camera" => self.camera.clone(), "decoder" => decoder.to_owned()).set(if in_use {
            1.0
        } else {
            0.0
        });
    }
}
