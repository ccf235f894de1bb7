//! The command line as a newcomer meets it: good examples work, mistakes are named, exit statuses mean what they say.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::io::Read;
use std::path::Path;

use common::edge::clip;
use common::{run, vigil};

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
        "journeys",
        "path",
        "presence",
        "cameras",
        "status",
        "analyze",
        "track",
        "camsim",
        "config",
        "doctor",
        "sign-in",
        "sign-out",
        "whoami",
        "issuer",
    ] {
        assert!(top.contains(command), "{command} is not in the help");
        let (status, help, _) = run(vigil().args([command, "--help"]));
        assert_eq!(status, Some(0));
        assert!(help.contains("Usage:"), "{command}: {help}");
    }
}

#[test]
fn wrong_use_is_status_two() {
    let cases = [
        (&["frobnicate"][..], "frobnicate"),
        (&["query", "--colour", "mauve"], "mauve"),
        (&["query", "--min-confidence", "much"], "much"),
        (&["query", "--limit", "0"], "--limit"),
        (&["query", "--plate", "AB", "--plate-match", "one-wrong"], "--plate"),
        (&["query", "--plate-match", "exact"], "--plate-match"),
        (&["presence", "--camera", "gate", "--grid", "64"], "64x36"),
        (&["presence", "--camera", "gate", "--from", "teatime"], "--from"),
        (&["path", "7"], "7"),
        (&["query", "--id", "01a20805-650c-7ab9-a254-90b80b6517cc", "--class", "car"], "--class"),
        (&["query", "--server", "127.0.0.1:7000"], "http://127.0.0.1:7000"),
        (&["query", "--server", "https://127.0.0.1:7000"], "--certificate"),
        (&["query", "--timeout", "0s"], "--timeout"),
        (&["region", "migrate"], "--config"),
        (&["subscribe", "--from", "15m", "--cursor-file", "x.cursor"], "whole time"),
        (&["analyze", "street.mp4", "--rate", "0"], "above 0"),
        (&["analyze", "street.mp4", "--start", "teatime"], "teatime"),
        (&["config", "check", "x.toml"], "--role"),
        (&["camsim", "--mount", "gate=x.avi", "--fault", "1s frez gate"], "frez"),
        (&["camsim", "--mount", "gate=x.avi", "--fault", "1s freeze gat 5s"], "there are: gate"),
        (&["doctor", "--camera", "http://10.0.0.20/1"], "rtsp://"),
    ];
    for (args, named) in cases {
        let (status, _, stderr) = run(vigil().args(args));
        assert_eq!(status, Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(named), "{args:?}: {stderr}");
    }
}

fn analyze(file: &Path) -> (Option<i32>, String, String) {
    run(vigil().args(["analyze", "--rate", "1", "--manifest"]).arg(common::edge::manifest()).arg(file))
}

#[test]
fn files_that_are_no_video_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| std::fs::write(folder.path().join(name), content).unwrap();
    file("empty.mp4", b"");
    file("text.mp4", b"this is no video at all");
    std::fs::create_dir(folder.path().join("folder.mp4")).unwrap();
    // The index of this one stands at its end, so that nothing of it can be played.
    file("cut.mp4", &beginning(&clip("bikes.mp4"), 100_000));
    file("sound.wav", &silence());
    for name in ["empty.mp4", "text.mp4", "folder.mp4", "cut.mp4", "sound.wav", "absent.mp4"] {
        let (status, stdout, stderr) = analyze(&folder.path().join(name));
        assert_eq!(status, Some(1), "{name}: {stderr}");
        assert!(stderr.contains(name) && stdout.is_empty(), "{name}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "one line says it: {stderr}");
    }
}

#[test]
fn a_video_that_is_cut_short_gives_the_events_of_what_is_there_and_fails() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cut.avi");
    std::fs::write(&file, beginning(&clip("vtest.avi"), 1_000_000)).unwrap();
    let (status, stdout, stderr) = analyze(&file);
    assert_eq!(status, Some(1), "{stderr}");
    assert!(stderr.contains("cut.avi") && stderr.contains("truncated"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "one line says it: {stderr}");
    let events: Vec<serde_json::Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |class: &str| events.iter().filter(|event| event["class"] == class).count();
    let (people, parked) = (of("person"), of("car") + of("truck"));
    assert!(people > 0 && people + parked == events.len(), "{stdout}");
}

#[test]
fn a_file_that_cannot_be_written_is_named_before_the_work_begins() {
    let mut command = vigil();
    command.args(["analyze", "--mot", "/proc/tracks.txt", "--manifest", "no-such-manifest.toml"]);
    let (status, stdout, stderr) = run(command.arg(clip("vtest.avi")));
    assert_eq!((status, stdout.as_str()), (Some(1), ""), "{stderr}");
    assert!(stderr.contains("/proc/tracks.txt"), "{stderr}");
}

fn beginning(file: &Path, bytes: u64) -> Vec<u8> {
    let mut content = Vec::new();
    std::fs::File::open(file).unwrap().take(bytes).read_to_end(&mut content).unwrap();
    content
}

/// A second of sound and no picture: 8-bit PCM at 8 kHz in a RIFF file.
fn silence() -> Vec<u8> {
    const SAMPLES: u32 = 8_000;
    let mut file = Vec::new();
    file.extend(b"RIFF");
    file.extend((36 + SAMPLES).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(16u32.to_le_bytes());
    file.extend([1u16, 1].map(u16::to_le_bytes).concat());
    file.extend([SAMPLES, SAMPLES].map(u32::to_le_bytes).concat());
    file.extend([1u16, 8].map(u16::to_le_bytes).concat());
    file.extend(b"data");
    file.extend(SAMPLES.to_le_bytes());
    file.resize(file.len() + SAMPLES as usize, 0x80);
    file
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
