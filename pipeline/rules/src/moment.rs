//! Two clocks at once: what the pictures say, and how long was watched.

use std::time::Duration;

use vigil_base::{PointNorm, Timestamp};

pub use vigil_base::evidence::Spot;

/// A moment of a camera's life.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Moment {
    /// Capture time; may jump.
    pub time: Timestamp,
    /// Microseconds that were watched up to here; never goes back, and stands still while nothing is seen.
    pub watched: i64,
}

impl Moment {
    /// Time watched since `earlier`; zero when that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.watched - earlier.watched).unwrap_or(0))
    }

    /// The moment at `share` of the time to `later`.
    pub fn towards(self, later: Self, share: f64) -> Self {
        let part = |from: i64, to: i64| from.saturating_add((to.saturating_sub(from) as f64 * share).round() as i64);
        Self {
            time: Timestamp::from_micros(part(self.time.as_micros(), later.time.as_micros())),
            watched: part(self.watched, later.watched),
        }
    }
}

/// Where an object is seen, as a rule sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Place {
    pub moment: Moment,
    /// The anchor of its box.
    pub at: PointNorm,
}

impl Place {
    pub fn spot(self) -> Spot {
        Spot { time: self.moment.time, at: self.at }
    }
}
