//! What holds whatever a detector says and whatever a camera's clock does.

mod scene;

use std::collections::BTreeSet;

use proptest::prelude::*;
use vigil_base::{BoxPx, Detection};
use vigil_track::{Descriptor, Tracker, TrackerConfig};

fn wild_number() -> impl Strategy<Value = f32> {
    let odd = vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, -0.0, 1e-30, 1e6];
    prop_oneof![
        8 => -50f32..800.0,
        1 => prop::sample::select(odd),
        1 => any::<f32>(),
    ]
}

fn wild_detection() -> impl Strategy<Value = Detection> {
    let bbox = prop::array::uniform4(wild_number()).prop_map(|[l, t, w, h]| BoxPx::new(l, t, w, h));
    let confidence = prop_oneof![9 => 0f32..=1.0, 1 => any::<f32>()];
    (bbox, 0u16..4, confidence).prop_map(|(bbox, class, confidence)| Detection { bbox, class, confidence })
}

/// Objects that stay long enough to become tracks, among wild ones, some of them twice.
fn wild_frame() -> impl Strategy<Value = Vec<Detection>> {
    let steady = prop::collection::vec((0usize..6, 0f32..8.0, 0.5f32..1.0), 0..8).prop_map(|objects| {
        let object = |(place, shift, confidence): (usize, f32, f32)| {
            let bbox = BoxPx::new(place as f32 * 90.0 + shift, 100.0, 40.0, 100.0);
            Detection { bbox, class: (place % 2) as u16, confidence }
        };
        objects.into_iter().map(object).collect::<Vec<_>>()
    });
    let wild = prop::collection::vec(wild_detection(), 0..6);
    (steady, wild, any::<bool>()).prop_map(|(mut items, wild, twice)| {
        items.extend(wild);
        if twice {
            items.extend(items.clone());
        }
        items
    })
}

fn wild_step() -> impl Strategy<Value = f64> {
    let odd = vec![0.0, -0.3, -7200.0, 7200.0, 1e9, -1e9];
    prop_oneof![20 => 0.02f64..0.5, 2 => 0.5f64..12.0, 1 => prop::sample::select(odd)]
}

fn wild_look() -> impl Strategy<Value = Option<Descriptor>> {
    prop::collection::vec(0f32..1.0, 0..5).prop_map(|values| Descriptor::new(&values))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_track_has_one_id_one_place_one_begin_and_one_end(
        frames in prop::collection::vec((wild_step(), wild_frame(), prop::collection::vec(wild_look(), 0..10)), 1..80),
        max_tracks in 0usize..12,
    ) {
        let mut tracker = Tracker::new(TrackerConfig { max_tracks, ..scene::config() });
        let (mut now, mut live, mut highest) = (0.0, BTreeSet::new(), 0);
        for (step, items, looks) in frames {
            now += step;
            let seen = scene::frame(now, items);
            let update = tracker.update_looking(&seen, &scene::look(&seen, &looks));
            for id in &update.ended {
                prop_assert!(live.remove(id), "{id} ended without being live");
            }
            for track in &update.tracks {
                if track.began() {
                    prop_assert!(track.id.0 > highest, "{} was used before", track.id);
                    highest = track.id.0;
                    live.insert(track.id);
                    prop_assert_eq!(track.history.first().map(|o| o.time), Some(track.first_seen));
                    prop_assert_eq!(track.history.last().map(|o| o.bbox), Some(track.bbox));
                    prop_assert!(track.history.windows(2).all(|pair| pair[0].time < pair[1].time));
                }
                let BoxPx { left, top, width, height } = track.bbox;
                let (vx, vy) = track.velocity;
                prop_assert!([left, top, width, height, vx, vy].iter().all(|v| v.is_finite()));
                prop_assert!(width > 0.0 && height > 0.0);
            }
            let ids: BTreeSet<_> = update.tracks.iter().map(|track| track.id).collect();
            prop_assert_eq!(ids.len(), update.tracks.len(), "an id stands twice");
            prop_assert_eq!(&ids, &live);
            prop_assert!(ids.len() <= max_tracks);
        }
        let ended = tracker.flush();
        prop_assert_eq!(ended.into_iter().collect::<BTreeSet<_>>(), live);
    }

    /// No two tracks may claim one detection of a frame.
    #[test]
    fn no_detection_is_in_two_tracks(frames in prop::collection::vec(wild_frame(), 1..60)) {
        let mut tracker = Tracker::new(scene::config());
        for (index, items) in frames.into_iter().enumerate() {
            let update = tracker.update(&scene::frame(index as f64 * 0.1, items));
            let seen: Vec<BoxPx> = update.tracks.iter().filter(|t| t.seen_on(&update)).map(|t| t.bbox).collect();
            for (i, a) in seen.iter().enumerate() {
                prop_assert!(!seen[..i].contains(a), "{a:?} twice");
            }
        }
    }

    /// The same detections give the same tracks.
    #[test]
    fn tracking_is_deterministic(frames in prop::collection::vec(wild_frame(), 1..40)) {
        let run = || {
            let mut tracker = Tracker::new(scene::config());
            let mut all = Vec::new();
            for (index, items) in frames.iter().enumerate() {
                all.push(tracker.update(&scene::frame(index as f64 * 0.1, items.clone())));
            }
            all
        };
        prop_assert_eq!(run(), run());
    }
}
