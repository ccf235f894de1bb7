//! What can be fed, and with what it begins.

use std::io::Write;
use std::path::{Path, PathBuf};

use vigil_base::{BoxPx, Size};
use vigil_detect::{HeadKind, ModelCatalogue, read_output};
use vigil_rules::{RawRules, RuleSet};
use vigil_track::MotFile;

use crate::{packets, rtsp};

/// One parser.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, also of its folder in the corpus.
    pub name: &'static str,
    /// Feeds it. Panics where the parser does, or where what it gave is not as it must be.
    pub feed: fn(&[u8]),
    /// Good inputs.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Whether its inputs are lines of text.
    pub is_text: bool,
    /// Inputs that the tests feed; about five seconds of them.
    pub in_tests: u32,
}

/// All targets.
pub const ALL: [Target; 7] = [
    Target { name: "packets", feed: packets::feed, seeds: packets::seeds, is_text: false, in_tests: 1_500 },
    Target { name: "rtsp", feed: rtsp::feed, seeds: rtsp::seeds, is_text: false, in_tests: 1_000 },
    Target { name: "edge_config", feed: edge_config, seeds: edge_seeds, is_text: true, in_tests: 20_000 },
    Target { name: "rules", feed: rules, seeds: rules_seeds, is_text: true, in_tests: 10_000 },
    Target { name: "manifest", feed: manifest, seeds: manifest_seeds, is_text: true, in_tests: 10_000 },
    Target { name: "mot", feed: mot, seeds: mot_seeds, is_text: true, in_tests: 40_000 },
    Target { name: "model_output", feed: model_output, seeds: output_seeds, is_text: false, in_tests: 20_000 },
];

impl Target {
    /// The target of that name.
    pub fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|target| target.name == name)
    }

    /// Where inputs are kept that once went wrong.
    pub fn corpus(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(self.name)
    }
}

/// Feeds a parser that reads files.
fn as_file(data: &[u8], read: impl FnOnce(&Path)) {
    let mut file = tempfile::NamedTempFile::new().expect("the machine has room for a small file");
    file.write_all(data).expect("the machine has room for a small file");
    read(file.path());
}

fn edge_config(data: &[u8]) {
    as_file(data, |path| {
        if let Err(error) = vigil_edge::config::load(path) {
            assert!(!error.to_string().is_empty());
        }
    });
}

fn edge_seeds() -> Vec<Vec<u8>> {
    const WHOLE: &str = r#"edge_id = "edge-1"
region_id = "north"
region_address = "http://127.0.0.1:7100"
data_dir = "data"
log = "json"
[model]
providers = ["cuda", "cpu"]
workers = 2
[outbox]
max_size = "4GiB"
[analysis]
rate = 5.0
classes = ["person", "car"]
still_refresh = "10s"
min_confidence = 0.4
[[cameras]]
id = "gate-1"
location = { latitude = 52.5, longitude = 13.4 }
stream = { address = "rtsp://u:p@10.0.0.20:554/stream1?x=1", transport = "udp", clock = "arrival", stall_timeout = "2s" }
[[cameras]]
id = "gate-2"
stream = { address = "rtsps://[::1]/2", tls = "accept_any", user = "u", password = "p" }
analysis = { rate = 0.5, motion_gate = false }
"#;
    vec![WHOLE.into()]
}

fn rules(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(raw) = toml::from_str::<RawRules>(text) else { return };
    match RuleSet::resolve(&raw, None) {
        Ok(rules) => assert!(rules.len() <= vigil_rules::MAX_RULES),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn rules_seeds() -> Vec<Vec<u8>> {
    let busy = include_bytes!("../../rules/tests/busy.rules.toml");
    vec![busy.to_vec(), include_bytes!("../../rules/tests/golden/street/rules.toml").to_vec()]
}

fn manifest(data: &[u8]) {
    as_file(data, |path| {
        if let Ok(catalogue) = ModelCatalogue::load(path) {
            // Names are for people; which there are does not matter here.
            let _ = catalogue.entry(None);
        }
    });
}

fn manifest_seeds() -> Vec<Vec<u8>> {
    vec![include_bytes!("../../../models/manifest.toml").to_vec()]
}

fn mot(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(file) = MotFile::parse(text) else { return };
    let again = MotFile::parse(&file.to_text()).expect("what was written can be read");
    assert_eq!(again.rows.len(), file.rows.len());
    assert!(file.confidences().iter().all(|confidence| (0.0..=1.0).contains(confidence)));
}

fn mot_seeds() -> Vec<Vec<u8>> {
    let lines = include_str!("../../rules/tests/golden/street/person.mot").lines().take(12);
    let detections = "1,-1,12.5,20,30,60.25,0.9,-1,-1,-1\n1,-1,12,20,30,60,45,-1,-1,-1\n3,-1,1,2,3,4,-1.5\n";
    vec![lines.flat_map(|line| [line, "\n"]).collect::<String>().into(), detections.into()]
}

/// The bytes are the floats of a tensor; short ones are filled up with zeros.
fn model_output(data: &[u8]) {
    const CANVAS: Size = Size::new(64, 64);
    const CLASSES: usize = 3;
    let Some((first, rest)) = data.split_first() else { return };
    let kind = [HeadKind::Yolov8, HeadKind::NanodetYolo, HeadKind::Yolox][usize::from(*first) % 3];
    let numbers = rest.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    let found = read_output(kind, CANVAS, CLASSES, numbers, 0.1);
    assert!(found.len() <= vigil_detect::MAX_DETECTIONS);
    for object in found {
        let BoxPx { left, top, width, height } = object.bbox;
        assert!([left, top].iter().all(|side| side.is_finite()) && width > 0.0 && height > 0.0, "{object:?}");
        assert!((0.1..=1.0).contains(&object.confidence) && usize::from(object.class) < CLASSES, "{object:?}");
    }
}

fn output_seeds() -> Vec<Vec<u8>> {
    // A box here and there, in either order of rows and columns.
    let number = |index: usize| match index % 11 {
        0 => 20.0f32,
        5 => 0.6,
        7 => 9.5,
        _ => 0.1,
    };
    let tensor = |first: u8| [first].into_iter().chain((0..84 * 8).flat_map(|index| number(index).to_le_bytes()));
    (0..3).map(|first| tensor(first).collect()).collect()
}
