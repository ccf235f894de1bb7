//! Number plates through the programs: a car carries one past a real RTSP camera; edge, region, and questions about it. And where
//! personal data must not stand. The car is a real one, its plate is drawn (`python -m vigil_models.plate_parity`).
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::edge::{EdgePlan, cache, camera, manifest};
use common::look::{eventually, http_get, search_until};
use common::{connect, free_address, region, run, vigil};
use serde_json::Value;
use vigil_camsim::{MountConfig, SimConfig, Simulator};
use vigil_proto::v1;

const TEXT: &str = "京A12345";
/// The same on a list, as people write it.
const LISTED: &str = "
[[rules]]
id = 'wanted'
classes = ['car']
plate_listed = { plates = ['京A·12345'] }
";
/// What the camera shows of the street, pixels; from picture to picture it turns by `STEP`, there and back.
const SHOWN: (usize, usize) = (1472, 680);
const STEP: usize = 4;
const TURNS: usize = 32;
const FPS: u32 = 10;

/// The street as a clip: the camera turns to the side and back.
fn clip(folder: &Path) -> PathBuf {
    let golden = std::fs::read_to_string(cache().join("parity/plates.json")).unwrap();
    let street: Value = serde_json::from_str::<Value>(&golden).unwrap()["street"].clone();
    assert_eq!(street["text"], TEXT);
    let side = |name: &str| usize::try_from(street[name].as_u64().unwrap()).unwrap();
    let (width, height) = (side("width"), side("height"));
    assert!(height == SHOWN.1 && width >= SHOWN.0 + STEP * TURNS);
    let whole = std::fs::read(cache().join("parity").join(street["file"].as_str().unwrap())).unwrap();
    let (luma, chroma) = whole.split_at(width * height);
    let mut shown = Vec::new();
    for turn in (0..=TURNS).chain((1..TURNS).rev()) {
        let left = turn * STEP;
        luma.chunks(width).for_each(|row| shown.extend_from_slice(&row[left..][..SHOWN.0]));
        chroma.chunks(width / 2).for_each(|row| shown.extend_from_slice(&row[left / 2..][..SHOWN.0 / 2]));
    }
    let (raw, clip) = (folder.join("street.i420"), folder.join("street.mkv"));
    std::fs::write(&raw, shown).unwrap();
    let pipeline = format!(
        "-q filesrc location={} ! rawvideoparse format=i420 width={} height={} framerate={FPS}/1 ! x264enc pass=quant \
         quantizer=18 ! h264parse ! matroskamux ! filesink location={}",
        raw.display(),
        SHOWN.0,
        SHOWN.1,
        clip.display()
    );
    let (status, _, stderr) = run(Command::new("gst-launch-1.0").args(pipeline.split(' ')));
    assert_eq!(status, Some(0), "{stderr}");
    std::fs::remove_file(&raw).unwrap();
    clip
}

/// The product's own models, with the detector taken to be surer of itself than it is: the car is cut off by the edge of the picture,
/// which gives confidences of 0.5 to 0.65.
fn sure_models(folder: &Path) -> PathBuf {
    let own = manifest();
    let text = std::fs::read_to_string(&own).unwrap();
    let sure = text.replace("even_odds = 0.6", "even_odds = 0.4");
    assert_ne!(text, sure);
    std::fs::create_dir_all(folder.join("labels")).unwrap();
    for file in std::fs::read_dir(own.with_file_name("labels")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.join("labels").join(file.file_name())).unwrap();
    }
    let path = folder.join("sure.toml");
    std::fs::write(&path, sure).unwrap();
    path
}

/// `vigil query` for events of cameras with a plate, as lines of JSON.
fn asked(region: std::net::SocketAddr, options: &[&str]) -> Vec<Value> {
    let mut query = vigil();
    query.args(["query", "--json", "--from", "1h", "--server"]).arg(format!("http://{region}")).args(options);
    let (status, shown, stderr) = run(&mut query);
    assert_eq!(status, Some(0), "{stderr}");
    shown
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["event_id"].is_string())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plate_that_passes_a_camera_is_found_by_every_way_of_asking_and_stands_in_no_log_and_no_metric() {
    let folder = tempfile::tempdir().unwrap();
    let clip = tokio::task::block_in_place(|| clip(folder.path()));
    let mounts = ["gate", "blind"]
        .map(|name| MountConfig { max_length: Some(Duration::from_secs(6)), ..MountConfig::new(name, clip.clone()) });
    let config = mounts.into_iter().fold(SimConfig::new(folder.path().join("camsim")), SimConfig::with_mount);
    let simulator = tokio::task::block_in_place(|| Simulator::start(config)).unwrap();
    let address = free_address();
    let _region = region(folder.path(), "north", address);
    let channel = connect(address).await;

    let stream = |name: &str| camera(name, &format!("address = \"{}\"", simulator.url(name)));
    let cameras = format!("{}plates = true\nrules = \"wanted.toml\"\n{}", stream("gate"), stream("blind"));
    let plan = EdgePlan::write(folder.path(), "edge-1", ("north", address), &cameras);
    std::fs::write(plan.config.with_file_name("wanted.toml"), LISTED).unwrap();
    let text = std::fs::read_to_string(&plan.config).unwrap();
    let own = manifest().display().to_string();
    let models = sure_models(folder.path());
    std::fs::write(&plan.config, text.replace(&own, &models.display().to_string())).unwrap();
    let edge = plan.start();

    // The car's own event, the rule's, and the same car seen by a camera that is not to read.
    let is_read = |event: &v1::Event| event.plate.as_ref().is_some_and(|plate| plate.text == TEXT);
    let answer =
        search_until(&channel, "a car with its plate, its finding, and the car at the other camera", |answer| {
            let cars = || answer.events.iter().filter(|event| event.kind() == v1::EventKind::Object);
            cars().any(|event| event.camera_id == "gate" && is_read(event))
                && cars().any(|event| event.camera_id == "blind" && event.object_class == "car")
                && answer.events.iter().any(|event| event.kind() == v1::EventKind::PlateListed)
        })
        .await;
    assert!(answer.events.iter().all(|event| event.camera_id == "gate" || event.plate.is_none()));
    let car = answer.events.iter().find(|event| event.kind() == v1::EventKind::Object && is_read(event)).unwrap();
    let found = answer.events.iter().find(|event| event.kind() == v1::EventKind::PlateListed).unwrap();
    let plate = car.plate.as_ref().unwrap();
    assert!(plate.confidence >= 0.5 && plate.looks >= 1 && plate.model.is_some(), "{plate:?}");
    assert_eq!((found.rule_id.as_str(), found.camera_id.as_str()), ("wanted", "gate"));

    // By all of it, by a part, as people write it, with a wrong character; and not by another.
    for options in [
        &["--plate", TEXT][..],
        &["--plate", "a123"],
        &["--plate", "京A·12345", "--plate-match", "exact"],
        &["--plate", "京A12845", "--plate-match", "one-wrong"],
        &["--plate-match", "any"],
    ] {
        let events = asked(address, options);
        assert!(!events.is_empty() && events.iter().all(|event| event["plate"] == TEXT), "{options:?}: {events:?}");
    }
    assert_eq!(asked(address, &["--plate", "京B12345"]), [] as [Value; 0]);

    // Personal data: in events, and nowhere else.
    let metrics = eventually("metrics", async || http_get(plan.ops, "/metrics")).await;
    assert!(metrics.contains("vigil_plate"), "looks are counted");
    assert!(edge.terminate().success());
    let logs = [plan.log, folder.path().join("north/log")].map(|log| std::fs::read_to_string(log).unwrap());
    assert!(logs.iter().all(|log| !log.is_empty()));
    for text in logs.iter().chain([&metrics]) {
        assert!(!text.contains("12345"), "{text}");
    }
}

#[test]
fn a_clip_is_read_where_that_is_asked_for_and_not_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let (clip, models) = (clip(folder.path()), sure_models(folder.path()));
    let rules = folder.path().join("wanted.toml");
    std::fs::write(&rules, LISTED).unwrap();
    let analyze = |options: &[&str]| {
        let mut command = vigil();
        command.args(["analyze", "--classes", "car", "--manifest"]).args([&models, &clip]).args(options);
        run(&mut command)
    };
    let plates = |shown: &str| -> Vec<Value> {
        let events = shown.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.filter(|event| event["plate"].is_string()).collect()
    };
    let rules = rules.to_str().unwrap();
    let (status, shown, stderr) = analyze(&["--plates", "--rules", rules]);
    assert_eq!(status, Some(0), "{stderr}");
    let read = plates(&shown);
    assert!(!read.is_empty() && read.iter().all(|event| event["plate"] == TEXT), "{shown}");
    assert!(shown.contains("\"rule\":\"wanted\""), "{shown}");

    let (status, shown, _) = analyze(&[]);
    assert!(status == Some(0) && !shown.is_empty() && plates(&shown).is_empty(), "{shown}");
    let (status, _, stderr) = analyze(&["--rules", rules]);
    assert!(status == Some(2) && stderr.contains("add --plates"), "{stderr}");
    let (status, _, stderr) = analyze(&["--plates", "--plate-model", "uk"]);
    assert!(status != Some(0) && stderr.contains("\"uk\""), "{stderr}");
}
