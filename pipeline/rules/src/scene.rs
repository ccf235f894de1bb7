//! What a picture as a whole looks like: the little that tells whether a camera still sees its scene.
//!
//! Measured on a lattice of samples, so it costs the same for any resolution: 16 by 12 cells of 8 by 8 samples each,
//! with each sample's neighbours to the right and below, some 37,000 bytes read per picture.

use vigil_base::Plane;

/// Cells of the coarse picture, across.
pub const GRID_COLUMNS: usize = 16;
/// Cells of the coarse picture, down.
pub const GRID_ROWS: usize = 12;
/// Cells of the coarse picture.
pub const GRID_CELLS: usize = GRID_COLUMNS * GRID_ROWS;
/// Samples of a cell along each side.
const SAMPLES: usize = 8;

/// A picture's luma in numbers. Luma is as decoded, 0..255.
#[derive(Debug, Clone, PartialEq)]
pub struct SceneStatistics {
    /// Mean luma.
    pub mean: f32,
    /// Standard deviation of luma.
    pub deviation: f32,
    /// Mean of the squared differences between a sample and its neighbours to the right and below, at the picture's own
    /// resolution: how much fine detail there is (the measure of focus that Krotkov, "Focusing", 1988, calls Tenengrad,
    /// with differences in place of Sobel's operator).
    pub gradient_energy: f32,
    /// Mean luma of each cell, row by row.
    pub grid: [u8; GRID_CELLS],
    /// Equal for pictures that are the same to the bit (in the samples looked at), different for others.
    pub fingerprint: u64,
    /// Share of the motion gate's cells that left their background on this picture, 0..1; zero where no gate runs.
    pub changed_share: f32,
}

impl SceneStatistics {
    /// Measures a picture. Pictures below 2 by 2 samples have no detail and one sample for all.
    pub fn measure(luma: &Plane, changed_share: f32) -> Self {
        let mut sums = Sums::default();
        let mut grid = [0; GRID_CELLS];
        let (columns, rows) = (lattice(luma.width, GRID_COLUMNS), lattice(luma.height, GRID_ROWS));
        if luma.width > 0 && luma.height > 0 {
            for (index, cell) in grid.iter_mut().enumerate() {
                let (column, row) = (index % GRID_COLUMNS, index / GRID_COLUMNS);
                *cell = sums.add_cell(luma, |i| columns(column, i), |i| rows(row, i));
            }
        }
        let count = (GRID_CELLS * SAMPLES * SAMPLES) as f64;
        let mean = sums.luma as f64 / count;
        let variance = (sums.squares as f64 / count - mean * mean).max(0.0);
        Self {
            mean: mean as f32,
            deviation: variance.sqrt() as f32,
            gradient_energy: (sums.gradients as f64 / count) as f32,
            grid,
            fingerprint: sums.fingerprint,
            changed_share: if changed_share.is_finite() { changed_share.clamp(0.0, 1.0) } else { 0.0 },
        }
    }
}

/// The coordinate of a cell's sample along a side of `length`: spread evenly, one in from the far edge, so that each
/// has a neighbour.
fn lattice(length: u32, cells: usize) -> impl Fn(usize, usize) -> u32 {
    let steps = (cells * SAMPLES) as u64;
    let last = u64::from(length.saturating_sub(2));
    move |cell, sample| ((cell * SAMPLES + sample) as u64 * last / (steps - 1)) as u32
}

#[derive(Default)]
struct Sums {
    luma: u64,
    squares: u64,
    gradients: u64,
    fingerprint: u64,
}

impl Sums {
    /// Takes a cell's samples in; its mean.
    fn add_cell(&mut self, luma: &Plane, column: impl Fn(usize) -> u32, row: impl Fn(usize) -> u32) -> u8 {
        /// An odd number without pattern (the golden ratio, as Knuth's multiplicative hashing has it).
        const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut sum = 0;
        for y in (0..SAMPLES).map(row) {
            let (here, below) = (luma.row(y), luma.row((y + 1).min(luma.height - 1)));
            for x in (0..SAMPLES).map(&column) {
                let (x, right) = (x as usize, (x as usize + 1).min(here.len() - 1));
                let value = i32::from(here[x]);
                let (dx, dy) = (i32::from(here[right]) - value, i32::from(below[x]) - value);
                sum += value.unsigned_abs();
                self.squares += u64::from((value * value).unsigned_abs());
                self.gradients += u64::from((dx * dx + dy * dy).unsigned_abs());
                let seen = u64::from(here[x]) | u64::from(here[right]) << 8 | u64::from(below[x]) << 16;
                self.fingerprint = (self.fingerprint.rotate_left(5) ^ seen).wrapping_mul(MIX);
            }
        }
        self.luma += u64::from(sum);
        (sum / (SAMPLES * SAMPLES) as u32) as u8
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plane(width: u32, height: u32, sample: impl Fn(u32, u32) -> u8) -> Plane {
        let stride = width as usize + 3;
        let mut data = vec![7; stride * height as usize];
        for y in 0..height {
            for x in 0..width {
                data[y as usize * stride + x as usize] = sample(x, y);
            }
        }
        Plane { data: data.into(), stride, width, height }
    }

    fn measure(width: u32, height: u32, sample: impl Fn(u32, u32) -> u8) -> SceneStatistics {
        SceneStatistics::measure(&plane(width, height, sample), 0.0)
    }

    #[test]
    fn a_flat_picture_has_neither_spread_nor_detail() {
        let flat = measure(640, 480, |_, _| 90);
        assert_eq!((flat.mean, flat.deviation, flat.gradient_energy), (90.0, 0.0, 0.0));
        assert!(flat.grid.iter().all(|cell| *cell == 90));
    }

    #[test]
    fn the_grid_is_a_small_copy_of_the_picture() {
        let halves = measure(320, 240, |x, y| {
            if x < 160 {
                20
            } else if y < 120 {
                100
            } else {
                200
            }
        });
        assert_eq!((halves.grid[0], halves.grid[15], halves.grid[GRID_CELLS - 1]), (20, 100, 200));
        assert!((halves.mean - 85.0).abs() < 1.0, "{}", halves.mean);
    }

    #[test]
    fn detail_goes_with_blur_and_stays_with_brightness() {
        let sharp = |x: u32, y: u32| if (x / 4 + y / 4).is_multiple_of(2) { 60 } else { 160 };
        let blurred = |x: u32, _: u32| (110.0 + 50.0 * (f64::from(x) / 20.0).sin()) as u8;
        let (a, b) = (measure(640, 480, sharp), measure(640, 480, blurred));
        assert!(a.gradient_energy > 20.0 * b.gradient_energy, "{} {}", a.gradient_energy, b.gradient_energy);
        let brighter = measure(640, 480, |x, y| sharp(x, y) + 30);
        assert_eq!(a.gradient_energy, brighter.gradient_energy);
        assert_ne!(a.fingerprint, brighter.fingerprint);
    }

    proptest! {
        #[test]
        fn any_size_is_measured(width in 0u32..70, height in 0u32..70, value: u8, changed: f32) {
            let found = SceneStatistics::measure(&plane(width, height, |_, _| value), changed);
            prop_assert_eq!(found.deviation, 0.0);
            prop_assert!((0.0..=1.0).contains(&found.changed_share));
            if width > 0 && height > 0 {
                prop_assert_eq!(found.mean, f32::from(value));
            }
        }

        /// One sample of sensor noise anywhere on the lattice makes another fingerprint, whatever the picture's size.
        #[test]
        fn a_picture_is_told_from_its_neighbour(
            (width, height) in (2u32..400, 2u32..300),
            (column, row) in (0..GRID_COLUMNS * SAMPLES, 0..GRID_ROWS * SAMPLES),
        ) {
            let (x, y) = (lattice(width, GRID_COLUMNS)(0, column), lattice(height, GRID_ROWS)(0, row));
            let still = |px: u32, py: u32| (px * 3 + py * 5) as u8;
            let a = measure(width, height, still);
            let b = measure(width, height, |px, py| still(px, py) ^ u8::from(px == x && py == y));
            prop_assert_ne!(a.fingerprint, b.fingerprint);
        }
    }
}
