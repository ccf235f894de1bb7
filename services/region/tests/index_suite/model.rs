//! Searches and counts against a model in memory: random events, revisions, filters and pages.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use vigil_base::event::{Colour, Event, EventKind};
use vigil_base::{CameraId, EdgeId, EventId, GeoPoint, Polygon, RuleId, RuleKind, Timestamp, ZoneId};
use vigil_proto::convert::{Filter, PlateMatch, PlatePattern};
use vigil_region::index::{CountGroup, CountQuery, GroupKey, Index, NewRevision, SearchQuery};

use super::{Engine, colours, degrees, open};
use crate::common::{NOON, camera, class, event, found_by, plate};

/// Random runs over one index that grows from run to run.
const RUNS: u32 = 60;
const EVENTS_PER_RUN: usize = 12;
const QUESTIONS_PER_RUN: usize = 6;

const CAMERAS: [&str; 4] = ["gate-1", "gate-2", "gate-3", "yard"];
const CLASSES: [&str; 3] = ["person", "car", "bicycle"];
const PLATES: [&str; 5] = ["BAB12", "MXY999", "BCD34", "8AB12", "BAB1"];
const COLOURS: [Colour; 3] = [Colour::Red, Colour::Blue, Colour::White];
const KINDS: [RuleKind; 3] = [RuleKind::LineCrossed, RuleKind::Loitering, RuleKind::CameraTampered];
const RULES: [&str; 3] = ["in", "out", "gate-1"];
const ZONES: [&str; 3] = ["door", "yard", "in"];
const HOUR_S: u64 = 3_600;

fn place() -> impl Strategy<Value = GeoPoint> {
    (0u8..5, 0u8..5).prop_map(|(north, east)| degrees(52.0 + f64::from(north) / 4.0, 13.0 + f64::from(east) / 4.0))
}

/// Few begins, so that many are the same; lengths of every span.
fn new_event() -> impl Strategy<Value = Event> {
    let begin_s = prop_oneof![0u64..20, (0..30u64).prop_map(|quarter| quarter * 900)];
    let length_s = prop_oneof![4 => 0u64..90, 1 => 90u64..20_000, 1 => Just(200_000u64)];
    let looks = (
        prop::sample::subsequence(COLOURS.to_vec(), 0..=2),
        prop::option::of(place()),
        prop::option::weighted(0.3, 0..PLATES.len()),
    );
    let who = (0..CAMERAS.len(), 0..CLASSES.len(), 0u8..2, 0u8..=4);
    let found = prop::option::weighted(0.4, (0..KINDS.len(), 0..RULES.len(), prop::option::of(0..ZONES.len())));
    (begin_s, length_s, who, looks, found).prop_map(
        |(begin, length, (cam, cls, edge, confidence), (shades, location, read), found)| {
            let begin = NOON + Duration::from_secs(begin);
            let plain = class(camera(event(begin), CAMERAS[cam]), CLASSES[cls]);
            let made = Event {
                end_time: begin + Duration::from_secs(length),
                edge: EdgeId::new(format!("edge-{edge}")).unwrap(),
                confidence: f32::from(confidence) / 4.0,
                attributes: colours(&shades),
                location,
                ..plain
            };
            let made = read.map_or(made.clone(), |number| plate(made, PLATES[number]));
            let Some((kind, rule, zone)) = found else { return made };
            found_by(made, KINDS[kind], RULES[rule], zone.map(|zone| ZONES[zone]))
        },
    )
}

fn time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        (0..8u64).prop_map(|hour| NOON + Duration::from_secs(hour * HOUR_S)),
        (0..30_000u64).prop_map(|s| NOON + Duration::from_secs(s)),
    ]
}

fn area() -> impl Strategy<Value = Polygon> {
    (place(), 0.1f64..0.8, 0.1f64..0.8).prop_map(|(corner, high, wide)| {
        let GeoPoint { latitude: south, longitude: west } = corner;
        let (south, west) = (south - 0.05, west - 0.05);
        let ring = vec![degrees(south, west), degrees(south, west + wide), degrees(south + high, west + wide / 2.0)];
        Polygon::new(ring).unwrap()
    })
}

fn pattern() -> impl Strategy<Value = PlatePattern> {
    let how = [PlateMatch::Part, PlateMatch::Prefix, PlateMatch::Exact, PlateMatch::OneWrong, PlateMatch::Any];
    let texts = ["", "B", "AB1", "9", "X", "BAB", "BAB12", "BA12", "BAB122", "MXY99", "8AB12"];
    let pair = (prop::sample::select(texts.to_vec()), prop::sample::select(how.to_vec()));
    pair.prop_filter_map("a pattern", |(text, how)| PlatePattern::new(text, how).ok())
}

fn filter() -> impl Strategy<Value = Filter> {
    let when = (prop::option::of(time()), prop::option::of(time()));
    let what = (
        prop::sample::subsequence(CAMERAS.to_vec(), 0..=3),
        prop::sample::subsequence(CLASSES.to_vec(), 0..=2),
        prop::option::weighted(0.2, 0u8..3),
        prop::option::weighted(0.3, prop::sample::select(EventKind::all().collect::<Vec<_>>())),
    );
    let found = (
        prop::option::weighted(0.2, prop::sample::subsequence(RULES.to_vec(), 1..=2)),
        prop::option::weighted(0.2, prop::sample::subsequence(ZONES.to_vec(), 1..=2)),
    );
    let looks = (
        prop::option::weighted(0.3, prop::sample::subsequence(COLOURS.to_vec(), 1..=2)),
        prop::option::weighted(0.3, area()),
        prop::option::weighted(0.2, 1u8..=4),
        prop::option::weighted(0.3, pattern()),
    );
    (when, what, looks, found).prop_map(
        |(when, (cams, classes, edge, kind), (shades, area, confidence, plate), found)| {
            let ((from, until), (rules, zones)) = (when, found);
            let (from, until) = match (from, until) {
                (Some(a), Some(b)) if b <= a => (Some(b), Some(a + Duration::from_micros(1))),
                other => other,
            };
            Filter {
                from,
                until,
                regions: Vec::new(),
                cameras: cams.into_iter().map(|name| CameraId::new(name).unwrap()).collect(),
                edges: edge.map(|number| EdgeId::new(format!("edge-{number}")).unwrap()).into_iter().collect(),
                classes: classes.into_iter().map(str::to_owned).collect(),
                kinds: kind.into_iter().collect(),
                colours: shades.unwrap_or_default(),
                area,
                min_confidence: f32::from(confidence.unwrap_or(0)) / 4.0,
                plate,
                rules: rules.unwrap_or_default().into_iter().map(|name| RuleId::new(name).unwrap()).collect(),
                zones: zones.unwrap_or_default().into_iter().map(|name| ZoneId::new(name).unwrap()).collect(),
            }
        },
    )
}

type Model = BTreeMap<EventId, Event>;

fn expected(model: &Model, filter: &Filter) -> Vec<String> {
    let mut matching: Vec<&Event> = model.values().filter(|event| filter.matches(event)).collect();
    matching.sort_by_key(|event| std::cmp::Reverse((event.begin_time, event.id)));
    matching.into_iter().map(|event| event.id.to_string()).collect()
}

fn expected_counts(model: &Model, filter: &Filter, group_by: &[GroupKey]) -> Vec<CountGroup> {
    let hour_us = HOUR_S as i64 * 1_000_000;
    let mut groups: BTreeMap<Vec<String>, CountGroup> = BTreeMap::new();
    for event in model.values().filter(|event| filter.matches(event)) {
        let hour = Timestamp::from_micros(event.begin_time.as_micros() / hour_us * hour_us);
        let (class, camera) = (event.object_class.to_string(), event.camera.to_string());
        let zone = event.finding.as_ref().and_then(|found| found.zone.as_ref());
        let zone = zone.map(ToString::to_string).unwrap_or_default();
        let key = group_by.iter().map(|by| match by {
            GroupKey::Hour => hour.to_string(),
            GroupKey::Class => class.clone(),
            GroupKey::Camera => camera.clone(),
            GroupKey::Zone => zone.clone(),
        });
        let by = |key| group_by.contains(&key);
        let group = groups.entry(key.collect()).or_insert_with(|| CountGroup {
            hour: by(GroupKey::Hour).then_some(hour),
            class: by(GroupKey::Class).then(|| class.clone()),
            camera: by(GroupKey::Camera).then(|| camera.clone()),
            zone: by(GroupKey::Zone).then(|| zone.clone()),
            events: 0,
        });
        group.events += 1;
    }
    groups.into_values().collect()
}

async fn all_pages(index: &dyn Index, filter: &Filter, page_size: usize) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let query = SearchQuery { filter: filter.clone(), after, max_events: page_size };
        let page = index.search(query).await.unwrap();
        assert!(page.events.len() <= page_size);
        found.extend(page.events.into_iter().map(|event| event.event_id));
        match page.next {
            Some(next) => after = Some(next),
            None => return found,
        }
    }
}

/// What one run adds and asks.
#[derive(Debug)]
struct Run {
    new: Vec<Event>,
    /// Revisions of events that are there: which one, and what it becomes.
    grown: Vec<(prop::sample::Index, Event)>,
    questions: Vec<(Filter, usize, Vec<GroupKey>)>,
}

fn run() -> impl Strategy<Value = Run> {
    let keys =
        prop::sample::subsequence(vec![GroupKey::Hour, GroupKey::Class, GroupKey::Camera, GroupKey::Zone], 0..=4)
            .prop_shuffle();
    (
        prop::collection::vec(new_event(), EVENTS_PER_RUN),
        prop::collection::vec((any::<prop::sample::Index>(), new_event()), EVENTS_PER_RUN / 3),
        prop::collection::vec((filter(), 1usize..20, keys), QUESTIONS_PER_RUN),
    )
        .prop_map(|(new, grown, questions)| Run { new, grown, questions })
}

/// The look of `to` on the identity of `event`.
fn grow(event: &Event, to: Event) -> Event {
    let length = to.end_time.since(to.begin_time);
    Event {
        id: event.id,
        revision: event.revision + 1,
        begin_time: event.begin_time,
        end_time: event.begin_time + length,
        camera: event.camera.clone(),
        ..to
    }
}

pub async fn searches_and_counts_agree_with_the_model(engine: &dyn Engine) {
    let mut runner = TestRunner::new(Config::default());
    let (index, mut model) = (open(engine), Model::new());
    for _ in 0..RUNS {
        let Run { new, grown, questions } = run().new_tree(&mut runner).unwrap().current();
        let grown = grown.into_iter().filter(|_| !model.is_empty()).map(|(which, to)| {
            let event = model.values().nth(which.index(model.len())).unwrap();
            grow(event, to)
        });
        let changes: Vec<Event> = grown.chain(new).collect();
        for change in &changes {
            if model.get(&change.id).is_none_or(|known| known.revision < change.revision) {
                model.insert(change.id, change.clone());
            }
        }
        index.commit(changes.into_iter().map(|event| NewRevision::new(event, Bytes::new())).collect()).await.unwrap();
        for (filter, page_size, group_by) in questions {
            assert_eq!(all_pages(&*index, &filter, page_size).await, expected(&model, &filter), "{filter:#?}");
            let query = CountQuery { filter: filter.clone(), group_by: group_by.clone(), max_groups: 100_000 };
            let counts = index.count(query).await.unwrap();
            assert_eq!(counts.groups, expected_counts(&model, &filter, &group_by), "{filter:#?} by {group_by:?}");
        }
    }
}
