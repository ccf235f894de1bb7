//! Revoked certificates: shut out at once, on either side, and lists that cannot be used.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::path::PathBuf;
use std::sync::Arc;

use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic::transport::Channel;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use vigil_base::error::chain;
use vigil_serve::{HealthBoard, tls};
use vigil_trust::authority::LIST_FILE;
use vigil_trust::revocation::Reason;
use vigil_trust::{Keeper, Owner, TlsFiles};

use common::{DAY, PATIENCE, Pki, ask, clock, connect, eventually, id, region, serve};

/// Attempts of one who is refused.
const REFUSALS: usize = 200;

/// An authority and one who goes by its list, followed as processes do.
struct Listed {
    pki: Pki,
    list: PathBuf,
    shutdown: CancellationToken,
}

impl Listed {
    fn new() -> Self {
        let pki = Pki::new();
        let list = pki.folder.path().join("own.crl");
        let listed = Self { pki, list, shutdown: CancellationToken::new() };
        listed.revoke(&[]);
        listed.publish();
        listed
    }

    fn revoke(&self, keepers: &[&Keeper]) {
        let serials: Vec<_> = keepers.iter().map(|keeper| keeper.current().unwrap().info.serial.clone()).collect();
        self.pki.authority.revoke(&serials, Reason::KeyCompromise, DAY, clock().now()).unwrap();
    }

    /// Brings the authority's list to who goes by it.
    fn publish(&self) {
        let new = self.list.with_extension("new");
        std::fs::copy(self.pki.authority.folder().join(LIST_FILE), &new).unwrap();
        std::fs::rename(new, &self.list).unwrap();
    }

    fn keeper(&self, who: &str) -> (Arc<Keeper>, HealthBoard) {
        let files = self.pki.files(who, &["127.0.0.1"], clock().now(), DAY);
        let files = TlsFiles { revoked: Some(self.list.clone()), ..files };
        let (keeper, board) = (Keeper::open(files, Owner::Exactly(id(who)), clock()).unwrap(), HealthBoard::new());
        tokio::spawn(tls::follow(keeper.clone(), board.clone(), self.shutdown.clone()));
        (keeper, board)
    }
}

async fn watch(channel: Channel) -> tonic::Streaming<HealthCheckResponse> {
    let request = HealthCheckRequest { service: String::new() };
    let mut stream = HealthClient::new(channel).watch(request).await.unwrap().into_inner();
    stream.next().await.unwrap().unwrap();
    stream
}

async fn end(stream: &mut tonic::Streaming<HealthCheckResponse>) -> tonic::Status {
    tokio::time::timeout(PATIENCE, stream.next()).await.expect("an end").unwrap().unwrap_err()
}

#[tokio::test]
async fn who_calls_with_a_revoked_certificate_is_cut_off_and_not_let_in_again() {
    let listed = Listed::new();
    let address = serve(&listed.keeper("vigil://region/north").0, &listed.shutdown).await;
    let (thief, other) = (listed.pki.keeper("vigil://edge/box-7"), listed.pki.keeper("vigil://edge/box-8"));
    let (stolen, mine) =
        (connect(address, thief.clone(), region()).await.unwrap(), connect(address, other, region()).await.unwrap());
    let (mut theirs, mut ours) = (watch(stolen.clone()).await, watch(mine.clone()).await);

    listed.revoke(&[&thief]);
    listed.publish();
    let cut = end(&mut theirs).await;
    assert!(cut.code() == Code::Unauthenticated && cut.message().contains("box-7 was revoked"), "{cut:?}");
    let told = ask(stolen).await.unwrap_err();
    assert!(told.contains("edge-box-7.pem: it was revoked"), "{told}");

    // Another certificate of the same name is another.
    let restored = listed.pki.keeper("vigil://edge/box-7");
    ask(connect(address, restored, region()).await.unwrap()).await.unwrap();
    ask(mine).await.unwrap();
    listed.shutdown.cancel();
    let last = tokio::time::timeout(PATIENCE, ours.next()).await.expect("the server tells that it ends");
    assert!(last.unwrap().is_ok(), "the other edge's stream was cut");
}

/// With TLS 1.3 the caller is sending its first question when it is refused: the reason must not be lost over that.
#[tokio::test]
async fn each_of_many_refusals_arrives_with_its_reason() {
    let listed = Listed::new();
    let thief = listed.pki.keeper("vigil://edge/box-7");
    listed.revoke(&[&thief]);
    listed.publish();
    let address = serve(&listed.keeper("vigil://region/north").0, &listed.shutdown).await;
    for attempt in 0..REFUSALS {
        let told = ask(connect(address, thief.clone(), region()).await.unwrap()).await.unwrap_err();
        assert!(told.contains("edge-box-7.pem: it was revoked"), "attempt {attempt}: {told}");
    }
}

#[tokio::test]
async fn a_server_that_was_revoked_is_left_and_not_called_again() {
    let listed = Listed::new();
    let (server, shutdown) = (listed.pki.keeper("vigil://region/north"), CancellationToken::new());
    let address = serve(&server, &shutdown).await;
    let (caller, _) = listed.keeper("vigil://edge/box-7");
    let channel = connect(address, caller, region()).await.unwrap();
    let mut stream = watch(channel.clone()).await;
    listed.revoke(&[&server]);
    listed.publish();
    let cut = end(&mut stream).await;
    assert!(chain(&cut).contains("vigil://region/north was revoked"), "{}", chain(&cut));
    let told = ask(channel).await.unwrap_err();
    assert!(told.contains("its authority has revoked"), "{told}");
}

#[tokio::test]
async fn a_list_that_cannot_be_used_is_told_of_and_the_one_before_stays_in_force() {
    let listed = Listed::new();
    let (server, board) = listed.keeper("vigil://region/north");
    let address = serve(&server, &listed.shutdown).await;
    let thief = listed.pki.keeper("vigil://edge/box-7");
    let empty = std::fs::read(&listed.list).unwrap();
    listed.revoke(&[&thief]);
    listed.publish();
    let refused = async || ask(connect(address, thief.clone(), region()).await.unwrap()).await.is_err();
    eventually("the thief is shut out", || {
        server.current().unwrap().lists.as_ref().unwrap().lists()[0].revoked().count() == 1
    })
    .await;
    assert!(refused().await);

    let other = Pki::new();
    other.authority.revoke(&[], Reason::Unspecified, DAY, clock().now()).unwrap();
    let foreign = std::fs::read(other.authority.folder().join(LIST_FILE)).unwrap();
    let mut damaged = std::fs::read_to_string(&listed.list).unwrap();
    damaged.replace_range(100..101, if &damaged[100..101] == "A" { "B" } else { "A" });
    let unusable = [
        (empty, "is older than the list in force"),
        (foreign, "not signed by an authority of ours"),
        (damaged.into_bytes(), "own.crl"),
        (b"nonsense".to_vec(), "holds no revocation list"),
    ];
    for (bytes, why) in unusable {
        std::fs::write(&listed.list, bytes).unwrap();
        let told = |told: &str| told.contains("the one before stays in force") && told.contains(why);
        eventually(why, || board.problems().iter().any(|p| p.component == "certificate" && told(&p.detail))).await;
        assert!(refused().await, "{why}: the thief is let in");
        ask(connect(address, listed.pki.keeper("vigil://edge/box-8"), region()).await.unwrap()).await.unwrap();
    }
    // Beside such a list, a new certificate is taken up all the same.
    let before = server.current().unwrap().info.fingerprint;
    listed.pki.files("vigil://region/north", &["127.0.0.1"], clock().now(), DAY);
    eventually("the new certificate", || server.current().unwrap().info.fingerprint != before).await;
    assert!(refused().await);
    listed.publish();
    eventually("the board is clear", || board.problems().is_empty()).await;
}

#[test]
fn a_process_does_not_start_without_the_list_it_is_told_to_go_by_and_one_past_its_time_is_told_of() {
    let pki = Pki::new();
    let files = |list: &str| {
        let revoked = Some(pki.folder.path().join(list));
        TlsFiles { revoked, ..pki.files("vigil://region/north", &[], clock().now(), DAY) }
    };
    let open = |list: &str| Keeper::open(files(list), Owner::Anybody, clock());
    let told = chain(&open("nowhere.crl").unwrap_err());
    assert!(told.contains("nowhere.crl"), "{told}");
    std::fs::write(pki.folder.path().join("bad.crl"), "nonsense").unwrap();
    let told = chain(&open("bad.crl").unwrap_err());
    assert!(told.contains("bad.crl holds no revocation list"), "{told}");

    // Whom it names stays out; that there may be others is said.
    let (thief, yesterday) = (pki.keeper("vigil://edge/box-7"), clock().now() - 2 * DAY);
    let serial = thief.current().unwrap().info.serial.clone();
    pki.authority.revoke(std::slice::from_ref(&serial), Reason::Unspecified, DAY, yesterday).unwrap();
    let keeper = open(&format!("pki/{LIST_FILE}")).unwrap();
    assert!(keeper.current().unwrap().lists.as_ref().unwrap().lists()[0].holds(&serial));
    let told = keeper.problem().unwrap();
    assert!(told.contains("is to be followed by a newer list") && told.contains("vigil pki revoked --renew"), "{told}");
    pki.authority.revoke(&[], Reason::Unspecified, DAY, clock().now()).unwrap();
    keeper.refresh();
    assert_eq!(keeper.problem(), None);
    let own = keeper.current().unwrap().info.serial.clone();
    pki.authority.revoke(&[own], Reason::Unspecified, DAY, clock().now()).unwrap();
    keeper.refresh();
    assert!(keeper.problem().unwrap().contains("was revoked, and others refuse it"));
}
