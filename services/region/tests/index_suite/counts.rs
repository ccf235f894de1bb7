//! Counts: kept ones and those that are looked at give the same.

use std::collections::BTreeMap;
use std::time::Duration;

use vigil_base::event::Event;
use vigil_base::{RuleKind, Timestamp};
use vigil_proto::convert::Filter;
use vigil_region::index::{CountQuery, GroupKey};

use super::{Engine, clock, open, slice_start, store, store_all};
use crate::common::{NOON, camera, class, ended, event, found_by, secs};

pub async fn counts_follow_events_as_they_grow_change_and_go(engine: &dyn Engine) {
    let clock = clock();
    clock.advance(engine.slice());
    let index = engine.open(clock);
    let later = slice_start(engine, 1);
    let first = event(NOON);
    store_all(&*index, [first.clone(), event(NOON), camera(event(later), "gate-2")]).await;
    store(&*index, class(ended(&first), "car")).await;
    let query = |group_by: &[GroupKey]| CountQuery {
        filter: Filter { from: Some(NOON), until: Some(later + Duration::from_hours(24)), ..Filter::default() },
        group_by: group_by.to_vec(),
        max_groups: 100,
    };
    let counts = index.count(query(&[GroupKey::Class, GroupKey::Hour])).await.unwrap();
    let found: Vec<_> =
        counts.groups.iter().map(|g| (g.class.clone().unwrap(), g.hour.unwrap(), g.camera.clone(), g.events)).collect();
    let (car, person) = ("car".to_owned(), "person".to_owned());
    assert_eq!(found, [(car, NOON, None, 1), (person.clone(), NOON, None, 1), (person, later, None, 1)]);
    let counts = index.count(query(&[GroupKey::Camera])).await.unwrap();
    let found: Vec<_> = counts.groups.iter().map(|g| (g.camera.clone().unwrap(), g.events)).collect();
    assert_eq!(found, [("gate-1".to_owned(), 2), ("gate-2".to_owned(), 1)]);
    let counts = index.count(CountQuery { max_groups: 1, ..query(&[GroupKey::Camera]) }).await.unwrap();
    assert_eq!((counts.groups.len(), counts.truncated), (1, true));
    assert_eq!(index.purge(later).await.unwrap(), 2);
    let counts = index.count(query(&[])).await.unwrap();
    assert_eq!(counts.groups.iter().map(|g| g.events).collect::<Vec<_>>(), [1]);
}

/// How many events of each hour, class and zone touch a time.
fn counted(events: &[Event], from: Timestamp, until: Timestamp) -> BTreeMap<(Timestamp, String, String), u64> {
    let mut counts = BTreeMap::new();
    for event in events.iter().filter(|event| event.end_time >= from && event.begin_time < until) {
        let hour = event.begin_time.round_down(Duration::from_hours(1));
        let zone = event.finding.as_ref().and_then(|finding| finding.zone.as_ref()).map(ToString::to_string);
        *counts.entry((hour, event.object_class.to_string(), zone.unwrap_or_default())).or_default() += 1;
    }
    counts
}

pub async fn counts_that_begin_and_end_anywhere_are_those_of_the_events(engine: &dyn Engine) {
    let index = open(engine);
    // Every three minutes less a second for five hours, and on each edge of ten minutes; some of them of a rule in a zone.
    let begins = (0..100).map(|i| i * 179).chain((0..30).map(|i| i * 600));
    let mut events: Vec<Event> = begins.map(|second| event(secs(second))).collect();
    for (i, made) in events.iter_mut().enumerate() {
        let changed = class(made.clone(), ["person", "car", "bus"][i % 3]);
        *made = if i % 4 == 0 { found_by(changed, RuleKind::Entered, "in", Some("door")) } else { changed };
    }
    store_all(&*index, events.clone()).await;
    // A later look changes what some of them are.
    for made in events.iter_mut().step_by(7) {
        *made = class(ended(made), "truck");
    }
    store_all(&*index, events.iter().step_by(7).cloned()).await;
    let edges =
        [0, 1, 599, 600, 601, 1_199, 2_400, 3_599, 3_600, 3_601, 5_000, 7_100, 7_200, 10_799, 12_000, 17_999, 18_100];
    for (i, from) in edges.into_iter().enumerate() {
        for until in &edges[i + 1..] {
            let (from, until) = (secs(from), secs(*until));
            let filter = Filter { from: Some(from), until: Some(until), ..Filter::default() };
            let group_by = vec![GroupKey::Hour, GroupKey::Class, GroupKey::Zone];
            let counts = index.count(CountQuery { filter, group_by, max_groups: 1_000 }).await.unwrap();
            let groups = counts
                .groups
                .into_iter()
                .map(|group| ((group.hour.unwrap(), group.class.unwrap(), group.zone.unwrap()), group.events));
            assert_eq!(groups.collect::<BTreeMap<_, _>>(), counted(&events, from, until), "{from} to {until}");
        }
    }
}
