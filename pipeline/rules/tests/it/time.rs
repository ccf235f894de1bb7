//! Clocks that jump, frames that come late or not at all, tracks beyond all measure.

use vigil_rules::{Counts, Ending, EngineStats, Phase, Reading};

use crate::stage::{Actor, Stage, at, brief, seconds};

const RULES: &str = r#"
lines = [{ id = "gate", points = [[0.5, 0.95], [0.5, 0.05]] }]
[[rules]]
id = "line"
cool_down = "60s"
line_crossed = { line = "gate" }
[[rules]]
id = "stays"
loitering = { time_threshold = "30s" }
"#;

fn crossing(id: u64, from: f64) -> Actor {
    Actor::person(id, &[(from, 0.3, 0.5), (from + 4.0, 0.7, 0.5)])
}

fn standing(id: u64) -> Actor {
    Actor::person(id, &[(0.0, 0.2, 0.5), (1e7, 0.2, 0.5)])
}

#[test]
fn a_late_frame_changes_nothing_and_is_counted() {
    let mut stage = Stage::new(RULES);
    stage.play(0.0, 2.0, 5.0, &[crossing(1, 0.0)]);
    for late in [2.0, 1.9, 1.1] {
        stage.frame(late, &[Actor::person(1, &[(0.0, 0.9, 0.5), (99.0, 0.9, 0.5)])]);
    }
    assert_eq!(stage.engine.stats(), EngineStats { late_frames: 3, ..EngineStats::default() });
    assert_eq!(brief(&stage.play(2.2, 4.0, 5.0, &[crossing(1, 0.0)])), ["line 1 !"]);
}

#[test]
fn a_clock_that_is_set_back_ends_what_goes_on_and_silences_nothing_for_longer_than_its_cool_down() {
    let mut stage = Stage::new(RULES);
    stage.play(10_000.0, 10_040.0, 5.0, &[crossing(1, 10_000.0), standing(2)]);
    assert_eq!(brief(&stage.fired), ["line 1 !", "stays 2 +"]);
    let fired = stage.frame(0.0, &[standing(3)]);
    assert_eq!(brief(&fired), ["stays 2 -cut"]);
    assert_eq!(fired[0].phase, Phase::Ended(Ending::Cut));
    // The cool-down of 60 s began some 38 s before: it is over after 22 s, by either clock.
    let fired = stage.play(0.2, 19.0, 5.0, &[standing(3), crossing(4, 2.0)]);
    assert!(fired.is_empty(), "{fired:?}");
    let fired = stage.play(19.2, 35.0, 5.0, &[standing(3), crossing(5, 24.0)]);
    assert_eq!(brief(&fired), ["line 5 !", "stays 3 +"]);
    assert_eq!(fired[0].suppressed, 1);
    assert_eq!(stage.engine.stats().set_back, 1);
}

#[test]
fn a_gap_counts_for_at_most_ten_seconds() {
    let mut stage = Stage::new(RULES);
    stage.play(0.0, 5.0, 5.0, &[standing(1)]);
    // Two hours nobody watched, or a clock that was set forward.
    assert!(stage.frame(7200.0, &[standing(1)]).is_empty());
    let fired = stage.play(7200.2, 7230.0, 5.0, &[standing(1)]);
    assert_eq!(brief(&fired), ["stays 1 +"]);
    assert!((seconds(fired[0].time) - 7215.0).abs() < 0.3, "{}", fired[0].time);
    assert_eq!((fired[0].begin, stage.engine.stats().gaps), (at(0.0), 1));
}

#[test]
fn one_frame_a_second_is_enough_and_uneven_steps_give_the_same() {
    let mut slow = Stage::new(RULES);
    slow.play(0.0, 40.0, 1.0, &[crossing(1, 0.0), standing(2)]);
    let mut uneven = Stage::new(RULES);
    let mut t = 0.0;
    for step in [0.04, 0.9, 0.2, 0.31, 0.05, 1.1].into_iter().cycle() {
        uneven.frame(t, &[crossing(1, 0.0), standing(2)]);
        t += step;
        if t > 40.0 {
            break;
        }
    }
    assert_eq!(brief(&slow.fired), ["line 1 !", "stays 2 +"]);
    assert_eq!(brief(&uneven.fired), brief(&slow.fired));
    for (a, b) in slow.fired.iter().zip(&uneven.fired) {
        assert!((seconds(a.begin) - seconds(b.begin)).abs() < 1e-5);
    }
}

#[test]
fn a_track_that_was_confirmed_late_counts_from_its_first_detection() {
    use vigil_base::{BoxPx, TimeSource, TrackId};
    use vigil_rules::FrameInput;
    use vigil_track::{Observation, TrackUpdate, TrackView};

    let mut stage = Stage::new(RULES);
    stage.play(0.0, 4.0, 5.0, &[]);
    let observed = |index: u32| {
        let t = 1.0 + 0.25 * f64::from(index);
        let x = 0.35 + 0.03 * f64::from(index);
        let left = x as f32 * 1600.0 - 16.0;
        Observation { time: at(t), bbox: BoxPx::new(left, 400.0, 32.0, 80.0), confidence: 0.9 }
    };
    let history: Vec<Observation> = (0..=12).map(observed).collect();
    let last = history[12];
    let view = TrackView {
        id: TrackId(1),
        class: 0,
        first_seen: at(1.0),
        last_seen: last.time,
        bbox: last.bbox,
        confidence: 0.9,
        velocity: (0.0, 0.0),
        stationary: false,
        history,
    };
    let update = TrackUpdate {
        capture_time: at(4.25),
        time_source: TimeSource::Ntp,
        size: crate::stage::SIZE,
        tracks: vec![TrackView { last_seen: at(4.25), ..view }],
        ended: vec![],
    };
    let fired = stage.engine.observe(&FrameInput { update: &update, model: &stage.model, scene: None, plates: &[] });
    assert_eq!(brief(&fired), ["line 1 !"]);
    // Half of the picture is passed at 2.25 s, two seconds before the track was confirmed.
    assert!((seconds(fired[0].begin) - 2.25).abs() < 0.01 && fired[0].time == at(4.25));
}

#[test]
fn the_end_of_the_stream_ends_what_goes_on_and_keeps_counts() {
    let mut stage = Stage::new(RULES);
    stage.play(0.0, 35.0, 5.0, &[crossing(1, 0.0), standing(2)]);
    let ended = stage.engine.end_all();
    assert_eq!(brief(&ended), ["stays 2 -cut"]);
    assert_eq!(ended[0].time, at(35.0));
    assert!(stage.engine.end_all().is_empty());
    let Reading::Counts(Counts { right, .. }) = stage.engine.readouts().next().unwrap().reading else { panic!() };
    assert_eq!(right, 1);
    // The stream is back with an earlier clock: nothing is late.
    assert!(stage.frame(10.0, &[standing(3)]).is_empty());
    assert_eq!(stage.engine.stats(), EngineStats::default());
}

#[test]
fn tracks_beyond_the_most_are_counted_and_the_others_served() {
    let mut stage = Stage::new(RULES);
    let crowd: Vec<Actor> = (1..=1100).map(|id| crossing(id, 0.0)).collect();
    let fired = stage.play(0.0, 4.0, 2.0, &crowd);
    assert_eq!(brief(&fired), ["line 1 !"]);
    let Reading::Counts(Counts { right, .. }) = stage.engine.readouts().next().unwrap().reading else { panic!() };
    assert_eq!(right, vigil_rules::MAX_TRACKS as u64);
    assert_eq!(stage.engine.stats().crowded_out, (1100 - vigil_rules::MAX_TRACKS as u64) * 9);
}
