//! Which detection belongs to which track.
//!
//! Two stages, after ByteTrack (Zhang et al., ECCV 2022): sure detections first, then unsure ones for the tracks left
//! over, so that an object that is half hidden keeps its track without unsure detections ever beginning one. Within a
//! stage the assignment is optimal.
//!
//! The similarity of a track and a detection is the overlap of their boxes, grown by a margin (C-BIoU: Yang et al.,
//! WACV 2023), here one that follows the uncertainty of the motion model: small for a walker seen ten times a second,
//! wide for one seen once a second or once in all.

use vigil_base::Timestamp;

use crate::assign::{Assigner, Weights};
use crate::kalman::CentreBox;
use crate::sighting::{Look, Sighting, is_crowded};
use crate::track::Track;
use crate::{AssociationConfig, TrackerConfig};

/// Appearance moves the similarity by at most this, before its weight: it decides between neighbours, it does not
/// overrule motion.
const MAX_APPEARANCE: f64 = 0.3;
/// Least overlap at which a track and a sighting have anything to do with each other.
const NEAR: f64 = 0.02;

/// A track as the association sees it on one frame.
struct Expected<'a> {
    track: &'a Track,
    bbox: CentreBox,
    /// By how much boxes grow, pixels.
    margin: (f64, f64),
    /// For the time it has been hidden.
    penalty: f64,
    is_hidden: bool,
}

impl<'a> Expected<'a> {
    fn new(track: &'a Track, now: Timestamp, config: &TrackerConfig) -> Self {
        let association = &config.association;
        let bbox = track.filter().centre_box();
        let missing = track.missing_for(now);
        let cap = if missing.is_none() { association.max_sigma_margin } else { association.max_hidden_margin };
        let sigma = track.filter().centre_sigma();
        let grow = |side: f64, sigma: f64| {
            association.margin * side + (association.sigma_margin * sigma).min(cap * bbox.size())
        };
        let hidden = if track.is_stationary(&config.life) { 0.0 } else { missing.unwrap_or(0.0) };
        Self {
            track,
            bbox,
            margin: (grow(bbox.width, sigma.0), grow(bbox.height, sigma.1)),
            penalty: association.hidden_penalty * hidden,
            is_hidden: missing.is_some(),
        }
    }

    /// 0 to 1.
    fn overlap(&self, seen: &Sighting) -> f64 {
        self.bbox.grown_iou(&seen.bbox, self.margin.0, self.margin.1)
    }

    /// What speaks for a sighting beside its overlap, and against it. Looks count where there is a choice: they cost more than
    /// boxes, and say little that a lone box does not.
    fn leaning(&self, seen: &Sighting, contested: bool, stage: &Stage<'_>) -> f64 {
        let config = &stage.config.association;
        let other_class = if self.track.class() == seen.class { 0.0 } else { config.other_class_penalty };
        let looks = if contested { self.appearance(seen, stage.look, config) } else { 0.0 };
        looks - self.penalty - other_class
    }

    fn appearance(&self, seen: &Sighting, look: Look<'_>, config: &AssociationConfig) -> f64 {
        let Some(known) = self.track.appearance() else { return 0.0 };
        let Some(similarity) = seen.descriptor(look).and_then(|now| known.similarity(now)) else { return 0.0 };
        let leaning = f64::from(similarity) - config.neutral_appearance;
        config.appearance_weight * leaning.clamp(-MAX_APPEARANCE, MAX_APPEARANCE)
    }
}

/// One stage: who is matched, and how alike a pair must at least be.
pub(crate) struct Stage<'a> {
    pub(crate) now: Timestamp,
    pub(crate) config: &'a TrackerConfig,
    pub(crate) look: Look<'a>,
    pub(crate) min_similarity: f64,
}

/// Runs stages; keeps its memory from one to the next.
#[derive(Debug, Default)]
pub(crate) struct Associator {
    weights: Weights,
    assigner: Assigner,
    overlaps: Overlaps,
    taken_who: Vec<bool>,
    taken_which: Vec<bool>,
}

/// How much each track of a stage overlaps each sighting, and how many others each has to do with.
#[derive(Debug, Default)]
struct Overlaps {
    /// Row by row.
    values: Vec<f64>,
    near_in_row: Vec<u32>,
    near_in_column: Vec<u32>,
}

impl Overlaps {
    fn reset(&mut self, rows: usize, columns: usize) {
        self.values.clear();
        for (counts, len) in [(&mut self.near_in_row, rows), (&mut self.near_in_column, columns)] {
            counts.clear();
            counts.resize(len, 0);
        }
    }

    fn push(&mut self, row: usize, column: usize, overlap: f64) {
        self.values.push(overlap);
        self.near_in_row[row] += u32::from(overlap > NEAR);
        self.near_in_column[column] += u32::from(overlap > NEAR);
    }

    /// Whether the track or the sighting could as well belong to another.
    fn is_contested(&self, row: usize, column: usize) -> bool {
        self.near_in_row[row] > 1 || self.near_in_column[column] > 1
    }
}

impl Associator {
    /// Matches the tracks at `who` with the sightings at `which`; those that were matched are told what they saw and
    /// taken out of both lists.
    pub(crate) fn run(
        &mut self,
        stage: &Stage<'_>,
        tracks: &mut [Track],
        who: &mut Vec<usize>,
        sightings: &[Sighting],
        which: &mut Vec<usize>,
    ) {
        if who.is_empty() || which.is_empty() {
            return;
        }
        self.weigh(stage, tracks, who, sightings, which);
        let Self { weights, assigner, taken_who, taken_which, .. } = self;
        for (taken, len) in [(&mut *taken_who, who.len()), (&mut *taken_which, which.len())] {
            taken.clear();
            taken.resize(len, false);
        }
        assigner.solve(weights, |row, column| {
            let (track, index) = (&mut tracks[who[row]], which[column]);
            track.see(&sightings[index], stage.now, stage.config);
            learn(stage, track, sightings, index);
            taken_who[row] = true;
            taken_which[column] = true;
        });
        remove_taken(who, taken_who);
        remove_taken(which, taken_which);
    }

    fn weigh(&mut self, stage: &Stage<'_>, tracks: &[Track], who: &[usize], sightings: &[Sighting], which: &[usize]) {
        let Self { weights, overlaps, .. } = self;
        weights.reset(who.len(), which.len());
        overlaps.reset(who.len(), which.len());
        let expected = |row: usize| Expected::new(&tracks[who[row]], stage.now, stage.config);
        for row in 0..who.len() {
            let expected = expected(row);
            for (column, &sighting) in which.iter().enumerate() {
                overlaps.push(row, column, expected.overlap(&sightings[sighting]));
            }
        }
        for row in (0..who.len()).filter(|&row| overlaps.near_in_row[row] > 0) {
            let expected = expected(row);
            for (column, &sighting) in which.iter().enumerate() {
                let overlap = overlaps.values[row * which.len() + column];
                if overlap > NEAR {
                    let contested = overlaps.is_contested(row, column) || expected.is_hidden;
                    let similarity = overlap + expected.leaning(&sightings[sighting], contested, stage);
                    weights.set(row, column, similarity - stage.min_similarity);
                }
            }
        }
    }
}

/// Lets a track learn what it looks like from the sighting it was matched with, if that shows it alone.
fn learn(stage: &Stage<'_>, track: &mut Track, sightings: &[Sighting], index: usize) {
    let (seen, config) = (&sightings[index], &stage.config.association);
    let sure = seen.log_odds >= config.first_stage;
    if sure && track.wants_look(stage.now, config) && !is_crowded(sightings, index, config.first_stage) {
        track.learn(seen.descriptor(stage.look), stage.now, config.appearance_update);
    }
}

fn remove_taken(list: &mut Vec<usize>, taken: &[bool]) {
    let mut index = 0;
    list.retain(|_| {
        index += 1;
        !taken[index - 1]
    });
}
