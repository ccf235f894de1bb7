//! The gateway over two real regions, each with its index on disk.

use std::collections::BTreeMap;
use std::time::Duration;

use tonic::Code;
use vigil_base::{Clock, SimClock, SystemClock, Timestamp};
use vigil_proto::convert::time_to_wire;
use vigil_proto::v1;
use vigil_proto::v1::RegionOutcome::{Answered, Failed, Unreachable};
use vigil_proto::v1::publish_request::Message as Publish;
use vigil_proto::v1::publish_response::Message as Answer;
use vigil_proto::v1::subscribe_response::Message;

use crate::support::{ANY, Gateway, PATIENCE, Region, free_address, nth_event, outcomes, seconds, until, whole_event};

/// Seconds since 1970 of the first event: some days ago.
pub const START: i64 = 1_700_000_000;

pub fn event(region: &str, second: i64) -> v1::Event {
    whole_event(region, START + second)
}

async fn two_regions(events: i64) -> (Region, Region, Gateway) {
    let (north, south) = (Region::start("north").await, Region::start("south").await);
    north.publish((0..events).map(|i| event("north", 2 * i)).collect()).await;
    south.publish((0..events).map(|i| event("south", 2 * i + 1)).collect()).await;
    let gateway = Gateway::start(&[north.named(), south.named()]).await;
    (north, south, gateway)
}

#[tokio::test]
async fn every_event_of_both_regions_comes_once_and_in_order() {
    let (_north, _south, gateway) = two_regions(60).await;
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let page = gateway.page(7, &token).await;
        assert!(page.regions.iter().all(|report| report.outcome() == Answered), "{:?}", page.regions);
        all.extend(seconds(&page.events));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(all, (0..120).rev().map(|i| START + i).collect::<Vec<_>>());
}

#[tokio::test]
async fn each_question_has_its_answer() {
    let (_north, _south, gateway) = two_regions(5).await;
    let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let filter = Some(v1::EventFilter { from: at(START), until: at(START + 100), ..Default::default() });
    let group_by = [v1::GroupBy::Region, v1::GroupBy::Class, v1::GroupBy::Hour].map(i32::from).to_vec();
    let counts = gateway.query().aggregate(v1::AggregateRequest { filter, group_by }).await.unwrap().into_inner();
    let groups: Vec<_> = counts.groups.iter().map(|group| (group.region_id.as_str(), group.count)).collect();
    assert_eq!(groups, [("north", 5), ("south", 5)]);
    assert_eq!(outcomes(&counts.regions), [("north", Answered), ("south", Answered)]);

    let wanted = event("south", 3);
    let request = v1::GetEventRequest { event_id: wanted.event_id.clone(), ..Default::default() };
    let found = gateway.query().get_event(request).await.unwrap().into_inner().event.unwrap();
    assert_eq!((found.event_id, found.region_id.as_str()), (wanted.event_id, "south"));
    let thumbnail = v1::GetThumbnailRequest { thumbnail_key: found.thumbnail_key, region_id: "south".into() };
    assert_eq!(&gateway.query().get_thumbnail(thumbnail).await.unwrap().into_inner().jpeg[..], [0xff, 0xd8, 0xff]);
    let nowhere = v1::GetEventRequest { event_id: event("west", 3).event_id, ..Default::default() };
    assert_eq!(gateway.query().get_event(nowhere).await.unwrap_err().code(), Code::NotFound);

    let status = gateway.regions().get_status(v1::GetStatusRequest::default()).await.unwrap().into_inner();
    assert_eq!(
        status.statuses.iter().map(|s| (s.region_id.as_str(), s.events)).collect::<Vec<_>>(),
        [("north", 5), ("south", 5)]
    );
}

#[tokio::test]
async fn the_cameras_of_both_regions_over_pages_of_one() {
    let (_north, _south, gateway) = two_regions(1).await;
    let camera = |id: &str| v1::Camera { camera_id: id.into(), region_id: "south".into(), ..Default::default() };
    gateway.cameras().put_camera(v1::PutCameraRequest { camera: Some(camera("exit")) }).await.unwrap();
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListCamerasRequest { page_size: 1, page_token, ..Default::default() };
        let page = gateway.cameras().list_cameras(request).await.unwrap().into_inner();
        assert_eq!(page.failures, Vec::<String>::new());
        all.extend(page.cameras.into_iter().map(|camera| format!("{}/{}", camera.region_id, camera.camera_id)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(all, ["north/gate", "south/exit", "south/gate"]);
}

#[tokio::test]
async fn a_region_that_restarts_between_pages_loses_nothing() {
    let (_north, mut south, gateway) = two_regions(10).await;
    let first = gateway.page(4, "").await;
    south.down().await;
    let second = gateway.page(20, &first.next_page_token).await;
    assert_eq!(outcomes(&second.regions), [("north", Answered), ("south", Unreachable)]);
    south.up().await;
    let last = |page: &v1::SearchResponse| page.next_page_token.is_empty();
    let third = until("the last page", || gateway.page(20, &second.next_page_token), last).await;
    let mut all: Vec<_> = [first, second, third].iter().flat_map(|page| seconds(&page.events)).collect();
    all.sort_unstable();
    assert_eq!(all, (START..START + 20).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_each_region_watched_is_one_answer_and_a_region_that_is_away_is_named() {
    let (mut north, south) = (Region::start("north").await, Region::start("south").await);
    let minute = Some(time_to_wire(Timestamp::from_micros(START * 1_000_000).round_down(Duration::from_mins(1))));
    let report = |watched_ms| v1::CoverageReport {
        report_id: nth_event("north", START, 1).event_id,
        minute,
        cameras: vec![v1::CameraCoverage {
            camera_id: "gate".into(),
            tally: Some(v1::CoverageTally { accounted_ms: 60_000, watched_ms, ..Default::default() }),
            ..Default::default()
        }],
    };
    for (region, watched_ms) in [(&north, 60_000), (&south, 1_000)] {
        // A report that cannot be true does not cost the others.
        let batch = v1::CoverageBatch { sequence: 7, reports: vec![report(60_001), report(watched_ms)] };
        let Answer::CoverageAck(ack) = region.tell(Publish::Coverage(batch)).await else { panic!("no answer") };
        assert_eq!((ack.sequence, ack.rejections.len(), ack.rejections[0].index), (7, 1, 0));
        assert!(ack.rejections[0].reason.contains("watched_ms"), "{ack:?}");
    }
    let gateway = Gateway::start(&[south.named(), north.named()]).await;
    let ask = async || {
        let hour = |hours: i64| Some(time_to_wire(Timestamp::from_micros((START + hours * 3_600) * 1_000_000)));
        let request = v1::GetCoverageRequest { from: hour(-1), until: hour(1), ..Default::default() };
        gateway.coverage().get_coverage(request).await.unwrap().into_inner()
    };
    let told = |answer: &v1::GetCoverageResponse| -> Vec<(String, u64)> {
        let shown = |span: &v1::CoverageSpan| (span.region_id.clone(), span.tally.unwrap().watched_ms);
        answer.spans.iter().map(shown).collect()
    };
    let whole = ask().await;
    assert_eq!(told(&whole), [("north".to_owned(), 60_000), ("south".to_owned(), 1_000)]);
    north.down().await;
    let part = ask().await;
    assert_eq!(told(&part), [("south".to_owned(), 1_000)]);
    assert_eq!(outcomes(&part.regions), [("north", Unreachable), ("south", Answered)]);
}

/// The seconds of the next `count` events by region, and the last cursor.
async fn take(
    stream: &mut tonic::Streaming<v1::SubscribeResponse>,
    count: usize,
) -> (BTreeMap<String, Vec<i64>>, String) {
    let (mut taken, mut cursor) = (BTreeMap::<String, Vec<i64>>::new(), String::new());
    let taking = async {
        for _ in 0..count {
            let delivery = loop {
                if let Message::Delivery(delivery) = stream.message().await.unwrap().unwrap().message.unwrap() {
                    break delivery;
                }
            };
            let event = delivery.event.unwrap();
            taken.entry(event.region_id).or_default().push(event.begin_time.unwrap().seconds - START);
            cursor = delivery.cursor;
        }
    };
    tokio::time::timeout(PATIENCE, taking).await.expect("the events in time");
    (taken, cursor)
}

#[tokio::test]
async fn a_stream_over_both_regions_survives_the_restart_of_one_and_its_own() {
    let (north, mut south, gateway) = two_regions(3).await;
    let request = v1::SubscribeRequest { start: v1::SubscribeStart::Oldest.into(), ..Default::default() };
    let mut stream = gateway.stream().subscribe(request).await.unwrap().into_inner();
    let (past, cursor) = take(&mut stream, 6).await;
    assert_eq!(past, BTreeMap::from([("north".into(), vec![0, 2, 4]), ("south".into(), vec![1, 3, 5])]));
    south.down().await;
    north.publish(vec![event("north", 10)]).await;
    assert_eq!(take(&mut stream, 1).await.0, BTreeMap::from([("north".into(), vec![10])]));
    south.up().await;
    south.publish(vec![event("south", 11)]).await;
    assert_eq!(take(&mut stream, 1).await.0, BTreeMap::from([("south".into(), vec![11])]));
    drop(stream);
    let request = v1::SubscribeRequest { cursor, ..Default::default() };
    let mut resumed = gateway.stream().subscribe(request).await.unwrap().into_inner();
    let (missed, _) = take(&mut resumed, 2).await;
    assert_eq!(missed, BTreeMap::from([("north".into(), vec![10]), ("south".into(), vec![11])]));
}

#[tokio::test]
async fn a_region_not_reached_at_the_start_delivers_what_it_received_since_and_nothing_of_before() {
    let (north, mut south, address) = (Region::start("north").await, Region::new("south"), free_address().await);
    south.up_by(SimClock::new(SystemClock::new().now() - Duration::from_hours(1))).await;
    south.publish(vec![event("south", 1)]).await;
    south.down().await;
    let gateway = Gateway::start(&[north.named(), ("south", address)]).await;
    let mut stream = gateway.stream().subscribe(v1::SubscribeRequest::default()).await.unwrap().into_inner();
    let begun = async {
        loop {
            if let Message::Heartbeat(heartbeat) = stream.message().await.unwrap().unwrap().message.unwrap() {
                return heartbeat.cursor;
            }
        }
    };
    let begun = tokio::time::timeout(PATIENCE, begun).await.expect("the first heartbeat");
    // Its edges reach it, the gateway does not yet.
    south.address = ANY;
    south.up().await;
    south.publish(vec![event("south", 2)]).await;
    south.down().await;
    south.address = address;
    south.up().await;
    let expected = |seconds: &[i64]| BTreeMap::from([("south".to_owned(), seconds.to_vec())]);
    assert_eq!(take(&mut stream, 1).await.0, expected(&[2]));
    south.publish(vec![event("south", 3)]).await;
    assert_eq!(take(&mut stream, 1).await.0, expected(&[3]));
    let request = v1::SubscribeRequest { cursor: begun, ..Default::default() };
    let mut resumed = gateway.stream().subscribe(request).await.unwrap().into_inner();
    assert_eq!(take(&mut resumed, 2).await.0, expected(&[2, 3]), "the cursor knew that south was not reached yet");
}

#[tokio::test]
async fn a_region_at_the_wrong_address_is_found_out_by_every_question() {
    let south = Region::start("south").await;
    south.publish(vec![event("south", 1)]).await;
    let gateway = Gateway::start(&[("north", south.address)]).await;
    let answer = gateway.page(0, "").await;
    assert_eq!(outcomes(&answer.regions), [("north", Failed)]);
    assert!(answer.regions[0].detail.contains("\"south\""), "{}", answer.regions[0].detail);
    assert!(gateway.ops("/healthz").await.contains("region/north"));
    let request = v1::GetEventRequest { event_id: event("south", 1).event_id, ..Default::default() };
    let status = gateway.query().get_event(request).await.unwrap_err();
    assert_ne!(status.code(), Code::NotFound, "another region cannot say that north does not have it");
    let mut cameras = gateway.cameras();
    let list = cameras.list_cameras(v1::ListCamerasRequest::default()).await.unwrap().into_inner();
    assert_eq!((list.cameras.len(), list.failures.len()), (0, 1), "{list:?}");
    let (region_id, camera_id) = ("north".to_owned(), "gate".to_owned());
    let get = v1::GetCameraRequest { region_id: region_id.clone(), camera_id: camera_id.clone() };
    let delete = v1::DeleteCameraRequest { region_id: region_id.clone(), camera_id: camera_id.clone() };
    let thumbnail = v1::GetThumbnailRequest { region_id: region_id.clone(), thumbnail_key: "key".into() };
    let put = v1::PutCameraRequest { camera: Some(v1::Camera { region_id, camera_id, ..Default::default() }) };
    let refused = [
        cameras.get_camera(get).await.unwrap_err(),
        cameras.put_camera(put).await.unwrap_err(),
        cameras.delete_camera(delete).await.unwrap_err(),
        gateway.query().get_thumbnail(thumbnail).await.unwrap_err(),
    ];
    for status in refused {
        assert_eq!(status.code(), Code::Internal, "{status}");
        assert!(status.message().contains("\"south\"") && status.message().contains("configuration"), "{status}");
    }
    let mut stream = gateway.stream().subscribe(v1::SubscribeRequest::default()).await.unwrap().into_inner();
    let Some(Message::Region(report)) = stream.message().await.unwrap().unwrap().message else { panic!("no report") };
    assert!(report.outcome() == Failed && report.detail.contains("\"south\""), "{report:?}");
}
