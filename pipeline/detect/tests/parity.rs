//! The same boxes as the reference in Python (`python -m vigil_models.parity`), on the same frames.

#![allow(clippy::unwrap_used)] // Test code, in part outside of test functions.

mod support;

use std::collections::HashMap;

use support::{Picture, cached, detector, frame, models};
use vigil_base::{BoxPx, ColourMatrix, Detection, Size};
use vigil_detect::Detector;

const LEAST_IOU: f32 = 0.99;
const MOST_CONFIDENCE_DIFFERENCE: f32 = 0.02;

#[derive(serde::Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    model: String,
    fingerprint: String,
    #[serde(flatten)]
    picture: Picture,
    detections: Vec<Expected>,
}

#[derive(serde::Deserialize)]
struct Expected {
    class: u16,
    label: String,
    confidence: f32,
    #[serde(rename = "box")]
    bbox: [f32; 4],
}

#[test]
fn boxes_classes_and_confidences_are_those_of_the_reference() {
    let golden = std::fs::read_to_string(cached("parity/parity.json")).unwrap();
    let golden: Golden = serde_json::from_str(&golden).unwrap();
    assert!(golden.cases.len() >= 4 && golden.cases.iter().any(|case| !case.detections.is_empty()));
    let (models, mut detectors) = (models(), HashMap::new());
    for case in &golden.cases {
        let name = case.model.clone();
        let detector = detectors.entry(name).or_insert_with(|| detector(&models, &case.model));
        assert_eq!(detector.model().fingerprint, case.fingerprint, "run scripts/setup: {} was rebuilt", case.model);
        let frame = case.picture.frame();
        let found = detector.detect(&frame).unwrap();
        let threshold = models.entry(Some(&case.model)).unwrap().thresholds.confidence;
        let confident: Vec<_> = found.items.iter().filter(|found| found.confidence >= threshold).collect();
        compare(case, &confident, &detector.model().classes);
    }
}

fn compare(case: &Case, found: &[&Detection], classes: &[String]) {
    let at = format!("{} on {}", case.model, case.picture.file);
    assert_eq!(found.len(), case.detections.len(), "{at}");
    for (found, expected) in found.iter().zip(&case.detections) {
        let [left, top, width, height] = expected.bbox;
        let iou = found.bbox.iou(&BoxPx::new(left, top, width, height));
        assert!(iou >= LEAST_IOU, "{at}: {found:?}, expected {:?}: IoU {iou}", expected.bbox);
        assert_eq!((found.class, &classes[usize::from(found.class)]), (expected.class, &expected.label), "{at}");
        assert!((found.confidence - expected.confidence).abs() <= MOST_CONFIDENCE_DIFFERENCE, "{at}: {found:?}");
    }
}

#[test]
fn boxes_below_the_models_threshold_are_told_down_to_the_floor() {
    let samples = std::fs::read(cached("parity/vtest-000100.i420")).unwrap();
    let frame = frame(&samples, Size::new(768, 576), ColourMatrix::Bt601, false);
    let found = detector(&models(), "nanodet-g-416x544-int8").detect(&frame).unwrap();
    let below = found.items.iter().filter(|found| found.confidence < 0.45).count();
    assert!(below > 0 && found.items.iter().all(|found| found.confidence >= 0.1), "{:?}", found.items);
    assert!(found.items.is_sorted_by(|a, b| a.confidence >= b.confidence));
}
