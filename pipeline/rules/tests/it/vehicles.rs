//! Vehicles that stand, go the wrong way or too fast.

use vigil_base::event::Speed;
use vigil_rules::{Evidence, RuleSet};

use crate::stage::{Actor, CAR, PERSON, Stage, at, brief, raw, seconds};

const STOPPED: &str = r#"
zones = [{ id = "lane", points = [[0.0, 0.4], [1.0, 0.4], [1.0, 0.8], [0.0, 0.8]] }]
[[rules]]
id = "stopped"
stopped_vehicle = { zone = "lane", time_threshold = "20s" }
"#;

#[test]
fn a_vehicle_that_stands_fires_once_and_ends_when_it_drives_on() {
    let mut stage = Stage::new(STOPPED);
    let path = [(0.0, 0.1, 0.6), (5.0, 0.5, 0.6), (65.0, 0.502, 0.6), (70.0, 0.9, 0.6)];
    let fired = stage.play(0.0, 70.0, 5.0, &[Actor::new(1, CAR, &path)]);
    assert_eq!(brief(&fired), ["stopped 1 +", "stopped 1 -over"]);
    let Evidence::Standing { at: place, since, stood } = fired[0].evidence else { panic!() };
    assert!((place.x - 0.5).abs() < 0.03 && (seconds(since) - 5.0).abs() < 0.6 && stood.as_secs() == 20);
    assert!((seconds(fired[1].time) - 65.4).abs() < 0.6, "{}", fired[1].time);
}

#[test]
fn slow_traffic_persons_and_what_stands_beside_the_lane_are_no_stopped_vehicles() {
    let mut stage = Stage::new(STOPPED);
    let creeps = Actor::new(1, CAR, &[(0.0, 0.1, 0.6), (100.0, 0.6, 0.6)]);
    let person = Actor::new(2, PERSON, &[(0.0, 0.3, 0.6), (100.0, 0.3, 0.6)]);
    let beside = Actor::new(3, CAR, &[(0.0, 0.3, 0.95), (100.0, 0.3, 0.95)]);
    assert!(stage.play(0.0, 100.0, 2.0, &[creeps, person, beside]).is_empty());
}

#[test]
fn a_parked_car_alerts_once_in_a_day_though_its_box_trembles_and_it_is_hidden_at_times() {
    let mut stage = Stage::new(STOPPED);
    let mut frame = 0u64;
    while frame < 86_400 / 5 {
        let t = frame as f64 * 5.0;
        let tremble = 0.004 * ((frame * 7 % 5) as f64 - 2.0);
        let slip = if frame.is_multiple_of(11) { 0.1 } else { 0.0 };
        let x = 0.5 + tremble + slip;
        let actor = Actor::new(1, CAR, &[(0.0, x, 0.6), (1e6, x, 0.6)]);
        stage.frame(t, &[if frame % 50 < 8 && frame > 50 { actor.hidden(t - 1.0, t + 1.0) } else { actor }]);
        frame += 1;
    }
    assert_eq!(brief(&stage.fired), ["stopped 1 +"]);
}

const WRONG: &str = r#"
[[rules]]
id = "wrong"
wrong_way = { allowed = [[0.5, 0.9], [0.5, 0.1]] }
"#;

#[test]
fn against_the_arrow_is_wrong_and_with_or_across_it_is_not() {
    let mut stage = Stage::new(WRONG);
    let down = Actor::new(1, CAR, &[(0.0, 0.5, 0.2), (8.0, 0.55, 0.9)]);
    let up = Actor::new(2, CAR, &[(0.0, 0.3, 0.9), (8.0, 0.3, 0.2)]);
    let across = Actor::new(3, CAR, &[(0.0, 0.1, 0.5), (8.0, 0.9, 0.55)]);
    let fired = stage.play(0.0, 9.0, 5.0, &[down, up, across]);
    assert_eq!(brief(&fired), ["wrong 1 +", "wrong 1 -lost"]);
    let Evidence::WrongWay { from, to, allowed_degrees, went_degrees } = fired[0].evidence else { panic!() };
    assert_eq!((from.time, allowed_degrees), (at(0.0), 0.0));
    assert!(to.at.y > from.at.y && (went_degrees - 173.0).abs() < 3.0, "{went_degrees}");
    assert_eq!(fired[0].begin, from.time);
}

#[test]
fn reversing_is_wrong_until_it_goes_forward_again() {
    let mut stage = Stage::new(WRONG);
    let path = [(0.0, 0.5, 0.9), (5.0, 0.5, 0.4), (10.0, 0.5, 0.8), (15.0, 0.5, 0.3)];
    let fired = stage.play(0.0, 15.0, 5.0, &[Actor::new(1, CAR, &path)]);
    assert_eq!(brief(&fired), ["wrong 1 +", "wrong 1 -over"]);
    assert!((seconds(fired[0].begin) - 5.0).abs() < 1e-6);
    assert!(fired[1].time > at(10.0) && fired[1].time < at(13.0));
}

#[test]
fn one_box_that_jumps_back_is_not_the_wrong_way() {
    let mut stage = Stage::new(WRONG);
    for frame in 0..40 {
        let y = 0.9 - 0.015 * f64::from(frame) + if frame % 6 == 5 { 0.3 } else { 0.0 };
        stage
            .frame(f64::from(frame) / 5.0, &[Actor::new(1, CAR, &[(0.0, 0.5, y.min(0.99)), (99.0, 0.5, y.min(0.99))])]);
    }
    assert!(stage.fired.is_empty());
}

/// 0.3 of 32 m in 3 s is 3.2 m/s, 11.5 km/h.
fn drive(id: u64, share: f64, took: f64) -> Actor {
    Actor::new(id, CAR, &[(0.0, 0.1, 0.5), (took, 0.1 + share, 0.5)])
}

#[test]
fn speed_is_in_metres_per_second_where_the_camera_is_calibrated() {
    let toml = "[[rules]]\nid = 's'\nspeeding = { limit = { kilometres_per_hour = 30 } }";
    let mut stage = Stage::calibrated(toml);
    // 0.8 of 32 m in 4 s: 6.4 m/s, 23 km/h; in 2.5 s: 10.24 m/s, 37 km/h.
    assert!(stage.play(0.0, 5.0, 5.0, &[drive(1, 0.8, 4.0)]).is_empty());
    let mut stage = Stage::calibrated(toml);
    let fired = stage.play(0.0, 2.4, 5.0, &[drive(2, 0.8, 2.5)]);
    assert_eq!(brief(&fired), ["s 2 +"]);
    let Evidence::Speeding { speed: Speed::MetresPerSecond(speed), limit, from, to, .. } = fired[0].evidence else {
        panic!()
    };
    assert!((speed - 10.24).abs() < 0.01, "{speed}");
    assert!(matches!(limit, Speed::MetresPerSecond(limit) if (limit - 30.0 / 3.6).abs() < 1e-4));
    assert!((to.time.seconds_since(from.time) - 1.0).abs() < 1e-6 && fired[0].begin == at(0.0));
}

#[test]
fn without_calibration_speed_is_in_picture_widths_and_labelled_so() {
    let mut stage = Stage::new("[[rules]]\nid = 's'\nspeeding = { limit = { picture_widths_per_second = 0.3 } }");
    let fired = stage.play(0.0, 2.4, 5.0, &[drive(1, 0.8, 2.5), drive(2, 0.6, 2.5)]);
    assert_eq!(brief(&fired), ["s 1 +"]);
    let Evidence::Speeding { speed: Speed::PictureWidthsPerSecond(speed), .. } = fired[0].evidence else { panic!() };
    assert!((speed - 0.32).abs() < 1e-3, "{speed}");
    let metres = raw("[[rules]]\nid = 's'\nspeeding = { limit = { metres_per_second = 3 } }");
    let refused = RuleSet::resolve(&metres, None).unwrap_err().to_string();
    assert_eq!(
        refused,
        "rules[0].speeding.limit (rule s): is in metres per second, which needs the camera's ground: calibrate it"
    );
}

#[test]
fn one_box_that_jumps_is_no_speed() {
    let mut stage =
        Stage::new("[[rules]]\nid = 's'\nspeeding = { limit = { picture_widths_per_second = 0.3 }, window = '200ms' }");
    for frame in 0..60 {
        let x = 0.5 + if frame % 7 == 6 { 0.3 } else { 0.0 };
        stage.frame(f64::from(frame) / 10.0, &[Actor::new(1, CAR, &[(0.0, x, 0.5), (99.0, x, 0.5)])]);
    }
    assert!(stage.fired.is_empty(), "{:?}", brief(&stage.fired));
}

#[test]
fn speeding_ends_when_it_slows_down_and_tells_the_peak() {
    let mut stage = Stage::new("[[rules]]\nid = 's'\nspeeding = { limit = { picture_widths_per_second = 0.1 } }");
    let path = [(0.0, 0.05, 0.5), (4.0, 0.65, 0.5), (10.0, 0.75, 0.5)];
    let fired = stage.play(0.0, 9.0, 5.0, &[Actor::new(1, CAR, &path)]);
    assert_eq!(brief(&fired), ["s 1 +", "s 1 -over"]);
    let Evidence::Speeding { peak: Speed::PictureWidthsPerSecond(peak), .. } = fired[1].evidence else { panic!() };
    assert!((peak - 0.15).abs() < 1e-3, "{peak}");
}
