//! Bilinear resizing of one plane, as OpenCV's `resize` with `INTER_LINEAR` does it, to the byte.
//!
//! Sample centres lie at half: output `i` looks at input `(i + 0.5) * scale - 0.5`. Weights have 11 bits. A reduction by
//! exactly two in both directions is a mean of four samples instead.

use vigil_base::{Plane, Size};

use crate::kernels::{self, Cpu, RowTaps, Tap, WEIGHT_BITS};

const ONE: f32 = (1u32 << WEIGHT_BITS) as f32;

/// The two input rows of one output row, and their weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct RowPair {
    rows: [u32; 2],
    weights: [i16; 2],
}

#[derive(Debug)]
enum Way {
    Halve,
    Blend {
        columns: RowTaps,
        rows: Vec<RowPair>,
        /// Input rows already resized horizontally, and which ones they are.
        cache: [(Option<u32>, Vec<i16>); 2],
    },
}

/// Resizes planes of one size to another, row by row, with buffers that are kept.
#[derive(Debug)]
pub(crate) struct PlaneResizer {
    cpu: Cpu,
    way: Way,
    /// A plane one sample wide, twice side by side: taps want two neighbours.
    widened: Option<Vec<u8>>,
}

impl PlaneResizer {
    /// From `source` to `target`, both not empty.
    pub fn new(cpu: Cpu, source: Size, target: Size) -> Self {
        let halves = source.width == target.width * 2 && source.height == target.height * 2;
        let way = if halves {
            Way::Halve
        } else {
            let columns = RowTaps::new(column_taps(source.width, target.width), source.width);
            let empty = || (None, vec![0; columns.len()]);
            let cache = [empty(), empty()];
            Way::Blend { rows: row_pairs(source.height, target.height), columns, cache }
        };
        Self { cpu, way, widened: (source.width == 1).then(|| vec![0; 2]) }
    }

    /// Forgets the plane before: call once for each new plane.
    pub fn begin(&mut self) {
        if let Way::Blend { cache, .. } = &mut self.way {
            for (row, _) in cache {
                *row = None;
            }
        }
    }

    /// Writes output row `y` of `plane`, which has the size this was made for.
    pub fn row(&mut self, plane: &Plane, y: usize, out: &mut [u8]) {
        match &mut self.way {
            Way::Halve => {
                let above = 2 * y as u32;
                kernels::halve(self.cpu, plane.row(above), plane.row(above + 1), out);
            }
            Way::Blend { columns, rows, cache } => {
                let pair = rows[y];
                // What was the lower row is often the upper one now.
                if cache[1].0 == Some(pair.rows[0]) {
                    cache.swap(0, 1);
                }
                for (wanted, (have, sums)) in pair.rows.into_iter().zip(cache.iter_mut()) {
                    if *have != Some(wanted) {
                        let row = match &mut self.widened {
                            Some(twice) => {
                                twice.fill(plane.row(wanted)[0]);
                                twice.as_slice()
                            }
                            None => plane.row(wanted),
                        };
                        kernels::horizontal(self.cpu, row, columns, sums);
                        *have = Some(wanted);
                    }
                }
                kernels::vertical(self.cpu, &cache[0].1, &cache[1].1, pair.weights, out);
            }
        }
    }
}

/// Where an output sample looks: the input sample at or before that place, and how far beyond it.
fn look(i: u32, source: u32, target: u32) -> (i64, f32) {
    // OpenCV divides twice, which is not the same as dividing once.
    let scale = 1.0 / (f64::from(target) / f64::from(source));
    let place = ((f64::from(i) + 0.5) * scale - 0.5) as f32;
    let before = place.floor();
    (before as i64, place - before)
}

fn weights(beyond: f32) -> [i16; 2] {
    [1.0 - beyond, beyond].map(|weight| (weight * ONE).round_ties_even() as i16)
}

/// Along a row, the picture's edge is its last sample alone.
fn column_taps(source: u32, target: u32) -> Vec<Tap> {
    let last_pair = source.saturating_sub(2);
    let tap = |i: u32| match look(i, source, target) {
        (before, _) if before < 0 => Tap { first: 0, weights: weights(0.0) },
        (before, _) if before >= i64::from(source) - 1 => Tap { first: last_pair, weights: weights(1.0) },
        (before, beyond) => Tap { first: before as u32, weights: weights(beyond) },
    };
    (0..target).map(tap).collect()
}

/// Down the rows, the edge is repeated, and blended with itself.
fn row_pairs(source: u32, target: u32) -> Vec<RowPair> {
    let inside = |row: i64| row.clamp(0, i64::from(source) - 1) as u32;
    let pair = |i: u32| {
        let (before, beyond) = look(i, source, target);
        RowPair { rows: [inside(before), inside(before + 1)], weights: weights(beyond) }
    };
    (0..target).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    use super::*;

    /// A plane of pseudo-random samples that Python can make, too: byte i is (i * 2654435761 >> 13) & 255.
    fn plane(size: Size, padding: usize) -> Plane {
        let stride = size.width as usize + padding;
        let mut data = vec![0; stride * size.height as usize];
        for i in 0..size.width * size.height {
            let (x, y) = (i % size.width, i / size.width);
            data[y as usize * stride + x as usize] = ((u64::from(i) * 2_654_435_761) >> 13) as u8;
        }
        Plane { data: data.into(), stride, width: size.width, height: size.height }
    }

    fn resize(cpu: Cpu, plane: &Plane, target: Size) -> Vec<u8> {
        let mut resizer = PlaneResizer::new(cpu, Size::new(plane.width, plane.height), target);
        let mut out = vec![0; (target.width * target.height) as usize];
        resizer.begin();
        for (y, row) in out.chunks_mut(target.width as usize).enumerate() {
            resizer.row(plane, y, row);
        }
        out
    }

    /// SHA-256 of what `cv2.resize(plane, target, interpolation=cv2.INTER_LINEAR)` of OpenCV 5.0.0 gave, first 16 digits.
    const OPENCV: [(Size, Size, &str); 8] = [
        (Size::new(768, 576), Size::new(544, 408), "767ab09ffa50cdcd"),
        (Size::new(384, 288), Size::new(272, 204), "e8f892d4b04330e7"),
        (Size::new(1920, 1080), Size::new(544, 306), "fadce25012abb3ad"),
        (Size::new(640, 480), Size::new(320, 240), "2ec576de5b4aa2ab"),
        (Size::new(352, 288), Size::new(544, 416), "0ea1c176fcc82e5c"),
        (Size::new(97, 33), Size::new(544, 416), "347fa56f61d36767"),
        (Size::new(3840, 2160), Size::new(544, 306), "ce923378f4d309d7"),
        (Size::new(1, 1), Size::new(32, 32), "5f70bf18a0860070"),
    ];

    #[test]
    fn the_bytes_are_those_of_opencv() {
        for cpu in [Cpu::Any, Cpu::detect()] {
            for (source, target, expected) in OPENCV {
                let out = resize(cpu, &plane(source, 7), target);
                let found = format!("{:x}", Sha256::digest(&out));
                assert_eq!(&found[..16], expected, "{source} to {target} on {cpu:?}");
            }
        }
    }

    #[test]
    fn the_same_size_is_a_copy() {
        let source = plane(Size::new(64, 48), 3);
        let out = resize(Cpu::detect(), &source, Size::new(64, 48));
        assert!(out.chunks(64).enumerate().all(|(y, row)| row == source.row(y as u32)));
    }

    proptest! {
        #[test]
        fn both_compilations_give_the_same_bytes(
            width in 1u32..400, height in 1u32..60, to_width in 1u32..150, to_height in 1u32..60,
        ) {
            let source = plane(Size::new(width, height), 1);
            let target = Size::new(to_width, to_height);
            prop_assert_eq!(resize(Cpu::Any, &source, target), resize(Cpu::detect(), &source, target));
        }

        #[test]
        fn an_even_plane_stays_even(
            shade: u8, width in 1u32..300, height in 1u32..60, to_width in 1u32..150, to_height in 1u32..60,
        ) {
            let size = Size::new(width, height);
            let data = vec![shade; (width * height) as usize].into();
            let even = Plane { data, stride: size.width as usize, width, height };
            let out = resize(Cpu::detect(), &even, Size::new(to_width, to_height));
            prop_assert!(out.iter().all(|&sample| sample.abs_diff(shade) <= 1));
        }
    }
}
