//! The decoder of one camera: from packets to pictures, whatever the stream does.

use std::time::Duration;

use vigil_base::{Codec, EncodedPacket, Frame};

use crate::candidates::{Candidate, Prefer, candidates};
use crate::chain::{Broken, Chain, Picture, Plan};
use crate::picture::{self, Label};
use crate::telemetry::Telemetry;
use crate::timing::Timing;
use crate::{DecodeError, start_gstreamer};

/// Failures without a picture between, after which a decoder counts as broken: each costs a keyframe interval of blindness,
/// and a stream that three fresh decoders choke on will choke the fourth.
const MAX_FAILURES: u32 = 3;
/// Presentation times may step back by this much within one stream (B-frames: 16 pictures at 8 a second); beyond it the
/// sender has started anew.
const MAX_STEP_BACK: Duration = Duration::from_secs(2);
/// Largest access unit taken for real: an uncompressed 8-bit 4:2:0 picture of 8192 x 8192 is 96 MiB, and no coded one
/// comes near a third of that.
const MAX_PACKET_BYTES: usize = 32 * 1024 * 1024;

/// Receives each picture, in order of presentation, in the thread that calls [`Decoder::push`].
pub type OnFrame = Box<dyn FnMut(Frame) + Send>;

/// How a camera is decoded.
#[derive(Debug, Clone, Copy)]
pub struct DecoderConfig {
    /// Which decoders may be used.
    pub prefer: Prefer,
    /// Threads of a software decoder. More than one costs more CPU for the same pictures, and holds pictures back.
    pub threads: u32,
}

impl Default for DecoderConfig {
    fn default() -> Self {
        Self { prefer: Prefer::default(), threads: 1 }
    }
}

/// Decodes the packets of one camera.
///
/// Decoding starts at a keyframe, and again at a keyframe after each cut in the stream; packets between are passed over and
/// counted. A new session, another codec, another picture size and damaged data are all taken in stride. A decoder that
/// breaks is made anew, the next best one where a hardware decoder broke.
pub struct Decoder {
    camera: String,
    config: DecoderConfig,
    chain: Option<Chain>,
    codec: Codec,
    candidates: Vec<Candidate>,
    timing: Timing,
    session: u32,
    newest_pts_ns: u64,
    awaiting_keyframe: bool,
    failures: u32,
    sequence: u64,
    telemetry: Telemetry,
    on_frame: OnFrame,
}

impl Decoder {
    /// Starts a decoder. `camera` names it in errors, logs and metrics.
    pub fn new(codec: Codec, config: DecoderConfig, camera: &str, on_frame: OnFrame) -> Result<Self, DecodeError> {
        Self::with_candidates(codec, config, camera, on_frame, candidates(codec, config.prefer))
    }

    fn with_candidates(
        codec: Codec,
        config: DecoderConfig,
        camera: &str,
        on_frame: OnFrame,
        candidates: Vec<Candidate>,
    ) -> Result<Self, DecodeError> {
        start_gstreamer()?;
        let mut decoder = Self {
            camera: camera.to_owned(),
            config,
            chain: None,
            codec,
            candidates,
            timing: Timing::default(),
            session: 0,
            newest_pts_ns: 0,
            awaiting_keyframe: true,
            failures: 0,
            sequence: 0,
            telemetry: Telemetry::new(camera),
            on_frame,
        };
        decoder.start_chain(false)?;
        Ok(decoder)
    }

    /// The decoder element really in use, such as `avdec_h264`; none after [`DecodeError::NoDecoder`].
    pub fn active(&self) -> Option<&'static str> {
        self.chain.as_ref().map(|chain| chain.plan().candidate.element)
    }

    /// Decodes one packet, and hands out the pictures that became ready, before it returns.
    ///
    /// After an error the decoder stays usable: it tries again at the next keyframe.
    pub fn push(&mut self, packet: &EncodedPacket) -> Result<(), DecodeError> {
        if packet.data.is_empty() || packet.data.len() > MAX_PACKET_BYTES {
            self.telemetry.malformed.increment(1);
            return Ok(());
        }
        self.follow_stream(packet)?;
        if self.awaiting_keyframe && !packet.keyframe {
            self.telemetry.awaiting_keyframe.increment(1);
            return Ok(());
        }
        if self.chain.is_none() {
            self.start_chain(false)?;
        }
        self.awaiting_keyframe = false;
        self.newest_pts_ns = self.newest_pts_ns.max(packet.pts_ns);
        let lost = self.timing.packet_in(packet);
        self.telemetry.damaged.increment(lost);
        self.decode(packet)
    }

    /// Hands out what the decoder still holds back: at the end of a stream. Decoding goes on at the next keyframe.
    pub fn drain(&mut self) {
        if let Some(chain) = &self.chain {
            chain.drain();
            self.hand_out();
        }
        let lost = self.timing.clear();
        self.telemetry.damaged.increment(lost);
        self.newest_pts_ns = 0;
        self.awaiting_keyframe = true;
    }

    /// Empties the decoder where the packet does not continue the stream so far.
    fn follow_stream(&mut self, packet: &EncodedPacket) -> Result<(), DecodeError> {
        let step_back = Duration::from_nanos(self.newest_pts_ns.saturating_sub(packet.pts_ns));
        let cut = packet.discontinuity || packet.session != self.session || step_back > MAX_STEP_BACK;
        if (cut || packet.codec != self.codec) && !self.awaiting_keyframe {
            self.drain();
        }
        self.session = packet.session;
        if packet.codec != self.codec {
            self.codec = packet.codec;
            self.candidates = candidates(packet.codec, self.config.prefer);
            self.stop_chain();
            self.start_chain(false)?;
        }
        Ok(())
    }

    /// Pushes a packet through the chain; where the chain breaks, mends it and, at a keyframe, tries the same packet again.
    fn decode(&mut self, packet: &EncodedPacket) -> Result<(), DecodeError> {
        loop {
            let Some(chain) = &self.chain else { return Ok(()) };
            let Err(broken) = chain.push(packet.data.clone(), packet.pts_ns, packet.keyframe) else {
                self.hand_out();
                return Ok(());
            };
            // Pictures decoded before the break are good.
            self.hand_out();
            self.mend(broken)?;
            if !packet.keyframe {
                return Ok(());
            }
            self.awaiting_keyframe = false;
            self.timing.packet_in(packet);
        }
    }

    /// Makes the decoder anew, in the way that the break asks for.
    fn mend(&mut self, broken: Broken) -> Result<(), DecodeError> {
        let Some(plan) = self.chain.as_ref().map(Chain::plan) else { return Ok(()) };
        self.stop_chain();
        let lost = self.timing.clear();
        let decoder = plan.candidate.element;
        let convert = match broken {
            Broken::TooLarge(size) => return Err(DecodeError::TooLarge { camera: self.camera.clone(), size }),
            Broken::NeedsConversion(format) if !plan.convert => {
                tracing::warn!(camera = self.camera, decoder, %format, "pictures are converted to I420, which costs CPU");
                true
            }
            Broken::NeedsConversion(format) => {
                self.count_failure(plan.candidate, &format!("it gives {format} in spite of a converter"), lost)?;
                true
            }
            Broken::Failed(reason) => {
                self.count_failure(plan.candidate, &reason, lost)?;
                plan.convert
            }
        };
        self.start_chain(convert)
    }

    /// Counts a broken decoder, and gives it up for this stream where it is hardware. An error when it is one too many.
    fn count_failure(&mut self, broken: Candidate, reason: &str, lost: u64) -> Result<(), DecodeError> {
        let decoder = broken.element;
        self.failures += 1;
        self.telemetry.broken.increment(1);
        self.telemetry.damaged.increment(lost);
        tracing::warn!(camera = self.camera, decoder, reason, failures = self.failures, "decoder broke");
        if broken.is_hardware() {
            self.candidates.retain(|candidate| *candidate != broken);
        }
        if self.failures < MAX_FAILURES {
            return Ok(());
        }
        let failures = std::mem::take(&mut self.failures);
        let (camera, decoder, reason) = (self.camera.clone(), decoder.to_owned(), reason.to_owned());
        Err(DecodeError::Broken { camera, decoder, failures, reason })
    }

    fn hand_out(&mut self) {
        while let Some(picture) = self.chain.as_ref().and_then(Chain::next_picture) {
            self.failures = 0;
            self.hand_out_one(picture);
        }
    }

    fn hand_out_one(&mut self, picture: Picture) {
        let pts_ns = picture.buffer.pts().map(gstreamer::ClockTime::nseconds);
        let corrupted = picture.buffer.flags().contains(gstreamer::BufferFlags::CORRUPTED);
        let (taken, lost) = self.timing.picture_out(pts_ns);
        self.telemetry.damaged.increment(lost);
        let label = taken.filter(|_| !corrupted).map(|taken| Label {
            sequence: self.sequence,
            session: self.session,
            capture_time: taken.capture_time,
            time_source: taken.time_source,
        });
        let Some(frame) = label.and_then(|label| picture::frame(picture.buffer, &picture.info, label)) else {
            self.telemetry.damaged.increment(1);
            return;
        };
        self.sequence += 1;
        self.telemetry.frames.increment(1);
        (self.on_frame)(frame);
    }

    /// Starts the first candidate that works.
    fn start_chain(&mut self, convert: bool) -> Result<(), DecodeError> {
        let mut tried = Vec::new();
        for &candidate in &self.candidates {
            match Chain::start(Plan { codec: self.codec, candidate, convert, threads: self.config.threads }) {
                Ok(chain) => {
                    tracing::debug!(camera = self.camera, decoder = candidate.element, convert, "decoder started");
                    self.telemetry.decoder_in_use(candidate.element, true);
                    self.chain = Some(chain);
                    return Ok(());
                }
                Err(reason) => tried.push(format!("{}: {reason}", candidate.element)),
            }
        }
        Err(DecodeError::NoDecoder { camera: self.camera.clone(), codec: self.codec, tried: tried.join("; ") })
    }

    fn stop_chain(&mut self) {
        self.awaiting_keyframe = true;
        if let Some(chain) = self.chain.take() {
            self.telemetry.decoder_in_use(chain.plan().candidate.element, false);
        }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        self.stop_chain();
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("camera", &self.camera).field("active", &self.active()).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "../tests/support/mod.rs"]
mod support;

#[cfg(test)]
mod tests {
    use super::support::{Stream, collector, index_of};
    use super::*;

    const CPU: Candidate = Candidate { element: "avdec_h264", parser: None };

    fn start(candidates: Vec<Candidate>, on_frame: OnFrame) -> Result<Decoder, DecodeError> {
        Decoder::with_candidates(Codec::H264, DecoderConfig::default(), "gate 3", on_frame, candidates)
    }

    #[test]
    fn hardware_that_does_not_register_is_passed_over() {
        let absent = Candidate { element: "nosuchh264dec", parser: Some("h264parse") };
        let decoder = start(vec![absent, CPU], collector().0).unwrap();
        assert_eq!(decoder.active(), Some("avdec_h264"));
    }

    #[test]
    fn hardware_that_fails_on_the_stream_is_replaced_without_losing_a_picture() {
        // Stands in for hardware that knows fewer profiles than the stream needs: it has no 4:2:2.
        let failing = Candidate { element: "openh264dec", parser: Some("h264parse") };
        let (on_frame, frames) = collector();
        let mut decoder = start(vec![failing, CPU], on_frame).unwrap();
        assert_eq!(decoder.active(), Some("openh264dec"));
        for packet in (Stream { format: "Y42B", ..Stream::h264(96, 64, 10) }).packets() {
            decoder.push(&packet).unwrap();
        }
        assert_eq!(decoder.active(), Some("avdec_h264"));
        assert_eq!(frames.lock().unwrap().iter().map(index_of).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn no_decoder_at_all_is_an_error_that_lists_what_was_tried() {
        let absent = Candidate { element: "nosuchh264dec", parser: None };
        let err = start(vec![absent], collector().0).unwrap_err().to_string();
        assert!(err.contains("gate 3") && err.contains("nosuchh264dec") && err.contains("gstreamer1.0-libav"), "{err}");
    }

    #[test]
    fn a_decoder_that_breaks_on_every_keyframe_is_reported() {
        let failing = Candidate { element: "identity", parser: None };
        let mut decoder = start(vec![failing], collector().0).unwrap();
        let packet = &Stream::h264(96, 64, 1).packets()[0];
        let err = decoder.push(packet).unwrap_err();
        assert!(matches!(err, DecodeError::Broken { failures: MAX_FAILURES, .. }), "{err:?}");
    }
}
