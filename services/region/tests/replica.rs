//! A replica over the tables of a region that runs: the same answers, nothing changed, and it stays when the region is killed.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tonic::transport::Channel;
use tonic::{Code, Request};
use vigil_base::config::Secret;
use vigil_base::event::Event;
use vigil_base::{EventId, InstanceId};
use vigil_proto::convert::time_to_wire;
use vigil_proto::v1;
use vigil_proto::v1::publish_request::Message as Publish;
use vigil_region::config::IndexConfig;
use vigil_region::index::postgres::PostgresConfig;
use vigil_region::{RegionConfig, RegionError, RegionServer};

use common::postgres::PostgresServer;
use common::server::{Edge, Subscription, TestRegion, connect, eventually, heartbeat, hello, record_with};
use common::{NOON, afternoon, at, camera, event, jpeg, region, secs};

/// Set for the process that is the region: its data folder and its database, a line each.
const CHILD: &str = "VIGIL_REGION_REPLICA_CHILD";
const TEST: &str = "a_replica_answers_as_its_region_and_changes_nothing";
const SCHEMA: &str = "replicated";
const EVENTS: u64 = 30;
/// How long is waited for what must come.
const PATIENCE: std::time::Duration = std::time::Duration::from_mins(1);

fn config(data_dir: &Path, index: IndexConfig) -> RegionConfig {
    RegionConfig { index, ..RegionConfig::local(region(), data_dir) }
}

/// A replica with the key of the region whose data folder is `of`.
async fn replica(of: &Path, data_dir: &Path, postgres: PostgresConfig) -> TestRegion {
    std::fs::create_dir_all(data_dir).unwrap();
    std::fs::copy(of.join("token.key"), data_dir.join("token.key")).unwrap();
    TestRegion::start_with(config(data_dir, IndexConfig::Replica(postgres)), afternoon()).await
}

fn search(page_size: i32, page_token: &str) -> v1::SearchRequest {
    v1::SearchRequest { page_size, page_token: page_token.to_owned(), ..Default::default() }
}

fn ids(events: &[v1::Event]) -> Vec<&str> {
    events.iter().map(|event| event.event_id.as_str()).collect()
}

/// All that this test asks of both.
async fn answers(
    of: &TestRegion,
    id: EventId,
) -> (Vec<v1::Event>, v1::Event, Vec<u8>, Vec<v1::AggregateGroup>, Vec<v1::Camera>) {
    let mut query = of.query();
    let found = query.get_event(v1::GetEventRequest { event_id: id.to_string(), ..Default::default() }).await;
    let found = found.unwrap().into_inner().event.unwrap();
    let thumbnail = v1::GetThumbnailRequest { thumbnail_key: found.thumbnail_key.clone(), ..Default::default() };
    let jpeg = query.get_thumbnail(thumbnail).await.unwrap().into_inner().jpeg;
    let range = v1::EventFilter {
        from: Some(time_to_wire(NOON)),
        until: Some(time_to_wire(secs(3_600))),
        ..Default::default()
    };
    let group_by = vec![v1::GroupBy::Hour.into(), v1::GroupBy::Camera.into()];
    let counts = query.aggregate(v1::AggregateRequest { filter: Some(range), group_by }).await.unwrap().into_inner();
    let cameras = of.cameras().list_cameras(v1::ListCamerasRequest::default()).await.unwrap().into_inner().cameras;
    (of.search_all(v1::EventFilter::default(), 7).await, found, jpeg.to_vec(), counts.groups, cameras)
}

async fn the_answers_are_the_regions(primary: &TestRegion, replica: &TestRegion, edge: &mut Edge) {
    let events: Vec<Event> =
        (0..EVENTS).map(|i| camera(event(secs(i)), ["gate-1", "gate-2"][i as usize % 2])).collect();
    edge.send(events.iter().map(|event| record_with(event, jpeg(7, 64))).collect()).await;
    edge.ack().await.unwrap();
    // Committed is committed: a replica over the same server needs no time.
    assert_eq!(answers(primary, events[3].id).await, answers(replica, events[3].id).await);

    let first = primary.query().search(search(20, "")).await.unwrap().into_inner();
    let rest = replica.query().search(search(20, &first.next_page_token)).await.unwrap().into_inner();
    assert_eq!((first.events.len(), rest.events.len()), (20, EVENTS as usize - 20));
    assert!(!ids(&first.events).contains(&rest.events[0].event_id.as_str()));
    assert!(!first.regions[0].from_replica && rest.regions[0].from_replica);

    let missing = v1::GetEventRequest { event_id: EventId::at(NOON).to_string(), ..Default::default() };
    assert_eq!(primary.query().get_event(missing.clone()).await.unwrap_err().code(), Code::NotFound);
    let error = replica.query().get_event(missing).await.unwrap_err();
    assert!(error.code() == Code::Unavailable && error.message().contains("ask the region itself"), "{error:?}");
}

/// A reader of the feed goes on at the replica from where it was, and learns of what comes.
async fn a_subscriber_changes_over(primary: &TestRegion, replica: &TestRegion, edge: &mut Edge) {
    let request = v1::SubscribeRequest::default();
    let cursor = Subscription::open(primary, request.clone()).await.unwrap().cursor;
    let later = event(secs(EVENTS));
    let mut reader = Subscription::open(replica, v1::SubscribeRequest { cursor, ..request }).await.unwrap();
    edge.publish(std::slice::from_ref(&later)).await;
    assert_eq!(reader.event().await.unwrap().event_id, later.id.to_string());
}

async fn what_changes_something_is_refused(replica: &TestRegion) {
    let hello = Publish::Hello(hello("edge-2", &InstanceId::random().to_string()));
    let camera = v1::Camera { camera_id: "gate-9".into(), region_id: "north".into(), ..Default::default() };
    let put = v1::PutCameraRequest { camera: Some(camera) };
    let delete = v1::DeleteCameraRequest { camera_id: "gate-1".into(), ..Default::default() };
    let errors = [
        replica.publish_raw(vec![hello]).await.unwrap_err(),
        replica.cameras().put_camera(put).await.unwrap_err(),
        replica.cameras().delete_camera(delete).await.unwrap_err(),
    ];
    for error in errors {
        assert!(error.code() == Code::FailedPrecondition && error.message().contains("this is a replica"), "{error:?}");
    }
}

/// A replica vouches for what the region wrote down of its edges, and nothing else.
async fn what_it_vouches_for_is_what_was_written_down(primary: &TestRegion, replica: &TestRegion, mut edge: Edge) {
    let told = async |of: &TestRegion| {
        let report = of.query().search(search(1, "")).await.unwrap().into_inner().regions.remove(0);
        report.complete_until.filter(|until| *until == time_to_wire(secs(700)))
    };
    edge.heartbeat(heartbeat(at(std::time::Duration::from_mins(59)), secs(700))).await;
    eventually("the region is told", || told(primary)).await;
    assert_eq!(told(replica).await, None, "not yet written down");
    // Its end writes it down.
    drop(edge);
    eventually("the replica learns how complete the region is", || told(replica)).await;
}

/// The policy is the replica's own, and holds for cameras that came after it started.
async fn its_policy_holds_for_cameras_that_it_does_not_know_yet(
    server: &PostgresServer,
    primary: &TestRegion,
    of: &Path,
) {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.toml");
    let text = "[[groups]]\nid = 'gates'\ncameras = ['gate-*']\n[[rules]]\nid = 'gates'\ncameras = ['gates']\ngrants = ['everything']\n";
    std::fs::write(&policy, text).unwrap();
    std::fs::copy(of.join("token.key"), folder.path().join("token.key")).unwrap();
    let index = IndexConfig::Replica(server.config(SCHEMA));
    let guarded = RegionConfig { policy: Some(policy), ..config(folder.path(), index) };
    let replica = TestRegion::start_with(guarded, afternoon()).await;
    let mut edge = primary.edge("edge-1").await;
    let (shown, withheld) = (camera(event(secs(900)), "gate-7"), camera(event(secs(901)), "vault"));
    assert_eq!(edge.publish(&[shown.clone(), withheld.clone()]).await.accepted, 2);
    let is_shown = || async {
        let events = replica.search_all(v1::EventFilter::default(), 100).await;
        assert!(!ids(&events).contains(&withheld.id.to_string().as_str()), "what the policy withholds was given");
        ids(&events).contains(&shown.id.to_string().as_str()).then_some(())
    };
    eventually("the new camera that the policy gives", is_shown).await;
    replica.stop().await;
}

/// Over a hot standby, which is read-only by itself: the same events, and what comes later once it is replayed.
async fn it_answers_from_a_standby(server: &PostgresServer, own: &Path, data_dir: &Path) {
    let standby = server.standby();
    let primary = TestRegion::start_with(config(own, IndexConfig::Postgres(server.config(SCHEMA))), afternoon()).await;
    let replica = replica(own, data_dir, standby.config(SCHEMA)).await;
    let later = event(secs(950));
    primary.edge("edge-1").await.publish(std::slice::from_ref(&later)).await;
    let request = v1::GetEventRequest { event_id: later.id.to_string(), ..Default::default() };
    let found = || async { replica.query().get_event(request.clone()).await.ok() };
    eventually("the standby has what was acknowledged", found).await;
    let all = async |of: &TestRegion| of.search_all(v1::EventFilter::default(), 7).await;
    assert_eq!(all(&primary).await, all(&replica).await);
    replica.stop().await;
    primary.stop().await;
    server.sql("ALTER SYSTEM RESET synchronous_standby_names");
    server.sql("SELECT pg_reload_conf()");
}

/// The child: a region that prints its address and serves until it is killed.
fn serve_until_killed(told: &str) {
    let (data_dir, url) = told.split_once('\n').unwrap();
    let postgres = PostgresConfig { schema: SCHEMA.into(), ..PostgresConfig::new(Secret::new(url), region()) };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = config(Path::new(data_dir), IndexConfig::Postgres(postgres));
    let server = runtime.block_on(RegionServer::start_at(config, afternoon())).unwrap();
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nserves {}", server.grpc_address()).unwrap();
    out.flush().unwrap();
    runtime.block_on(std::future::pending::<()>());
}

fn region_process(data_dir: &Path, server: &PostgresServer) -> (Child, String) {
    let told = format!("{}\n{}", data_dir.display(), server.config(SCHEMA).url.reveal());
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", TEST, "--nocapture"]).env(CHILD, told).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("serves ").map(str::to_owned));
    (child, format!("http://{}", address.expect("the region did not start")))
}

async fn publish(channel: Channel, events: &[Event]) {
    let mut edge = Edge::connect(channel, hello("edge-1", &InstanceId::random().to_string())).await.unwrap();
    edge.publish(events).await;
}

/// SIGKILL of the region costs its replica nothing, and what the next one writes is found there.
async fn it_outlives_the_region(server: &PostgresServer, data_dir: &Path, replica: &TestRegion) {
    let (mut child, address) = region_process(data_dir, server);
    let last = event(secs(1_000));
    publish(connect(&address).await, std::slice::from_ref(&last)).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let newest = replica.query().search(search(1, "")).await.unwrap().into_inner();
    assert_eq!(ids(&newest.events), [last.id.to_string().as_str()]);
    let mut reader = Subscription::open(replica, v1::SubscribeRequest::default()).await.unwrap();

    let (mut child, address) = region_process(data_dir, server);
    let next = event(secs(1_001));
    publish(connect(&address).await, std::slice::from_ref(&next)).await;
    // A live stream begins with what the replica knew of, a moment ago.
    let is_next = async { while reader.event().await.unwrap().event_id != next.id.to_string() {} };
    tokio::time::timeout(PATIENCE, is_next).await.expect("what the next region wrote");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_answers_as_its_region_and_changes_nothing() {
    if let Ok(told) = std::env::var(CHILD) {
        tokio::task::spawn_blocking(move || serve_until_killed(&told)).await.unwrap();
        return;
    }
    let server = PostgresServer::start(&[]);
    let folder = tempfile::tempdir().unwrap();
    let (own, other) = (folder.path().join("region"), folder.path().join("replica"));
    let primary = TestRegion::start_with(config(&own, IndexConfig::Postgres(server.config(SCHEMA))), afternoon()).await;
    let keyless = config(&other, IndexConfig::Replica(server.config(SCHEMA)));
    let refused = RegionServer::start_at(keyless, afternoon()).await.err().unwrap();
    assert!(matches!(refused, RegionError::ReplicaKey { .. }), "{refused:?}");

    let replica = replica(&own, &other, server.config(SCHEMA)).await;
    let mut edge = primary.edge("edge-1").await;
    the_answers_are_the_regions(&primary, &replica, &mut edge).await;
    a_subscriber_changes_over(&primary, &replica, &mut edge).await;
    what_changes_something_is_refused(&replica).await;
    what_it_vouches_for_is_what_was_written_down(&primary, &replica, edge).await;
    its_policy_holds_for_cameras_that_it_does_not_know_yet(&server, &primary, &own).await;
    primary.stop().await;
    it_answers_from_a_standby(&server, &own, &folder.path().join("standby")).await;
    it_outlives_the_region(&server, &own, &replica).await;
    let status =
        replica.regions().get_status(Request::new(v1::GetStatusRequest::default())).await.unwrap().into_inner();
    assert!(status.regions[0].from_replica && status.statuses[0].events == EVENTS + 6, "{status:?}");
    replica.stop().await;
}
