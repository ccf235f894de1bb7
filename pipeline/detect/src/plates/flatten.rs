//! A plate as seen from the front: the frame sampled through the homography of its four corners.
//!
//! Heckbert, "Fundamentals of Texture Mapping and Image Warping", 1989, section 2.2.3: the unit square to a quadrilateral.

use vigil_base::{ColourMatrix, Frame, Plane, Size};

use crate::manifest::{Colour, Layout};
use crate::preprocess::{InputSpec, Slot};

/// What is added to a plate on each side, as a share of its width and height: so that no stroke at its edge is cut.
const MARGIN: (f64, f64) = (0.015, 0.03);
/// Samples of one pixel of the reader's input, each way, at the most: four times the reader's height is finer than it needs.
const MAX_SAMPLES: u32 = 4;
/// Least height of a plate that is read, frame pixels: below, strokes are thinner than half a pixel.
const MIN_HEIGHT: f32 = 6.0;
/// A plate beyond is none: eight times as large as the largest picture.
const MAX_COORDINATE: f32 = 65_536.0;

/// Four corners in pixels, from the top left clockwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quad(pub [(f32, f32); 4]);

impl Quad {
    /// Height in pixels, at the side where it is larger.
    pub fn height(&self) -> f32 {
        let [top_left, top_right, bottom_right, bottom_left] = self.0;
        distance(top_left, bottom_left).max(distance(top_right, bottom_right))
    }

    /// The middle of its corners, x then y.
    pub fn centre(&self) -> (f32, f32) {
        let sum = self.0.iter().fold((0.0, 0.0), |sum, at| (sum.0 + at.0, sum.1 + at.1));
        (sum.0 / 4.0, sum.1 / 4.0)
    }

    pub(super) fn is_finite(&self) -> bool {
        self.0.iter().all(|(x, y)| x.abs() <= MAX_COORDINATE && y.abs() <= MAX_COORDINATE)
    }

    /// Whether it is a plate that could be read: convex, not mirrored, and large enough.
    pub(super) fn is_readable(&self) -> bool {
        let turns = (0..4).all(|i| {
            let [a, b, c] = [i, i + 1, i + 2].map(|corner| self.0[corner % 4]);
            (b.0 - a.0) * (c.1 - b.1) - (b.1 - a.1) * (c.0 - b.0) > 0.0
        });
        self.is_finite() && turns && self.height() >= MIN_HEIGHT
    }
}

fn distance(a: (f32, f32), b: (f32, f32)) -> f32 {
    (a.0 - b.0).hypot(a.1 - b.1)
}

/// From shares of a plate (x, y in 0..1) to pixels of the frame.
struct Homography {
    /// Row by row; the last element is 1.
    m: [f64; 8],
}

impl Homography {
    fn onto(Quad(corners): &Quad) -> Self {
        let [(x0, y0), (x1, y1), (x2, y2), (x3, y3)] = corners.map(|(x, y)| (f64::from(x), f64::from(y)));
        let (dx1, dx2, dx3) = (x1 - x2, x3 - x2, x0 - x1 + x2 - x3);
        let (dy1, dy2, dy3) = (y1 - y2, y3 - y2, y0 - y1 + y2 - y3);
        let det = dx1 * dy2 - dx2 * dy1;
        let (g, h) = ((dx3 * dy2 - dx2 * dy3) / det, (dx1 * dy3 - dx3 * dy1) / det);
        Self { m: [x1 - x0 + g * x1, x3 - x0 + h * x3, x0, y1 - y0 + g * y1, y3 - y0 + h * y3, y0, g, h] }
    }

    fn at(&self, u: f64, v: f64) -> (f64, f64) {
        let [a, b, c, d, e, f, g, h] = self.m;
        let w = g * u + h * v + 1.0;
        ((a * u + b * v + c) / w, (d * u + e * v + f) / w)
    }
}

/// Lays a plate, whose corners are readable, onto the whole of a reader's input.
pub(super) fn flatten(frame: &Frame, corners: &Quad, spec: &InputSpec, slot: &mut Slot<'_>) {
    let Size { width, height } = spec.size;
    let samples = (corners.height() / height as f32).ceil().clamp(1.0, MAX_SAMPLES as f32) as u32;
    let homography = Homography::onto(corners);
    let share = |at: u32, sides: u32, margin: f64| {
        (f64::from(at) + 0.5) / f64::from(sides * samples) * (1.0 + 2.0 * margin) - margin
    };
    let planes = Planes::of(frame);
    for row in 0..height {
        for column in 0..width {
            let mut sum = [0.0; 3];
            for inner in 0..samples * samples {
                let u = share(column * samples + inner % samples, width, MARGIN.0);
                let v = share(row * samples + inner / samples, height, MARGIN.1);
                let (x, y) = homography.at(u, v);
                let sampled = planes.sample(x, y);
                sum.iter_mut().zip(sampled).for_each(|(sum, sample)| *sum += sample);
            }
            let mean = sum.map(|sum| sum / f64::from(samples * samples));
            put(slot, spec, row * width + column, planes.colour(mean));
        }
    }
}

/// A frame's planes, and how they become colours.
struct Planes<'a> {
    samples: &'a [Plane; 3],
    matrix: ColourMatrix,
    full_range: bool,
}

impl<'a> Planes<'a> {
    fn of(frame: &'a Frame) -> Self {
        Self { samples: &frame.planes, matrix: frame.matrix, full_range: frame.full_range }
    }

    fn sample(&self, x: f64, y: f64) -> [f64; 3] {
        let [luma, cb, cr] = self.samples;
        let (half_x, half_y) = (x / 2.0 - 0.5, y / 2.0 - 0.5);
        [bilinear(luma, x - 0.5, y - 0.5), bilinear(cb, half_x, half_y), bilinear(cr, half_x, half_y)]
    }

    /// Red, green and blue, 0..255, by the constants of ITU-R BT.601-7 and BT.709-6.
    fn colour(&self, [luma, cb, cr]: [f64; 3]) -> [f32; 3] {
        let (black, gain, chroma) =
            if self.full_range { (0.0, 1.0, 1.0) } else { (16.0, 255.0 / 219.0, 255.0 / 224.0) };
        let (kr, kb) = match self.matrix {
            ColourMatrix::Bt601 => (0.299, 0.114),
            ColourMatrix::Bt709 => (0.2126, 0.0722),
        };
        let (y, u, v) = ((luma - black) * gain, (cb - 128.0) * chroma, (cr - 128.0) * chroma);
        let (red, blue) = (y + 2.0 * (1.0 - kr) * v, y + 2.0 * (1.0 - kb) * u);
        let green = (y - kr * red - kb * blue) / (1.0 - kr - kb);
        [red, green, blue].map(|c| c.clamp(0.0, 255.0) as f32)
    }
}

/// Beyond the plane the nearest sample counts; a place that is no number counts as the first.
fn bilinear(plane: &Plane, x: f64, y: f64) -> f64 {
    let inside = |at: f64, sides: u32| at.max(0.0).min(f64::from(sides.max(1) - 1));
    let (x, y) = (inside(x, plane.width), inside(y, plane.height));
    let (left, top) = (x as u32, y as u32);
    let (above, below) = (plane.row(top), plane.row((top + 1).min(plane.height - 1)));
    let (left, right) = (left as usize, (left + 1).min(plane.width - 1) as usize);
    let (across, down) = (x - x.floor(), y - y.floor());
    let mix = |row: &[u8]| f64::from(row[left]) * (1.0 - across) + f64::from(row[right]) * across;
    mix(above) * (1.0 - down) + mix(below) * down
}

fn put(slot: &mut Slot<'_>, spec: &InputSpec, pixel: u32, [red, green, blue]: [f32; 3]) {
    let ordered = match spec.colour {
        Colour::Rgb => [red, green, blue],
        Colour::Bgr => [blue, green, red],
    };
    let (pixel, plane) = (pixel as usize, (spec.size.width * spec.size.height) as usize);
    let divisor = if spec.layout == Layout::NchwF32Unit { 255.0 } else { 1.0 };
    for (channel, value) in ordered.into_iter().enumerate() {
        match slot {
            Slot::Bytes(bytes) => bytes[3 * pixel + channel] = value.round() as u8,
            Slot::Floats(floats) => floats[channel * plane + pixel] = value / divisor,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vigil_base::Timestamp;

    use super::*;

    #[test]
    fn corners_come_to_corners() {
        let quad = Quad([(10.0, 20.0), (110.0, 30.0), (105.0, 60.0), (12.0, 52.0)]);
        let homography = Homography::onto(&quad);
        for (corner, (u, v)) in quad.0.into_iter().zip([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]) {
            let (x, y) = homography.at(u, v);
            assert!((x - f64::from(corner.0)).abs() < 1e-6 && (y - f64::from(corner.1)).abs() < 1e-6, "{x} {y}");
        }
    }

    #[test]
    fn mirrored_crossed_and_tiny_ones_are_not_read() {
        let square = [(0.0, 0.0), (30.0, 0.0), (30.0, 10.0), (0.0, 10.0)];
        assert!(Quad(square).is_readable());
        let [a, b, c, d] = square;
        assert!(!Quad([b, a, d, c]).is_readable(), "mirrored");
        assert!(!Quad([a, c, b, d]).is_readable(), "crossed");
        assert!(!Quad(square.map(|(x, y)| (x, y / 5.0))).is_readable(), "tiny");
        assert!(!Quad([(f32::NAN, 0.0), b, c, d]).is_readable());
    }

    proptest! {
        #[test]
        fn no_readable_plate_makes_it_panic(
            left in -500f32..500.0, top in -500f32..500.0, wide in 20f32..2000.0, high in 10f32..600.0,
            moved in prop::array::uniform8(-0.2f32..0.2), width in 1u32..80, height in 1u32..80,
        ) {
            let flat = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)];
            let corner = |i: usize| (
                left + wide * (flat[i].0 + moved[2 * i]),
                top + high * (flat[i].1 + moved[2 * i + 1]),
            );
            let quad = Quad([0, 1, 2, 3].map(corner));
            prop_assert!(quad.is_readable());
            let frame = Frame::uniform(Size::new(width, height), [120, 128, 128], Timestamp::default());
            let spec = InputSpec {
                size: Size::new(24, 8),
                any_size: false,
                layout: Layout::NchwF32,
                colour: Colour::Bgr,
                anchor: crate::Anchor::TopLeft,
                pad: 0,
            };
            let mut out = vec![f32::NAN; spec.len()];
            flatten(&frame, &quad, &spec, &mut Slot::Floats(&mut out));
            prop_assert!(out.iter().all(|value| (value - out[0]).abs() < 0.01));
        }
    }
}
