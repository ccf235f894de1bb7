//! Which decoders there are, and which of them work on this machine.
//!
//! A decoder's plugin may be installed without its hardware: what counts is whether the element registers, can be made and
//! opens its device.

use gst::prelude::*;
use gstreamer as gst;
use vigil_base::Codec;

use crate::{DecodeError, start_gstreamer};

/// Which decoders may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prefer {
    /// Hardware where it works, else software.
    Auto,
    /// The CPU only. Cheapest to operate, and reproducible bit by bit.
    #[default]
    Software,
}

/// One decoder that Vigil knows how to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// GStreamer element.
    pub element: &'static str,
    /// Hardware decoders need the caps that only a parser finds in the stream.
    pub parser: Option<&'static str>,
}

impl Candidate {
    /// Whether it runs on a video engine rather than the CPU.
    pub fn is_hardware(&self) -> bool {
        self.parser.is_some()
    }
}

const fn hardware(element: &'static str, parser: &'static str) -> Candidate {
    Candidate { element, parser: Some(parser) }
}

/// Best first: NVIDIA, VA-API (Intel, AMD), Intel's own, then Linux's stateless and stateful interfaces (ARM boards); the
/// CPU last. openh264dec is not among them: it costs more than twice as much as libav and lacks High profile features.
const H264: [Candidate; 6] = [
    hardware("nvh264dec", "h264parse"),
    hardware("vah264dec", "h264parse"),
    hardware("qsvh264dec", "h264parse"),
    hardware("v4l2slh264dec", "h264parse"),
    hardware("v4l2h264dec", "h264parse"),
    Candidate { element: "avdec_h264", parser: None },
];
const H265: [Candidate; 6] = [
    hardware("nvh265dec", "h265parse"),
    hardware("vah265dec", "h265parse"),
    hardware("qsvh265dec", "h265parse"),
    hardware("v4l2slh265dec", "h265parse"),
    hardware("v4l2h265dec", "h265parse"),
    Candidate { element: "avdec_h265", parser: None },
];

fn known(codec: Codec) -> &'static [Candidate] {
    match codec {
        Codec::H264 => &H264,
        Codec::H265 => &H265,
    }
}

/// The decoders to try for `codec`, best first.
pub(crate) fn candidates(codec: Codec, prefer: Prefer) -> Vec<Candidate> {
    let allowed = |candidate: &&Candidate| prefer == Prefer::Auto || !candidate.is_hardware();
    known(codec).iter().filter(allowed).copied().collect()
}

/// A decoder as `vigil doctor` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecoderInfo {
    /// What it decodes.
    pub codec: Codec,
    /// GStreamer element.
    pub element: &'static str,
    /// Whether it runs on a video engine rather than the CPU.
    pub hardware: bool,
    /// Why it cannot be used; none when it works.
    pub problem: Option<String>,
}

impl DecoderInfo {
    /// Whether the decoder was made and opened its device.
    pub fn is_usable(&self) -> bool {
        self.problem.is_none()
    }
}

/// All decoders Vigil knows, each really made and opened to see whether it works; in the order they would be chosen.
pub fn usable_decoders() -> Result<Vec<DecoderInfo>, DecodeError> {
    start_gstreamer()?;
    let codecs = [Codec::H264, Codec::H265].into_iter();
    Ok(codecs.flat_map(|codec| known(codec).iter().map(move |candidate| examine(codec, candidate))).collect())
}

fn examine(codec: Codec, candidate: &Candidate) -> DecoderInfo {
    DecoderInfo {
        codec,
        element: candidate.element,
        hardware: candidate.is_hardware(),
        problem: open(candidate.element).err(),
    }
}

/// Makes the element and opens its device, then lets go of it.
fn open(element: &str) -> Result<(), String> {
    let made = make(element)?;
    let opened = made.set_state(gst::State::Ready);
    let closed = made.set_state(gst::State::Null);
    match opened.and(closed) {
        Ok(_) => Ok(()),
        Err(_) => Err("its device does not open".to_owned()),
    }
}

/// Makes a GStreamer element, or says that it is not there.
pub(crate) fn make(element: &str) -> Result<gst::Element, String> {
    gst::ElementFactory::make(element).build().map_err(|_| "not installed, or no hardware for it".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_decodes_both_codecs_and_is_always_the_last_choice() {
        let all = usable_decoders().unwrap();
        for (codec, element) in [(Codec::H264, "avdec_h264"), (Codec::H265, "avdec_h265")] {
            let info = all.iter().find(|info| info.element == element).unwrap();
            assert!(info.is_usable() && !info.hardware, "{info:?}");
            assert_eq!(candidates(codec, Prefer::Auto).last().unwrap().element, element);
            assert_eq!(candidates(codec, Prefer::Software).len(), 1);
        }
    }

    #[test]
    fn a_decoder_that_does_not_register_says_why_it_is_out() {
        start_gstreamer().unwrap();
        assert!(open("nosuchdec").unwrap_err().contains("not installed"));
    }
}
