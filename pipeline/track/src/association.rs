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
use crate::sighting::Sighting;
use crate::track::Track;
use crate::{AssociationConfig, TrackerConfig};

/// Appearance moves the similarity by at most this, before its weight: it decides between neighbours, it does not
/// overrule motion.
const MAX_APPEARANCE: f64 = 0.3;
/// Least overlap at which appearance is compared at all: comparing costs more than overlapping.
const NEAR: f64 = 0.02;

/// A track as the association sees it on one frame.
struct Expected<'a> {
    track: &'a Track,
    bbox: CentreBox,
    /// By how much boxes grow, pixels.
    margin: (f64, f64),
    penalty: f64,
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
        }
    }

    /// Up to 1, and a little beyond for a look-alike.
    fn similarity(&self, seen: &Sighting<'_>, config: &AssociationConfig) -> f64 {
        let overlap = self.bbox.grown_iou(&seen.bbox, self.margin.0, self.margin.1);
        if overlap <= NEAR {
            return 0.0;
        }
        let other_class = if self.track.class() == seen.class { 0.0 } else { config.other_class_penalty };
        overlap + self.appearance(seen, config) - self.penalty - other_class
    }

    fn appearance(&self, seen: &Sighting<'_>, config: &AssociationConfig) -> f64 {
        let known = self.track.appearance().zip(seen.descriptor);
        let Some(similarity) = known.and_then(|(a, b)| a.similarity(b)) else { return 0.0 };
        let leaning = f64::from(similarity) - config.neutral_appearance;
        config.appearance_weight * leaning.clamp(-MAX_APPEARANCE, MAX_APPEARANCE)
    }
}

/// One stage: who is matched, and how alike a pair must at least be.
pub(crate) struct Stage<'a> {
    pub(crate) now: Timestamp,
    pub(crate) config: &'a TrackerConfig,
    pub(crate) min_similarity: f64,
}

/// Runs stages; keeps its memory from one to the next.
#[derive(Debug, Default)]
pub(crate) struct Associator {
    weights: Weights,
    assigner: Assigner,
}

impl Associator {
    /// Matches the tracks at `who` with the sightings at `which`; those that were matched are told what they saw and
    /// taken out of both lists.
    pub(crate) fn run(
        &mut self,
        stage: &Stage<'_>,
        tracks: &mut [Track],
        who: &mut Vec<usize>,
        sightings: &[Sighting<'_>],
        which: &mut Vec<usize>,
    ) {
        if who.is_empty() || which.is_empty() {
            return;
        }
        self.weigh(stage, tracks, who, sightings, which);
        let (mut taken_who, mut taken_which) = (vec![false; who.len()], vec![false; which.len()]);
        self.assigner.solve(&self.weights, |row, column| {
            tracks[who[row]].see(&sightings[which[column]], stage.now, stage.config);
            taken_who[row] = true;
            taken_which[column] = true;
        });
        remove_taken(who, &taken_who);
        remove_taken(which, &taken_which);
    }

    fn weigh(
        &mut self,
        stage: &Stage<'_>,
        tracks: &[Track],
        who: &[usize],
        sightings: &[Sighting<'_>],
        which: &[usize],
    ) {
        self.weights.reset(who.len(), which.len());
        for (row, &track) in who.iter().enumerate() {
            let expected = Expected::new(&tracks[track], stage.now, stage.config);
            for (column, &sighting) in which.iter().enumerate() {
                let similarity = expected.similarity(&sightings[sighting], &stage.config.association);
                self.weights.set(row, column, similarity - stage.min_similarity);
            }
        }
    }
}

fn remove_taken(list: &mut Vec<usize>, taken: &[bool]) {
    let mut index = 0;
    list.retain(|_| {
        index += 1;
        !taken[index - 1]
    });
}
