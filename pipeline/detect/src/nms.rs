//! One box per object: greedy non-maximum suppression within each class.

use vigil_base::Detection;

use crate::MAX_DETECTIONS;

/// Most boxes that enter; the least confident beyond it are left out. Ten boxes per object told is more than a trained
/// detector gives, and it bounds the pairs compared when one answers nonsense.
pub(crate) const MAX_CANDIDATES: usize = 10 * MAX_DETECTIONS;

/// A box in canvas pixels, and which anchor gave it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    pub anchor: u32,
    pub found: Detection,
}

/// Sorts by confidence (equal ones by anchor), and drops each box that overlaps a more confident one of its class by more
/// than `iou`. At most [`MAX_DETECTIONS`] are left.
pub(crate) fn suppress(candidates: &mut Vec<Candidate>, iou: f32) {
    let order =
        |a: &Candidate, b: &Candidate| b.found.confidence.total_cmp(&a.found.confidence).then(a.anchor.cmp(&b.anchor));
    if candidates.len() > MAX_CANDIDATES {
        candidates.select_nth_unstable_by(MAX_CANDIDATES, order);
        candidates.truncate(MAX_CANDIDATES);
    }
    candidates.sort_unstable_by(order);
    let mut kept = 0;
    for i in 0..candidates.len() {
        let Detection { bbox, class, .. } = candidates[i].found;
        if candidates[..kept].iter().any(|other| other.found.class == class && other.found.bbox.iou(&bbox) > iou) {
            continue;
        }
        candidates.swap(kept, i);
        kept += 1;
        if kept == MAX_DETECTIONS {
            break;
        }
    }
    candidates.truncate(kept);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vigil_base::BoxPx;

    use super::*;

    fn candidate(anchor: u32, class: u16, confidence: f32, left: f32, top: f32, side: f32) -> Candidate {
        Candidate { anchor, found: Detection { bbox: BoxPx::new(left, top, side, side), class, confidence } }
    }

    fn left(mut candidates: Vec<Candidate>) -> Vec<u32> {
        suppress(&mut candidates, 0.5);
        candidates.iter().map(|candidate| candidate.anchor).collect()
    }

    #[test]
    fn the_most_confident_of_a_class_stays_and_other_classes_are_left_alone() {
        let found = left(vec![
            candidate(0, 1, 0.6, 0.0, 0.0, 10.0),
            candidate(1, 1, 0.9, 1.0, 0.0, 10.0),
            candidate(2, 2, 0.5, 1.0, 0.0, 10.0),
            candidate(3, 1, 0.4, 50.0, 0.0, 10.0),
        ]);
        assert_eq!(found, [1, 2, 3]);
    }

    #[test]
    fn of_two_equal_boxes_the_first_anchor_stays() {
        assert_eq!(left(vec![candidate(7, 0, 0.5, 0.0, 0.0, 9.0), candidate(3, 0, 0.5, 0.0, 0.0, 9.0)]), [3]);
    }

    #[test]
    fn a_model_that_answers_everything_gives_at_most_the_limit() {
        let many = (0..20_000).map(|i| candidate(i, 0, 0.5, i as f32 * 20.0, 0.0, 10.0)).collect();
        assert_eq!(left(many), (0..MAX_DETECTIONS as u32).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn what_is_left_is_sorted_and_does_not_overlap(
            boxes in prop::collection::vec((0u16..3, 0f32..1.0, 0f32..100.0, 0f32..100.0, 1f32..40.0), 0..120),
        ) {
            let mut candidates: Vec<_> = (0u32..).zip(&boxes)
                .map(|(i, &(class, confidence, x, y, side))| candidate(i, class, confidence, x, y, side)).collect();
            suppress(&mut candidates, 0.5);
            prop_assert!(candidates.is_sorted_by(|a, b| a.found.confidence >= b.found.confidence));
            for (i, a) in candidates.iter().enumerate() {
                for b in &candidates[..i] {
                    prop_assert!(a.found.class != b.found.class || a.found.bbox.iou(&b.found.bbox) <= 0.5);
                }
            }
            prop_assert_eq!(boxes.is_empty(), candidates.is_empty());
        }
    }
}
