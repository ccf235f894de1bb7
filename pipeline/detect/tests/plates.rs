//! Plates are found and read as the reference in Python does (`python -m vigil_models.plate_parity`), and pairs of models that
//! do not fit are refused.

#![allow(clippy::unwrap_used)] // Test code, in part outside of test functions.

mod support;

use std::error::Error;
use std::path::Path;

use support::{Picture, cached, models, runtime};
use vigil_base::{BoxPx, Frame, Size, Timestamp};
use vigil_detect::{DetectError, ModelCatalogue, ModelConfig, PlateFound, PlateLook, PlateModels, ReadPlates};

const MOST_CONFIDENCE_DIFFERENCE: f32 = 0.02;
/// Frame pixels.
const MOST_CORNER_DISTANCE: f32 = 0.5;

#[derive(serde::Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    model: String,
    #[serde(flatten)]
    picture: Picture,
    vehicle: [f32; 4],
    plate: Option<Expected>,
}

#[derive(serde::Deserialize)]
struct Expected {
    confidence: f32,
    corners: [(f32, f32); 4],
    characters: Vec<(char, f32)>,
}

fn load(catalogue: &ModelCatalogue, name: Option<&str>) -> Result<PlateModels, DetectError> {
    PlateModels::load(&runtime(), catalogue.plates(name).unwrap(), &ModelConfig::default())
}

#[test]
fn plates_are_those_of_the_reference() {
    let golden = std::fs::read_to_string(cached("parity/plates.json")).unwrap();
    let golden: Golden = serde_json::from_str(&golden).unwrap();
    let read = golden.cases.iter().filter(|case| case.plate.as_ref().is_some_and(|plate| plate.characters.len() >= 7));
    assert!(read.count() >= 3 && golden.cases.iter().any(|case| case.plate.is_none()));
    let models = load(&models(), None).unwrap();
    for case in &golden.cases {
        assert_eq!(*models.identity().name, *case.model);
        let frame = case.picture.frame();
        let [left, top, width, height] = case.vehicle;
        match (models.look(&frame, BoxPx::new(left, top, width, height)).unwrap(), &case.plate) {
            (PlateLook::Nothing, None) => {}
            (PlateLook::Found(found), Some(expected)) => compare(case, &found, expected),
            (found, _) => panic!("{}: {found:?}", case.picture.file),
        }
    }
}

fn compare(case: &Case, found: &PlateFound, expected: &Expected) {
    let at = &case.picture.file;
    let close = |a: f32, b: f32| (a - b).abs() <= MOST_CONFIDENCE_DIFFERENCE;
    assert!(close(found.confidence, expected.confidence), "{at}: {} {}", found.confidence, expected.confidence);
    for (found, expected) in found.corners.0.into_iter().zip(expected.corners) {
        let distance = (found.0 - expected.0).hypot(found.1 - expected.1);
        assert!(distance <= MOST_CORNER_DISTANCE, "{at}: {found:?} {expected:?}");
    }
    let text = |characters: &mut dyn Iterator<Item = char>| characters.collect::<String>();
    let (read, wanted) = (&found.characters, &expected.characters);
    let texts = (text(&mut read.iter().map(|c| c.character)), text(&mut wanted.iter().map(|c| c.0)));
    assert_eq!(texts.0, texts.1, "{at}");
    assert!(read.iter().zip(wanted).all(|(found, expected)| close(found.confidence, expected.1)), "{at}: {read:?}");
}

#[test]
fn vehicles_of_any_size_and_place_are_looked_at_without_harm() {
    let models = load(&models(), None).unwrap();
    let large = Frame::uniform(Size::new(7680, 4320), [90, 128, 128], Timestamp::default());
    let small = Frame::uniform(Size::new(1, 1), [90, 128, 128], Timestamp::default());
    for vehicle in [
        BoxPx::new(0.0, 0.0, 7680.0, 4320.0),
        BoxPx::new(-1e9, -1e9, 3e9, 3e9),
        BoxPx::new(7600.0, 4300.0, 500.0, 500.0),
        BoxPx::new(5.0, 5.0, 1.0, 1.0),
        BoxPx::new(f32::NAN, 0.0, 100.0, 100.0),
    ] {
        assert_eq!(models.look(&large, vehicle).unwrap(), PlateLook::Nothing, "{vehicle:?}");
        assert_eq!(models.look(&small, vehicle).unwrap(), PlateLook::Nothing, "{vehicle:?}");
    }
}

/// The product's manifest with one thing changed, and an alphabet of three beside it.
fn changed(from: &str, to: &str) -> Result<PlateModels, String> {
    let folder = tempfile::tempdir().unwrap();
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let text = std::fs::read_to_string(own.join("manifest.toml")).unwrap();
    assert!(text.contains(from), "{from}");
    let labels = folder.path().join("labels");
    std::fs::create_dir(&labels).unwrap();
    for name in ["coco80.txt", "plates-cn.txt"] {
        std::fs::copy(own.join("labels").join(name), labels.join(name)).unwrap();
    }
    std::fs::write(folder.path().join("abc.txt"), "A\nB\nC\n").unwrap();
    std::fs::write(folder.path().join("twice.txt"), "A\nB\nA\n").unwrap();
    let path = folder.path().join("manifest.toml");
    std::fs::write(&path, text.replace(from, to)).unwrap();
    let told = |error: &dyn Error| {
        let mut causes = vec![error.to_string()];
        let mut cause = error.source();
        while let Some(inner) = cause {
            causes.push(inner.to_string());
            cause = inner.source();
        }
        causes.join(": ")
    };
    let catalogue = ModelCatalogue::load(&path).map_err(|error| told(&error))?;
    let entry = catalogue.plates(None).map_err(|error| told(&error))?;
    PlateModels::load(&runtime(), entry, &ModelConfig::default()).map_err(|error| told(&error))
}

#[test]
fn pairs_that_do_not_fit_are_refused_and_the_message_names_what() {
    cached("models/clpr-cn-reader.onnx");
    assert!(changed("schema = 1", "schema = 1").is_ok());
    let refused = |from: &str, to: &str, with: &str| {
        let message = changed(from, to).unwrap_err();
        assert!(message.contains(with), "{message}");
    };
    refused("labels/plates-cn.txt", "abc.txt", "clpr-cn reader: the output should be [1, T, 4]");
    refused("labels/plates-cn.txt", "twice.txt", "letters and digits are taken, upper case, each once");
    refused("labels/plates-cn.txt", "../abc.txt", "must not lead out of its folder");
    refused("labels/plates-cn.txt", "labels/coco80.txt", "each must be one character");
    refused("file = \"clpr-cn-reader.onnx\"", "file = \"absent.onnx\"", "run scripts/setup");
    refused("file = \"clpr-cn-reader.onnx\"", "file = \"clpr-cn-detector.onnx\"", "the manifest says");
    refused("default_plates = \"clpr-cn\"\n", "", "no default_plates");
    refused("default_plates = \"clpr-cn\"", "default_plates = \"uk\"", "there is no model \"uk\"");
    refused("confidence = 0.3", "confidence = 3.0", "detector.confidence is 3");
    refused("width = 192", "width = 0", "reader.input.width is 0");
    refused("width = 192", "width = 193", "a run failed");
    refused("format = \"[", "format = \"[[", "reader.format is no regular expression");
    refused("blank = \"first\"", "blank = \"none\"", "unknown variant");
}
