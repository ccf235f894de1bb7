//! A new edge from its token to its region, with real processes; and kill -9 while certificates are given out.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use common::edge::EdgePlan;
use common::look::eventually;
use common::{Process, free_address, run, vigil};
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use vigil_base::SystemClock;
use vigil_proto::v1;
use vigil_proto::v1::enrolment_service_client::EnrolmentServiceClient;
use vigil_trust::Dialer;
use vigil_trust::request::OwnKey;
use vigil_trust::token::EnrolToken;

/// Tokens that are redeemed while the region is killed.
const ROUNDS: u64 = 5;

fn pki(folder: &Path, args: &[&str]) -> String {
    let (status, shown, stderr) = run(vigil().arg("pki").args(args).arg("--dir").arg(folder.join("pki")));
    assert_eq!(status, Some(0), "{args:?}: {stderr}");
    shown
}

/// A region that holds the authority: where it serves, and where edges enrol.
struct Region {
    grpc: SocketAddr,
    enrol: SocketAddr,
}

impl Region {
    fn write(folder: &Path) -> Self {
        pki(folder, &["init"]);
        pki(folder, &["issue", "region", "north"]);
        pki(folder, &["issue", "operator", "alice"]);
        let region = Self { grpc: free_address(), enrol: free_address() };
        let _ = common::region_command(folder, "north", region.grpc);
        let config = folder.join("north/region.toml");
        let text = format!(
            "{}[tls]\ncertificate = \"../pki/region-north.pem\"\nkey = \"../pki/region-north.key\"\n\
             authority = \"../pki/authority.pem\"\n[enrolment]\nlisten = \"{}\"\nauthority = \"../pki\"\n",
            std::fs::read_to_string(&config).unwrap(),
            region.enrol
        );
        std::fs::write(config, text).unwrap();
        region
    }

    fn start(folder: &Path) -> Process {
        let mut command = vigil();
        command.arg("region").arg("--config").arg(folder.join("north/region.toml"));
        Process::start(command, &folder.join("north/log"))
    }

    fn token(&self, folder: &Path, edge: &str) -> String {
        let at = format!("https://{}", self.enrol);
        pki(folder, &["token", "edge", edge, "--region", "north", "--at", &at, "--valid", "1h"]).trim().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_edge_comes_to_its_region_by_a_token_alone() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let region = Region::write(folder);
    let camera = "[[cameras]]\nid = \"gate\"\nstream = { address = \"rtsp://127.0.0.1:9/gate\" }\n";
    let plan = EdgePlan::write(folder, "box-7", ("north", region.grpc), camera);
    let token = region.token(folder, "box-7");
    let tls = "[tls]\ncertificate = \"own.pem\"\nkey = \"own.key\"\nauthority = \"authority.pem\"\n";
    let text = std::fs::read_to_string(&plan.config).unwrap().replace("http://", "https://");
    let text = text.replace("[model]", &format!("{tls}enrol_token = \"{token}\"\n[model]"));
    std::fs::write(&plan.config, &text).unwrap();
    assert_eq!(run(vigil().args(["config", "check"]).arg(&plan.config)).0, Some(0));

    // The edge is up before its region is.
    let edge = plan.start();
    common::look::health_until(plan.ops, "the edge tells that it has no certificate yet", |health| {
        common::look::problem(health, "enrolment").is_some()
    })
    .await;
    let _region = Region::start(folder);
    let ask = |args: &[&str]| {
        let mut command = vigil();
        command.args(args).arg("--server").arg(format!("https://{}", region.grpc));
        run(command.arg("--certificate").arg(folder.join("pki/operator-alice.pem")))
    };
    eventually("the edge is connected", async || {
        let (_, shown, _) = ask(&["status", "--json"]);
        shown.lines().find(|line| line.contains("\"box-7\"") && line.contains("\"connected\":true")).map(|_| ())
    })
    .await;
    let own = |file: &str| plan.config.with_file_name(file);
    assert_eq!(std::fs::metadata(own("own.key")).unwrap().permissions().mode() & 0o777, 0o600);
    let secret = &token[token.len() - 40..];
    assert!(!std::fs::read_to_string(&plan.log).unwrap().contains(secret), "the token stands in the log");

    // The token is used up, and may be gone: the edge starts with what it has.
    drop(edge);
    std::fs::write(&plan.config, text.replace(&format!("enrol_token = \"{token}\"\n"), "")).unwrap();
    assert_eq!(run(vigil().args(["config", "check"]).arg(&plan.config)).0, Some(0));
    // Another box with the same token.
    std::fs::remove_file(own("own.key")).unwrap();
    std::fs::remove_file(own("own.pem")).unwrap();
    std::fs::write(&plan.config, text).unwrap();
    let _thief = plan.start();
    common::look::health_until(plan.ops, "the thief is told", |health| {
        common::look::problem(health, "enrolment").is_some_and(|told| told.contains("used before"))
    })
    .await;
    assert!(!own("own.pem").exists());
}

async fn enrol(region: &Region, token: &EnrolToken, key: &Path) -> Result<String, Status> {
    let endpoint = Endpoint::from_shared(format!("https://{}", region.enrol)).unwrap();
    let identity = token.identity.clone();
    let server = "vigil://region/north".parse().unwrap();
    let dialer = Dialer::pinned(endpoint, token.authority, server, SystemClock::shared());
    let channel = dialer.connect().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let request = v1::EnrolRequest {
        token_id: token.id.to_vec(),
        token_secret: token.secret.to_vec(),
        certificate_request: OwnKey::load_or_make(key).unwrap().request(&identity).unwrap(),
    };
    Ok(EnrolmentServiceClient::new(channel).enrol(request).await?.into_inner().certificate_pem)
}

#[tokio::test(flavor = "multi_thread")]
async fn whenever_the_region_is_killed_a_token_makes_one_holder() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let region = Region::write(folder);
    let mut process = Region::start(folder);
    for round in 0..ROUNDS {
        let token: EnrolToken = region.token(folder, &format!("box-{round}")).parse().unwrap();
        let (own, other) = (folder.join(format!("{round}.key")), folder.join(format!("{round}-other.key")));
        // Up to a moment of the request that differs from round to round.
        eventually("the region serves", async || tokio::net::TcpStream::connect(region.enrol).await.ok()).await;
        let cut = tokio::time::timeout(Duration::from_millis(2 + 5 * round), enrol(&region, &token, &own)).await;
        process.kill();
        process = Region::start(folder);
        let given = eventually("the answer", async || enrol(&region, &token, &own).await.ok()).await;
        if let Ok(Ok(before)) = cut {
            assert_eq!(before, given, "one key was given two certificates");
        }
        assert_eq!(enrol(&region, &token, &own).await.unwrap(), given);
        let status = enrol(&region, &token, &other).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    }
}
