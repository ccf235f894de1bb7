//! An index of an earlier version: opening takes it to this one, with all that is new filled from its events.

use std::time::Duration;

use vigil_base::RuleKind;
use vigil_proto::convert::{Filter, PlateMatch};
use vigil_region::index::{CountGroup, CountQuery, GroupKey, Index};

use super::{Engine, find, ids, open, plates, store_all};
use crate::common::{NOON, at, camera, ended, event, found_by, plate, secs};

/// What the version before could not answer, or not so soon.
async fn answers(index: &dyn Index) -> (Vec<CountGroup>, Vec<Vec<String>>) {
    let filter = Filter { from: Some(NOON), until: Some(at(Duration::from_hours(5))), ..Filter::default() };
    let group_by = vec![GroupKey::Zone, GroupKey::Camera, GroupKey::Hour];
    let counts = index.count(CountQuery { filter, group_by, max_groups: 1_000 }).await.unwrap();
    let asked = [
        ("AB", PlateMatch::Part),
        ("B1", PlateMatch::Part),
        ("BA", PlateMatch::Prefix),
        ("BAB1", PlateMatch::OneWrong),
    ];
    let mut found = Vec::new();
    for (text, how) in asked {
        found.push(ids(&find(index, Filter { plate: plates(text, how), ..Filter::default() }).await));
    }
    (counts.groups, found)
}

pub async fn an_index_of_the_version_before_is_taken_to_this_one(engine: &dyn Engine) {
    let index = open(engine);
    let read = ["BAB12", "BAB1", "MXY99", "XAB1"];
    let seen = (0..80u64).map(|i| {
        let made = camera(event(secs(i * 200)), &format!("gate-{}", i % 3));
        let made = plate(made, read[i as usize % read.len()]);
        match i % 5 {
            0 => found_by(made, RuleKind::Entered, "in", Some("door")),
            1 => found_by(made, RuleKind::Loitering, "stay", Some("yard")),
            2 => found_by(made, RuleKind::CameraTampered, "tampered", None),
            _ => made,
        }
    });
    let seen: Vec<_> = seen.collect();
    store_all(&*index, seen.clone()).await;
    store_all(&*index, seen.iter().take(10).map(ended)).await;
    let before = answers(&*index).await;
    assert_eq!(before.0.iter().map(|group| group.events).sum::<u64>(), 80);
    assert!(before.1.iter().all(|found| !found.is_empty()), "{before:?}");
    drop(index);
    engine.take_back_versions();
    let index = open(engine);
    assert_eq!(answers(&*index).await, before);
    store_all(&*index, [plate(event(secs(9)), "BAB1")]).await;
    assert_eq!(answers(&*index).await.1[3].len(), before.1[3].len() + 1);
}
