//! The whole chain as separate processes: simulated cameras over RTSP, an edge, two regions, a gateway; then faults.
#![allow(clippy::unwrap_used, clippy::format_push_string)] // A test ends where it cannot go on.

mod common;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::{PATIENCE, Process};
use tonic::transport::Channel;
use vigil_camsim::{MountConfig, SimConfig, Simulator};
use vigil_proto::v1;
use vigil_proto::v1::event_query_service_client::EventQueryServiceClient;
use vigil_proto::v1::region_service_client::RegionServiceClient;

fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/vigil");
    std::env::var_os("VIGIL_CACHE").map_or_else(home, PathBuf::from)
}

fn manifest() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/manifest.toml")
}

/// The first part of the plaza clip: people walk in it from the first frame on.
fn plaza(name: &str) -> MountConfig {
    let clip = cache().join("clips/vtest.avi");
    assert!(clip.is_file(), "{} is missing: run scripts/setup", clip.display());
    MountConfig { max_length: Some(Duration::from_secs(20)), ..MountConfig::new(name, clip) }
}

fn simulator(names: &[&str]) -> Simulator {
    let config = SimConfig::new(cache().join("camsim"));
    Simulator::start(names.iter().fold(config, |config, name| config.with_mount(plaza(name)))).unwrap()
}

fn edge(folder: &Path, id: &str, region: (&str, SocketAddr), cameras: &[(&str, String)]) -> Process {
    let own = folder.join(id);
    std::fs::create_dir_all(own.join("data")).unwrap();
    let (listen, ops) = (common::free_address(), common::free_address());
    let mut text = format!(
        "edge_id = \"{id}\"\nregion_id = \"{}\"\nregion_address = \"http://{}\"\ndata_dir = \"data\"\nlisten = \"{listen}\"\n\
         ops_listen = \"{ops}\"\n[model]\nmanifest = \"{}\"\nworkers = 1\n",
        region.0,
        region.1,
        manifest().display()
    );
    for (camera, url) in cameras {
        text.push_str(&format!(
            "[[cameras]]\nid = \"{camera}\"\nstream = {{ address = \"{url}\", stall_timeout = \"2s\" }}\n"
        ));
    }
    std::fs::write(own.join("edge.toml"), text).unwrap();
    let mut command = common::vigil();
    command.arg("edge").arg("--config").arg(own.join("edge.toml"));
    Process::start(command, &own.join("log"))
}

/// Searches until `enough` says so of an answer.
async fn search_until(channel: &Channel, enough: impl Fn(&v1::SearchResponse) -> bool) -> v1::SearchResponse {
    let mut queries = EventQueryServiceClient::new(channel.clone()).max_decoding_message_size(16 << 20);
    let search = async {
        loop {
            let request = v1::SearchRequest { page_size: 1000, ..Default::default() };
            let answer = queries.search(request).await.unwrap().into_inner();
            if enough(&answer) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, search).await.expect("an answer with what was waited for")
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

#[tokio::test(flavor = "multi_thread")]
async fn cameras_of_two_regions_become_events_that_one_question_finds_and_a_dead_region_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = tokio::task::block_in_place(|| simulator(&["west", "east"]));
    let (north, south, front) = (common::free_address(), common::free_address(), common::free_address());
    let _north = common::region(folder.path(), "north", north);
    let south_process = common::region(folder.path(), "south", south);
    let _gateway = common::gateway(folder.path(), front, &[("north", north), ("south", south)]);
    let _edge_north = edge(folder.path(), "edge-n", ("north", north), &[("west", simulator.url("west"))]);
    let _edge_south = edge(folder.path(), "edge-s", ("south", south), &[("east", simulator.url("east"))]);

    let channel = common::connect(front).await;
    let answer = search_until(&channel, |answer| regions_with_events(answer) == 2).await;
    let event = &answer.events[0];
    assert_eq!(event.object_class, "person");
    assert_eq!(event.model.as_ref().unwrap().fingerprint.len(), 64);
    assert!(event.confirm_time.unwrap().seconds >= event.begin_time.unwrap().seconds);
    assert!(!event.path.is_empty() && event.best_box.is_some());
    let thumbnail =
        v1::GetThumbnailRequest { thumbnail_key: event.thumbnail_key.clone(), region_id: event.region_id.clone() };
    let mut queries = EventQueryServiceClient::new(channel.clone());
    let jpeg = queries.get_thumbnail(thumbnail).await.unwrap().into_inner().jpeg;
    assert!(jpeg.starts_with(&[0xff, 0xd8]), "no JPEG: {:?}", &jpeg[..jpeg.len().min(4)]);

    south_process.kill();
    let part = search_until(&channel, |answer| outcome_of(answer, "south") != v1::RegionOutcome::Answered).await;
    assert_eq!(outcome_of(&part, "north"), v1::RegionOutcome::Answered);
    assert!(part.events.iter().all(|event| event.region_id == "north"));

    let _south = common::region(folder.path(), "south", south);
    let whole = search_until(&channel, |answer| regions_with_events(answer) == 2).await;
    assert_eq!(outcome_of(&whole, "south"), v1::RegionOutcome::Answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_killed_while_people_are_in_view_ends_their_events_when_it_comes_back_and_reads_on() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = tokio::task::block_in_place(|| simulator(&["plaza"]));
    let address = common::free_address();
    let _region = common::region(folder.path(), "north", address);
    let cameras = [("plaza", simulator.url("plaza"))];
    let process = edge(folder.path(), "edge-1", ("north", address), &cameras);
    let channel = common::connect(address).await;
    let ongoing = |event: &v1::Event| event.state() == v1::EventState::Ongoing;
    let before = search_until(&channel, |answer| answer.events.iter().any(ongoing)).await;
    process.kill();

    let process = edge(folder.path(), "edge-1", ("north", address), &cameras);
    let restarted = |event: &v1::Event| event.end_reason() == v1::EndReason::EdgeRestarted;
    let after = search_until(&channel, |answer| answer.events.iter().any(restarted)).await;
    let open_before: Vec<_> =
        before.events.iter().filter(|event| ongoing(event)).map(|event| &event.event_id).collect();
    for id in open_before {
        let now = after.events.iter().find(|event| event.event_id == *id).expect("no event is lost");
        assert_eq!(now.state(), v1::EventState::Ended, "{id} stays open for ever");
    }
    let known: Vec<_> = after.events.iter().map(|event| event.event_id.clone()).collect();
    search_until(&channel, |answer| answer.events.iter().any(|event| !known.contains(&event.event_id))).await;

    assert!(process.terminate().success(), "an edge ends in order when it is told to");
    let stopped = |event: &v1::Event| event.state() == v1::EventState::Ended;
    let last = search_until(&channel, |answer| answer.events.iter().all(stopped)).await;
    assert!(last.events.len() > known.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_hangs_is_reported_down_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = tokio::task::block_in_place(|| simulator(&["gate"]));
    let address = common::free_address();
    let _region = common::region(folder.path(), "north", address);
    let _edge = edge(folder.path(), "edge-1", ("north", address), &[("gate", simulator.url("gate"))]);
    let channel = common::connect(address).await;
    camera_until(&channel, |camera| camera.state() == v1::CameraState::Streaming && camera.frames_analysed > 0).await;
    simulator.execute(&"freeze gate 6s".parse().unwrap()).unwrap();
    let down = camera_until(&channel, |camera| camera.state() == v1::CameraState::Down).await;
    assert!(!down.detail.is_empty());
    let back = camera_until(&channel, |camera| camera.state() == v1::CameraState::Streaming).await;
    camera_until(&channel, |camera| camera.frames_received > back.frames_received).await;
}

async fn camera_until(channel: &Channel, enough: impl Fn(&v1::CameraHealth) -> bool) -> v1::CameraHealth {
    let mut regions = RegionServiceClient::new(channel.clone());
    let search = async {
        loop {
            let status = regions.get_status(v1::GetStatusRequest::default()).await.unwrap().into_inner();
            let mut cameras = status.statuses.into_iter().flat_map(|s| s.edges).flat_map(|edge| edge.cameras);
            if let Some(camera) = cameras.find(|camera| enough(camera)) {
                return camera;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, search).await.expect("the camera in the state that was waited for")
}
