//! Publishers that send revisions of the same events at once: what one group decides, the next must know.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use vigil_base::EventId;
use vigil_base::event::Event;
use vigil_proto::convert::{Filter, PlateMatch, PlatePattern};
use vigil_region::index::{CountQuery, GroupKey, Index, NewRevision, StoreOutcome};

use super::{Engine, find, open};
use crate::common::{camera, class, event, plate, secs};

const EVENTS: usize = 24;
const REVISIONS: u32 = 40;
const PUBLISHERS: u64 = 8;
const CLASSES: [&str; 3] = ["person", "car", "bicycle"];
const PLATES: [&str; 5] = ["AA 111", "AB 112", "BB 211", "BC 212", "CC 311"];

/// What revision `number` of an event says; who sends it makes no difference.
fn revision(first: &Event, number: u32) -> NewRevision {
    let mut random = StdRng::seed_from_u64(u64::from(number) ^ u64::from(first.id.as_bytes()[15]) << 8);
    let changed = class(first.clone(), CLASSES[random.random_range(0..CLASSES.len())]);
    let changed = plate(changed, PLATES[random.random_range(0..PLATES.len())]);
    NewRevision::new(Event { revision: number, confidence: number as f32 / 100.0, ..changed }, Bytes::new())
}

/// Sends all revisions of all events in an order of its own, in batches; what was accepted, by commit number.
async fn publish(index: Arc<dyn Index>, firsts: Arc<Vec<Event>>, seed: u64) -> BTreeMap<u64, (EventId, u32)> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut all: Vec<(usize, u32)> = (0..EVENTS).flat_map(|event| (1..=REVISIONS).map(move |n| (event, n))).collect();
    // Mostly forwards, or most would be duplicates at once.
    all.sort_by_key(|(_, number)| *number);
    all.chunks_mut(3 * EVENTS).for_each(|some| some.shuffle(&mut random));
    let mut accepted = BTreeMap::new();
    for batch in all.chunks(random.random_range(3..40)) {
        let revisions = batch.iter().map(|(event, number)| revision(&firsts[*event], *number)).collect();
        let outcomes = index.commit(revisions).await.unwrap();
        for (outcome, (event, number)) in outcomes.into_iter().zip(batch) {
            match outcome {
                StoreOutcome::Accepted(seq) => assert!(accepted.insert(seq.0, (firsts[*event].id, *number)).is_none()),
                StoreOutcome::Duplicate => {}
                StoreOutcome::Rejected(why) => panic!("{why}"),
            }
        }
    }
    accepted
}

pub async fn publishers_of_the_same_events_leave_each_once_at_its_last_revision(engine: &dyn Engine) {
    let index = open(engine);
    let firsts = (0..EVENTS).map(|i| camera(event(secs(i as u64 * 400)), ["gate-1", "gate-2"][i % 2]));
    let firsts: Arc<Vec<Event>> = Arc::new(firsts.collect());
    let publishers: Vec<_> =
        (0..PUBLISHERS).map(|seed| tokio::spawn(publish(Arc::clone(&index), Arc::clone(&firsts), seed))).collect();
    let mut accepted: BTreeMap<u64, (EventId, u32)> = BTreeMap::new();
    for publisher in publishers {
        for (seq, what) in publisher.await.unwrap() {
            assert_eq!(accepted.insert(seq, what), None, "commit number {seq} was given twice");
        }
    }
    let latest = index.latest().borrow().0;
    assert_eq!(accepted.keys().copied().collect::<Vec<_>>(), (1..=latest).collect::<Vec<_>>());
    let mut newest: BTreeMap<EventId, u32> = BTreeMap::new();
    for (id, number) in accepted.into_values() {
        assert!(newest.insert(id, number).is_none_or(|before| before < number), "a revision came after a later one");
    }
    assert_eq!(newest.len(), EVENTS);
    assert!(newest.into_values().all(|number| number == REVISIONS));
    assert_last(&*index, &firsts).await;
}

/// Search, counts and plates are those of the last revisions.
async fn assert_last(index: &dyn Index, firsts: &[Event]) {
    let lasts: Vec<NewRevision> = firsts.iter().map(|first| revision(first, REVISIONS)).collect();
    let count = CountQuery { filter: Filter::default(), group_by: vec![GroupKey::Class], max_groups: 10 };
    let counted: BTreeMap<String, u64> = index
        .count(count)
        .await
        .unwrap()
        .groups
        .into_iter()
        .map(|group| (group.class.unwrap(), group.events))
        .collect();
    let mut expected = BTreeMap::new();
    for last in &lasts {
        *expected.entry(last.event().object_class.to_string()).or_default() += 1;
    }
    assert_eq!(counted, expected);
    for text in PLATES {
        let pattern = PlatePattern::new(&text.replace(' ', "")[1..], PlateMatch::Part).ok();
        let found = find(index, Filter { plate: pattern.clone(), ..Filter::default() }).await;
        let meant = lasts.iter().filter(|last| {
            let plate = last.event().plate.as_ref();
            plate.is_some_and(|plate| pattern.as_ref().is_some_and(|pattern| pattern.matches(&plate.text)))
        });
        assert_eq!(found.len(), meant.count(), "{text}");
    }
    for (first, found) in firsts.iter().zip(find(index, Filter::default()).await.iter().rev()) {
        assert_eq!((found.event_id.as_str(), found.revision), (first.id.to_string().as_str(), REVISIONS));
    }
}
