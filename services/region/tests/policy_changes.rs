//! A policy that changes while the region runs, one that is wrong, and what a rule asks of who asks.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use std::time::Duration;

use tonic::Code;
use vigil_base::event::Event;
use vigil_proto::v1;
use vigil_proto::v1::subscribe_response::Message;
use vigil_region::{RegionConfig, RegionError, RegionServer};
use vigil_serve::error::chain;

use common::policy::{Guarded, Who};
use common::server::{Subscription, eventually, reason};
use common::{camera, event, plate, region, secs};

const EVERYTHING: &str = "[[rules]]\nid = 'all'\ngrants = ['everything']\n";
const NO_PLATES: &str = "contact = 'the desk'\n[[rules]]\nid = 'no plates'\ngrants = ['events', 'live', 'counts']\n";
const GATES_ALONE: &str = "[[groups]]\nid = 'gates'\ncameras = ['gate-*']\n[[rules]]\nid = 'gates'\ncameras = ['gates']\ngrants = ['everything']\n";

fn seen(second: u64, cam: &str) -> Event {
    plate(camera(event(secs(second)), cam), "BAB12")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_stream_follows_another_policy_from_the_next_event_on() {
    let guarded = Guarded::start(EVERYTHING, None).await;
    let mut edge = guarded.region.edge("edge-1").await;
    edge.publish(&[seen(0, "gate-1")]).await;
    let request = v1::SubscribeRequest { start: v1::SubscribeStart::Oldest.into(), ..Default::default() };
    let mut stream = Subscription::open(&guarded.region, request).await.unwrap();
    assert!(stream.event().await.unwrap().plate.is_some());

    guarded.change(NO_PLATES).await;
    let Message::Heartbeat(told) = stream.next().await.unwrap() else { panic!("the change is told at once") };
    let withheld = told.region.unwrap().withheld.unwrap();
    assert!(withheld.what().any(|mark| mark == v1::Withheld::Plate), "{withheld:?}");
    edge.publish(&[seen(1, "gate-1")]).await;
    let event = stream.event().await.unwrap();
    assert!(event.plate.is_none() && event.withheld().any(|mark| mark == v1::Withheld::Plate), "{event:?}");

    guarded.change(GATES_ALONE).await;
    let Message::Heartbeat(told) = stream.next().await.unwrap() else { panic!("the change is told at once") };
    assert_eq!(told.region.unwrap().withheld, None, "no camera is known that is withheld");
    edge.publish(&[seen(2, "yard"), seen(3, "gate-2")]).await;
    let event = stream.event().await.unwrap();
    assert_eq!((event.camera_id.as_str(), event.plate.is_some()), ("gate-2", true), "the yard is passed over");

    // A cursor of before opens nothing that is withheld now.
    let request = v1::SubscribeRequest { start: v1::SubscribeStart::Oldest.into(), ..Default::default() };
    let mut again = Subscription::open(&guarded.region, request).await.unwrap();
    let cameras = [again.event().await.unwrap(), again.event().await.unwrap(), again.event().await.unwrap()];
    assert_eq!(cameras.map(|event| event.camera_id), ["gate-1", "gate-1", "gate-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_token_of_one_who_sees_more_gives_no_more() {
    let text = "[[rules]]\nid = 'alice'\nsubjects = ['alice']\nproved = false\ngrants = ['everything']\n".to_owned()
        + NO_PLATES.trim_start_matches("contact = 'the desk'\n");
    let guarded = Guarded::start(&text, None).await;
    guarded.region.edge("edge-1").await.publish(&(0..6).map(|i| seen(i, "gate-1")).collect::<Vec<_>>()).await;
    let page = |page_token| v1::SearchRequest { page_size: 2, page_token, ..Default::default() };
    let mut query = guarded.region.query();
    let alices = query.search(Who::named("alice").asks(page(String::new()))).await.unwrap().into_inner();
    assert!(alices.events.iter().all(|event| event.plate.is_some()) && alices.regions[0].withheld.is_none());
    let others = query.search(Who::named("bob").asks(page(alices.next_page_token))).await.unwrap().into_inner();
    assert_eq!(others.events.len(), 2);
    assert!(others.events.iter().all(|event| event.plate.is_none()), "{others:?}");
    assert!(others.regions[0].withheld.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_wrong_changes_nothing_and_says_where() {
    let guarded = Guarded::start(NO_PLATES, None).await;
    let before = guarded.region.status().await.policy;
    for (wrong, expected) in [
        ("[[rules]]\nid = 'x'\ngrants = ['plate']\n", "rules[0].grants[0]: is nothing that can be granted"),
        ("[[rules]]\nid = 'x'\ngrant = []\n", "line 3: rules[0].grant: no such key; did you mean grants?"),
        ("[[rules]\n", "is not TOML"),
    ] {
        guarded.offer(wrong).await;
        eventually("the mistake is told", async || guarded.region.health().await.contains(expected).then_some(()))
            .await;
        assert_eq!(guarded.region.status().await.policy, before);
    }
    std::fs::remove_file(guarded.policy_file()).unwrap();
    guarded.offer_what_is_there().await;
    eventually("that it is gone is told", async || guarded.region.health().await.contains("cannot read").then_some(()))
        .await;
    assert_eq!(guarded.region.status().await.policy, before, "no policy is not what anybody asked for");
    guarded.change(EVERYTHING).await;
    assert!(!guarded.region.health().await.contains("cannot read"), "what is good again is no longer told of");
}

#[tokio::test]
async fn a_region_does_not_start_with_a_policy_that_it_cannot_follow() {
    let temp = tempfile::tempdir().unwrap();
    let policy = temp.path().join("policy.toml");
    std::fs::write(&policy, "[[rules]]\nid = 'x'\ncameras = ['none']\ngrants = []\n").unwrap();
    let config = RegionConfig { policy: Some(policy), ..RegionConfig::local(region(), temp.path().join("data")) };
    let Err(error) = RegionServer::start(config).await else { panic!("it started") };
    assert!(matches!(error, RegionError::Policy(_)), "{error:?}");
    let told = chain(&error);
    assert!(
        told.contains("policy.toml") && told.contains("rules[0].cameras[0]: no group has the id \"none\""),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rule_asks_for_is_said_to_who_could_give_it() {
    let text =
        "contact = 'the desk'\n[[rules]]\nid = 'with a case'\npurpose = true\ncase = true\ngrants = ['everything']\n";
    let guarded = Guarded::start(text, None).await;
    let mut edge = guarded.region.edge("edge-1").await;
    edge.publish(&[seen(0, "gate-1")]).await;
    let get = v1::GetEventRequest {
        event_id: guarded
            .region
            .query()
            .search(Who { purpose: true, case: true, ..Who::default() }.asks(v1::SearchRequest::default()))
            .await
            .unwrap()
            .into_inner()
            .events[0]
            .event_id
            .clone(),
        ..Default::default()
    };
    let refused = guarded.region.query().get_event(get.clone()).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::PermissionDenied, "WITHHELD".into()));
    assert!(refused.message().contains("a case number (--case) may give more"), "{refused}");
    let told = guarded.kept_back(Who { purpose: true, ..Who::default() }).await.unwrap();
    assert_eq!((told.cameras, told.hint.as_str()), (1, "a case number (--case) may give more"));
    assert_eq!((told.contact.as_str(), told.policy), ("the desk", guarded.region.status().await.policy));
    assert_eq!(guarded.kept_back(Who { purpose: true, case: true, ..Who::default() }).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_somebody_is_counts_only_where_it_is_proved() {
    let said = "[[rules]]\nid = 'alice'\nsubjects = ['vigil://operator/alice']\ngrants = ['everything']\n";
    let guarded = Guarded::start(said, None).await;
    guarded.region.edge("edge-1").await.publish(&[seen(0, "gate-1")]).await;
    let alice = Who::named("vigil://operator/alice");
    assert_eq!(guarded.kept_back(alice).await.unwrap().cameras, 1, "anybody can say so");
    guarded.change(&said.replace("grants", "proved = false\ngrants")).await;
    assert_eq!(guarded.kept_back(alice).await, None);
    guarded.clock.advance(Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_of_the_configuration_is_not_taken_over_with_a_policy() {
    let guarded = Guarded::start(NO_PLATES, None).await;
    let before = guarded.region.status().await.policy;
    std::fs::write(guarded.policy_file(), EVERYTHING).unwrap();
    guarded.rewrite_config(|text| text + "retention = '5days'\n");
    guarded.offer_what_is_there().await;
    eventually("it is refused", async || {
        guarded.region.health().await.contains("retention cannot change while the region runs").then_some(())
    })
    .await;
    assert_eq!(guarded.region.status().await.policy, before);
}
