//! Looking at parts of a picture with the product's own model.

#![allow(clippy::unwrap_used)] // Test code, in part outside of test functions.

mod support;

use support::{cached, detector, frame, models};
use vigil_base::{BoxPx, ColourMatrix, Detection, Detections, Frame, Size};
use vigil_detect::{Detector, Regions};

fn plaza() -> Frame {
    let samples = std::fs::read(cached("parity/vtest-000100.i420")).unwrap();
    frame(&samples, Size::new(768, 576), ColourMatrix::Bt601, false)
}

/// Parts of a real picture: whoever is found on the whole is found in a region around him, at the same place.
#[test]
fn people_are_found_in_regions_where_they_are_found_on_the_whole() {
    let frame = plaza();
    let models = models();
    let mut detector = detector(&models, "nanodet-g-416x544-int8");
    let sure = |found: &Detections| -> Vec<_> {
        found.items.iter().filter(|found| found.confidence >= 0.6).copied().collect()
    };
    let whole = sure(&detector.detect(&frame).unwrap());
    assert!(whole.len() >= 3, "{whole:?}");
    let around = |b: &BoxPx| BoxPx::new(b.left - 30.0, b.top - 30.0, b.width + 60.0, b.height + 60.0);
    let regions = Regions::of(whole.iter().map(|found| around(&found.bbox)));
    let parts = detector.detect_within(&frame, &regions).unwrap();
    for found in &whole {
        let best = parts.items.iter().map(|part| part.bbox.iou(&found.bbox)).fold(0.0, f32::max);
        assert!(best > 0.7, "{found:?} is not among {:?}", parts.items);
    }
    let outside = |found: &Detection| regions.boxes().iter().all(|region| region.iou(&found.bbox) == 0.0);
    assert!(!parts.items.iter().any(outside), "nobody looked there");
}

/// A region whose border runs through a person makes the detector look at the whole, where that person is found.
#[test]
fn a_person_cut_by_a_regions_border_is_found_all_the_same() {
    let (frame, models) = (plaza(), models());
    let mut detector = detector(&models, "nanodet-g-416x544-int8");
    let person = detector.detect(&frame).unwrap().items[0].bbox;
    for shown in [0.6, 0.7, 0.8] {
        let width = person.width * shown + 30.0;
        let part = BoxPx::new(person.left - 30.0, person.top - 30.0, width, person.height + 60.0);
        let found = detector.detect_within(&frame, &Regions::of([part])).unwrap();
        let best = found.items.iter().map(|found| found.bbox.iou(&person)).fold(0.0, f32::max);
        assert!(best > 0.99, "{person:?} cut at {part:?}: {:?}", found.items);
    }
}

/// The plaza as a far part of a wide view: where the whole is shrunk until people are 7 to 13 pixels wide, parts are looked at
/// pixel for pixel.
#[test]
fn people_too_small_on_the_whole_are_found_in_regions_in_detail_where_they_are() {
    let (plaza, models) = (plaza(), models());
    let mut detector = detector(&models, "nanodet-g-416x544-int8");
    let sure = |found: &Detections| -> Vec<BoxPx> {
        found.items.iter().filter(|found| found.confidence >= 0.6).map(|found| found.bbox).collect()
    };
    let (left, top) = (576.0, 252.0);
    let moved = |b: &BoxPx| BoxPx { left: b.left + left, top: b.top + top, ..*b };
    let people: Vec<BoxPx> = sure(&detector.detect(&plaza).unwrap()).iter().map(moved).collect();
    let wide = within(&plaza, Size::new(1920, 1080), 576, 252);

    let found_among =
        |told: &[BoxPx]| people.iter().filter(|person| told.iter().any(|other| other.iou(person) > 0.5)).count();
    let whole = found_among(&sure(&detector.detect(&wide).unwrap()));
    let around = |b: &BoxPx| BoxPx::new(b.left - 30.0, b.top - 30.0, b.width + 60.0, b.height + 60.0);
    let regions = Regions::of(people.iter().map(around)).in_detail(true);
    let detail = found_among(&sure(&detector.detect_within(&wide, &regions).unwrap()));
    assert!(people.len() >= 3 && whole < people.len() && detail == people.len(), "{whole} and {detail} of {people:?}");
}

/// A frame that shows `part` at an even place and is grey elsewhere.
fn within(part: &Frame, size: Size, left: usize, top: usize) -> Frame {
    let mut frame = Frame { matrix: part.matrix, ..Frame::uniform(size, [110, 128, 128], part.capture_time) };
    for (index, (plane, shown)) in frame.planes.iter_mut().zip(&part.planes).enumerate() {
        let half = if index == 0 { 1 } else { 2 };
        let mut samples = plane.data.to_vec();
        for y in 0..shown.height {
            let start = (top / half + y as usize) * plane.stride + left / half;
            samples[start..start + shown.width as usize].copy_from_slice(shown.row(y));
        }
        plane.data = samples.into();
    }
    frame
}
