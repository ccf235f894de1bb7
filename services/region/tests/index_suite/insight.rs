//! Questions whose answer is in no single event, over any engine.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use vigil_base::event::Event;
use vigil_base::{CameraId, EventId, Polygon, RuleKind, Timestamp, TrackId};
use vigil_proto::convert::{
    Filter, JourneyQuestion, PlateMatch, PlatePattern, PresenceQuestion, journeys, presence_question_from_wire,
    time_to_wire,
};
use vigil_proto::v1;
use vigil_region::index::Index;
use vigil_region::insight::{presence, sightings, track};

use super::{Engine, degrees, open, plates, store_all};
use crate::common::{NOON, at, camera, class, event, found_by, plate, secs};

const HOURS: Duration = Duration::from_hours(8);

fn asked(plate: Option<PlatePattern>, span: Duration, min_cameras: usize) -> JourneyQuestion {
    let filter = Filter { from: Some(NOON), until: Some(NOON + HOURS), plate, ..Filter::default() };
    JourneyQuestion { filter, span, min_cameras, max_journeys: 100, sightings_alone: false }
}

/// (plate, ids) of journeys.
async fn found(index: &dyn Index, question: &JourneyQuestion) -> Vec<(String, Vec<String>)> {
    let (seen, looked_from) = sightings(index, question, 20_000).await.unwrap();
    assert_eq!(looked_from, None);
    let told = journeys(question, seen).into_iter();
    told.map(|found| (found.plate, found.sightings.iter().map(|seen| seen.event.to_string()).collect())).collect()
}

pub async fn a_plate_at_several_cameras_within_a_time_is_found(engine: &dyn Engine) {
    let index = open(engine);
    let seen = |second, gate, text| plate(camera(event(secs(second)), gate), text);
    let way = [seen(0, "gate-1", "BAB12"), seen(600, "gate-2", "BAB12"), seen(1_200, "gate-3", "BAB12")];
    let misread = seen(1_800, "gate-4", "8AB12");
    let parked = [seen(100, "gate-1", "MXY99"), seen(200, "gate-1", "MXY99"), seen(7_500, "gate-2", "MXY99")];
    store_all(&*index, way.iter().chain(&parked).chain([&misread]).cloned()).await;
    let ids = |events: &[&Event]| -> Vec<String> { events.iter().map(|event| event.id.to_string()).collect() };
    let half_hour = Duration::from_secs(1_800);
    let of_way = ("BAB12".to_owned(), ids(&[&way[0], &way[1], &way[2]]));
    assert_eq!(found(&*index, &asked(Some(PlatePattern::ANY), half_hour, 3)).await, std::slice::from_ref(&of_way));
    assert_eq!(found(&*index, &asked(Some(PlatePattern::ANY), half_hour, 4)).await, []);
    let one_wrong = asked(plates("BAB12", PlateMatch::OneWrong), half_hour, 4);
    assert_eq!(found(&*index, &one_wrong).await, [("BAB12".to_owned(), ids(&[&way[0], &way[1], &way[2], &misread]))]);
    let long = asked(Some(PlatePattern::ANY), Duration::from_hours(3), 2);
    assert_eq!(found(&*index, &long).await.len(), 2, "the parked one drove on");
    // Some of the sightings: what began before the moment told is left out, and nothing else.
    let (some, looked_from) = sightings(&*index, &long, 3).await.unwrap();
    let from = looked_from.unwrap();
    let newest = [&parked[2], &misread, &way[2]];
    let expected: Vec<String> = newest.iter().filter(|e| e.begin_time >= from).map(|e| e.id.to_string()).collect();
    assert!(!expected.is_empty());
    assert_eq!(some.iter().map(|seen| seen.event.to_string()).collect::<Vec<_>>(), expected);
}

pub async fn sightings_agree_with_the_model(engine: &dyn Engine) {
    let mut runner = TestRunner::new(Config::default());
    let (index, mut model) = (open(engine), BTreeMap::new());
    let one = (0u64..20_000, 0u8..5, prop::sample::select(vec!["BAB12", "8AB12", "BAB1", "MXY99"]), 0u64..90);
    let some = prop::collection::vec(one, 8);
    let question = (
        prop::sample::select(vec!["BAB12", "BAB", ""]),
        prop::sample::select(vec![PlateMatch::Prefix, PlateMatch::OneWrong, PlateMatch::Any]),
        60u64..4_000,
        2usize..4,
        1usize..60,
    );
    for _ in 0..12 {
        let (new, (text, how, span, min_cameras, most)) = (&some, &question).new_tree(&mut runner).unwrap().current();
        let new: Vec<Event> = new
            .into_iter()
            // Few begins, so that some are the same.
            .map(|(s, gate, text, long)| {
                let begin = secs(s / 100 * 100);
                let seen = plate(camera(event(begin), &format!("gate-{gate}")), text);
                Event { end_time: begin + Duration::from_secs(long), ..seen }
            })
            .collect();
        model.extend(new.iter().map(|event| (event.id, event.clone())));
        store_all(&*index, new).await;
        let Ok(pattern) = PlatePattern::new(text, how) else { continue };
        let question = asked(Some(pattern), Duration::from_secs(span), min_cameras);
        let (seen, looked_from) = sightings(&*index, &question, most).await.unwrap();
        let mut expected: Vec<&Event> = model.values().filter(|event| question.filter.matches(event)).collect();
        expected.sort_by_key(|event| std::cmp::Reverse((event.begin_time, event.id)));
        assert_eq!(looked_from.is_some(), expected.len() > most, "{question:?}");
        let from = looked_from.unwrap_or(Timestamp::MIN);
        let expected: Vec<_> = expected.into_iter().filter(|event| event.begin_time >= from).map(|e| e.id).collect();
        assert_eq!(seen.iter().map(|seen| seen.event).collect::<Vec<_>>(), expected, "{question:?}");
    }
}

async fn told_of(index: &dyn Index, id: EventId) -> v1::GetTrackResponse {
    track(index, index.event(id).await.unwrap().unwrap()).await.unwrap()
}

pub async fn a_track_is_its_object_and_what_rules_found_meanwhile(engine: &dyn Engine) {
    let index = open(engine);
    let of = |made: Event, track: u64| Event { track: TrackId(track), ..made };
    let object = Event { end_time: secs(60), ..of(event(secs(0)), 4) };
    let entered = found_by(of(event(secs(20)), 4), RuleKind::Entered, "in", Some("door"));
    let loitering = found_by(of(event(secs(30)), 4), RuleKind::Loitering, "stay", Some("yard"));
    let others = [
        of(event(secs(5)), 5),
        found_by(of(event(secs(25)), 5), RuleKind::Entered, "in", Some("door")),
        camera(of(event(secs(10)), 4), "gate-2"),
        // The same number after the edge was started again.
        of(event(secs(100)), 4),
    ];
    let all = [&object, &entered, &loitering].into_iter().chain(&others);
    store_all(&*index, all.cloned()).await;
    for id in [object.id, entered.id, loitering.id] {
        let told = told_of(&*index, id).await;
        assert_eq!(told.object.as_ref().unwrap().event_id, object.id.to_string());
        let findings: Vec<&str> = told.findings.iter().map(|event| event.event_id.as_str()).collect();
        assert_eq!(findings, [entered.id.to_string(), loitering.id.to_string()]);
        let times: Vec<_> = told.path.iter().map(|point| point.time.unwrap().seconds).collect();
        assert_eq!(times.len(), 24);
        assert!(times.is_sorted_by(|a, b| a < b));
        // Where each of the three was last on the ground, in the order of their ends.
        let ends: Vec<_> = told.ground.iter().map(|fix| fix.time.unwrap()).collect();
        assert_eq!(ends, [secs(30), secs(40), secs(60)].map(time_to_wire));
        assert_eq!(told.ground[2].position.unwrap().error_metres, 0.25);
        assert!(!told.truncated);
    }
    let alone = found_by(of(event(secs(200)), 0), RuleKind::CameraTampered, "tampered", None);
    store_all(&*index, [alone.clone()]).await;
    let told = told_of(&*index, alone.id).await;
    assert_eq!((told.object, told.findings.len()), (None, 1));
}

fn presence_of(gate: &str, from: Timestamp, until: Timestamp) -> PresenceQuestion {
    let wire = v1::GetPresenceRequest {
        camera_id: gate.to_owned(),
        from: Some(time_to_wire(from)),
        until: Some(time_to_wire(until)),
        columns: 10,
        rows: 5,
        ..Default::default()
    };
    presence_question_from_wire(wire).unwrap()
}

pub async fn presence_is_the_objects_time_within_the_question_by_class(engine: &dyn Engine) {
    let index = open(engine);
    // Each lasts ten seconds; a rule's events are about the same objects.
    let people = (0..30u64).map(|i| event(secs(i * 100)));
    let cars = (0..5u64).map(|i| class(event(secs(i * 500)), "car"));
    let found = (0..5u64).map(|i| found_by(event(secs(i * 100)), RuleKind::Entered, "in", Some("door")));
    let elsewhere = (0..5u64).map(|i| camera(event(secs(i)), "gate-2"));
    store_all(&*index, people.chain(cars).chain(found).chain(elsewhere)).await;
    let question = presence_of("gate-1", secs(5), at(HOURS));
    let (classes, looked_from) = presence(&*index, &question).await.unwrap();
    assert_eq!(looked_from, None);
    let sums: Vec<(&str, u64, f32)> =
        classes.iter().map(|c| (c.object_class.as_str(), c.events, c.seconds.iter().sum())).collect();
    let [(car, 5, car_s), (person, 30, person_s)] = sums[..] else { panic!("{sums:?}") };
    assert_eq!((car, person), ("car", "person"));
    assert!((car_s - 45.0).abs() < 1e-3 && (person_s - 295.0).abs() < 1e-2, "{sums:?}");
    // The feet of these events walk along the line y = 0.75.
    let row = |class: &v1::ClassPresence, row: usize| class.seconds[row * 10..(row + 1) * 10].iter().sum::<f32>();
    assert!((row(&classes[1], 3) - 295.0).abs() < 1e-2, "{:?}", classes[1]);
    let of_cars =
        PresenceQuestion { filter: Filter { classes: vec!["car".into()], ..question.filter.clone() }, ..question };
    assert_eq!(presence(&*index, &of_cars).await.unwrap().0.len(), 1);
    assert_eq!(presence(&*index, &presence_of("gate-9", NOON, at(HOURS))).await.unwrap().0, []);
}

pub async fn plates_are_found_with_any_other_condition(engine: &dyn Engine) {
    let index = open(engine);
    let seen: Vec<Event> = (0..300u64)
        .map(|i| {
            let made =
                camera(class(event(secs(i * 60)), if i % 2 == 0 { "car" } else { "bus" }), &format!("gate-{}", i % 4));
            let made = plate(made, &format!("B{}{:03}", if i % 3 == 0 { "AB" } else { "CD" }, i % 150));
            // Some stay for hours.
            Event { end_time: made.begin_time + Duration::from_secs(if i % 7 == 0 { 20_000 } else { 10 }), ..made }
        })
        .collect();
    store_all(&*index, seen.clone()).await;
    let here = Polygon::new(vec![degrees(52.0, 13.0), degrees(52.0, 14.0), degrees(53.0, 14.0), degrees(53.0, 13.0)]);
    let gate = || vec![CameraId::new("gate-1").unwrap()];
    for (text, how) in [
        ("AB", PlateMatch::Part),
        ("BAB003", PlateMatch::Exact),
        ("BAB003", PlateMatch::OneWrong),
        ("BCD", PlateMatch::Prefix),
        ("03", PlateMatch::Part),
        ("B", PlateMatch::Part),
        ("ZZ", PlateMatch::Part),
    ] {
        let plain = Filter { plate: plates(text, how), ..Filter::default() };
        let filters = [
            plain.clone(),
            Filter { cameras: gate(), ..plain.clone() },
            Filter { classes: vec!["bus".into()], area: here.clone(), ..plain.clone() },
            Filter { from: Some(secs(9_000)), until: Some(secs(12_000)), ..plain },
        ];
        for filter in filters {
            let mut expected: Vec<&Event> = seen.iter().filter(|event| filter.matches(event)).collect();
            expected.sort_by_key(|event| std::cmp::Reverse((event.begin_time, event.id)));
            let expected: Vec<String> = expected.into_iter().map(|event| event.id.to_string()).collect();
            assert_eq!(super::ids(&super::find(&*index, filter.clone()).await), expected, "{filter:?}");
        }
    }
}
