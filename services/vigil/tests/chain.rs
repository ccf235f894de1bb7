//! The whole chain as separate processes: simulated cameras over RTSP, an edge, two regions, a gateway; then faults.
#![allow(clippy::unwrap_used, clippy::format_push_string)] // A test ends where it cannot go on.

mod common;

use std::net::SocketAddr;
use std::path::Path;

use common::Process;
use common::edge::{EdgePlan, camera, simulator};
use common::look::{camera_until, search_until};
use vigil_proto::v1;
use vigil_proto::v1::event_query_service_client::EventQueryServiceClient;

fn edge(folder: &Path, id: &str, region: (&str, SocketAddr), cameras: &[(&str, String)]) -> Process {
    let stream = |url: &str| format!("address = \"{url}\", stall_timeout = \"2s\"");
    let cameras: String = cameras.iter().map(|(id, url)| camera(id, &stream(url))).collect();
    EdgePlan::write(folder, id, region, &cameras).start()
}

fn regions_with_events(answer: &v1::SearchResponse) -> usize {
    let mut regions: Vec<_> = answer.events.iter().map(|event| &event.region_id).collect();
    regions.sort();
    regions.dedup();
    regions.len()
}

fn outcome_of(answer: &v1::SearchResponse, region: &str) -> v1::RegionOutcome {
    answer.regions.iter().find(|report| report.region_id == region).expect("a report for each region").outcome()
}

/// What the plaza shows: people, and a car and a van that are parked at its edge.
const PLAZA: [&str; 3] = ["person", "car", "truck"];

#[tokio::test(flavor = "multi_thread")]
async fn cameras_of_two_regions_become_events_that_one_question_finds_and_a_dead_region_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = simulator(&["west", "east"], None);
    let (north, south, front) = (common::free_address(), common::free_address(), common::free_address());
    let _north = common::region(folder.path(), "north", north);
    let south_process = common::region(folder.path(), "south", south);
    let _gateway = common::gateway(folder.path(), front, &[("north", north), ("south", south)]);
    let _edge_north = edge(folder.path(), "edge-n", ("north", north), &[("west", simulator.url("west"))]);
    let _edge_south = edge(folder.path(), "edge-s", ("south", south), &[("east", simulator.url("east"))]);

    let channel = common::connect(front).await;
    let answer = search_until(&channel, "events of both regions", |answer| regions_with_events(answer) == 2).await;
    let event = &answer.events[0];
    assert!(PLAZA.contains(&event.object_class.as_str()), "{}", event.object_class);
    assert_eq!(event.model.as_ref().unwrap().fingerprint.len(), 64);
    assert!(event.confirm_time.unwrap().seconds >= event.begin_time.unwrap().seconds);
    assert!(!event.path.is_empty() && event.best_box.is_some());
    let thumbnail =
        v1::GetThumbnailRequest { thumbnail_key: event.thumbnail_key.clone(), region_id: event.region_id.clone() };
    let mut queries = EventQueryServiceClient::new(channel.clone());
    let jpeg = queries.get_thumbnail(thumbnail).await.unwrap().into_inner().jpeg;
    assert!(jpeg.starts_with(&[0xff, 0xd8]), "no JPEG: {:?}", &jpeg[..jpeg.len().min(4)]);

    south_process.kill();
    let is_part = |answer: &v1::SearchResponse| outcome_of(answer, "south") != v1::RegionOutcome::Answered;
    let part = search_until(&channel, "an answer without the dead region", is_part).await;
    assert_eq!(outcome_of(&part, "north"), v1::RegionOutcome::Answered);
    assert!(part.events.iter().all(|event| event.region_id == "north"));

    let _south = common::region(folder.path(), "south", south);
    let whole = search_until(&channel, "events of both regions", |answer| regions_with_events(answer) == 2).await;
    assert_eq!(outcome_of(&whole, "south"), v1::RegionOutcome::Answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_killed_while_people_are_in_view_ends_their_events_when_it_comes_back_and_reads_on() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = simulator(&["plaza"], None);
    let address = common::free_address();
    let _region = common::region(folder.path(), "north", address);
    let cameras = [("plaza", simulator.url("plaza"))];
    let process = edge(folder.path(), "edge-1", ("north", address), &cameras);
    let channel = common::connect(address).await;
    let ongoing = |event: &v1::Event| event.state() == v1::EventState::Ongoing;
    let before = search_until(&channel, "somebody in view", |answer| answer.events.iter().any(ongoing)).await;
    process.kill();

    let process = edge(folder.path(), "edge-1", ("north", address), &cameras);
    let restarted = |event: &v1::Event| event.end_reason() == v1::EndReason::EdgeRestarted;
    let after =
        search_until(&channel, "events ended by the restart", |answer| answer.events.iter().any(restarted)).await;
    let open_before: Vec<_> =
        before.events.iter().filter(|event| ongoing(event)).map(|event| &event.event_id).collect();
    for id in open_before {
        let now = after.events.iter().find(|event| event.event_id == *id).expect("no event is lost");
        assert_eq!(now.state(), v1::EventState::Ended, "{id} stays open for ever");
    }
    let known: Vec<_> = after.events.iter().map(|event| event.event_id.clone()).collect();
    let has_new = |answer: &v1::SearchResponse| answer.events.iter().any(|event| !known.contains(&event.event_id));
    search_until(&channel, "new events after the restart", has_new).await;

    assert!(process.terminate().success(), "an edge ends in order when it is told to");
    let stopped = |event: &v1::Event| event.state() == v1::EventState::Ended;
    let last = search_until(&channel, "an end of all events", |answer| answer.events.iter().all(stopped)).await;
    assert!(last.events.len() > known.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_hangs_is_reported_down_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = simulator(&["gate"], None);
    let address = common::free_address();
    let _region = common::region(folder.path(), "north", address);
    let _edge = edge(folder.path(), "edge-1", ("north", address), &[("gate", simulator.url("gate"))]);
    let channel = common::connect(address).await;
    let streaming = |camera: &v1::CameraHealth| camera.state() == v1::CameraState::Streaming;
    camera_until(&channel, "gate", "analysed", |camera| streaming(camera) && camera.frames_analysed > 0).await;
    simulator.execute(&"freeze gate 6s".parse().unwrap()).unwrap();
    let down = camera_until(&channel, "gate", "down", |camera| camera.state() == v1::CameraState::Down).await;
    assert!(!down.detail.is_empty());
    let back = camera_until(&channel, "gate", "streaming again", streaming).await;
    camera_until(&channel, "gate", "more frames", |camera| camera.frames_received > back.frames_received).await;
}
