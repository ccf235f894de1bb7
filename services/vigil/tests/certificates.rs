//! Certificates that are over while events flow, with real processes: who shows one is cut off, others go on, and each event is
//! found once.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::collections::HashSet;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use common::look::eventually;
use common::pki::{found, issue, operator, pki, secure_region, secure_source};
use common::{Process, free_address, run, ship_all, take_ids};
use vigil_base::{Clock, SystemClock};
use vigil_trust::Authority;

/// Events made between two steps of a test.
const EVENTS: usize = 100;
/// Life of a certificate that is to end while its edge ships: an edge starts and connects within it.
const SHORT: Duration = Duration::from_secs(10);

/// An edge that makes events.
struct Source {
    process: Process,
    lines: Receiver<String>,
    told: HashSet<String>,
    log: std::path::PathBuf,
}

impl Source {
    fn start(folder: &Path, id: &str, region: std::net::SocketAddr) -> Self {
        let own = folder.join(id);
        std::fs::create_dir_all(&own).unwrap();
        let log = own.join("log");
        let (process, lines) = Process::start_with_lines(secure_source(folder, &own, id, ("north", region)), &log);
        Self { process, lines, told: HashSet::new(), log }
    }

    fn make(&mut self) {
        take_ids(&self.lines, EVENTS, &mut self.told);
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn ship_all(mut self) -> HashSet<String> {
        ship_all(&mut self.process, &self.lines, &mut self.told);
        self.told
    }
}

fn prepare(folder: &Path) {
    assert_eq!(pki(folder, &["init"]).0, Some(0));
    for (role, name) in [("region", "north"), ("operator", "alice"), ("edge", "box-7"), ("edge", "box-8")] {
        issue(folder, role, name);
    }
}

fn issue_short(folder: &Path, edge: &str) {
    let authority = Authority::load(&folder.join("pki")).unwrap();
    let (who, now) = (format!("vigil://edge/{edge}").parse().unwrap(), SystemClock::new().now());
    authority.issue_files(&who, &[], SHORT, now, (&folder.join("pki"), true)).unwrap();
}

fn region_log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("north/log")).unwrap()
}

/// Every event that was told is found, once.
fn assert_found(folder: &Path, region: std::net::SocketAddr, told: &HashSet<String>) {
    let found = found(folder, region);
    assert_eq!(found.len(), told.len());
    assert_eq!(&found.into_iter().collect::<HashSet<_>>(), told);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_ends_with_its_certificate_one_that_renews_goes_on_and_no_event_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    prepare(folder);
    let address = free_address();
    let _region = secure_region(folder, address, "").await;
    issue_short(folder, "box-7");
    issue_short(folder, "box-8");
    let (mut late, mut renewed) = (Source::start(folder, "box-7", address), Source::start(folder, "box-8", address));
    late.make();
    renewed.make();
    let theirs = |own: &Source| found(folder, address).into_iter().any(|id| own.told.contains(&id));
    eventually("both edges ship", async || (theirs(&late) && theirs(&renewed)).then_some(())).await;
    issue(folder, "edge", "box-8");

    let cut = |edge: &str| region_log(folder).contains(&format!("certificate of vigil://edge/{edge} ended at"));
    eventually("both are cut when their certificates end", async || (cut("box-7") && cut("box-8")).then_some(())).await;
    let is_told = async || late.log().contains("edge-box-7.pem ended at").then_some(());
    eventually("the edge without a new one says so", is_told).await;
    late.make();
    renewed.make();
    issue(folder, "edge", "box-7");
    assert!(!renewed.log().contains("issue it anew"), "{}", renewed.log());
    let mut told = late.ship_all();
    told.extend(renewed.ship_all());
    assert_found(folder, address, &told);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_edge_is_shut_out_while_it_ships_others_go_on_and_a_new_certificate_restores_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    prepare(folder);
    let address = free_address();
    let list = format!("revoked = \"{}\"\n", folder.join("pki/authority.crl").display());
    let _region = secure_region(folder, address, &list).await;
    let (mut stolen, mut other) = (Source::start(folder, "box-7", address), Source::start(folder, "box-8", address));
    stolen.make();
    other.make();
    let theirs = |own: &Source| found(folder, address).into_iter().any(|id| own.told.contains(&id));
    eventually("both edges ship", async || (theirs(&stolen) && theirs(&other)).then_some(())).await;

    let (status, shown, stderr) = pki(folder, &["revoke", "vigil://edge/box-7", "--reason", "key-compromise"]);
    assert!(status == Some(0) && shown.contains("1 revoked"), "{shown}{stderr}");
    let cut = async || region_log(folder).contains("certificate of vigil://edge/box-7 was revoked").then_some(());
    eventually("the open connection is cut, and its edge named", cut).await;
    let told = async || stolen.log().contains("edge-box-7.pem: it was revoked").then_some(());
    eventually("the edge is told at its next attempt", told).await;
    stolen.make();
    other.make();
    assert!(!other.log().contains("not connected"), "{}", other.log());
    let (status, shown, stderr) = pki(folder, &["revoked"]);
    assert!(shown.contains("vigil://edge/box-7  key-compromise"), "{status:?} {shown}{stderr}");

    // Restored: another certificate, for another key. The old list knows nothing of it.
    issue(folder, "edge", "box-7");
    let mut told = stolen.ship_all();
    told.extend(other.ship_all());
    assert_found(folder, address, &told);

    // A person who left, by the file of the certificate.
    let file = folder.join("pki/operator-alice.pem");
    let (status, _, stderr) = pki(folder, &["revoke", file.to_str().unwrap(), "--reason", "affiliation-changed"]);
    assert_eq!(status, Some(0), "{stderr}");
    let refused = async || {
        let (status, _, stderr) = run(&mut operator(folder, address, &["query"]));
        (status != Some(0)).then_some(stderr)
    };
    let stderr = eventually("alice is not let in", refused).await;
    // By the handshake, or, where the region read the list just after it, by the connection's end.
    assert!(stderr.contains("was revoked: have another issued"), "{stderr}");
    assert!(stderr.contains("operator-alice.pem: it ") || stderr.contains("vigil://operator/alice "), "{stderr}");
}
