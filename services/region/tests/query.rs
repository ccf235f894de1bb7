//! Questions over gRPC: pages, tokens, counts, and errors that name the field.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt;
use vigil_base::event::{Event, ModelRef};
use vigil_base::{EventId, SimClock};
use vigil_proto::convert::time_to_wire;
use vigil_proto::v1;
use vigil_region::RegionConfig;

use common::server::{TestRegion, reason};
use common::{NOON, at, camera, class, event, region, secs};

fn field(status: &Status) -> String {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_error_details();
    details.bad_request().map(|bad| bad.field_violations[0].field.clone()).unwrap_or_default()
}

async fn with_events(region: &TestRegion, count: u64) -> Vec<Event> {
    let events: Vec<Event> = (0..count).map(|i| event(secs(i))).collect();
    region.edge("edge-1").await.publish(&events).await;
    events
}

fn search(page_size: i32, page_token: &str) -> v1::SearchRequest {
    v1::SearchRequest { page_size, page_token: page_token.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn pages_come_newest_first_and_end() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let events = with_events(&region, 120).await;
    let first = region.query().search(search(0, "")).await.unwrap().into_inner();
    assert_eq!(first.events.len(), 50, "the default");
    assert_eq!(first.events[0].event_id, events[119].id.to_string());
    let clamped = region.query().search(search(1_000_000, "")).await.unwrap().into_inner();
    assert_eq!((clamped.events.len(), clamped.next_page_token.as_str()), (120, ""));
    assert_eq!(field(&region.query().search(search(-1, "")).await.unwrap_err()), "page_size");
    let all = region.search_all(v1::EventFilter::default(), 7).await;
    let expected: Vec<String> = events.iter().rev().map(|event| event.id.to_string()).collect();
    assert_eq!(all.into_iter().map(|event| event.event_id).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_search_starts_at_a_named_place_too() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let events = with_events(&region, 10).await;
    let page = region.query().search(search(4, "")).await.unwrap().into_inner();
    let place = page.next_after.clone().unwrap();
    assert_eq!(place.event_id, events[6].id.to_string(), "the last event of the page");
    let after = v1::SearchRequest { after: Some(place.clone()), page_size: 100, ..Default::default() };
    let rest = region.query().search(after).await.unwrap().into_inner();
    assert_eq!((rest.events.len(), rest.next_after), (6, None));
    assert_eq!(rest.events[0].event_id, events[5].id.to_string());
    // No event need stand there, and the id may be any UUID.
    let between = v1::SearchKey { begin_time: Some(time_to_wire(secs(3))), event_id: uuid::Uuid::nil().to_string() };
    let request = v1::SearchRequest { after: Some(between), ..Default::default() };
    assert_eq!(region.query().search(request).await.unwrap().into_inner().events.len(), 3);
    let both = v1::SearchRequest { after: Some(place), page_token: page.next_page_token, ..Default::default() };
    assert_eq!(field(&region.query().search(both).await.unwrap_err()), "after");
    let bad = v1::SearchKey { begin_time: Some(time_to_wire(NOON)), event_id: "x".into() };
    let request = v1::SearchRequest { after: Some(bad), ..Default::default() };
    assert_eq!(field(&region.query().search(request).await.unwrap_err()), "after.event_id");
}

#[tokio::test]
async fn page_tokens_are_good_for_their_search_their_region_and_a_day() {
    let (temp, other_temp) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let clock = SimClock::new(secs(100));
    let config = || RegionConfig::local(region(), temp.path());
    let region = TestRegion::start_with(config(), clock.clone()).await;
    let other = TestRegion::start(other_temp.path()).await;
    with_events(&region, 10).await;
    let token = region.query().search(search(4, "")).await.unwrap().into_inner().next_page_token;
    let invalid = (Code::InvalidArgument, "INVALID_TOKEN".to_owned());
    let error = other.query().search(search(4, &token)).await.unwrap_err();
    assert_eq!(reason(&error), invalid);
    let filter = Some(v1::EventFilter { camera_ids: vec!["gate-1".into()], ..Default::default() });
    let error = region.query().search(v1::SearchRequest { filter, ..search(4, &token) }).await.unwrap_err();
    assert_eq!((reason(&error), field(&error).as_str()), (invalid.clone(), "page_token"));
    let mut forged = token.clone().into_bytes();
    forged[20] ^= 1;
    let error = region.query().search(search(4, std::str::from_utf8(&forged).unwrap())).await.unwrap_err();
    assert_eq!(reason(&error), invalid);
    region.stop().await;

    let region = TestRegion::start_with(config(), clock.clone()).await;
    let page = region.query().search(search(4, &token)).await.unwrap().into_inner();
    assert_eq!(page.events.len(), 4, "a token survives a restart");
    clock.advance(Duration::from_hours(25));
    let error = region.query().search(search(4, &token)).await.unwrap_err();
    assert_eq!(reason(&error), (Code::InvalidArgument, "EXPIRED_TOKEN".to_owned()));
}

#[tokio::test]
async fn a_hostile_filter_is_refused_by_the_name_of_its_field() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let none = v1::EventFilter::default;
    let filters = [
        (v1::EventFilter { camera_ids: vec!["' OR 1=1 --".into()], ..none() }, "filter.camera_ids"),
        (v1::EventFilter { camera_ids: vec!["c".into(); 1_001], ..none() }, "filter.camera_ids"),
        (v1::EventFilter { plate: "%_".into(), ..none() }, "filter.plate"),
        (v1::EventFilter { kinds: vec![99], ..none() }, "filter.kinds"),
        (v1::EventFilter { min_confidence: 2.0, ..none() }, "filter.min_confidence"),
        (v1::EventFilter { area: Some(v1::Polygon::default()), ..none() }, "filter.area.points"),
    ];
    for (filter, expected) in filters {
        let request = v1::SearchRequest { filter: Some(filter), ..Default::default() };
        assert_eq!(field(&region.query().search(request).await.unwrap_err()), expected);
    }
}

#[tokio::test]
async fn another_regions_question_gets_an_empty_answer_and_a_report() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    with_events(&region, 3).await;
    let filter = |id: &str| Some(v1::EventFilter { region_ids: vec![id.into()], ..Default::default() });
    let request = v1::SearchRequest { filter: filter("south"), ..Default::default() };
    let answer = region.query().search(request).await.unwrap().into_inner();
    assert_eq!((answer.events.len(), answer.regions[0].region_id.as_str()), (0, "north"));
    assert!(answer.regions[0].elapsed.is_some());
    let request = v1::SearchRequest { filter: filter("north"), ..Default::default() };
    assert_eq!(region.query().search(request).await.unwrap().into_inner().events.len(), 3);
}

#[tokio::test]
async fn one_event_is_found_by_its_id_or_said_to_be_missing() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let events = with_events(&region, 3).await;
    let get = |event_id: String, region_id: &str| v1::GetEventRequest { event_id, region_id: region_id.to_owned() };
    let answer = region.query().get_event(get(events[1].id.to_string(), "")).await.unwrap().into_inner();
    assert_eq!(answer.event.unwrap().event_id, events[1].id.to_string());
    assert_eq!(answer.regions.len(), 1);
    for region_id in ["", "north"] {
        let error = region.query().get_event(get(EventId::at(NOON).to_string(), region_id)).await.unwrap_err();
        assert_eq!(reason(&error), (Code::NotFound, "NOT_FOUND".to_owned()));
    }
    let error = region.query().get_event(get("latest".into(), "")).await.unwrap_err();
    assert_eq!(field(&error), "event_id");
}

#[tokio::test]
async fn a_request_for_another_region_is_refused_with_both_names() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let event = with_events(&region, 1).await.remove(0);
    let (region_id, camera_id) = ("south".to_owned(), "gate-1".to_owned());
    let (mut query, mut cameras) = (region.query(), region.cameras());
    let get_event = v1::GetEventRequest { event_id: event.id.to_string(), region_id: region_id.clone() };
    let thumbnail = v1::GetThumbnailRequest { thumbnail_key: format!("{}.1", event.id), region_id: region_id.clone() };
    let list = v1::ListCamerasRequest { region_id: region_id.clone(), ..Default::default() };
    let get = v1::GetCameraRequest { region_id: region_id.clone(), camera_id: camera_id.clone() };
    let delete = v1::DeleteCameraRequest { region_id: region_id.clone(), camera_id: camera_id.clone() };
    let camera = v1::Camera { region_id: region_id.clone(), camera_id, ..Default::default() };
    let put = v1::PutCameraRequest { camera: Some(camera) };
    let refused = [
        query.get_event(get_event).await.unwrap_err(),
        query.get_thumbnail(thumbnail).await.unwrap_err(),
        cameras.list_cameras(list).await.unwrap_err(),
        cameras.get_camera(get).await.unwrap_err(),
        cameras.put_camera(put).await.unwrap_err(),
        cameras.delete_camera(delete).await.unwrap_err(),
        region.regions().get_status(v1::GetStatusRequest { region_id }).await.unwrap_err(),
    ];
    for error in refused {
        assert_eq!(reason(&error), (Code::FailedPrecondition, "WRONG_REGION".to_owned()), "{error:?}");
        assert!(error.message().contains("\"south\"") && error.message().contains("\"north\""), "{error:?}");
    }
}

#[tokio::test]
async fn counts_come_by_what_was_asked_for_in_its_order() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let hour = |hours| at(Duration::from_hours(hours));
    let events =
        [event(hour(0)), event(hour(0)), class(event(hour(0)), "car"), class(camera(event(hour(1)), "gate-2"), "car")];
    region.edge("edge-1").await.publish(&events).await;
    let day = v1::EventFilter {
        from: Some(time_to_wire(hour(0))),
        until: Some(time_to_wire(hour(24))),
        ..Default::default()
    };
    let ask = |filter: &v1::EventFilter, keys: &[v1::GroupBy]| v1::AggregateRequest {
        filter: Some(filter.clone()),
        group_by: keys.iter().map(|key| (*key).into()).collect(),
    };
    let request = ask(&day, &[v1::GroupBy::Hour, v1::GroupBy::Class]);
    let answer = region.query().aggregate(request).await.unwrap().into_inner();
    let groups: Vec<_> = answer.groups.iter().map(|g| (g.hour.unwrap(), g.object_class.as_str(), g.count)).collect();
    let (first, second) = (time_to_wire(hour(0)), time_to_wire(hour(1)));
    assert_eq!(groups, [(first, "car", 1), (first, "person", 2), (second, "car", 1)]);
    assert!(answer.groups.iter().all(|group| group.camera_id.is_empty() && group.region_id.is_empty()));
    assert_eq!((answer.truncated, answer.regions.len()), (false, 1));

    let request = ask(&day, &[v1::GroupBy::Region, v1::GroupBy::Camera]);
    let answer = region.query().aggregate(request).await.unwrap().into_inner();
    let groups: Vec<_> = answer.groups.iter().map(|g| (g.region_id.as_str(), g.camera_id.as_str(), g.count)).collect();
    assert_eq!(groups, [("north", "gate-1", 3), ("north", "gate-2", 1)]);

    let refused = [
        (ask(&day, &[]), "group_by"),
        (ask(&day, &[v1::GroupBy::Unspecified]), "group_by"),
        (ask(&v1::EventFilter { from: None, ..day.clone() }, &[v1::GroupBy::Hour]), "filter.from"),
        (ask(&v1::EventFilter { until: None, ..day.clone() }, &[v1::GroupBy::Hour]), "filter.until"),
        (
            ask(&v1::EventFilter { until: Some(time_to_wire(hour(24 * 367))), ..day }, &[v1::GroupBy::Hour]),
            "filter.until",
        ),
    ];
    for (request, expected) in refused {
        assert_eq!(field(&region.query().aggregate(request).await.unwrap_err()), expected);
    }
}

#[tokio::test]
async fn a_page_of_large_events_stays_below_what_a_client_takes() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let mut edge = region.edge("edge-1").await;
    let large = |i| {
        let mut large = event(secs(i));
        let point = large.path[0];
        large.path = vec![point; 64];
        let fingerprint = "f".repeat(128).into();
        Event { model: ModelRef { fingerprint, ..large.model }, trace_parent: None, ..large }
    };
    for batch in 0..4 {
        edge.publish(&(0..500).map(|i| large(batch * 500 + i)).collect::<Vec<_>>()).await;
    }
    let mut plain = v1::event_query_service_client::EventQueryServiceClient::new(region.channel());
    let (mut found, mut page_token) = (0, String::new());
    loop {
        let page = plain.search(search(1_000, &page_token)).await.unwrap().into_inner();
        found += page.events.len();
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(found, 2_000);
}
