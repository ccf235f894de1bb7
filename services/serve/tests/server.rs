//! A server as a client sees it: health follows the board, reflection answers in both versions, shutdown drains.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use vigil_serve::{GrpcServer, HealthBoard, grpc, ops};
use vigil_trust::Security;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const PATIENCE: Duration = Duration::from_secs(20);

async fn start(board: &HealthBoard, shutdown: &CancellationToken) -> (Channel, tokio::task::JoinHandle<()>) {
    let server = GrpcServer::bind(ANY, Security::Plain, board.clone()).await.unwrap();
    let uri = format!("http://{}", server.address());
    let task = server.spawn(shutdown.clone());
    (Channel::from_shared(uri).unwrap().connect().await.unwrap(), task)
}

#[tokio::test]
async fn grpc_health_follows_the_board_and_watchers_see_each_change() {
    let (board, shutdown) = (HealthBoard::new(), CancellationToken::new());
    let (channel, _task) = start(&board, &shutdown).await;
    let request = HealthCheckRequest { service: String::new() };
    let mut watch = HealthClient::new(channel).watch(request).await.unwrap().into_inner();
    let next = async |watch: &mut tonic::Streaming<_>| -> ServingStatus {
        let answer: tonic_health::pb::HealthCheckResponse =
            tokio::time::timeout(PATIENCE, watch.next()).await.expect("a change").unwrap().unwrap();
        answer.status()
    };
    assert_eq!(next(&mut watch).await, ServingStatus::Serving);
    board.report("index", "disk full", true);
    assert_eq!(next(&mut watch).await, ServingStatus::NotServing);
    board.clear("index");
    assert_eq!(next(&mut watch).await, ServingStatus::Serving);
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let (board, shutdown) = (HealthBoard::new(), CancellationToken::new());
    let first = GrpcServer::bind(ANY, Security::Plain, board.clone()).await.unwrap();
    let error = GrpcServer::bind(first.address(), Security::Plain, board).await.unwrap_err();
    assert!(error.to_string().contains(&first.address().to_string()), "{error}");
    shutdown.cancel();
}

#[tokio::test]
async fn an_open_stream_does_not_hold_the_server_up_for_ever() {
    let (board, shutdown) = (HealthBoard::new(), CancellationToken::new());
    let (channel, task) = start(&board, &shutdown).await;
    let request = HealthCheckRequest { service: String::new() };
    let _open = HealthClient::new(channel).watch(request).await.unwrap();
    shutdown.cancel();
    tokio::time::timeout(grpc::DRAIN + PATIENCE, task).await.expect("ended").unwrap();
}

#[tokio::test]
async fn reflection_lists_the_services_in_both_versions() {
    use tonic_reflection::pb::{v1, v1alpha};
    let (board, shutdown) = (HealthBoard::new(), CancellationToken::new());
    let (channel, _task) = start(&board, &shutdown).await;

    let ask = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::FileContainingSymbol(
            "vigil.v1.EventQueryService".into(),
        )),
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let mut answers = client.server_reflection_info(tokio_stream::once(ask)).await.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap().message_response.unwrap();
    assert!(matches!(answer, v1::server_reflection_response::MessageResponse::FileDescriptorResponse(_)), "{answer:?}");

    let ask = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
            "grpc.health.v1.Health".into(),
        )),
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let mut answers = client.server_reflection_info(tokio_stream::once(ask)).await.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap().message_response.unwrap();
    assert!(
        matches!(answer, v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(_)),
        "{answer:?}"
    );
}

async fn http_get(address: SocketAddr, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_ops_endpoint_shows_metrics_and_what_is_wrong() {
    let (board, shutdown) = (HealthBoard::new(), CancellationToken::new());
    let address = ops::serve_ops(ANY, None, board.clone(), shutdown.clone()).await.unwrap();
    metrics::counter!("vigil_test_things_total").increment(3);
    metrics::histogram!("vigil_test_wait_seconds").record(0.2);
    let shown = http_get(address, "/metrics").await;
    assert!(shown.contains("vigil_test_things_total 3"), "{shown}");
    assert!(shown.contains("vigil_test_wait_seconds_bucket{le=\"0.25\"} 1"), "{shown}");

    board.report("camera/gate", "does not answer", false);
    let shown = http_get(address, "/healthz").await;
    assert!(shown.starts_with("HTTP/1.1 200") && shown.contains("does not answer"), "{shown}");
    board.report("index", "disk full", true);
    let shown = http_get(address, "/healthz").await;
    assert!(shown.starts_with("HTTP/1.1 503") && shown.contains("disk full"), "{shown}");
}
