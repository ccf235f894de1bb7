//! Regions that are down, frozen, slow, wrong, or come and go.

use std::time::Duration;

use tonic::Code;
use vigil_base::{Clock, SystemClock};
use vigil_proto::v1;
use vigil_proto::v1::RegionOutcome::{Answered, Denied, Failed, TimedOut, Unreachable};

use crate::support::{Behaviour, FakeRegion, Gateway, RawServer, event, free_address, outcomes, seconds, until};

/// How much later than its deadline an answer may be on a busy machine.
const MARGIN: Duration = Duration::from_millis(400);

async fn north() -> FakeRegion {
    FakeRegion::start("north", [9, 5, 3].map(|s| event("north", s)).to_vec()).await
}

async fn ask_within(gateway: &Gateway, deadline: Duration) -> (v1::SearchResponse, Duration) {
    let mut request = tonic::Request::new(v1::SearchRequest::default());
    request.set_timeout(deadline);
    let watch = SystemClock::new();
    let answer = gateway.query().search(request).await.unwrap().into_inner();
    (answer, watch.monotonic())
}

#[tokio::test]
async fn a_region_down_at_the_start_is_reported_and_joins_when_it_comes_up() {
    let (north, address) = (north().await, free_address().await);
    let gateway = Gateway::start(&[north.named(), ("south", address)]).await;
    let answer = gateway.page(0, "").await;
    assert_eq!(seconds(&answer.events), [9, 5, 3]);
    assert_eq!(outcomes(&answer.regions), [("north", Answered), ("south", Unreachable)]);
    assert!(answer.regions[1].retryable && answer.regions[1].detail.contains("cannot be reached"), "{answer:?}");
    assert_ne!(answer.next_page_token, "", "the next page asks south again");

    let _south = FakeRegion::start_at(address, "south", vec![event("south", 8)]).await;
    let next = until(
        "south's event",
        || gateway.page(0, &answer.next_page_token),
        |page| page.regions.iter().all(|report| report.outcome() == Answered),
    );
    let next = next.await;
    assert_eq!(seconds(&next.events), [8]);
    assert_eq!(next.next_page_token, "");
}

#[tokio::test]
async fn a_region_that_takes_the_connection_and_never_answers_does_not_hold_the_answer_up() {
    let (north, frozen) = (north().await, RawServer::frozen().await);
    let gateway = Gateway::start(&[north.named(), ("south", frozen.address)]).await;
    let deadline = Duration::from_millis(800);
    let (answer, took) = ask_within(&gateway, deadline).await;
    assert!(took < deadline, "{took:?}");
    assert_eq!(seconds(&answer.events), [9, 5, 3]);
    assert_eq!(outcomes(&answer.regions), [("north", Answered), ("south", TimedOut)]);
    let elapsed = answer.regions[1].elapsed.unwrap();
    assert_eq!(elapsed.seconds, 0, "{elapsed:?}");
}

#[tokio::test]
async fn without_a_deadline_of_its_own_a_question_has_the_gateways() {
    let (north, frozen) = (north().await, RawServer::frozen().await);
    let limit = Duration::from_millis(600);
    let regions = [north.named(), ("south", frozen.address)];
    let gateway = Gateway::start_with(&regions, |config| config.default_deadline = limit).await;
    let watch = SystemClock::new();
    let answer = gateway.page(0, "").await;
    assert!(watch.monotonic() < limit + MARGIN, "{:?}", watch.monotonic());
    assert_eq!(outcomes(&answer.regions), [("north", Answered), ("south", TimedOut)]);
}

#[tokio::test]
async fn a_slow_region_that_keeps_the_deadline_is_in_the_answer() {
    let (north, south) = (north().await, FakeRegion::start("south", vec![event("south", 8)]).await);
    south.behave(Behaviour::Slow(Duration::from_millis(300)));
    let gateway = Gateway::start(&[north.named(), south.named()]).await;
    let answer = gateway.page(0, "").await;
    assert_eq!(seconds(&answer.events), [9, 8, 5, 3]);
    assert!(answer.regions[1].elapsed.unwrap().nanos >= 300_000_000);
}

#[tokio::test]
async fn what_a_region_answers_wrongly_is_its_failure_and_nobody_elses() {
    let north = north().await;
    let south = FakeRegion::start("south", [8, 7].map(|s| event("south", s)).to_vec()).await;
    let gateway = Gateway::start(&[north.named(), south.named()]).await;
    let cases = [
        (Behaviour::Named("west"), Failed, "\"west\""),
        (Behaviour::OutOfOrder, Failed, "out of order"),
        (Behaviour::EmptyWithMore, Failed, "empty page"),
        (Behaviour::Oversized, Failed, "too large"),
        (Behaviour::Failing(Code::PermissionDenied), Denied, "as it was told"),
        (Behaviour::Failing(Code::Unauthenticated), Denied, "as it was told"),
        (Behaviour::Failing(Code::Internal), Failed, "as it was told"),
        (Behaviour::Failing(Code::FailedPrecondition), Failed, "as it was told"),
        (Behaviour::Another, Failed, "correct the gateway's configuration"),
    ];
    for (behaviour, outcome, detail) in cases {
        south.behave(behaviour.clone());
        let answer = gateway.page(0, "").await;
        assert_eq!(seconds(&answer.events), [9, 5, 3], "{behaviour:?}");
        assert_eq!(outcomes(&answer.regions), [("north", Answered), ("south", outcome)], "{behaviour:?}");
        assert!(answer.regions[1].detail.contains(detail), "{behaviour:?}: {}", answer.regions[1].detail);
    }
    south.behave(Behaviour::Well);
    assert_eq!(seconds(&gateway.page(0, "").await.events), [9, 8, 7, 5, 3]);
}

#[tokio::test]
async fn a_server_that_speaks_another_protocol_is_unreachable() {
    let (north, garbage) = (north().await, RawServer::saying(b"SSH-2.0-OpenSSH_9.2\r\n").await);
    let gateway = Gateway::start(&[north.named(), ("south", garbage.address)]).await;
    let answer = gateway.page(0, "").await;
    assert_eq!(seconds(&answer.events), [9, 5, 3]);
    assert_eq!(outcomes(&answer.regions), [("north", Answered), ("south", Unreachable)]);
}

#[tokio::test]
async fn a_region_that_keeps_failing_costs_no_more_time_and_is_asked_again_when_it_is_back() {
    let (north, south) = (north().await, FakeRegion::start("south", vec![event("south", 8)]).await);
    let limit = Duration::from_secs(1);
    let regions = [north.named(), south.named()];
    let gateway = Gateway::start_with(&regions, |config| config.default_deadline = limit).await;
    south.behave(Behaviour::Frozen);
    let open = |answer: &v1::SearchResponse| answer.regions[1].outcome() == Unreachable;
    let answer = until("an open circuit", || gateway.page(0, ""), open).await;
    assert!(answer.regions[1].detail.contains("not asked"), "{}", answer.regions[1].detail);
    assert!(answer.regions[1].retryable);

    let watch = SystemClock::new();
    for _ in 0..5 {
        let answer = gateway.page(0, "").await;
        assert_eq!(seconds(&answer.events), [9, 5, 3]);
        assert_ne!(answer.next_page_token, "");
    }
    assert!(watch.monotonic() < limit / 2, "five questions took {:?}", watch.monotonic());
    let shown = gateway.ops("/healthz").await;
    assert!(shown.starts_with("HTTP/1.1 200") && shown.contains("region/south"), "{shown}");
    let shown = gateway.ops("/metrics").await;
    assert!(shown.contains("vigil_gateway_region_circuit_open{region=\"south\"} 1"), "{shown}");

    south.behave(Behaviour::Well);
    let all = |answer: &v1::SearchResponse| answer.events.len() == 4;
    until("a closed circuit", || gateway.page(0, ""), all).await;
    assert!(!gateway.ops("/healthz").await.contains("region/south"));
}

#[tokio::test]
async fn deadlines_too_short_for_anybody_do_not_close_a_region_to_others() {
    let north = north().await;
    let gateway = Gateway::start(&[north.named()]).await;
    north.behave(Behaviour::Slow(Duration::from_millis(700)));
    for _ in 0..5 {
        let (answer, _) = ask_within(&gateway, Duration::from_millis(500)).await;
        assert_eq!(outcomes(&answer.regions), [("north", TimedOut)]);
    }
    assert_eq!(outcomes(&gateway.page(0, "").await.regions), [("north", Answered)]);
}

#[tokio::test]
async fn a_killed_region_loses_no_event_of_a_search_under_way() {
    let (north, south) =
        (north().await, FakeRegion::start("south", [8, 7, 4].map(|s| event("south", s)).to_vec()).await);
    let gateway = Gateway::start(&[north.named(), south.named()]).await;
    let first = gateway.page(2, "").await;
    assert_eq!(seconds(&first.events), [9, 8]);
    let dead = south.kill().await;
    let second = gateway.page(2, &first.next_page_token).await;
    assert_eq!(seconds(&second.events), [5, 3]);
    assert_eq!(outcomes(&second.regions), [("north", Answered), ("south", Unreachable)]);
    let _south = dead.restart().await;
    let both = |page: &v1::SearchResponse| page.next_page_token.is_empty();
    let third = until("south's rest", || gateway.page(5, &second.next_page_token), both).await;
    assert_eq!(seconds(&third.events), [7, 4]);
    assert_eq!(outcomes(&third.regions), [("south", Answered)], "north has nothing more");
}

#[tokio::test]
async fn more_questions_than_there_is_room_for_are_refused_at_once() {
    let north = north().await;
    north.behave(Behaviour::Frozen);
    let gateway = Gateway::start_with(&[north.named()], |config| config.max_concurrent_requests = 2).await;
    let mut client = gateway.query();
    let asked: Vec<_> = (0..3)
        .map(|_| {
            let mut client = gateway.query();
            tokio::spawn(async move { client.search(v1::SearchRequest::default()).await.map(|_| ()) })
        })
        .collect();
    let mut codes = Vec::new();
    for task in asked {
        codes.extend(task.await.unwrap().err().map(|status| status.code()));
    }
    assert_eq!(codes, [Code::ResourceExhausted]);
    client.search(v1::SearchRequest::default()).await.expect("room again");
}

#[tokio::test]
async fn a_question_to_too_many_regions_must_name_fewer() {
    let (north, south) = (north().await, FakeRegion::start("south", Vec::new()).await);
    let regions = [north.named(), south.named()];
    let gateway = Gateway::start_with(&regions, |config| config.max_fan_out = 1).await;
    let status = gateway.query().search(v1::SearchRequest::default()).await.unwrap_err();
    assert!(status.code() == Code::InvalidArgument && status.message().contains("at most 1"), "{status}");
    let filter = Some(v1::EventFilter { region_ids: vec!["south".into()], ..Default::default() });
    gateway.query().search(v1::SearchRequest { filter, ..Default::default() }).await.unwrap();
}

#[tokio::test]
async fn a_malformed_or_oversized_question_is_refused_and_the_next_one_answered() {
    let north = north().await;
    let gateway = Gateway::start(&[north.named()]).await;
    let huge = v1::SearchRequest { page_token: "x".repeat(2 * 1024 * 1024), ..Default::default() };
    let status = gateway.query().search(huge).await.unwrap_err();
    assert!(status.message().contains("too large"), "{status}");
    let long = v1::SearchRequest { page_token: "x".repeat(512 * 1024), ..Default::default() };
    assert_eq!(gateway.query().search(long).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(seconds(&gateway.page(0, "").await.events), [9, 5, 3]);
}
