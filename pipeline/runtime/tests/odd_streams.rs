//! Streams that standards allow and that few cameras send, over real RTSP through the whole chain: camera, gate, decoder,
//! detector. Each is analysed, and the camera beside it goes on.

#![allow(clippy::unwrap_used)] // The helpers are tests too.

mod common;

use std::time::Duration;

use common::{RATE, Watched, config, plaza, scheduler};
use vigil_base::{Clock, Codec, Size, SystemClock, Timestamp};
use vigil_camsim::{Coding, Fault, MountConfig, Simulator};
use vigil_runtime::CameraState;

/// Analyses that show that a camera is well: two seconds of it.
const SOME: u64 = 10;

fn coded(name: &str, coding: Coding) -> MountConfig {
    MountConfig { coding, ..plaza(name) }
}

/// No frame was dated before the one ahead of it, and the analysis kept its rate.
fn assert_steady(times: &[Timestamp], tolerance: f64) {
    for pair in times.windows(2) {
        let passed = pair[1].seconds_since(pair[0]);
        assert!((passed * RATE - 1.0).abs() <= tolerance, "{passed} s between two analysed frames of {times:?}");
    }
}

#[test]
fn cameras_with_odd_streams_are_all_analysed_side_by_side() {
    let b_frames = Coding { b_frames: 2, ..Coding::default() };
    let wide_chroma = Coding { wide_chroma: true, ..Coding::default() };
    let mounts = [
        plaza("plain"),
        coded("b-frames", b_frames),
        MountConfig { codec: Codec::H265, ..coded("h265-b-frames", b_frames) },
        MountConfig { codec: Codec::H265, ..coded("h265-wide-chroma", wide_chroma) },
        coded("wide-chroma", wide_chroma),
        coded("interlaced", Coding { interlaced: true, ..Coding::default() }),
        MountConfig { size: Some(Size::new(16, 16)), ..plaza("tiny") },
        MountConfig { fps: Some(60.0), ..plaza("fast") },
        MountConfig { sound: true, ..plaza("with-sound") },
    ];
    let simulator = Simulator::start(config(mounts.clone())).unwrap();
    let scheduler = scheduler("fixed-yolov8");
    let cameras: Vec<_> = mounts.iter().map(|mount| Watched::start(&simulator.url(&mount.name), &scheduler)).collect();
    for (camera, mount) in cameras.iter().zip(&mounts) {
        camera.sees(SOME);
        let health = camera.chain.health();
        assert_eq!(health.state, CameraState::Streaming, "{}: {}", mount.name, health.detail);
        let size = mount.size.unwrap();
        assert!(camera.shown.lock().iter().all(|(_, shown)| *shown == size), "{}", mount.name);
        let times = camera.times();
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{}: {times:?}", mount.name);
        let sessions = simulator.stats(&mount.name).unwrap().sessions;
        assert_eq!(sessions, 1, "{}: one connection is enough: {:?}", mount.name, camera.said.lock());
    }
}

#[test]
fn b_frames_are_analysed_at_the_times_they_were_taken() {
    let mounts = [coded("h264", Coding { b_frames: 2, ..Coding::default() })];
    let simulator = Simulator::start(config(mounts)).unwrap();
    let camera = Watched::start(&simulator.url("h264"), &scheduler("fixed-yolov8"));
    camera.sees(2 * SOME);
    // The first second is dated by arrival, then the camera's own times come; what follows is as regular as the camera.
    assert_steady(&camera.times()[SOME as usize..], 0.3);
    let sent = simulator.stats("h264").unwrap().recent;
    for time in &camera.times()[SOME as usize..] {
        let nearest = sent.iter().map(|frame| time.seconds_since(frame.due_time).abs()).fold(f64::INFINITY, f64::min);
        assert!(nearest < 0.030, "{nearest} s from any picture that was taken");
    }
}

#[test]
fn a_camera_with_one_picture_a_second_is_analysed_and_never_taken_for_dead() {
    let slow = MountConfig { fps: Some(1.0), gop: Duration::from_secs(2), ..plaza("slow") };
    let simulator = Simulator::start(config([slow])).unwrap();
    let camera = Watched::start(&simulator.url("slow"), &scheduler("fixed-yolov8"));
    camera.sees(7);
    let health = camera.chain.health();
    assert_eq!((health.state, health.counts.dropped()), (CameraState::Streaming, 0), "{health:?}");
    assert_eq!(simulator.stats("slow").unwrap().sessions, 1);
}

#[test]
fn an_8k_picture_is_analysed_while_the_camera_beside_it_goes_on() {
    let huge = MountConfig {
        size: Some(Size::new(7680, 4320)),
        fps: Some(1.0),
        max_length: Some(Duration::from_secs(2)),
        ..plaza("huge")
    };
    let simulator = Simulator::start(config([huge, plaza("plain")])).unwrap();
    let scheduler = scheduler("fixed-yolov8");
    let [huge, plain] = ["huge", "plain"].map(|name| Watched::start(&simulator.url(name), &scheduler));
    plain.sees(1);
    let before = plain.chain.health().counts.analysed;
    let clock = SystemClock::new();
    huge.sees(3);
    assert!(huge.chain.health().detail.contains("7680x4320"), "{:?}", huge.chain.health());
    let expected = clock.monotonic().as_secs_f64() * RATE;
    let analysed = (plain.chain.health().counts.analysed - before) as f64;
    assert!(analysed >= expected / 2.0, "{analysed} of {expected} analyses beside an 8K camera");
}

#[test]
fn a_picture_size_that_changes_in_mid_stream_is_followed_without_a_new_connection() {
    let simulator = Simulator::start(config([plaza("cam")])).unwrap();
    let camera = Watched::start(&simulator.url("cam"), &scheduler("fixed-yolov8"));
    camera.sees(3);
    for size in [Size::new(320, 240), Size::new(64, 48)] {
        simulator.inject("cam", Fault::Resize(size)).unwrap();
        camera.until("frames of the new size", |camera| {
            camera.shown.lock().iter().rev().take(3).all(|(_, shown)| *shown == size)
        });
        assert!(camera.chain.health().detail.contains(&size.to_string()), "{:?}", camera.chain.health());
    }
    assert_eq!(simulator.stats("cam").unwrap().sessions, 1);
}

#[test]
fn time_stamps_that_stand_still_or_jump_neither_stop_the_analysis_nor_move_its_times() {
    let simulator = Simulator::start(config([plaza("cam")])).unwrap();
    let camera = Watched::start(&simulator.url("cam"), &scheduler("fixed-yolov8"));
    camera.sees(SOME);
    simulator.inject("cam", Fault::RepeatTimes(Duration::from_secs(4))).unwrap();
    let before = camera.times().len();
    camera.sees(3 * SOME);
    assert_steady(&camera.times()[before..], 0.6);
    for by_ms in [30_000, -30_000] {
        simulator.inject("cam", Fault::TimeJump { by_ms }).unwrap();
        camera.sees(SOME);
    }
    let health = camera.chain.health();
    assert_eq!((health.state, health.counts.dropped()), (CameraState::Streaming, 0), "{health:?}");
    assert_eq!(simulator.stats("cam").unwrap().sessions, 1, "the connection is kept");
}
