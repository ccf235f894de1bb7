//! The command line as a newcomer meets it: good examples work, mistakes are named, exit statuses mean what they say.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use common::vigil;

fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn check(folder: &Path, name: &str, text: &str) -> (Option<i32>, String, String) {
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    run(vigil().args(["config", "check"]).arg(file))
}

const EDGE: &str = r#"
edge_id = "edge-1"
region_id = "north"
region_address = "http://127.0.0.1:7100"
data_dir = "data"
[[cameras]]
id = "gate-1"
stream = { address = "rtsp://10.0.0.20/stream1" }
"#;

#[test]
fn the_configurations_in_the_readme_are_good() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("camera.pw"), "secret\n").unwrap();
    let examples: Vec<&str> = readme.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        let name = example.lines().next().unwrap().trim_start_matches("# ");
        let (status, stdout, stderr) = check(folder.path(), name, example);
        assert_eq!(status, Some(0), "{name}: {stderr}");
        assert!(stdout.contains("good"), "{stdout}");
    }
}

#[test]
fn mistakes_in_a_configuration_are_named_with_file_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let camera = "[[cameras]]\nid = \"gate-1\"\nstream = { address = \"rtsp://10.0.0.21/1\" }\n";
    let cases = [
        (format!("{EDGE}\n[analysis]\nrat = 5.0\n"), "rat"),
        (format!("{EDGE}\n[analysis]\nrate = 0.0\n"), "rate"),
        (format!("{EDGE}{camera}"), "cameras[1].id"),
        (EDGE.replace("rtsp://10.0.0.20/stream1", "http://10.0.0.20"), "rtsp://"),
        (EDGE.replace("north", "../north"), "region id \"../north\""),
        (EDGE.replace("http://127.0.0.1:7100", "127.0.0.1"), "region_address"),
        (EDGE.replace("[[cameras]]", "[[camera]]"), "camera"),
    ];
    for (text, named) in cases {
        let (status, _, stderr) = check(folder.path(), "edge.toml", &text);
        assert_eq!(status, Some(2), "{named}: {stderr}");
        assert!(stderr.contains("edge.toml") && stderr.contains(named), "{named} is not named: {stderr}");
    }
}

#[test]
fn a_password_in_a_camera_address_is_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let text = EDGE.replace("rtsp://10.0.0.20/stream1\"", "rtsp://viewer:hunter2@10.0.0.20/1\", user = \"other\"");
    let (status, stdout, stderr) = check(folder.path(), "edge.toml", &text);
    assert_eq!(status, Some(2));
    assert!(!format!("{stdout}{stderr}").contains("hunter2"), "{stderr}");
}

#[test]
fn a_missing_configuration_is_named() {
    for role in ["edge", "region", "gateway"] {
        let (status, _, stderr) = run(vigil().args([role, "--config", "no-such-file.toml"]));
        assert_eq!(status, Some(2), "{role}: {stderr}");
        assert!(stderr.contains("no-such-file.toml"), "{stderr}");
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("region.toml");
    let text =
        format!("region_id = \"north\"\nlisten = \"{address}\"\nops_listen = \"127.0.0.1:0\"\ndata_dir = \"data\"\n");
    std::fs::write(&config, text).unwrap();
    let (status, _, stderr) = run(vigil().args(["region", "--config"]).arg(&config));
    assert_eq!(status, Some(1), "{stderr}");
    assert!(stderr.contains(&address.to_string()), "{stderr}");
}

#[test]
fn nobody_at_the_server_is_named_and_is_a_failure() {
    let address = common::free_address();
    for command in [&["query"][..], &["cameras", "list"], &["status"]] {
        let (status, _, stderr) = run(vigil().args(command).arg("--server").arg(format!("http://{address}")));
        assert_eq!(status, Some(1), "{command:?}: {stderr}");
        assert!(stderr.contains(&address.to_string()), "{command:?}: {stderr}");
    }
}

#[test]
fn help_teaches_every_command() {
    let (status, top, _) = run(vigil().arg("--help"));
    assert_eq!(status, Some(0));
    for command in [
        "demo",
        "edge",
        "region",
        "gateway",
        "query",
        "subscribe",
        "cameras",
        "status",
        "analyze",
        "track",
        "camsim",
        "config",
        "doctor",
    ] {
        assert!(top.contains(command), "{command} is not in the help");
        let (status, help, _) = run(vigil().args([command, "--help"]));
        assert_eq!(status, Some(0));
        assert!(help.contains("Usage:"), "{command}: {help}");
    }
}

#[test]
fn wrong_use_is_status_two() {
    for args in [&["query", "--colour", "mauve"][..], &["query", "--min-confidence", "much"], &["frobnicate"]] {
        let (status, _, stderr) = run(vigil().args(args));
        assert_eq!(status, Some(2), "{args:?}: {stderr}");
    }
}

#[test]
fn files_that_are_no_video_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [("empty.mp4", &b""[..]), ("text.mp4", b"this is no video at all")] {
        let file = folder.path().join(name);
        std::fs::write(&file, content).unwrap();
        let (status, stdout, stderr) = run(vigil().arg("analyze").arg(&file));
        assert_eq!(status, Some(1), "{name}: {stderr}");
        assert!(stderr.contains(name) && stdout.is_empty(), "{stderr}");
    }
    let (status, _, stderr) = run(vigil().arg("analyze").arg(folder.path().join("absent.mp4")));
    assert_eq!(status, Some(1));
    assert!(stderr.contains("absent.mp4"), "{stderr}");
}

#[test]
fn the_tracker_alone_reads_and_writes_motchallenge_and_names_a_bad_line() {
    let folder = tempfile::tempdir().unwrap();
    let (detections, out) = (folder.path().join("det.txt"), folder.path().join("tracks.txt"));
    let lines: Vec<String> = (1..=50).map(|f| format!("{f},-1,{},100,40,90,0.9,-1,-1,-1", 10 + 4 * f)).collect();
    std::fs::write(&detections, lines.join("\n")).unwrap();
    let (status, _, stderr) = run(vigil().arg("track").arg(&detections).arg("--out").arg(&out));
    assert_eq!(status, Some(0), "{stderr}");
    let tracks = std::fs::read_to_string(&out).unwrap();
    let ids: std::collections::HashSet<&str> = tracks.lines().map(|line| line.split(',').nth(1).unwrap()).collect();
    assert_eq!(ids.len(), 1, "one walker is one track: {tracks}");
    assert!(tracks.lines().count() >= 45, "{tracks}");

    std::fs::write(&detections, "1,-1,10,10,5,5,0.9\n2,-1,oops,10,5,5,0.9\n").unwrap();
    let (status, _, stderr) = run(vigil().arg("track").arg(&detections).arg("--out").arg(&out));
    assert_eq!(status, Some(1));
    assert!(stderr.contains("det.txt") && stderr.contains("line 2"), "{stderr}");
}
