//! What a well camera brings, over real RTSP.

#![allow(clippy::unwrap_used)] // The helpers are tests too.

mod common;

use std::time::Duration;

use common::{Watched, config, mount, nal_units, simulator, slices, source};
use vigil_base::{Codec, EncodedPacket, Size, SystemClock, TimeSource};
use vigil_camera::{Awaited, CameraClock, CameraStatus, Transport, probe};
use vigil_camsim::{MountConfig, SentFrame, Simulator};

/// Every packet is an access unit that was sent, none is missing, and they are 100 ms apart.
fn assert_complete(packets: &[EncodedPacket], sent: &[SentFrame], codec: Codec) {
    let first = slices(&packets[0].data, codec);
    let start = sent.iter().position(|frame| slices(&frame.data, codec) == first).expect("the first picture was sent");
    for (n, (packet, frame)) in packets.iter().zip(&sent[start..]).enumerate() {
        assert!(slices(&packet.data, codec) == slices(&frame.data, codec), "picture {n} is another one");
        assert_eq!((packet.codec, packet.session), (codec, 1));
        assert_eq!(packet.keyframe, frame.keyframe, "picture {n}");
        assert_eq!(packet.discontinuity, n == 0, "picture {n}");
        let due_ns = n as u64 * 100_000_000;
        assert!(packet.pts_ns.abs_diff(due_ns) < 2_000_000, "picture {n} at {} ns", packet.pts_ns);
    }
}

/// Types of the NAL units of a packet.
fn nal_types(packet: &EncodedPacket) -> Vec<u8> {
    let kind = |unit: &[u8]| match packet.codec {
        Codec::H264 => unit[0] & 0x1f,
        Codec::H265 => (unit[0] >> 1) & 0x3f,
    };
    nal_units(&packet.data).into_iter().map(kind).collect()
}

fn brings_everything(mount: MountConfig, transport: Transport) {
    let codec = mount.codec;
    let simulator = Simulator::start(config([mount])).unwrap();
    let source = vigil_camera::CameraSource { transport, ..source(&simulator.url("cam")) };
    let camera = Watched::start(source.resolve().unwrap());
    let packets = camera.wait_for_packets(25);
    assert_complete(&packets, &simulator.stats("cam").unwrap().recent, codec);
    let parameter_sets: &[u8] = match codec {
        Codec::H264 => &[7, 8],
        Codec::H265 => &[32, 33, 34],
    };
    for packet in packets.iter().filter(|packet| packet.keyframe) {
        let types = nal_types(packet);
        assert!(parameter_sets.iter().all(|set| types.contains(set)), "a keyframe holds {types:?}");
    }
    let info = camera.wait_for("a streaming status", |seen| {
        seen.statuses.iter().find_map(|status| match status {
            CameraStatus::Streaming { info, session: 1, .. } => Some(*info),
            _ => None,
        })
    });
    assert_eq!((info.codec, info.size), (codec, Some(Size::new(192, 144))));
}

#[test]
fn h264_over_tcp_comes_whole_and_in_order() {
    brings_everything(mount("cam"), Transport::Tcp);
}

#[test]
fn h265_over_tcp_comes_whole_and_in_order() {
    brings_everything(MountConfig { codec: Codec::H265, ..mount("cam") }, Transport::Tcp);
}

#[test]
fn h264_over_udp_comes_whole_and_in_order() {
    brings_everything(mount("cam"), Transport::Udp);
}

#[test]
fn sound_beside_the_pictures_is_left_alone() {
    brings_everything(MountConfig { sound: true, ..mount("cam") }, Transport::Tcp);
    brings_everything(MountConfig { sound: true, ..mount("cam") }, Transport::Udp);
}

#[test]
fn the_clips_end_is_no_gap() {
    let short = MountConfig { max_length: Some(Duration::from_millis(1500)), ..mount("cam") };
    let simulator = Simulator::start(config([short])).unwrap();
    let packets = Watched::url(&simulator.url("cam")).wait_for_packets(40);
    let once_around = 15;
    for (n, packet) in packets.iter().enumerate() {
        assert!(packet.pts_ns.abs_diff(n as u64 * 100_000_000) < 2_000_000, "picture {n} at {} ns", packet.pts_ns);
        if n >= once_around {
            let before = &packets[n - once_around].data;
            assert!(slices(&packet.data, Codec::H264) == slices(before, Codec::H264), "picture {n} is another one");
        }
    }
    assert!(packets.windows(2).all(|pair| pair[1].capture_time > pair[0].capture_time));
}

#[test]
fn who_joins_between_keyframes_starts_at_the_next_one() {
    let one_keyframe = MountConfig { gop: Duration::from_secs(3), ..mount("cam") };
    let simulator = Simulator::start(config([one_keyframe])).unwrap();
    let first = Watched::url(&simulator.url("cam"));
    first.wait_for_packets(5);
    let second = Watched::url(&simulator.url("cam"));
    let packets = second.wait_for_packets(3);
    assert!(packets[0].keyframe && packets[0].discontinuity && packets[0].pts_ns == 0);
    assert_eq!(simulator.stats("cam").unwrap().clients, 2, "both share one stream");
    let all = first.wait_for("the same picture at the first", |seen| {
        seen.packets.iter().skip(1).position(|packet| packet.keyframe)
    });
    assert!(all >= 5, "the first did not start again");
}

#[test]
fn who_waits_long_for_a_keyframe_says_so_and_goes_on_waiting() {
    let seldom = Duration::from_secs(12);
    let mount = MountConfig { gop: seldom, max_length: Some(seldom), ..mount("cam") };
    let simulator = Simulator::start(config([mount])).unwrap();
    let first = Watched::url(&simulator.url("cam"));
    first.wait_for_packets(5);
    let second = Watched::url(&simulator.url("cam"));
    second.wait_for("its waiting to be told", |seen| {
        let waits = |status: &CameraStatus| matches!(status, CameraStatus::Waiting { awaited: Awaited::Keyframe });
        seen.statuses.iter().any(waits).then_some(())
    });
    assert!(second.wait_for_packets(3)[0].keyframe);
    assert!(second.look(|seen| seen.reasons().is_empty()), "one connection is enough");
}

#[test]
fn capture_times_are_the_true_times_once_the_camera_tells_them() {
    let simulator = simulator();
    let camera = Watched::url(&simulator.url("cam"));
    let dated = camera.wait_for("dated pictures", |seen| {
        let dated: Vec<_> =
            seen.packets.iter().filter(|packet| packet.time_source == TimeSource::Ntp).cloned().collect();
        (dated.len() >= 15).then_some(dated)
    });
    let sent = simulator.stats("cam").unwrap().recent;
    for packet in &dated {
        let slices_of = slices(&packet.data, Codec::H264);
        let error = |frame: &SentFrame| packet.capture_time.seconds_since(frame.due_time).abs();
        let frames = sent.iter().filter(|frame| slices(&frame.data, Codec::H264) == slices_of);
        let nearest = frames.map(error).fold(f64::INFINITY, f64::min);
        assert!(nearest < 0.020, "a capture time is off by {nearest} s");
    }
    let clock = camera.wait_for("the camera's clock", |seen| match seen.statuses.last() {
        Some(CameraStatus::Streaming { camera_clock, time_source: TimeSource::Ntp, .. }) => Some(*camera_clock),
        _ => None,
    });
    let CameraClock::Good { offset_ms } = clock else { panic!("{clock:?}") };
    assert!(offset_ms.abs() < 500, "{offset_ms} ms");
}

#[test]
fn a_camera_without_sender_reports_is_dated_by_arrival() {
    let silent = MountConfig { sender_reports: None, ..mount("cam") };
    let simulator = Simulator::start(config([silent])).unwrap();
    let packets = Watched::url(&simulator.url("cam")).wait_for_packets(30);
    assert!(packets.iter().all(|packet| packet.time_source == TimeSource::Arrival));
    let sent = simulator.stats("cam").unwrap().recent;
    let late = packets[29].capture_time.seconds_since(sent[sent.len() - 1].due_time);
    assert!(late.abs() < 1.0, "{late} s");
}

#[test]
fn a_probe_tells_codec_size_rate_and_clock() {
    let simulator = simulator();
    let source = source(&simulator.url("cam")).resolve().unwrap();
    let report = probe(&source, &SystemClock::shared(), common::PATIENCE).unwrap();
    assert_eq!((report.codec, report.size), (Codec::H264, Some(Size::new(192, 144))));
    assert!((report.fps.unwrap() - 10.0).abs() < 0.5, "{report:?}");
    assert!(matches!(report.camera_clock, CameraClock::Good { .. }), "{report:?}");
    assert!(report.time_to_keyframe.unwrap() >= report.time_to_first_packet);
}
