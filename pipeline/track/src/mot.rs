//! Text files of the MOTChallenge: detections in, tracks out.
//!
//! One box a line: `frame,id,left,top,width,height,confidence,x,y,z`, where the last three are metres on the ground (z is 0), or
//! -1 each where nobody knows; they are written and not read. Frames and pixels count from 1, here as there
//! for frames; boxes are kept in this system's pixels, which count from 0. The id is -1 where there is none. Files come
//! from outside, so nothing in them decides how much memory or time they take beyond their own length.

use std::fmt::Write as _;

use vigil_base::BoxPx;
use vigil_base::ground::GroundPoint;

/// Highest frame number: four days at 25 frames a second.
pub const MAX_FRAME: u32 = 10_000_000;
/// Most boxes in a file: 30 on each frame of four hours at 25 frames a second.
pub const MAX_ROWS: usize = 10_000_000;
/// Longest line, bytes; ten numbers need some 100.
pub const MAX_LINE: usize = 512;
/// Largest coordinate and side, pixels.
const MAX_PIXELS: f64 = 1e6;
/// Smallest side as it is written, with two decimals: what was read can be written and read again.
const LEAST_SIDE: f32 = 0.01;
/// Largest id: numbers are read as floating point, which counts exactly up to here.
const MAX_ID: f64 = 9_007_199_254_740_992.0;
/// A confidence column that never exceeds this but does exceed 1 is a classifier's margin, above it a percentage.
const MAX_MARGIN: f32 = 20.0;

/// A line of a file is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct MotError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: MotProblem,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MotProblem {
    /// Longer than [`MAX_LINE`].
    #[error("is {0} bytes long, more than {MAX_LINE}; is this a MOTChallenge text file?")]
    TooLong(usize),
    /// Fewer fields than needed.
    #[error("has {0} fields, needs at least 7: frame,id,left,top,width,height,confidence")]
    TooFewFields(usize),
    /// A field outside its range, or no number.
    #[error("{field} must be {expected}, found {found:?}")]
    Field {
        /// Its name.
        field: &'static str,
        /// What it must be.
        expected: &'static str,
        /// Its text, cut to 40 characters.
        found: String,
    },
    /// More rows than [`MAX_ROWS`].
    #[error("the file has more than {MAX_ROWS} boxes; split it")]
    TooManyRows,
}

/// One box of a file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MotRow {
    /// Counted from 1.
    pub frame: u32,
    /// None for detections.
    pub id: Option<u64>,
    /// Pixels, counted from 0.
    pub bbox: BoxPx,
    /// As it stands in the file; its scale is the file's ([`MotFile::confidences`]).
    pub confidence: f32,
    /// Where it stands on the ground, where the camera is calibrated; none of a file that was read.
    pub ground: Option<GroundPoint>,
}

/// The boxes of a file, in its order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MotFile {
    /// One a line.
    pub rows: Vec<MotRow>,
}

impl MotFile {
    /// Reads a file's text. Empty lines are passed over, fields after the seventh ignored.
    ///
    /// # Errors
    /// The first line that is not as described.
    pub fn parse(text: &str) -> Result<Self, MotError> {
        let mut rows = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let at = |problem| MotError { line: index + 1, problem };
            if line.trim().is_empty() {
                continue;
            }
            if rows.len() == MAX_ROWS {
                return Err(at(MotProblem::TooManyRows));
            }
            rows.push(parse_row(line).map_err(at)?);
        }
        Ok(Self { rows })
    }

    /// The file's text.
    pub fn to_text(&self) -> String {
        let mut text = String::with_capacity(self.rows.len() * 48);
        for MotRow { frame, id, bbox, confidence, ground } in &self.rows {
            let (left, top) = (bbox.left + 1.0, bbox.top + 1.0);
            let (width, height) = (bbox.width.max(LEAST_SIDE), bbox.height.max(LEAST_SIDE));
            match id {
                Some(id) => write!(text, "{frame},{id}"),
                None => write!(text, "{frame},-1"),
            }
            .and_then(|()| write!(text, ",{left:.2},{top:.2},{width:.2},{height:.2}"))
            .and_then(|()| write!(text, ",{confidence:.4}"))
            .and_then(|()| match ground {
                Some(place) => writeln!(text, ",{:.3},{:.3},0", place.x, place.y),
                None => writeln!(text, ",-1,-1,-1"),
            })
            .expect("writing to a String does not fail");
        }
        text
    }

    /// The confidences of all rows, brought to 0..1.
    ///
    /// The format leaves their scale open; it is taken from the whole column. All the same: the file has no
    /// confidences, all are 1. All within 0..1: taken as they are. Some negative, or none above 20: margins of a
    /// classifier, through the logistic function. Else percentages.
    pub fn confidences(&self) -> Vec<f32> {
        let column = || self.rows.iter().map(|row| row.confidence);
        let (low, high) = column().fold((f32::MAX, f32::MIN), |(low, high), c| (low.min(c), high.max(c)));
        let normalise = |confidence: f32| {
            if low >= high {
                1.0
            } else if low >= 0.0 && high <= 1.0 {
                confidence
            } else if low < 0.0 || high <= MAX_MARGIN {
                1.0 / (1.0 + (-confidence).exp())
            } else {
                (confidence / 100.0).min(1.0)
            }
        };
        column().map(normalise).collect()
    }
}

fn parse_row(line: &str) -> Result<MotRow, MotProblem> {
    if line.len() > MAX_LINE {
        return Err(MotProblem::TooLong(line.len()));
    }
    let mut fields = [""; 7];
    let mut count = 0;
    for (place, field) in fields.iter_mut().zip(line.split(',')) {
        *place = field.trim();
        count += 1;
    }
    if count < fields.len() {
        return Err(MotProblem::TooFewFields(count));
    }
    let [frame, id, left, top, width, height, confidence] = fields;
    let frame = whole("frame", frame, "a whole number from 1 to 10000000", 1.0, f64::from(MAX_FRAME))? as u32;
    let id = whole("id", id, "a whole number, or -1 for none", -1.0, MAX_ID)?;
    let position = |name, text| number(name, text, "a number of pixels", |v| v.abs() <= MAX_PIXELS);
    let side = |name, text| number(name, text, "a number of pixels above 0", |v| v > 0.0 && v <= MAX_PIXELS);
    let (left, top) = (position("left", left)? - 1.0, position("top", top)? - 1.0);
    let (width, height) = (side("width", width)?, side("height", height)?);
    let confidence = number("confidence", confidence, "a number", |v| v.abs() <= f64::from(f32::MAX))?;
    Ok(MotRow {
        frame,
        id: (id >= 0.0).then_some(id as u64),
        bbox: BoxPx::new(left as f32, top as f32, width as f32, height as f32),
        confidence: confidence as f32,
        ground: None,
    })
}

fn whole(field: &'static str, text: &str, expected: &'static str, low: f64, high: f64) -> Result<f64, MotProblem> {
    number(field, text, expected, |v| v.fract() == 0.0 && v >= low && v <= high)
}

fn number(
    field: &'static str,
    text: &str,
    expected: &'static str,
    fits: impl Fn(f64) -> bool,
) -> Result<f64, MotProblem> {
    let value = text.parse::<f64>().ok().filter(|value| value.is_finite() && fits(*value));
    value.ok_or_else(|| MotProblem::Field { field, expected, found: text.chars().take(40).collect() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(text: &str) -> String {
        MotFile::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn detections_are_read_as_the_benchmark_writes_them() {
        let text = "1,-1,649.441,231.502,44.417,86.13,0.995474,-1,-1,-1\r\n\n 2 , 7 , 1 , 1 , 10 , 20 , 0.5\n";
        let file = MotFile::parse(text).unwrap();
        assert_eq!(file.rows.len(), 2);
        assert_eq!((file.rows[0].frame, file.rows[0].id, file.rows[0].confidence), (1, None, 0.995_474));
        assert_eq!((file.rows[1].id, file.rows[1].bbox), (Some(7), BoxPx::new(0.0, 0.0, 10.0, 20.0)));
    }

    #[test]
    fn an_error_names_the_line_the_field_and_what_it_must_be() {
        assert_eq!(
            message("1,-1,1,1,5,5,1\n1,-1,1,1,-5,5,1"),
            "line 2: width must be a number of pixels above 0, found \"-5\""
        );
        assert_eq!(message("x"), "line 1: has 1 fields, needs at least 7: frame,id,left,top,width,height,confidence");
        for (field, line) in [
            ("frame", "4e9,-1,1,1,5,5,1"),
            ("frame", "0,-1,1,1,5,5,1"),
            ("frame", "1.5,-1,1,1,5,5,1"),
            ("id", "1,-2,1,1,5,5,1"),
            ("left", "1,-1,nan,1,5,5,1"),
            ("top", "1,-1,1,inf,5,5,1"),
            ("height", "1,-1,1,1,5,0,1"),
            ("width", "1,-1,1,1,1e9,5,1"),
            ("confidence", "1,-1,1,1,5,5,high"),
        ] {
            assert!(message(line).contains(&format!("{field} must be")), "{line}: {}", message(line));
        }
        assert!(message(&"1".repeat(100_000)).starts_with("line 1: is 100000 bytes long"));
    }

    #[test]
    fn confidences_of_any_scale_come_to_0_to_1() {
        let of = |values: &[f32]| {
            let bbox = BoxPx::new(0.0, 0.0, 1.0, 1.0);
            let rows = values.iter().map(|&confidence| MotRow { frame: 1, id: None, bbox, confidence, ground: None });
            MotFile { rows: rows.collect() }.confidences()
        };
        assert_eq!(of(&[0.2, 0.9]), [0.2, 0.9]);
        assert_eq!(of(&[-1.0, -1.0]), [1.0, 1.0]);
        assert_eq!(of(&[12.0, 100.0]), [0.12, 1.0]);
        assert_eq!(of(&[0.0, 4.0])[0], 0.5);
        assert!(of(&[-2.0, 60.0])[0] < 0.13);
        assert!(of(&[]).is_empty());
    }

    #[test]
    fn places_on_the_ground_stand_in_the_last_columns() {
        let bbox = BoxPx::new(0.0, 0.0, 1.0, 1.0);
        let at = |ground| MotFile { rows: vec![MotRow { frame: 1, id: Some(2), bbox, confidence: 0.5, ground }] };
        assert_eq!(at(None).to_text(), "1,2,1.00,1.00,1.00,1.00,0.5000,-1,-1,-1\n");
        let there = GroundPoint { x: -4.5, y: 12.25 };
        assert_eq!(at(Some(there)).to_text(), "1,2,1.00,1.00,1.00,1.00,0.5000,-4.500,12.250,0\n");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            rows in prop::collection::vec(
                (1u32..=MAX_FRAME, prop::option::of(0u64..1 << 50), prop::array::uniform4(1f32..3000.0), 0f32..1.0),
                0..50,
            ),
        ) {
            let rows = rows.into_iter().map(|(frame, id, [l, t, w, h], confidence)| {
                MotRow { frame, id, bbox: BoxPx::new(l, t, w, h), confidence, ground: None }
            });
            let file = MotFile { rows: rows.collect() };
            let back = MotFile::parse(&file.to_text()).unwrap();
            prop_assert_eq!(back.rows.len(), file.rows.len());
            for (a, b) in back.rows.iter().zip(&file.rows) {
                prop_assert_eq!((a.frame, a.id), (b.frame, b.id));
                prop_assert!((a.bbox.left - b.bbox.left).abs() < 0.01 && (a.bbox.height - b.bbox.height).abs() < 0.01);
                prop_assert!((a.confidence - b.confidence).abs() < 1e-3);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "[-0-9eE.,\\n\\r nif]{0,300}") {
            let _ = MotFile::parse(&text);
        }
    }
}
