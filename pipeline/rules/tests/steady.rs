//! A frame on which nothing fires allocates nothing.

#![allow(unsafe_code)] // The only way to see allocations is to be the allocator.
#![allow(clippy::unwrap_used)] // Tests, and what they share.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use vigil_base::detection::ModelIdentity;
use vigil_base::{BoxPx, Size, TimeSource, Timestamp, TrackId};
use vigil_rules::{FrameInput, RawRules, RuleEngine, RuleSet};
use vigil_track::{Observation, TrackUpdate, TrackView};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // While a thread ends its locals are gone; nothing is measured then.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract; counting touches only a
// thread-local number that needs no allocation and no destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SIZE: Size = Size::new(1280, 720);
const RULES: &str = include_str!("busy.rules.toml");

const START: i64 = 1_700_000_000_000_000;

fn at(frame: i64) -> Timestamp {
    Timestamp::from_micros(START + frame * 200_000)
}

fn view(id: u64, first: i64, now: i64, x: f64, y: f64) -> TrackView {
    let bbox = BoxPx::new(x as f32, y as f32, 30.0, 60.0);
    let seen = Observation { time: at(now), bbox, confidence: 0.9 };
    TrackView {
        id: TrackId(id),
        class: (id % 3) as u16,
        first_seen: at(first),
        last_seen: at(now),
        bbox,
        confidence: 0.9,
        velocity: (0.0, 0.0),
        stationary: false,
        history: if first == now { vec![seen] } else { Vec::new() },
    }
}

fn update(frame: i64, tracks: Vec<TrackView>) -> TrackUpdate {
    TrackUpdate { capture_time: at(frame), time_source: TimeSource::Ntp, size: SIZE, tracks, ended: Vec::new() }
}

/// Forty who walk in circles, among lines and zones.
fn walkers(frame: i64) -> TrackUpdate {
    let walker = |id: u64| {
        let angle = frame as f64 * 0.02 * (1.0 + id as f64 / 40.0) + id as f64;
        let (x, y) = (640.0 + (100.0 + 10.0 * id as f64) * angle.cos(), 400.0 + 250.0 * angle.sin());
        view(id, 0, frame, x, y)
    };
    update(frame, (1..=40).map(walker).collect())
}

/// Forty of whom one goes and another comes on each frame, and who go nowhere that matters.
fn passers(frame: i64) -> TrackUpdate {
    let passer = |first: i64| view((first + 100) as u64, first.max(0), frame, 1200.0, 10.0 + (first % 20) as f64);
    update(frame, (frame - 39..=frame).map(passer).collect())
}

fn engine() -> (RuleEngine, Arc<ModelIdentity>) {
    let written: RawRules = toml::from_str(RULES).unwrap();
    let classes = ["person", "car", "suitcase"].map(str::to_owned).to_vec();
    let model = Arc::new(ModelIdentity {
        name: String::new(),
        fingerprint: String::new(),
        classes,
        ..ModelIdentity::default()
    });
    (RuleEngine::new(RuleSet::resolve(&written, None).unwrap()), model)
}

/// Firings on a frame, and what was allocated for them.
fn observe(engine: &mut RuleEngine, model: &Arc<ModelIdentity>, update: &TrackUpdate) -> (usize, u64) {
    let before = ALLOCATIONS.get();
    let fired = engine.observe(&FrameInput { update, model, scene: None, plates: &[] }).len();
    (fired, ALLOCATIONS.get() - before)
}

#[test]
fn a_frame_on_which_nothing_fires_allocates_nothing() {
    let (mut engine, model) = engine();
    let (mut quiet, mut fired) = (0, 0);
    for frame in 0..3000 {
        let (firings, allocations) = observe(&mut engine, &model, &walkers(frame));
        if firings == 0 && frame > 500 {
            assert_eq!(allocations, 0, "on frame {frame}");
            quiet += 1;
        }
        fired += firings;
    }
    assert!(quiet > 500 && fired > 100, "{quiet} quiet frames, {fired} firings");
}

#[test]
fn tracks_that_come_and_go_leave_nothing_behind() {
    let (mut engine, model) = engine();
    for frame in 0..3000 {
        let (_, allocations) = observe(&mut engine, &model, &passers(frame));
        // What grew with the tracks that there have been would have to grow on some of these frames.
        assert!(frame < 100 || allocations == 0, "on frame {frame}: {allocations}");
    }
    assert_eq!(engine.stats().crowded_out, 0);
}
