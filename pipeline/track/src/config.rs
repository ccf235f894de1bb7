//! Every number the tracker is steered by, with its unit, its default, and why.
//!
//! All times are seconds, never frames: the same configuration serves 1 and 25 analyses a second. All distances are in
//! sizes of the object (the longer side of its box), so it serves near and far objects and any resolution. All
//! confidences are log-odds that a detection is right ([`Confidences`]), so it serves any detector: 0 is even odds,
//! 2 is 7 to 1.
//!
//! The defaults were chosen near the middle of the range in which results hardly change, on five sequences of the
//! MOTChallenge of 2015 with its public detections (each at its own, at an assumed and at half the frame rate) and on
//! the default detector's boxes of one plaza at 10, 5, 2 and 1 frames a second. Tuning on four of the sequences never
//! helped the fifth, so none is tuned finer than that.

use std::time::Duration;

use vigil_base::{ConfidenceScale, Confidences};

/// What a tracker does with a camera's detections. [`TrackerConfig::default`] serves persons and vehicles of the
/// default detector.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackerConfig {
    /// How the detector's confidences are to be read.
    pub confidence: Confidences,
    /// How objects move and how exact boxes are.
    pub motion: MotionConfig,
    /// Which detection belongs to which track.
    pub association: AssociationConfig,
    /// When a candidate becomes a track.
    pub confirmation: ConfirmationConfig,
    /// How long a track lives unseen.
    pub life: LifeConfig,
    /// Most candidates and tracks at a time; 256. Beyond it the least convincing candidate makes room. A street camera
    /// rarely shows 100 objects. A track takes less than 1 KiB and its descriptor (2 KiB of colours), a candidate up to 20 KiB.
    pub max_tracks: usize,
}

impl TrackerConfig {
    /// The least confidence of most classes that is looked at, on the detector's own scale: what the detector should report
    /// down to. 0.42 for the default detector's people.
    pub fn least_confidence(&self) -> f32 {
        self.confidence.most.confidence_at(self.association.second_stage)
    }
}

impl Default for TrackerConfig {
    fn default() -> Self {
        Self {
            confidence: ConfidenceScale::NANODET.into(),
            motion: MotionConfig::default(),
            association: AssociationConfig::default(),
            confirmation: ConfirmationConfig::default(),
            life: LifeConfig::default(),
            max_tracks: 256,
        }
    }
}

/// The Kalman filter's noises.
#[derive(Debug, Clone, PartialEq)]
pub struct MotionConfig {
    /// Root of the density of white acceleration of the centre, sizes per second to the power 1.5; 0.4. A walker stops
    /// or turns within about a second. Less looks past who turns, more follows every jitter: 0.3 to 0.6 do equally
    /// well.
    pub acceleration: f64,
    /// Vertical motion and its noise as a share of the horizontal; 0.4. Street cameras look down obliquely, which
    /// foreshortens depth.
    pub vertical_share: f64,
    /// Spread of the velocity of an object seen once, sizes per second; 1.5. A walker makes 0.8, a cyclist 3. Any value
    /// above 0.5 does.
    pub initial_velocity: f64,
    /// Time constant with which velocity fades, seconds; 5. Without a fade, hidden objects are looked for across the
    /// picture. From 4 up little changes.
    pub velocity_fade: f64,
    /// Spread of a detection's centre, sizes; 0.07. Measured: 0.04 to 0.05 against drawn truth, and more under
    /// occlusion.
    pub centre_noise: f64,
    /// Spread of a detection's width and height, sizes; 0.1. Measured: 0.1 of the height, 0.2 of the width.
    pub side_noise: f64,
    /// As [`MotionConfig::acceleration`], for width and height; 0.2.
    pub side_acceleration: f64,
    /// Time constant with which the sides' velocity fades, seconds; 0.3: a box half hidden behind a car must not shrink
    /// away.
    pub side_velocity_fade: f64,
}

impl Default for MotionConfig {
    fn default() -> Self {
        Self {
            acceleration: 0.4,
            vertical_share: 0.4,
            initial_velocity: 1.5,
            velocity_fade: 5.0,
            centre_noise: 0.07,
            side_noise: 0.1,
            side_acceleration: 0.2,
            side_velocity_fade: 0.3,
        }
    }
}

/// The similarity of a track and a detection, and what is similar enough.
#[derive(Debug, Clone, PartialEq)]
pub struct AssociationConfig {
    /// Detections at least this sure are matched first, log-odds; -0.5 (`ByteTrack`'s high threshold).
    pub first_stage: f64,
    /// Less sure ones are matched to tracks that the first left over, down to this, log-odds; -2.2 (odds of 1 to 9).
    /// What is below is not looked at.
    pub second_stage: f64,
    /// Both boxes grow by this share of their sides before their overlap is measured; 0.15 (the buffer of `C-BIoU`).
    pub margin: f64,
    /// Both boxes grow further by this many standard deviations of the predicted centre; 1. It is what makes one frame
    /// a second work, and an object seen only once so far.
    pub sigma_margin: f64,
    /// Most of that, sizes, for a track that was seen on the last frame; 1.
    pub max_sigma_margin: f64,
    /// Most of it for a track that was not; 0.4: it may be anywhere, and must not take its neighbours' detections.
    pub max_hidden_margin: f64,
    /// What a track loses in similarity for each second it was hidden; 0.1: between two tracks, the one just seen is
    /// the likelier.
    pub hidden_penalty: f64,
    /// Least similarity in the first stage, 0..1; 0.33.
    pub min_similarity: f64,
    /// Least similarity in the second; 0.5: an unsure detection must lie where the track is expected.
    pub min_similarity_second: f64,
    /// Least similarity of a candidate with a detection that no track took; 0.2: its velocity is not known yet.
    pub min_similarity_candidate: f64,
    /// Weight of the appearance's similarity, less [`AssociationConfig::neutral_appearance`], at most 0.3 either way;
    /// 1.
    pub appearance_weight: f64,
    /// The similarity of descriptors that speaks neither for nor against; 0.6. For colour histograms in four stripes,
    /// the same person after 3 seconds scores 0.61 to 0.90, another one 0.24 to 0.69 (5 and 95 in 100 of one plaza).
    pub neutral_appearance: f64,
    /// How far a track's descriptor moves towards each new one, 0..1; 0.2.
    pub appearance_update: f32,
    /// How often a track's descriptor is renewed; 500 ms. Looks are asked for then, and where boxes compete.
    pub appearance_every: Duration,
    /// What a detection of another class loses in similarity; 0.3: a van is now a car, now a truck, but a rider is no
    /// bicycle.
    pub other_class_penalty: f64,
    /// Two detections of one frame that overlap more, whatever their classes, are one object; a candidate that overlaps
    /// a seen track more is not confirmed. Intersection over union; 0.8.
    pub duplicate_iou: f64,
}

impl Default for AssociationConfig {
    fn default() -> Self {
        Self {
            first_stage: -0.5,
            second_stage: -2.2,
            margin: 0.15,
            sigma_margin: 1.0,
            max_sigma_margin: 1.0,
            max_hidden_margin: 0.4,
            hidden_penalty: 0.1,
            min_similarity: 0.33,
            min_similarity_second: 0.5,
            min_similarity_candidate: 0.2,
            appearance_weight: 1.0,
            neutral_appearance: 0.6,
            appearance_update: 0.2,
            appearance_every: Duration::from_millis(500),
            other_class_penalty: 0.3,
            duplicate_iou: 0.8,
        }
    }
}

/// What keeps brief and standing false positives out.
#[derive(Debug, Clone, PartialEq)]
pub struct ConfirmationConfig {
    /// A detection that no track takes begins a candidate when it is at least this sure, log-odds; 0.
    pub begin: f64,
    /// Instead of that, when it has at least this confidence on the detector's own scale, whatever its class; none.
    pub begin_confidence: Option<f32>,
    /// Detections a candidate needs; 3.
    pub min_detections: usize,
    /// Least time from its first to its last; 200 ms: rain and insects cross faster. At 10 frames a second and below
    /// three detections take as long.
    pub min_presence: Duration,
    /// Least sum of the log-odds of its detections; 2 (7 to 1), as in a sequential probability ratio test (Wald, 1945).
    pub min_evidence: f64,
    /// Least mean log-odds of a candidate that has not moved; 1. What never moves must convince: a bollard that is a
    /// "person" at even odds stays a candidate for ever.
    pub still_evidence: f64,
    /// A candidate has moved when its centre left the first place by this much, sizes; 0.25.
    pub moved: f64,
    /// Detections of a candidate that are older are forgotten; 10 s. So an event never begins longer before its
    /// confirmation.
    pub memory: Duration,
    /// A candidate that is not seen for so long is dropped; 300 ms, but at least one frame may miss it.
    pub max_hidden: Duration,
}

impl ConfirmationConfig {
    /// Whether a detection of that confidence, worth so much, may begin a candidate.
    pub(crate) fn may_begin(&self, confidence: f32, log_odds: f64) -> bool {
        self.begin_confidence.map_or(log_odds >= self.begin, |least| confidence >= least)
    }
}

impl Default for ConfirmationConfig {
    fn default() -> Self {
        Self {
            begin: 0.0,
            begin_confidence: None,
            min_detections: 3,
            min_presence: Duration::from_millis(200),
            min_evidence: 2.0,
            still_evidence: 1.0,
            moved: 0.25,
            memory: Duration::from_secs(10),
            max_hidden: Duration::from_millis(300),
        }
    }
}

/// How long a track lives unseen.
#[derive(Debug, Clone, PartialEq)]
pub struct LifeConfig {
    /// A moving track that is not seen for so long has ended; 3 s: people pass behind lamp posts and each other. 1.5 to
    /// 4 s do equally well.
    pub max_hidden: Duration,
    /// Unsure detections keep a track alive only when it was seen at most so long ago; 1.5 s.
    pub second_stage_reach: Duration,
    /// A track that has kept its place for so long is stationary; 10 s.
    pub stationary_after: Duration,
    /// A track that has not moved for so long since it was first seen is taken for one that stands; 3 s.
    pub standing_after: Duration,
    /// It has left its place when its centre moved by this much, sizes; 0.25.
    pub left_place: f64,
    /// A stationary track is kept unseen for this share of the time it has stood; 0.5: what stood for an hour is not
    /// gone because it is hidden for a minute.
    pub stationary_hidden_share: f64,
    /// But never longer; 10 min.
    pub max_stationary_hidden: Duration,
    /// When the capture time leaps by more, only tracks that stood outlive the gap; 10 s.
    pub max_gap: Duration,
    /// When the capture time goes back by more, the clock was set and all tracks end; by less, the frame is late and
    /// ignored; 1 s.
    pub max_set_back: Duration,
}

impl Default for LifeConfig {
    fn default() -> Self {
        Self {
            max_hidden: Duration::from_secs(3),
            second_stage_reach: Duration::from_millis(1500),
            stationary_after: Duration::from_secs(10),
            standing_after: Duration::from_secs(3),
            left_place: 0.25,
            stationary_hidden_share: 0.5,
            max_stationary_hidden: Duration::from_mins(10),
            max_gap: Duration::from_secs(10),
            max_set_back: Duration::from_secs(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_looks_at_what_it_says() {
        let config = TrackerConfig::default();
        assert!((config.least_confidence() - 0.42).abs() < 0.005, "{}", config.least_confidence());
    }
}
