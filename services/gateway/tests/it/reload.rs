//! Regions that are added, moved and taken out while the gateway runs.

use vigil_proto::v1;
use vigil_proto::v1::RegionOutcome::{Answered, Failed};

use crate::support::{FakeRegion, Gateway, Subscriber, event, outcomes, seconds, until};

/// A hundred regions with an event each take no restart.
const MANY: usize = 100;

fn names(answer: &v1::SearchResponse) -> Vec<&str> {
    answer.regions.iter().map(|report| report.region_id.as_str()).collect()
}

async fn searched(gateway: &Gateway, regions: &[&str]) -> v1::SearchResponse {
    until("the change", || gateway.page(0, ""), |answer| names(answer) == regions).await
}

#[tokio::test]
async fn a_region_is_added_and_another_taken_out_without_a_restart() {
    let north = FakeRegion::start("north", vec![event("north", 9)]).await;
    let south = FakeRegion::start("south", vec![event("south", 8)]).await;
    let (gateway, file) = Gateway::start_with_file(&[north.named()]).await;
    assert_eq!(seconds(&gateway.page(0, "").await.events), [9]);

    file.change(&[north.named(), south.named()], "").await;
    assert_eq!(seconds(&searched(&gateway, &["north", "south"]).await.events), [9, 8]);
    let calls = north.calls();
    file.change(&[south.named()], "").await;
    assert_eq!(seconds(&searched(&gateway, &["south"]).await.events), [8]);
    assert!(north.calls() <= calls + 1, "who was taken out is not asked");
}

#[tokio::test]
async fn a_live_stream_joins_what_is_added_and_says_what_was_taken_out() {
    let north = FakeRegion::start("north", vec![event("north", 1)]).await;
    let south = FakeRegion::start("south", vec![event("south", 1)]).await;
    let (gateway, file) = Gateway::start_with_file(&[north.named()]).await;
    let mut subscriber = Subscriber::oldest(&gateway).await;
    assert_eq!(subscriber.delivery().await.event.unwrap().region_id, "north");

    file.change(&[north.named(), south.named()], "").await;
    let delivery = subscriber.delivery().await;
    assert_eq!(delivery.event.unwrap().region_id, "south", "it began with the oldest, there too");

    file.change(&[south.named()], "").await;
    let report = subscriber.report_on("north", Failed).await;
    assert!(report.detail.contains("not configured"), "{report:?}");
    south.commit(event("south", 2));
    assert_eq!(subscriber.delivery().await.event.unwrap().begin_time.unwrap().seconds, 2);

    // It comes back, and the stream goes on from its place there.
    north.commit(event("north", 2));
    file.change(&[north.named(), south.named()], "").await;
    let delivery = subscriber.delivery().await.event.unwrap();
    assert_eq!((delivery.region_id.as_str(), delivery.begin_time.unwrap().seconds), ("north", 2));
}

#[tokio::test]
async fn a_region_that_moved_is_asked_at_its_new_address_and_its_stream_goes_on() {
    let old = FakeRegion::start("north", vec![event("north", 1)]).await;
    let new = FakeRegion::start("north", vec![event("north", 1), event("north", 2)]).await;
    let (gateway, file) = Gateway::start_with_file(&[old.named()]).await;
    let mut subscriber = Subscriber::oldest(&gateway).await;
    subscriber.delivery().await;

    file.change(&[new.named()], "").await;
    let delivery = subscriber.delivery().await;
    assert_eq!(delivery.event.unwrap().begin_time.unwrap().seconds, 2, "from its place, not from the beginning");
    let both = |answer: &v1::SearchResponse| answer.events.len() == 2;
    let answer = until("the new address", || gateway.page(0, ""), both).await;
    assert_eq!(outcomes(&answer.regions), [("north", Answered)]);
}

#[tokio::test]
async fn a_configuration_that_is_wrong_changes_nothing_and_says_why() {
    let north = FakeRegion::start("north", vec![event("north", 9)]).await;
    let (gateway, file) = Gateway::start_with_file(&[north.named()]).await;
    let cases = [
        (vec![north.named(), ("north", north.address)], "", "is the id of regions[0] already"),
        (vec![], "", "regions: is missing"),
        (vec![north.named()], "default_deadline = \"9s\"", "default_deadline cannot change while the gateway runs"),
        (vec![north.named()], "deadlines = 1", "deadlines"),
    ];
    for (regions, extra, expected) in cases {
        file.change(&regions, extra).await;
        let shown = until(expected, || gateway.ops("/healthz"), |shown| shown.contains(expected)).await;
        assert!(shown.contains("goes on with the one before"), "{shown}");
        assert_eq!(names(&gateway.page(0, "").await), ["north"]);
    }
    file.change(&[north.named()], "").await;
    until("health", || gateway.ops("/healthz"), |shown| !shown.contains("configuration")).await;
}

#[tokio::test]
async fn a_hundred_regions_are_a_reload() {
    let mut regions = Vec::new();
    for i in 0..MANY {
        let id = format!("r{i:03}");
        regions.push((id.clone(), FakeRegion::start_shared(&id, vec![event(&id, i as i64)]).await));
    }
    let named: Vec<_> = regions.iter().map(|(id, region)| (id.as_str(), region.address)).collect();
    let (gateway, file) = Gateway::start_with_file(&named[..1]).await;
    file.change(&named, "").await;
    let all =
        |answer: &v1::SearchResponse| outcomes(&answer.regions).iter().filter(|one| one.1 == Answered).count() == MANY;
    let answer = until("a hundred answers", || gateway.page(MANY as i32, ""), all).await;
    assert_eq!(answer.events.len(), MANY);
}
