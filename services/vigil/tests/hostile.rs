//! What a network may bring: noise, messages that are none, messages that are too large, tokens that are forged or stale. Each
//! is refused by what it is, and the server goes on.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use bytes::{Buf, BufMut};
use common::clock::ShiftedClock;
use common::edge::{EdgePlan, camera};
use common::publish::{batch, event, hello, publish};
use common::{PATIENCE, Process, free_address, run, vigil};
use prost::Message as _;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Code, Status};
use vigil_base::Timestamp;
use vigil_proto::v1;
use vigil_proto::v1::event_ingest_service_client::EventIngestServiceClient;
use vigil_proto::v1::region_service_client::RegionServiceClient;

/// The start of every HTTP/2 connection (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Every call that takes one message.
const QUESTIONS: [&str; 9] = [
    "/vigil.v1.EventQueryService/Search",
    "/vigil.v1.EventQueryService/GetEvent",
    "/vigil.v1.EventQueryService/Aggregate",
    "/vigil.v1.EventQueryService/GetThumbnail",
    "/vigil.v1.CameraService/ListCameras",
    "/vigil.v1.CameraService/GetCamera",
    "/vigil.v1.CameraService/PutCamera",
    "/vigil.v1.CameraService/DeleteCamera",
    "/vigil.v1.RegionService/GetStatus",
];
/// Field 1, a message or text, that claims to be longer than all that comes.
const CUT: &[u8] = &[0x0a, 0xff, 0xff, 0x7f, 0x00];
/// Field 1 with a wire type that does not exist.
const NONSENSE: &[u8] = &[0x0f, 0x01, 0x02];
/// Above the limit of every server.
const TOO_LARGE: usize = 17 * 1024 * 1024;

/// Sends and receives bytes as they are.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(&item[..]);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut item = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut item);
        Ok(Some(item))
    }
}

/// Sends `messages` as one call and returns how it was refused.
async fn refusal(channel: &Channel, path: &'static str, messages: Vec<Vec<u8>>) -> Status {
    let mut client = tonic::client::Grpc::new(channel.clone()).max_encoding_message_size(usize::MAX);
    client.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static(path);
    let call = async {
        let mut answers =
            client.streaming(tonic::Request::new(tokio_stream::iter(messages)), path, Raw).await?.into_inner();
        while answers.message().await?.is_some() {}
        Err::<(), Status>(Status::ok("it was taken"))
    };
    tokio::time::timeout(PATIENCE, call).await.expect("an answer").unwrap_err()
}

async fn lives(channel: &Channel) {
    let mut regions = RegionServiceClient::new(channel.clone());
    regions.get_status(v1::GetStatusRequest::default()).await.expect("the server goes on");
}

struct Servers {
    region: SocketAddr,
    gateway: SocketAddr,
    edge: EdgePlan,
    _processes: [Process; 3],
}

async fn servers(folder: &std::path::Path) -> Servers {
    let (region, gateway) = (free_address(), free_address());
    let region_process = common::region(folder, "north", region);
    let gateway_process = common::gateway(folder, gateway, &[("north", region)]);
    let camera = camera("gate", &format!("address = \"rtsp://{}/1\"", free_address()));
    let edge = EdgePlan::write(folder, "edge-9", ("north", region), &camera);
    let edge_process = edge.start();
    for address in [region, gateway, edge.grpc] {
        common::connect(address).await;
    }
    Servers { region, gateway, edge, _processes: [region_process, gateway_process, edge_process] }
}

#[tokio::test(flavor = "multi_thread")]
async fn noise_on_the_port_closes_that_connection_alone() {
    let folder = tempfile::tempdir().unwrap();
    let servers = servers(folder.path()).await;
    let noise: Vec<u8> = (0..5_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    // A frame header that announces 16 MiB - 1 bytes, beyond any that was agreed on.
    let huge_frame = [0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1];
    let cases = [
        noise.clone(),
        b"GET / HTTP/1.1\r\nHost: vigil\r\n\r\n".to_vec(),
        [PREFACE, &noise].concat(),
        [PREFACE, &huge_frame].concat(),
    ];
    for address in [servers.region, servers.gateway, servers.edge.grpc] {
        for case in &cases {
            tokio::task::block_in_place(|| closes(address, case));
        }
    }
    for address in [servers.region, servers.gateway] {
        lives(&common::connect(address).await).await;
    }
    let channel = common::connect(servers.edge.grpc).await;
    let status = refusal(&channel, QUESTIONS[0], vec![Vec::new()]).await;
    assert_eq!(status.code(), Code::Unimplemented, "an edge answers, and only on health: {status:?}");
}

/// The server ends a connection that begins like this.
fn closes(address: SocketAddr, sent: &[u8]) {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may have closed before all is sent.
    let _ = connection.write_all(sent);
    let mut answer = Vec::new();
    match connection.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{address} keeps it open"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_none_or_too_large_is_refused_as_such_on_every_call() {
    let folder = tempfile::tempdir().unwrap();
    let servers = servers(folder.path()).await;
    for address in [servers.region, servers.gateway] {
        let channel = common::connect(address).await;
        for path in QUESTIONS.into_iter().chain(["/vigil.v1.EventStreamService/Subscribe"]) {
            for bytes in [CUT, NONSENSE] {
                let status = refusal(&channel, path, vec![bytes.to_vec()]).await;
                assert_eq!(status.code(), Code::Internal, "{path}: {status:?}");
                assert!(status.message().contains("decode"), "{path}: {status:?}");
            }
            let status = refusal(&channel, path, vec![vec![0; TOO_LARGE]]).await;
            // The audit layer's code, or the transport's where calls are not audited.
            assert!(matches!(status.code(), Code::ResourceExhausted | Code::OutOfRange), "{path}: {status:?}");
            assert!(status.message().contains("too large"), "{path}: {status:?}");
        }
        lives(&channel).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_sends_nonsense_is_cut_off_and_the_others_go_on() {
    const PUBLISH: &str = "/vigil.v1.EventIngestService/Publish";
    let folder = tempfile::tempdir().unwrap();
    let region = free_address();
    let _region = common::region(folder.path(), "north", region);
    let channel = common::connect(region).await;
    let now = Timestamp::parse("2026-05-01T14:00:00Z").unwrap();
    let hello_bytes = hello("north").encode_to_vec();

    let status = refusal(&channel, PUBLISH, vec![hello_bytes.clone(), CUT.to_vec()]).await;
    assert!(status.code() == Code::InvalidArgument && status.message().contains("decode"), "{status:?}");
    let status = refusal(&channel, PUBLISH, vec![hello_bytes, vec![0; TOO_LARGE]]).await;
    assert!(status.code() == Code::ResourceExhausted && status.message().contains("too large"), "{status:?}");
    let no_hello = vec![batch(vec![event("north", "gate", "car", now)]).encode_to_vec()];
    let status = refusal(&channel, PUBLISH, no_hello).await;
    assert!(status.code() == Code::InvalidArgument && status.message().contains("hello"), "{status:?}");
    let many = (0..501).map(|_| event("north", "gate", "car", now)).collect();
    let requests = tokio_stream::iter([hello("north"), batch(many)]);
    let mut answers = EventIngestServiceClient::new(channel.clone()).publish(requests).await.unwrap().into_inner();
    answers.message().await.unwrap().expect("a welcome");
    let status = answers.message().await.unwrap_err();
    assert!(status.code() == Code::ResourceExhausted && status.message().contains("500"), "{status:?}");

    publish(channel.clone(), "north", vec![event("north", "gate", "car", now)]).await;
    assert_eq!(common::all_events(channel).await.len(), 1);
}

fn ask(server: SocketAddr, args: &[&str]) -> (Option<i32>, String, String) {
    run(vigil().args(args).arg("--server").arg(format!("http://{server}")))
}

fn next_page(server: SocketAddr, filter: &[&str]) -> String {
    let (status, stdout, stderr) = ask(server, &[&["query", "--limit", "1", "--json"], filter].concat());
    assert_eq!(status, Some(0), "{stderr}");
    let mut objects = stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let token = objects.find_map(|object| Some(object.get("next_page_token")?.as_str()?.to_owned()));
    token.filter(|token| !token.is_empty()).expect("more than one event")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_token_or_cursor_that_is_forged_or_borrowed_and_a_stale_token_is_refused_and_says_what_to_do() {
    // Beyond the age of every page token. Cursors do not get old: it may be the clock that is wrong.
    const DAYS_400: i64 = 400 * 24 * 60 * 60;
    let folder = tempfile::tempdir().unwrap();
    let (north, front) = (free_address(), free_address());
    let clock = ShiftedClock::new(folder.path());
    let mut commands = [
        common::region_command(folder.path(), "north", north),
        common::gateway_command(folder.path(), front, &[("north", north)]),
    ];
    for command in &mut commands {
        clock.rule(command);
    }
    let [_region, _gateway] = commands.map(|command| Process::start(command, &folder.path().join("log")));
    common::connect(front).await;
    let now = vigil_base::Clock::now(&vigil_base::SystemClock::new());
    let events = ["car", "person", "car"].map(|class| event("north", "gate", class, now)).to_vec();
    publish(common::connect(north).await, "north", events).await;

    let refused = |server: SocketAddr, args: &[&str], told: &str| {
        let (status, stdout, stderr) = ask(server, args);
        assert_eq!((status, stdout.as_str()), (Some(2), ""), "{args:?}: {stderr}");
        assert!(stderr.contains(told), "{args:?}: {stderr}");
    };
    for (server, other) in [(front, north), (north, front)] {
        let token = next_page(server, &[]);
        let mut changed = token.clone().into_bytes();
        changed[30] = if changed[30] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        for forged in ["forged", &changed, &token[..token.len() / 2]] {
            refused(server, &["query", "--page-token", forged], "start again without it [INVALID_TOKEN]");
        }
        refused(server, &["query", "--class", "car", "--page-token", &token], "filter");
        refused(other, &["query", "--page-token", &token], "not a token of this server");
        refused(server, &["subscribe", "--cursor", &token], "not a token of this server");
    }

    let cursor_file = folder.path().join("events.cursor");
    let kept = ["subscribe", "--from-oldest", "--limit", "1", "--cursor-file", cursor_file.to_str().unwrap()];
    let tokens = [front, north].map(|server| (server, next_page(server, &[])));
    let cursors = [front, north].map(|server| {
        std::fs::remove_file(&cursor_file).ok();
        assert_eq!(ask(server, &kept).0, Some(0));
        (server, std::fs::read_to_string(&cursor_file).unwrap())
    });
    clock.set(DAYS_400);
    for (server, token) in &tokens {
        refused(*server, &["query", "--page-token", token], "has expired; start again without it");
    }
    for (server, cursor) in &cursors {
        std::fs::write(&cursor_file, cursor).unwrap();
        let (status, stdout, stderr) = ask(*server, &kept);
        assert_eq!((status, stdout.lines().count()), (Some(0), 1), "{stderr}");
        let mut changed = cursor.trim().to_owned();
        changed.replace_range(30..31, if &changed[30..31] == "A" { "B" } else { "A" });
        std::fs::write(&cursor_file, &changed).unwrap();
        refused(*server, &kept, "events.cursor");
        refused(*server, &["subscribe", "--cursor", &changed], "start again without it");
    }
}
