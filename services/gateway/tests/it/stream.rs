//! One live stream out of many.

use std::collections::BTreeMap;
use std::time::Duration;

use tonic::Code;
use vigil_base::{Clock, SystemClock};
use vigil_proto::convert::time_to_wire;
use vigil_proto::v1;
use vigil_proto::v1::RegionOutcome::{Answered, Failed, Unreachable};
use vigil_proto::v1::subscribe_response::Message;

use crate::support::{Behaviour, FakeRegion, Gateway, Subscriber, event, free_address};

/// An event received just now.
fn fresh(region: &str, second: i64) -> v1::Event {
    v1::Event { receive_time: Some(time_to_wire(SystemClock::new().now())), ..event(region, second) }
}

fn by_region(expected: &[(&str, &[i64])]) -> BTreeMap<String, Vec<i64>> {
    expected.iter().map(|(region, seconds)| ((*region).to_owned(), seconds.to_vec())).collect()
}

async fn two_regions() -> (FakeRegion, FakeRegion) {
    let north = FakeRegion::start("north", [1, 2, 3].map(|s| event("north", s)).to_vec()).await;
    let south = FakeRegion::start("south", [1, 2, 3].map(|s| event("south", s)).to_vec()).await;
    (north, south)
}

#[tokio::test]
async fn after_the_first_heartbeat_nothing_that_is_committed_is_missed() {
    let (north, south) = two_regions().await;
    let gateway = Gateway::start(&[north.named(), south.named()]).await;
    let mut subscriber = Subscriber::start(&gateway, v1::SubscribeRequest::default()).await;
    let mut joined = [subscriber.report().await, subscriber.report().await];
    joined.sort_by(|a, b| a.region_id.cmp(&b.region_id));
    assert_eq!(
        joined.map(|report| (report.region_id.clone(), report.outcome())),
        [("north".into(), Answered), ("south".into(), Answered)]
    );
    subscriber.heartbeat().await;
    north.commit(event("north", 4));
    south.commit(event("south", 4));
    assert_eq!(subscriber.take(2).await.0, by_region(&[("north", &[4]), ("south", &[4])]));
}

#[tokio::test]
async fn a_region_that_joins_says_how_fresh_it_is() {
    let (north, south) = two_regions().await;
    south.set_report(|report| {
        report.complete_until = Some(prost_types::Timestamp { seconds: 42, nanos: 0 });
        report.edges_offline = 3;
    });
    let gateway = Gateway::start(&[north.named(), south.named()]).await;
    let mut subscriber = Subscriber::start(&gateway, v1::SubscribeRequest::default()).await;
    let mut joined = [subscriber.report().await, subscriber.report().await];
    joined.sort_by(|a, b| a.region_id.cmp(&b.region_id));
    let freshness = |report: &v1::RegionReport| (report.complete_until.map(|at| at.seconds), report.edges_offline);
    assert_eq!([freshness(&joined[0]), freshness(&joined[1])], [(None, 0), (Some(42), 3)]);
    let dead = south.kill().await;
    assert_eq!(freshness(&subscriber.report().await), (None, 0), "nothing is known of a region that is gone");
    let _south = dead.restart().await;
    let back = subscriber.report().await;
    assert_eq!((back.outcome(), freshness(&back)), (Answered, (Some(42), 3)));
}

#[tokio::test]
async fn another_region_at_the_address_is_found_out_by_its_first_heartbeat() {
    let (north, south) = two_regions().await;
    south.behave(Behaviour::Named("west"));
    let gateway = Gateway::start(&[north.named(), south.named()]).await;
    let mut subscriber = Subscriber::start(&gateway, v1::SubscribeRequest::default()).await;
    let report = loop {
        let report = subscriber.report().await;
        if report.region_id == "south" {
            break report;
        }
    };
    assert_eq!((report.outcome(), report.retryable), (Failed, false));
    assert!(report.detail.contains("\"west\""), "{}", report.detail);
    subscriber.heartbeat().await;
    north.commit(event("north", 4));
    south.commit(event("south", 4));
    assert_eq!(subscriber.take(1).await.0, by_region(&[("north", &[4])]), "nothing of the other region passes");
}

#[tokio::test]
async fn whichever_cursor_was_kept_the_stream_goes_on_right_after_it() {
    let (north, south) = two_regions().await;
    let gateway = Gateway::start(&[north.named(), south.named()]).await;
    for kept in 1..=6 {
        let (before, cursor) = Subscriber::oldest(&gateway).await.take(kept).await;
        let mut resumed = Subscriber::resume(&gateway, &cursor).await;
        let (mut all, _) = resumed.take(6 - kept).await;
        for (region, seconds) in before {
            let rest = all.remove(&region).unwrap_or_default();
            all.insert(region, [seconds, rest].concat());
        }
        assert_eq!(all, by_region(&[("north", &[1, 2, 3]), ("south", &[1, 2, 3])]), "resumed after {kept}");
    }
}

#[tokio::test]
async fn a_heartbeats_cursor_is_as_good_as_a_deliverys() {
    let (north, south) = two_regions().await;
    let gateway = Gateway::start(&[north.named(), south.named()]).await;
    let cursor = Subscriber::start(&gateway, v1::SubscribeRequest::default()).await.heartbeat().await.cursor;
    north.commit(event("north", 4));
    let mut resumed = Subscriber::resume(&gateway, &cursor).await;
    assert_eq!(resumed.take(1).await.0, by_region(&[("north", &[4])]));
}

#[tokio::test]
async fn a_region_that_could_not_be_reached_at_the_start_delivers_what_it_received_since() {
    let (north, address) = (FakeRegion::start("north", Vec::new()).await, free_address().await);
    let gateway = Gateway::start(&[north.named(), ("south", address)]).await;
    let mut subscriber = Subscriber::start(&gateway, v1::SubscribeRequest::default()).await;
    let cursor = subscriber.heartbeat().await.cursor;
    // While it cannot be reached from here, its edges still can; an event of long ago is no news.
    let south = FakeRegion::start_at(address, "south", vec![event("south", 1), fresh("south", 2)]).await;
    assert_eq!(subscriber.take(1).await.0, by_region(&[("south", &[2])]));
    south.commit(fresh("south", 3));
    assert_eq!(subscriber.take(1).await.0, by_region(&[("south", &[3])]));
    let mut resumed = Subscriber::resume(&gateway, &cursor).await;
    assert_eq!(resumed.take(2).await.0, by_region(&[("south", &[2, 3])]), "the cursor knew it was not reached yet");
}

#[tokio::test]
async fn a_killed_region_is_reported_and_goes_on_where_it_stopped_when_it_is_back() {
    let (north, south) = two_regions().await;
    let gateway = Gateway::start(&[north.named(), south.named()]).await;
    let mut subscriber = Subscriber::oldest(&gateway).await;
    subscriber.take(6).await;
    let dead = south.kill().await;
    let report = subscriber.report().await;
    assert_eq!((report.region_id.as_str(), report.outcome(), report.retryable), ("south", Unreachable, true));
    north.commit(event("north", 4));
    assert_eq!(subscriber.take(1).await.0, by_region(&[("north", &[4])]));
    dead.commit(event("south", 4));
    let south = dead.restart().await;
    let report = subscriber.report().await;
    assert_eq!((report.region_id.as_str(), report.outcome()), ("south", Answered));
    assert_eq!(subscriber.take(1).await.0, by_region(&[("south", &[4])]));
    south.commit(event("south", 5));
    assert_eq!(subscriber.take(1).await.0, by_region(&[("south", &[5])]));
}

#[tokio::test]
async fn broken_streams_lose_and_repeat_nothing() {
    let (north, south) = two_regions().await;
    let gateway = Gateway::start(&[north.named(), south.named()]).await;
    let mut subscriber = Subscriber::oldest(&gateway).await;
    subscriber.take(6).await;
    let mut expected = BTreeMap::<String, Vec<i64>>::new();
    for second in 10..14 {
        north.cut();
        for (region, id) in [(&north, "north"), (&south, "south")] {
            region.commit(event(id, second));
            expected.entry(id.to_owned()).or_default().push(second);
        }
    }
    assert_eq!(subscriber.take(8).await.0, expected);
}

#[tokio::test]
async fn a_regions_gap_reaches_the_subscriber() {
    let (north, south) = two_regions().await;
    let gap = v1::StreamGap {
        region_id: "south".into(),
        resumes_at: Some(prost_types::Timestamp { seconds: 7, nanos: 0 }),
        reason: v1::GapReason::Retention.into(),
    };
    south.set_gap(gap.clone());
    let gateway = Gateway::start(&[north.named(), south.named()]).await;
    let mut subscriber = Subscriber::oldest(&gateway).await;
    let found = loop {
        if let Message::Gap(gap) = subscriber.next().await.unwrap() {
            break gap;
        }
    };
    assert_eq!(found, gap);
}

#[tokio::test]
async fn events_under_another_regions_name_are_not_passed_on() {
    let north = FakeRegion::start("north", vec![event("west", 1)]).await;
    let gateway = Gateway::start(&[north.named()]).await;
    let mut subscriber = Subscriber::oldest(&gateway).await;
    let report = loop {
        let report = subscriber.report().await;
        if report.outcome() != Answered {
            break report;
        }
    };
    assert_eq!(report.outcome(), Failed);
    assert!(report.detail.contains("\"west\""), "{}", report.detail);
}

#[tokio::test]
async fn a_subscriber_that_does_not_read_is_ended_with_its_cursor_and_resumes_there() {
    const EVENTS: i64 = 400;
    // Larger than all that flow control lets lie between a region and a subscriber.
    let large = |second| v1::Event { object_class: "x".repeat(100_000), ..event("north", second) };
    let north = FakeRegion::start("north", (0..EVENTS).map(large).collect()).await;
    let patience = Duration::from_secs(1);
    let gateway = Gateway::start_with(&[north.named()], |config| config.subscriber_patience = patience).await;
    let mut subscriber = Subscriber::oldest(&gateway).await;
    crate::support::until(
        "the end of the slow subscriber",
        || gateway.ops("/metrics"),
        |shown| shown.contains("vigil_gateway_subscribers_too_slow_total 1"),
    )
    .await;
    let (mut seconds, mut cursor) = (Vec::new(), String::new());
    let status = loop {
        match subscriber.next().await {
            Ok(Message::Delivery(delivery)) => {
                seconds.push(delivery.event.unwrap().begin_time.unwrap().seconds);
                cursor = delivery.cursor;
            }
            Ok(_) => {}
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains(&cursor), "{status}");
    assert!(seconds.len() < EVENTS as usize);
    let mut resumed = Subscriber::resume(&gateway, &cursor).await;
    let (rest, _) = resumed.take(EVENTS as usize - seconds.len()).await;
    seconds.extend(&rest["north"]);
    assert_eq!(seconds, (0..EVENTS).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_gateway_that_shuts_down_says_where_to_go_on_and_another_does() {
    let (north, south) = two_regions().await;
    let one = Gateway::start(&[north.named(), south.named()]).await;
    let key = one.key_file();
    let other = Gateway::start_with(&[north.named(), south.named()], |config| config.token_key_file = key).await;
    let mut subscriber = Subscriber::oldest(&one).await;
    let (_, cursor) = subscriber.take(6).await;
    one.server.stop().await;
    let status = loop {
        if let Err(status) = subscriber.next().await {
            break status;
        }
    };
    assert_eq!(status.code(), Code::Unavailable);
    let named = status.message().rsplit(' ').next().unwrap().to_owned();
    north.commit(event("north", 4));
    for cursor in [cursor, named] {
        let mut resumed = Subscriber::resume(&other, &cursor).await;
        assert_eq!(resumed.take(1).await.0, by_region(&[("north", &[4])]));
    }
}

#[tokio::test]
async fn a_filter_by_region_subscribes_to_no_other() {
    let (north, south) = two_regions().await;
    let gateway = Gateway::start(&[north.named(), south.named()]).await;
    let filter = Some(v1::EventFilter { region_ids: vec!["south".into()], min_confidence: 0.5, ..Default::default() });
    let mut subscriber = Subscriber::start(&gateway, v1::SubscribeRequest { filter, ..Default::default() }).await;
    subscriber.heartbeat().await;
    assert!(north.subscriptions().is_empty());
    let passed_on = south.subscriptions()[0].filter.clone().unwrap();
    assert_eq!((passed_on.region_ids, passed_on.min_confidence), (vec!["south".to_owned()], 0.5));
}

#[tokio::test]
async fn unusable_subscriptions_are_refused() {
    let (north, south) = two_regions().await;
    let gateway = Gateway::start_with(&[north.named(), south.named()], |config| config.max_subscriptions = 1).await;
    let unknown = v1::EventFilter { region_ids: vec!["west".into()], ..Default::default() };
    let bad = [
        v1::SubscribeRequest { cursor: "forged".into(), ..Default::default() },
        v1::SubscribeRequest { cursor: gateway.page(1, "").await.next_page_token, ..Default::default() },
        v1::SubscribeRequest { filter: Some(unknown), ..Default::default() },
    ];
    for request in bad {
        assert_eq!(gateway.stream().subscribe(request).await.unwrap_err().code(), Code::InvalidArgument);
    }
    let _first = Subscriber::oldest(&gateway).await;
    let status = gateway.stream().subscribe(v1::SubscribeRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
}
