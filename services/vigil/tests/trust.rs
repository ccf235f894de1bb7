//! Certificates from the command line to the processes: made, shown, asked for, replaced while events flow.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::collections::HashSet;
use std::path::Path;

use common::pki::{file, found, issue, pki, secure, secure_region, secure_source, tls_section};
use common::{Process, free_address, run, ship_all, take_ids, vigil};

/// Events made before and after each replacement.
const EVENTS: usize = 200;
/// Times all certificates are replaced.
const ROUNDS: usize = 3;

#[tokio::test(flavor = "multi_thread")]
async fn all_certificates_are_replaced_while_events_flow_and_none_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    assert_eq!(pki(folder, &["init"]).0, Some(0));
    for (role, name) in [("region", "north"), ("gateway", "city"), ("edge", "box-7"), ("operator", "alice")] {
        issue(folder, role, name);
    }
    let (address, front) = (free_address(), free_address());
    let _region = secure_region(folder, address, "").await;
    let gateway = common::gateway_command(folder, front, &[("north", address)]);
    secure(&folder.join("gateway/gateway.toml"), &tls_section(folder, "gateway-city"));
    let _gateway = Process::start(gateway, &folder.join("gateway/log"));

    let source = secure_source(folder, folder, "box-7", ("north", address));
    let (mut source, lines) = Process::start_with_lines(source, &folder.join("source.log"));
    let mut told = HashSet::new();
    for _ in 0..ROUNDS {
        take_ids(&lines, EVENTS, &mut told);
        for (role, name) in [("region", "north"), ("gateway", "city"), ("edge", "box-7")] {
            issue(folder, role, name);
        }
        wait_until_taken(folder, &["north/log", "gateway/log"]).await;
    }
    take_ids(&lines, EVENTS, &mut told);
    ship_all(&mut source, &lines, &mut told);
    for server in [address, front] {
        let found = found(folder, server);
        assert_eq!(found.len(), told.len());
        assert_eq!(found.into_iter().collect::<HashSet<_>>(), told);
    }
    // The edge was connected once: nobody hung up on it.
    let log = std::fs::read_to_string(folder.join("source.log")).unwrap();
    assert!(!log.contains("not connected"), "{log}");
}

/// Until each log tells of one more taking over than before it was last looked at.
async fn wait_until_taken(folder: &Path, logs: &[&str]) {
    for log in logs {
        let path = folder.join(log);
        let seen = folder.join(log.replace('/', "-"));
        let before = std::fs::read_to_string(&seen).ok().and_then(|n| n.parse().ok()).unwrap_or(0);
        let count =
            || std::fs::read_to_string(&path).unwrap_or_default().matches("new certificates are in use").count();
        common::look::eventually("new certificates are taken up", async || (count() > before).then_some(())).await;
        std::fs::write(seen, count().to_string()).unwrap();
    }
}

#[test]
fn nothing_listens_in_the_clear_to_other_machines() {
    let folder = tempfile::tempdir().unwrap();
    let _region = common::region_command(folder.path(), "north", free_address());
    let _gateway = common::gateway_command(folder.path(), free_address(), &[("north", free_address())]);
    let plan = common::edge::EdgePlan::write(
        folder.path(),
        "edge-1",
        ("north", free_address()),
        "[[cameras]]\nid = \"gate\"\nstream = { address = \"rtsp://127.0.0.1:9/gate\" }\n",
    );
    let configs = [
        ("region", folder.path().join("north/region.toml")),
        ("gateway", folder.path().join("gateway/gateway.toml")),
        ("edge", plan.config),
    ];
    for (role, config) in configs {
        let written = std::fs::read_to_string(&config).unwrap();
        let lines = written.lines().filter(|line| !line.starts_with("listen ") && !line.starts_with("ops_listen "));
        let rest: Vec<_> = lines.collect();
        for (listen, ops) in [("0.0.0.0:0", "127.0.0.1:0"), ("127.0.0.1:0", "0.0.0.0:0")] {
            let text = format!("listen = \"{listen}\"\nops_listen = \"{ops}\"\n{}\n", rest.join("\n"));
            std::fs::write(&config, text).unwrap();
            let (status, _, stderr) = run(vigil().arg(role).arg("--config").arg(&config));
            assert_eq!(status, Some(2), "{role}: {stderr}");
            assert!(stderr.contains("other machines reach 0.0.0.0:0"), "{role}: {stderr}");
            assert!(stderr.contains("plaintext_beyond_loopback = true"), "{role}: {stderr}");
        }
        let allowed = format!("plaintext_beyond_loopback = true\n{}", std::fs::read_to_string(&config).unwrap());
        std::fs::write(&config, allowed).unwrap();
        let (status, _, stderr) = run(vigil().args(["config", "check", "--role", role]).arg(&config));
        assert_eq!(status, Some(0), "{role}: {stderr}");
    }
}

#[test]
fn what_is_wrong_with_certificates_is_said_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    assert_eq!(pki(folder, &["init"]).0, Some(0));
    let (status, _, stderr) = pki(folder, &["init"]);
    assert!(status == Some(2) && stderr.contains("is there already"), "{stderr}");
    issue(folder, "region", "north");
    issue(folder, "region", "south");
    let (status, _, stderr) = pki(folder, &["issue", "region", "north"]);
    assert!(status == Some(2) && stderr.contains("--replace"), "{stderr}");
    let (status, _, stderr) = pki(folder, &["issue", "edge", "../box"]);
    assert!(status == Some(2) && stderr.contains("../box"), "{stderr}");
    let (status, _, stderr) = pki(folder, &["issue", "camera", "x"]);
    assert!(status == Some(2) && stderr.contains("edge, region, gateway and operator"), "{stderr}");

    let _region = common::region_command(folder, "north", free_address());
    let config = folder.join("north/region.toml");
    secure(&config, &tls_section(folder, "region-south"));
    let check = || run(vigil().args(["config", "check"]).arg(&config));
    let (status, _, stderr) = check();
    assert!(status == Some(2) && stderr.contains("vigil://region/south"), "{stderr}");
    let good = std::fs::read_to_string(&config).unwrap().replace("region-south", "region-north");
    std::fs::write(&config, good).unwrap();
    assert_eq!(check().0, Some(0));
    let (_, shown, _) = run(vigil().args(["doctor", "--json", "--config"]).arg(&config));
    assert!(shown.contains("vigil://region/north, until"), "{shown}");

    let (status, shown, _) = run(vigil().args(["pki", "show"]).arg(file(folder, "region-north", "pem")));
    assert!(status == Some(0) && shown.contains("vigil://region/north") && shown.contains("127.0.0.1"), "{shown}");
    let (status, shown, stderr) = run(vigil().args(["pki", "show"]).arg(file(folder, "region-north", "key")));
    assert!(status == Some(2) && !format!("{shown}{stderr}").contains("PRIVATE"), "{shown}{stderr}");
}
