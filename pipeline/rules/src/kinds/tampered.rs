//! A camera that no longer sees its scene.
//!
//! The picture is compared with a slowly learned reference, as Ribnick et al. ("Real-time detection of camera
//! tampering", 2006) and Saglam and Temizel ("Real-time adaptive camera tamper detection", 2009) do, with three
//! measures:
//! - **likeness**: the normalised cross-correlation of the two coarse pictures, block by block, and of these the
//!   median. No change of brightness or contrast alters it (Gil-Jiménez et al., "Automatic control of video
//!   surveillance camera sabotage", 2007, find a displaced camera with it), and by blocks neither does a shadow on one
//!   side, nor a lorry that parks before the camera, as long as most blocks are as ever;
//! - **detail**: the gradient energy as a share of the reference's;
//! - **sharpness**: the same of the gradient energy over the variance, which a change of contrast does not alter.
//!
//! Unlike the reference and without detail: covered. Unlike it with detail: moved. Like it and not sharp: blurred.
//! Before that, a picture that is black is dark, and one that stays the same to the bit is frozen: sensors have noise,
//! and coders refresh what they send at each keyframe.
//!
//! Likeness, measured on a plaza: its own pictures over 80 s at least .97; half the contrast 1.0; half in shadow 1.0;
//! lit from one side .94; out of focus by 20 px .95; 40% covered, black to white, .66 to .69; 50% .39; 70% at most .21;
//! turned by 10% of the picture .65, by 15% .38; tilted by 10% .41; another scene at most .29. Sharpness: its own
//! pictures .9 to 1.1; out of focus by 1 px .24, 2 px .10, 10 px under sensor noise .17; half the contrast 1.0. So a
//! camera turned by less than about an eighth of its picture, and a cover over less than half, are not seen.

use std::time::Duration;

use super::Machine;
use crate::config::{Tamper, TamperRule};
use crate::firing::Evidence;
use crate::moment::Moment;
use crate::report::{Object, Reports};
use crate::scene::{GRID_CELLS, GRID_COLUMNS, SceneStatistics};
use crate::seen::Seen;
use crate::tracks::Tracks;
use crate::watch::Hold;

/// Likeness below which the scene is another, -1..1.
const LEAST_LIKENESS: f32 = 0.5;
/// Cells of a block along each side: as large as to hold some of the scene's structure, small enough for a dozen
/// blocks.
const BLOCK: usize = 4;
/// Blocks of the coarse picture.
const BLOCKS: usize = GRID_CELLS / (BLOCK * BLOCK);
/// Fewest blocks with something in them that can tell about the scene.
const LEAST_BLOCKS: usize = 4;
/// Detail below which it is gone, share of the reference's.
const LEAST_DETAIL: f32 = 0.4;
/// Sharpness below which a picture is blurred, share of the reference's.
const LEAST_SHARPNESS: f32 = 0.2;
/// Mean luma below which a picture is black: 16 is black in limited range, and a dark scene's noise adds a few levels.
const DARK_MEAN: f32 = 32.0;
/// And the deviation below which nothing shines in it: one street lamp makes more.
const DARK_DEVIATION: f32 = 8.0;
/// Deviation of a block's cells below which the reference has nothing to compare there, grey levels: sky, a wall.
const FLAT: f32 = 4.0;
/// The same for a picture, where less is left of a block under fog or at dusk.
const BARE: f32 = 1.0;
/// Gradient energy below which a reference has no detail to lose: one grey level each way.
const LEAST_ENERGY: f32 = 2.0;
/// Time constant of the reference: clouds and dusk are slower.
const LEARN: Duration = Duration::from_mins(1);
/// Pictures, and time, before a reference is believed.
const LEAST_PICTURES: u32 = 5;
const LEAST_LEARNING: Duration = Duration::from_secs(5);
/// A picture of which more has changed is not learned from: a bus before the lens.
const MOST_CHANGED: f32 = 0.5;
const CAUSES: [Tamper; 5] = [Tamper::Covered, Tamper::Blurred, Tamper::Moved, Tamper::Dark, Tamper::Frozen];

/// Fires while something is wrong with the camera.
#[derive(Debug)]
pub(super) struct Tampered {
    rule: TamperRule,
    reference: Option<Reference>,
    /// The picture that was last seen: its fingerprint, and since when and how often it has been the same.
    still: Option<(u64, Moment, u32)>,
    /// Since when the picture has been another than the reference.
    other_since: Option<Moment>,
    holds: [Hold; CAUSES.len()],
}

/// What the camera usually sees.
#[derive(Debug)]
struct Reference {
    grid: [f32; GRID_CELLS],
    energy: f32,
    /// Of luma.
    variance: f32,
    pictures: u32,
    began: Moment,
    last: Moment,
}

impl Reference {
    fn new(scene: &SceneStatistics, now: Moment) -> Self {
        let (energy, variance) = (scene.gradient_energy, scene.deviation * scene.deviation);
        Self { grid: scene.grid.map(f32::from), energy, variance, pictures: 1, began: now, last: now }
    }

    fn is_believed(&self) -> bool {
        self.pictures >= LEAST_PICTURES && self.last.since(self.began) >= LEAST_LEARNING
    }

    fn learn(&mut self, scene: &SceneStatistics, now: Moment) {
        let elapsed = now.since(self.last).as_secs_f32();
        self.last = now;
        self.pictures = self.pictures.saturating_add(1);
        // The first pictures count in full.
        let rate = (1.0 - (-elapsed / LEARN.as_secs_f32()).exp()).max(1.0 / self.pictures as f32);
        for (cell, now) in self.grid.iter_mut().zip(scene.grid) {
            *cell += rate * (f32::from(now) - *cell);
        }
        self.energy += rate * (scene.gradient_energy - self.energy);
        self.variance += rate * (scene.deviation * scene.deviation - self.variance);
    }

    /// How like the reference a picture is, -1..1; `None` where the reference shows too little.
    fn likeness(&self, scene: &SceneStatistics) -> Option<f32> {
        let mut found = [0.0; BLOCKS];
        let mut count = 0;
        for block in 0..BLOCKS {
            let usual = block_cells(block).map(|cell| self.grid[cell]);
            let now = block_cells(block).map(|cell| f32::from(scene.grid[cell]));
            if let Some(alike) = correlation(&usual, &now) {
                found[count] = alike;
                count += 1;
            }
        }
        let telling = &mut found[..count];
        telling.sort_unstable_by(f32::total_cmp);
        (count >= LEAST_BLOCKS).then(|| f32::midpoint(telling[(count - 1) / 2], telling[count / 2]))
    }

    /// Detail and sharpness of a picture; `None` where the reference has none to lose.
    fn detail(&self, scene: &SceneStatistics) -> Option<(f32, f32)> {
        let detail = scene.gradient_energy / self.energy;
        // A picture of one grey is as sharp as it has detail.
        let contrast = (scene.deviation * scene.deviation).max(1.0) / self.variance.max(1.0);
        (self.energy >= LEAST_ENERGY).then_some((detail, detail / contrast))
    }
}

/// The cells of a block.
fn block_cells(block: usize) -> [usize; BLOCK * BLOCK] {
    let across = GRID_COLUMNS / BLOCK;
    let first = block / across * BLOCK * GRID_COLUMNS + block % across * BLOCK;
    std::array::from_fn(|cell| first + cell / BLOCK * GRID_COLUMNS + cell % BLOCK)
}

/// Normalised cross-correlation of a block; zero where nothing is left in it, `None` where there never was.
fn correlation(usual: &[f32; BLOCK * BLOCK], now: &[f32; BLOCK * BLOCK]) -> Option<f32> {
    let ((mean_a, spread_a), (mean_b, spread_b)) = (spread(usual), spread(now));
    if spread_a < FLAT {
        return None;
    }
    if spread_b < BARE {
        return Some(0.0);
    }
    let shared: f32 = usual.iter().zip(now).map(|(a, b)| (a - mean_a) * (b - mean_b)).sum();
    Some(shared / (usual.len() as f32 * spread_a * spread_b))
}

/// Mean and standard deviation.
fn spread(values: &[f32; BLOCK * BLOCK]) -> (f32, f32) {
    let count = values.len() as f32;
    let mean = values.iter().sum::<f32>() / count;
    (mean, (values.iter().map(|value| (value - mean) * (value - mean)).sum::<f32>() / count).sqrt())
}

/// What is wrong with a picture: the cause, its measure and its limit.
type Finding = (Tamper, f32, f32);

impl Tampered {
    pub fn new(rule: TamperRule) -> Self {
        Self { rule, reference: None, still: None, other_since: None, holds: Default::default() }
    }

    fn find(&mut self, scene: &SceneStatistics, now: Moment) -> Option<Finding> {
        let frozen_for = self.frozen_for(scene, now);
        if scene.mean < DARK_MEAN && scene.deviation < DARK_DEVIATION {
            return Some((Tamper::Dark, scene.mean, DARK_MEAN));
        }
        if frozen_for >= self.rule.frozen_after {
            return Some((Tamper::Frozen, frozen_for.as_secs_f32(), self.rule.frozen_after.as_secs_f32()));
        }
        let reference = self.reference.as_ref().filter(|reference| reference.is_believed())?;
        let (detail, sharpness) = reference.detail(scene).unwrap_or((1.0, 1.0));
        match reference.likeness(scene) {
            Some(likeness) if likeness < LEAST_LIKENESS => {
                let cause = if detail < LEAST_DETAIL { Tamper::Covered } else { Tamper::Moved };
                Some((cause, likeness, LEAST_LIKENESS))
            }
            _ => (sharpness < LEAST_SHARPNESS).then_some((Tamper::Blurred, sharpness, LEAST_SHARPNESS)),
        }
    }

    /// How long the picture has been the same; zero until it was three times.
    fn frozen_for(&mut self, scene: &SceneStatistics, now: Moment) -> Duration {
        let (since, times) = match self.still {
            Some((fingerprint, since, times)) if fingerprint == scene.fingerprint => (since, times.saturating_add(1)),
            _ => (now, 1),
        };
        self.still = Some((scene.fingerprint, since, times));
        if times >= 3 { now.since(since) } else { Duration::ZERO }
    }

    /// Learns the usual, and takes what has been otherwise for long enough for the usual from now on.
    fn learn(&mut self, scene: &SceneStatistics, now: Moment, finding: Option<Finding>) {
        let is_other = matches!(finding, Some((Tamper::Covered | Tamper::Blurred | Tamper::Moved, ..)));
        if is_other {
            let since = *self.other_since.get_or_insert(now);
            if now.since(since) >= self.rule.accept_after {
                self.reference = Some(Reference::new(scene, now));
                self.other_since = None;
            }
            return;
        }
        self.other_since = None;
        if finding.is_some() || scene.changed_share > MOST_CHANGED {
            return;
        }
        match &mut self.reference {
            Some(reference) => reference.learn(scene, now),
            None => self.reference = Some(Reference::new(scene, now)),
        }
    }
}

impl Machine for Tampered {
    fn see(&mut self, _seen: &Seen, _tracks: &Tracks, _reports: &mut Reports) {}

    fn look(&mut self, scene: &SceneStatistics, now: Moment, reports: &mut Reports) {
        if !(scene.mean + scene.deviation + scene.gradient_energy).is_finite() {
            return;
        }
        let finding = self.find(scene, now);
        self.learn(scene, now, finding);
        for (key, cause) in CAUSES.into_iter().enumerate() {
            let found = finding.filter(|(found, ..)| *found == cause && self.rule.detect.contains(&cause));
            // A frozen picture has already lasted.
            let hold = if cause == Tamper::Frozen { Duration::ZERO } else { self.rule.hold };
            let since = self.holds[key].update(found.is_some(), now, hold);
            match (since, found) {
                (Some(since), Some((cause, value, limit))) => {
                    let begin = if cause == Tamper::Frozen { self.still.map_or(since, |still| still.1) } else { since };
                    reports.state_at_all(key, Some((begin.time, Evidence::Tampered { cause, value, limit })));
                }
                // It may only be interrupted: what was told last still holds.
                (Some(_), None) => {}
                (None, _) => reports.state_at_all(key, None),
            }
        }
    }

    fn end(&mut self, _slot: usize, _object: Object, _reports: &mut Reports) {}

    /// The reference stays: a camera that comes back with another view was moved while it was away.
    fn reset(&mut self) {
        self.still = None;
        self.other_since = None;
        self.holds = Default::default();
    }
}
