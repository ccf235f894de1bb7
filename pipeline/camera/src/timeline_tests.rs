//! Rules of the timeline, over generated streams.

use proptest::prelude::*;

use super::*;

/// The edge's wall clock when its monotonic clock is at 0.
const BOOT: Timestamp = Timestamp::from_micros(1_750_000_000_000_000);
const FRAME: Duration = Duration::from_millis(100);
/// A keyframe every second.
const GOP: usize = 10;

/// A camera that takes a picture every 100 ms; picture `n` arrives `delays_ms[n]` later.
struct Scene {
    delays_ms: Vec<u64>,
    /// Camera clock minus true time, for picture `n`.
    camera_error_us: Box<dyn Fn(usize) -> i64>,
    /// The first picture that carries NTP time.
    reports_from: usize,
    /// Added to the PTS of picture `n`.
    pts_shift_ms: Box<dyn Fn(usize) -> i64>,
}

impl Scene {
    fn new(delays_ms: Vec<u64>) -> Self {
        Self { delays_ms, camera_error_us: Box::new(|_| 0), reports_from: usize::MAX, pts_shift_ms: Box::new(|_| 0) }
    }

    /// The true time of picture `n`; the first is taken a minute after the edge has started.
    fn truth(n: usize) -> Timestamp {
        BOOT + Duration::from_mins(1) + FRAME * n as u32
    }

    fn packet(&self, n: usize) -> Arrived {
        let arrival = Self::truth(n) + Duration::from_millis(self.delays_ms[n]);
        let pts_ms = 3_600_000 + 100 * n as i64 + (self.pts_shift_ms)(n);
        let ntp = Self::truth(n).as_micros() + (self.camera_error_us)(n);
        Arrived {
            pts_ns: pts_ms as u64 * 1_000_000,
            ntp: (n >= self.reports_from).then_some(Timestamp::from_micros(ntp)),
            arrival,
            arrival_monotonic: arrival.since(BOOT),
            keyframe: n.is_multiple_of(GOP),
        }
    }

    fn play(&self) -> (Vec<Stamped>, Timeline) {
        let mut timeline = Timeline::new(ClockPolicy::Camera);
        let stamps = (0..self.delays_ms.len()).map(|n| timeline.stamp(&self.packet(n))).collect();
        (stamps, timeline)
    }
}

/// Arrivals keep their order, as they do on one connection.
fn in_order(mut delays_ms: Vec<u64>) -> Vec<u64> {
    for n in 1..delays_ms.len() {
        delays_ms[n] = delays_ms[n].max(delays_ms[n - 1].saturating_sub(100));
    }
    delays_ms
}

fn delays(count: usize, up_to_ms: u64) -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(0..=up_to_ms, count).prop_map(in_order)
}

fn error_ms(stamp: &Stamped, n: usize) -> f64 {
    stamp.capture_time.seconds_since(Scene::truth(n)) * 1e3
}

/// Of pictures that are shown before the one that came before them, the order of delivery says nothing.
fn assert_increasing_within_sessions(stamps: &[Stamped]) {
    let mut newest: Option<Stamped> = None;
    for stamp in stamps {
        let Some(before) = newest.filter(|_| !stamp.new_session) else {
            newest = Some(*stamp);
            continue;
        };
        if stamp.pts_us > before.pts_us {
            assert!(stamp.capture_time > before.capture_time, "{before:?} {stamp:?}");
            newest = Some(*stamp);
        }
    }
}

/// Order of sending with two B frames: each third picture comes before the two it is shown after.
fn sent_as(n: usize) -> usize {
    match n % 3 {
        _ if n == 0 => 0,
        1 => n + 2,
        _ => n - 1,
    }
}

#[test]
fn b_frames_are_dated_by_when_they_are_shown_also_while_the_offset_is_slewed() {
    let mut scene = Scene::new(vec![0; 90]);
    scene.reports_from = 30;
    scene.camera_error_us = Box::new(|_| 1_000_000);
    let mut timeline = Timeline::new(ClockPolicy::Camera);
    let mut stamps: Vec<_> = (0..85)
        .map(|sent| {
            let (shown, arrived) = (scene.packet(sent_as(sent)), scene.packet(sent + 2));
            let (arrival, arrival_monotonic) = (arrived.arrival, arrived.arrival_monotonic);
            timeline.stamp(&Arrived { arrival, arrival_monotonic, keyframe: sent == 0, ..shown })
        })
        .collect();
    assert!(stamps.iter().all(|stamp| !stamp.new_session && !stamp.pts_jumped));
    stamps.sort_by_key(|stamp| stamp.pts_us);
    for pair in stamps.windows(2) {
        let passed = pair[1].capture_time.seconds_since(pair[0].capture_time);
        assert!((0.049..=0.151).contains(&passed), "{passed} s from one picture to the next");
    }
}

#[test]
fn a_pts_that_stands_still_goes_on_by_arrival_and_is_followed_again() {
    let mut scene = Scene::new(vec![3; 120]);
    scene.pts_shift_ms = Box::new(|n| if (40..80).contains(&n) { 100 * (40 - n as i64) } else { 0 });
    let (stamps, _) = scene.play();
    assert!(stamps.iter().all(|stamp| !stamp.new_session && !stamp.pts_jumped));
    assert!(stamps.iter().enumerate().all(|(n, stamp)| error_ms(stamp, n).abs() < 10.0));
    assert_increasing_within_sessions(&stamps);
}

#[test]
fn a_camera_that_sends_cached_pictures_first_is_dated_right_once_it_is_live() {
    // The first 20 pictures wait in the camera and arrive together with the 20th.
    let delays = (0..100).map(|n: u64| 2_000u64.saturating_sub(100 * n)).collect();
    let (stamps, _) = Scene::new(delays).play();
    assert!(error_ms(&stamps[0], 0) > 1_900.0, "nothing better is known at first");
    assert!(error_ms(&stamps[99], 99).abs() < 10.0);
    assert!(stamps.iter().all(|stamp| !stamp.new_session));
    assert_increasing_within_sessions(&stamps);
}

#[test]
fn a_camera_clock_that_was_never_set_is_not_used_and_reported() {
    let thirty_years_us = -30 * 365 * 86_400 * 1_000_000i64;
    let mut scene = Scene::new(vec![5; 50]);
    scene.camera_error_us = Box::new(move |_| thirty_years_us);
    scene.reports_from = 20;
    let (stamps, timeline) = scene.play();
    assert!(stamps.iter().all(|stamp| stamp.time_source == TimeSource::Arrival));
    assert_eq!(stamps, Scene::new(vec![5; 50]).play().0);
    let CameraClock::Wrong { offset_ms } = timeline.camera_clock() else { panic!("{timeline:?}") };
    assert!((offset_ms - thirty_years_us / 1000).abs() < 100);
}

#[test]
fn a_clock_that_is_wrong_by_a_time_zone_is_used_as_the_policy_says() {
    let mut scene = Scene::new(vec![0; 60]);
    scene.camera_error_us = Box::new(|_| 7_200_000_000);
    scene.reports_from = 15;
    let (stamps, _) = scene.play();
    assert_eq!(stamps[59].time_source, TimeSource::Ntp);
    assert!((error_ms(&stamps[59], 59) - 7_200_000.0).abs() < 1.0);

    let mut ignoring = Timeline::new(ClockPolicy::Arrival);
    let last = (0..60).map(|n| ignoring.stamp(&scene.packet(n))).last().unwrap();
    assert_eq!(last.time_source, TimeSource::Arrival);
    assert!(error_ms(&last, 59).abs() < 1.0);
    assert!(matches!(ignoring.camera_clock(), CameraClock::Ignored { offset_ms: 7_200_000 }));
}

#[test]
fn a_stalled_network_that_delivers_all_at_once_is_no_jump() {
    let delays = (0..100).map(|n: u64| if n < 50 { 0 } else { 5_000u64.saturating_sub(100 * (n - 50)) }).collect();
    let (stamps, _) = Scene::new(delays).play();
    assert!(stamps.iter().all(|stamp| !stamp.new_session));
    assert!(stamps.iter().enumerate().all(|(n, stamp)| error_ms(stamp, n).abs() < 10.0));
}

#[test]
fn the_edges_own_clock_may_be_set_while_only_arrival_is_known() {
    let scene = Scene::new(vec![0; 40]);
    let mut timeline = Timeline::new(ClockPolicy::Camera);
    let stamps: Vec<_> = (0..40)
        .map(|n| {
            let mut packet = scene.packet(n);
            if n >= 15 {
                packet.arrival = packet.arrival + Duration::from_mins(10);
            }
            timeline.stamp(&packet)
        })
        .collect();
    let sessions: Vec<_> = (0..40).filter(|&n| stamps[n].new_session).collect();
    assert_eq!(sessions, [20], "followed at the next keyframe");
    assert!((error_ms(&stamps[39], 39) - 600_000.0).abs() < 10.0);
}

proptest! {
    #[test]
    fn arrival_times_are_never_off_by_more_than_the_networks_delay(delays in delays(120, 300)) {
        let (stamps, _) = Scene::new(delays.clone()).play();
        let worst = *delays.iter().max().unwrap() as f64;
        for (n, stamp) in stamps.iter().enumerate() {
            prop_assert!((-1.0..=worst + 1.0).contains(&error_ms(stamp, n)));
            prop_assert_eq!(stamp.time_source, TimeSource::Arrival);
        }
    }

    #[test]
    fn ntp_takes_over_without_a_jump_and_is_exact_once_it_is_named(
        delays in delays(160, 300), reports_from in 1usize..60, error_us in -1_500_000i64..1_500_000,
    ) {
        let mut scene = Scene::new(delays);
        scene.camera_error_us = Box::new(move |_| error_us);
        scene.reports_from = reports_from;
        let (stamps, _) = scene.play();
        prop_assert!(stamps.iter().all(|stamp| !stamp.new_session));
        for pair in stamps.windows(2) {
            let passed = pair[1].capture_time.seconds_since(pair[0].capture_time);
            prop_assert!((0.049..=0.151).contains(&passed), "{passed} s from one picture to the next");
        }
        for (n, stamp) in stamps.iter().enumerate().filter(|(_, stamp)| stamp.time_source == TimeSource::Ntp) {
            prop_assert!((error_ms(stamp, n) - error_us as f64 / 1e3).abs() <= 4.1);
        }
        let caught_up = reports_from + 40;
        prop_assert!(stamps[caught_up..].iter().all(|stamp| stamp.time_source == TimeSource::Ntp));
    }

    #[test]
    fn a_step_of_the_cameras_clock_is_followed_at_the_next_keyframe(
        delays in delays(120, 300), at in 41usize..80, seconds in prop_oneof![-5_000i64..-4, 4i64..5_000],
    ) {
        let mut scene = Scene::new(delays);
        scene.reports_from = 0;
        scene.camera_error_us = Box::new(move |n| if n >= at { seconds * 1_000_000 } else { 0 });
        let (stamps, _) = scene.play();
        let keyframe = at.next_multiple_of(GOP);
        let sessions: Vec<_> = (0..stamps.len()).filter(|&n| stamps[n].new_session).collect();
        prop_assert_eq!(sessions, [keyframe]);
        prop_assert!(stamps[..keyframe].iter().enumerate().all(|(n, stamp)| error_ms(stamp, n).abs() < 1.0));
        let after = |n: usize| (error_ms(&stamps[n], n) - seconds as f64 * 1e3).abs();
        prop_assert!((keyframe..stamps.len()).all(|n| after(n) < 1.0));
    }

    #[test]
    fn a_camera_whose_rtp_times_jump_with_its_clock_is_followed_too(
        at in 41usize..80, seconds in prop_oneof![-3_000i64..-4, 4i64..5_000],
    ) {
        let mut scene = Scene::new(vec![3; 120]);
        scene.reports_from = 0;
        scene.pts_shift_ms = Box::new(move |n| if n >= at { seconds * 1_000 } else { 0 });
        scene.camera_error_us = Box::new(move |n| if n >= at { seconds * 1_000_000 } else { 0 });
        let (stamps, _) = scene.play();
        let keyframe = at.next_multiple_of(GOP);
        let sessions: Vec<_> = (0..stamps.len()).filter(|&n| stamps[n].new_session).collect();
        prop_assert_eq!(sessions, [keyframe]);
        prop_assert!((error_ms(&stamps[119], 119) - seconds as f64 * 1e3).abs() < 1.0);
    }

    #[test]
    fn a_jump_of_the_rtp_time_stamps_costs_no_time(
        delays in delays(120, 300), at in 41usize..80, seconds in prop_oneof![-3_000i64..-3, 3i64..5_000],
    ) {
        let mut scene = Scene::new(delays);
        scene.pts_shift_ms = Box::new(move |n| if n >= at { seconds * 1_000 } else { 0 });
        let (stamps, _) = scene.play();
        let jumps: Vec<_> = (0..stamps.len()).filter(|&n| stamps[n].pts_jumped).collect();
        prop_assert_eq!(jumps, [at]);
        prop_assert!(stamps.iter().all(|stamp| !stamp.new_session));
        prop_assert!(stamps.iter().enumerate().all(|(n, stamp)| error_ms(stamp, n).abs() <= 600.0));
        prop_assert!(stamps.windows(2).all(|pair| (1..=500_000).contains(&(pair[1].pts_us - pair[0].pts_us))));
        assert_increasing_within_sessions(&stamps);
    }

    #[test]
    fn whatever_arrives_newer_pictures_have_later_capture_times_and_sessions_start_at_keyframes(
        packets in prop::collection::vec(
            (any::<u32>(), prop::option::of(any::<i64>()), any::<i32>(), any::<u16>(), any::<bool>()), 1..80,
        ),
    ) {
        let mut timeline = Timeline::new(ClockPolicy::Camera);
        let mut monotonic = Duration::ZERO;
        let mut stamps = Vec::new();
        for (pts_ms, ntp_us, wall_ms, passed_ms, keyframe) in packets {
            monotonic += Duration::from_millis(u64::from(passed_ms));
            let wall_us = BOOT.as_micros() + i64::from(wall_ms) * 1000;
            let stamp = timeline.stamp(&Arrived {
                pts_ns: u64::from(pts_ms) * 1_000_000,
                ntp: ntp_us.map(Timestamp::from_micros),
                arrival: Timestamp::from_micros(wall_us),
                arrival_monotonic: monotonic,
                keyframe,
            });
            prop_assert!(keyframe || !stamp.new_session);
            stamps.push(stamp);
        }
        assert_increasing_within_sessions(&stamps);
    }
}
