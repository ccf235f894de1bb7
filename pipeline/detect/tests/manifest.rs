//! Manifests, right and wrong.

#![allow(clippy::unwrap_used)] // Test code, in part outside of test functions.

use std::error::Error;
use std::path::Path;

use vigil_detect::{Anchor, Colour, HeadKind, Layout, ManifestError, ModelCatalogue};

const GOOD: &str = r#"
schema = 1
default = "one"

[[model]]
name = "one"
file = "one.onnx"
sha256 = "884085388d9bf284448ae26cfe1b7a6fd0ffc758e3dedce28ddbda135a0907c0"
head = "yolox"
classes = ["car", "bus"]
licence = "MIT"

[model.input]
width = 416
height = 320
layout = "nchw_f32_255"
colour = "bgr"

[model.letterbox]
anchor = "top_left"
pad = 114

[model.thresholds]
confidence = 0.4
nms_iou = 0.5

[model.source]
registry = "npm"
package = "x"
version = "1"
files = []
"#;

fn load(text: &str) -> Result<ModelCatalogue, ManifestError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("manifest.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::write(dir.path().join("names.txt"), "car\nbus\n").unwrap();
    ModelCatalogue::load(&path)
}

/// The whole chain of causes, as a person reads it.
fn message(text: &str) -> String {
    let err = load(text).unwrap_err();
    let mut told = err.to_string();
    let mut cause = err.source();
    while let Some(inner) = cause {
        told = format!("{told}: {inner}");
        cause = inner.source();
    }
    told
}

#[test]
fn an_entry_is_read_as_written() {
    let catalogue = load(GOOD).unwrap();
    let entry = catalogue.entry(None).unwrap();
    assert_eq!((entry.head, entry.layout, entry.colour), (HeadKind::Yolox, Layout::NchwF32, Colour::Bgr));
    assert_eq!((entry.input.width, entry.input.height, entry.anchor, entry.pad), (416, 320, Anchor::TopLeft, 114));
    assert_eq!((entry.thresholds.confidence, entry.thresholds.nms_iou), (0.4, 0.5));
    assert_eq!((entry.confidence.most.even_odds, entry.confidence.most.slope), (0.4, 2.0), "nobody measured it");
    let measured = GOOD.replace("[model.source]", "[model.confidence]\neven_odds = 0.3\nslope = 1.5\n[model.source]");
    let measured =
        measured.replace("[model.source]", "classes = { bus = { even_odds = 0.7, slope = 1.0 } }\n[model.source]");
    let worth = load(&measured).unwrap().entry(None).unwrap().confidence.clone();
    assert_eq!([worth.of(0), worth.of(1)].map(|scale| (scale.even_odds, scale.slope)), [(0.3, 1.5), (0.7, 1.0)]);
    assert_eq!(load(&GOOD.replace(r#"["car", "bus"]"#, "\"names.txt\"")).unwrap().entries()[0].classes, ["car", "bus"]);
}

#[test]
fn every_wrong_value_is_told_by_its_key() {
    for (right, wrong, told) in [
        ("schema = 1", "schema = 2", "schema is 2"),
        ("pad = 114", "padding = 114", "padding"),
        ("pad = 114", "pad = 300", "300"),
        ("licence = \"MIT\"", "license = \"MIT\"", "license"),
        ("head = \"yolox\"", "head = \"ssd\"", "ssd"),
        ("\"nchw_f32_255\"", "\"nchw_f16\"", "nchw_f16"),
        ("width = 416", "width = 400", "input.width is 400"),
        ("height = 320", "height = 8192", "input.height is 8192"),
        ("height = 320", "height = 0", "input.height is 0"),
        ("confidence = 0.4", "confidence = 40.0", "thresholds.confidence is 40"),
        ("nms_iou = 0.5", "nms_iou = nan", "thresholds.nms_iou is NaN"),
        (
            "[model.source]",
            "[model.confidence]\neven_odds = 1.0\nslope = 2.0\n[model.source]",
            "model \"one\".confidence wants",
        ),
        ("[model.source]", "[model.confidence]\neven_odds = 0.5\n[model.source]", "slope"),
        (
            "[model.source]",
            "[model.confidence]\neven_odds = 0.5\nslope = 2.0\nclasses = { van = { even_odds = 0.5, slope = 2.0 } }\n[model.source]",
            "confidence.classes.van is not one of the model's classes",
        ),
        ("sha256 = \"8840", "sha256 = \"xyz0", "sha256"),
        ("sha256 = \"8840", "sha256 = \"88", "sha256"),
        ("name = \"one\"", "name = \"One!\"", "name"),
        ("file = \"one.onnx\"", "file = \"../one.onnx\"", "must not lead out"),
        ("[\"car\", \"bus\"]", "[]", "classes has 0 names"),
        ("[\"car\", \"bus\"]", "[\"car\", \"car\"]", "\"car\" twice"),
        ("[\"car\", \"bus\"]", "[\"Car\"]", "\"Car\""),
        ("[\"car\", \"bus\"]", "\"../names.txt\"", "must not lead out"),
        ("[\"car\", \"bus\"]", "\"absent.txt\"", "absent.txt cannot be read"),
        ("[\"car\", \"bus\"]", "7", "classes must be"),
        ("default = \"one\"", "default = \"two\"", "\"two\"; there are: one"),
    ] {
        let text = GOOD.replace(right, wrong);
        assert_ne!(text, GOOD, "{right}");
        assert!(message(&text).contains(told), "{wrong}: {}", message(&text));
    }
}

#[test]
fn a_missing_manifest_and_a_name_that_is_not_there_are_told() {
    let err = ModelCatalogue::load(Path::new("/nowhere/manifest.toml")).unwrap_err();
    assert!(matches!(err, ManifestError::Read { .. }) && err.to_string().contains("/nowhere/manifest.toml"));
    let err = load(GOOD).unwrap().entry(Some("yolo")).unwrap_err().to_string();
    assert!(err.contains("\"yolo\"") && err.contains("one"), "{err}");
    let err = load(&GOOD.replace("default = \"one\"", "")).unwrap().entry(None).unwrap_err();
    assert!(matches!(err, ManifestError::NoDefault { .. }));
}

#[test]
fn a_name_that_stands_twice_is_refused() {
    let again = GOOD.split_once("[[model]]").unwrap().1;
    assert!(message(&format!("{GOOD}\n[[model]]{again}")).contains("stands twice"));
}
