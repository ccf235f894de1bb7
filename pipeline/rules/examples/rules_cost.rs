//! What a frame costs: sixteen rules, fifty objects.
//!
//! `cargo run --release -p vigil-rules --example rules_cost`

#![allow(clippy::print_stdout)] // A program for a terminal.

use std::sync::Arc;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use vigil_base::detection::ModelIdentity;
use vigil_base::{BoxPx, Plane, Size, TimeSource, Timestamp, TrackId};
use vigil_rules::{FrameInput, RawRules, RuleEngine, RuleSet, SceneStatistics};
use vigil_track::{Observation, TrackUpdate, TrackView};

const OBJECTS: u64 = 50;
const FRAMES: i64 = 5000;
const SIZE: Size = Size::new(1920, 1080);

fn frame(number: i64) -> TrackUpdate {
    let now = Timestamp::from_micros(1_700_000_000_000_000 + number * 200_000);
    let object = |id: u64| {
        let angle = number as f64 * 0.02 * (1.0 + id as f64 / 40.0) + id as f64;
        let (x, y) = (960.0 + (150.0 + 14.0 * id as f64) * angle.cos(), 600.0 + 380.0 * angle.sin());
        let bbox = BoxPx::new(x as f32, y as f32, 40.0, 90.0);
        let history = if number == 0 { vec![Observation { time: now, bbox, confidence: 0.9 }] } else { Vec::new() };
        let (id, class) = (TrackId(id), (id % 3) as u16);
        let (velocity, stationary, first_seen) = ((0.0, 0.0), false, Timestamp::from_micros(1_700_000_000_000_000));
        TrackView { id, class, first_seen, last_seen: now, bbox, confidence: 0.9, velocity, stationary, history }
    };
    let (time_source, tracks) = (TimeSource::Ntp, (1..=OBJECTS).map(object).collect());
    TrackUpdate { capture_time: now, time_source, size: SIZE, tracks, ended: Vec::new() }
}

/// Microseconds of CPU time of this process: other work on the machine hardly changes it.
fn cpu_micros() -> f64 {
    let spent = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("Linux has this clock");
    Duration::from(spent).as_secs_f64() * 1e6
}

fn main() {
    let written: RawRules = toml::from_str(include_str!("../tests/busy.rules.toml")).expect("the sample is TOML");
    let rules = RuleSet::resolve(&written, None).expect("the sample is right");
    let count = rules.len();
    let mut engine = RuleEngine::new(rules);
    let classes = ["person", "car", "suitcase"].map(str::to_owned).to_vec();
    let model = Arc::new(ModelIdentity {
        name: String::new(),
        fingerprint: String::new(),
        classes,
        ..ModelIdentity::default()
    });
    let frames: Vec<TrackUpdate> = (0..FRAMES).map(frame).collect();
    let begun = cpu_micros();
    let fired: usize = frames
        .iter()
        .map(|update| engine.observe(&FrameInput { update, model: &model, scene: None, plates: &[] }).len())
        .sum();
    let micros = (cpu_micros() - begun) / FRAMES as f64;
    println!("{micros:.1} us of CPU a frame: {count} rules, {OBJECTS} objects, {fired} firings in {FRAMES} frames");

    let (width, height) = (SIZE.width, SIZE.height);
    let data: Vec<u8> = (0..width * height).map(|i| (i * 31 % 251) as u8).collect();
    let luma = Plane { data: data.into(), stride: width as usize, width, height };
    let begun = cpu_micros();
    let sum: f32 = (0..FRAMES).map(|_| SceneStatistics::measure(&luma, 0.0).mean).sum();
    let micros = (cpu_micros() - begun) / FRAMES as f64;
    println!("{micros:.1} us of CPU a picture of {SIZE}: its statistics (mean {:.0})", sum / FRAMES as f32);
}
