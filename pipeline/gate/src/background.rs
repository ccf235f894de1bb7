//! What each cell looks like when nothing happens, and how much it flickers.

use std::time::Duration;

/// Time constant by which an unchanged cell follows the picture: clouds and dusk are slower than ten seconds.
const SETTLE: Duration = Duration::from_secs(10);
/// A cell has changed when it leaves its mean by this many mean absolute deviations: four standard deviations of Gaussian
/// noise, which one cell of 14,000 does by chance in a frame, and hardly ever two side by side.
const DEVIATIONS: f32 = 5.0;
/// Grey levels that count as a change at the least: below lies the flicker of video coding.
const LEAST_CHANGE: f32 = 2.5;
/// Grey levels that count as a change at the most, however much a cell flickers: a person before a waving tree must be seen.
const MOST_CHANGE: f32 = 15.0;
/// How far beyond the threshold a change is strong, that is, not noise even when it stands alone.
const STRONG: f32 = 2.5;
/// Deviation assumed before any is known, grey levels.
const FIRST_DEVIATION: f32 = 1.0;
/// A change of the light is seldom equally strong everywhere: while it happens, this share of it is forgiven to each cell.
const LIGHT_TOLERANCE: f32 = 0.5;
/// Darkest cells that tell about the light, grey levels above black: below, noise and coding rule.
const TELLING: f32 = 8.0;
/// One cell in so many is asked about the light; the median of thousands needs no more.
const LIGHT_STRIDE: usize = 7;
/// Longest time one frame may stand for: after a pause, the background is not replaced at one go.
const LONGEST_STEP: Duration = Duration::from_secs(1);
/// Shortest time one frame stands for, also when a camera's clock stands still or runs back.
const SHORTEST_STEP: Duration = Duration::from_millis(10);

/// How a cell differs from its background.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Change {
    #[default]
    None,
    /// Beyond its noise; by chance now and then.
    Weak,
    /// Far beyond it.
    Strong,
}

/// A change of the whole picture's brightness.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Light {
    /// What all samples were multiplied with; exposure, clouds and lamps do that, to a good approximation.
    pub gain: f32,
    /// The sample that means black, which they do not change.
    pub black: f32,
}

impl Light {
    /// `mean` under the new light.
    fn apply(self, mean: f32) -> f32 {
        (mean - self.black) * self.gain + self.black
    }
}

/// The running background of all cells.
#[derive(Debug, Default)]
pub(crate) struct Background {
    means: Vec<f32>,
    deviations: Vec<f32>,
    noise: f32,
    frames: u32,
    ratios: Vec<f32>,
}

impl Background {
    /// Forgets everything and takes `cells` for the background.
    pub fn restart(&mut self, cells: &[f32]) {
        self.means.clear();
        self.means.extend_from_slice(cells);
        self.deviations.clear();
        self.deviations.resize(cells.len(), FIRST_DEVIATION);
        self.noise = FIRST_DEVIATION;
        self.frames = 1;
    }

    /// How the light changed: the median, over the cells, of how much brighter each became.
    pub fn light(&mut self, cells: &[f32], black: f32) -> Light {
        self.ratios.clear();
        let pairs = cells.iter().zip(&self.means).step_by(LIGHT_STRIDE);
        let telling = pairs.map(|(cell, mean)| (cell - black, mean - black)).filter(|(_, mean)| *mean > TELLING);
        self.ratios.extend(telling.map(|(cell, mean)| cell / mean));
        if self.ratios.is_empty() {
            return Light { gain: 1.0, black };
        }
        let middle = self.ratios.len() / 2;
        let (_, gain, _) = self.ratios.select_nth_unstable_by(middle, f32::total_cmp);
        Light { gain: *gain, black }
    }

    /// Compares, allowing for a change of the light; returns how many cells changed.
    pub fn compare(&self, cells: &[f32], light: Light, changes: &mut Vec<Change>) -> usize {
        let forgiven = (light.gain - 1.0).abs() * LIGHT_TOLERANCE;
        let mut changed = 0;
        changes.clear();
        changes.extend(cells.iter().zip(&self.means).zip(&self.deviations).map(|((cell, mean), deviation)| {
            let expected = light.apply(*mean);
            let noise = deviation.max(self.noise) * DEVIATIONS;
            let threshold = noise.clamp(LEAST_CHANGE, MOST_CHANGE) + forgiven * expected;
            let distance = (cell - expected).abs();
            changed += usize::from(distance > threshold);
            match (distance > threshold, distance > threshold * STRONG) {
                (_, true) => Change::Strong,
                (true, false) => Change::Weak,
                (false, false) => Change::None,
            }
        }));
        changed
    }

    /// Takes a compared picture in, `elapsed` after the one before. Changed cells follow with the time constant `absorb`.
    pub fn learn(&mut self, cells: &[f32], light: Light, changes: &[Change], elapsed: Duration, absorb: Duration) {
        let elapsed = elapsed.clamp(SHORTEST_STEP, LONGEST_STEP);
        let share = |constant: Duration| 1.0 - (-elapsed.as_secs_f32() / constant.as_secs_f32()).exp();
        self.frames = self.frames.saturating_add(1);
        // The first frames count in full, so that the noise is known after a few of them.
        let settle = share(SETTLE).max(1.0 / self.frames as f32);
        let absorb = share(absorb);
        let state = self.means.iter_mut().zip(&mut self.deviations);
        let mut noise = 0.0;
        for ((cell, change), (mean, deviation)) in cells.iter().zip(changes).zip(state) {
            let expected = light.apply(*mean);
            let distance = cell - expected;
            let rate = if *change == Change::None { settle } else { absorb };
            *mean = expected + rate * distance;
            *deviation += rate * (distance.abs() - *deviation);
            noise += *deviation;
        }
        self.noise = noise / cells.len().max(1) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(200);
    const ABSORB: Duration = Duration::from_secs(50);
    const SAME: Light = Light { gain: 1.0, black: 16.0 };

    fn compare(background: &Background, cells: &[f32]) -> Vec<Change> {
        let mut changes = Vec::new();
        background.compare(cells, SAME, &mut changes);
        changes
    }

    fn flickering(levels: f32, frames: usize) -> Background {
        let mut background = Background::default();
        background.restart(&[100.0]);
        for i in 0..frames {
            let cells = [100.0 + if i % 2 == 0 { levels } else { -levels }];
            let changes = compare(&background, &cells);
            background.learn(&cells, SAME, &changes, STEP, ABSORB);
        }
        background
    }

    #[test]
    fn noise_that_was_seen_is_forgiven_and_more_than_it_is_not() {
        let background = flickering(2.0, 200);
        assert_eq!(compare(&background, &[106.0]), [Change::None]);
        assert_eq!(compare(&background, &[112.0]), [Change::Weak]);
        assert_eq!(compare(&background, &[140.0]), [Change::Strong]);
    }

    #[test]
    fn however_much_a_cell_flickers_a_large_change_is_seen() {
        let background = flickering(14.0, 2000);
        assert_ne!(compare(&background, &[100.0 + MOST_CHANGE + 3.0]), [Change::None]);
    }

    #[test]
    fn what_stays_becomes_background_within_minutes_and_not_within_seconds() {
        let mut background = Background::default();
        background.restart(&[100.0]);
        let mut seen = 0;
        while compare(&background, &[130.0]) != [Change::None] {
            background.learn(&[130.0], SAME, &[Change::Strong], STEP, ABSORB);
            seen += 1;
            assert!(seen < 5 * 300, "still seen after five minutes");
        }
        assert!(seen > 5 * 20, "gone after {seen} frames of 0.2 s");
    }

    #[test]
    fn the_light_is_the_median_of_all_changes() {
        let mut background = Background::default();
        background.restart(&[66.0; 100]);
        let mut cells = [76.0; 100];
        cells[..30].fill(200.0);
        assert_eq!(background.light(&cells, 16.0), Light { gain: 1.2, black: 16.0 });
    }

    #[test]
    fn a_black_picture_tells_nothing_about_the_light() {
        let mut background = Background::default();
        background.restart(&[16.0; 100]);
        assert_eq!(background.light(&[200.0; 100], 16.0).gain, 1.0);
    }
}
