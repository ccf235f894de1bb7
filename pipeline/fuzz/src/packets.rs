//! Access units, through the gate before the decoder, the decoder and the motion gate, as the camera's thread does it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use vigil_base::{Codec, EncodedPacket, Frame, Size, TimeSource, Timestamp};
use vigil_camsim::{Coding, MountConfig, SimConfig, Simulator};
use vigil_decode::{Decoder, DecoderConfig};
use vigil_gate::{GateConfig, MotionGate, PacketGate, PacketGateConfig, Step};

/// Microseconds between two pictures.
const PERIOD_US: i64 = 100_000;
/// Access units of one input, at most: a second or two of a stream.
const MAX_UNITS: usize = 40;

/// The first byte says how the rest, an Annex B stream, is to be taken.
pub(crate) fn feed(data: &[u8]) {
    decode(data);
}

/// Returns how many pictures came out.
fn decode(data: &[u8]) -> usize {
    let Some((first, stream)) = data.split_first() else { return 0 };
    let codec = if first & 1 == 0 { Codec::H264 } else { Codec::H265 };
    let frames = Arc::new(Mutex::new(VecDeque::new()));
    let keep = frames.clone();
    let on_frame = Box::new(move |frame| keep.lock().push_back(frame));
    let mut decoder = Decoder::new(codec, DecoderConfig::default(), "fuzzed", on_frame).expect("the CPU decodes");
    let mut packets = PacketGate::new(PacketGateConfig::default());
    let mut pictures = MotionGate::new(GateConfig::default());
    let mut count = 0;
    for (n, unit) in units(stream, codec).into_iter().take(MAX_UNITS).enumerate() {
        let packet = packet(codec, n, unit);
        let run = match packets.take(packet.clone()) {
            // Its turn comes at once.
            Step::Look(_) if packets.is_new() => packets.open(),
            Step::Decode(packet) | Step::Look(packet) => vec![packet],
            Step::Hold => Vec::new(),
            Step::Wake(packets, _) => packets,
        };
        // A packet that cannot be decoded is an error, and the next keyframe begins anew.
        let failed = run.iter().filter(|packet| decoder.push(packet).is_err()).count();
        let shown: Vec<Frame> = frames.lock().drain(..).collect();
        count += shown.len();
        let moved = shown.iter().any(|frame| looks_whole(frame) && pictures.observe(frame).moved);
        if packets.is_resting() {
            packets.looked(moved || failed > 0);
        } else if packet.keyframe && !moved {
            packets.calm();
        }
        packets.rests(packet.capture_time);
    }
    decoder.drain();
    let held_back = frames.lock().len();
    count + held_back
}

/// Reads every plane to its last sample.
fn looks_whole(frame: &Frame) -> bool {
    let Size { width, height } = frame.size;
    assert!(width > 0 && height > 0 && frame.planes.iter().all(|plane| plane.height > 0));
    let last = frame.planes.each_ref().map(|plane| plane.row(plane.height - 1)[plane.width as usize - 1]);
    std::hint::black_box(last);
    true
}

fn packet(codec: Codec, n: usize, unit: &[u8]) -> EncodedPacket {
    let at_us = n as i64 * PERIOD_US;
    EncodedPacket {
        codec,
        session: 1,
        pts_ns: at_us.unsigned_abs() * 1000,
        capture_time: Timestamp::from_micros(1_700_000_000_000_000 + at_us),
        time_source: TimeSource::Arrival,
        keyframe: starts(unit).iter().any(|&at| is_keyframe(codec, unit[at])),
        discontinuity: n == 0,
        data: Bytes::copy_from_slice(unit),
    }
}

/// Places right behind each start code (Annex B of H.264 and H.265) that are within the stream.
fn starts(stream: &[u8]) -> Vec<usize> {
    let codes = stream.windows(3).enumerate().filter(|(_, bytes)| *bytes == [0, 0, 1]);
    codes.map(|(at, _)| at + 3).filter(|&at| at < stream.len()).collect()
}

/// Cut behind each slice: the streams here have one to a picture.
fn units(stream: &[u8], codec: Codec) -> Vec<&[u8]> {
    let starts = starts(stream);
    let mut units = Vec::new();
    let mut from = 0;
    for pair in starts.windows(2) {
        if is_slice(codec, stream[pair[0]]) {
            let end = pair[1] - 3;
            units.push(&stream[from..end]);
            from = end;
        }
    }
    units.push(&stream[from..]);
    units
}

/// NAL units without start codes, each with whether it is the last of its picture.
pub(crate) fn nal_units(stream: &[u8], codec: Codec) -> Vec<(&[u8], bool)> {
    let starts = starts(stream);
    let ends = starts.iter().skip(1).map(|at| at - 3).chain([stream.len()]);
    let unit = |(&from, to): (&usize, usize)| {
        // A zero before a start code belongs to it; none ends a NAL unit.
        let len = stream[from..to].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        (&stream[from..from + len], is_slice(codec, stream[from]))
    };
    starts.iter().zip(ends).map(unit).collect()
}

/// NAL unit types of coded slices: ITU-T H.264, table 7-1; H.265, table 7-1.
fn is_slice(codec: Codec, header: u8) -> bool {
    match codec {
        Codec::H264 => (1..=5).contains(&(header & 0x1f)),
        Codec::H265 => (header >> 1) & 0x3f < 32,
    }
}

fn is_keyframe(codec: Codec, header: u8) -> bool {
    match codec {
        Codec::H264 => header & 0x1f == 5,
        Codec::H265 => (16..=23).contains(&((header >> 1) & 0x3f)),
    }
}

/// A second of the plaza, tiny, in every coding that the simulator knows.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let plain = Coding::default();
    let codings = [
        ("h264", Codec::H264, plain),
        ("h265", Codec::H265, plain),
        ("b-frames", Codec::H264, Coding { b_frames: 2, ..plain }),
        ("fields", Codec::H264, Coding { interlaced: true, ..plain }),
        ("wide-chroma", Codec::H264, Coding { wide_chroma: true, ..plain }),
    ];
    let folder = tempfile::tempdir().expect("the machine has room for a few clips");
    let mut config = SimConfig::new(folder.path());
    config.mounts = codings.iter().map(|&(name, codec, coding)| mount(name, codec, coding)).collect();
    let simulator = Simulator::start(config).expect("the simulator encodes");
    let seed = |&(name, codec, _): &(&str, Codec, Coding)| {
        let clip = simulator.clip(name).expect("the mount is there");
        let stream = clip.access_units.iter().flat_map(|unit| unit.data.iter().copied());
        [u8::from(codec == Codec::H265)].into_iter().chain(stream).collect()
    };
    codings.iter().map(seed).collect()
}

fn mount(name: &str, codec: Codec, coding: Coding) -> MountConfig {
    let cache = std::env::var_os("VIGIL_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/vigil"),
        PathBuf::from,
    );
    let clip = cache.join("clips/vtest.avi");
    assert!(clip.is_file(), "{} is missing: run scripts/setup, or set VIGIL_CACHE", clip.display());
    MountConfig {
        codec,
        coding,
        size: Some(Size::new(64, 48)),
        gop: std::time::Duration::from_millis(500),
        max_length: Some(std::time::Duration::from_millis(1200)),
        ..MountConfig::new(name, clip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_are_good_streams_of_which_every_picture_is_decoded() {
        let counts: Vec<_> = seeds().iter().map(|seed| decode(seed)).collect();
        assert!(counts.iter().all(|count| (10..=12).contains(count)), "{counts:?}");
    }
}
