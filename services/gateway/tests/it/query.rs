//! Questions about the past, over regions that are well.

use std::time::Duration;

use tonic::Code;
use tonic_types::StatusExt;
use vigil_base::{Clock, SystemClock};
use vigil_proto::v1;
use vigil_proto::v1::RegionOutcome::{Answered, TimedOut};

use crate::support::{Behaviour, FakeRegion, Gateway, event, outcomes, seconds};

async fn two_regions() -> (FakeRegion, FakeRegion) {
    let north = FakeRegion::start("north", [9, 5, 3].map(|s| event("north", s)).to_vec()).await;
    let south = FakeRegion::start("south", [8, 7, 2].map(|s| event("south", s)).to_vec()).await;
    (north, south)
}

#[tokio::test]
async fn events_of_all_regions_come_newest_first_with_a_report_per_region() {
    let (north, south) = two_regions().await;
    north.set_report(|report| {
        report.complete_until = Some(prost_types::Timestamp { seconds: 42, nanos: 0 });
        report.edges_offline = 3;
    });
    let gateway = Gateway::start(&[south.named(), north.named()]).await;
    let answer = gateway.page(0, "").await;
    assert_eq!(seconds(&answer.events), [9, 8, 7, 5, 3, 2]);
    assert_eq!(outcomes(&answer.regions), [("north", Answered), ("south", Answered)]);
    assert_eq!(answer.regions[0].complete_until.unwrap().seconds, 42);
    assert_eq!(answer.regions[0].edges_offline, 3);
    assert_eq!(answer.regions[1].complete_until, None);
    assert_eq!(answer.next_page_token, "");
}

#[tokio::test]
async fn pages_go_on_where_the_last_one_ended_in_each_region() {
    let (north, south) = two_regions().await;
    let gateway = Gateway::start(&[north.named(), south.named()]).await;
    let (mut token, mut pages) = (String::new(), Vec::new());
    loop {
        let answer = gateway.page(2, &token).await;
        pages.push(seconds(&answer.events));
        token = answer.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(pages, [vec![9, 8], vec![7, 5], vec![3, 2]]);
}

#[tokio::test]
async fn a_search_may_begin_after_a_place_of_the_callers_own() {
    let (north, south) = two_regions().await;
    let gateway = Gateway::start(&[north.named(), south.named()]).await;
    let at = event("elsewhere", 7);
    let after = Some(v1::SearchKey { begin_time: at.begin_time, event_id: at.event_id });
    let mut request = v1::SearchRequest { after, ..Default::default() };
    let answer = gateway.query().search(request.clone()).await.unwrap().into_inner();
    assert!(seconds(&answer.events).iter().all(|s| *s <= 7), "{:?}", seconds(&answer.events));
    request.page_token = "x".into();
    assert_eq!(gateway.query().search(request).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_filter_by_region_asks_no_other() {
    let (north, south) = two_regions().await;
    let gateway = Gateway::start(&[north.named(), south.named()]).await;
    crate::support::until("the first look at south", || async { south.calls() }, |calls| *calls == 1).await;
    let filter = Some(v1::EventFilter { region_ids: vec!["north".into(), "north".into()], ..Default::default() });
    let request = v1::SearchRequest { filter, ..Default::default() };
    let answer = gateway.query().search(request).await.unwrap().into_inner();
    assert_eq!(seconds(&answer.events), [9, 5, 3]);
    assert_eq!(outcomes(&answer.regions), [("north", Answered)]);
    assert_eq!(south.calls(), 1);
}

#[tokio::test]
async fn an_unknown_region_is_refused_by_name_and_the_known_ones_are_told() {
    let (north, south) = two_regions().await;
    let gateway = Gateway::start(&[north.named(), south.named()]).await;
    let filter = Some(v1::EventFilter { region_ids: vec!["nroth".into()], ..Default::default() });
    let request = v1::SearchRequest { filter, ..Default::default() };
    let status = gateway.query().search(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    for name in ["nroth", "north", "south"] {
        assert!(status.message().contains(name), "{status}");
    }
    let details = status.get_error_details();
    assert_eq!(details.bad_request().unwrap().field_violations[0].field, "filter.region_ids");
}

#[tokio::test]
async fn unusable_fields_are_refused_before_any_region_is_asked() {
    let (north, south) = two_regions().await;
    let gateway = Gateway::start(&[north.named(), south.named()]).await;
    let both = || north.calls() + south.calls();
    crate::support::until("the first look at both", || async { both() }, |calls| *calls == 2).await;
    let bad_filter = Some(v1::EventFilter { min_confidence: 2.0, ..Default::default() });
    let negative = v1::SearchRequest { page_size: -1, ..Default::default() };
    let search = v1::SearchRequest { filter: bad_filter.clone(), ..Default::default() };
    let no_range = v1::AggregateRequest { group_by: vec![v1::GroupBy::Hour.into()], ..Default::default() };
    let statuses = [
        gateway.query().search(search).await.unwrap_err(),
        gateway.query().search(negative).await.unwrap_err(),
        gateway.query().aggregate(no_range).await.unwrap_err(),
        gateway
            .query()
            .get_event(v1::GetEventRequest { event_id: "x".into(), ..Default::default() })
            .await
            .unwrap_err(),
        gateway.query().get_thumbnail(v1::GetThumbnailRequest::default()).await.unwrap_err(),
    ];
    let fields = statuses.map(|status| {
        assert_eq!(status.code(), Code::InvalidArgument);
        status.get_error_details().bad_request().unwrap().field_violations[0].field.clone()
    });
    assert_eq!(fields, ["filter.min_confidence", "page_size", "filter.from", "event_id", "region_id"]);
    assert_eq!(both(), 2);
}

#[tokio::test]
async fn a_region_is_given_its_share_of_the_clients_deadline() {
    let north = FakeRegion::start("north", Vec::new()).await;
    let gateway = Gateway::start_with(&[north.named()], |config| config.region_share = 0.5).await;
    crate::support::until("the first look at north", || async { north.calls() }, |calls| *calls == 1).await;
    let mut request = tonic::Request::new(v1::SearchRequest::default());
    request.set_timeout(Duration::from_secs(1));
    gateway.query().search(request).await.unwrap();
    let told = north.timeouts().pop().unwrap();
    let micros: u64 = told.strip_suffix('u').unwrap().parse().unwrap();
    assert!((1..=500_000).contains(&micros), "{told}");
}

#[tokio::test]
async fn an_event_is_found_without_waiting_for_regions_that_do_not_answer() {
    let (north, south) = two_regions().await;
    let gateway = Gateway::start(&[north.named(), south.named()]).await;
    south.behave(Behaviour::Frozen);
    let wanted = event("north", 5);
    let watch = SystemClock::new();
    let request = v1::GetEventRequest { event_id: wanted.event_id.clone(), ..Default::default() };
    let answer = gateway.query().get_event(request).await.unwrap().into_inner();
    assert!(watch.monotonic() < Duration::from_secs(1), "{:?}", watch.monotonic());
    assert_eq!(answer.event, Some(wanted));
    assert_eq!(outcomes(&answer.regions), [("north", Answered)]);
}

#[tokio::test]
async fn an_event_is_said_not_to_exist_only_when_every_region_answered() {
    let (north, south) = two_regions().await;
    let gateway = Gateway::start(&[north.named(), south.named()]).await;
    let request = v1::GetEventRequest { event_id: event("north", 1).event_id, ..Default::default() };
    let status = gateway.query().get_event(request.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    south.behave(Behaviour::Failing(Code::PermissionDenied));
    let status = gateway.query().get_event(request.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("south refused"), "{status}");
    let routed = v1::GetEventRequest { region_id: "north".into(), ..request.clone() };
    assert_eq!(gateway.query().get_event(routed).await.unwrap_err().code(), Code::NotFound);
    let routed = v1::GetEventRequest { region_id: "south".into(), ..request };
    assert_eq!(gateway.query().get_event(routed).await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test]
async fn counts_of_regions_add_up() {
    let (north, south) = two_regions().await;
    south.commit(event("south", 1));
    let gateway = Gateway::start(&[north.named(), south.named()]).await;
    let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let filter = Some(v1::EventFilter { from: at(0), until: at(100), ..Default::default() });
    let ask = async |by: &[v1::GroupBy]| {
        let group_by = by.iter().map(|by| (*by).into()).collect();
        let request = v1::AggregateRequest { filter: filter.clone(), group_by };
        let answer = gateway.query().aggregate(request).await.unwrap().into_inner();
        assert_eq!(outcomes(&answer.regions), [("north", Answered), ("south", Answered)]);
        answer.groups.into_iter().map(|group| (group.region_id, group.object_class, group.count)).collect::<Vec<_>>()
    };
    assert_eq!(ask(&[v1::GroupBy::Class]).await, [(String::new(), "person".into(), 7)]);
    assert_eq!(
        ask(&[v1::GroupBy::Region, v1::GroupBy::Class]).await,
        [("north".into(), "person".into(), 3), ("south".into(), "person".into(), 4)]
    );
}

#[tokio::test]
async fn a_thumbnail_comes_from_the_region_that_has_it() {
    let (north, south) = two_regions().await;
    let gateway = Gateway::start(&[north.named(), south.named()]).await;
    let request = |region: &str| v1::GetThumbnailRequest { thumbnail_key: "k1".into(), region_id: region.into() };
    assert_eq!(gateway.query().get_thumbnail(request("south")).await.unwrap().into_inner().jpeg, "k1");
    let status = gateway.query().get_thumbnail(request("")).await.unwrap_err();
    assert!(status.message().contains("north, south"), "{status}");
}

#[tokio::test]
async fn the_status_of_all_regions_or_of_one() {
    let (north, south) = two_regions().await;
    let gateway = Gateway::start(&[north.named(), south.named()]).await;
    south.behave(Behaviour::Frozen);
    let request = |region: &str| {
        let mut request = tonic::Request::new(v1::GetStatusRequest { region_id: region.into() });
        request.set_timeout(Duration::from_millis(500));
        request
    };
    let answer = gateway.regions().get_status(request("")).await.unwrap().into_inner();
    assert_eq!(
        answer.statuses.iter().map(|status| (&*status.region_id, status.events)).collect::<Vec<_>>(),
        [("north", 3)]
    );
    assert_eq!(outcomes(&answer.regions), [("north", Answered), ("south", TimedOut)]);
    let answer = gateway.regions().get_status(request("north")).await.unwrap().into_inner();
    assert_eq!(outcomes(&answer.regions), [("north", Answered)]);
}
