//! Publishing over gRPC: what is acknowledged, what is refused, and who is let in.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use std::time::Duration;

use tonic::Code;
use vigil_base::event::Event;
use vigil_base::{EdgeId, EventId, InstanceId, SimClock, Timestamp};
use vigil_proto::convert::time_to_wire;
use vigil_proto::v1;
use vigil_proto::v1::publish_request::Message;
use vigil_region::{Limits, RegionConfig};

use common::server::{Edge, TestRegion, eventually, heartbeat, hello, reason, record, record_with};
use common::{NOON, afternoon, ended, event, jpeg, region, secs};

#[tokio::test]
async fn a_batch_is_acknowledged_found_and_harmless_to_repeat() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let mut edge = region.edge("edge-1").await;
    assert_eq!((edge.welcome.region_id.as_str(), edge.welcome.max_batch_records), ("north", 500));
    let events: Vec<Event> = (0..20).map(|i| event(secs(i))).collect();
    let ack = edge.publish(&events).await;
    assert_eq!((ack.accepted, ack.duplicates, ack.rejections.len()), (20, 0, 0));
    let ack = edge.publish(&events).await;
    assert_eq!((ack.accepted, ack.duplicates), (0, 20));
    let grown: Vec<Event> = events.iter().map(ended).collect();
    let mixed: Vec<Event> = grown.iter().take(5).chain(events.iter().skip(5)).cloned().collect();
    let ack = edge.publish(&mixed).await;
    assert_eq!((ack.accepted, ack.duplicates), (5, 15));
    let found = region.search_all(v1::EventFilter::default(), 7).await;
    assert_eq!(found.len(), 20);
    assert!(found.iter().all(|event| event.receive_time.is_some()));
    assert_eq!(found.iter().filter(|event| event.revision == 2).count(), 5);
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let events: Vec<Event> = (0..20).map(|i| event(secs(i))).collect();
    let mut edge = region.edge("edge-1").await;
    edge.publish(&events).await;
    drop(edge);
    region.stop().await;
    let region = TestRegion::start(temp.path()).await;
    assert_eq!(region.search_all(v1::EventFilter::default(), 1_000).await.len(), 20);
    assert_eq!(region.edge("edge-1").await.publish(&events).await.duplicates, 20);
}

#[tokio::test]
async fn single_bad_records_are_rejected_by_index_and_reason_and_the_rest_is_stored() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let mut edge = region.edge("edge-1").await;
    let good = || record(&event(NOON));
    let broken = |change: fn(&mut v1::Event)| {
        let mut record = good();
        record.event.as_mut().map(change).unwrap();
        record
    };
    let cases: Vec<(v1::EventRecord, &str)> = vec![
        (v1::EventRecord::default(), "event: is missing"),
        (broken(|event| event.best_box = None), "event.best_box: is missing"),
        (broken(|event| event.region_id = "south".into()), "event.region_id: is south"),
        (broken(|event| event.edge_id = "edge-9".into()), "event.edge_id: is edge-9"),
        (broken(|event| event.event_id = "x".repeat(5_000)), "event.event_id"),
        (broken(|event| event.event_id = EventId::at(secs(5)).to_string()), "event.event_id: its time part"),
        (broken(|event| event.confidence = f32::NAN), "event.confidence"),
        (record_with(&event(NOON), jpeg(0, 256 * 1024 + 1)), "thumbnail_jpeg: has"),
        (record_with(&event(NOON), bytes::Bytes::from_static(b"GIF89a")), "thumbnail_jpeg: is not a JPEG"),
    ];
    let mut records = Vec::new();
    for (bad, _) in &cases {
        records.extend([good(), bad.clone()]);
    }
    edge.send(records).await;
    let ack = edge.ack().await.unwrap();
    assert_eq!(ack.accepted as usize, cases.len());
    assert_eq!(ack.rejections.len(), cases.len());
    for (i, ((_, reason), rejection)) in (0u32..).zip(cases.iter().zip(&ack.rejections)) {
        assert_eq!(rejection.index, 2 * i + 1);
        assert!(rejection.reason.starts_with(reason), "{rejection:?}");
        assert!(rejection.event_id.len() <= 64, "{rejection:?}");
    }
    assert_eq!(region.search_all(v1::EventFilter::default(), 1_000).await.len(), cases.len());
}

#[tokio::test]
async fn a_thumbnail_is_served_by_the_key_of_its_event() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let mut edge = region.edge("edge-1").await;
    let first = event(NOON);
    edge.send(vec![record_with(&first, jpeg(1, 9_000))]).await;
    edge.ack().await.unwrap();
    edge.publish(&[ended(&first)]).await;
    let found = region.search_all(v1::EventFilter::default(), 10).await.remove(0);
    let request = |thumbnail_key: &str| v1::GetThumbnailRequest {
        thumbnail_key: thumbnail_key.to_owned(),
        region_id: String::new(),
    };
    let jpeg_found = region.query().get_thumbnail(request(&found.thumbnail_key)).await.unwrap().into_inner().jpeg;
    assert_eq!(jpeg_found, jpeg(1, 9_000));
    let error = region.query().get_thumbnail(request("../../etc/passwd")).await.unwrap_err();
    assert_eq!(reason(&error), (Code::InvalidArgument, "INVALID_FIELD".to_owned()));
    let unknown = format!("{}.1", EventId::at(NOON));
    assert_eq!(region.query().get_thumbnail(request(&unknown)).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_stream_that_breaks_the_rules_is_ended_with_the_reason() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let instance = InstanceId::random().to_string();
    let batch = |sequence, records: usize| {
        Message::Batch(v1::EventBatch { sequence, records: vec![record(&event(NOON)); records] })
    };
    let greeting = || Message::Hello(hello("edge-1", &instance));
    let changed = |change: fn(&mut v1::PublishHello)| {
        let mut hello = hello("edge-1", &instance);
        change(&mut hello);
        Message::Hello(hello)
    };
    let huge = v1::EventRecord { event: None, thumbnail_jpeg: vec![0; 17 << 20].into() };
    let large = v1::EventRecord { event: None, thumbnail_jpeg: vec![0; 9 << 20].into() };
    let of = |record: v1::EventRecord| Message::Batch(v1::EventBatch { sequence: 1, records: vec![record] });
    let cases: Vec<(Vec<Message>, Code, &str)> = vec![
        (vec![batch(1, 1)], Code::InvalidArgument, "hello: must be the first message"),
        (vec![changed(|h| h.edge_id = "a b".into())], Code::InvalidArgument, "hello.edge_id"),
        (vec![changed(|h| h.instance_id = "me".into())], Code::InvalidArgument, "hello.instance_id"),
        (vec![changed(|h| h.region_id = "south".into())], Code::FailedPrecondition, "region \"south\""),
        (vec![greeting(), greeting()], Code::InvalidArgument, "hello: was sent already"),
        (vec![greeting(), batch(2, 1), batch(2, 1)], Code::InvalidArgument, "batch.sequence: must grow"),
        (vec![greeting(), batch(1, 501)], Code::ResourceExhausted, "501 records"),
        (vec![greeting(), of(large)], Code::ResourceExhausted, "at most 500 and 8388608 are taken"),
        (vec![greeting(), of(huge)], Code::ResourceExhausted, ""),
        (
            vec![greeting(), Message::Heartbeat(v1::PublishHeartbeat::default())],
            Code::InvalidArgument,
            "heartbeat.edge_time",
        ),
    ];
    for (messages, code, text) in cases {
        let status = region.publish_raw(messages).await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(text), "{status:?}");
    }
    region.edge("edge-1").await.publish(&[event(NOON)]).await;
}

#[tokio::test]
async fn a_second_installation_with_the_same_id_is_refused_while_the_first_is_connected() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let mut first = region.edge("edge-1").await;
    let other = InstanceId::random().to_string();
    let error = region.edge_instance("edge-1", &other).await.err().unwrap();
    assert_eq!(reason(&error), (Code::AlreadyExists, "ALREADY_EXISTS".to_owned()));
    assert!(error.message().contains("edge-1"), "{error:?}");
    first.publish(&[event(NOON)]).await;
    drop(first);
    let mut second = eventually("the first is gone", async || region.edge_instance("edge-1", &other).await.ok()).await;
    second.publish(&[event(NOON)]).await;
}

#[tokio::test]
async fn an_edge_that_comes_back_takes_the_place_of_its_dead_connection() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let instance = InstanceId::random().to_string();
    let mut dead = region.edge_instance("edge-1", &instance).await.unwrap();
    let mut alive = region.edge_instance("edge-1", &instance).await.unwrap();
    let error = dead.ack().await.unwrap_err();
    assert!(error.message().contains("connected again"), "{error:?}");
    alive.publish(&[event(NOON)]).await;
    let status = region.status().await;
    assert!(status.edges[0].connected, "the end of the old connection is not the end of the new one");
}

#[tokio::test]
async fn an_edge_that_falls_silent_is_taken_for_gone() {
    let temp = tempfile::tempdir().unwrap();
    let limits = Limits { edge_timeout: Duration::from_secs(1), ..Limits::default() };
    let config = RegionConfig { limits, ..RegionConfig::local(region(), temp.path()) };
    let region = TestRegion::start_with(config, afternoon()).await;
    let mut silent = region.edge("edge-1").await;
    let error = silent.ack().await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains("nothing moved"), "{error:?}");
    region.edge("edge-1").await.publish(&[event(NOON)]).await;
}

#[tokio::test]
async fn answers_say_how_complete_they_are_and_who_is_missing() {
    let temp = tempfile::tempdir().unwrap();
    let clock = SimClock::new(secs(100));
    let config = || RegionConfig::local(region(), temp.path());
    let region = TestRegion::start_with(config(), clock.clone()).await;
    let mut first = region.edge("edge-1").await;
    let mut second = region.edge("edge-2").await;
    let complete_until = |status: &v1::RegionStatus| status.complete_until;
    assert_eq!(complete_until(&region.status().await), None, "no edge has said yet");

    first.heartbeat(heartbeat(secs(99), secs(90))).await;
    second.heartbeat(heartbeat(secs(105), secs(500))).await;
    let until = |at: Timestamp| Some(time_to_wire(at));
    let status = status_when(&region, |status| status.edges.iter().all(|edge| edge.complete_until.is_some())).await;
    assert_eq!(complete_until(&status), until(secs(90)), "the least of the two");
    assert_eq!(status.edges[1].complete_until, until(secs(100)), "no edge is complete beyond now");
    let offsets: Vec<i64> = status.edges.iter().map(|edge| edge.clock_offset_ms).collect();
    assert_eq!(offsets, [-1_000, 5_000]);
    assert_eq!((status.edges[0].backlog, status.edges[0].software_version.as_str()), (3, "1.2.3"));

    drop(first);
    let status = status_when(&region, |status| !status.edges[0].connected).await;
    assert_eq!(complete_until(&status), until(secs(100)), "of the edges that are connected");
    assert!(status.problems[0].contains("edge-1 is not connected; last seen 2026-"), "{:?}", status.problems);
    let answer = region.query().search(v1::SearchRequest::default()).await.unwrap().into_inner();
    assert_eq!(answer.regions[0].edges_offline, 1);
    drop(second);
    region.stop().await;

    let region = TestRegion::start_with(config(), clock).await;
    let status = region.status().await;
    assert_eq!(status.edges.iter().filter(|edge| !edge.connected).count(), 2, "missed after a restart, too");
    assert_eq!(complete_until(&status), None);
}

/// The status once it is as expected.
async fn status_when(region: &TestRegion, is_expected: impl Fn(&v1::RegionStatus) -> bool) -> v1::RegionStatus {
    eventually("the status is as expected", async || Some(region.status().await).filter(&is_expected)).await
}

#[tokio::test]
async fn two_edges_publish_at_once_and_each_event_is_stored_once() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let mut publishers = Vec::new();
    for number in 0..4 {
        let name = format!("edge-{number}");
        let mut edge = region.edge(&name).await;
        publishers.push(tokio::spawn(async move {
            for _ in 0..10 {
                let events: Vec<Event> =
                    (0..50).map(|i| Event { edge: EdgeId::new(&name).unwrap(), ..event(secs(i)) }).collect();
                // Twice, without waiting in between: as after a lost acknowledgement.
                edge.send(events.iter().map(record).collect()).await;
                edge.send(events.iter().map(record).collect()).await;
                let (first, second) = (edge.ack().await.unwrap(), edge.ack().await.unwrap());
                assert_eq!((first.accepted, second.duplicates), (50, 50));
            }
        }));
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    assert_eq!(region.search_all(v1::EventFilter::default(), 333).await.len(), 2_000);
    assert_eq!(region.status().await.events, 2_000);
}

#[tokio::test]
async fn an_edge_is_told_how_much_of_what_was_acknowledged_the_index_lacks() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let stored = event(NOON);
    region.edge("edge-1").await.publish(std::slice::from_ref(&stored)).await;
    let mark = |id: EventId, revision| v1::AcknowledgedMark { event_id: id.to_string(), revision };
    let unknown = || mark(EventId::at(NOON), 1);
    let had = mark(stored.id, stored.revision);
    let long_ago = mark(EventId::at(NOON - Duration::from_hours(40 * 24)), 1);
    let connect = |marks: Vec<v1::AcknowledgedMark>| {
        let greeting = v1::PublishHello { marks, ..hello("edge-2", "0192f3c4-5a6b-4c8d-9e0f-102132435465") };
        Edge::connect(region.channel(), greeting)
    };
    for (marks, lost) in [
        (vec![], 0),
        (vec![had.clone(), unknown()], 0),
        (vec![unknown(), unknown(), had.clone()], 2),
        (vec![mark(stored.id, stored.revision + 1)], 1),
        (vec![unknown(), long_ago], 1),
        (vec![unknown(); 32], 32),
    ] {
        let told = connect(marks.clone()).await.unwrap().welcome.lost_marks;
        assert_eq!(told, lost, "{marks:?}");
    }
    for marks in [vec![unknown(); 33], vec![v1::AcknowledgedMark { event_id: "x".into(), revision: 1 }]] {
        let refused = connect(marks).await.map(drop).unwrap_err();
        assert!(refused.message().contains("hello.marks"), "{refused}");
    }
    assert!(region.metrics().await.contains("vigil_ingest_fell_behind_total"));
}
