//! Inside a zone, entering and leaving it, staying, and being too many.

use std::time::Duration;

use vigil_rules::{DensityUnit, Ending, Evidence, Phase, Reading};

use crate::stage::{Actor, Stage, at, brief, seconds};

const ZONE: &str = r#"zones = [{ id = "yard", points = [[0.3, 0.2], [0.7, 0.2], [0.7, 0.8], [0.3, 0.8]] }]"#;

fn stage(rules: &str) -> Stage {
    Stage::new(&format!("{ZONE}\n{rules}"))
}

const VISITS: &str = r#"
[[rules]]
id = "inside"
inside = { zone = "yard" }
[[rules]]
id = "entered"
entered = { zone = "yard" }
[[rules]]
id = "left"
left = { zone = "yard" }
"#;

#[test]
fn a_visit_is_entering_being_inside_and_leaving() {
    let mut stage = stage(VISITS);
    let fired = stage.play(0.0, 20.0, 5.0, &[Actor::person(1, &[(0.0, 0.1, 0.5), (20.0, 0.9, 0.5)])]);
    assert_eq!(brief(&fired), ["inside 1 +", "entered 1 !", "inside 1 -over", "left 1 !"]);
    // 0.2 of 0.8 in 20 s is 5 s; 0.6 is 15 s.
    assert!((seconds(fired[0].begin) - 5.0).abs() < 1e-5 && (seconds(fired[1].begin) - 5.0).abs() < 1e-5);
    let Evidence::Border { at: border, from, to } = fired[3].evidence else { panic!() };
    assert!((border.at.x - 0.7).abs() < 1e-9 && (seconds(border.time) - 15.0).abs() < 1e-5, "{border:?}");
    assert!(from.at.x <= 0.7 && to.at.x >= 0.7);
    assert_eq!(fired[0].number, fired[2].number);
    let Evidence::Stay { since, dwell } = fired[2].evidence else { panic!() };
    assert!(since == fired[0].begin && dwell > Duration::from_secs(10) && dwell < Duration::from_secs(11));
    assert!(fired[2].time > at(15.0) && fired[2].time < at(16.0));
}

#[test]
fn who_is_first_seen_inside_is_inside_and_did_not_enter() {
    let mut stage = stage(VISITS);
    let fired = stage.play(0.0, 5.0, 5.0, &[Actor::person(1, &[(0.0, 0.5, 0.5), (5.0, 0.51, 0.5)])]);
    assert_eq!(brief(&fired), ["inside 1 +"]);
    assert_eq!(fired[0].begin, at(0.0));
    // On the border, then inside: where it came from was not seen.
    let mut stage = self::stage(VISITS);
    let fired = stage.play(0.0, 5.0, 5.0, &[Actor::person(1, &[(0.0, 0.2999, 0.5), (5.0, 0.5, 0.5)])]);
    assert_eq!(brief(&fired), ["inside 1 +"]);
}

#[test]
fn one_frame_inside_or_outside_changes_nothing() {
    let mut stage = stage(VISITS);
    for frame in 0..60 {
        let (usual, slip) = if frame < 30 { (0.2, 0.5) } else { (0.5, 0.9) };
        let x = if frame % 5 == 4 { slip } else { usual };
        let t = f64::from(frame) / 5.0;
        stage.frame(t, &[Actor::person(1, &[(0.0, x, 0.5), (99.0, x, 0.5)])]);
    }
    assert_eq!(brief(&stage.fired), ["inside 1 +", "entered 1 !"]);
}

#[test]
fn trembling_on_the_border_enters_once() {
    let mut stage = stage(VISITS);
    let mut path = vec![(0.0, 0.2, 0.5), (2.0, 0.3, 0.5)];
    path.extend((11..100).map(|i| (f64::from(i) / 5.0, if i / 2 % 2 == 0 { 0.302 } else { 0.298 }, 0.5)));
    stage.play(0.0, 19.0, 5.0, &[Actor::person(1, &path)]);
    assert_eq!(brief(&stage.fired), ["inside 1 +", "entered 1 !"]);
}

#[test]
fn who_is_lost_inside_did_not_leave() {
    let mut stage = stage(VISITS);
    let actor = Actor::person(1, &[(0.0, 0.1, 0.5), (10.0, 0.5, 0.5)]);
    stage.play(0.0, 10.0, 5.0, &[actor]);
    let fired = stage.frame(10.2, &[]);
    assert_eq!(brief(&fired), ["inside 1 -lost"]);
    assert_eq!(fired[0].time, at(10.0));
}

#[test]
fn loitering_fires_after_its_time_once_and_ends_when_it_is_over() {
    let mut stage = stage("[[rules]]\nid = 'l'\nloitering = { zone = 'yard', time_threshold = '30s' }");
    let path = [(0.0, 0.1, 0.5), (5.0, 0.35, 0.5), (100.0, 0.6, 0.5), (110.0, 0.9, 0.5)];
    let fired = stage.play(0.0, 110.0, 2.0, &[Actor::person(1, &path)]);
    assert_eq!(brief(&fired), ["l 1 +", "l 1 -over"]);
    let Evidence::Stay { since, dwell } = fired[0].evidence else { panic!() };
    assert!((seconds(since) - 4.0).abs() < 1e-3 && dwell >= Duration::from_secs(30), "{since} {dwell:?}");
    assert_eq!(fired[0].begin, since);
    assert!((seconds(fired[0].time) - 34.0).abs() <= 0.5, "{}", fired[0].time);
}

#[test]
fn who_passes_through_or_is_hidden_for_a_while_does_not_begin_to_loiter_anew() {
    let mut stage = stage("[[rules]]\nid = 'l'\nloitering = { zone = 'yard', time_threshold = '30s' }");
    let passes = Actor::person(1, &[(0.0, 0.1, 0.5), (29.0, 0.9, 0.5)]);
    let hides = Actor::person(2, &[(0.0, 0.5, 0.5), (45.0, 0.6, 0.5)]).hidden(14.0, 16.9);
    let fired = stage.play(0.0, 45.0, 5.0, &[passes, hides]);
    assert_eq!(brief(&fired), ["l 2 +"]);
    assert!((seconds(fired[0].time) - 30.0).abs() < 0.3);
}

#[test]
fn without_a_zone_the_whole_picture_is_one() {
    let mut stage = Stage::new("[[rules]]\nid = 'l'\nloitering = { time_threshold = '10s' }");
    let fired = stage.play(0.0, 20.0, 5.0, &[Actor::person(1, &[(0.0, 0.01, 0.99), (19.0, 0.99, 0.01)])]);
    assert_eq!(brief(&fired), ["l 1 +", "l 1 -lost"]);
    assert_eq!(fired[0].begin, at(0.0));
}

fn crowd(count: u64, from: f64, until: f64) -> Vec<Actor> {
    let place = |id: u64| (0.35 + 0.03 * (id % 10) as f64, 0.3 + 0.05 * (id / 10) as f64);
    (0..count)
        .map(|id| Actor::person(id + 1, &[(from, place(id).0, place(id).1), (until, place(id).0, place(id).1)]))
        .collect()
}

#[test]
fn occupancy_fires_above_its_capacity_when_it_lasts_and_tells_the_peak() {
    let mut stage = stage("[[rules]]\nid = 'o'\noccupancy = { zone = 'yard', capacity = 3, hold = '2s' }");
    assert!(stage.play(0.0, 10.0, 5.0, &crowd(3, 0.0, 99.0)).is_empty());
    // A fourth for one second only.
    stage.play(10.2, 11.0, 5.0, &crowd(4, 0.0, 99.0));
    assert!(stage.play(11.2, 20.0, 5.0, &crowd(3, 0.0, 99.0)).is_empty());
    let fired = stage.play(20.2, 30.0, 5.0, &crowd(5, 0.0, 99.0));
    assert_eq!(brief(&fired), ["o +"]);
    assert_eq!(fired[0].evidence, Evidence::Occupancy { count: 5, capacity: 3, peak: 5 });
    // A second for two sightings in a row.
    assert!((seconds(fired[0].begin) - 20.4).abs() < 1e-6 && (seconds(fired[0].time) - 22.4).abs() < 1e-6);
    let fired = stage.play(30.2, 40.0, 5.0, &crowd(2, 0.0, 99.0));
    assert_eq!((fired.len(), fired[0].phase), (1, Phase::Ended(Ending::Over)));
    assert!(matches!(fired[0].evidence, Evidence::Occupancy { peak: 5, .. }));
}

#[test]
fn who_is_hidden_is_still_counted() {
    let mut stage = stage("[[rules]]\nid = 'o'\noccupancy = { zone = 'yard', capacity = 3 }");
    let actors: Vec<Actor> = crowd(4, 0.0, 99.0).into_iter().map(|actor| actor.hidden(5.0, 8.0)).collect();
    assert_eq!(brief(&stage.play(0.0, 20.0, 5.0, &actors)), ["o +"]);
}

#[test]
fn a_room_behind_a_door_is_counted_in_and_out_and_empties_at_its_time() {
    let toml = r#"
lines = [{ id = "door", points = [[0.5, 0.95], [0.5, 0.05]] }]
[[rules]]
id = "room"
occupancy = { line = "door", capacity = 1, hold = "1s", reset = ["12:01"] }
"#;
    let mut stage = Stage::new(toml);
    let goes = |id, from: f64, into: bool| {
        let (a, b) = if into { (0.3, 0.7) } else { (0.7, 0.3) };
        Actor::person(id, &[(from, a, 0.5), (from + 4.0, b, 0.5)])
    };
    let inside = |stage: &Stage| stage.engine.readouts().next().unwrap().reading;
    // One comes out who was never seen to go in.
    stage.play(0.0, 5.0, 5.0, &[goes(1, 0.0, false)]);
    assert_eq!(inside(&stage), Reading::Occupancy { count: 0, capacity: Some(1) });
    stage.play(10.0, 25.0, 5.0, &[goes(2, 10.0, true), goes(3, 12.0, true), goes(4, 14.0, true), goes(5, 20.0, false)]);
    assert_eq!(inside(&stage), Reading::Occupancy { count: 2, capacity: Some(1) });
    assert_eq!(brief(&stage.fired), ["room +"]);
    let fired = stage.play(50.0, 70.0, 1.0, &[]);
    assert_eq!(brief(&fired), ["room -over"]);
    assert_eq!(inside(&stage), Reading::Occupancy { count: 0, capacity: Some(1) });
}

#[test]
fn a_crowd_is_measured_per_square_metre_where_the_camera_is_calibrated() {
    // 0.4 of 32 m by 0.6 of 18 m: 138.24 square metres.
    let limit = "limit = { per_square_metre = 0.1 }, hold = '1s'";
    let toml = format!("{ZONE}\n[[rules]]\nid = 'c'\ncrowd_density = {{ zone = 'yard', {limit} }}");
    let mut stage = Stage::calibrated(&toml);
    assert!(stage.play(0.0, 10.0, 5.0, &crowd(13, 0.0, 99.0)).is_empty());
    let fired = stage.play(10.2, 15.0, 5.0, &crowd(14, 0.0, 99.0));
    assert_eq!(brief(&fired), ["c +"]);
    let Evidence::Density { count: 14, density, unit: DensityUnit::PerSquareMetre, .. } = fired[0].evidence else {
        panic!()
    };
    assert!((density - 14.0 / 138.24).abs() < 1e-6, "{density}");
}

#[test]
fn without_calibration_a_crowd_is_measured_per_picture_and_labelled_so() {
    let toml = "[[rules]]\nid = 'c'\ncrowd_density = { zone = 'yard', limit = { per_picture = 40 }, hold = '1s' }";
    let mut stage = stage(toml);
    let fired = stage.play(0.0, 5.0, 5.0, &crowd(12, 0.0, 99.0));
    let Evidence::Density { density, unit, .. } = fired[0].evidence else { panic!() };
    assert!((density - 50.0).abs() < 1e-9 && unit == DensityUnit::PerPicture);
}
