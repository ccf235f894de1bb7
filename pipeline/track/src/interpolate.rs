//! From the sparse detections of a track to a box on every frame.
//!
//! For what is looked at afterwards (a file's tracks, a score against ground truth): the past may be told from both
//! sides, so gaps are filled and the jitter of boxes is smoothed. What happens live never waits for this.
//!
//! Gaps are filled linearly; then centre and sides are smoothed by local linear regression under a Gaussian kernel
//! (Cleveland, JASA 1979; the purpose is that of `StrongSORT`'s Gaussian-smoothed interpolation, Du et al., 2023, at a
//! fixed cost for each box). A walker goes straight for a third of a second, and keeps his height for longer.

use std::time::Duration;

use vigil_base::{BoxPx, Timestamp};

use crate::Observation;

/// A filled-in box counts so much against a detected one: it repeats its neighbours.
const FILLED_WEIGHT: f64 = 0.1;
/// Beyond this many standard deviations a kernel counts nothing.
const KERNEL_REACH: f64 = 3.0;
/// No smoothed side is smaller, pixels.
const MIN_SIDE: f64 = 1.0;

/// How a track's path is filled and smoothed.
#[derive(Debug, Clone, PartialEq)]
pub struct Interpolation {
    /// Longer gaps between detections stay gaps; 3 s, the longest a moving track is waited for.
    pub max_gap: Duration,
    /// Standard deviation of the kernel for the centre; 300 ms. Zero leaves detections as they are.
    pub centre_smoothing: Duration,
    /// Standard deviation of the kernel for width and height; 1 s. Zero leaves detections as they are.
    pub side_smoothing: Duration,
}

impl Default for Interpolation {
    fn default() -> Self {
        Self {
            max_gap: Duration::from_secs(3),
            centre_smoothing: Duration::from_millis(300),
            side_smoothing: Duration::from_secs(1),
        }
    }
}

/// A box on one frame, before smoothing: centre x, centre y, width, height.
struct Sample {
    frame: u32,
    seconds: f64,
    values: [f64; 4],
    weight: f64,
}

impl Interpolation {
    /// The boxes of a track on each of `frames` (number and capture time) between its first and last detection, but for
    /// gaps longer than [`Interpolation::max_gap`].
    ///
    /// Both lists must be in time order; an observation that is not later than the one before is left out.
    pub fn fill(&self, observations: &[Observation], frames: &[(u32, Timestamp)]) -> Vec<(u32, BoxPx)> {
        let mut ordered: Vec<Observation> = Vec::with_capacity(observations.len());
        for observation in observations {
            if ordered.last().is_none_or(|last| observation.time > last.time) {
                ordered.push(*observation);
            }
        }
        let near = |a: &Observation, b: &Observation| b.time.since(a.time) <= self.max_gap;
        ordered.chunk_by(near).flat_map(|stretch| self.smooth(&sample(stretch, frames))).collect()
    }

    fn smooth(&self, samples: &[Sample]) -> Vec<(u32, BoxPx)> {
        let (centre, side) = (self.centre_smoothing.as_secs_f64(), self.side_smoothing.as_secs_f64());
        let boxed = |at: usize| {
            let [x, y] = [0, 1].map(|value| regress(samples, at, value, centre));
            let [width, height] = [2, 3].map(|value| regress(samples, at, value, side).max(MIN_SIDE));
            BoxPx::new((x - width / 2.0) as f32, (y - height / 2.0) as f32, width as f32, height as f32)
        };
        (0..samples.len()).map(|at| (samples[at].frame, boxed(at))).collect()
    }
}

/// The boxes of a stretch without long gaps on every frame, linearly between detections.
fn sample(stretch: &[Observation], frames: &[(u32, Timestamp)]) -> Vec<Sample> {
    let (Some(first), Some(last)) = (stretch.first(), stretch.last()) else { return Vec::new() };
    let begin = frames.partition_point(|frame| frame.1 < first.time);
    let end = frames.partition_point(|frame| frame.1 <= last.time);
    let mut next = 0;
    let mut samples = Vec::with_capacity(end.saturating_sub(begin));
    for &(frame, time) in frames.get(begin..end).unwrap_or_default() {
        while stretch[next].time < time {
            next += 1;
        }
        let (before, after) = (&stretch[next.saturating_sub(1)], &stretch[next]);
        let detected = after.time == time;
        let whole = after.time.seconds_since(before.time);
        let share = if detected { 1.0 } else { time.seconds_since(before.time) / whole };
        let (from, to) = (values(before.bbox), values(after.bbox));
        samples.push(Sample {
            frame,
            seconds: time.seconds_since(first.time),
            values: [0, 1, 2, 3].map(|value| from[value] + share * (to[value] - from[value])),
            weight: if detected { 1.0 } else { FILLED_WEIGHT },
        });
    }
    samples
}

fn values(bbox: BoxPx) -> [f64; 4] {
    let (x, y) = bbox.centre();
    [x.into(), y.into(), bbox.width.into(), bbox.height.into()]
}

/// One value at one sample: the weighted line through its neighbours, at its place.
fn regress(samples: &[Sample], at: usize, value: usize, sigma: f64) -> f64 {
    let here = &samples[at];
    if sigma <= 0.0 {
        return here.values[value];
    }
    let reach = KERNEL_REACH * sigma;
    let begin = samples.partition_point(|s| s.seconds < here.seconds - reach);
    let end = samples.partition_point(|s| s.seconds <= here.seconds + reach);
    let (mut w, mut wt, mut wtt, mut wv, mut wtv) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for sample in &samples[begin..end] {
        let t = (sample.seconds - here.seconds) / sigma;
        let weight = sample.weight * (-0.5 * t * t).exp();
        let v = sample.values[value];
        w += weight;
        wt += weight * t;
        wtt += weight * t * t;
        wv += weight * v;
        wtv += weight * t * v;
    }
    let determinant = w * wtt - wt * wt;
    // A single point, or all in one: there is no line through it.
    if determinant <= 1e-9 * w * w { wv / w } else { (wtt * wv - wt * wtv) / determinant }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_micros(ms * 1000)
    }

    /// A walker of 50 pixels a second.
    fn seen(ms: i64) -> Observation {
        let bbox = BoxPx::new(ms as f32 * 0.05, 100.0, 40.0, 100.0);
        Observation { time: at(ms), bbox, confidence: 0.9 }
    }

    fn frames(count: u32, ms: i64) -> Vec<(u32, Timestamp)> {
        (0..count).map(|i| (i + 1, at(i64::from(i) * ms))).collect()
    }

    #[test]
    fn a_straight_walk_comes_back_straight_on_every_frame() {
        let observations: Vec<Observation> = [200, 400, 600, 1600, 1800, 2000].map(seen).into();
        let filled = Interpolation::default().fill(&observations, &frames(100, 40));
        assert_eq!(filled.iter().map(|f| f.0).collect::<Vec<_>>(), (6..=51).collect::<Vec<_>>());
        for (frame, bbox) in filled {
            let expected = seen(i64::from(frame - 1) * 40).bbox;
            assert!((bbox.left - expected.left).abs() < 0.01 && (bbox.width - 40.0).abs() < 0.01, "{frame}: {bbox:?}");
        }
    }

    #[test]
    fn a_long_gap_stays_a_gap() {
        let observations = [seen(0), seen(1000), seen(5000), seen(6000)];
        let filled = Interpolation::default().fill(&observations, &frames(8, 1000));
        assert_eq!(filled.iter().map(|f| f.0).collect::<Vec<_>>(), [1, 2, 6, 7]);
    }

    #[test]
    fn jitter_is_smoothed() {
        let jitter = |i: i64| if i % 2 == 0 { 3.0 } else { -3.0 };
        let observations: Vec<Observation> = (0..50)
            .map(|i| {
                let mut o = seen(i * 100);
                o.bbox.left += jitter(i);
                o
            })
            .collect();
        let filled = Interpolation::default().fill(&observations, &frames(50, 100));
        let worst = filled[5..45].iter().map(|(f, b)| (b.left - seen(i64::from(f - 1) * 100).bbox.left).abs());
        assert!(worst.fold(0.0, f32::max) < 0.5);
    }

    #[test]
    fn nothing_gives_nothing() {
        let interpolation = Interpolation::default();
        assert!(interpolation.fill(&[], &frames(5, 100)).is_empty());
        assert!(interpolation.fill(&[seen(0), seen(100)], &[]).is_empty());
        assert!(interpolation.fill(&[seen(0), seen(100)], &[(1, at(-500)), (2, at(-400))]).is_empty());
        assert_eq!(interpolation.fill(&[seen(0)], &frames(5, 100)).len(), 1);
    }

    proptest! {
        #[test]
        fn any_path_gives_finite_boxes_once_a_frame(
            steps in prop::collection::vec((0i64..4000, -1e5f32..1e5, 1f32..1e4), 0..60), ms in 1i64..2000,
        ) {
            let mut time = 0;
            let observations: Vec<Observation> = steps.iter().map(|&(step, left, side)| {
                time += step;
                Observation { time: at(time), bbox: BoxPx::new(left, left / 2.0, side, side), confidence: 0.5 }
            }).collect();
            let filled = Interpolation::default().fill(&observations, &frames(300, ms));
            prop_assert!(filled.windows(2).all(|pair| pair[0].0 < pair[1].0));
            for (_, b) in filled {
                prop_assert!(b.left.is_finite() && b.top.is_finite() && b.width >= 1.0 && b.height >= 1.0);
                prop_assert!(b.width.is_finite() && b.height.is_finite());
            }
        }
    }
}
