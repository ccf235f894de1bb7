//! The same look at several cameras within a time: from hits to journeys, the same in a region and over all of them.

use std::collections::HashSet;
use std::time::Duration;

use vigil_base::Timestamp;

use super::journeys::stretches;
use super::{MAX_HITS, time_from_wire};
use crate::v1;

/// The journeys among the hits of a search, the latest first: stretches of them in which each belongs to some span with enough
/// cameras. Each hit is in one journey at most.
pub fn ways(found: v1::SearchByAppearanceResponse, span: Duration, min_cameras: usize) -> v1::FollowAppearanceResponse {
    let truncated = found.hits.len() >= MAX_HITS;
    let mut sightings = found.hits;
    sightings.sort_by_cached_key(order);
    let place = |hit: &v1::AppearanceHit| {
        hit.event.as_ref().map(|event| (event.region_id.clone(), event.camera_id.clone())).unwrap_or_default()
    };
    let found_in = stretches(&sightings, begin, place, span, min_cameras);
    let mut journeys: Vec<v1::AppearanceJourney> = found_in
        .into_iter()
        .map(|range| {
            let sightings = sightings[range].to_vec();
            let cameras = sightings.iter().map(place).collect::<HashSet<_>>().len() as u32;
            v1::AppearanceJourney { sightings, cameras }
        })
        .collect();
    journeys.sort_by_cached_key(|journey| std::cmp::Reverse(journey.sightings.last().map(order)));
    v1::FollowAppearanceResponse {
        journeys,
        regions: found.regions,
        asked: found.asked,
        compared: found.compared,
        not_comparable: found.not_comparable,
        truncated,
    }
}

/// Begin of a hit's event; one that is none is before all others.
fn begin(hit: &v1::AppearanceHit) -> Timestamp {
    let at = hit.event.as_ref().and_then(|event| event.begin_time);
    at.and_then(|at| time_from_wire("begin_time", at).ok()).unwrap_or(Timestamp::MIN)
}

fn order(hit: &v1::AppearanceHit) -> (Timestamp, String) {
    (begin(hit), hit.event.as_ref().map(|event| event.event_id.clone()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(id: &str, camera: &str, second: i64) -> v1::AppearanceHit {
        let event = v1::Event {
            event_id: id.to_owned(),
            region_id: "north".to_owned(),
            camera_id: camera.to_owned(),
            begin_time: Some(prost_types::Timestamp { seconds: second, nanos: 0 }),
            ..v1::Event::default()
        };
        v1::AppearanceHit { event: Some(event), similarity: 0.9 }
    }

    fn ids(answer: &v1::FollowAppearanceResponse) -> Vec<(Vec<&str>, u32)> {
        answer
            .journeys
            .iter()
            .map(|journey| {
                let ids = journey.sightings.iter().filter_map(|hit| hit.event.as_ref());
                (ids.map(|event| event.event_id.as_str()).collect(), journey.cameras)
            })
            .collect()
    }

    #[test]
    fn sightings_at_enough_cameras_within_the_span_are_one_way_in_order_of_time() {
        let hits = vec![
            hit("e", "gate", 9_000),
            hit("c", "yard", 130),
            hit("a", "gate", 100),
            hit("b", "gate", 110),
            hit("d", "gate", 700),
            hit("f", "hall", 9_050),
        ];
        let found = v1::SearchByAppearanceResponse { hits, ..Default::default() };
        let answer = ways(found.clone(), Duration::from_secs(60), 2);
        assert_eq!(ids(&answer), [(vec!["e", "f"], 2), (vec!["a", "b", "c"], 2)]);
        assert!(!answer.truncated);
        assert_eq!(ids(&ways(found, Duration::from_secs(60), 3)), []);
    }
}
