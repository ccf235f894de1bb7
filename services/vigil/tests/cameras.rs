//! Cameras that cannot be read, or misbehave, over real RTSP: the operator is told why, nothing else suffers, and no password
//! is shown to anybody.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use common::clock::ShiftedClock;
use common::edge::{EdgePlan, camera, simulator};
use common::look::{camera_until, eventually, health_until, http_get, metric, problem, search_until, status_until};
use common::{Process, fake_rtsp, free_address, run, vigil};
use tonic::transport::Channel;
use vigil_base::Secret;
use vigil_camsim::{Credentials, Simulator};
use vigil_proto::v1::{self, CameraState};

const RIGHT: &str = "right-Qz7pw";
const WRONG: &str = "wrong-Kx9pw";
/// Quick attempts, so that a test sees many.
const PATIENCE: &str = "connect_timeout = \"1s\", reconnect_max = \"500ms\"";

fn credentials() -> Credentials {
    Credentials { user: "viewer".to_owned(), password: Secret::new(RIGHT) }
}

/// Each camera that cannot be read: id, stream, words of the reason.
fn unreadable(simulator: &Simulator, folder: &Path) -> Vec<(&'static str, String, &'static str)> {
    let good = simulator.url("plaza");
    let missing = simulator.url("no-such-stream").replacen("rtsp://", &format!("rtsp://viewer:{RIGHT}@"), 1);
    std::fs::write(folder.join("wrong.pw"), WRONG).unwrap();
    let wrong_file = folder.join("wrong.pw");
    let jpeg = fake_rtsp::describes("m=video 0 RTP/AVP 26\r\na=control:track1\r\n");
    let vp8 = fake_rtsp::describes("m=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\na=control:track1\r\n");
    let sound = fake_rtsp::describes("m=audio 0 RTP/AVP 8\r\na=control:track1\r\n");
    let silent = fake_rtsp::silent();
    let address = |url: &dyn std::fmt::Display| format!("address = \"{url}\"");
    let at = |server: SocketAddr| format!("address = \"rtsp://{server}/stream\"");
    vec![
        (
            "wrong-password",
            format!("{}, user = \"viewer\", password = \"{WRONG}\"", address(&good)),
            "user and password",
        ),
        (
            "wrong-file",
            format!("{}, user = \"viewer\", password_file = \"{}\"", address(&good), wrong_file.display()),
            "user and password",
        ),
        ("no-password", address(&good), "user and password"),
        ("wrong-path", address(&missing), "no such stream"),
        ("wrong-port", at(free_address()), "refuses connections"),
        ("wrong-host", address(&"rtsp://no-such-host.invalid/1"), "cannot be reached"),
        ("jpeg", at(jpeg), "sends JPEG: set the camera to H.264 or H.265"),
        ("vp8", at(vp8), "sends VP8: set the camera to H.264 or H.265"),
        ("sound", at(sound), "no video"),
        ("silent", at(silent), "sent nothing for 1s"),
    ]
}

fn vigil_at(server: SocketAddr, args: &[&str]) -> Command {
    let mut command = vigil();
    command.args(args).arg("--server").arg(format!("http://{server}"));
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_that_cannot_be_read_says_why_once_and_no_password_is_shown_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = simulator(&["plaza"], Some(credentials()));
    let region = free_address();
    let _region = common::region(folder.path(), "north", region);
    let unreadable = unreadable(&simulator, folder.path());
    let good = format!("address = \"{}\", user = \"viewer\", password = \"{RIGHT}\"", simulator.url("plaza"));
    let mut cameras = camera("plaza", &good);
    cameras.extend(unreadable.iter().map(|(id, stream, _)| camera(id, &format!("{stream}, {PATIENCE}"))));
    let plan = EdgePlan::write(folder.path(), "edge-1", ("north", region), &cameras);
    let mut edge = plan.command();
    edge.env("VIGIL_LOG", "trace");
    let _edge = Process::start(edge, &plan.log);

    let channel = common::connect(region).await;
    for (id, _, reason) in &unreadable {
        let down = camera_until(&channel, id, reason, |camera| camera.state() == CameraState::Down).await;
        assert!(down.detail.contains(reason), "{id}: {}", down.detail);
        let health = health_until(plan.ops, id, |health| problem(health, &format!("camera/{id}")).is_some()).await;
        assert_eq!(health["ready"], true, "one camera is not the edge: {health}");
    }
    search_until(&channel, "events of the camera that works", |answer| !answer.events.is_empty()).await;

    let tries = "vigil_camera_reconnects_total{camera=\"wrong-port\",reason=\"refused\"}";
    eventually("three attempts", async || metric(plan.ops, tries).filter(|count| *count >= 3.0)).await;
    let log = std::fs::read_to_string(&plan.log).unwrap();
    let warnings = log.lines().filter(|line| line.contains("\"WARN\"") && line.contains("\"wrong-port\"")).count();
    assert_eq!(warnings, 1, "the same reason is told once, not with each attempt");

    let mut shown = log + &std::fs::read_to_string(folder.path().join("north/log")).unwrap();
    shown.extend([http_get(plan.ops, "/healthz"), http_get(plan.ops, "/metrics")].map(Option::unwrap));
    let questions = [
        &["status"][..],
        &["status", "--json"],
        &["cameras", "list"],
        &["cameras", "list", "--json"],
        &["query", "--json"],
    ];
    for question in questions {
        let (status, stdout, stderr) = run(&mut vigil_at(region, question));
        assert_eq!(status, Some(0), "{question:?}: {stderr}");
        shown.extend([stdout, stderr]);
    }
    shown.push_str(&doctor(&simulator, folder.path()));
    for password in [RIGHT, WRONG] {
        let line = shown.lines().find(|line| line.contains(password));
        assert_eq!(line, None, "a password is shown");
    }
}

/// All that `vigil doctor` says of a camera, with the right and a wrong password, to people and programs.
fn doctor(simulator: &Simulator, folder: &Path) -> String {
    std::fs::write(folder.join("right.pw"), RIGHT).unwrap();
    let url = simulator.url("plaza");
    let inside = url.replacen("rtsp://", &format!("rtsp://viewer:{WRONG}@"), 1);
    let file = |name: &str| folder.join(name).display().to_string();
    let (right, wrong) = (file("right.pw"), file("wrong.pw"));
    let cases = [
        (vec!["--camera", &url, "--user", "viewer", "--password-file", &right], 0, "H.264 768x576"),
        (vec!["--camera", &url, "--user", "viewer", "--password-file", &wrong], 1, "user and password"),
        (vec!["--camera", &inside, "--json"], 1, "user and password"),
        (vec!["--camera", &inside, "--user", "other"], 1, "user is given twice"),
    ];
    let mut said = String::new();
    for (args, expected, told) in cases {
        let mut command = vigil();
        command.args(["doctor", "--providers", "cpu", "--manifest"]).arg(common::edge::manifest()).args(&args);
        let (status, stdout, stderr) = run(command.env("VIGIL_LOG", "trace"));
        assert_eq!(status, Some(expected), "{told}: {stdout}{stderr}");
        assert!(stdout.contains(told), "{told}: {stdout}");
        said.extend([stdout, stderr]);
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simulator_does_what_is_typed_and_says_what_it_does_not_understand() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("camsim.log");
    let mount = format!("gate={},length=20s", common::edge::clip("vtest.avi").display());
    let mut camsim = vigil();
    camsim.args(["camsim", "--mount", &mount, "--listen", "127.0.0.1:0"]);
    let (mut camsim, lines) = Process::start_with_lines(camsim, &log);
    let url = lines.recv_timeout(common::PATIENCE).expect("the camera's address");
    for (typed, told) in [
        ("freze gate 5s", "unknown fault \"freze\"; known are: freeze cam1 5s"),
        ("freeze gate", "freeze wants one duration"),
        ("freeze gat 5s", "no mount is named \"gat\"; there are: gate"),
        ("damage gate 500% 5s", "\"500%\" is not a share"),
    ] {
        camsim.say(typed);
        eventually(told, async || std::fs::read_to_string(&log).unwrap().contains(told).then_some(())).await;
    }
    camsim.say("refuse all 60s");
    eventually("a camera off the network", async || {
        let mut doctor = vigil();
        doctor.args(["doctor", "--providers", "cpu", "--json", "--camera", &url, "--manifest"]);
        let (_, stdout, _) = run(doctor.arg(common::edge::manifest()));
        stdout.contains("refuses connections").then_some(())
    })
    .await;
    assert_eq!(camsim.terminate().code(), Some(0), "told to end, it ends in order");
}

/// One edge with one camera that misbehaves, by a clock that jumps.
struct Street {
    simulator: Simulator,
    channel: Channel,
    plan: EdgePlan,
    clock: ShiftedClock,
    _processes: [Process; 2],
}

impl Street {
    async fn open(folder: &Path) -> Self {
        let simulator = simulator(&["gate"], None);
        let region = free_address();
        let region_process = common::region(folder, "north", region);
        let stream = format!("address = \"{}\", stall_timeout = \"2s\", reconnect_max = \"1s\"", simulator.url("gate"));
        let plan = EdgePlan::write(folder, "edge-1", ("north", region), &camera("gate", &stream));
        let clock = ShiftedClock::new(folder);
        let mut edge = plan.command();
        clock.rule(&mut edge);
        let edge = Process::start(edge, &plan.log);
        let channel = common::connect(region).await;
        Self { simulator, channel, plan, clock, _processes: [region_process, edge] }
    }

    fn tell(&self, command: &str) {
        self.simulator.execute(&command.parse().unwrap()).unwrap();
    }

    /// Waits until pictures of this size are analysed that were not there before.
    async fn analysed(&self, size: &str) {
        let count = async || camera_until(&self.channel, "gate", "known", |_| true).await.frames_analysed;
        let before = count().await;
        let is_new = |camera: &v1::CameraHealth| {
            camera.state() == CameraState::Streaming && camera.detail.contains(size) && camera.frames_analysed > before
        };
        camera_until(&self.channel, "gate", size, is_new).await;
    }

    /// How often the stream was unfit to be read or decoded so far.
    fn harm(&self) -> f64 {
        let families =
            ["vigil_camera_reconnects_total{", "vigil_decode_errors_total{", "vigil_decode_skipped_packets_total{"];
        let shown = http_get(self.plan.ops, "/metrics").unwrap();
        let counts = shown.lines().filter(|line| families.iter().any(|family| line.starts_with(family)));
        counts.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
    }

    /// Tells it `commands` until its connection has ended for `reason` once more.
    async fn lose(&self, commands: &[&str], reason: &str) {
        let series = format!("vigil_camera_reconnects_total{{camera=\"gate\",reason=\"{reason}\"}}");
        let ended = || metric(self.plan.ops, &series).unwrap_or(0.0);
        let before = ended();
        eventually(reason, async || {
            for command in commands {
                self.tell(command);
            }
            (ended() > before).then_some(())
        })
        .await;
    }

    async fn new_events(&self, why: &str) {
        let ids =
            |answer: &v1::SearchResponse| answer.events.iter().map(|event| event.event_id.clone()).collect::<Vec<_>>();
        let before = ids(&search_until(&self.channel, why, |_| true).await);
        search_until(&self.channel, why, |answer| ids(answer).iter().any(|id| !before.contains(id))).await;
    }

    /// Waits for a word of a component's problem, or for no problem.
    async fn told(&self, component: &str, word: Option<&str>) {
        let matches = |health: &serde_json::Value| match (problem(health, component), word) {
            (Some(detail), Some(word)) => detail.contains(word),
            (None, None) => true,
            _ => false,
        };
        health_until(self.plan.ops, &format!("{component}: {word:?}"), matches).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_changes_size_sends_garbage_or_goes_away_is_followed_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let street = Street::open(folder.path()).await;
    street.analysed("768x576").await;

    street.tell("resize gate 640x480");
    street.analysed("640x480").await;
    for fault in ["garbage gate 2s", "damage gate 20% 2s"] {
        let before = street.harm();
        street.tell(fault);
        eventually(fault, async || (street.harm() > before).then_some(())).await;
        street.analysed("640x480").await;
    }
    street.lose(&["close gate"], "ended").await;
    street.analysed("640x480").await;
    street.lose(&["refuse gate 1s", "close gate"], "rejected").await;
    street.analysed("640x480").await;
    street.new_events("events after all that").await;
    street.told("camera/gate", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_is_told_and_neither_frames_nor_events_are_lost() {
    let folder = tempfile::tempdir().unwrap();
    let street = Street::open(folder.path()).await;
    street.analysed("768x576").await;
    street.told("clock", None).await;

    street.clock.set(3600);
    street.told("clock", Some("1h ahead of the region's")).await;
    let offset =
        |status: &v1::RegionStatus| status.edges.first().filter(|edge| edge.clock_offset_ms > 3_590_000).map(|_| ());
    status_until(&street.channel, "the region sees the offset", offset).await;
    street.new_events("events by a clock ahead").await;
    street.clock.set(-3600);
    street.told("clock", Some("1h behind the region's")).await;
    street.new_events("events by a clock behind").await;
    street.clock.set(0);
    street.told("clock", None).await;

    street.tell("ntp gate -2h");
    street.told("camera/gate/clock", Some("2h behind this edge's")).await;
    street.new_events("events by the camera's clock").await;
    street.tell("ntp gate +2h");
    street.told("camera/gate/clock", None).await;
}
