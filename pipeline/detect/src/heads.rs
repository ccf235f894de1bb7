//! How a model's output is read: from a tensor to boxes in canvas pixels.
//!
//! YOLOX: Ge et al., "YOLOX: Exceeding YOLO Series in 2021", arXiv 2107.08430, section 2.

use serde::Deserialize;
use vigil_base::{BoxPx, Detection, Size};

use crate::nms::{self, Candidate};

/// Anchors lie on grids of cells of these sizes, canvas pixels.
const STRIDES: [u32; 3] = [8, 16, 32];
/// Coordinates beyond are no answer but noise: a thousand times the largest canvas.
const MAX_COORDINATE: f32 = 4096.0 * 1000.0;

/// Rows of a [`HeadKind::Yolov8`] tensor before its classes: centre x, centre y, width, height.
const BOX_ROWS: usize = 4;
/// Columns of a [`HeadKind::Yolox`] tensor before its classes: the same four, and objectness.
const YOLOX_COLUMNS: usize = 5;

/// A model's output tensor, float32; C classes, A anchors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadKind {
    /// `[N, 4 + C, A]`: centre x, centre y, width, height, class probabilities. YOLOv8, v9 and v11 as exported.
    #[serde(rename = "yolov8")]
    Yolov8,
    /// The same tensor; NanoDet's distances are decoded within the graph.
    NanodetYolo,
    /// `[N, A, 5 + C]`: as the network gives it, to be decoded by cell and stride.
    Yolox,
}

/// Reads one model's outputs.
#[derive(Debug)]
pub(crate) struct Head {
    kind: HeadKind,
    classes: usize,
    best: Vec<f32>,
}

impl Head {
    pub fn new(kind: HeadKind, classes: usize) -> Self {
        Self { kind, classes, best: Vec::new() }
    }

    /// The output's shape behind the batch axis, for a canvas of that size.
    pub fn shape(&self, canvas: Size) -> [usize; 2] {
        let anchors = anchors(canvas);
        match self.kind {
            HeadKind::Yolov8 | HeadKind::NanodetYolo => [BOX_ROWS + self.classes, anchors],
            HeadKind::Yolox => [anchors, YOLOX_COLUMNS + self.classes],
        }
    }

    /// Collects the boxes of one canvas whose confidence is at least `floor`. `output` has [`Head::shape`].
    ///
    /// What is not a box (not a number, without area, far away) is left out; a confidence above 1 counts as 1. Returns for how
    /// many anchors the answer is no number.
    pub fn read(&mut self, output: &[f32], canvas: Size, floor: f32, candidates: &mut Vec<Candidate>) -> usize {
        candidates.clear();
        match self.kind {
            HeadKind::Yolov8 | HeadKind::NanodetYolo => self.read_rows(output, anchors(canvas), floor, candidates),
            HeadKind::Yolox => self.read_cells(output, canvas, floor, candidates),
        }
    }

    fn read_rows(&mut self, output: &[f32], anchors: usize, floor: f32, candidates: &mut Vec<Candidate>) -> usize {
        let (boxes, scores) = output.split_at(BOX_ROWS * anchors);
        best_scores(scores, anchors, &mut self.best);
        let mut spoilt = self.best.iter().filter(|score| !score.is_finite()).count();
        for (anchor, &score) in self.best.iter().enumerate().filter(|(_, score)| **score >= floor) {
            let side = |row: usize| boxes[row * anchors + anchor];
            let class = scores.iter().skip(anchor).step_by(anchors).position(|candidate| *candidate == score);
            let at = centred(side(0), side(1), side(2), side(3));
            spoilt += usize::from(score.is_finite() && !is_number(&at));
            candidates.extend(candidate(anchor, class.unwrap_or(0), score, at));
        }
        spoilt
    }

    fn read_cells(&self, output: &[f32], canvas: Size, floor: f32, candidates: &mut Vec<Candidate>) -> usize {
        let mut spoilt = 0;
        let mut cells = output.chunks_exact(YOLOX_COLUMNS + self.classes).enumerate();
        for stride in STRIDES {
            let (columns, rows) = (canvas.width / stride, canvas.height / stride);
            for (index, (anchor, cell)) in (0..columns * rows).zip(cells.by_ref()) {
                let [x, y, width, height, objectness, ref probabilities @ ..] = *cell else { continue };
                let (class, score) = first_best(probabilities);
                let confidence = objectness * score;
                if !confidence.is_finite() {
                    spoilt += 1;
                } else if confidence >= floor {
                    let (column, row, stride) = ((index % columns) as f32, (index / columns) as f32, stride as f32);
                    let centre = ((x + column) * stride, (y + row) * stride);
                    let at = centred(centre.0, centre.1, width.exp() * stride, height.exp() * stride);
                    spoilt += usize::from(!is_number(&at));
                    candidates.extend(candidate(anchor, class, confidence, at));
                }
            }
        }
        spoilt
    }
}

/// Reads one answer of a model by itself, as [`crate::Detector`] does: boxes in canvas pixels, one an object, most confident
/// first. Numbers that are missing at the end count as 0, those too many are passed over.
pub fn read_output(
    kind: HeadKind,
    canvas: Size,
    classes: usize,
    output: impl Iterator<Item = f32>,
    floor: f32,
) -> Vec<Detection> {
    const NMS_IOU: f32 = 0.5;
    let mut head = Head::new(kind, classes);
    let [rows, columns] = head.shape(canvas);
    let whole: Vec<f32> = output.chain(std::iter::repeat(0.0)).take(rows * columns).collect();
    let mut candidates = Vec::new();
    head.read(&whole, canvas, floor, &mut candidates);
    nms::suppress(&mut candidates, NMS_IOU);
    candidates.iter().map(|candidate| candidate.found).collect()
}

/// Cells of all strides on a canvas: places that answer for it each.
pub(crate) fn anchors(canvas: Size) -> usize {
    STRIDES.iter().map(|stride| ((canvas.width / stride) * (canvas.height / stride)) as usize).sum()
}

/// Per anchor, the highest score of any class; scores that are not numbers count for nothing.
fn best_scores(scores: &[f32], anchors: usize, best: &mut Vec<f32>) {
    best.clear();
    best.resize(anchors, f32::NEG_INFINITY);
    for row in scores.chunks_exact(anchors) {
        for (best, &score) in best.iter_mut().zip(row) {
            *best = if score > *best { score } else { *best };
        }
    }
}

/// The first class of highest probability, and that probability.
fn first_best(probabilities: &[f32]) -> (usize, f32) {
    let better = |best: (usize, f32), this: (usize, &f32)| if *this.1 > best.1 { (this.0, *this.1) } else { best };
    probabilities.iter().enumerate().fold((0, f32::NEG_INFINITY), better)
}

fn centred(x: f32, y: f32, width: f32, height: f32) -> BoxPx {
    BoxPx::new(x - width / 2.0, y - height / 2.0, width, height)
}

fn is_number(bbox: &BoxPx) -> bool {
    [bbox.left, bbox.top, bbox.width, bbox.height].iter().all(|side| side.is_finite())
}

fn candidate(anchor: usize, class: usize, confidence: f32, bbox: BoxPx) -> Option<Candidate> {
    let sides = [bbox.left, bbox.top, bbox.right(), bbox.bottom()];
    let real = confidence.is_finite() && sides.iter().all(|side| side.abs() <= MAX_COORDINATE);
    // Two negative sides would make a positive area; `area` takes them for none.
    if !real || bbox.area() <= 0.0 {
        return None;
    }
    let found = Detection { bbox, class: u16::try_from(class).ok()?, confidence: confidence.min(1.0) };
    Some(Candidate { anchor: u32::try_from(anchor).ok()?, found })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CANVAS: Size = Size::new(64, 64);
    const ANCHORS: usize = 64 + 16 + 4;

    fn read(kind: HeadKind, classes: usize, output: &[f32]) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        Head::new(kind, classes).read(output, CANVAS, 0.1, &mut candidates);
        candidates
    }

    fn yolov8(classes: usize, anchor: usize, values: &[f32]) -> Vec<f32> {
        let mut output = vec![0.0; (4 + classes) * ANCHORS];
        for (row, value) in values.iter().enumerate() {
            output[row * ANCHORS + anchor] = *value;
        }
        output
    }

    #[test]
    fn a_one_class_model_is_read() {
        let found = read(HeadKind::Yolov8, 1, &yolov8(1, 5, &[20.0, 30.0, 10.0, 8.0, 0.7]));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].found, Detection { bbox: BoxPx::new(15.0, 26.0, 10.0, 8.0), class: 0, confidence: 0.7 });
        let mut output = vec![0.0; ANCHORS * 6];
        output[..6].copy_from_slice(&[0.5, 0.5, 0.0, 0.0, 0.9, 0.5]);
        let found = read(HeadKind::Yolox, 1, &output);
        assert_eq!((found.len(), found[0].found.bbox), (1, BoxPx::new(0.0, 0.0, 8.0, 8.0)));
    }

    #[test]
    fn the_best_class_counts_and_the_first_of_two_equal_ones() {
        let found = read(HeadKind::NanodetYolo, 3, &yolov8(3, 5, &[20.0, 30.0, 10.0, 8.0, 0.2, 0.6, 0.6]));
        assert_eq!((found[0].found.class, found[0].found.confidence), (1, 0.6));
    }

    #[test]
    fn yolox_cells_are_counted_row_by_row_and_stride_by_stride() {
        let mut output = vec![0.0; ANCHORS * 7];
        // Stride 16, row 1, column 2.
        let anchor = 64 + 4 + 2;
        output[anchor * 7..][..7].copy_from_slice(&[0.5, 0.25, 0.0, 2f32.ln(), 0.8, 0.1, 0.5]);
        let found = read(HeadKind::Yolox, 2, &output);
        assert_eq!(found.len(), 1);
        let Detection { bbox, class, confidence } = found[0].found;
        assert_eq!((class, confidence), (1, 0.4));
        assert!(bbox.iou(&BoxPx::new(40.0 - 8.0, 20.0 - 16.0, 16.0, 32.0)) > 0.999, "{bbox:?}");
    }

    #[test]
    fn what_is_no_box_is_left_out() {
        let rows = |x: f32, width: f32, score: f32| yolov8(1, 5, &[x, 30.0, width, 8.0, score]);
        for (x, width, score) in [
            (f32::NAN, 9.0, 0.9),
            (f32::INFINITY, 9.0, 0.9),
            (9.0, f32::NAN, 0.9),
            (9.0, -4.0, 0.9),
            (9.0, 0.0, 0.9),
            (1e30, 9.0, 0.9),
            (9.0, 1e30, 0.9),
            (9.0, 9.0, f32::NAN),
            (9.0, 9.0, f32::INFINITY),
            (9.0, 9.0, 0.05),
        ] {
            assert!(read(HeadKind::Yolov8, 1, &rows(x, width, score)).is_empty(), "{x} {width} {score}");
        }
        assert_eq!(read(HeadKind::Yolov8, 1, &rows(9.0, 9.0, 1.004))[0].found.confidence, 1.0);
    }

    proptest! {
        #[test]
        fn no_output_makes_it_panic(bits in prop::collection::vec(any::<u32>(), 10 * ANCHORS)) {
            let output: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
            for (kind, classes) in [(HeadKind::Yolov8, 6), (HeadKind::Yolox, 5)] {
                for candidate in read(kind, classes, &output) {
                    let Detection { bbox, class, confidence } = candidate.found;
                    prop_assert!((0.1..=1.0).contains(&confidence) && usize::from(class) < classes);
                    prop_assert!(bbox.area() > 0.0 && bbox.left.is_finite());
                }
            }
        }
    }
}
