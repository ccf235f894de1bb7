//! Crossing a line, and counting.

use vigil_rules::{Counts, Crossing, Direction, Evidence, Phase, Reading};

use crate::stage::{Actor, Stage, at, brief, seconds};

/// Somebody who walks along it goes up the picture: to the right is to the right.
const UP: &str = r#"
lines = [{ id = "gate", points = [[0.5, 0.95], [0.5, 0.05]] }]
[[rules]]
id = "any"
line_crossed = { line = "gate" }
[[rules]]
id = "left"
line_crossed = { line = "gate", direction = "left" }
"#;

fn counts(stage: &Stage, rule: &str) -> (u64, u64) {
    let reading = stage.engine.readouts().find(|readout| readout.rule.as_str() == rule).unwrap().reading;
    let Reading::Counts(Counts { left, right, .. }) = reading else { panic!("{reading:?}") };
    (left, right)
}

fn walk(id: u64, from: f64, to: f64) -> Actor {
    Actor::person(id, &[(0.0, from, 0.5), (10.0, to, 0.5)])
}

#[test]
fn a_crossing_fires_once_with_where_and_when_and_only_in_the_rules_direction() {
    let mut stage = Stage::new(UP);
    let fired = stage.play(0.0, 10.0, 5.0, &[walk(1, 0.31, 0.71)]);
    assert_eq!(brief(&fired), ["any 1 !"]);
    let Evidence::Crossing(Crossing { direction, at: passed, from, to }) = fired[0].evidence else { panic!() };
    assert_eq!(direction, Direction::Right);
    // 0.19 of the way to the right is 4.75 s.
    assert!((passed.at.x - 0.5).abs() < 1e-9 && (passed.at.y - 0.5).abs() < 1e-6, "{passed:?}");
    assert!((seconds(passed.time) - 4.75).abs() < 1e-5 && fired[0].begin == passed.time);
    assert!(from.at.x < 0.5 && to.at.x > 0.5 && from.time < passed.time && passed.time < to.time);
    assert_eq!((fired[0].zone.as_ref().unwrap().as_str(), fired[0].phase), ("gate", Phase::Instant));

    let fired = stage.play(20.0, 30.0, 5.0, &[Actor::person(2, &[(20.0, 0.7, 0.5), (30.0, 0.3, 0.5)])]);
    assert_eq!(brief(&fired), ["any 2 !", "left 2 !"]);
    assert_eq!((counts(&stage, "any"), counts(&stage, "left")), ((1, 1), (1, 1)));
}

#[test]
fn a_flicker_of_one_frame_to_the_other_side_is_no_crossing() {
    for rate in [1.0, 5.0, 25.0] {
        let mut stage = Stage::new(UP);
        for frame in 0..100 {
            let x = if frame % 7 == 3 { 0.6 } else { 0.4 };
            let t = f64::from(frame) / rate;
            let path = [(0.0, 0.4, 0.5), (t - 0.001, 0.4, 0.5), (t, x, 0.5), (1e6, x, 0.5)];
            stage.frame(t, &[Actor::person(1, &path)]);
        }
        assert_eq!((stage.fired.len(), counts(&stage, "any")), (0, (0, 0)), "at {rate} frames a second");
    }
}

#[test]
fn a_flicker_on_the_first_frame_is_no_crossing() {
    let mut stage = Stage::new(UP);
    let path = [(0.0, 0.6, 0.5), (0.1, 0.4, 0.5), (9.0, 0.4, 0.5)];
    assert!(stage.play(0.0, 8.0, 5.0, &[Actor::person(1, &path)]).is_empty());
}

#[test]
fn a_track_that_begins_on_the_line_does_not_cross_it_whichever_way_it_goes() {
    for start in [0.499, 0.5, 0.501] {
        for to in [0.3, 0.7] {
            let mut stage = Stage::new(UP);
            let fired = stage.play(0.0, 10.0, 5.0, &[walk(1, start, to)]);
            assert!(fired.is_empty(), "from {start} to {to}: {fired:?}");
        }
    }
}

#[test]
fn walking_along_the_line_on_both_its_sides_is_no_crossing() {
    let mut stage = Stage::new(UP);
    // The box is 80 pixels high: 0.1 of it is 0.005 of the picture.
    let mut path = vec![(0.0, 0.45, 0.9)];
    path.extend((1..80).map(|i| {
        let t = f64::from(i) / 5.0;
        (t, if i % 2 == 0 { 0.502 } else { 0.498 }, 0.9 - 0.05 * t)
    }));
    path.push((18.0, 0.45, 0.1));
    assert!(stage.play(0.0, 18.0, 5.0, &[Actor::person(1, &path)]).is_empty());
    assert_eq!(counts(&stage, "any"), (0, 0));
}

#[test]
fn going_around_the_end_of_a_line_is_no_crossing() {
    let mut stage = Stage::new(UP);
    let path = [(0.0, 0.4, 0.5), (4.0, 0.4, 0.99), (8.0, 0.6, 0.99), (12.0, 0.6, 0.5)];
    assert!(stage.play(0.0, 12.0, 5.0, &[Actor::person(1, &path)]).is_empty());
}

#[test]
fn over_and_back_is_two_crossings_and_both_are_counted() {
    let mut stage = Stage::new(UP);
    let path = [(0.0, 0.3, 0.5), (5.0, 0.7, 0.5), (10.0, 0.3, 0.5)];
    stage.play(0.0, 10.0, 5.0, &[Actor::person(1, &path)]);
    assert_eq!(brief(&stage.fired), ["any 1 !", "any 1 !", "left 1 !"]);
    assert_eq!(counts(&stage, "any"), (1, 1));
}

#[test]
fn a_track_that_was_hidden_on_the_line_crossed_it_on_the_straight_way() {
    let mut stage = Stage::new(UP);
    let fired = stage.play(0.0, 10.0, 5.0, &[walk(1, 0.31, 0.71).hidden(4.0, 6.5)]);
    assert_eq!(brief(&fired), ["any 1 !"]);
    assert!((seconds(fired[0].begin) - 4.75).abs() < 1e-5);
}

#[test]
fn where_a_hidden_track_is_only_expected_nothing_is_crossed() {
    let mut stage = Stage::new(UP);
    assert!(stage.play(0.0, 10.0, 5.0, &[walk(1, 0.31, 0.71).hidden(4.0, 99.0)]).is_empty());
}

#[test]
fn a_bent_line_counts_whoever_passes_any_of_its_pieces_once() {
    let toml = UP.replace("[[0.5, 0.95], [0.5, 0.05]]", "[[0.3, 0.9], [0.5, 0.6], [0.5, 0.3], [0.8, 0.2]]");
    let mut stage = Stage::new(&toml);
    let across = |(id, y)| Actor::person(id, &[(0.0, 0.05, y), (10.0, 0.95, y)]);
    let actors: Vec<Actor> = (1..).zip([0.25, 0.4, 0.6, 0.75]).map(across).collect();
    stage.play(0.0, 10.0, 5.0, &actors);
    assert_eq!(counts(&stage, "any"), (0, 4));
}

#[test]
fn counts_are_reported_in_intervals_when_they_changed_and_begin_anew_at_their_time_of_day() {
    let toml = r#"
time_zone = "Europe/Berlin"
lines = [{ id = "gate", points = [[0.5, 0.95], [0.5, 0.05]] }]
[[rules]]
id = "count"
line_count = { line = "gate", report_every = "20s", reset = ["14:01"] }
"#;
    // Noon UTC is 14:00 in Berlin in May.
    let mut stage = Stage::new(toml);
    stage.play(0.0, 10.0, 5.0, &[walk(1, 0.31, 0.71), walk(2, 0.7, 0.3), walk(3, 0.3, 0.7)]);
    assert_eq!(counts(&stage, "count"), (1, 2));
    let fired = stage.play(10.2, 59.8, 5.0, &[]);
    assert_eq!(brief(&fired), ["count !"]);
    assert_eq!(fired[0].evidence, Evidence::Counts(Counts { left: 1, right: 2, since: at(0.0) }));
    assert_eq!((fired[0].begin, fired[0].object), (at(0.0), None));
    let walk_again = Actor::person(4, &[(52.0, 0.31, 0.5), (58.0, 0.71, 0.5)]);
    stage.play(52.0, 59.8, 5.0, &[walk_again]);
    let fired = stage.play(60.0, 62.0, 5.0, &[]);
    assert_eq!(fired[0].evidence, Evidence::Counts(Counts { left: 1, right: 3, since: at(0.0) }));
    assert_eq!(counts(&stage, "count"), (0, 0));
}
