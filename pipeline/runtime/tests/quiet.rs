//! A camera on which nothing goes on for most of the time, over real RTSP: the gate before the decoder must cost nothing but
//! its price.

#![allow(clippy::unwrap_used)] // The helpers are tests too.

mod common;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::{Ended, chain_config};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use vigil_base::detection::{Detection, ModelIdentity};
use vigil_base::{BoxPx, Detections, Frame, SystemClock, Timestamp};
use vigil_camsim::{Coding, MountConfig, Simulator};
use vigil_detect::{DetectError, Detector};
use vigil_gate::PacketGateConfig;
use vigil_runtime::{CameraChain, ChainConfig, Openings};

const WIDTH: usize = 320;
const HEIGHT: usize = 240;
const FPS: usize = 10;
/// Nothing, somebody walks through, nothing.
const WALK: std::ops::Range<usize> = 20 * FPS..24 * FPS;
const LENGTH: usize = 32 * FPS;
/// Frames before the walk that need not be decoded: two groups, wherever in the clip the camera is joined.
const RESTS: u64 = 40;
/// One raw I420 picture: a textured background with a sensor's noise, and a bright walker while somebody walks.
fn picture(n: usize, noise: &mut SmallRng) -> Vec<u8> {
    let mut picture = vec![128; WIDTH * HEIGHT * 3 / 2];
    for (i, sample) in picture[..WIDTH * HEIGHT].iter_mut().enumerate() {
        let (x, y) = (i % WIDTH, i / WIDTH);
        *sample = (60 + (x / 16 + y / 12) % 5 * 14 + noise.random_range(0..5)) as u8;
    }
    if WALK.contains(&n) {
        let left = (n - WALK.start) * (WIDTH - 24) / WALK.len();
        for y in 100..160 {
            picture[y * WIDTH + left..][..24].fill(235);
        }
    }
    picture
}

/// Tests run side by side: each has a clip of its own.
fn clip(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("quiet-{name}.mp4"));
    let line = format!(
        "fdsrc fd=0 ! rawvideoparse format=i420 width={WIDTH} height={HEIGHT} framerate={FPS}/1 ! \
         x264enc pass=qual quantizer=10 speed-preset=veryfast ! h264parse ! mp4mux ! filesink location={}",
        path.display()
    );
    let mut encoder =
        Command::new("gst-launch-1.0").arg("-q").args(line.split(' ')).stdin(Stdio::piped()).spawn().unwrap();
    let mut noise = SmallRng::seed_from_u64(7);
    let mut input = encoder.stdin.take().unwrap();
    (0..LENGTH).for_each(|n| input.write_all(&picture(n, &mut noise)).unwrap());
    drop(input);
    assert!(encoder.wait().unwrap().success());
    path
}

/// Finds the walker by its brightness.
struct Bright;

impl Detector for Bright {
    fn model(&self) -> Arc<ModelIdentity> {
        Arc::new(ModelIdentity {
            name: "bright".to_owned(),
            fingerprint: "0".repeat(64),
            classes: vec!["person".to_owned()],
            ..ModelIdentity::default()
        })
    }

    fn detect(&mut self, frame: &Frame) -> Result<Detections, DetectError> {
        let bright = |x: u32, y: u32| frame.planes[0].row(y)[x as usize] > 180;
        let on_line = |y: u32| (0..frame.size.width).filter(move |&x| bright(x, y));
        let (left, right) = (on_line(130).min(), on_line(130).max());
        let found = left.zip(right).filter(|(left, right)| right - left > 10).map(|(left, right)| Detection {
            bbox: BoxPx { left: left as f32, top: 100.0, width: (right - left) as f32, height: 60.0 },
            class: 0,
            confidence: 0.9,
        });
        Ok(Detections {
            capture_time: frame.capture_time,
            time_source: frame.time_source,
            size: frame.size,
            items: found.into_iter().collect(),
            model: self.model(),
        })
    }
}

fn chain(
    simulator: &Simulator,
    gate: Option<PacketGateConfig>,
    openings: &Arc<Openings>,
    sink: &Arc<Ended>,
) -> CameraChain {
    let config = chain_config(&simulator.url("quiet"), gate, Arc::new(|| Box::new(Bright)));
    let config = ChainConfig { openings: openings.clone(), ..config };
    CameraChain::start(config, sink.clone(), Arc::new(SystemClock::new())).unwrap()
}

/// The walk is found behind the gate as it is without, and at least so many frames before it are not decoded.
fn walk_is_found(mount: MountConfig, gate: PacketGateConfig, least_gated: u64) {
    walk_is_found_by(&Openings::new(1), mount, gate, least_gated);
}

fn walk_is_found_by(openings: &Arc<Openings>, mount: MountConfig, gate: PacketGateConfig, least_gated: u64) {
    let simulator = Simulator::start(common::config([mount])).unwrap();
    let (gated, full) = (Arc::new(Ended::default()), Arc::new(Ended::default()));
    let with_gate = chain(&simulator, Some(gate), openings, &gated);
    let without = chain(&simulator, None, openings, &full);

    let (found, expected) = (gated.first(), full.first());
    let apart = |a: Timestamp, b: Timestamp| a.seconds_since(b).abs();
    assert!(apart(found.0, expected.0) <= 0.5, "begins at {} instead of {}", found.0, expected.0);
    assert!(apart(found.1, expected.1) <= 0.5, "ends at {} instead of {}", found.1, expected.1);

    let counts = with_gate.health().counts;
    assert!(counts.gated >= least_gated, "decoded too much before the walk: {counts:?}");
    assert_eq!(counts.dropped(), 0, "{counts:?}");
    assert_eq!(without.health().counts.gated, 0);
    for chain in [with_gate, without] {
        chain.stop();
        chain.wait();
    }
    assert_eq!((gated.events.lock().len(), full.events.lock().len()), (1, 1), "and nothing else");
}

fn mount(clip_name: &str) -> MountConfig {
    MountConfig { gop: Duration::from_secs(2), ..MountConfig::new("quiet", clip(clip_name)) }
}

#[test]
fn a_walk_through_a_quiet_scene_is_found_from_its_first_moment_and_little_is_decoded() {
    walk_is_found(mount("plain"), PacketGateConfig::default(), RESTS);
}

#[test]
fn so_it_is_before_the_camera_had_its_turn_to_learn_the_scene() {
    let openings = Openings::new(1);
    let _another_has_it = openings.take().unwrap();
    walk_is_found_by(&openings, mount("no-turn"), PacketGateConfig::default(), RESTS);
    assert!(openings.take().is_none());
}

#[test]
fn so_it_is_where_the_decoder_puts_pictures_into_order() {
    let plain = mount("b-frames");
    let b_frames = MountConfig { coding: Coding { b_frames: 3, ..plain.coding }, ..plain };
    walk_is_found(b_frames, PacketGateConfig::default(), RESTS);
}

#[test]
fn so_it_is_where_keyframes_are_further_apart_than_anybody_may_be_unseen() {
    let gate = PacketGateConfig { longest_gap: Duration::from_millis(1200), ..PacketGateConfig::default() };
    // Of each group of 20 frames, those of the last 1.2 s.
    walk_is_found(mount("long-groups"), gate, RESTS * 12 / 20);
}
