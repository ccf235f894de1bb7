//! The tracker over a whole file, and what it found written for every frame.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use vigil_base::detection::ModelIdentity;
use vigil_base::{Confidences, Detection, Detections, Size, TimeSource, Timestamp, TrackId};

use crate::{Interpolation, MAX_FRAME, MotFile, MotRow, Observation, TrackUpdate, Tracker, TrackerConfig};

/// The picture's size where a file of boxes does not say it; the tracker does not need it.
const UNKNOWN_SIZE: Size = Size::new(0, 0);

/// Frames per second of a file, 0.1 to 240, and which of them were looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameRate {
    per_second: f64,
    every: NonZeroU32,
}

impl FrameRate {
    /// For files of boxes that do not say their rate; 12. The benchmark's sequences have 7 to 30 frames a second, and
    /// scores are within one point for any assumption from 10 to 16.
    pub const ASSUMED: Self = Self { per_second: 12.0, every: NonZeroU32::MIN };

    /// A rate, when it is within 0.1 and 240.
    pub fn new(per_second: f64) -> Option<Self> {
        (0.1..=240.0).contains(&per_second).then_some(Self { per_second, every: NonZeroU32::MIN })
    }

    /// Only each n-th frame was looked at, from the first with boxes on: the others say nothing of what was there.
    #[must_use]
    pub fn looked_at_every(self, every: NonZeroU32) -> Self {
        Self { every, ..self }
    }

    /// Capture time of a frame, counted from 1, from the time of the first.
    pub fn time_of(self, frame: u32) -> Timestamp {
        Timestamp::from_micros((f64::from(frame.saturating_sub(1)) / self.per_second * 1e6).round() as i64)
    }

    /// Frames in so many seconds.
    fn frames_in(self, seconds: f64) -> u32 {
        (seconds * self.per_second) as u32
    }

    /// Whether a frame without boxes was looked at, and nothing found: it was due, and none of those before the next that is
    /// due was looked at in its place, as happens to a live camera whose pictures come late.
    fn was_looked_at<T>(self, frame: u32, last_look: u32, later: &BTreeMap<u32, T>) -> bool {
        let every = self.every.get();
        frame - last_look >= every && later.range(frame..frame.saturating_add(every)).next().is_none()
    }
}

/// Collects what a tracker tells, and tells it again for every frame of a file.
///
/// Memory grows with every detection of every track: for files and tests, not for cameras.
#[derive(Debug)]
pub struct TrackRecorder {
    scales: Confidences,
    paths: BTreeMap<TrackId, Path>,
}

#[derive(Debug, Default)]
struct Path {
    /// As it was voted last.
    class: u16,
    seen: Vec<Observation>,
}

impl TrackRecorder {
    /// For a tracker with this configuration.
    pub fn new(config: &TrackerConfig) -> Self {
        Self { scales: config.confidence.clone(), paths: BTreeMap::new() }
    }

    /// Takes in what the tracker said of a frame.
    pub fn observe(&mut self, update: &TrackUpdate) {
        for track in update.tracks.iter().filter(|track| track.seen_on(update)) {
            let path = self.paths.entry(track.id).or_default();
            path.class = track.class;
            if track.began() {
                path.seen.extend(&track.history);
            } else {
                path.seen.push(Observation { time: track.last_seen, bbox: track.bbox, confidence: track.confidence });
            }
        }
    }

    /// The tracks of the classes that are `told`, on each of `frames` (number and capture time, in order): with their
    /// beginning from before they were confirmed, their gaps filled. A track that was, over all its detections, more
    /// likely wrong than right is left out. Rows are in order of frame, then id; a filled-in box has the confidence of the track's mean.
    pub fn tracks(
        &self,
        frames: &[(u32, Timestamp)],
        interpolation: &Interpolation,
        told: impl Fn(u16) -> bool,
    ) -> MotFile {
        let mut rows = Vec::new();
        for (id, Path { class, seen: path }) in self.paths.iter().filter(|(_, path)| told(path.class)) {
            let scale = self.scales.of(*class);
            let log_odds: f64 = path.iter().map(|o| scale.log_odds(o.confidence)).sum();
            if log_odds < 0.0 {
                continue;
            }
            let confidence = path.iter().map(|o| o.confidence).sum::<f32>() / path.len() as f32;
            let filled = interpolation.fill(path, frames);
            rows.extend(filled.into_iter().map(|(frame, bbox)| MotRow {
                frame,
                id: Some(id.0),
                bbox,
                confidence,
                ground: None,
            }));
        }
        rows.sort_unstable_by_key(|row| (row.frame, row.id));
        MotFile { rows }
    }
}

/// Tracks the detections of a MOTChallenge file, as one class, and tells the tracks on every frame of it.
///
/// `config.confidence` says how the file's confidences are to be read, after they were brought to 0..1
/// ([`MotFile::confidences`]): [`ConfidenceScale::MOT15_PUBLIC`] for the benchmark's public detections.
pub fn track_mot(detections: &MotFile, rate: FrameRate, config: &TrackerConfig) -> MotFile {
    let mut by_frame: BTreeMap<u32, Vec<Detection>> = BTreeMap::new();
    for (row, confidence) in detections.rows.iter().zip(detections.confidences()) {
        let detection = Detection { bbox: row.bbox, class: 0, confidence };
        // A parsed file is bounded; one made by hand need not be.
        by_frame.entry(row.frame.min(MAX_FRAME)).or_default().push(detection);
    }
    let model = Arc::new(ModelIdentity::default());
    let max_gap = rate.frames_in(config.life.max_gap.as_secs_f64());
    let frames: Vec<(u32, Timestamp)> =
        frames_to_visit(by_frame.keys().copied(), max_gap).map(|frame| (frame, rate.time_of(frame))).collect();

    let mut tracker = Tracker::new(config.clone());
    let mut recorder = TrackRecorder::new(config);
    let mut last_look = 0;
    for &(frame, capture_time) in &frames {
        let items = match by_frame.remove(&frame) {
            Some(items) => items,
            None if rate.was_looked_at(frame, last_look, &by_frame) => Vec::new(),
            None => continue,
        };
        last_look = frame;
        let (time_source, size, model) = (TimeSource::File, UNKNOWN_SIZE, Arc::clone(&model));
        recorder.observe(&tracker.update(&Detections { capture_time, time_source, size, items, model }));
    }
    recorder.tracks(&frames, &Interpolation::default(), |_| true)
}

/// The frames that have boxes, and those between them unless a gap is longer than `max_gap`: nothing lives through it.
fn frames_to_visit(present: impl Iterator<Item = u32>, max_gap: u32) -> impl Iterator<Item = u32> {
    let mut before = None;
    present.flat_map(move |frame| {
        let from = before.replace(frame).filter(|last| frame - last <= max_gap).map_or(frame, |last| last + 1);
        from..=frame
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(frame: u32, left: f32, confidence: f32) -> MotRow {
        use vigil_base::BoxPx;
        MotRow { frame, id: None, bbox: BoxPx::new(left, 100.0, 40.0, 100.0), confidence, ground: None }
    }

    fn sure() -> TrackerConfig {
        TrackerConfig { confidence: vigil_base::ConfidenceScale::PROBABILITY.into(), ..TrackerConfig::default() }
    }

    #[test]
    fn a_walk_is_one_track_on_every_frame_from_its_first() {
        let rows = (1..=60).filter(|f| f % 7 != 0).map(|f| row(f, 5.0 * f as f32, 0.9 + 0.001 * f as f32));
        let tracks = track_mot(&MotFile { rows: rows.collect() }, FrameRate::ASSUMED, &sure());
        assert_eq!(tracks.rows.iter().map(|r| r.frame).collect::<Vec<_>>(), (1..=60).collect::<Vec<_>>());
        assert!(tracks.rows.iter().all(|r| r.id == Some(1)));
    }

    #[test]
    fn frames_that_nobody_looked_at_are_no_misses_and_are_told_all_the_same() {
        let rows = (1..=60).filter(|f| f % 10 == 1).map(|f| row(f, 2.0 * f as f32, 0.9 + 0.001 * f as f32));
        let file = MotFile { rows: rows.collect() };
        let rate = FrameRate::new(25.0).unwrap();
        let told = |rate| track_mot(&file, rate, &sure()).rows.iter().map(|r| r.frame).collect::<Vec<_>>();
        assert_eq!(told(rate.looked_at_every(NonZeroU32::new(10).unwrap())), (1..=51).collect::<Vec<_>>());
        assert!(told(rate).is_empty(), "a candidate that is missed for longer than 300 ms is dropped");
    }

    #[test]
    fn a_picture_that_came_late_shifts_those_that_are_looked_at() {
        let looked_at = |f: &u32| if *f < 30 { f % 5 == 1 } else { f % 5 == 3 };
        let rows = (1..=60).filter(looked_at).map(|f| row(f, 3.0 * f as f32, 0.9 + 0.001 * f as f32));
        let rate = FrameRate::new(5.0).unwrap().looked_at_every(NonZeroU32::new(5).unwrap());
        let tracks = track_mot(&MotFile { rows: rows.collect() }, rate, &sure());
        assert_eq!(tracks.rows.iter().map(|r| r.frame).collect::<Vec<_>>(), (1..=58).collect::<Vec<_>>());
        assert!(tracks.rows.iter().all(|r| r.id == Some(1)));
        let with_boxes = |frames: &[u32]| frames.iter().map(|f| (*f, true)).collect::<BTreeMap<_, _>>();
        assert!(!rate.was_looked_at(31, 26, &with_boxes(&[33, 38])), "33 was looked at in its place");
        assert!(rate.was_looked_at(31, 26, &with_boxes(&[36, 41])), "nothing was found");
        assert!(!rate.was_looked_at(30, 26, &with_boxes(&[36, 41])), "not due");
    }

    #[test]
    fn the_last_possible_frame_costs_no_more_than_the_first() {
        let rows = vec![row(1, 0.0, 0.9), row(2, 0.0, 0.8), row(MAX_FRAME, 0.0, 0.7), row(u32::MAX, 0.0, 0.9)];
        let tracks = track_mot(&MotFile { rows }, FrameRate::ASSUMED, &sure());
        assert!(tracks.rows.is_empty());
        let visited: Vec<u32> = frames_to_visit([1, 2, 5, MAX_FRAME].into_iter(), 10).collect();
        assert_eq!(visited, [1, 2, 3, 4, 5, MAX_FRAME]);
    }

    #[test]
    fn rates_that_are_none_are_refused() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9] {
            assert!(FrameRate::new(bad).is_none(), "{bad}");
        }
        assert_eq!(FrameRate::new(25.0).unwrap().time_of(26), Timestamp::from_micros(1_000_000));
    }
}
