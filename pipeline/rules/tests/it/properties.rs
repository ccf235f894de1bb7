//! What holds whatever tracks do.

use std::collections::BTreeMap;
use std::ops::Range;

use proptest::prelude::*;
use vigil_rules::{Counts, Crossing, Direction, Evidence, Firing, Phase, Reading};

use crate::stage::{Actor, Stage, brief, seconds};

const LINE: &str = r#"
lines = [{ id = "gate", points = [[0.5, 1.0], [0.5, 0.0]] }]
[[rules]]
id = "line"
line_crossed = { line = "gate" }
"#;

const ALL: &str = r#"
lines = [{ id = "gate", points = [[0.45, 0.95], [0.5, 0.5], [0.4, 0.05]] }]
zones = [{ id = "yard", points = [[0.3, 0.2], [0.7, 0.3], [0.6, 0.5], [0.75, 0.8], [0.25, 0.85]] }]
[[rules]]
id = "line"
line_crossed = { line = "gate" }
[[rules]]
id = "inside"
inside = { zone = "yard" }
[[rules]]
id = "entered"
entered = { zone = "yard" }
[[rules]]
id = "left"
left = { zone = "yard" }
[[rules]]
id = "loiters"
loitering = { zone = "yard", time_threshold = "3s" }
[[rules]]
id = "many"
occupancy = { zone = "yard", capacity = 2, hold = "1s" }
[[rules]]
id = "wrong"
wrong_way = { allowed = [[0.2, 0.5], [0.8, 0.5]] }
[[rules]]
id = "fast"
speeding = { limit = { picture_widths_per_second = 0.15 } }
[[rules]]
id = "stands"
classes = ["person"]
stopped_vehicle = { time_threshold = "2s" }
[[rules]]
id = "gone"
object_removed = { time_threshold = "2s" }
"#;

/// What somebody does beside the line at x = 0.5.
#[derive(Debug, Clone)]
enum Stay {
    /// Some sightings clear of the line, on the right or not.
    Clear { right: bool, places: Vec<f64> },
    /// Sightings within the hysteresis, on both sides.
    Trembles(Vec<f64>),
    /// One sighting far on the other side, then back.
    Slips,
}

/// Share of the picture that the hysteresis spans for a person of 80 pixels: 0.1 of 0.05.
const MARGIN: f64 = 0.005;

fn stay() -> impl Strategy<Value = Stay> {
    prop_oneof![
        3 => (any::<bool>(), prop::collection::vec(MARGIN * 1.05..0.45, 2..6))
            .prop_map(|(right, places)| Stay::Clear { right, places }),
        1 => prop::collection::vec(-MARGIN * 0.95..MARGIN * 0.95, 1..6).prop_map(Stay::Trembles),
        1 => Just(Stay::Slips),
    ]
}

/// Where the feet of somebody who does that are, and how often they change sides.
fn walk(stays: &[Stay]) -> (Vec<f64>, u64, u64) {
    let (mut xs, mut side, mut left, mut right) = (Vec::new(), None, 0, 0);
    for stay in stays {
        match stay {
            Stay::Clear { right: to_right, places } => {
                xs.extend(places.iter().map(|place| if *to_right { 0.5 + place } else { 0.5 - place }));
                match side.replace(*to_right) {
                    Some(false) if *to_right => right += 1,
                    Some(true) if !*to_right => left += 1,
                    _ => {}
                }
            }
            Stay::Trembles(places) => xs.extend(places.iter().map(|place| 0.5 + place)),
            Stay::Slips => {
                // Back for two sightings: a slip beside another, or beside a change of sides, would be no slip.
                let Some(is_right) = side else { continue };
                let (there, back) = if is_right { (0.3, 0.7) } else { (0.7, 0.3) };
                xs.extend([back, back, there, back, back]);
            }
        }
    }
    (xs, left, right)
}

fn play_steps(stage: &mut Stage, id: u64, xs: &[f64], step: f64) -> Vec<Firing> {
    let mut fired = Vec::new();
    for (frame, x) in xs.iter().enumerate() {
        fired.extend(stage.frame(frame as f64 * step, &[Actor::person(id, &[(0.0, *x, 0.5), (1e6, *x, 0.5)])]));
    }
    fired
}

fn directions(fired: &[Firing]) -> Vec<Direction> {
    let direction = |firing: &Firing| match firing.evidence {
        Evidence::Crossing(Crossing { direction, .. }) => Some(direction),
        _ => None,
    };
    fired.iter().filter_map(direction).collect()
}

fn path(points: Range<usize>) -> impl Strategy<Value = Vec<(f64, f64)>> {
    prop::collection::vec((0.02f64..0.98, 0.1f64..0.98), points)
}

/// An actor that goes from point to point, a second each.
fn actor(id: u64, points: &[(f64, f64)]) -> Actor {
    let keys: Vec<(f64, f64, f64)> = points.iter().enumerate().map(|(i, (x, y))| (i as f64, *x, *y)).collect();
    Actor::person(id, &keys)
}

const STRAIGHT: &str = r#"
lines = [{ id = "gate", points = [[0.5, 1.0], [0.5, 0.0]] }]
zones = [{ id = "yard", points = [[0.3, 0.0], [0.7, 0.0], [0.7, 1.0], [0.3, 1.0]] }]
[[rules]]
id = "line"
line_crossed = { line = "gate" }
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
/// Looks a second.
const LOOKS: f64 = 25.0;

/// A place from which, at up to half a picture a second, nobody passes a border of [`STRAIGHT`] within three looks and the
/// hysteresis: where one turns nearer, some who look see the border passed, and others do not.
fn clear_place() -> impl Strategy<Value = f64> {
    prop_oneof![0.02f64..0.23, 0.37f64..0.43, 0.57f64..0.63, 0.77f64..0.98]
}

/// What fired about whom, and when it began: all but the numbers, and the frame on which it was sure, which more frames
/// bring forward.
fn outcome(fired: &[Firing]) -> Vec<(String, Option<u64>, f64)> {
    let tell = |firing: &Firing| {
        let what = match firing.evidence {
            Evidence::Crossing(Crossing { direction, .. }) => format!("{} {direction}", firing.rule),
            _ => firing.rule.to_string(),
        };
        (what, firing.object.map(|object| object.0.0), seconds(firing.begin))
    };
    let mut found: Vec<_> = fired.iter().filter(|firing| !matches!(firing.phase, Phase::Ended(_))).map(tell).collect();
    found.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)).then(a.2.total_cmp(&b.2)));
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn crossings_are_the_changes_of_side_beyond_the_hysteresis(
        stays in prop::collection::vec(stay(), 1..20), step in 0.04f64..1.0,
    ) {
        let (xs, left, right) = walk(&stays);
        let mut stage = Stage::new(LINE);
        let fired = play_steps(&mut stage, 1, &xs, step);
        let Some(Reading::Counts(Counts { left: found_left, right: found_right, .. })) =
            stage.engine.readouts().next().map(|readout| readout.reading)
        else {
            prop_assert!(xs.is_empty());
            return Ok(());
        };
        prop_assert_eq!((found_left, found_right), (left, right), "{:?}", xs);
        prop_assert_eq!(fired.len() as u64, left + right);
        for firing in &fired {
            prop_assert!(firing.begin <= firing.time);
        }
    }

    #[test]
    fn a_mirrored_track_crosses_in_the_mirrored_direction(stays in prop::collection::vec(stay(), 1..20)) {
        let (xs, ..) = walk(&stays);
        let mirrored: Vec<f64> = xs.iter().map(|x| 1.0 - x).collect();
        let fired = directions(&play_steps(&mut Stage::new(LINE), 1, &xs, 0.2));
        let other = directions(&play_steps(&mut Stage::new(LINE), 1, &mirrored, 0.2));
        let turned: Vec<Direction> = fired
            .iter()
            .map(|direction| if *direction == Direction::Left { Direction::Right } else { Direction::Left })
            .collect();
        prop_assert_eq!(turned, other);
    }

    #[test]
    fn the_order_of_tracks_changes_nothing(paths in prop::collection::vec(path(2..12), 1..6), cool_down in 0u32..4) {
        let toml = ALL.replace("[[rules]]\n", &format!("[[rules]]\ncool_down = '{cool_down}s'\n"));
        let actors: Vec<Actor> = (1..).zip(&paths).map(|(id, points)| actor(id, points)).collect();
        let (mut a, mut b) = (Stage::new(&toml), Stage::new(&toml));
        b.reversed = true;
        let (a, b) = (a.play(0.0, 13.0, 5.0, &actors), b.play(0.0, 13.0, 5.0, &actors));
        prop_assert!(a == b, "{:?}\n{:?}", brief(&a), brief(&b));
    }

    /// The same straight ways, looked at up to five times as often.
    #[test]
    fn looking_more_often_changes_nothing(
        points in prop::collection::vec((clear_place(), 0.1f64..0.98), 2..12), times in 2u32..6,
    ) {
        // Two seconds from point to point: at most half a picture a second.
        let keys: Vec<(f64, f64, f64)> = (0..).zip(&points).map(|(i, (x, y))| (2.0 * f64::from(i), *x, *y)).collect();
        let actors = [Actor::person(1, &keys)];
        let until = 2.0 * (points.len() - 1) as f64;
        let (mut seldom, mut often) = (Stage::new(STRAIGHT), Stage::new(STRAIGHT));
        seldom.play(0.0, until, LOOKS, &actors);
        often.play(0.0, until, LOOKS * f64::from(times), &actors);
        let (seldom, often) = (outcome(&seldom.fired), outcome(&often.fired));
        prop_assert_eq!(seldom.len(), often.len());
        for (a, b) in seldom.iter().zip(&often) {
            // Boxes are in single precision.
            prop_assert!((&a.0, a.1) == (&b.0, b.1) && (a.2 - b.2).abs() < 2e-3, "{:?} {:?}", a, b);
        }
    }

    #[test]
    fn a_cool_down_is_kept_whatever_happens(paths in prop::collection::vec(path(2..12), 1..8), cool_down in 1u32..6) {
        let toml = ALL.replace("[[rules]]\n", &format!("[[rules]]\ncool_down = '{cool_down}s'\n"));
        let actors: Vec<Actor> = (1..).zip(&paths).map(|(id, points)| actor(id, points)).collect();
        let mut stage = Stage::new(&toml);
        let fired = stage.play(0.0, 13.0, 5.0, &actors);
        let mut last: BTreeMap<&str, &Firing> = BTreeMap::new();
        for firing in fired.iter().filter(|firing| !matches!(firing.phase, Phase::Ended(_))) {
            if let Some(before) = last.insert(firing.rule.as_str(), firing) {
                prop_assert!(firing.time.seconds_since(before.time) >= f64::from(cool_down));
            }
        }
    }

    #[test]
    fn what_begins_ends_once_and_numbers_are_never_used_twice(
        paths in prop::collection::vec(path(2..12), 1..8), cut in 0u32..60, rate in 1u32..12,
    ) {
        let actors: Vec<Actor> = (1..).zip(&paths).map(|(id, points)| actor(id, points)).collect();
        let mut stage = Stage::new(ALL);
        let mut fired = Vec::new();
        for frame in 0..60 {
            fired.extend(stage.frame(f64::from(frame) / f64::from(rate), &actors));
            if frame == cut {
                fired.extend(stage.engine.end_all());
            }
        }
        fired.extend(stage.engine.end_all());
        let (mut open, mut highest) = (BTreeMap::<u64, Firing>::new(), 0);
        for firing in fired {
            if let Phase::Ended(_) = firing.phase {
                let Some(begun) = open.remove(&firing.number) else { panic!("{firing:?} never began") };
                let Firing { rule, begin, object, .. } = begun;
                prop_assert_eq!((rule, begin, object), (firing.rule, firing.begin, firing.object));
            } else {
                prop_assert_eq!(firing.number, highest + 1);
                highest += 1;
                if firing.phase == Phase::Begun {
                    open.insert(firing.number, firing);
                }
            }
        }
        prop_assert!(open.is_empty());
        prop_assert_eq!(stage.engine.open().count(), 0);
    }
}
