//! Connections end with the certificates that began them; who comes back with a renewed one goes on.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::time::Duration;

use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use vigil_trust::{Keeper, Owner, Refresh};

use common::{DAY, PATIENCE, Pki, ask, clock, connect, id, region, serve};

/// Life of a certificate that is to end during a test.
const SHORT: Duration = Duration::from_secs(3);

async fn watch(channel: Channel) -> tonic::Streaming<tonic_health::pb::HealthCheckResponse> {
    let request = HealthCheckRequest { service: String::new() };
    let mut stream = HealthClient::new(channel).watch(request).await.unwrap().into_inner();
    stream.next().await.unwrap().unwrap();
    stream
}

#[tokio::test]
async fn a_stream_ends_with_its_certificate_and_the_channel_goes_on_with_a_renewed_one() {
    let (pki, shutdown) = (Pki::new(), CancellationToken::new());
    let address = serve(&pki.keeper("vigil://region/north"), &shutdown).await;
    let other = connect(address, pki.keeper("vigil://edge/box-8"), region()).await.unwrap();
    let mut others = watch(other.clone()).await;
    let files = pki.files("vigil://edge/box-7", &[], clock().now(), SHORT);
    let keeper = Keeper::open(files, Owner::Exactly(id("vigil://edge/box-7")), clock()).unwrap();
    let not_after = keeper.current().unwrap().info.not_after;
    let channel = connect(address, keeper.clone(), region()).await.unwrap();
    let mut stream = watch(channel.clone()).await;

    let ended = tokio::time::timeout(PATIENCE, stream.next()).await.expect("an end").unwrap().unwrap_err();
    assert!(clock().now() >= not_after, "it ended before its time");
    assert_eq!(ended.code(), Code::Unavailable, "{ended:?}");
    assert!(ended.message().contains("vigil://edge/box-7") && ended.message().contains("renewed"), "{ended:?}");

    // One that is over is not even shown again.
    let told = ask(channel.clone()).await.unwrap_err();
    assert!(told.contains("edge-box-7.pem ended at"), "{told}");
    pki.files("vigil://edge/box-7", &[], clock().now(), DAY);
    assert!(matches!(keeper.refresh(), Refresh::Taken));
    ask(channel.clone()).await.unwrap();
    watch(channel).await;

    // Nobody else was cut.
    shutdown.cancel();
    let last = tokio::time::timeout(PATIENCE, others.next()).await.expect("the server tells that it ends");
    assert!(last.unwrap().is_ok(), "the other edge's stream was cut");
}

#[tokio::test]
async fn who_does_not_hang_up_is_cut() {
    let (pki, shutdown) = (Pki::new(), CancellationToken::new());
    let address = serve(&pki.keeper("vigil://region/north"), &shutdown).await;
    let files = pki.files("vigil://edge/box-7", &[], clock().now(), SHORT);
    let keeper = Keeper::open(files, Owner::Anybody, clock()).unwrap();
    let channel = connect(address, keeper, region()).await.unwrap();
    // A stream that no layer of ours knows, and that its client never ends.
    let services = MessageRequest::ListServices(String::new());
    let question = ServerReflectionRequest { host: String::new(), message_request: Some(services) };
    let asked = tokio_stream::once(question).chain(tokio_stream::pending());
    let mut answers = ServerReflectionClient::new(channel).server_reflection_info(asked).await.unwrap().into_inner();
    answers.next().await.unwrap().unwrap();
    let cut = tokio::time::timeout(PATIENCE, answers.next()).await.expect("it is cut");
    assert!(cut.is_none_or(|answer| answer.is_err()));
}
