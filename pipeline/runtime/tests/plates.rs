//! A plate that a car carries past a camera: read, voted over the track, found by a rule, and carried by the car's event. The
//! car is a real one from a test clip, the plate on it is drawn (`python -m vigil_models.plate_parity`).

#![allow(clippy::unwrap_used)] // Test code, in part outside of test functions.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use vigil_base::event::{EndReason, EventState, ModelRef};
use vigil_base::evidence::Evidence;
use vigil_base::{
    BoxPx, CameraId, ColourMatrix, ConfidenceScale, EdgeId, Event, Frame, Plane, RegionId, Size, Timestamp,
};
use vigil_detect::{
    DetectError, Model, ModelCatalogue, ModelConfig, ModelEntry, PlateLook, PlateModels, ReadPlates, Runtime,
};
use vigil_event::{EventConfig, EventContext, EventIds};
use vigil_gate::AttentionConfig;
use vigil_plates::PlateConfig;
use vigil_rules::{RawRules, RuleSet};
use vigil_runtime::{Analyser, AnalyserConfig, Analysis};
use vigil_track::TrackerConfig;

/// What the camera shows of the street, pixels; it turns to the side by `STEP` from look to look.
const WINDOW: u32 = 1472;
const STEP: u32 = 8;
const LOOKS: u32 = 17;

#[derive(serde::Deserialize)]
struct Golden {
    street: Street,
}

#[derive(serde::Deserialize)]
struct Street {
    file: String,
    width: u32,
    height: u32,
    text: String,
}

fn cached(path: &str) -> PathBuf {
    let home = || std::env::var("HOME").map(|home| format!("{home}/.cache/vigil"));
    let path = PathBuf::from(std::env::var("VIGIL_CACHE").or_else(|_| home()).unwrap()).join(path);
    assert!(path.exists(), "{} is absent: run scripts/setup", path.display());
    path
}

/// The whole street, and the plate that the car in it carries.
fn street() -> (Frame, String) {
    let golden = std::fs::read_to_string(cached("parity/plates.json")).unwrap();
    let Golden { street } = serde_json::from_str(&golden).unwrap();
    let mut frame = Frame::uniform(Size::new(street.width, street.height), [0; 3], Timestamp::default());
    let mut rest = &std::fs::read(cached("parity").join(&street.file)).unwrap()[..];
    for plane in &mut frame.planes {
        let (own, others) = rest.split_at((plane.width * plane.height) as usize);
        plane.data = own.to_vec().into();
        rest = others;
    }
    (Frame { matrix: ColourMatrix::Bt709, ..frame }, street.text)
}

/// What the camera shows of it at one look.
fn window(street: &Frame, look: u32) -> Frame {
    let left = look * STEP;
    let part = |plane: &Plane, left: u32, width: u32| Plane {
        data: plane.data.slice(left as usize..),
        stride: plane.stride,
        width,
        height: plane.height,
    };
    let [luma, cb, cr] = &street.planes;
    let planes = [part(luma, left, WINDOW), part(cb, left / 2, WINDOW / 2), part(cr, left / 2, WINDOW / 2)];
    let capture_time = Timestamp::from_micros(200_000 * i64::from(look));
    Frame { capture_time, size: Size::new(WINDOW, street.size.height), planes, ..street.clone() }
}

fn catalogue() -> ModelCatalogue {
    cached("models/clpr-cn-reader.onnx");
    ModelCatalogue::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/manifest.toml")).unwrap()
}

fn plate_models() -> Arc<PlateModels> {
    let runtime = Runtime::start(None).unwrap();
    Arc::new(PlateModels::load(&runtime, catalogue().plates(None).unwrap(), &ModelConfig::default()).unwrap())
}

/// All events, as they ended, of a car that carries its plate past a camera with these rules.
fn drive_past(street: &Frame, rules: &str, reader: Option<Arc<dyn ReadPlates>>) -> Vec<Event> {
    // A car that is cut off by the picture's edge gives the detector confidences of 0.5 to 0.65.
    let confidence = ConfidenceScale::new(0.4, 3.0).unwrap().into();
    let entry = ModelEntry { confidence, ..catalogue().entry(None).unwrap().clone() };
    let model = Model::load(&Runtime::start(None).unwrap(), &entry, &ModelConfig::default()).unwrap();
    let raw: RawRules = toml::from_str(rules).unwrap();
    let config = AnalyserConfig {
        rules: RuleSet::resolve(&raw, None).unwrap(),
        gate: None,
        attention: AttentionConfig::default(),
        tracker: TrackerConfig::default(),
        plates: reader.map(|reader| PlateConfig { classes: vec!["car".into()], reader }),
        events: EventConfig {
            classes: vec!["car".into()],
            update_interval: Duration::from_secs(2),
            thumbnails: false,
            ids: EventIds::Repeatable,
        },
    };
    let context = EventContext {
        region: RegionId::new("north").unwrap(),
        edge: EdgeId::new("edge-1").unwrap(),
        camera: CameraId::new("gate").unwrap(),
        location: None,
        ground: None,
        model: ModelRef { name: "m".into(), fingerprint: "f".into() },
    };
    let mut analyser = Analyser::new(config, context, Box::new(model.detector().unwrap())).unwrap();
    let mut revisions = Vec::new();
    for look in 0..LOOKS {
        if let Analysis::Seen { revisions: due, .. } = analyser.analyse(&window(street, look)).unwrap() {
            revisions.extend(due);
        }
    }
    revisions.extend(analyser.end_all(EndReason::EdgeStopped));
    let ended = revisions.into_iter().filter(|revision| revision.event.state != EventState::Ongoing);
    ended.map(|revision| revision.event).collect()
}

const LISTED: &str = "
[[rules]]
id = 'wanted'
classes = ['car']
plate_listed = { plates = ['京A·12345'] }

[[rules]]
id = 'another'
classes = ['car']
plate_listed = { plates = ['京A·12346'] }
";

#[test]
fn a_plate_on_the_list_fires_once_and_the_cars_event_carries_it() {
    let (street, text) = street();
    let events = drive_past(&street, LISTED, Some(plate_models()));
    let found: Vec<_> = events.iter().filter_map(|event| event.finding.as_ref()).collect();
    assert_eq!(found.iter().map(|found| found.rule.as_str()).collect::<Vec<_>>(), ["wanted"]);
    let Evidence::Plate { text: read, likelihood, listed: true } = &found[0].evidence else {
        panic!("{:?}", found[0].kind)
    };
    assert!(**read == *text && *likelihood >= 0.8, "{likelihood}");
    let carried: Vec<_> = events.iter().filter(|event| event.finding.is_none() && event.plate.is_some()).collect();
    let [car] = carried[..] else { panic!("{} cars carry plates", carried.len()) };
    let plate = car.plate.as_ref().unwrap();
    assert!(plate.text == text && plate.confidence >= 0.9 && plate.looks >= 3, "{plate:?}");
    let model = plate.model.as_ref().unwrap();
    assert_eq!((&*model.name, model.fingerprint.len()), ("clpr-cn", 64));
    assert_eq!(car.model.fingerprint.len(), 64, "the detector that found it, whatever the context said");
}

#[test]
fn where_plates_are_not_switched_on_none_is_read() {
    let events = drive_past(&street().0, LISTED, None);
    assert!(!events.is_empty() && events.iter().all(|event| event.finding.is_none() && event.plate.is_none()));
}

/// Fails at every look.
struct Broken(ModelRef);

impl ReadPlates for Broken {
    fn identity(&self) -> &ModelRef {
        &self.0
    }

    fn look(&self, _frame: &Frame, _vehicle: BoxPx) -> Result<PlateLook, DetectError> {
        Err(DetectError::NotNumbers { model: "clpr-cn reader".into(), spoilt: 7, anchors: 48 })
    }
}

#[test]
fn a_plate_model_that_fails_does_not_stop_the_camera() {
    let broken = Broken(ModelRef { name: "broken".into(), fingerprint: "0".into() });
    let events = drive_past(&street().0, LISTED, Some(Arc::new(broken)));
    assert!(!events.is_empty() && events.iter().all(|event| event.plate.is_none()));
}
