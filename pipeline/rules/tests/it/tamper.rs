//! Cameras that no longer see their scene.

use vigil_base::Plane;
use vigil_rules::{Ending, Evidence, Phase, SceneStatistics, Tamper};

use crate::stage::{Stage, brief, seconds};

const WIDTH: u32 = 320;
const HEIGHT: u32 = 240;

/// Numbers without pattern, 0..1.
fn hash(x: u32, y: u32, seed: u32) -> f64 {
    let mut h = x.wrapping_mul(0x9e37_79b9) ^ y.wrapping_mul(0x85eb_ca6b) ^ seed.wrapping_mul(0xc2b2_ae35);
    h = (h ^ h >> 15).wrapping_mul(0x2c1b_3c6d);
    h = (h ^ h >> 12).wrapping_mul(0x297a_2d39);
    f64::from(h ^ h >> 15) / f64::from(u32::MAX)
}

/// A street: large areas with fine texture, the same for the same seed.
fn street(x: u32, y: u32, seed: u32) -> f64 {
    60.0 + 120.0 * hash(x / 40, y / 40, seed) + 30.0 * (hash(x / 2, y / 2, seed + 1) - 0.5)
}

/// A picture with sensor noise of the frame.
fn picture(frame: u32, luma: impl Fn(u32, u32) -> f64) -> SceneStatistics {
    let sample = |i| {
        let (x, y) = (i % WIDTH, i / WIDTH);
        (luma(x, y) + 4.0 * (hash(x, y, 1000 + frame) - 0.5)).clamp(0.0, 255.0) as u8
    };
    let data: Vec<u8> = (0..WIDTH * HEIGHT).map(sample).collect();
    let plane = Plane { data: data.into(), stride: WIDTH as usize, width: WIDTH, height: HEIGHT };
    SceneStatistics::measure(&plane, 0.0)
}

/// 30 s of the street, then 40 s of something else, one frame a second, then the street again.
fn play(stage: &mut Stage, other: impl Fn(u32, u32, u32) -> f64) -> Vec<vigil_rules::Firing> {
    let mut fired = Vec::new();
    for frame in 0..100 {
        let scene = if (30..70).contains(&frame) {
            picture(frame, |x, y| other(frame, x, y))
        } else {
            picture(frame, |x, y| street(x, y, 1))
        };
        fired.extend(stage.frame_with(f64::from(frame), &[], &[], Some(&scene)));
    }
    fired
}

const ALL: &str = "[[rules]]\nid = 't'\ncamera_tampered = { hold = '5s' }";

fn cause(firing: &vigil_rules::Firing) -> Tamper {
    let Evidence::Tampered { cause, value, limit } = firing.evidence else { panic!("{firing:?}") };
    assert!(if cause == Tamper::Frozen { value >= limit } else { value < limit });
    cause
}

/// The street out of focus: each pixel the mean of 13 by 13.
fn out_of_focus() -> Vec<f64> {
    const REACH: u32 = 6;
    let near = |v: u32, shift: u32, size: u32| (v + shift).saturating_sub(REACH).min(size - 1);
    let mean = |sample: &dyn Fn(u32) -> f64| (0..=2 * REACH).map(sample).sum::<f64>() / f64::from(2 * REACH + 1);
    let place = |i: u32| (i % WIDTH, i / WIDTH);
    let across: Vec<f64> =
        (0..WIDTH * HEIGHT).map(place).map(|(x, y)| mean(&|shift| street(near(x, shift, WIDTH), y, 1))).collect();
    let at = |x: u32, y: u32| across[(y * WIDTH + x) as usize];
    (0..WIDTH * HEIGHT).map(place).map(|(x, y)| mean(&|shift| at(x, near(y, shift, HEIGHT)))).collect()
}

/// Luma of a frame's number, x and y.
type Picture<'a> = &'a dyn Fn(u32, u32, u32) -> f64;

#[test]
fn each_cause_is_told_by_its_name_and_ends_when_the_scene_is_back() {
    let lens_cap = |_: u32, _: u32, _: u32| 70.0;
    let hand = |_: u32, x: u32, y: u32| 60.0 + 20.0 * (f64::from(x) / 90.0).sin() + 15.0 * (f64::from(y) / 70.0).cos();
    let elsewhere = |_: u32, x: u32, y: u32| street(x, y, 77);
    let soft = out_of_focus();
    let blurred = |_: u32, x: u32, y: u32| soft[(y * WIDTH + x) as usize];
    let black = |_: u32, _: u32, _: u32| 17.0;
    let cases: [(Picture<'_>, Tamper); 5] = [
        (&lens_cap, Tamper::Covered),
        (&hand, Tamper::Covered),
        (&elsewhere, Tamper::Moved),
        (&blurred, Tamper::Blurred),
        (&black, Tamper::Dark),
    ];
    for (other, expected) in cases {
        let mut stage = Stage::new(ALL);
        let fired = play(&mut stage, other);
        assert_eq!(brief(&fired), ["t +", "t -over"], "{expected:?}");
        assert_eq!(cause(&fired[0]), expected);
        assert_eq!((seconds(fired[0].begin), seconds(fired[0].time)), (30.0, 35.0), "{expected:?}");
        assert!((seconds(fired[1].time) - 69.0).abs() < 1e-6, "{expected:?}: {}", fired[1].time);
    }
}

#[test]
fn light_dusk_shadow_and_a_bus_are_no_tampering() {
    let mut stage = Stage::new(ALL);
    let brighter = |_: u32, x: u32, y: u32| street(x, y, 1) * 1.3 + 10.0;
    assert!(play(&mut stage, brighter).is_empty());
    let mut stage = Stage::new(ALL);
    let dusk = |frame: u32, x: u32, y: u32| street(x, y, 1) * (1.0 - f64::from(frame - 30) / 60.0);
    assert!(play(&mut stage, dusk).is_empty());
    let mut stage = Stage::new(ALL);
    let bus = |_: u32, x: u32, y: u32| if x < 120 && y > 60 { 230.0 } else { street(x, y, 1) };
    assert!(play(&mut stage, bus).is_empty());
    let mut stage = Stage::new(ALL);
    let shadow = |_: u32, x: u32, y: u32| street(x, y, 1) * if x > 150 { 0.4 } else { 1.0 };
    assert!(play(&mut stage, shadow).is_empty());
}

#[test]
fn a_picture_that_stays_the_same_to_the_bit_is_frozen_since_it_first_came() {
    let mut stage = Stage::new("[[rules]]\nid = 't'\ncamera_tampered = { frozen_after = '20s' }");
    let last = picture(9, |x, y| street(x, y, 1));
    for frame in 0..60 {
        let fresh = picture(frame, |x, y| street(x, y, 1));
        let frozen = (10..50).contains(&frame);
        stage.frame_with(f64::from(frame), &[], &[], Some(if frozen { &last } else { &fresh }));
    }
    assert_eq!(brief(&stage.fired), ["t +", "t -over"]);
    assert_eq!((cause(&stage.fired[0]), seconds(stage.fired[0].begin)), (Tamper::Frozen, 9.0));
    // 20 s after the first of them, seen a second time.
    assert_eq!(seconds(stage.fired[0].time), 30.0);
}

#[test]
fn only_what_is_asked_for_is_told() {
    let mut stage = Stage::new("[[rules]]\nid = 't'\ncamera_tampered = { detect = ['dark', 'frozen'], hold = '5s' }");
    assert!(play(&mut stage, |_, _, _| 70.0).is_empty());
}

#[test]
fn a_cover_of_less_than_its_hold_is_not_told() {
    let mut stage = Stage::new("[[rules]]\nid = 't'\ncamera_tampered = { hold = '45s' }");
    assert!(play(&mut stage, |_, _, _| 70.0).is_empty());
}

#[test]
fn a_new_view_is_accepted_in_time_and_alerts_no_more() {
    let mut stage = Stage::new("[[rules]]\nid = 't'\ncamera_tampered = { hold = '5s', accept_after = '60s' }");
    for frame in 0..400 {
        let seed = if frame < 30 { 1 } else { 77 };
        let scene = picture(frame, |x, y| street(x, y, seed));
        stage.frame_with(f64::from(frame), &[], &[], Some(&scene));
    }
    assert_eq!(brief(&stage.fired), ["t +", "t -over"]);
    assert!(seconds(stage.fired[1].time) < 100.0);
}

#[test]
fn a_camera_that_comes_back_with_another_view_was_moved_while_it_was_away() {
    let mut stage = Stage::new(ALL);
    for frame in 0..30 {
        stage.frame_with(f64::from(frame), &[], &[], Some(&picture(frame, |x, y| street(x, y, 1))));
    }
    assert!(stage.engine.end_all().is_empty());
    for frame in 100..120 {
        stage.frame_with(f64::from(frame), &[], &[], Some(&picture(frame, |x, y| street(x, y, 77))));
    }
    assert_eq!(brief(&stage.fired), ["t +"]);
    assert_eq!(cause(&stage.fired[0]), Tamper::Moved);
    let ended = stage.engine.end_all();
    assert_eq!(ended[0].phase, Phase::Ended(Ending::Cut));
}
