//! Samples of an object in four stripes, one above the other: hair, upper body, lower body and shoes are told apart, and a turn
//! of the body changes little.

use vigil_base::{BoxPx, Size};

/// Stripes of a box.
pub const STRIPES: usize = 4;
/// Samples across a stripe, and down.
pub const GRID: (u32, u32) = (12, 12);
/// Share of the box on either side that is left out: background.
pub const SIDE: f32 = 0.15;
/// A box of fewer pixels across or down looks like nothing.
const MIN_SIDES: (f32, f32) = (6.0, 12.0);

/// One sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// 0 is the uppermost.
    pub stripe: usize,
    /// Column of the grid, from the left.
    pub column: usize,
    /// Its colour.
    pub rgb: [u8; 3],
}

/// The samples of `bbox` (pixels of a picture of `size`), of which `pixel` tells the colours; none where too little of it is in
/// the picture.
pub fn samples(size: Size, bbox: BoxPx, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Option<impl Iterator<Item = Sample>> {
    let inside = bbox.clamp(size);
    // A box of no numbers is not large enough, either.
    if !(inside.width >= MIN_SIDES.0 && inside.height >= MIN_SIDES.1) {
        return None;
    }
    let (columns, rows) = (GRID.0, GRID.1 * STRIPES as u32);
    let places = (0..rows).flat_map(move |row| (0..columns).map(move |column| (row, column)));
    Some(places.map(move |(row, column)| {
        let y = inside.top + inside.height * (row as f32 + 0.5) / rows as f32;
        let x = inside.left + inside.width * across(column);
        let rgb = pixel(x as u32, y as u32);
        Sample { stripe: (row / GRID.1) as usize, column: column as usize, rgb }
    }))
}

/// Where a column of the grid lies: share of the box's width.
pub fn across(column: u32) -> f32 {
    SIDE + (1.0 - 2.0 * SIDE) * (column as f32 + 0.5) / GRID.0 as f32
}

/// Into how many classes hue, saturation and value (HSV after Smith, 1978) are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Classes {
    /// Of hue.
    pub hues: usize,
    /// Of saturation.
    pub saturations: usize,
    /// Of value.
    pub values: usize,
    /// Red, which is where the circle of hues begins, is in the middle of a class and not between two.
    pub red_is_one: bool,
}

impl Classes {
    /// How many there are in all.
    pub const fn count(self) -> usize {
        self.hues * self.saturations * self.values
    }

    /// The class of a colour, below [`Classes::count`].
    pub fn of(self, [red, green, blue]: [u8; 3]) -> usize {
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
        let turn = if self.red_is_one { 0.5 / self.hues as f32 } else { 0.0 };
        let hue = (hue / 6.0 + turn).fract();
        let class = |share: f32, classes: usize| ((share * classes as f32) as usize).min(classes - 1);
        let value = usize::from(max) * self.values / 256;
        (class(hue, self.hues) * self.saturations + class(saturation, self.saturations)) * self.values + value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pixel_has_a_class() {
        for classes in [
            Classes { hues: 8, saturations: 4, values: 4, red_is_one: false },
            Classes { hues: 4, saturations: 2, values: 4, red_is_one: true },
            Classes { hues: 1, saturations: 1, values: 1, red_is_one: true },
        ] {
            for value in [0, 1, 127, 254, 255] {
                for other in [0, 1, 127, 254, 255] {
                    for rgb in [[value, other, 0], [other, 0, value], [0, value, other], [value, value, other]] {
                        assert!(classes.of(rgb) < classes.count(), "{classes:?} {rgb:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_red_that_tends_to_orange_and_one_that_tends_to_pink_are_one_class_where_that_is_asked_for() {
        let of = |red_is_one, rgb| Classes { hues: 4, saturations: 2, values: 4, red_is_one }.of(rgb);
        assert_eq!(of(true, [250, 20, 10]), of(true, [250, 10, 20]));
        assert_ne!(of(false, [250, 20, 10]), of(false, [250, 10, 20]));
    }

    #[test]
    fn a_box_that_is_small_outside_or_no_box_has_no_samples() {
        let size = Size::new(64, 128);
        for bbox in [
            BoxPx::new(10.0, 10.0, 4.0, 40.0),
            BoxPx::new(200.0, 10.0, 40.0, 40.0),
            BoxPx::new(f32::NAN, 0.0, 40.0, 40.0),
        ] {
            assert!(samples(size, bbox, |_, _| [0; 3]).is_none(), "{bbox:?}");
        }
        let inside = |x, y| {
            assert!(x < 64 && y < 128);
            [0; 3]
        };
        assert_eq!(samples(size, BoxPx::new(-10.0, -10.0, 500.0, 500.0), inside).unwrap().count(), 576);
    }
}
