//! The detections of one frame, as the tracker looks at them: checked, in order, each object once.

use std::cell::OnceCell;

use vigil_base::{BoxPx, Detection, Detections};

use crate::kalman::CentreBox;
use crate::{Descriptor, TrackerConfig};

/// Most detections of a frame that are looked at, the surest first; a model that finds a million must not stop the box.
pub const MAX_DETECTIONS: usize = 512;
/// Boxes beyond this are no boxes, pixels: the largest pictures have some 10,000, and squares must stay finite.
const MAX_COORDINATE: f32 = 1e6;
/// Boxes with a shorter side are no boxes, pixels: next to a coordinate of some thousand their area drowns in rounding,
/// and two that are the same no longer overlap.
const MIN_SIDE: f32 = 0.01;
/// A detection that another sure one overlaps more shows parts of both objects; its appearance is not learnt.
/// Intersection over union.
const CROWDED: f64 = 0.25;

/// A detection that may belong to a track.
#[derive(Debug, Clone)]
pub(crate) struct Sighting {
    pub(crate) raw: BoxPx,
    pub(crate) bbox: CentreBox,
    pub(crate) class: u16,
    pub(crate) confidence: f32,
    pub(crate) log_odds: f64,
    /// Its place among the frame's detections: of two that are equally sure the earlier one comes first.
    order: usize,
    /// What it looks like, once somebody asked.
    descriptor: OnceCell<Option<Descriptor>>,
}

impl Sighting {
    /// What it looks like; looked up when it is first asked for.
    pub(crate) fn descriptor(&self, look: Look<'_>) -> Option<&Descriptor> {
        self.descriptor.get_or_init(|| look(self.raw)).as_ref()
    }
}

/// Tells what a box of the frame looks like.
pub(crate) type Look<'a> = &'a dyn Fn(BoxPx) -> Option<Descriptor>;

/// Replaces `found` by the sightings of a frame, surest first; how many detections were no boxes.
pub(crate) fn sift(detections: &Detections, config: &TrackerConfig, found: &mut Vec<Sighting>) -> u64 {
    let mut malformed = 0;
    found.clear();
    for (order, detection) in detections.items.iter().enumerate() {
        if !is_box(detection) {
            malformed += 1;
            continue;
        }
        let log_odds = config.confidence.of(detection.class).log_odds(detection.confidence);
        if log_odds >= config.association.second_stage {
            found.push(sighting(detection, log_odds, order));
        }
    }
    // A stable sort would ask for memory.
    found.sort_unstable_by(|a, b| b.confidence.total_cmp(&a.confidence).then(a.order.cmp(&b.order)));
    found.truncate(MAX_DETECTIONS);
    found.shrink_to(MAX_DETECTIONS);
    keep_once(found, config.association.duplicate_iou);
    malformed
}

fn is_box(detection: &Detection) -> bool {
    let BoxPx { left, top, width, height } = detection.bbox;
    let bounded = [left, top, width, height].iter().all(|v| v.abs() <= MAX_COORDINATE);
    bounded && width >= MIN_SIDE && height >= MIN_SIDE && detection.confidence.is_finite()
}

fn sighting(detection: &Detection, log_odds: f64, order: usize) -> Sighting {
    let raw = detection.bbox;
    let (x, y) = raw.centre();
    let bbox = CentreBox { x: x.into(), y: y.into(), width: raw.width.into(), height: raw.height.into() };
    let (class, confidence) = (detection.class, detection.confidence);
    Sighting { raw, bbox, class, confidence, log_odds, order, descriptor: OnceCell::new() }
}

/// Of two boxes on one object the surer one stays.
fn keep_once(found: &mut Vec<Sighting>, duplicate_iou: f64) {
    let mut kept = 0;
    for index in 0..found.len() {
        let (surer, rest) = found.split_at(index);
        if surer[..kept].iter().all(|surer| surer.bbox.iou(&rest[0].bbox) <= duplicate_iou) {
            found.swap(kept, index);
            kept += 1;
        }
    }
    found.truncate(kept);
}

/// Whether another sure sighting overlaps the one at `index`.
pub(crate) fn is_crowded(sightings: &[Sighting], index: usize, sure: f64) -> bool {
    let bbox = sightings[index].bbox;
    let overlaps = |(other, s): (usize, &Sighting)| other != index && s.log_odds >= sure && s.bbox.iou(&bbox) > CROWDED;
    sightings.iter().enumerate().any(overlaps)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vigil_base::detection::ModelIdentity;
    use vigil_base::{Size, TimeSource, Timestamp};

    use super::*;

    fn frame(items: Vec<Detection>) -> Detections {
        let model = ModelIdentity::default();
        Detections {
            capture_time: Timestamp::default(),
            time_source: TimeSource::File,
            size: Size::new(640, 480),
            items,
            model: Arc::new(model),
        }
    }

    fn sift(detections: &Detections, config: &TrackerConfig) -> (Vec<Sighting>, u64) {
        let mut found = Vec::new();
        let malformed = super::sift(detections, config, &mut found);
        (found, malformed)
    }

    fn found(left: f32, confidence: f32) -> Detection {
        Detection { bbox: BoxPx::new(left, 10.0, 40.0, 100.0), class: 0, confidence }
    }

    #[test]
    fn what_is_no_box_is_counted_and_left_out() {
        let mut items = vec![found(0.0, 0.9), found(f32::NAN, 0.9), found(200.0, f32::NAN), found(1e9, 0.9)];
        items.push(Detection { bbox: BoxPx::new(1.0, 1.0, -5.0, 10.0), class: 0, confidence: 0.9 });
        items.push(Detection { bbox: BoxPx::new(1.0, 1.0, 0.0, 10.0), class: 0, confidence: 0.9 });
        items.push(Detection { bbox: BoxPx::new(385.0, 1.0, 5e-27, 413.0), class: 0, confidence: 0.9 });
        let (sightings, malformed) = sift(&frame(items), &TrackerConfig::default());
        assert_eq!((sightings.len(), malformed), (1, 6));
    }

    #[test]
    fn two_boxes_on_one_object_are_the_surer_one_whatever_their_classes() {
        let truck = Detection { class: 7, ..found(2.0, 0.9) };
        let (sightings, _) = sift(&frame(vec![found(0.0, 0.8), truck]), &TrackerConfig::default());
        assert_eq!(sightings.iter().map(|s| s.class).collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn a_flood_of_boxes_is_cut_to_the_surest() {
        let flood: Vec<Detection> = (0..20_000).map(|i| found(i as f32 * 40.0, 0.5 + i as f32 / 50_000.0)).collect();
        let (sightings, _) = sift(&frame(flood), &TrackerConfig::default());
        assert_eq!(sightings.len(), MAX_DETECTIONS);
        assert!(sightings.windows(2).all(|pair| pair[0].confidence >= pair[1].confidence));
        assert!(sightings[0].confidence > 0.89);
    }

    #[test]
    fn only_a_detection_that_nothing_overlaps_shows_one_object() {
        let items = vec![found(0.0, 0.9), found(15.0, 0.8), found(300.0, 0.7)];
        let (sightings, _) = sift(&frame(items), &TrackerConfig::default());
        assert_eq!([0, 1, 2].map(|index| is_crowded(&sightings, index, -0.5)), [true, true, false]);
    }
}
