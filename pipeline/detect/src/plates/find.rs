//! Where the plate is.

use vigil_base::{Frame, Size, Timestamp};

use super::cut::Cut;
use super::flatten::Quad;
use super::manifest::PlatesEntry;
use super::network::{Network, wrong_answer};
use crate::letterbox::Letterbox;
use crate::open::OpenError;
use crate::preprocess::Preprocessor;
use crate::provider::Provider;
use crate::{DetectError, Runtime};

/// Rows of an answer: centre x, centre y, width, height, probability.
const BOX_ROWS: usize = 5;
/// The same with four corners, each x and y; and with x, y and visibility, as YOLO's pose exports have them.
const CORNER_ROWS: usize = BOX_ROWS + 8;
const SEEN_CORNER_ROWS: usize = BOX_ROWS + 12;
/// An answer is refused when more than one in so many of its numbers is none.
const SPOILT_SHARE: usize = 100;

/// Finds the most likely plate on a picture.
pub(super) struct Finder {
    network: Network,
    preprocessor: Preprocessor,
    confidence: f32,
}

impl Finder {
    pub fn open(runtime: &Runtime, entry: &PlatesEntry, file: &[u8], on: Provider) -> Result<Self, OpenError> {
        let network = Network::open(runtime, &entry.detector, file, on)?;
        let spec = entry.detector.input;
        let mut finder = Self { network, preprocessor: Preprocessor::new(spec, 1), confidence: entry.confidence };
        let grey = Frame::uniform(Size::new(64, 64), [128; 3], Timestamp::default());
        finder.find(&Cut { left: 0, top: 0, picture: grey }).map_err(OpenError::Model)?;
        Ok(finder)
    }

    /// Its confidence, and where it is in the frame.
    pub fn find(&mut self, cut: &Cut) -> Result<Option<(f32, Quad)>, DetectError> {
        let fit = self.preprocessor.fill(&cut.picture, 0, self.network.slot())?;
        let (name, least) = (self.network.name().to_owned(), self.confidence);
        let best = self.network.run(|rows, columns, numbers| most_likely(&name, rows, columns, numbers, least))?;
        let in_frame = |(confidence, quad): (f32, Quad)| (confidence, to_frame(quad, &fit, cut));
        Ok(best.map(in_frame).filter(|(_, quad)| quad.is_readable()))
    }
}

/// The best of all answers, canvas pixels; none below `least`.
fn most_likely(
    model: &str,
    rows: usize,
    columns: usize,
    numbers: &[f32],
    least: f32,
) -> Result<Option<(f32, Quad)>, DetectError> {
    let step = match rows {
        BOX_ROWS => 0,
        CORNER_ROWS => 2,
        SEEN_CORNER_ROWS => 3,
        _ => {
            let expected = format!("[1, {BOX_ROWS}, {CORNER_ROWS} or {SEEN_CORNER_ROWS}, A]");
            return Err(wrong_answer(model, expected, format!("[1, {rows}, {columns}]")));
        }
    };
    let row = |row: usize| &numbers[row * columns..(row + 1) * columns];
    let scores = row(4);
    let spoilt = scores.iter().filter(|score| !score.is_finite()).count();
    let not_numbers = |spoilt| DetectError::NotNumbers { model: model.to_owned(), spoilt, anchors: columns };
    if spoilt * SPOILT_SHARE > columns {
        return Err(not_numbers(spoilt));
    }
    let finite = scores.iter().enumerate().filter(|(_, score)| score.is_finite());
    let Some((at, score)) = finite.max_by(|a, b| a.1.total_cmp(b.1)).filter(|(_, score)| **score >= least) else {
        return Ok(None);
    };
    let value = |of: usize| row(of)[at];
    let quad = if step == 0 {
        let (x, y, dx, dy) = (value(0), value(1), value(2) / 2.0, value(3) / 2.0);
        Quad([(x - dx, y - dy), (x + dx, y - dy), (x + dx, y + dy), (x - dx, y + dy)])
    } else {
        Quad([0, 1, 2, 3].map(|corner| (value(BOX_ROWS + step * corner), value(BOX_ROWS + step * corner + 1))))
    };
    if quad.is_finite() { Ok(Some((score.min(1.0), quad))) } else { Err(not_numbers(1)) }
}

fn to_frame(Quad(corners): Quad, fit: &Letterbox, cut: &Cut) -> Quad {
    let across = fit.frame.width as f32 / fit.content.width as f32;
    let down = fit.frame.height as f32 / fit.content.height as f32;
    Quad(corners.map(|(x, y)| {
        let (x, y) = ((x - fit.left as f32) * across, (y - fit.top as f32) * down);
        (x + cut.left as f32, y + cut.top as f32)
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Three answers with `rows` rows, all zero but the second.
    fn answer(rows: usize, second: &[f32]) -> Vec<f32> {
        let mut numbers = vec![0.0; rows * 3];
        for (row, value) in second.iter().enumerate() {
            numbers[row * 3 + 1] = *value;
        }
        numbers
    }

    #[test]
    fn boxes_corners_and_corners_with_visibility_are_read() {
        let square = Quad([(10.0, 20.0), (30.0, 20.0), (30.0, 40.0), (10.0, 40.0)]);
        let of = |numbers: &[f32]| most_likely("m", numbers.len() / 3, 3, numbers, 0.3).unwrap();
        assert_eq!(of(&answer(5, &[20.0, 30.0, 20.0, 20.0, 0.8])), Some((0.8, square)));
        let corners = [0.0, 0.0, 0.0, 0.0, 0.9, 10.0, 20.0, 30.0, 20.0, 30.0, 40.0, 10.0, 40.0];
        assert_eq!(of(&answer(13, &corners)), Some((0.9, square)));
        let seen = [0.0, 0.0, 0.0, 0.0, 0.9, 10.0, 20.0, 1.0, 30.0, 20.0, 1.0, 30.0, 40.0, 1.0, 10.0, 40.0, 0.0];
        assert_eq!(of(&answer(17, &seen)), Some((0.9, square)));
        assert_eq!(of(&answer(5, &[20.0, 30.0, 20.0, 20.0, 0.2])), None);
    }

    #[test]
    fn another_table_and_what_is_no_number_are_errors() {
        assert!(most_likely("m", 6, 3, &answer(6, &[]), 0.3).is_err());
        let nan = |row: usize| answer(5, &[1.0, 1.0, 1.0, 1.0, 0.9].map(|v| v + if row == 9 { f32::NAN } else { 0.0 }));
        assert!(most_likely("m", 5, 3, &nan(9), 0.3).is_err(), "a score");
        assert!(most_likely("m", 5, 3, &answer(5, &[f32::INFINITY, 1.0, 1.0, 1.0, 0.9]), 0.3).is_err(), "a place");
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(bits in prop::collection::vec(any::<u32>(), 13 * 50)) {
            let numbers: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
            if let Ok(Some((confidence, quad))) = most_likely("m", 13, 50, &numbers, 0.3) {
                prop_assert!((0.3..=1.0).contains(&confidence) && quad.is_finite());
            }
        }
    }
}
