//! What happens on a street, and what the tracker must make of it.

mod scene;

use scene::{CAR, Street, TRUCK, at, car, id_at, id_near, person};
use vigil_base::{Hold, Timestamp, TrackId};
use vigil_track::{Descriptor, Outlook, Tracker, TrackerConfig};

/// 80 pixels a second, 0.8 heights: a brisk walk.
const WALK: f64 = 80.0;
/// Seconds.
const DAY: i32 = 86_400;

#[test]
fn a_walk_is_one_track_from_its_first_detection_at_any_rate() {
    for rate in [1.0, 2.0, 5.0, 10.0, 25.0] {
        let mut street = Street::new();
        let mut first_seen = None;
        for i in 0..(12.0 * rate) as i32 {
            let t = f64::from(i) / rate;
            let update = street.see(t, vec![person(100.0 + WALK * t, 0.9)]);
            if let Some(track) = update.tracks.first() {
                first_seen.get_or_insert(track.history.first().map(|o| o.time));
            }
        }
        assert_eq!(street.began, [TrackId(1)], "at {rate} fps");
        assert_eq!(first_seen, Some(Some(at(0.0))), "at {rate} fps");
    }
}

#[test]
fn uneven_frames_make_no_difference() {
    let mut street = Street::new();
    let mut t = 0.0;
    for i in 0..200 {
        t += [0.04, 0.2, 0.1, 0.5, 0.04, 1.0, 0.3][i % 7];
        street.see(t, vec![person(50.0 + WALK * t, 0.9)]);
    }
    assert_eq!(street.began, [TrackId(1)]);
}

#[test]
fn two_who_cross_keep_their_ids_though_one_hides_the_other() {
    let mut street = Street::new();
    let (mut left, mut right) = (None, None);
    for i in 0..80 {
        let t = f64::from(i) / 10.0;
        let (a, b) = (100.0 + WALK * t, 740.0 - WALK * t);
        let mut seen = vec![person(a, 0.9)];
        if (a - b).abs() > 30.0 {
            seen.push(person(b, 0.85));
        }
        let update = street.see(t, seen);
        if i == 20 {
            (left, right) = (id_at(&update, a), id_at(&update, b));
            assert!(left.is_some() && right.is_some());
        }
        if i == 79 {
            assert_eq!((id_at(&update, a), id_at(&update, b)), (left, right));
        }
    }
    assert_eq!(street.began.len(), 2);
}

#[test]
fn who_is_hidden_for_two_seconds_is_the_same_and_for_ten_another() {
    for (hidden, tracks) in [(2.0, 1), (10.0, 2)] {
        let mut street = Street::new();
        for i in 0..200 {
            let t = f64::from(i) / 10.0;
            let visible = !(4.0..4.0 + hidden).contains(&t);
            street.see(t, if visible { vec![person(50.0 + WALK * t, 0.9)] } else { vec![] });
        }
        assert_eq!(street.began.len(), tracks, "hidden for {hidden} s");
        assert_eq!(street.ended.len(), tracks - 1, "hidden for {hidden} s");
    }
}

#[test]
fn an_unsure_detection_keeps_a_track_but_never_begins_one() {
    let mut street = Street::new();
    for i in 0..100 {
        let t = f64::from(i) / 10.0;
        let confidence = if t < 2.0 { 0.9 } else { 0.2 };
        street.see(t, vec![person(50.0 + WALK * t, confidence), person(1000.0 - WALK * t, 0.2)]);
    }
    assert_eq!((street.began, street.ended), (vec![TrackId(1)], vec![]));
}

#[test]
fn rain_and_insects_are_nothing() {
    let mut street = Street::new();
    for i in 0..2500 {
        let t = f64::from(i) / 25.0;
        let mut seen = vec![];
        // One frame each, somewhere else each time.
        if i % 3 == 0 {
            seen.push(person(f64::from(i * 7919 % 1200), 0.95));
        }
        // Three frames in 80 ms, twice a minute.
        if i % 750 < 3 {
            seen.push(car(300.0, CAR, 0.95));
        }
        street.see(t, seen);
    }
    assert_eq!(street.began, []);
}

#[test]
fn a_bollard_at_even_odds_is_nobody_and_one_who_walks_is_somebody() {
    let mut street = Street::new();
    for i in 0..36_000 {
        let t = f64::from(i) / 10.0;
        let flicker = if i % 2 == 0 { 0.6 } else { 0.65 };
        street.see(t, vec![person(600.0, flicker)]);
    }
    assert_eq!(street.began, []);
    let doubtful = |one: Outlook| one.hold == Hold::Doubtful;
    assert!(street.tracker.outlook(Timestamp::default()).all(doubtful), "nothing to wait for");
    for i in 0..50 {
        let t = 3600.0 + f64::from(i) / 10.0;
        street.see(t, vec![person(600.0, 0.6), person(50.0 + WALK * f64::from(i) / 10.0, 0.65)]);
    }
    assert_eq!(street.began.len(), 1);
}

#[test]
fn an_event_never_begins_long_before_its_confirmation() {
    let mut street = Street::new();
    let mut t = 0.0;
    while t < 3600.0 {
        street.see(t, vec![person(600.0, 0.62)]);
        t += 0.2;
    }
    let begin = loop {
        let update = street.see(t, vec![person(600.0, 0.99)]);
        if let Some(track) = update.tracks.first() {
            break track.first_seen;
        }
        t += 0.2;
    };
    assert!(at(t).since(begin).as_secs_f64() <= 10.0);
}

#[test]
fn a_parked_car_is_one_track_for_days() {
    let mut street = Street::new();
    let mut last = None;
    for second in 0..3 * DAY {
        let jitter = f64::from(second * 7919 % 13) - 6.0;
        // Misses every fifth look, is unsure at night, and each noon a truck stands in front of it for five minutes.
        let night = second % DAY < DAY / 4;
        let hidden = second % 5 == 0 || (second > DAY / 4 && second % DAY - DAY / 2 < 300 && second % DAY > DAY / 2);
        let confidence = if night && second > 60 { 0.35 } else { 0.9 };
        let seen = if hidden { vec![] } else { vec![car(500.0 + jitter, CAR, confidence)] };
        last = Some(street.see(f64::from(second), seen));
    }
    assert_eq!((street.began, street.ended), (vec![TrackId(1)], vec![]));
    let track = last.unwrap().tracks[0].clone();
    assert!(track.stationary && track.velocity == (0.0, 0.0));
}

#[test]
fn a_parked_car_stays_itself_while_the_street_passes_before_it() {
    let mut street = Street::new();
    let mut passers = 0;
    for i in 0..2 * 7200 {
        let t = f64::from(i) / 2.0;
        // Each minute a lorry drives past before it and hides it for a while, and each half minute somebody walks past.
        let (lorry, walker) = (-600.0 + (t % 60.0) * 150.0, 1400.0 - (t % 30.0) * WALK);
        let mut seen = vec![];
        if (lorry - 500.0).abs() > 120.0 {
            seen.push(car(500.0 + f64::from(i * 7919 % 9) - 4.0, CAR, 0.8));
        }
        if (-300.0..1400.0).contains(&lorry) {
            seen.push(car(lorry, TRUCK, 0.9));
        }
        if (-50.0..1300.0).contains(&walker) {
            seen.push(person(walker, 0.85));
        }
        let update = street.see(t, seen);
        passers += update.tracks.iter().filter(|track| track.began() && track.id != TrackId(1)).count();
        if t > 10.0 && (lorry - 500.0).abs() > 400.0 {
            assert_eq!(id_near(&update, 500.0, CAR), Some(TrackId(1)), "at {t} s");
        }
    }
    assert!(!street.ended.contains(&TrackId(1)));
    assert!((330..=400).contains(&passers), "120 lorries and 240 walkers were {passers} tracks");
}

#[test]
fn a_car_that_drives_off_is_no_longer_stationary() {
    let mut street = Street::new();
    let drive = |t: f64| 300.0 + (t - 30.0).max(0.0) * 150.0;
    for i in 0..350 {
        let t = f64::from(i) / 10.0;
        let update = street.see(t, vec![car(drive(t), CAR, 0.9)]);
        let Some(track) = update.tracks.first() else { continue };
        if t > 12.0 && t < 30.0 {
            assert!(track.stationary, "at {t}");
        }
        if t > 31.5 {
            assert!(!track.stationary && (track.velocity.0 - 150.0).abs() < 30.0, "at {t}: {:?}", track.velocity);
        }
    }
    assert_eq!(street.began.len(), 1);
}

#[test]
fn after_hours_without_a_frame_the_parked_car_is_there_and_the_walker_gone() {
    let mut street = Street::new();
    for i in 0..200 {
        let t = f64::from(i) / 10.0;
        street.see(t, vec![car(500.0, CAR, 0.9), person(50.0 + 20.0 * t, 0.9)]);
    }
    assert_eq!(street.began.len(), 2);
    let update = street.see(7200.0, vec![]);
    assert_eq!((update.ended.len(), update.tracks.len()), (1, 1));
    let update = street.see(7200.2, vec![car(500.0, CAR, 0.9)]);
    assert!(update.tracks[0].seen_on(&update) && update.tracks[0].stationary);
    assert_eq!(street.began.len(), 2);
}

#[test]
fn a_clock_that_is_set_back_ends_all_and_begins_anew() {
    let mut street = Street::new();
    for start in [10_000.0, 0.0] {
        for i in 0..20 {
            let t = f64::from(i) / 10.0;
            street.see(start + t, vec![person(50.0 + WALK * t, 0.9)]);
        }
    }
    assert_eq!((street.began, street.ended), (vec![TrackId(1), TrackId(2)], vec![TrackId(1)]));
    assert_eq!(street.tracker.stats().set_back, 1);
}

#[test]
fn a_frame_that_is_not_later_changes_nothing() {
    let mut street = Street::new();
    for i in 0..20 {
        let t = f64::from(i) / 10.0;
        street.see(t, vec![person(50.0 + WALK * t, 0.9)]);
    }
    for late in [1.9, 1.5] {
        let update = street.see(late, vec![person(900.0, 0.9)]);
        assert_eq!((update.tracks.len(), update.ended.len()), (1, 0));
        assert!((update.tracks[0].bbox.left - 202.0).abs() < 0.5);
    }
    assert_eq!(street.tracker.stats().late_frames, 2);
}

#[test]
fn a_van_that_is_now_a_car_now_a_truck_is_one_track_of_the_more_frequent() {
    let mut street = Street::new();
    let mut last = None;
    for i in 0..60 {
        let t = f64::from(i) / 10.0;
        let x = 100.0 + 100.0 * t;
        let class = if i % 3 == 0 { TRUCK } else { CAR };
        let mut seen = vec![car(x, class, 0.8)];
        // At times it is both.
        if i % 4 == 0 {
            seen.push(car(x + 4.0, TRUCK, 0.7));
        }
        last = Some(street.see(t, seen));
    }
    assert_eq!(street.began.len(), 1);
    assert_eq!(last.unwrap().tracks[0].class, CAR);
}

#[test]
fn two_who_meet_behind_a_lorry_and_turn_back_are_told_apart_by_their_looks() {
    let red = Descriptor::from_histogram(&[8.0, 1.0, 1.0]);
    let blue = Descriptor::from_histogram(&[1.0, 1.0, 8.0]);
    let mut street = Street::new();
    let (mut first, mut last) = ((None, None), (None, None));
    for i in 0..110 {
        let t = f64::from(i) / 10.0;
        // They walk towards each other, are hidden for a second, and come out where they went in.
        let way = if t < 5.0 { t } else { (10.0 - t).max(0.0) };
        let (a, b) = (100.0 + WALK * way, 980.0 - WALK * way);
        let hidden = (4.5..5.5).contains(&t);
        let seen = if hidden { vec![] } else { vec![person(a, 0.9), person(b, 0.85)] };
        let update = street.see_looks(t, seen, &[red.clone(), blue.clone()]);
        if i == 40 {
            first = (id_at(&update, a), id_at(&update, b));
        }
        last = (id_at(&update, a), id_at(&update, b));
    }
    assert!(first.0.is_some() && first.1.is_some());
    assert_eq!(first, last);
}

#[test]
fn ids_go_on_after_the_stream_broke() {
    let mut tracker = Tracker::new(scene::config());
    let mut began = Vec::new();
    for session in 0..3 {
        for i in 0..10 {
            let t = f64::from(session * 100 + i) / 10.0;
            let update = tracker.update(&scene::frame(t, vec![person(100.0, 0.95)]));
            began.extend(update.tracks.iter().filter(|track| track.began()).map(|track| track.id));
        }
        assert_eq!(tracker.flush(), [*began.last().unwrap()]);
        assert!(tracker.flush().is_empty());
    }
    assert_eq!(began, [TrackId(1), TrackId(2), TrackId(3)]);
}

#[test]
fn a_crowd_beyond_the_limit_is_cut_and_counted() {
    let mut tracker = Tracker::new(TrackerConfig { max_tracks: 20, ..scene::config() });
    for i in 0..30 {
        let crowd = (0..60).map(|p| person(f64::from(p) * 60.0, 0.7 + 0.004 * p as f32)).collect();
        let update = tracker.update(&scene::frame(f64::from(i) / 10.0, crowd));
        assert!(update.tracks.len() <= 20);
        if i == 29 {
            // The surest forty pixels to the right stayed.
            assert!(update.tracks.iter().all(|track| track.bbox.left >= 40.0 * 60.0));
            assert_eq!(update.tracks.len(), 20);
        }
    }
    assert!(tracker.stats().crowded_out >= 40);
}
