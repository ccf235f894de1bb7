//! Why a camera brings nothing, told so that somebody can do something about it.

#![allow(clippy::unwrap_used)] // The helpers are tests too.

mod common;
#[path = "common/fake_server.rs"]
mod fake_server;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use common::{Watched, config, mount, simulator, source};
use fake_server::{FakeServer, Manners};
use vigil_base::{Secret, SystemClock};
use vigil_camera::{CameraError, CameraSource, CameraStatus, TlsPolicy, probe};
use vigil_camsim::{Credentials, Fault, Simulator};

const PASSWORD: &str = "open-S3S4M3";

fn protected() -> Simulator {
    let credentials = Credentials { user: "viewer".to_owned(), password: Secret::new(PASSWORD) };
    Simulator::start(vigil_camsim::SimConfig { credentials: Some(credentials), ..config([mount("cam")]) }).unwrap()
}

fn with_password(url: &str, password: &str) -> CameraSource {
    CameraSource { user: Some("viewer".to_owned()), password: Some(Secret::new(password)), ..source(url) }
}

fn why_not(source: &CameraSource) -> Arc<CameraError> {
    Watched::start(source.resolve().unwrap()).wait_for_reason(0)
}

#[test]
fn the_right_password_opens_the_stream() {
    let simulator = protected();
    let source = with_password(&simulator.url("cam"), PASSWORD).resolve().unwrap();
    let camera = Watched::start(source);
    camera.wait_for_packets(3);
    assert!(camera.look(|seen| seen.reasons().is_empty()));
}

#[test]
fn a_password_in_the_address_works_and_is_never_shown() {
    let simulator = protected();
    let url = simulator.url("cam").replace("rtsp://", &format!("rtsp://viewer:{PASSWORD}@"));
    let camera = Watched::url(&url);
    camera.wait_for_packets(3);
    simulator.inject("cam", Fault::Close).unwrap();
    camera.wait_for_reason(0);
    assert!(camera.look(|seen| !format!("{:?}", seen.statuses).contains(PASSWORD)));
}

#[test]
fn a_wrong_or_missing_password_is_unauthorised_and_not_shown() {
    let simulator = protected();
    let wrong = why_not(&with_password(&simulator.url("cam"), "wrong-S3S4M3"));
    assert!(matches!(*wrong, CameraError::Unauthorised { .. }), "{wrong:?}");
    assert!(!format!("{wrong} {wrong:?}").contains("S3S4M3"));
    let missing = why_not(&source(&simulator.url("cam")));
    assert!(matches!(*missing, CameraError::Unauthorised { .. }), "{missing:?}");
}

#[test]
fn a_wrong_path_is_not_found() {
    let simulator = simulator();
    let reason = why_not(&source(&simulator.url("elsewhere")));
    assert!(matches!(*reason, CameraError::NotFound { .. }), "{reason:?}");
    assert!(reason.to_string().contains("/elsewhere"));
}

#[test]
fn a_closed_port_is_refused_and_tried_again_ever_later() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let camera = Watched::url(&format!("rtsp://127.0.0.1:{port}/cam"));
    let reason = camera.wait_for_reason(0);
    assert!(matches!(*reason, CameraError::Refused { .. }), "{reason:?}");
    let waits = camera.wait_for("three attempts", |seen| {
        let wait = |status: &CameraStatus| match status {
            CameraStatus::Down { retry_in, .. } => Some(*retry_in),
            _ => None,
        };
        let waits: Vec<_> = seen.statuses.iter().filter_map(wait).collect();
        (waits.len() >= 3).then_some(waits)
    });
    assert!(waits[0] < waits[1] && waits[1] < waits[2], "{waits:?}");
}

#[test]
fn an_encrypted_camera_is_reached_for_as_its_policy_says() {
    for tls in [TlsPolicy::Verify, TlsPolicy::AcceptAny] {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let reason = why_not(&CameraSource { tls, ..source(&format!("rtsps://127.0.0.1:{port}/cam")) });
        assert!(matches!(*reason, CameraError::Refused { .. }), "{reason:?}");
    }
}

#[test]
fn a_host_that_does_not_exist_is_unreachable() {
    let reason = why_not(&source("rtsp://no-such-camera.invalid/cam"));
    assert!(matches!(*reason, CameraError::Unreachable { .. }), "{reason:?}");
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let server = FakeServer::start(Manners::Silent);
    let impatient = CameraSource { connect_timeout: Some(Duration::from_millis(500)), ..source(&server.url()) };
    let reason = why_not(&impatient);
    assert!(matches!(*reason, CameraError::NoAnswer { .. }), "{reason:?}");
}

#[test]
fn a_server_that_answers_nonsense_is_an_error_and_no_hang() {
    for nonsense in
        [&b"HTTP/1.1 418 I am a teapot\r\n\r\n"[..], b"\0\xff\x17\r\n\r\n", b"RTSP/1.0 500 Oh\r\nCSeq: 1\r\n\r\n"]
    {
        let server = FakeServer::start(Manners::Says(nonsense));
        let impatient = CameraSource { connect_timeout: Some(Duration::from_secs(2)), ..source(&server.url()) };
        let reason = why_not(&impatient);
        assert!(matches!(*reason, CameraError::Rejected { .. } | CameraError::NoAnswer { .. }), "{reason:?}");
    }
}

#[test]
fn a_stream_without_usable_video_is_named() {
    let sound = "m=audio 0 RTP/AVP 0\r\na=control:audio\r\n";
    let server = FakeServer::start(Manners::Describes(sound));
    let reason = why_not(&source(&server.url()));
    assert!(matches!(*reason, CameraError::NoVideo { .. }), "{reason:?}");

    let mpeg4 = "m=audio 0 RTP/AVP 0\r\na=control:audio\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 MP4V-ES/90000\r\na=control:video\r\n";
    let server = FakeServer::start(Manners::Describes(mpeg4));
    let reason = why_not(&source(&server.url()));
    assert!(matches!(&*reason, CameraError::UnsupportedCodec { codec, .. } if codec == "MP4V-ES"), "{reason:?}");
}

#[test]
fn a_camera_that_is_busy_is_rejected_and_taken_later() {
    let simulator = simulator();
    simulator.inject("cam", Fault::Refuse(Duration::from_secs(1))).unwrap();
    let camera = Watched::url(&simulator.url("cam"));
    let reason = camera.wait_for_reason(0);
    assert!(matches!(*reason, CameraError::Rejected { .. }) && reason.to_string().contains("503"), "{reason:?}");
    camera.wait_for_packets(3);
}

#[test]
fn a_probe_says_why_there_is_nothing() {
    let simulator = simulator();
    let elsewhere = source(&simulator.url("elsewhere")).resolve().unwrap();
    let reason = probe(&elsewhere, &SystemClock::shared(), common::PATIENCE).unwrap_err();
    assert!(matches!(reason, CameraError::NotFound { .. }), "{reason:?}");
    let server = FakeServer::start(Manners::Silent);
    let silent = source(&server.url()).resolve().unwrap();
    let reason = probe(&silent, &SystemClock::shared(), Duration::from_millis(300)).unwrap_err();
    assert!(matches!(reason, CameraError::NoAnswer { .. }), "{reason:?}");
}
