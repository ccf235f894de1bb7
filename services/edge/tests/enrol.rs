//! An edge gets its first certificate by a token, and each further one by itself.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use vigil_base::{EdgeId, RegionId, SharedClock, SystemClock};
use vigil_edge::enrol::{self, Enrolment};
use vigil_region::{EnrolmentConfig, RegionConfig, RegionServer};
use vigil_serve::HealthBoard;
use vigil_trust::ledger::Ledger;
use vigil_trust::token::EnrolToken;
use vigil_trust::{Authority, Identity, Keeper, Owner, TlsFiles};

const DAY: Duration = Duration::from_hours(24);
/// Of the edge's certificates: renewed at two thirds.
const LIFETIME: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(60);

async fn region(folder: &Path, authority: &Authority, clock: &SharedClock) -> RegionServer {
    let id = RegionId::new("north").unwrap();
    let mut config = RegionConfig::local(id.clone(), folder.join("data"));
    std::fs::create_dir_all(&config.data_dir).unwrap();
    config.tls = Some(authority.issue_files(&Identity::Region(id), &[], DAY, clock.now(), (folder, true)).unwrap().0);
    let (listen, pki) = ("127.0.0.1:0".parse().unwrap(), authority.folder().to_owned());
    config.enrolment = Some(EnrolmentConfig { listen, authority: pki, lifetime: LIFETIME });
    RegionServer::start_at(config, clock.clone()).await.unwrap()
}

fn enrolment(
    own: &Path,
    token: Option<EnrolToken>,
    region: &RegionServer,
    clock: &SharedClock,
    board: &HealthBoard,
) -> Enrolment {
    let file = |name: &str| own.join(name);
    let (certificate, key, authority) = (file("edge.pem"), file("edge.key"), file("authority.pem"));
    let files = TlsFiles { certificate, key, authority, revoked: None };
    let edge = EdgeId::new("box-7").unwrap();
    Enrolment {
        keeper: Keeper::open_or_wait(files, Owner::Exactly(Identity::Edge(edge.clone())), clock.clone()).unwrap(),
        token,
        edge,
        region: RegionId::new("north").unwrap(),
        region_address: format!("https://{}", region.grpc_address()).parse().unwrap(),
        clock: clock.clone(),
        board: board.clone(),
    }
}

async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what} did not come"));
}

#[tokio::test]
async fn the_first_certificate_comes_by_token_and_the_next_by_itself() {
    let (folder, clock, board) = (tempfile::tempdir().unwrap(), SystemClock::shared(), HealthBoard::new());
    let authority = Authority::create(&folder.path().join("pki"), "Test", DAY, clock.now()).unwrap();
    let region = region(folder.path(), &authority, &clock).await;
    let own = folder.path().join("edge");
    std::fs::create_dir_all(&own).unwrap();
    let at = format!("https://{}", region.enrolment_address().unwrap());
    let identity: Identity = "vigil://edge/box-7".parse().unwrap();
    let token = EnrolToken::random(identity, authority.fingerprint(), RegionId::new("north").unwrap(), at);

    // A token that the authority does not know: told, and tried again.
    let shutdown = CancellationToken::new();
    let first = enrolment(&own, Some(token.clone()), &region, &clock, &board);
    let keeper = Arc::clone(&first.keeper);
    assert!(keeper.current().is_err());
    let trying = tokio::spawn(enrol::run(first, shutdown.clone()));
    eventually("the board tells of it", || board.problems().iter().any(|p| p.detail.contains("not known"))).await;
    shutdown.cancel();
    trying.await.unwrap();
    let key = std::fs::read(own.join("edge.key")).unwrap();

    // It knows it now. The key that was made before is the one that is certified.
    Ledger::open(authority.folder()).unwrap().add(&token, clock.now() + DAY, clock.now()).unwrap();
    let shutdown = CancellationToken::new();
    let second = enrolment(&own, Some(token), &region, &clock, &board);
    let keeper = Arc::clone(&second.keeper);
    let running = tokio::spawn(enrol::run(second, shutdown.clone()));
    eventually("the first certificate", || keeper.current().is_ok()).await;
    assert_eq!(std::fs::read(own.join("edge.key")).unwrap(), key);
    let enrolled = keeper.current().unwrap().info.clone();
    assert_eq!(std::fs::read(own.join("authority.pem")).unwrap(), authority.pem().unwrap().into_bytes());

    eventually("the next certificate", || keeper.current().unwrap().info.serial != enrolled.serial).await;
    assert!(clock.now() < enrolled.not_after, "renewed before it ended");
    eventually("the board is clear", || board.problems().is_empty()).await;
    shutdown.cancel();
    running.await.unwrap();
    region.stop().await;
}
