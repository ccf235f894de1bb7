//! The tracker of one camera.

use vigil_base::{BoxPx, Confidences, Detections, Timestamp, TrackId};

use crate::association::{Associator, Stage};
use crate::sighting::{Look, Sighting, sift};
use crate::track::Track;
use crate::{Descriptor, Observation, Outlook, TrackUpdate, TrackView, TrackerConfig};

/// What a tracker did that no update tells; counted since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TrackerStats {
    /// Candidates that made room for more convincing ones, or found none ([`TrackerConfig::max_tracks`]).
    pub crowded_out: u64,
    /// Detections that were no boxes: a side that is not above zero, or a value that is not a number.
    pub malformed: u64,
    /// Frames that were not later than the one before, and were ignored.
    pub late_frames: u64,
    /// Times the capture clock was set back, which ends all tracks.
    pub set_back: u64,
}

/// Follows objects over the frames of one camera. It lives as long as the camera's process part: ids are never used
/// again.
#[derive(Debug)]
pub struct Tracker {
    config: TrackerConfig,
    tracks: Vec<Track>,
    associator: Associator,
    lists: Lists,
    last_frame: Option<Timestamp>,
    next_id: u64,
    stats: TrackerStats,
}

/// Lists of one frame, kept for their memory.
#[derive(Debug, Default)]
struct Lists {
    sightings: Vec<Sighting>,
    /// Indices of sightings: sure ones that nothing has taken yet, and the others.
    sure: Vec<usize>,
    unsure: Vec<usize>,
    /// Indices of tracks: those with an id, of them those the second stage looks for, and candidates.
    confirmed: Vec<usize>,
    reachable: Vec<usize>,
    candidates: Vec<usize>,
}

/// How a frame's capture time follows the one before.
enum Step {
    /// Seconds passed, or nothing is known of before.
    Forward(f64),
    /// More time passed than a moving object is remembered.
    Gap,
    /// It is not later.
    Late,
    /// The clock was set back.
    SetBack,
}

impl Tracker {
    /// A tracker that has seen nothing yet.
    pub fn new(config: TrackerConfig) -> Self {
        Self {
            config,
            tracks: Vec::new(),
            associator: Associator::default(),
            lists: Lists::default(),
            last_frame: None,
            next_id: 1,
            stats: TrackerStats::default(),
        }
    }

    /// Takes the detections of the next frame. Frames need not come evenly.
    ///
    /// Detections should reach down to what [`crate::AssociationConfig::second_stage`] asks for, not only to what a
    /// person would be shown.
    pub fn update(&mut self, detections: &Detections) -> TrackUpdate {
        self.update_looking(detections, &|_| None)
    }

    /// As [`Tracker::update`], with somebody to ask what a detection's box looks like; one of which nothing is told is
    /// matched by motion alone. Asked once in a while for each track, and where boxes compete, so that it may cost something
    /// ([`crate::stripes`]).
    pub fn update_looking(
        &mut self,
        detections: &Detections,
        look: &dyn Fn(BoxPx) -> Option<Descriptor>,
    ) -> TrackUpdate {
        let now = detections.capture_time;
        let mut ended = Vec::new();
        let dt = match self.step(now) {
            Step::Late => {
                self.stats.late_frames += 1;
                return self.report(detections, Vec::new(), ended);
            }
            Step::SetBack => {
                self.stats.set_back += 1;
                ended = self.flush();
                0.0
            }
            Step::Gap => {
                ended = self.end_all_but_standing();
                // What stood is expected where it stood, as surely as before the gap.
                0.0
            }
            Step::Forward(dt) => dt,
        };
        self.last_frame = Some(now);
        self.stats.malformed += sift(detections, &self.config, &mut self.lists.sightings);
        for track in &mut self.tracks {
            track.predict(dt, &self.config);
        }
        self.associate(look, now);
        ended.extend(self.end_missing(now, dt));
        let began = self.confirm(now);
        self.begin(now);
        self.report(detections, began, ended)
    }

    /// Another model finds what comes from now on, with confidences of its own scale. What is known of tracks stays: it is
    /// kept in log-odds.
    pub fn follow_scale(&mut self, confidence: &Confidences) {
        self.config.confidence.clone_from(confidence);
    }

    /// Ends everything: the stream broke, or the process stops. The ids of the tracks that ended with it; the caller
    /// knows why.
    pub fn flush(&mut self) -> Vec<TrackId> {
        self.last_frame = None;
        let mut ended: Vec<TrackId> = self.tracks.drain(..).filter_map(|track| track.id()).collect();
        ended.sort_unstable();
        ended
    }

    /// What is open, tracks and candidates alike, and where each is expected at `at`: a picture that shows these places need
    /// not be looked at elsewhere for their sake.
    pub fn outlook(&self, at: Timestamp) -> impl Iterator<Item = Outlook> {
        let elapsed = self.last_frame.map_or(0.0, |last| at.seconds_since(last).max(0.0));
        self.tracks.iter().map(move |track| track.outlook(elapsed, &self.config.life))
    }

    /// Counts since the tracker was made.
    pub fn stats(&self) -> TrackerStats {
        self.stats
    }

    fn step(&self, now: Timestamp) -> Step {
        let Some(last) = self.last_frame else { return Step::Forward(0.0) };
        let life = &self.config.life;
        let dt = now.seconds_since(last);
        if dt < -life.max_set_back.as_secs_f64() {
            Step::SetBack
        } else if dt <= 0.0 {
            Step::Late
        } else if dt > life.max_gap.as_secs_f64() {
            Step::Gap
        } else {
            Step::Forward(dt)
        }
    }

    /// Matches tracks and candidates with sightings; the sure ones that nothing took stay in the list of them.
    fn associate(&mut self, look: Look<'_>, now: Timestamp) {
        let Self { config, tracks, associator, lists, .. } = self;
        let Lists { sightings, sure, unsure, confirmed, reachable, candidates } = lists;
        let association = &config.association;
        split(0..sightings.len(), |index| sightings[index].log_odds >= association.first_stage, sure, unsure);
        split(0..tracks.len(), |index| tracks[index].id().is_some(), confirmed, candidates);
        let stage = |min_similarity| Stage { now, config, look, min_similarity };

        associator.run(&stage(association.min_similarity), tracks, confirmed, sightings, sure);
        let reach = config.life.second_stage_reach.as_secs_f64();
        let near = |track: &Track| track.unseen_for(now) <= reach || track.is_stationary(&config.life);
        reachable.clear();
        reachable.extend(confirmed.iter().filter(|&&index| near(&tracks[index])));
        confirmed.retain(|&index| !near(&tracks[index]));
        let second = stage(association.min_similarity_second);
        associator.run(&second, tracks, reachable, sightings, unsure);
        let first_of_candidates = stage(association.min_similarity_candidate);
        associator.run(&first_of_candidates, tracks, candidates, sightings, sure);
        associator.run(&second, tracks, candidates, sightings, unsure);

        for &index in confirmed.iter().chain(&*reachable).chain(&*candidates) {
            tracks[index].miss(now);
        }
    }

    /// Gives ids to the candidates that convince, in the order they were first seen. Each id with the detections so
    /// far.
    fn confirm(&mut self, now: Timestamp) -> Vec<(TrackId, Vec<Observation>)> {
        let seen = |track: &Track| track.missing_for(now).is_none();
        let mut convincing: Vec<usize> = (0..self.tracks.len())
            .filter(|&index| {
                let track = &self.tracks[index];
                track.id().is_none() && seen(track) && track.convinces(&self.config.confirmation)
            })
            .collect();
        convincing.sort_by_key(|&index| self.tracks[index].first_seen());
        let mut began = Vec::with_capacity(convincing.len());
        for index in convincing {
            if self.is_duplicate(index, now) {
                continue;
            }
            let id = TrackId(self.next_id);
            self.next_id += 1;
            began.push((id, self.tracks[index].confirm(id)));
        }
        began
    }

    /// Whether a track that was seen on this frame is already where the candidate at `index` is.
    fn is_duplicate(&self, index: usize, now: Timestamp) -> bool {
        let bbox = self.tracks[index].filter().centre_box();
        self.tracks.iter().any(|track| {
            track.id().is_some()
                && track.missing_for(now).is_none()
                && track.filter().centre_box().iou(&bbox) > self.config.association.duplicate_iou
        })
    }

    /// Begins a candidate with each sure enough sighting that nothing took.
    fn begin(&mut self, now: Timestamp) {
        for place in 0..self.lists.sure.len() {
            let sighting = &self.lists.sightings[self.lists.sure[place]];
            if !self.config.confirmation.may_begin(sighting.confidence, sighting.log_odds) {
                continue;
            }
            if self.tracks.len() >= self.config.max_tracks {
                self.stats.crowded_out += 1;
                if !make_room(&mut self.tracks, sighting.log_odds) {
                    continue;
                }
            }
            self.tracks.push(Track::new(sighting, now, &self.config));
        }
    }

    fn end_missing(&mut self, now: Timestamp, dt: f64) -> Vec<TrackId> {
        let config = &self.config;
        end_where(&mut self.tracks, |track| track.has_ended(now, dt, config))
    }

    fn end_all_but_standing(&mut self) -> Vec<TrackId> {
        let life = &self.config.life;
        end_where(&mut self.tracks, |track| track.id().is_none() || !track.stays(life))
    }

    fn report(
        &self,
        detections: &Detections,
        began: Vec<(TrackId, Vec<Observation>)>,
        mut ended: Vec<TrackId>,
    ) -> TrackUpdate {
        let views = self.tracks.iter().filter_map(|track| track.view(Vec::new(), &self.config.life));
        let mut tracks: Vec<TrackView> = Vec::with_capacity(self.tracks.len());
        tracks.extend(views);
        tracks.sort_unstable_by_key(|view| view.id);
        for (id, history) in began {
            if let Ok(place) = tracks.binary_search_by_key(&id, |view| view.id) {
                tracks[place].history = history;
            }
        }
        ended.sort_unstable();
        let Detections { capture_time, time_source, size, .. } = *detections;
        TrackUpdate { capture_time, time_source, size, tracks, ended }
    }
}

/// Replaces two lists by the indices of which `first` is true, and the others.
fn split(
    indices: std::ops::Range<usize>,
    first: impl Fn(usize) -> bool,
    these: &mut Vec<usize>,
    others: &mut Vec<usize>,
) {
    these.clear();
    others.clear();
    for index in indices {
        if first(index) { these.push(index) } else { others.push(index) }
    }
}

/// Drops the least convincing candidate, if one is less so than `evidence`.
fn make_room(tracks: &mut Vec<Track>, evidence: f64) -> bool {
    let candidates = tracks.iter().enumerate().filter(|(_, track)| track.id().is_none());
    let weakest = candidates.map(|(index, track)| (index, track.evidence())).min_by(|a, b| a.1.total_cmp(&b.1));
    let Some((index, _)) = weakest.filter(|weakest| weakest.1 < evidence) else { return false };
    tracks.swap_remove(index);
    true
}

/// Takes out the tracks that `gone` says; the ids of those that had one.
fn end_where(tracks: &mut Vec<Track>, gone: impl Fn(&Track) -> bool) -> Vec<TrackId> {
    let mut ended = Vec::new();
    tracks.retain(|track| {
        let leaves = gone(track);
        if leaves {
            ended.extend(track.id());
        }
        !leaves
    });
    ended
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vigil_base::detection::ModelIdentity;
    use vigil_base::{BoxPx, ConfidenceScale, Detection, Size, TimeSource};

    use super::*;

    const MAX_TRACKS: usize = 40;

    /// Two hundred things that stand, half of them convincing, half not, each with its look.
    fn flood(frame: i64) -> (Detections, Vec<Option<Descriptor>>) {
        let items = (0..200u16).map(|i| Detection {
            bbox: BoxPx::new(f32::from(i % 20) * 50.0, f32::from(i / 20) * 120.0, 40.0, 100.0),
            class: i % 5,
            confidence: if (i64::from(i) + frame / 500) % 2 == 0 { 0.9 } else { 0.55 },
        });
        let model = ModelIdentity::default();
        let detections = Detections {
            capture_time: Timestamp::from_micros(frame * 40_000),
            time_source: TimeSource::File,
            size: Size::new(1280, 1280),
            items: items.collect(),
            model: Arc::new(model),
        };
        let looks = (0..200).map(|i| Descriptor::new(&[1.0, i as f32, 3.0, 4.0])).collect();
        (detections, looks)
    }

    #[test]
    fn a_model_that_takes_over_is_believed_on_its_own_scale() {
        let model = Arc::new(ModelIdentity::default());
        let one = |frame: i64| Detections {
            capture_time: Timestamp::from_micros(frame * 200_000),
            time_source: TimeSource::File,
            size: Size::new(1280, 720),
            items: vec![Detection { bbox: BoxPx::new(300.0, 200.0, 40.0, 100.0), class: 0, confidence: 0.55 }],
            model: model.clone(),
        };
        let mut tracker = Tracker::new(TrackerConfig::default());
        assert!((0..20).all(|frame| tracker.update(&one(frame)).tracks.is_empty()), "more likely wrong than right");
        let other = ConfidenceScale::new(0.3, 3.0).unwrap();
        tracker.follow_scale(&Confidences { others: [(0, other)].into(), ..Confidences::default() });
        assert!((20..40).any(|frame| !tracker.update(&one(frame)).tracks.is_empty()));
    }

    #[test]
    fn what_may_begin_a_track_can_be_said_on_the_detectors_own_scale() {
        let least = |begin_confidence| {
            let confirmation = crate::ConfirmationConfig { begin_confidence, ..Default::default() };
            let scales = |confidence| TrackerConfig::default().confidence.of(0).log_odds(confidence);
            [0.5, 0.62, 0.7, 0.85].map(|confidence| confirmation.may_begin(confidence, scales(confidence)))
        };
        assert_eq!(least(None), [false, true, true, true], "at even odds");
        assert_eq!(least(Some(0.8)), [false, false, false, true]);
        assert_eq!(least(Some(0.5)), [true; 4]);
    }

    #[test]
    fn a_flood_that_never_ends_takes_no_more_memory_than_its_beginning() {
        let confidence = ConfidenceScale::PROBABILITY;
        let config =
            TrackerConfig { confidence: confidence.into(), max_tracks: MAX_TRACKS, ..TrackerConfig::default() };
        let mut tracker = Tracker::new(config);
        let mut sizes = Vec::new();
        for frame in 0..3000 {
            let (detections, looks) = flood(frame);
            let look = |bbox: BoxPx| looks[detections.items.iter().position(|item| item.bbox == bbox)?].clone();
            tracker.update_looking(&detections, &look);
            assert!(tracker.tracks.len() <= MAX_TRACKS);
            if frame % 1000 == 999 {
                sizes.push(tracker.tracks.iter().map(Track::memory).sum::<usize>());
            }
        }
        let most = MAX_TRACKS * (size_of::<Track>() + crate::track::MAX_MEMORY);
        assert!(sizes.iter().all(|&size| size <= most), "{sizes:?} above {most}");
    }
}
