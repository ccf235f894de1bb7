//! Things that are left, and things that are taken.

use vigil_base::TrackId;
use vigil_rules::Evidence;

use crate::stage::{Actor, SUITCASE, Stage, at, brief, seconds};

const ABANDONED: &str = r#"
[[rules]]
id = "left"
object_abandoned = { time_threshold = "30s" }
"#;

/// Comes in with a suitcase, puts it down at 10 s, goes at 20 s.
fn traveller(leaves: f64) -> Vec<Actor> {
    vec![
        Actor::person(1, &[(0.0, 0.1, 0.5), (10.0, 0.5, 0.5), (leaves, 0.5, 0.5), (leaves + 10.0, 0.95, 0.5)]),
        Actor::new(2, SUITCASE, &[(0.0, 0.11, 0.5), (10.0, 0.51, 0.5), (1e4, 0.51, 0.5)]),
    ]
}

#[test]
fn a_suitcase_whose_owner_went_away_is_abandoned() {
    for calibrated in [false, true] {
        let mut stage = if calibrated { Stage::calibrated(ABANDONED) } else { Stage::new(ABANDONED) };
        let fired = stage.play(0.0, 100.0, 5.0, &traveller(20.0));
        assert_eq!(brief(&fired), ["left 2 +"]);
        let Evidence::Abandoned { at: place, since, unattended, owner } = fired[0].evidence else { panic!() };
        assert_eq!(owner, Some(TrackId(1)));
        assert!((place.x - 0.51).abs() < 0.01 && (seconds(since) - 10.0).abs() < 1.0, "{place:?} {since}");
        // 1.75 sizes of 80 pixels are 0.0875 of the picture; 3 m of 32 are 0.094. At 0.045 a second some 2 s.
        assert!(unattended.as_secs() == 30 && (seconds(fired[0].begin) - 22.0).abs() < 0.5, "{}", fired[0].begin);
    }
}

#[test]
fn a_suitcase_beside_its_owner_is_not_and_an_owner_who_comes_back_ends_it() {
    let mut stage = Stage::new(ABANDONED);
    assert!(stage.play(0.0, 100.0, 2.0, &traveller(1000.0)).is_empty());
    let mut stage = Stage::new(ABANDONED);
    let mut actors = traveller(20.0);
    actors[0].path.extend([(100.0, 0.95, 0.5), (110.0, 0.5, 0.5), (200.0, 0.5, 0.5)]);
    assert_eq!(brief(&stage.play(0.0, 150.0, 2.0, &actors)), ["left 2 +", "left 2 -over"]);
}

#[test]
fn who_passes_by_does_not_attend_it() {
    let mut stage = Stage::new(ABANDONED);
    let mut actors = traveller(20.0);
    actors.extend((3..9).map(|id| {
        let begins = 10.0 * id as f64 - 10.0;
        Actor::person(id, &[(begins, 0.1, 0.52), (begins + 12.0, 0.95, 0.52)])
    }));
    assert_eq!(brief(&stage.play(0.0, 100.0, 5.0, &actors)), ["left 2 +"]);
}

#[test]
fn an_owner_whose_track_changes_its_id_beside_the_thing_is_still_there() {
    let mut stage = Stage::new(ABANDONED);
    let mut actors = traveller(20.0);
    actors[0].path = vec![(0.0, 0.1, 0.5), (10.0, 0.5, 0.5), (15.0, 0.5, 0.5)];
    actors.push(Actor::person(3, &[(15.0, 0.5, 0.5), (200.0, 0.5, 0.5)]));
    assert!(stage.play(0.0, 100.0, 5.0, &actors).is_empty());
}

#[test]
fn a_thing_that_is_carried_is_not_left_though_nobody_is_seen() {
    let mut stage = Stage::new(ABANDONED);
    let carried = Actor::new(2, SUITCASE, &[(0.0, 0.05, 0.5), (100.0, 0.95, 0.5)]);
    assert!(stage.play(0.0, 100.0, 5.0, &[carried]).is_empty());
}

const REMOVED: &str = r#"
zones = [{ id = "showcase", points = [[0.4, 0.3], [0.7, 0.3], [0.7, 0.7], [0.4, 0.7]] }]
[[rules]]
id = "taken"
object_removed = { zone = "showcase", time_threshold = "20s" }
"#;

#[test]
fn what_stood_and_is_carried_away_or_vanishes_is_removed() {
    let mut stage = Stage::new(REMOVED);
    let carried = Actor::new(1, SUITCASE, &[(0.0, 0.5, 0.5), (40.0, 0.5, 0.5), (45.0, 0.9, 0.9)]);
    let vanishes = Actor::new(2, SUITCASE, &[(0.0, 0.6, 0.5), (60.0, 0.6, 0.5)]);
    let fired = stage.play(0.0, 70.0, 5.0, &[carried, vanishes]);
    assert_eq!(brief(&fired), ["taken 1 !", "taken 2 !"]);
    let Evidence::Removed { at: place, since, last_seen } = fired[0].evidence else { panic!() };
    assert!((place.x - 0.5).abs() < 1e-6 && (place.y - 0.5).abs() < 1e-6 && since == at(0.0), "{place:?}");
    assert!((seconds(last_seen) - 40.0).abs() < 0.3 && fired[0].begin == last_seen, "{last_seen}");
    assert_eq!(fired[1].begin, at(60.0));
}

#[test]
fn what_stood_briefly_or_elsewhere_or_is_lost_with_the_stream_is_not_removed() {
    let mut stage = Stage::new(REMOVED);
    let briefly = Actor::new(1, SUITCASE, &[(0.0, 0.5, 0.5), (15.0, 0.5, 0.5)]);
    let elsewhere = Actor::new(2, SUITCASE, &[(0.0, 0.2, 0.5), (40.0, 0.2, 0.5)]);
    let stays = Actor::new(3, SUITCASE, &[(0.0, 0.6, 0.5), (40.0, 0.6, 0.5)]);
    assert!(stage.play(0.0, 40.0, 5.0, &[briefly, elsewhere, stays]).is_empty());
    assert!(stage.engine.end_all().is_empty());
    assert!(stage.frame(50.0, &[]).is_empty());
}
