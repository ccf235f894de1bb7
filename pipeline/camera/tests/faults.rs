//! A camera that misbehaves while it streams: what is noticed, what is kept, and that it always comes back.

#![allow(clippy::unwrap_used)] // The helpers are tests too.

mod common;

use std::time::Duration;

use common::{Watched, config, mount, simulator};
use vigil_base::{EncodedPacket, Size, TimeSource};
use vigil_camera::{CameraClock, CameraError, CameraStatus};
use vigil_camsim::{Fault, Simulator, Target};

fn assert_starts_well(packets: &[EncodedPacket]) {
    let first = &packets[0];
    assert!(first.keyframe && first.discontinuity && first.pts_ns == 0, "a session starts with {first:?}");
    assert!(packets.windows(2).all(|pair| pair[0].capture_time < pair[1].capture_time));
}

/// Waits until the camera's own time dates the pictures.
fn wait_for_ntp(camera: &Watched) {
    camera.wait_for("a sender report", |seen| {
        seen.packets.last().filter(|packet| packet.time_source == TimeSource::Ntp).map(|_| ())
    });
}

#[test]
fn a_camera_that_freezes_is_left_and_found_again() {
    let simulator = simulator();
    let camera = Watched::url(&simulator.url("cam"));
    camera.wait_for_packets(5);
    simulator.inject("cam", Fault::Freeze(Duration::from_secs(3))).unwrap();
    let reason = camera.wait_for_reason(0);
    assert!(matches!(*reason, CameraError::Stalled { .. }), "{reason:?}");
    assert_starts_well(&camera.wait_for_session(2, 5));
}

#[test]
fn a_camera_that_closes_the_connection_is_connected_again() {
    let simulator = simulator();
    let camera = Watched::url(&simulator.url("cam"));
    camera.wait_for_packets(5);
    simulator.inject("cam", Fault::Close).unwrap();
    let reason = camera.wait_for_reason(0);
    assert!(matches!(*reason, CameraError::Ended), "{reason:?}");
    assert_starts_well(&camera.wait_for_session(2, 5));
    let since = camera.look(|seen| {
        seen.statuses.iter().find_map(|status| match status {
            CameraStatus::Down { since, .. } => Some(*since),
            _ => None,
        })
    });
    let last = camera.look(|seen| seen.session(1).last().map(|packet| packet.capture_time)).unwrap();
    assert!(since.unwrap().seconds_since(last).abs() < 1.0, "down since the last packet");
}

#[test]
fn a_camera_that_dies_and_comes_back_on_its_port_is_found() {
    let simulator = simulator();
    let url = simulator.url("cam");
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], simulator.port()));
    let camera = Watched::url(&url);
    camera.wait_for_packets(5);
    simulator.stop();
    camera.wait_for("a refused connection", |seen| {
        seen.reasons().iter().any(|reason| matches!(**reason, CameraError::Refused { .. })).then_some(())
    });
    let again = Simulator::start(vigil_camsim::SimConfig { listen, ..config([mount("cam")]) }).unwrap();
    assert_starts_well(&camera.wait_for_session(2, 5));
    drop(again);
}

#[test]
fn a_server_that_leaves_the_network_for_a_while_is_found_again() {
    let simulator = simulator();
    let camera = Watched::url(&simulator.url("cam"));
    camera.wait_for_packets(3);
    let offline = vigil_camsim::Command { target: Target::All, fault: Fault::Refuse(Duration::from_millis(700)) };
    simulator.execute(&offline).unwrap();
    camera.wait_for("a refused connection", |seen| {
        seen.reasons().iter().any(|reason| matches!(**reason, CameraError::Refused { .. })).then_some(())
    });
    assert_starts_well(&camera.wait_for_session(2, 3));
}

#[test]
fn a_camera_whose_clock_is_set_is_followed_in_a_new_session_without_a_lost_packet() {
    for (by_ms, with_rtp) in [(3_600_000, false), (-3_600_000, false), (90_000, true)] {
        let simulator = simulator();
        let camera = Watched::url(&simulator.url("cam"));
        wait_for_ntp(&camera);
        let fault = if with_rtp { Fault::TimeJump { by_ms } } else { Fault::NtpStep { by_ms } };
        simulator.inject("cam", fault).unwrap();
        let after = camera.wait_for_session(2, 5);
        assert_starts_well(&after);
        let before = camera.look(|seen| seen.session(1).into_iter().cloned().collect::<Vec<_>>());
        let step = after[0].capture_time.seconds_since(before[before.len() - 1].capture_time);
        assert!((step - by_ms as f64 / 1e3).abs() < 1.0, "{fault:?}: stepped by {step} s");
        assert!(camera.look(|seen| seen.reasons().is_empty()), "{fault:?}: the connection was kept");
        assert_starts_well(&before);
        assert_eq!(simulator.stats("cam").unwrap().frames_skipped, 0);
        let seen: usize = before.len() + after.len();
        assert!(simulator.stats("cam").unwrap().frames_sent as usize - seen < 10, "{fault:?}: nothing was lost");
    }
}

#[test]
fn a_camera_whose_clock_was_never_set_is_dated_by_arrival_and_reported() {
    let simulator = simulator();
    let thirty_years_ms = 30 * 365 * 86_400_000i64;
    simulator.inject("cam", Fault::NtpStep { by_ms: -thirty_years_ms }).unwrap();
    let camera = Watched::url(&simulator.url("cam"));
    let offset_ms = camera.wait_for("a wrong clock", |seen| {
        seen.statuses.iter().find_map(|status| match status {
            CameraStatus::Streaming { camera_clock: CameraClock::Wrong { offset_ms }, .. } => Some(*offset_ms),
            _ => None,
        })
    });
    assert!((offset_ms + thirty_years_ms).abs() < 1_000, "{offset_ms} ms");
    assert!(camera.look(|seen| seen.packets.iter().all(|packet| packet.time_source == TimeSource::Arrival)));
}

#[test]
fn damaged_packets_neither_crash_nor_end_the_camera_for_good() {
    let simulator = simulator();
    let camera = Watched::url(&simulator.url("cam"));
    camera.wait_for_packets(5);
    simulator.inject("cam", Fault::Damage { rate: 0.3, lasts: Duration::from_secs(3) }).unwrap();
    let before = simulator.stats("cam").unwrap().frames_sent;
    comes_back_well(&camera, &simulator, before + 30);
    assert!(camera.look(|seen| seen.packets[5..].iter().any(|packet| packet.discontinuity)), "the losses are marked");
}

#[test]
fn garbage_neither_crashes_nor_ends_the_camera_for_good() {
    let simulator = simulator();
    let camera = Watched::url(&simulator.url("cam"));
    camera.wait_for_packets(5);
    simulator.inject("cam", Fault::GarbageStream(Duration::from_secs(3))).unwrap();
    let before = simulator.stats("cam").unwrap().frames_sent;
    comes_back_well(&camera, &simulator, before + 30);
}

/// After `sent` pictures the fault is over; from a keyframe on, whole pictures come again.
fn comes_back_well(camera: &Watched, simulator: &Simulator, sent: u64) {
    camera.wait_for("the fault to be over", |_| (simulator.stats("cam").unwrap().frames_sent >= sent).then_some(()));
    let so_far = camera.look(|seen| seen.packets.len());
    let after = camera.wait_for("whole pictures after the fault", |seen| {
        let from = seen.packets[so_far..].iter().skip(5).position(|packet| packet.keyframe)? + so_far + 5;
        (seen.packets.len() >= from + 8).then(|| seen.packets[from..].to_vec())
    });
    let recent = simulator.stats("cam").unwrap().recent;
    for packet in &after {
        let slices = common::slices(&packet.data, packet.codec);
        let sent = recent.iter().any(|frame| common::slices(&frame.data, packet.codec) == slices);
        assert!(sent, "a picture came that was never sent");
    }
}

#[test]
fn a_change_of_size_is_told_and_goes_on_at_a_keyframe() {
    let simulator = simulator();
    let camera = Watched::url(&simulator.url("cam"));
    camera.wait_for_packets(5);
    let size = Size::new(128, 96);
    simulator.inject("cam", Fault::Resize(size)).unwrap();
    camera.wait_for("the new size", |seen| {
        seen.statuses.iter().find_map(|status| match status {
            CameraStatus::Streaming { info, .. } if info.size == Some(size) => Some(()),
            _ => None,
        })
    });
    assert_eq!(simulator.stats("cam").unwrap().size, size);
    assert!(camera.look(|seen| seen.reasons().is_empty()), "the connection was kept");
}
