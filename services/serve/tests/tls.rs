//! Mutual TLS between real servers and clients: who is let in, what those who are not are told, and what happens when
//! certificates change.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use vigil_base::error::chain;
use vigil_serve::{GrpcServer, HealthBoard, ops, tls};
use vigil_trust::{Authority, Dialer, Expect, Keeper, Owner, Refresh, Security, TlsFiles};

use common::{ANY, DAY, PATIENCE, Pki, ask, clock, connect, endpoint, eventually, id, region, serve};

#[tokio::test]
async fn who_has_a_certificate_of_the_authority_is_let_in() {
    let (pki, shutdown) = (Pki::new(), CancellationToken::new());
    let address = serve(&pki.keeper("vigil://region/north"), &shutdown).await;
    for who in ["vigil://edge/box-7", "vigil://gateway/city", "vigil://operator/alice"] {
        for expect in [region(), Expect::Host] {
            ask(connect(address, pki.keeper(who), expect).await.unwrap()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn who_has_none_or_a_wrong_one_is_told_why_not() {
    let (pki, other, shutdown) = (Pki::new(), Pki::new(), CancellationToken::new());
    let address = serve(&pki.keeper("vigil://region/north"), &shutdown).await;

    // Of another authority: the server is not believed, and where it is, the client is not.
    let told = connect(address, other.keeper("vigil://edge/box-7"), region()).await.unwrap_err();
    assert!(told.contains("not signed by an authority of ours"), "{told}");
    let foreign = other.files("vigil://edge/box-7", &[], clock().now(), DAY);
    let believing = join_authorities(&pki, &other, foreign);
    let keeper = Keeper::open(believing, Owner::Anybody, clock()).unwrap();
    let told = ask(connect(address, keeper, region()).await.unwrap()).await.unwrap_err();
    assert!(told.contains("edge-box-7.pem") && told.contains("not signed by an authority"), "{told}");

    // One that has ended is not even shown: the message names the file.
    let ended = pki.files("vigil://edge/old", &[], clock().now() - 3 * DAY, DAY);
    let keeper = Keeper::open(ended, Owner::Anybody, clock()).unwrap();
    let told = connect(address, keeper, region()).await.unwrap_err();
    assert!(told.contains("edge-old.pem") && told.contains("ended at"), "{told}");

    // A region's certificate is made for answering alone: nobody calls with it.
    let told = ask(connect(address, pki.keeper("vigil://region/south"), region()).await.unwrap()).await.unwrap_err();
    assert!(told.contains("region-south.pem"), "{told}");

    // None at all.
    let pinned =
        Dialer::pinned(endpoint("https", address), pki.authority.fingerprint(), id("vigil://region/north"), clock());
    assert!(pinned.connect().await.is_err(), "a server that asks for certificates shows no authority of its own");
}

/// A file in which both authorities stand, for a client of `other` that believes `pki`.
fn join_authorities(pki: &Pki, other: &Pki, files: TlsFiles) -> TlsFiles {
    let both = other.folder.path().join("both.pem");
    let read = |pki: &Pki| std::fs::read_to_string(pki.authority.folder().join("authority.pem")).unwrap();
    std::fs::write(&both, read(pki) + &read(other)).unwrap();
    TlsFiles { authority: both, ..files }
}

#[tokio::test]
async fn a_server_must_be_who_was_called() {
    let (pki, shutdown) = (Pki::new(), CancellationToken::new());
    let address = serve(&pki.keeper("vigil://region/south"), &shutdown).await;
    let told = connect(address, pki.keeper("vigil://gateway/city"), region()).await.unwrap_err();
    assert!(told.contains("vigil://region/south") && told.contains("vigil://region/north"), "{told}");

    // An operator knows the host alone; a certificate without it is not believed.
    let files = pki.files("vigil://gateway/g", &["gateway.example"], clock().now(), DAY);
    let address = serve(&Keeper::open(files, Owner::Anybody, clock()).unwrap(), &shutdown).await;
    let told = connect(address, pki.keeper("vigil://operator/alice"), Expect::Host).await.unwrap_err();
    assert!(told.contains("gateway.example") && told.contains("127.0.0.1"), "{told}");

    // An operator's certificate is made for asking alone: nobody answers with it.
    let address = serve(&pki.keeper("vigil://operator/mallory"), &shutdown).await;
    let told = connect(address, pki.keeper("vigil://operator/alice"), Expect::Host).await.unwrap_err();
    assert!(told.contains("not made for answering"), "{told}");
}

#[tokio::test]
async fn one_side_without_tls_is_said_in_so_many_words() {
    let (pki, shutdown) = (Pki::new(), CancellationToken::new());
    let plain = GrpcServer::bind(ANY, Security::Plain, HealthBoard::new()).await.unwrap();
    let address = plain.address();
    plain.spawn(shutdown.clone());
    let told = connect(address, pki.keeper("vigil://edge/box-7"), region()).await.unwrap_err();
    assert!(told.contains("speaks no TLS"), "{told}");

    let address = serve(&pki.keeper("vigil://region/north"), &shutdown).await;
    let asked = async { ask(endpoint("http", address).connect().await.map_err(|e| chain(&e))?).await };
    assert!(tokio::time::timeout(PATIENCE, asked).await.expect("an answer").is_err());
    // And it goes on serving those who do speak it.
    ask(connect(address, pki.keeper("vigil://edge/box-7"), region()).await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_peer_that_sends_garbage_or_a_huge_certificate_costs_its_own_connection_alone() {
    let (pki, shutdown) = (Pki::new(), CancellationToken::new());
    let address = serve(&pki.keeper("vigil://region/north"), &shutdown).await;
    let mut garbage = tokio::net::TcpStream::connect(address).await.unwrap();
    let _silent = tokio::net::TcpStream::connect(address).await.unwrap();
    // As much as is taken: the server hangs up on the first record that is none.
    let _ = garbage.write_all(&vec![0xab; 1 << 20]).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, garbage.read_to_end(&mut answer)).await.expect("it hangs up");

    let hosts: Vec<String> = (0..32).map(|n| format!("{}.{n}.example", "h".repeat(60))).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let mut files = pki.files("vigil://edge/huge", &hosts, clock().now(), DAY);
    let one = std::fs::read_to_string(&files.certificate).unwrap();
    let many = pki.folder.path().join("many.pem");
    std::fs::write(&many, one.repeat(60)).unwrap();
    files.certificate = many;
    let keeper = Keeper::open(files, Owner::Anybody, clock()).unwrap();
    let asked = async { ask(connect(address, keeper, region()).await?).await };
    let outcome = tokio::time::timeout(PATIENCE, asked).await.expect("an answer");
    assert!(outcome.is_err(), "a chain of 150 KB was taken");
    ask(connect(address, pki.keeper("vigil://edge/box-7"), region()).await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn new_files_are_used_for_new_connections_and_old_connections_stay_up() {
    let (pki, shutdown) = (Pki::new(), CancellationToken::new());
    let server = pki.keeper("vigil://region/north");
    let board = HealthBoard::new();
    let address = serve(&server, &shutdown).await;
    let old = connect(address, pki.keeper("vigil://edge/box-7"), region()).await.unwrap();
    let request = HealthCheckRequest { service: String::new() };
    let mut watch = HealthClient::new(old.clone()).watch(request).await.unwrap().into_inner();
    watch.next().await.unwrap().unwrap();
    let before = server.current().unwrap().info.fingerprint;

    // The files change: followed without anybody saying so.
    tokio::spawn(tls::follow(server.clone(), board.clone(), shutdown.clone()));
    pki.files("vigil://region/north", &["127.0.0.1"], clock().now(), DAY);
    eventually("the new certificate", || server.current().unwrap().info.fingerprint != before).await;
    ask(connect(address, pki.keeper("vigil://edge/box-8"), region()).await.unwrap()).await.unwrap();
    ask(old.clone()).await.unwrap();

    // Broken files: told, and what was good stays in use.
    let good = server.current().unwrap().info.fingerprint;
    std::fs::write(&server.files().certificate, "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
        .unwrap();
    let told = || board.problems().iter().any(|p| p.component == "certificate" && p.detail.contains("stay in use"));
    eventually("the board tells of it", told).await;
    assert_eq!(server.current().unwrap().info.fingerprint, good);
    ask(connect(address, pki.keeper("vigil://edge/box-9"), region()).await.unwrap()).await.unwrap();

    // Mended: the board is clear again.
    pki.files("vigil://region/north", &["127.0.0.1"], clock().now(), DAY);
    eventually("the board is clear", || board.problems().is_empty()).await;
    ask(old).await.unwrap();
    shutdown.cancel();
}

#[test]
fn files_that_do_not_belong_together_are_named() {
    let (pki, other) = (Pki::new(), Pki::new());
    let mine = || pki.files("vigil://edge/box-7", &[], clock().now(), DAY);
    let open =
        |files: TlsFiles| chain(&Keeper::open(files, Owner::Exactly(id("vigil://edge/box-7")), clock()).unwrap_err());
    let theirs = other.files("vigil://edge/box-7", &[], clock().now(), DAY);
    let told = open(TlsFiles { key: theirs.key.clone(), ..mine() });
    assert!(told.contains("edge-box-7.key is not the key of"), "{told}");
    let told = open(TlsFiles { authority: theirs.authority.clone(), ..mine() });
    assert!(told.contains("was not signed by an authority in") && told.contains("authority.pem"), "{told}");
    let told = open(pki.files("vigil://edge/box-8", &[], clock().now(), DAY));
    assert!(told.contains("vigil://edge/box-8") && told.contains("this is vigil://edge/box-7"), "{told}");
    let told = open(TlsFiles { key: mine().certificate, ..mine() });
    assert!(told.contains("holds no private key"), "{told}");
    let told = open(TlsFiles { certificate: mine().key, ..mine() });
    assert!(told.contains("holds no certificate") && !told.contains("PRIVATE"), "{told}");
    let told = open(TlsFiles { key: "/nowhere/x.key".into(), ..mine() });
    assert!(told.contains("/nowhere/x.key"), "{told}");
}

#[test]
fn one_that_has_ended_replaces_none_that_is_good() {
    let pki = Pki::new();
    let keeper = pki.keeper("vigil://edge/box-7");
    let good = keeper.current().unwrap().info.fingerprint;
    pki.files("vigil://edge/box-7", &[], clock().now() - 3 * DAY, DAY);
    assert!(matches!(keeper.refresh(), Refresh::Refused(error) if error.to_string().contains("ended at")));
    assert_eq!(keeper.current().unwrap().info.fingerprint, good);
    assert!(matches!(keeper.refresh(), Refresh::Same), "what was refused is refused once");
}

async fn get(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn metrics_are_in_the_clear_for_this_machine_alone() {
    let (pki, shutdown) = (Pki::new(), CancellationToken::new());
    let keeper = pki.keeper("vigil://region/north");
    let inside = ops::serve_ops(ANY, Some(&keeper), HealthBoard::new(), shutdown.clone()).await.unwrap();
    keeper.refresh();
    let shown = get(inside).await.unwrap();
    assert!(shown.starts_with("HTTP/1.1 200") && shown.contains("vigil_certificate_expiry_seconds"), "{shown}");
    let everywhere = "0.0.0.0:0".parse().unwrap();
    let outside = ops::serve_ops(everywhere, Some(&keeper), HealthBoard::new(), shutdown.clone()).await.unwrap();
    let shown = get(SocketAddr::from((Ipv4Addr::LOCALHOST, outside.port()))).await.unwrap_or_default();
    assert!(!shown.contains("vigil_"), "metrics went out in the clear: {shown}");
    shutdown.cancel();
}

#[test]
fn an_authority_is_made_once_and_its_key_is_its_owners() {
    use std::os::unix::fs::PermissionsExt;
    let pki = Pki::new();
    let key = pki.authority.folder().join("authority.key");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let told = Authority::create(pki.authority.folder(), "Again", DAY, clock().now()).unwrap_err().to_string();
    assert!(told.contains("is there already"), "{told}");
    let other = Pki::new();
    std::fs::copy(other.authority.folder().join("authority.key"), &key).unwrap();
    assert!(Authority::load(pki.authority.folder()).unwrap_err().to_string().contains("authority.key is not the key"));
}
