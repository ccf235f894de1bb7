//! The path of a track: few points, evenly spread over however long it lives.

use std::time::Duration;

use vigil_base::event::{MAX_PATH_POINTS, PathPoint, Speed};

/// Time between two points at first; doubled each time the path is full.
const FIRST_STEP: Duration = Duration::from_millis(400);
/// An object that moved less than this, in picture widths, stands still: it has no direction.
const STILL: f32 = 0.02;

/// A bounded path. Its last point is always the newest.
#[derive(Debug, Clone)]
pub struct Path {
    points: Vec<PathPoint>,
    /// The newest point when it is not yet due to stay.
    newest: Option<PathPoint>,
    step: Duration,
    /// Picture height divided by its width, so that distances up and across compare.
    aspect: f32,
}

impl Path {
    /// An empty path in pictures of this height to width.
    pub fn new(aspect: f32) -> Self {
        Self { points: Vec::with_capacity(MAX_PATH_POINTS), newest: None, step: FIRST_STEP, aspect }
    }

    /// Adds where the object is now.
    pub fn push(&mut self, point: PathPoint) {
        let due = self.points.last().is_none_or(|last| point.time >= last.time + self.step);
        if !due {
            self.newest = Some(point);
            return;
        }
        self.newest = None;
        // One place stays free for the newest point.
        if self.points.len() + 1 >= MAX_PATH_POINTS {
            let mut keep = false;
            self.points.retain(|_| {
                keep = !keep;
                keep
            });
            self.step *= 2;
        }
        self.points.push(point);
    }

    /// The points in time order, at most [`MAX_PATH_POINTS`].
    pub fn points(&self) -> Vec<PathPoint> {
        self.points.iter().chain(&self.newest).copied().collect()
    }

    /// Where the object went from its first point to its last (degrees in the picture, 0 up, 90 right; `None` when it stood
    /// still) and its mean speed along the path in picture widths per second.
    pub fn motion(&self) -> (Option<f32>, Option<Speed>) {
        let points = self.points();
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return (None, None) };
        let seconds = last.time.seconds_since(first.time) as f32;
        if seconds <= 0.0 {
            return (None, None);
        }
        let (dx, dy) = self.step_between(first, last);
        let direction = (dx.hypot(dy) >= STILL).then(|| dx.atan2(-dy).to_degrees().rem_euclid(360.0));
        let travelled: f32 = points.windows(2).map(|w| self.step_between(&w[0], &w[1])).map(|(x, y)| x.hypot(y)).sum();
        // The jitter of the boxes of a standing object is no speed.
        let speed = if direction.is_some() { travelled / seconds } else { 0.0 };
        (direction, Some(Speed::PictureWidthsPerSecond(speed)))
    }

    /// From one point to another, in picture widths: right and down. Measured at the foot of the box, where a person or
    /// vehicle stands on the ground.
    fn step_between(&self, from: &PathPoint, to: &PathPoint) -> (f32, f32) {
        let foot = |p: &PathPoint| (p.bbox.left + p.bbox.width / 2.0, p.bbox.top + p.bbox.height);
        let ((x0, y0), (x1, y1)) = (foot(from), foot(to));
        (x1 - x0, (y1 - y0) * self.aspect)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vigil_base::{BoxNorm, Timestamp};

    use super::*;

    fn point(ms: i64, x: f32, y: f32) -> PathPoint {
        let bbox = BoxNorm { left: x, top: y, width: 0.1, height: 0.2 };
        PathPoint { time: Timestamp::from_micros(ms * 1000), bbox, confidence: 0.9 }
    }

    #[test]
    fn direction_is_a_compass_on_the_picture() {
        for (x, y, degrees) in [(0.5, 0.1, 0.0), (0.8, 0.5, 90.0), (0.5, 0.8, 180.0), (0.1, 0.5, 270.0)] {
            let mut path = Path::new(0.75);
            path.push(point(0, 0.5, 0.5));
            path.push(point(1000, x, y));
            let (direction, _) = path.motion();
            assert!((direction.unwrap() - degrees).abs() < 0.1, "{direction:?} instead of {degrees}");
        }
    }

    #[test]
    fn speed_is_in_picture_widths_per_second() {
        let mut path = Path::new(0.75);
        for i in 0..=10 {
            path.push(point(i * 500, 0.1 + 0.05 * i as f32, 0.5));
        }
        let (_, Some(Speed::PictureWidthsPerSecond(speed))) = path.motion() else { panic!("no speed") };
        assert!((speed - 0.1).abs() < 1e-3, "{speed}");
    }

    #[test]
    fn a_standing_object_has_no_direction_and_no_speed() {
        let mut path = Path::new(0.75);
        for i in 0..100 {
            path.push(point(i * 500, 0.5 + 0.002 * (i % 3) as f32, 0.5));
        }
        assert_eq!(path.motion(), (None, Some(Speed::PictureWidthsPerSecond(0.0))));
    }

    proptest! {
        #[test]
        fn a_path_stays_small_in_order_and_ends_with_the_newest_point(gaps in prop::collection::vec(1i64..5_000, 1..2_000)) {
            let mut path = Path::new(0.5);
            let mut now = 0;
            for gap in gaps {
                now += gap;
                path.push(point(now, 0.5, 0.5));
            }
            let points = path.points();
            prop_assert!(points.len() <= MAX_PATH_POINTS);
            prop_assert!(points.windows(2).all(|w| w[0].time < w[1].time));
            prop_assert_eq!(points.last().unwrap().time, Timestamp::from_micros(now * 1000));
        }
    }
}
