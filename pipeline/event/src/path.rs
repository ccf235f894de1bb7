//! The path of a track: few points, evenly spread over however long it lives.

use std::time::Duration;

use vigil_base::event::{MAX_PATH_POINTS, PathPoint};

/// Time between two points at first; doubled each time the path is full.
const FIRST_STEP: Duration = Duration::from_millis(400);

/// A bounded path. Its last point is always the newest.
#[derive(Debug, Clone)]
pub struct Path {
    points: Vec<PathPoint>,
    /// The newest point when it is not yet due to stay.
    newest: Option<PathPoint>,
    step: Duration,
}

impl Path {
    /// An empty path.
    pub fn new() -> Self {
        Self { points: Vec::with_capacity(MAX_PATH_POINTS), newest: None, step: FIRST_STEP }
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

    proptest! {
        #[test]
        fn a_path_stays_small_in_order_and_ends_with_the_newest_point(gaps in prop::collection::vec(1i64..5_000, 1..2_000)) {
            let mut path = Path::new();
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
