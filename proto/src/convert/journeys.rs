//! Plates seen at several cameras within a time: from sightings to journeys, the same in a region and over all of them.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::Hash;
use std::ops::Range;
use std::time::Duration;

use vigil_base::{CameraId, EventId, GeoPoint, RegionId, Timestamp};

use super::{JourneyQuestion, WireError, bounded_text, geo_from_wire, geo_to_wire, required_time, share, time_to_wire};
use crate::v1;

/// Most sightings of a journey that are told.
const MAX_TOLD: usize = 1_000;

/// A plate seen by a camera.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// The event that has it.
    pub event: EventId,
    /// The camera's region.
    pub region: RegionId,
    /// The camera.
    pub camera: CameraId,
    /// Begin of the event.
    pub begin_time: Timestamp,
    /// Its end so far.
    pub end_time: Timestamp,
    /// As read.
    pub plate: String,
    /// That all of it is right, 0..1.
    pub confidence: f32,
    /// Where the vehicle, or the camera, was.
    pub location: Option<GeoPoint>,
}

impl Sighting {
    fn place(&self) -> (&RegionId, &CameraId) {
        (&self.region, &self.camera)
    }

    fn order(&self) -> (Timestamp, EventId) {
        (self.begin_time, self.event)
    }
}

/// One vehicle's way past several cameras.
#[derive(Debug, Clone, PartialEq)]
pub struct Journey {
    /// Its plate.
    pub plate: String,
    /// In time order.
    pub sightings: Vec<Sighting>,
}

impl Journey {
    /// Different cameras that saw it.
    pub fn cameras(&self) -> usize {
        self.sightings.iter().map(Sighting::place).collect::<HashSet<_>>().len()
    }
}

/// The journeys among `sightings`, the latest first: stretches of sightings of one vehicle in which each belongs to some span
/// with enough cameras. Each sighting is in one journey at most. Sorting apart, the work is one pass over them.
pub fn journeys(question: &JourneyQuestion, sightings: impl IntoIterator<Item = Sighting>) -> Vec<Journey> {
    let mut vehicles: BTreeMap<String, Vec<Sighting>> = BTreeMap::new();
    for sighting in sightings {
        vehicles.entry(question.vehicle(&sighting.plate).to_owned()).or_default().push(sighting);
    }
    let mut journeys = Vec::new();
    for (plate, mut sightings) in vehicles {
        sightings.sort_by_key(Sighting::order);
        if question.sightings_alone {
            journeys.push(Journey { plate, sightings });
            continue;
        }
        let (begin, place) = (|s: &Sighting| s.begin_time, Sighting::place);
        let stretches = stretches(&sightings, begin, place, question.span, question.min_cameras);
        journeys.extend(
            stretches.into_iter().map(|range| Journey { plate: plate.clone(), sightings: sightings[range].to_vec() }),
        );
    }
    journeys.sort_by_key(|journey| std::cmp::Reverse(journey.sightings.last().map(Sighting::order)));
    journeys
}

/// Spans that begin with a sighting and hold enough cameras; those that share one are one.
pub(super) fn stretches<'s, T, P: Eq + Hash>(
    sightings: &'s [T],
    begin: impl Fn(&'s T) -> Timestamp,
    place: impl Fn(&'s T) -> P,
    span: Duration,
    min_cameras: usize,
) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut inside: HashMap<_, usize> = HashMap::new();
    let mut end = 0;
    for (start, first) in sightings.iter().enumerate() {
        while let Some(next) = sightings.get(end).filter(|next| begin(next) <= begin(first) + span) {
            *inside.entry(place(next)).or_default() += 1;
            end += 1;
        }
        if inside.len() >= min_cameras {
            match found.last_mut().filter(|last| last.end > start) {
                Some(last) => last.end = end,
                None => found.push(start..end),
            }
        }
        if let Entry::Occupied(mut left) = inside.entry(place(first)) {
            *left.get_mut() -= 1;
            if *left.get() == 0 {
                left.remove();
            }
        }
    }
    found
}

/// The moment from which on all was looked at, where of sightings, newest first, only the first `most` are. What began at the
/// same moment as the last of them is left out with the rest: there may be more of it.
pub fn looked_from(newest_first: &[Sighting], most: usize) -> Option<Timestamp> {
    let last = newest_first.get(..most)?.last()?;
    (newest_first.len() > most).then(|| last.begin_time + Duration::from_micros(1))
}

/// An answer's journeys for the wire, and whether some were left out.
pub fn journeys_to_wire(question: &JourneyQuestion, mut journeys: Vec<Journey>) -> (Vec<v1::Journey>, bool) {
    let most = if question.sightings_alone { usize::MAX } else { MAX_TOLD };
    let mut truncated = false;
    if !question.sightings_alone {
        truncated = journeys.len() > question.max_journeys;
        journeys.truncate(question.max_journeys);
    }
    let to_wire = |journey: Journey| {
        truncated |= journey.sightings.len() > most;
        let cameras = journey.cameras() as u32;
        let sightings = journey.sightings.iter().take(most).map(sighting_to_wire).collect();
        v1::Journey { plate: journey.plate, sightings, cameras }
    };
    (journeys.into_iter().map(to_wire).collect(), truncated)
}

/// All sightings of journeys from the wire, each checked.
pub fn journeys_from_wire(journeys: Vec<v1::Journey>) -> Result<Vec<Sighting>, WireError> {
    let sightings = journeys.into_iter().flat_map(|journey| journey.sightings);
    sightings.map(|sighting| sighting_from_wire(sighting).map_err(|e| e.within("sightings"))).collect()
}

fn sighting_to_wire(sighting: &Sighting) -> v1::Sighting {
    v1::Sighting {
        event_id: sighting.event.to_string(),
        region_id: sighting.region.to_string(),
        camera_id: sighting.camera.to_string(),
        begin_time: Some(time_to_wire(sighting.begin_time)),
        end_time: Some(time_to_wire(sighting.end_time)),
        plate: sighting.plate.clone(),
        confidence: sighting.confidence,
        location: sighting.location.map(geo_to_wire),
    }
}

fn sighting_from_wire(wire: v1::Sighting) -> Result<Sighting, WireError> {
    Ok(Sighting {
        event: wire.event_id.parse().map_err(|e| WireError::new("event_id", e))?,
        region: RegionId::new(&wire.region_id).map_err(|e| WireError::new("region_id", e))?,
        camera: CameraId::new(&wire.camera_id).map_err(|e| WireError::new("camera_id", e))?,
        begin_time: required_time("begin_time", wire.begin_time)?,
        end_time: required_time("end_time", wire.end_time)?,
        plate: bounded_text("plate", wire.plate, vigil_base::event::MAX_PLATE_BYTES)?,
        confidence: share("confidence", wire.confidence)?,
        location: wire.location.map(|at| geo_from_wire("location", at)).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Filter, PlateMatch, PlatePattern};
    use super::*;

    fn sighting(plate: &str, camera: u8, second: i64) -> Sighting {
        let begin_time = Timestamp::from_micros((1_700_000_000 + second) * 1_000_000);
        Sighting {
            event: EventId::at(begin_time),
            region: RegionId::new(if camera < 3 { "north" } else { "south" }).unwrap(),
            camera: CameraId::new(format!("gate-{}", camera % 3)).unwrap(),
            begin_time,
            end_time: begin_time + Duration::from_secs(4),
            plate: plate.to_owned(),
            confidence: 0.5,
            location: None,
        }
    }

    fn question(span_s: u64, min_cameras: usize) -> JourneyQuestion {
        let filter = Filter { plate: Some(PlatePattern::ANY), ..Filter::default() };
        let span = Duration::from_secs(span_s);
        JourneyQuestion { filter, span, min_cameras, max_journeys: 100, sightings_alone: false }
    }

    /// Word by word: a sighting counts when some span holds it and enough cameras; two belong together when such a span holds
    /// both, or a row of spans that share sightings leads from one to the other.
    fn model(sightings: &[Sighting], span: Duration, min_cameras: usize) -> Vec<Vec<EventId>> {
        let mut groups: Vec<Vec<EventId>> = Vec::new();
        for first in sightings {
            let holds = |s: &&Sighting| s.begin_time >= first.begin_time && s.begin_time <= first.begin_time + span;
            let within: Vec<&Sighting> = sightings.iter().filter(holds).collect();
            if within.iter().map(|s| s.place()).collect::<HashSet<_>>().len() < min_cameras {
                continue;
            }
            let mut group: Vec<EventId> = within.iter().map(|s| s.event).collect();
            groups.retain(|other| {
                let shares = other.iter().any(|id| group.contains(id));
                if shares {
                    group.extend(other);
                }
                !shares
            });
            group.sort();
            group.dedup();
            groups.push(group);
        }
        groups.sort();
        groups
    }

    proptest! {
        #[test]
        fn journeys_are_those_of_the_definition(
            seen in prop::collection::vec((prop::sample::select(vec!["AB1", "CD2"]), 0u8..6, 0i64..200), 0..40),
            span_s in 1u64..60,
            min_cameras in 2usize..4,
        ) {
            // Events of one moment have ids of any order; the model does not look at it.
            let sightings: Vec<Sighting> = seen.into_iter().map(|(plate, camera, s)| sighting(plate, camera, s)).collect();
            let question = question(span_s, min_cameras);
            let found = journeys(&question, sightings.clone());
            let last = |journey: &Journey| journey.sightings.last().unwrap().order();
            prop_assert!(found.is_sorted_by_key(|journey| std::cmp::Reverse(last(journey))));
            for plate in ["AB1", "CD2"] {
                let own: Vec<Sighting> = sightings.iter().filter(|s| s.plate == plate).cloned().collect();
                let mut ids: Vec<Vec<EventId>> = found
                    .iter()
                    .filter(|journey| journey.plate == plate)
                    .map(|journey| {
                        assert!(journey.cameras() >= min_cameras && journey.sightings.is_sorted_by_key(Sighting::order));
                        let mut ids: Vec<EventId> = journey.sightings.iter().map(|s| s.event).collect();
                        ids.sort();
                        ids
                    })
                    .collect();
                ids.sort();
                prop_assert_eq!(ids, model(&own, question.span, min_cameras));
            }
        }

        #[test]
        fn sightings_told_alone_give_the_same_journeys_wherever_they_are_merged(
            seen in prop::collection::vec((prop::sample::select(vec!["AB1", "CD2"]), 0u8..6, 0i64..200), 0..40),
            span_s in 1u64..60,
        ) {
            let all: Vec<Sighting> = seen.into_iter().map(|(plate, camera, s)| sighting(plate, camera, s)).collect();
            let asked = question(span_s, 2);
            let alone = JourneyQuestion { sightings_alone: true, ..asked.clone() };
            let mut gathered = Vec::new();
            for region in ["north", "south"] {
                let own = all.iter().filter(|s| s.region.as_str() == region).cloned();
                let (wire, truncated) = journeys_to_wire(&alone, journeys(&alone, own));
                prop_assert!(!truncated);
                gathered.extend(journeys_from_wire(wire).unwrap());
            }
            prop_assert_eq!(journeys(&asked, gathered), journeys(&asked, all));
        }
    }

    #[test]
    fn one_wrong_character_makes_no_other_vehicle_when_it_is_asked_for() {
        let seen = || [sighting("BAB12", 0, 0), sighting("8AB12", 1, 10), sighting("BAB12", 4, 20)];
        assert_eq!(journeys(&question(60, 3), seen()), []);
        let pattern = PlatePattern::new("BAB12", PlateMatch::OneWrong).unwrap();
        let filter = Filter { plate: Some(pattern), ..Filter::default() };
        let found = journeys(&JourneyQuestion { filter, ..question(60, 3) }, seen());
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].plate.as_str(), found[0].sightings.len(), found[0].cameras()), ("BAB12", 3, 3));
    }

    #[test]
    fn what_was_left_out_is_said() {
        let newest_first = [sighting("A", 0, 9), sighting("A", 1, 7), sighting("A", 2, 7), sighting("A", 0, 1)];
        assert_eq!(looked_from(&newest_first, 4), None);
        let cut = looked_from(&newest_first, 2).unwrap();
        assert_eq!(newest_first.iter().filter(|s| s.begin_time >= cut).count(), 1, "two more began at that moment");
        let many: Vec<Sighting> = (0..1_500).map(|i| sighting("A", (i % 3) as u8, i)).collect();
        let asked = question(60, 2);
        let (wire, truncated) = journeys_to_wire(&asked, journeys(&asked, many));
        assert!(truncated);
        assert_eq!((wire.len(), wire[0].sightings.len(), wire[0].cameras), (1, MAX_TOLD, 3));
    }
}
