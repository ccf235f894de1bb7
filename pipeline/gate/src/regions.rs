//! Which changed cells belong together.

use smallvec::SmallVec;
use vigil_base::{BoxNorm, BoxPx};

use crate::background::Change;
use crate::cells::Grid;

/// Most regions told of one frame; nearer ones are merged beyond it. Eight is more than anyone crops pictures by.
pub const MAX_REGIONS: usize = 8;
/// That many boxes without a piece of memory of their own: each frame has them.
pub type Boxes = SmallVec<[BoxNorm; MAX_REGIONS]>;
/// Changed cells this far apart, in cells, are one region: a person's legs and body are joined over a belt that matches the
/// background.
const REACH: usize = 2;

/// A rectangle of cells; the far edges are not part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Region {
    left: usize,
    top: usize,
    right: usize,
    bottom: usize,
}

impl Region {
    fn joined(self, other: Self) -> Self {
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }

    fn area(self) -> usize {
        (self.right - self.left) * (self.bottom - self.top)
    }

    fn to_norm(self, grid: &Grid) -> BoxNorm {
        let px = |cells: usize| (cells * grid.cell as usize) as f32;
        let (left, top) = (px(self.left), px(self.top));
        BoxPx::new(left, top, px(self.right) - left, px(self.bottom) - top).normalise(grid.picture)
    }
}

/// Finds regions, with buffers that are kept.
#[derive(Debug, Default)]
pub(crate) struct Finder {
    visited: Vec<bool>,
    stack: Vec<usize>,
    regions: Vec<Region>,
}

impl Finder {
    /// The regions of changed cells, at most [`MAX_REGIONS`], largest first. A weak change without a changed neighbour is
    /// taken for noise.
    pub fn find(&mut self, changes: &[Change], grid: &Grid) -> Boxes {
        self.visited.clear();
        self.visited.resize(changes.len(), false);
        self.regions.clear();
        for start in 0..changes.len() {
            if changes[start] != Change::None && !self.visited[start] {
                let (region, cells, strong) = self.grow(start, changes, grid);
                if cells > 1 || strong {
                    self.regions.push(region);
                }
            }
        }
        self.merge();
        self.regions.sort_by_key(|region| (std::cmp::Reverse(region.area()), region.top, region.left));
        self.regions.iter().map(|region| region.to_norm(grid)).collect()
    }

    /// Everything within [`REACH`] of `start`, and of what is within reach, and so on; how many cells, and whether one of
    /// them changed strongly.
    fn grow(&mut self, start: usize, changes: &[Change], grid: &Grid) -> (Region, usize, bool) {
        let (mut cells, mut strong) = (0, false);
        let at = |index: usize| {
            let (column, row) = (index % grid.columns, index / grid.columns);
            Region { left: column, top: row, right: column + 1, bottom: row + 1 }
        };
        let mut region = at(start);
        self.visited[start] = true;
        self.stack.push(start);
        while let Some(index) = self.stack.pop() {
            let cell = at(index);
            region = region.joined(cell);
            cells += 1;
            strong |= changes[index] == Change::Strong;
            for row in cell.top.saturating_sub(REACH)..(cell.bottom + REACH).min(grid.rows) {
                for column in cell.left.saturating_sub(REACH)..(cell.right + REACH).min(grid.columns) {
                    let neighbour = row * grid.columns + column;
                    if changes[neighbour] != Change::None && !self.visited[neighbour] {
                        self.visited[neighbour] = true;
                        self.stack.push(neighbour);
                    }
                }
            }
        }
        (region, cells, strong)
    }

    /// Merges the pair that wastes the least area until few enough are left.
    fn merge(&mut self) {
        // A picture full of specks would make the search for pairs expensive: then one box says as much.
        const TOO_MANY: usize = 64;
        if self.regions.len() > TOO_MANY {
            let all = self.regions.iter().copied().reduce(Region::joined);
            self.regions.clear();
            self.regions.extend(all);
        }
        while self.regions.len() > MAX_REGIONS {
            let mut best = (usize::MAX, 0, 1);
            for (i, a) in self.regions.iter().enumerate() {
                for (j, b) in self.regions.iter().enumerate().skip(i + 1) {
                    let waste = a.joined(*b).area().saturating_sub(a.area() + b.area());
                    if waste < best.0 {
                        best = (waste, i, j);
                    }
                }
            }
            let (_, first, second) = best;
            let merged = self.regions[first].joined(self.regions[second]);
            self.regions[first] = merged;
            self.regions.swap_remove(second);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vigil_base::Size;

    use super::*;

    fn grid() -> Grid {
        Grid::of(Size::new(160, 90))
    }

    fn find(cells: &[(usize, usize, Change)]) -> Boxes {
        let mut changes = vec![Change::None; 160 * 90];
        for &(column, row, change) in cells {
            changes[row * 160 + column] = change;
        }
        Finder::default().find(&changes, &grid())
    }

    #[test]
    fn one_weak_cell_is_noise_and_one_strong_cell_is_not() {
        assert!(find(&[(10, 10, Change::Weak)]).is_empty());
        assert_eq!(find(&[(10, 10, Change::Strong)]).len(), 1);
        assert_eq!(find(&[(10, 10, Change::Weak), (11, 11, Change::Weak)]).len(), 1);
    }

    #[test]
    fn cells_within_reach_are_one_region_and_the_box_holds_them() {
        let found = find(&[(10, 10, Change::Weak), (10, 12, Change::Weak), (80, 40, Change::Strong)]);
        assert_eq!(found.len(), 2);
        let px = found[0].to_px(Size::new(160, 90));
        assert!((px.left - 10.0).abs() < 1e-3 && (px.top - 10.0).abs() < 1e-3, "{px:?}");
        assert!((px.width - 1.0).abs() < 1e-3 && (px.height - 3.0).abs() < 1e-3, "{px:?}");
    }

    proptest! {
        #[test]
        fn every_strong_cell_lies_in_one_of_few_valid_boxes(
            cells in prop::collection::vec((0usize..160, 0usize..90), 0..200),
        ) {
            let strong: Vec<_> = cells.iter().map(|&(x, y)| (x, y, Change::Strong)).collect();
            let found = find(&strong);
            prop_assert!(found.len() <= MAX_REGIONS && found.iter().all(BoxNorm::is_valid));
            for &(x, y) in &cells {
                let (x, y) = ((x as f32 + 0.5) / 160.0, (y as f32 + 0.5) / 90.0);
                let inside = |b: &BoxNorm| x > b.left && x < b.left + b.width && y > b.top && y < b.top + b.height;
                prop_assert!(found.iter().any(inside));
            }
        }
    }
}
