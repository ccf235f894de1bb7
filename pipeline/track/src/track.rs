//! One object: first a candidate, then, once it convinced, a track.

use std::collections::VecDeque;
use std::time::Duration;

use vigil_base::{BoxPx, Hold, Timestamp, TrackId};

use crate::classes::ClassVotes;
use crate::kalman::{BoxFilter, CentreBox};
use crate::sighting::Sighting;
use crate::{
    AssociationConfig, ConfirmationConfig, Descriptor, LifeConfig, Observation, Outlook, TrackView, TrackerConfig,
};

/// Most detections a candidate remembers: 10 s at 25 frames a second.
const MAX_REMEMBERED: usize = 250;
/// A candidate seen for longer that still does not convince, and has not moved, is not worth waiting for.
const PROMISING: Duration = Duration::from_secs(3);
/// Bytes that a candidate's memory takes at most; its buffer grows by doubling.
#[cfg(test)]
pub(crate) const MAX_MEMORY: usize = 2 * (MAX_REMEMBERED + 1) * size_of::<(Observation, f64)>();

/// What may become, is, or was just now a track.
#[derive(Debug)]
pub(crate) struct Track {
    /// Given on confirmation.
    id: Option<TrackId>,
    filter: BoxFilter,
    classes: ClassVotes,
    appearance: Option<Descriptor>,
    /// Capture time of the frame from which its appearance was learnt last.
    learnt_at: Option<Timestamp>,
    first_seen: Timestamp,
    last: Observation,
    /// Capture time of the first frame since its last detection on which it was missed.
    missing_since: Option<Timestamp>,
    /// Where it stands, and since when.
    place: CentreBox,
    in_place_since: Timestamp,
    moved: bool,
    /// A candidate's detections with their log-odds, in time order; empty once it is confirmed.
    remembered: VecDeque<(Observation, f64)>,
}

/// How strong a vote for its class a detection is: the probability that it is right.
fn vote(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

impl Track {
    /// A candidate seen once.
    pub(crate) fn new(seen: &Sighting, now: Timestamp, config: &TrackerConfig) -> Self {
        let last = Observation { time: now, bbox: seen.raw, confidence: seen.confidence };
        Self {
            id: None,
            filter: BoxFilter::new(&seen.bbox, &config.motion),
            classes: ClassVotes::new(seen.class, vote(seen.log_odds)),
            appearance: None,
            learnt_at: None,
            first_seen: now,
            last,
            missing_since: None,
            place: seen.bbox,
            in_place_since: now,
            moved: false,
            remembered: VecDeque::from([(last, seen.log_odds)]),
        }
    }

    /// Lets `dt` seconds pass. What stood when it was last seen is waited for where it stood.
    pub(crate) fn predict(&mut self, dt: f64, config: &TrackerConfig) {
        if !(self.missing_since.is_some() && self.is_stationary(&config.life)) {
            self.filter.predict(dt, &config.motion);
        }
    }

    /// Takes a detection of the frame taken at `now` in.
    pub(crate) fn see(&mut self, seen: &Sighting, now: Timestamp, config: &TrackerConfig) {
        self.filter.update(&seen.bbox, &config.motion);
        self.classes.vote(seen.class, vote(seen.log_odds));
        self.last = Observation { time: now, bbox: seen.raw, confidence: seen.confidence };
        self.missing_since = None;
        self.keep_place(now, config);
        if self.id.is_none() {
            self.remember(seen.log_odds, &config.confirmation);
        }
    }

    /// The frame taken at `now` did not show it.
    pub(crate) fn miss(&mut self, now: Timestamp) {
        self.missing_since.get_or_insert(now);
    }

    /// From now on it is a track.
    pub(crate) fn confirm(&mut self, id: TrackId) -> Vec<Observation> {
        self.id = Some(id);
        std::mem::take(&mut self.remembered).into_iter().map(|(observation, _)| observation).collect()
    }

    /// Whether the candidate's detections suffice to make it a track.
    pub(crate) fn convinces(&self, config: &ConfirmationConfig) -> bool {
        let evidence = self.evidence();
        let still = !self.moved && evidence < config.still_evidence * self.remembered.len() as f64;
        self.remembered.len() >= config.min_detections
            && self.last.time.since(self.first_seen) >= config.min_presence
            && evidence >= config.min_evidence
            && !still
    }

    /// Sum of the log-odds of a candidate's remembered detections.
    pub(crate) fn evidence(&self) -> f64 {
        self.remembered.iter().map(|(_, log_odds)| log_odds).sum()
    }

    /// Whether it has been missed for too long at `now`, `dt` seconds after the frame before.
    pub(crate) fn has_ended(&self, now: Timestamp, dt: f64, config: &TrackerConfig) -> bool {
        let Some(missing_since) = self.missing_since else { return false };
        if self.id.is_some() && self.is_stationary(&config.life) {
            return now.since(missing_since) > self.stationary_patience(&config.life);
        }
        let patience = if self.id.is_some() { config.life.max_hidden } else { config.confirmation.max_hidden };
        // One frame may miss it, however far apart frames are.
        now.since(self.last.time).as_secs_f64() > patience.as_secs_f64().max(1.5 * dt)
    }

    /// Whether it had kept its place for long when it was last seen.
    pub(crate) fn is_stationary(&self, config: &LifeConfig) -> bool {
        self.last.time.since(self.in_place_since) >= config.stationary_after
    }

    /// Whether it is expected where it was after a time in which nobody looked: it is stationary, or has not moved since it was
    /// first seen, some time before it was seen last.
    pub(crate) fn stays(&self, config: &LifeConfig) -> bool {
        self.is_stationary(config) || !self.moved && self.last.time.since(self.first_seen) >= config.standing_after
    }

    /// Seconds since the first frame that missed it; none when the last frame showed it.
    pub(crate) fn missing_for(&self, now: Timestamp) -> Option<f64> {
        self.missing_since.map(|since| now.since(since).as_secs_f64())
    }

    /// Seconds since its last detection.
    pub(crate) fn unseen_for(&self, now: Timestamp) -> f64 {
        now.since(self.last.time).as_secs_f64()
    }

    /// Its id once it is confirmed.
    pub(crate) fn id(&self) -> Option<TrackId> {
        self.id
    }

    pub(crate) fn filter(&self) -> &BoxFilter {
        &self.filter
    }

    pub(crate) fn class(&self) -> u16 {
        self.classes.winner()
    }

    pub(crate) fn appearance(&self) -> Option<&Descriptor> {
        self.appearance.as_ref()
    }

    pub(crate) fn first_seen(&self) -> Timestamp {
        self.first_seen
    }

    /// What the outside sees of it; none of a candidate.
    pub(crate) fn view(&self, history: Vec<Observation>, config: &LifeConfig) -> Option<TrackView> {
        let id = self.id?;
        let stationary = self.is_stationary(config);
        let seen = self.missing_since.is_none();
        let (vx, vy) = self.filter.velocity();
        let expected = self.filter.centre_box();
        let (width, height) = (expected.width as f32, expected.height as f32);
        let left_top = (expected.x - expected.width / 2.0, expected.y - expected.height / 2.0);
        Some(TrackView {
            id,
            class: self.class(),
            first_seen: self.first_seen,
            last_seen: self.last.time,
            bbox: if seen { self.last.bbox } else { BoxPx::new(left_top.0 as f32, left_top.1 as f32, width, height) },
            confidence: if seen { self.last.confidence } else { 0.0 },
            velocity: if stationary { (0.0, 0.0) } else { (vx as f32, vy as f32) },
            stationary,
            history,
        })
    }

    /// Bytes it takes, but for its look.
    #[cfg(test)]
    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>() + self.remembered.capacity() * size_of::<(Observation, f64)>()
    }

    /// Where it is expected `elapsed` seconds after the last frame.
    pub(crate) fn outlook(&self, elapsed: f64, config: &LifeConfig) -> Outlook {
        let expected = self.filter.centre_box();
        let (vx, vy) = if self.is_stationary(config) { (0.0, 0.0) } else { self.filter.velocity() };
        let left = expected.x + vx * elapsed - expected.width / 2.0;
        let top = expected.y + vy * elapsed - expected.height / 2.0;
        Outlook {
            bbox: BoxPx::new(left as f32, top as f32, expected.width as f32, expected.height as f32),
            speed: vx.hypot(vy) as f32,
            hold: self.hold(config),
            moved: self.moved,
        }
    }

    /// Whether it is a candidate that may yet become a track. What has stood unconvincing for a while is none.
    pub(crate) fn is_promising(&self) -> bool {
        self.id.is_none() && (self.moved || self.last.time.since(self.first_seen) < PROMISING)
    }

    fn hold(&self, config: &LifeConfig) -> Hold {
        match self.id {
            None if !self.is_promising() => Hold::Doubtful,
            None if self.moved => Hold::Moving,
            None => Hold::New,
            Some(_) if self.is_stationary(config) => Hold::Settled,
            Some(_) if self.missing_since.is_some() => Hold::Lost,
            Some(_) => Hold::Followed,
        }
    }

    fn keep_place(&mut self, now: Timestamp, config: &TrackerConfig) {
        let here = self.filter.centre_box();
        let left = self.place.distance(&here);
        self.moved |= left > config.confirmation.moved;
        if left > config.life.left_place {
            self.place = here;
            self.in_place_since = now;
        }
    }

    /// Whether it should be looked at again. Candidates are followed by motion alone: most of them come to nothing.
    pub(crate) fn wants_look(&self, now: Timestamp, config: &AssociationConfig) -> bool {
        self.id.is_some() && self.learnt_at.is_none_or(|at| now < at || now >= at + config.appearance_every)
    }

    /// Takes in what it looks like on the frame taken at `now`.
    pub(crate) fn learn(&mut self, descriptor: Option<&Descriptor>, now: Timestamp, share: f32) {
        self.learnt_at = Some(now);
        match (&mut self.appearance, descriptor) {
            (Some(known), Some(newer)) => known.blend(newer, share),
            (none @ None, Some(newer)) => *none = Some(newer.clone()),
            (_, None) => {}
        }
    }

    /// Adds the last detection to the candidate's, and forgets those that are too old or too many.
    fn remember(&mut self, log_odds: f64, config: &ConfirmationConfig) {
        self.remembered.push_back((self.last, log_odds));
        let too_old = |at: Timestamp| self.last.time.since(at) > config.memory;
        while self.remembered.len() > MAX_REMEMBERED || self.remembered.front().is_some_and(|(o, _)| too_old(o.time)) {
            self.remembered.pop_front();
        }
        self.first_seen = self.remembered.front().map_or(self.last.time, |(first, _)| first.time);
    }

    /// What stood for an hour is not gone because it is hidden for a minute.
    fn stationary_patience(&self, config: &LifeConfig) -> Duration {
        let stood = self.last.time.since(self.in_place_since);
        let patience = stood.mul_f64(config.stationary_hidden_share.max(0.0));
        patience.min(config.max_stationary_hidden).max(config.max_hidden)
    }
}
