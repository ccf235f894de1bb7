//! What a detector's confidence is worth: from its own scale to log-odds.
//!
//! Two detectors that say 0.6 mean different things. The tracker therefore reasons in log-odds that a detection is
//! right, and each detector brings the two numbers of its scale (Platt: Probabilistic Outputs for Support Vector
//! Machines, 1999). With them one tracker configuration serves every detector.

use std::collections::BTreeMap;

/// No single detection counts more than this, either way: odds of 20 to 1.
const MAX_LOG_ODDS: f64 = 3.0;
/// Confidences are taken at least this far from 0 and 1, whose log-odds have no end.
const CERTAIN: f64 = 1e-6;

/// How one detector's confidences are to be read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConfidenceScale {
    /// The confidence at which a detection is as likely right as wrong, between 0 and 1.
    pub even_odds: f32,
    /// How much the log-odds of being right change with the log-odds of the confidence: above 1 for a detector that
    /// hides its certainty in the middle of the scale.
    pub slope: f32,
}

impl Default for ConfidenceScale {
    fn default() -> Self {
        Self::PROBABILITY
    }
}

impl ConfidenceScale {
    /// The default detector, NanoDet-g: logistic regression over its boxes on one plaza of 795 frames, a box being
    /// right when it overlaps drawn truth by half. There 0.50 to 0.55 was right in one case of three, 0.7 to 0.8 in
    /// nine of ten.
    pub const NANODET: Self = Self { even_odds: 0.6, slope: 3.0 };
    /// The public detections of the MOTChallenge of 2015 (aggregate channel features, confidences 0.5 to 1): measured
    /// in the same way on five of its sequences, where 0.8 to 0.9 was right in one case of three, 0.98 to 0.99 in nine
    /// of ten. Somewhat stricter than the fit (0.90), because its errors repeat from frame to frame.
    pub const MOT15_PUBLIC: Self = Self { even_odds: 0.93, slope: 1.3 };
    /// Confidences that are probabilities.
    pub const PROBABILITY: Self = Self { even_odds: 0.5, slope: 1.0 };

    /// Of a detector that nobody has measured: even odds at the threshold that its maker recommends, where that lies within
    /// 0.05 and 0.95.
    pub fn unmeasured(threshold: f32) -> Self {
        Self { even_odds: threshold.clamp(0.05, 0.95), slope: 2.0 }
    }

    /// A scale; none unless `even_odds` lies between 0 and 1 and `slope` is above 0.
    pub fn new(even_odds: f32, slope: f32) -> Option<Self> {
        let fits = even_odds > 0.0 && even_odds < 1.0 && slope > 0.0 && slope.is_finite();
        fits.then_some(Self { even_odds, slope })
    }

    /// Log-odds that a detection of this confidence is right, -3 to 3.
    pub fn log_odds(&self, confidence: f32) -> f64 {
        let odds = f64::from(self.slope) * (logit(f64::from(confidence)) - logit(f64::from(self.even_odds)));
        odds.clamp(-MAX_LOG_ODDS, MAX_LOG_ODDS)
    }

    /// The confidence at which a detection has these log-odds.
    pub fn confidence_at(&self, log_odds: f64) -> f32 {
        let logit = log_odds / f64::from(self.slope) + logit(f64::from(self.even_odds));
        (1.0 / (1.0 + (-logit).exp())) as f32
    }
}

/// What a detector's confidences are worth, class by class: cars, which are half hidden more often than not, get lower ones than
/// people for boxes that are as often right.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Confidences {
    /// Of every class that is not among the others.
    pub most: ConfidenceScale,
    /// By class index.
    pub others: BTreeMap<u16, ConfidenceScale>,
}

impl Confidences {
    /// The scale of a class.
    pub fn of(&self, class: u16) -> ConfidenceScale {
        self.others.get(&class).copied().unwrap_or(self.most)
    }
}

impl From<ConfidenceScale> for Confidences {
    fn from(most: ConfidenceScale) -> Self {
        Self { most, others: BTreeMap::new() }
    }
}

fn logit(p: f64) -> f64 {
    let p = p.clamp(CERTAIN, 1.0 - CERTAIN);
    (p / (1.0 - p)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_odds_are_zero_and_more_confidence_is_more() {
        for scale in [ConfidenceScale::NANODET, ConfidenceScale::MOT15_PUBLIC, ConfidenceScale::PROBABILITY] {
            assert!(scale.log_odds(scale.even_odds).abs() < 1e-9);
            let all: Vec<f64> = (0..=20).map(|i| scale.log_odds(i as f32 / 20.0)).collect();
            assert!(all.windows(2).all(|pair| pair[0] <= pair[1]) && all[0] < 0.0 && all[20] > 0.0, "{all:?}");
        }
        assert!((ConfidenceScale::PROBABILITY.log_odds(0.75) - 3f64.ln()).abs() < 1e-6);
    }

    #[test]
    fn confidences_come_back_from_their_log_odds() {
        for confidence in [0.45, 0.6, 0.7] {
            let back = ConfidenceScale::NANODET.confidence_at(ConfidenceScale::NANODET.log_odds(confidence));
            assert!((back - confidence).abs() < 1e-3, "{confidence}: {back}");
        }
    }

    #[test]
    fn a_scale_that_is_none_is_refused() {
        for (even_odds, slope) in
            [(0.0, 1.0), (1.0, 1.0), (f32::NAN, 1.0), (0.5, 0.0), (0.5, f32::NAN), (0.5, f32::INFINITY)]
        {
            assert_eq!(ConfidenceScale::new(even_odds, slope), None);
        }
        assert_eq!(ConfidenceScale::new(0.5, 1.0), Some(ConfidenceScale::PROBABILITY));
    }

    #[test]
    fn certainty_is_bounded() {
        assert_eq!(ConfidenceScale::PROBABILITY.log_odds(1.0), MAX_LOG_ODDS);
        assert_eq!(ConfidenceScale::PROBABILITY.log_odds(0.0), -MAX_LOG_ODDS);
    }
}
