//! `vigil analyze` over a camera: real RTSP, the real detector, and each picture known by its number.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::path::Path;

use common::edge::{cache, clip, manifest, plaza};
use common::{free_address, run, vigil};
use vigil_camsim::{MountConfig, SimConfig, Simulator};
use vigil_track::MotFile;

/// Runs `vigil analyze` at 5 a second with its files in `folder`: exit status, standard error, detections, tracks.
fn analyze(video: &str, options: &[&str], folder: &Path) -> (Option<i32>, String, MotFile, MotFile) {
    let (detections, tracks) = (folder.join("detections.txt"), folder.join("tracks.txt"));
    let mut command = vigil();
    command.args(["analyze", video, "--rate", "5"]).args(options).arg("--manifest").arg(manifest());
    let (status, _, stderr) = run(command.arg("--detections").arg(&detections).arg("--mot").arg(&tracks));
    let read = |path| MotFile::parse(&std::fs::read_to_string(path).unwrap()).unwrap();
    (status, stderr, read(detections), read(tracks))
}

fn frames(file: &MotFile) -> Vec<u32> {
    let mut frames: Vec<u32> = file.rows.iter().map(|row| row.frame).collect();
    frames.sort_unstable();
    frames.dedup();
    frames
}

#[test]
fn a_camera_is_analysed_for_a_while_and_its_pictures_are_those_of_the_clip() {
    let folder = tempfile::tempdir().unwrap();
    let mount = MountConfig { starts_on_play: true, ..plaza("plaza") };
    let camera = Simulator::start(SimConfig::new(cache().join("camsim")).with_mount(mount)).unwrap();
    let (status, stderr, detections, tracks) = analyze(&camera.url("plaza"), &["--duration", "2s"], folder.path());
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    // A look at the first picture, then at every second one on the grid of the camera's own time, which is known a picture later;
    // where pictures come late, looks shift by one, and one may be left out.
    let looks = frames(&detections);
    assert!((7..=11).contains(&looks.len()) && looks[0] == 1 && looks[looks.len() - 1] <= 20, "{looks:?}");
    assert!(looks[1..].windows(2).all(|pair| (2..=4).contains(&(pair[1] - pair[0]))), "{looks:?}");
    assert!(looks[1] - looks[0] <= 4, "{looks:?}");
    let told = frames(&tracks);
    assert!(told.len() > looks.len() + 4 && told.is_sorted_by(|a, b| a + 1 == *b), "also between looks: {told:?}");

    let (_, _, truth, _) = analyze(&clip("vtest.avi").display().to_string(), &[], folder.path());
    let sure = truth.rows.iter().filter(|row| row.confidence > 0.7 && frames(&detections).contains(&row.frame));
    let (mut all, mut found) = (0, 0);
    for row in sure {
        let again = |other: &&vigil_track::MotRow| other.frame == row.frame && other.bbox.iou(&row.bbox) > 0.8;
        all += 1;
        found += usize::from(detections.rows.iter().any(|other| again(&other)));
    }
    // The first picture is among those that both looked at, whatever came late.
    assert!(all >= 3 && found * 10 >= all * 8, "{found} of the file's {all} sure detections are the camera's");
}

#[test]
fn a_camera_that_is_not_there_or_has_no_end_is_refused_and_nobody_sees_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("rtsp://viewer:hunter2@{}/gate", free_address());
    for (options, expected, said) in [(&["--duration", "2s"][..], 1, "refuses connections"), (&[], 2, "--duration")] {
        let mut command = vigil();
        command.args(["analyze", &url]).args(options).arg("--manifest").arg(manifest());
        let (status, _, stderr) = run(command.current_dir(folder.path()));
        assert_eq!(status, Some(expected), "{stderr}");
        assert!(stderr.contains(said) && !stderr.contains("hunter2"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "one line says it: {stderr}");
    }
}
