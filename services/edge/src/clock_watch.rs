//! Clocks that are off, said so that operators find the one to set.

use std::time::Duration;

use vigil_base::{Clock, Timestamp};
use vigil_serve::HealthBoard;

/// Clocks this near count as right: more than any network delay, less than what makes an event hard to find.
const TOLERANCE: Duration = Duration::from_secs(2);
/// The component's name on the health board.
const COMPONENT: &str = "clock";

/// `12s ahead of` or `1h 30m behind`, for what stands after it; nothing where the clock counts as right.
pub(crate) fn off(offset_ms: i64) -> Option<String> {
    let offset = Duration::from_millis(offset_ms.unsigned_abs());
    let direction = if offset_ms < 0 { "behind" } else { "ahead of" };
    let seconds = Duration::from_secs_f64(offset.as_secs_f64().round());
    (offset > TOLERANCE).then(|| format!("{} {direction}", humantime::format_duration(seconds)))
}

/// Compares this edge's clock with its region's, from one connection to its end.
///
/// The region tells its time once, at the welcome; monotonic time carries it on. So a step of this edge's clock shows
/// while the connection lasts.
#[derive(Debug)]
pub(crate) struct ClockWatch {
    /// As the region said.
    region_time: Timestamp,
    /// Monotonic time here when it said so.
    told_at: Duration,
    /// What the board was told last, in words: a clock that stays as wrong as it was is logged once.
    told: Option<String>,
}

impl ClockWatch {
    pub(crate) fn new(region_time: Timestamp, clock: &dyn Clock) -> Self {
        Self { region_time, told_at: clock.monotonic(), told: None }
    }

    /// Tells the board, and at each change the log, how the clock is.
    pub(crate) fn look(&mut self, clock: &dyn Clock, board: &HealthBoard) {
        let region_now = self.region_time + clock.monotonic().saturating_sub(self.told_at);
        let offset_ms = (clock.now().seconds_since(region_now) * 1e3) as i64;
        let off = off(offset_ms);
        match &off {
            Some(off) => {
                let detail = format!("this edge's clock is {off} the region's: set it by NTP");
                if self.told.as_ref() != Some(off) {
                    tracing::warn!(offset_ms, "{detail}");
                }
                board.report(COMPONENT, detail, false);
            }
            None => board.clear(COMPONENT),
        }
        if off.is_none() && self.told.is_some() {
            tracing::info!(offset_ms, "this edge's clock agrees with the region's again");
        }
        self.told = off;
    }
}

#[cfg(test)]
mod tests {
    use vigil_base::SimClock;

    use super::*;

    const NOON: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    #[test]
    fn a_step_of_the_edges_clock_shows_and_goes_when_it_is_set_right() {
        let (clock, board) = (SimClock::new(NOON), HealthBoard::new());
        let mut watch = ClockWatch::new(NOON, &*clock);
        let detail = |watch: &mut ClockWatch| {
            watch.look(&*clock, &board);
            board.problems().first().map(|problem| problem.detail.clone())
        };
        clock.advance(Duration::from_mins(10));
        assert_eq!(detail(&mut watch), None);
        clock.jump_to(NOON + Duration::from_mins(70));
        assert!(detail(&mut watch).unwrap().contains("1h ahead of the region's"));
        clock.jump_to(NOON);
        assert!(detail(&mut watch).unwrap().contains("10m behind the region's"));
        clock.jump_to(NOON + Duration::from_mins(10));
        assert_eq!(detail(&mut watch), None);
    }
}
