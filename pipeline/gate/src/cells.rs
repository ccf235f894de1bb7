//! A picture averaged down to a grid of square cells.

use std::ops::Range;

use vigil_base::{BoxPx, Plane, Size};

/// The grid is at most this many cells wide: a walker of 2% of the picture's width covers three of them.
const GRID_WIDTH: u32 = 160;
/// Rows read of each row of cells. Four average the noise well enough; reading all twelve of a 1080p picture would cost three
/// times as much, most of it in fetching memory.
const ROWS_READ: u32 = 4;
/// Largest cell, pixels: the sum of [`ROWS_READ`] samples must fit 16 bits, and a cell's sum 32; both do by far.
const MAX_CELL: u32 = 256;

/// How a picture is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    /// The picture's size, pixels.
    pub picture: Size,
    /// A cell's side, pixels; the last column and row may be narrower.
    pub cell: u32,
    pub columns: usize,
    pub rows: usize,
}

impl Grid {
    pub fn of(picture: Size) -> Self {
        let cell = picture.width.div_ceil(GRID_WIDTH).clamp(1, MAX_CELL);
        let along = |side: u32| side.div_ceil(cell) as usize;
        Self { picture, cell, columns: along(picture.width), rows: along(picture.height) }
    }
}

impl Grid {
    /// The cells that a box (pixels) touches, as one range of indices a row.
    pub fn cells_in(&self, bbox: &BoxPx) -> impl Iterator<Item = Range<usize>> + use<> {
        let inside = bbox.clamp(self.picture);
        let (cell, columns) = (self.cell as f32, self.columns);
        let low = |side: f32| (side / cell).floor() as usize;
        let high = |side: f32, end: usize| ((side / cell).ceil() as usize).min(end);
        let (left, right) = (low(inside.left), high(inside.right(), columns));
        let rows = low(inside.top)..high(inside.bottom(), self.rows);
        rows.filter(move |_| left < right).map(move |row| row * columns + left..row * columns + right)
    }
}

/// Averages pictures over a grid, with buffers that are kept.
#[derive(Debug, Default)]
pub(crate) struct Averager {
    columns: Vec<u16>,
}

impl Averager {
    /// Writes each cell's mean luma, 0..255, into `means`, row by row.
    pub fn average(&mut self, luma: &Plane, grid: &Grid, means: &mut Vec<f32>) {
        means.clear();
        let cell = grid.cell as usize;
        for row in 0..grid.rows as u32 {
            let rows_read = self.sum_rows(luma, grid, row);
            means.extend(self.columns.chunks(cell).map(|columns| {
                let sum: u32 = columns.iter().map(|&column| u32::from(column)).sum();
                sum as f32 / (columns.len() as u32 * rows_read) as f32
            }));
        }
    }

    /// Adds up, per pixel column, the rows that stand for one row of cells; returns how many.
    fn sum_rows(&mut self, luma: &Plane, grid: &Grid, row: u32) -> u32 {
        let first = row * grid.cell;
        let height = grid.cell.min(luma.height - first);
        let step = (grid.cell / ROWS_READ).max(1);
        self.columns.clear();
        self.columns.resize(luma.width as usize, 0);
        let mut rows_read = 0;
        for y in (first + step / 2..first + height).step_by(step as usize).take(ROWS_READ as usize) {
            for (sum, &sample) in self.columns.iter_mut().zip(luma.row(y)) {
                *sum += u16::from(sample);
            }
            rows_read += 1;
        }
        if rows_read == 0 {
            // A last row of cells too thin for the pattern.
            self.columns.iter_mut().zip(luma.row(first)).for_each(|(sum, &sample)| *sum = u16::from(sample));
            rows_read = 1;
        }
        rows_read
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plane(width: u32, height: u32, sample: impl Fn(u32, u32) -> u8) -> Plane {
        let stride = width as usize + 5;
        let mut data = vec![255; stride * height as usize];
        for y in 0..height {
            for x in 0..width {
                data[y as usize * stride + x as usize] = sample(x, y);
            }
        }
        Plane { data: data.into(), stride, width, height }
    }

    fn average(luma: &Plane) -> (Grid, Vec<f32>) {
        let grid = Grid::of(Size::new(luma.width, luma.height));
        let mut means = Vec::new();
        Averager::default().average(luma, &grid, &mut means);
        (grid, means)
    }

    #[test]
    fn a_cell_holds_the_mean_of_its_pixels() {
        let (grid, means) = average(&plane(1920, 1080, |x, y| if x < 960 { 40 } else { (200 + y / 1080) as u8 }));
        assert_eq!((grid.cell, grid.columns, grid.rows), (12, 160, 90));
        assert_eq!((means[0], means[159], means[89 * 160 + 80]), (40.0, 200.0, 200.0));
    }

    proptest! {
        #[test]
        fn every_size_gives_one_mean_per_cell(width in 1u32..700, height in 1u32..300, shade in 0u8..=255) {
            let (grid, means) = average(&plane(width, height, |_, _| shade));
            prop_assert_eq!(means.len(), grid.columns * grid.rows);
            prop_assert!(means.iter().all(|&mean| mean == f32::from(shade)));
        }
    }
}
