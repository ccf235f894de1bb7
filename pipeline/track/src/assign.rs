//! The assignment problem: which track takes which detection, so that the sum of their weights is greatest.
//!
//! Shortest augmenting paths with dual variables (Jonker and Volgenant, Computing 38, 1987, without its initialisation
//! heuristics; also known as the Hungarian method in O(n^3)), on a rectangular matrix with forbidden pairs and the
//! choice to leave a row alone. The published crates take square or integer matrices without forbidden pairs; padding
//! to those costs more than this file.

/// Weights of rows against columns. A pair whose weight is not above zero is forbidden.
#[derive(Debug, Default)]
pub(crate) struct Weights {
    columns: usize,
    cells: Vec<f64>,
}

impl Weights {
    /// Makes it `rows` x `columns`, all pairs forbidden; keeps the memory.
    pub(crate) fn reset(&mut self, rows: usize, columns: usize) {
        self.columns = columns;
        self.cells.clear();
        self.cells.resize(rows * columns, 0.0);
    }

    /// Sets one pair's weight; one that is not a number forbids it.
    pub(crate) fn set(&mut self, row: usize, column: usize, weight: f64) {
        self.cells[row * self.columns + column] = if weight > 0.0 { weight } else { 0.0 };
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.cells[row * self.columns..(row + 1) * self.columns]
    }

    fn rows(&self) -> usize {
        self.cells.len().checked_div(self.columns).unwrap_or(0)
    }
}

/// No row yet.
const FREE: usize = usize::MAX;

/// Solves assignment problems; keeps its memory from one to the next.
#[derive(Debug, Default)]
pub(crate) struct Assigner {
    /// Dual variables.
    row_dual: Vec<f64>,
    column_dual: Vec<f64>,
    /// The row of each column, or [`FREE`]. The last `rows` columns are "left alone", one for each row.
    row_of: Vec<usize>,
    /// For the path being searched: cheapest way to each column, and the column before it.
    distance: Vec<f64>,
    before: Vec<usize>,
    done: Vec<bool>,
}

impl Assigner {
    /// Calls `matched(row, column)` for each pair of the matching with the greatest sum of weights.
    pub(crate) fn solve(&mut self, weights: &Weights, mut matched: impl FnMut(usize, usize)) {
        let (rows, columns) = (weights.rows(), weights.columns);
        self.row_dual.clear();
        self.row_dual.resize(rows, 0.0);
        self.column_dual.clear();
        self.column_dual.resize(columns + rows, 0.0);
        self.row_of.clear();
        self.row_of.resize(columns + rows, FREE);
        for row in 0..rows {
            // A row with nothing to take is left alone without a search.
            if weights.row(row).iter().all(|&weight| weight <= 0.0) {
                self.row_of[columns + row] = row;
            } else {
                self.augment(weights, row);
            }
        }
        for column in 0..columns {
            let row = self.row_of[column];
            if row != FREE {
                matched(row, column);
            }
        }
    }

    /// Finds a place for `start` along the cheapest path of changes to the rows placed before it.
    fn augment(&mut self, weights: &Weights, start: usize) {
        let all = self.row_of.len();
        self.distance.clear();
        self.distance.resize(all, f64::INFINITY);
        self.before.clear();
        self.before.resize(all, FREE);
        self.done.clear();
        self.done.resize(all, false);
        let (mut row, mut reached, mut last) = (start, 0.0, FREE);
        loop {
            self.relax(weights, row, reached, last);
            let next = self.nearest();
            self.done[next] = true;
            (reached, last) = (self.distance[next], next);
            if self.row_of[next] == FREE {
                break;
            }
            row = self.row_of[next];
        }
        self.shift_duals(start, reached);
        while last != FREE {
            let previous = self.before[last];
            self.row_of[last] = if previous == FREE { start } else { self.row_of[previous] };
            last = previous;
        }
    }

    /// Shortens the ways to all columns that `row` may take, `row` itself being `reached` away, by way of column
    /// `last`.
    fn relax(&mut self, weights: &Weights, row: usize, reached: f64, last: usize) {
        let columns = weights.columns;
        let base = reached - self.row_dual[row];
        let mut shorten = |column: usize, weight: f64| {
            let through = base - weight - self.column_dual[column];
            if !self.done[column] && through < self.distance[column] {
                self.distance[column] = through;
                self.before[column] = last;
            }
        };
        for (column, &weight) in weights.row(row).iter().enumerate() {
            if weight > 0.0 {
                shorten(column, weight);
            }
        }
        shorten(columns + row, 0.0);
    }

    fn nearest(&self) -> usize {
        let open = (0..self.distance.len()).filter(|&column| !self.done[column]);
        open.min_by(|&a, &b| self.distance[a].total_cmp(&self.distance[b]))
            .expect("the column that leaves the first row alone is always open until it is reached")
    }

    /// Keeps every reduced cost at or above zero, and those along the path at zero.
    fn shift_duals(&mut self, start: usize, reached: f64) {
        self.row_dual[start] += reached;
        for column in 0..self.row_of.len() {
            let row = self.row_of[column];
            if self.done[column] && row != FREE {
                let slack = reached - self.distance[column];
                self.row_dual[row] += slack;
                self.column_dual[column] -= slack;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn solve(rows: &[Vec<f64>]) -> Vec<(usize, usize)> {
        let mut weights = Weights::default();
        weights.reset(rows.len(), rows.first().map_or(0, Vec::len));
        for (row, cells) in rows.iter().enumerate() {
            for (column, &weight) in cells.iter().enumerate() {
                weights.set(row, column, weight);
            }
        }
        let mut pairs = Vec::new();
        Assigner::default().solve(&weights, |row, column| pairs.push((row, column)));
        pairs
    }

    /// The greatest sum over all matchings, by trying each.
    fn brute_force(rows: &[Vec<f64>], used: &mut Vec<bool>) -> f64 {
        let Some((first, rest)) = rows.split_first() else { return 0.0 };
        let mut best = brute_force(rest, used);
        for column in 0..first.len() {
            if first[column] > 0.0 && !used[column] {
                used[column] = true;
                best = best.max(first[column] + brute_force(rest, used));
                used[column] = false;
            }
        }
        best
    }

    #[test]
    fn the_best_pair_is_given_up_for_a_better_sum() {
        assert_eq!(solve(&[vec![0.9, 0.8], vec![0.85, 0.0]]), [(1, 0), (0, 1)]);
    }

    #[test]
    fn forbidden_pairs_and_lone_rows_and_columns_stay_alone() {
        assert_eq!(solve(&[vec![0.0, -1.0], vec![f64::NAN, 0.3]]), [(1, 1)]);
        assert_eq!(solve(&[vec![0.5], vec![0.6], vec![0.4]]), [(1, 0)]);
        assert!(solve(&[]).is_empty() && solve(&[vec![], vec![]]).is_empty());
    }

    proptest! {
        #[test]
        fn the_sum_is_that_of_brute_force(
            cells in prop::collection::vec(prop_oneof![Just(0.0), 0.001f64..1.0], 36),
            rows in 0usize..=6,
            columns in 1usize..=6,
        ) {
            let rows: Vec<Vec<f64>> = cells.chunks(6).take(rows).map(|row| row[..columns].to_vec()).collect();
            let pairs = solve(&rows);
            let mut seen = (vec![false; 6], vec![false; 6]);
            for &(row, column) in &pairs {
                prop_assert!(rows[row][column] > 0.0);
                prop_assert!(!std::mem::replace(&mut seen.0[row], true), "row {row} twice");
                prop_assert!(!std::mem::replace(&mut seen.1[column], true), "column {column} twice");
            }
            let sum: f64 = pairs.iter().map(|&(row, column)| rows[row][column]).sum();
            let best = brute_force(&rows, &mut vec![false; columns]);
            prop_assert!((sum - best).abs() < 1e-9, "{} is not {}", sum, best);
        }
    }
}
