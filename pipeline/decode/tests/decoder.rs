//! The decoder against real H.264 and H.265 streams, whole and broken.

#![allow(clippy::unwrap_used)] // Test code, in part outside of test functions.

mod support;

use bytes::Bytes;
use support::{RATE, START, Stream, collector, index_of, moved};
use vigil_base::{Codec, ColourMatrix, EncodedPacket, Frame, Size, TimeSource};
use vigil_decode::{DecodeError, Decoder, DecoderConfig};

fn decode(codec: Codec, packets: &[EncodedPacket]) -> Vec<Frame> {
    let (on_frame, frames) = collector();
    let mut decoder = Decoder::new(codec, DecoderConfig::default(), "test", on_frame).unwrap();
    for packet in packets {
        decoder.push(packet).unwrap();
    }
    decoder.drain();
    std::mem::take(&mut *frames.lock().unwrap())
}

fn indexes(frames: &[Frame]) -> Vec<u64> {
    frames.iter().map(index_of).collect()
}

#[test]
fn every_picture_comes_out_once_in_order_with_its_own_capture_time() {
    for (codec, b_frames) in [(Codec::H264, 0), (Codec::H264, 3), (Codec::H265, 0), (Codec::H265, 3)] {
        let stream = Stream { codec, b_frames, ..Stream::h264(96, 64, 30) };
        let frames = decode(codec, &stream.packets());
        assert_eq!(indexes(&frames), (0..30).collect::<Vec<_>>(), "{codec} with {b_frames} B-frames");
        for (index, frame) in frames.iter().enumerate() {
            let micros = index as u64 * 1_000_000 / RATE;
            assert_eq!(frame.capture_time, START + std::time::Duration::from_micros(micros));
            assert_eq!((frame.sequence, frame.time_source), (index as u64, TimeSource::Ntp));
            assert_eq!((frame.size, frame.matrix, frame.full_range), (stream.size, ColourMatrix::Bt709, false));
        }
    }
}

#[test]
fn cropped_pictures_come_out_whole() {
    // Coded sizes are multiples of 16 in H.264: cut at the right, at the bottom, at both, and not at all.
    for (width, height) in [(100, 64), (96, 52), (100, 52), (1366, 90), (96, 64)] {
        let stream = Stream::h264(width, height, 12);
        let frames = decode(Codec::H264, &stream.packets());
        assert_eq!(indexes(&frames), (0..12).collect::<Vec<_>>(), "{width}x{height}");
        assert!(frames.iter().all(|frame| frame.size == stream.size));
        let corner = frames[11].planes[0].row(height - 1)[width as usize - 1];
        assert!(corner.abs_diff(support::grey(11)) < 3, "{width}x{height}: {corner}");
    }
}

#[test]
fn a_stream_without_b_frames_is_decoded_without_delay() {
    let (on_frame, frames) = collector();
    let mut decoder = Decoder::new(Codec::H264, DecoderConfig::default(), "test", on_frame).unwrap();
    for (index, packet) in Stream::h264(96, 64, 12).packets().iter().enumerate() {
        decoder.push(packet).unwrap();
        assert_eq!(frames.lock().unwrap().len(), index + 1);
    }
}

#[test]
fn frames_stay_valid_after_the_decoder_is_gone() {
    let frames = decode(Codec::H264, &Stream::h264(96, 64, 30).packets());
    assert_eq!(indexes(&frames), (0..30).collect::<Vec<_>>());
    let copies = frames.clone();
    drop(frames);
    assert_eq!(index_of(&copies[29]), 29);
}

#[test]
fn decoding_starts_at_the_first_keyframe() {
    let packets = Stream::h264(96, 64, 30).packets();
    assert_eq!(indexes(&decode(Codec::H264, &packets[3..])), (10..30).collect::<Vec<_>>());
}

#[test]
fn after_a_cut_nothing_is_handed_out_until_the_next_keyframe() {
    let mut packets = Stream::h264(96, 64, 30).packets();
    packets.drain(13..16);
    packets[13].discontinuity = true;
    let expected = (0..13).chain(20..30).collect::<Vec<_>>();
    assert_eq!(indexes(&decode(Codec::H264, &packets)), expected);
}

#[test]
fn a_new_session_starts_its_times_anew_and_loses_no_picture_of_the_old() {
    let old = Stream { b_frames: 3, ..Stream::h264(96, 64, 20) }.packets();
    let new = old.iter().map(|packet| moved(packet, 1, packet.pts_ns));
    let frames = decode(Codec::H264, &old.iter().cloned().chain(new).collect::<Vec<_>>());
    assert_eq!(indexes(&frames), (0..20).chain(0..20).collect::<Vec<_>>());
    assert!(frames[..20].iter().all(|frame| frame.session == 0), "old pictures keep their session");
    assert!(frames[20..].iter().all(|frame| frame.session == 1));
    assert_eq!(frames[39].sequence, 39);
}

#[test]
fn times_that_jump_back_within_a_session_are_followed() {
    let packets = Stream::h264(96, 64, 20).packets();
    let hour = 3_600_000_000_000;
    let later = packets.iter().map(|packet| moved(packet, 0, packet.pts_ns + hour));
    let frames = decode(Codec::H264, &later.chain(packets.iter().cloned()).collect::<Vec<_>>());
    assert_eq!(indexes(&frames), (0..20).chain(0..20).collect::<Vec<_>>());
    assert_eq!(frames[20].capture_time, START);
}

#[test]
fn a_size_change_in_the_stream_is_followed() {
    let small = Stream::h264(96, 64, 10).packets();
    let large = Stream::h264(320, 176, 10).packets();
    let large = large.iter().map(|packet| moved(packet, 0, packet.pts_ns + 400_000_000));
    let frames = decode(Codec::H264, &small.into_iter().chain(large).collect::<Vec<_>>());
    assert_eq!(frames.len(), 20);
    assert!(frames[..10].iter().all(|frame| frame.size == Size::new(96, 64)));
    assert!(frames[10..].iter().all(|frame| frame.size == Size::new(320, 176)));
    assert_eq!(indexes(&frames[10..]), (0..10).collect::<Vec<_>>());
}

#[test]
fn a_codec_change_is_followed() {
    let first = Stream::h264(96, 64, 10).packets();
    let second = Stream { codec: Codec::H265, ..Stream::h264(96, 64, 10) }.packets();
    let second = second.iter().map(|packet| moved(packet, 1, packet.pts_ns));
    let (on_frame, frames) = collector();
    let mut decoder = Decoder::new(Codec::H264, DecoderConfig::default(), "test", on_frame).unwrap();
    assert_eq!(decoder.active(), Some("avdec_h264"));
    for packet in first.into_iter().chain(second) {
        decoder.push(&packet).unwrap();
    }
    decoder.drain();
    assert_eq!(decoder.active(), Some("avdec_h265"));
    assert_eq!(frames.lock().unwrap().len(), 20);
}

#[test]
fn other_formats_are_converted_to_i420_and_no_picture_is_lost() {
    let stream = Stream { format: "Y42B", ..Stream::h264(96, 64, 20) };
    let frames = decode(Codec::H264, &stream.packets());
    assert_eq!(indexes(&frames), (0..20).collect::<Vec<_>>());
    assert_eq!(frames[0].planes[1].height, 32);
    assert_eq!(frames[0].matrix, ColourMatrix::Bt709);
}

#[test]
fn damaged_packets_cost_pictures_but_never_the_decoder() {
    let mut packets = Stream::h264(320, 176, 40).packets();
    let mut noise = 0x2545_f491_4f6c_dd1d_u64;
    for packet in &mut packets[5..18] {
        let mut data = packet.data.to_vec();
        for byte in data.iter_mut().skip(5).step_by(3) {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            *byte = noise as u8;
        }
        packet.data = data.into();
    }
    let frames = decode(Codec::H264, &packets);
    assert_eq!(indexes(&frames[..5]), (0..5).collect::<Vec<_>>());
    assert_eq!(indexes(&frames[frames.len() - 20..]), (20..40).collect::<Vec<_>>());
}

#[test]
fn garbage_truncated_and_empty_packets_are_survived() {
    let good = Stream::h264(96, 64, 10).packets();
    let with = |data: Vec<u8>| EncodedPacket { data: Bytes::from(data), ..good[0].clone() };
    let mut packets = vec![with(vec![]), with(vec![0; 100]), with((0..=255).cycle().take(5000).collect())];
    packets.extend((1..good[0].data.len()).step_by(7).map(|len| with(good[0].data[..len].to_vec())));
    packets.extend(good.iter().map(|packet| moved(packet, 1, packet.pts_ns)));
    let frames = decode(Codec::H264, &packets);
    assert_eq!(indexes(&frames[frames.len() - 10..]), (0..10).collect::<Vec<_>>());
}

#[test]
fn pictures_above_the_size_limit_are_refused_by_name() {
    let stream = Stream { keyframe_every: 1, ..Stream::h264(8208, 16, 1) };
    let (on_frame, frames) = collector();
    let mut decoder = Decoder::new(Codec::H264, DecoderConfig::default(), "yard", on_frame).unwrap();
    let refused = stream.packets().iter().map(|packet| decoder.push(packet)).find_map(Result::err).unwrap();
    assert!(matches!(refused, DecodeError::TooLarge { size: Size { width: 8208, height: 16 }, .. }), "{refused:?}");
    assert!(refused.to_string().contains("yard") && refused.to_string().contains("8192"), "{refused}");
    for packet in Stream::h264(96, 64, 10).packets() {
        decoder.push(&moved(&packet, 1, packet.pts_ns)).unwrap();
    }
    assert_eq!(frames.lock().unwrap().len(), 10, "a smaller stream is decoded after the refusal");
}
