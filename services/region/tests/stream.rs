//! Subscriptions over gRPC: nothing lost, nothing twice, in commit order, from any cursor.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tonic::Code;
use vigil_base::event::Event;
use vigil_base::{Clock, SimClock, Timestamp};
use vigil_proto::convert::time_to_wire;
use vigil_proto::v1;
use vigil_proto::v1::subscribe_response::Message;
use vigil_region::{Limits, RegionConfig};

use common::server::{Subscription, TestRegion, eventually, heartbeat, reason};
use common::{afternoon, at, camera, class, ended, event, region, secs};

fn from_oldest() -> v1::SubscribeRequest {
    v1::SubscribeRequest { start: v1::SubscribeStart::Oldest.into(), ..Default::default() }
}

fn from_cursor(cursor: &str) -> v1::SubscribeRequest {
    v1::SubscribeRequest { cursor: cursor.to_owned(), ..Default::default() }
}

fn identity(event: &v1::Event) -> (String, u32) {
    (event.event_id.clone(), event.revision)
}

#[tokio::test]
async fn a_subscriber_sees_what_is_committed_after_it_came() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let mut edge = region.edge("edge-1").await;
    edge.publish(&[event(secs(0))]).await;
    let mut live = Subscription::open(&region, v1::SubscribeRequest::default()).await.unwrap();
    let mut all = Subscription::open(&region, from_oldest()).await.unwrap();
    let (first, second) = (event(secs(2)), event(secs(1)));
    edge.publish(&[first.clone(), second.clone(), ended(&first)]).await;
    let expected = [(&first, 1), (&second, 1), (&first, 2)].map(|(event, revision)| (event.id.to_string(), revision));
    for expected in &expected {
        let delivered = live.event().await.unwrap();
        assert_eq!(identity(&delivered), *expected);
        assert!(delivered.receive_time.is_some());
    }
    all.event().await.unwrap();
    assert_eq!(identity(&all.event().await.unwrap()).1, 1);
}

fn from_moment(since: Timestamp) -> v1::SubscribeRequest {
    v1::SubscribeRequest { since: Some(time_to_wire(since)), ..Default::default() }
}

#[tokio::test]
async fn a_stream_from_a_moment_begins_with_the_first_commit_received_since() {
    let temp = tempfile::tempdir().unwrap();
    let clock = afternoon();
    let region = TestRegion::start_with(RegionConfig::local(region(), temp.path()), clock.clone()).await;
    let mut edge = region.edge("edge-1").await;
    let events: Vec<Event> = (0..6).map(|i| event(secs(i))).collect();
    let begun = clock.now();
    for event in &events {
        edge.publish(std::slice::from_ref(event)).await;
        clock.advance(Duration::from_mins(1));
    }
    let moment = begun + Duration::from_mins(3);
    let mut stream = Subscription::open(&region, from_moment(moment)).await.unwrap();
    for expected in &events[3..] {
        assert_eq!(stream.event().await.unwrap().event_id, expected.id.to_string());
    }
    // The cursor of the opening heartbeat is the region's own: it goes on from there.
    let opening = Subscription::open(&region, from_moment(moment)).await.unwrap().cursor;
    let mut resumed = Subscription::open(&region, from_cursor(&opening)).await.unwrap();
    assert_eq!(resumed.event().await.unwrap().event_id, events[3].id.to_string());
    let both = v1::SubscribeRequest { cursor: opening, ..from_moment(begun) };
    let mut resumed = Subscription::open(&region, both).await.unwrap();
    assert_eq!(resumed.event().await.unwrap().event_id, events[3].id.to_string(), "a cursor goes before a moment");
    let mut ahead = Subscription::open(&region, from_moment(moment + Duration::from_hours(1))).await.unwrap();
    let next = event(secs(9));
    edge.publish(std::slice::from_ref(&next)).await;
    assert_eq!(ahead.event().await.unwrap().event_id, next.id.to_string(), "a moment to come is now");
    let year_0 = prost_types::Timestamp { seconds: -62_135_596_800, nanos: 0 };
    let bad = v1::SubscribeRequest { since: Some(year_0), ..Default::default() };
    let error = Subscription::open(&region, bad).await.err().unwrap();
    assert!(error.code() == Code::InvalidArgument && error.message().starts_with("since:"), "{error:?}");
}

#[tokio::test]
async fn a_stream_from_a_moment_misses_nothing_when_the_clock_was_set_back() {
    let temp = tempfile::tempdir().unwrap();
    let clock = afternoon();
    let region = TestRegion::start_with(RegionConfig::local(region(), temp.path()), clock.clone()).await;
    let mut edge = region.edge("edge-1").await;
    let begun = clock.now();
    let minutes = [0, 10, 2, 4, 6];
    let events: Vec<Event> = (0..minutes.len() as u64).map(|i| event(secs(i))).collect();
    for (minute, event) in minutes.into_iter().zip(&events) {
        clock.jump_to(begun + Duration::from_mins(minute));
        edge.publish(std::slice::from_ref(event)).await;
    }
    for (minute, expected) in [(5, 1..5), (10, 1..5), (0, 0..5)] {
        let request = from_moment(begun + Duration::from_mins(minute));
        let mut stream = Subscription::open(&region, request).await.unwrap();
        for expected in &events[expected] {
            assert_eq!(stream.event().await.unwrap().event_id, expected.id.to_string(), "from minute {minute}");
        }
    }
}

#[tokio::test]
async fn a_heartbeat_says_whose_stream_it_is_and_how_fresh() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let report = async || {
        let mut stream = region.stream().subscribe(from_oldest()).await.unwrap().into_inner();
        match stream.message().await.unwrap().unwrap().message {
            Some(Message::Heartbeat(heartbeat)) => heartbeat.region.unwrap(),
            other => panic!("no heartbeat: {other:?}"),
        }
    };
    let first = report().await;
    assert_eq!((first.region_id.as_str(), first.outcome()), ("north", v1::RegionOutcome::Answered));
    assert_eq!((first.complete_until, first.edges_offline), (None, 0));
    let mut edge = region.edge("edge-1").await;
    drop(region.edge("edge-2").await);
    edge.heartbeat(heartbeat(secs(50), secs(40))).await;
    let expected = (Some(time_to_wire(secs(40))), 1);
    let is_known = async || {
        let report = report().await;
        ((report.complete_until, report.edges_offline) == expected).then_some(())
    };
    eventually("the heartbeat of the one edge and the end of the other are known", is_known).await;
}

#[tokio::test]
async fn a_stream_resumed_again_and_again_under_ingest_has_no_gap_and_no_duplicate() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let mut edge = region.edge("edge-1").await;
    let mut cursor = Subscription::open(&region, from_oldest()).await.unwrap().cursor;
    let events: Vec<Event> = (0..3_000).map(|i| event(secs(i % 100))).collect();
    let to_publish = events.clone();
    let publisher = tokio::spawn(async move {
        for batch in to_publish.chunks(37) {
            edge.publish(batch).await;
        }
    });
    let mut delivered = Vec::new();
    // Each connection reads a few events and is dropped in the middle.
    for reads in (1..).map(|round| 1 + round * 13 % 90) {
        let mut subscription = Subscription::open(&region, from_cursor(&cursor)).await.unwrap();
        for _ in 0..reads.min(events.len() - delivered.len()) {
            delivered.push(subscription.event().await.unwrap().event_id);
        }
        cursor = subscription.cursor;
        if delivered.len() == events.len() {
            break;
        }
    }
    publisher.await.unwrap();
    assert_eq!(delivered, events.iter().map(|event| event.id.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_subscriber_that_was_away_gets_the_last_revision_of_what_grew() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let mut edge = region.edge("edge-1").await;
    let (grows, stays) = (event(secs(0)), event(secs(1)));
    let mut subscription = Subscription::open(&region, from_oldest()).await.unwrap();
    edge.publish(&[grows.clone(), stays]).await;
    subscription.event().await.unwrap();
    let cursor = subscription.cursor.clone();
    drop(subscription);
    let mut last = grows;
    for _ in 0..5 {
        last = ended(&last);
        edge.publish(&[last.clone()]).await;
    }
    drop(edge);
    region.stop().await;
    let region = TestRegion::start(temp.path()).await;
    let mut resumed = Subscription::open(&region, from_cursor(&cursor)).await.unwrap();
    let revisions = [resumed.event().await.unwrap().revision, resumed.event().await.unwrap().revision];
    assert_eq!(revisions, [1, 6]);
}

#[tokio::test]
async fn a_filter_lets_through_what_matches_and_its_cursor_is_its_own() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let mut edge = region.edge("edge-1").await;
    let cars = v1::EventFilter { object_classes: vec!["car".into()], ..Default::default() };
    let request = v1::SubscribeRequest { filter: Some(cars.clone()), ..from_oldest() };
    let mut subscription = Subscription::open(&region, request).await.unwrap();
    let car = class(event(secs(5)), "car");
    edge.publish(&[event(secs(0)), car.clone(), event(secs(1))]).await;
    assert_eq!(subscription.event().await.unwrap().event_id, car.id.to_string());
    let other = v1::SubscribeRequest { cursor: subscription.cursor.clone(), ..Default::default() };
    let error = Subscription::open(&region, other).await.err().unwrap();
    assert_eq!(reason(&error), (Code::InvalidArgument, "INVALID_TOKEN".to_owned()));
    let same = v1::SubscribeRequest { filter: Some(cars), cursor: subscription.cursor.clone(), ..Default::default() };
    assert!(Subscription::open(&region, same).await.is_ok());
}

#[tokio::test]
async fn cursors_that_are_forged_or_of_another_region_are_refused() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let north = TestRegion::start(here.path()).await;
    let other = TestRegion::start(there.path()).await;
    let foreign = Subscription::open(&other, from_oldest()).await.unwrap().cursor;
    let mut forged = Subscription::open(&north, from_oldest()).await.unwrap().cursor;
    let last = forged.pop().unwrap();
    forged.push(if last == 'A' { 'B' } else { 'A' });
    for bad in [foreign, forged, "now".to_owned(), "A".repeat(200_000)] {
        let error = Subscription::open(&north, from_cursor(&bad)).await.err().unwrap();
        assert_eq!(reason(&error), (Code::InvalidArgument, "INVALID_TOKEN".to_owned()), "{error:?}");
    }
}

#[tokio::test]
async fn a_filter_for_another_region_delivers_nothing_and_is_no_error() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let filter = v1::EventFilter { region_ids: vec!["south".into()], ..Default::default() };
    let request = v1::SubscribeRequest { filter: Some(filter), ..from_oldest() };
    let mut subscription = Subscription::open(&region, request).await.unwrap();
    region.edge("edge-1").await.publish(&[event(secs(0))]).await;
    let message = subscription.next().await.unwrap();
    assert!(matches!(message, Message::Heartbeat(_)), "{message:?}");
}

#[tokio::test]
async fn retention_that_passed_a_cursor_by_is_told_once_as_a_gap() {
    let temp = tempfile::tempdir().unwrap();
    let clock = SimClock::new(secs(100));
    let (slice, retention) = (Duration::from_hours(1), Duration::from_hours(2));
    let config = || RegionConfig { slice, retention, ..RegionConfig::local(region(), temp.path()) };
    let region = TestRegion::start_with(config(), clock.clone()).await;
    let mut edge = region.edge("edge-1").await;
    let mut subscription = Subscription::open(&region, from_oldest()).await.unwrap();
    edge.publish(&[event(secs(0)), event(secs(1)), event(secs(2))]).await;
    subscription.event().await.unwrap();
    let cursor = subscription.cursor.clone();
    drop((edge, subscription));
    region.stop().await;

    clock.advance(Duration::from_hours(5));
    // Retention runs when a region starts.
    let region = TestRegion::start_with(config(), clock.clone()).await;
    let young = event(at(Duration::from_hours(5)));
    let young_id = young.id.to_string();
    eventually("retention has run", async || (region.status().await.events == 0).then_some(())).await;
    let since = Subscription::open(&region, from_moment(secs(100))).await.unwrap().next().await.unwrap();
    assert!(matches!(since, Message::Gap(_)), "events received since that moment are gone: {since:?}");
    let mut resumed = Subscription::open(&region, from_cursor(&cursor)).await.unwrap();
    let message = resumed.next().await.unwrap();
    assert!(matches!(&message, Message::Gap(gap) if gap.region_id == "north"), "{message:?}");
    region.edge("edge-1").await.publish(&[young]).await;
    let message = resumed.next().await.unwrap();
    assert!(matches!(&message, Message::Delivery(d) if d.event.as_ref().unwrap().event_id == young_id), "{message:?}");

    let mut oldest = Subscription::open(&region, from_oldest()).await.unwrap();
    let message = oldest.next().await.unwrap();
    assert!(
        matches!(message, Message::Delivery(_)),
        "who asks for the oldest that is there misses nothing: {message:?}"
    );
}

#[tokio::test]
async fn a_subscriber_that_takes_nothing_is_ended_and_its_cursor_loses_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let limits = Limits { subscriber_timeout: Duration::from_secs(1), ..Limits::default() };
    let config = RegionConfig { limits, ..RegionConfig::local(region(), temp.path()) };
    let region = TestRegion::start_with(config, afternoon()).await;
    let mut edge = region.edge("edge-1").await;
    let mut slow = Subscription::open(&region, from_oldest()).await.unwrap();
    // More than flow control lets through to a client that does not read.
    let events: Vec<Event> = (0..4_000).map(|i| event(secs(i))).collect();
    for batch in events.chunks(500) {
        edge.publish(batch).await;
    }
    eventually("the subscriber is ended", async || metrics_say_ended(&region).await.then_some(())).await;
    let mut delivered = HashMap::new();
    let error = loop {
        match slow.event().await {
            Ok(event) => *delivered.entry(event.event_id).or_insert(0) += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(reason(&error), (Code::ResourceExhausted, "LIMIT_REACHED".to_owned()));
    let cursor = error.message().rsplit(' ').next().unwrap().to_owned();
    let mut resumed = Subscription::open(&region, from_cursor(&cursor)).await.unwrap();
    while delivered.len() < events.len() {
        *delivered.entry(resumed.event().await.unwrap().event_id).or_insert(0) += 1;
    }
    assert!(delivered.values().all(|times| *times == 1), "delivered twice");
}

/// A subscriber that was ended gives its place back before its client reads why.
async fn metrics_say_ended(region: &TestRegion) -> bool {
    region
        .metrics()
        .await
        .lines()
        .any(|line| line.starts_with("vigil_stream_slow_subscribers_total") && !line.ends_with(" 0"))
}

#[tokio::test]
async fn subscribers_beyond_the_bound_are_refused_until_one_leaves() {
    let temp = tempfile::tempdir().unwrap();
    let limits = Limits { max_subscribers: 2, ..Limits::default() };
    let config = RegionConfig { limits, ..RegionConfig::local(region(), temp.path()) };
    let region = TestRegion::start_with(config, afternoon()).await;
    let first = Subscription::open(&region, from_oldest()).await.unwrap();
    let _second = Subscription::open(&region, from_oldest()).await.unwrap();
    let error = Subscription::open(&region, from_oldest()).await.err().unwrap();
    assert_eq!(reason(&error), (Code::ResourceExhausted, "LIMIT_REACHED".to_owned()));
    drop(first);
    eventually("a place is free", async || Subscription::open(&region, from_oldest()).await.ok()).await;
}

#[tokio::test]
async fn a_region_that_shuts_down_tells_its_subscribers_to_resume() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let mut subscription = Subscription::open(&region, from_oldest()).await.unwrap();
    let stopping = tokio::spawn(region.stop());
    let error = subscription.event().await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error:?}");
    stopping.await.unwrap();
}

#[tokio::test]
async fn many_subscribers_see_the_same_order() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let mut readers = Vec::new();
    for _ in 0..8 {
        let mut subscription = Subscription::open(&region, from_oldest()).await.unwrap();
        readers.push(tokio::spawn(async move {
            let mut seen = Vec::new();
            for _ in 0..800 {
                seen.push(identity(&subscription.event().await.unwrap()));
            }
            seen
        }));
    }
    let mut publishers = Vec::new();
    for number in 0..4 {
        let name = format!("edge-{number}");
        let mut edge = region.edge(&name).await;
        publishers.push(tokio::spawn(async move {
            let edge_id = vigil_base::EdgeId::new(&name).unwrap();
            for batch in 0..20u64 {
                let made = |i| Event { edge: edge_id.clone(), ..camera(event(secs(batch * 10 + i)), &name) };
                edge.publish(&(0..10).map(made).collect::<Vec<_>>()).await;
            }
        }));
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let first = readers.remove(0).await.unwrap();
    assert_eq!(first.iter().collect::<HashSet<_>>().len(), 800);
    for reader in readers {
        assert_eq!(reader.await.unwrap(), first);
    }
}
