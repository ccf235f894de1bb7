//! What time retention goes by.
//!
//! The machine's own clock decides what is deleted, and one that is set a year ahead would delete everything in one go. So it is
//! believed only as far as others agree: with edges connected, up to the median of their clocks; without, it may be so far from
//! the newest event as a region may have been off, and beyond that moves on at [`PACE`] times the real speed, long enough for a
//! person to see the alarm. A clock that is behind deletes too late, never too early, and is believed.

use std::time::Duration;

use vigil_base::{SharedClock, Timestamp};

use crate::index::IndexStats;

/// How much faster than real time retention follows a clock that nobody confirms: a day an hour.
const PACE: u32 = 24;
/// For how long a region may have been off, without anybody confirming it.
const MAY_BE_OFF: Duration = Duration::from_hours(24);
/// A clock that is further ahead of what is believed is told.
const TOLD_FROM: Duration = Duration::from_hours(1);

/// What the clocks of connected edges show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EdgesTime {
    /// The median; of two the later.
    pub(crate) median: Timestamp,
    /// How many they are.
    pub(crate) edges: usize,
}

/// The time that retention goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Believed {
    /// Never after the region's clock.
    pub(super) time: Timestamp,
    /// What operators are to know, where that is far behind the clock.
    pub(super) problem: Option<String>,
}

/// Follows the region's clock as far as it is to be believed.
pub(super) struct BelievedTime {
    clock: SharedClock,
    /// What was believed last.
    last: Timestamp,
    /// When that was (monotonic).
    at: Duration,
}

impl BelievedTime {
    /// What an index tells of the time before the start: by the region's clock when it last stored, and by the edges' when
    /// they made the newest event. The earlier is taken, since either may be wrong. An empty index has nothing to lose.
    pub(super) fn new(clock: &SharedClock, stats: &IndexStats) -> Self {
        let (now, at) = (clock.now(), clock.monotonic());
        let known = stats.last_commit.into_iter().chain(stats.newest_begin).min();
        let last = known.map_or(now, |known| now.min(known + MAY_BE_OFF));
        Self { clock: clock.clone(), last, at }
    }

    /// What time it is to be, by what connected edges show.
    pub(super) fn now(&mut self, edges: Option<EdgesTime>) -> Believed {
        let (now, at) = (self.clock.now(), self.clock.monotonic());
        let unconfirmed = self.last + at.saturating_sub(self.at).saturating_mul(PACE);
        let time = now.min(edges.map_or(unconfirmed, |edges| edges.median));
        (self.last, self.at) = (time, at);
        let ahead = now.since(time);
        Believed { time, problem: (ahead > TOLD_FROM).then(|| told(now, ahead, edges)) }
    }
}

fn told(now: Timestamp, ahead: Duration, edges: Option<EdgesTime>) -> String {
    let ahead = humantime::format_duration(Duration::from_secs(ahead.as_secs() / 60 * 60));
    match edges {
        Some(EdgesTime { edges, .. }) => format!(
            "this machine's clock says {now}, {ahead} ahead of its edges' clocks (median of {edges} connected): what is old is \
             removed by theirs; set right which is wrong, as by NTP"
        ),
        None => format!(
            "this machine's clock says {now}, {ahead} more than can have passed as far as anybody knows, and no edge is \
             connected that confirms it: what is old is removed at a day an hour; look whether the clock is right"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vigil_base::{Clock, SimClock};

    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_780_000_000_000_000);
    const HOUR: Duration = Duration::from_hours(1);
    const DAY: Duration = Duration::from_hours(24);

    fn index_of(last: Timestamp) -> IndexStats {
        IndexStats { last_commit: Some(last), newest_begin: Some(last), ..IndexStats::default() }
    }

    fn three(median: Timestamp) -> EdgesTime {
        EdgesTime { median, edges: 3 }
    }

    fn following(now: Timestamp, stats: &IndexStats) -> (Arc<SimClock>, BelievedTime) {
        let clock = SimClock::new(now);
        let shared: SharedClock = clock.clone();
        (clock, BelievedTime::new(&shared, stats))
    }

    #[test]
    fn a_clock_that_is_right_is_believed() {
        let (clock, mut time) = following(START, &index_of(START - HOUR));
        for edges in [None, Some(three(START + HOUR)), Some(three(START - HOUR / 2))] {
            let believed = time.now(edges);
            assert!(START.since(believed.time) <= HOUR / 2 && believed.problem.is_none(), "{believed:?}");
        }
        for _ in 0..100 {
            clock.advance(HOUR);
            assert_eq!(time.now(None), Believed { time: clock.now(), problem: None });
        }
    }

    #[test]
    fn an_empty_index_and_a_night_without_power_ask_for_nobody() {
        for stats in [IndexStats::default(), index_of(START - 12 * HOUR)] {
            assert_eq!(following(START, &stats).1.now(None), Believed { time: START, problem: None });
        }
    }

    #[test]
    fn edges_keep_a_clock_that_leaps_ahead_from_deleting_and_name_it() {
        let (clock, mut time) = following(START, &index_of(START));
        clock.jump_to(START + 400 * DAY);
        let believed = time.now(Some(three(START)));
        assert_eq!(believed.time, START);
        let problem = believed.problem.unwrap();
        assert!(problem.contains("1year 1month") && problem.contains("median of 3 connected"), "{problem}");
        clock.jump_to(START);
        assert_eq!(time.now(Some(three(START))).problem, None);
    }

    #[test]
    fn alone_it_follows_a_leap_at_a_day_an_hour_also_where_it_starts_anew() {
        let wrong = START + 400 * DAY;
        let (clock, mut time) = following(wrong, &index_of(START));
        assert_eq!(time.now(None).time, START + DAY, "as after a day off");
        for hours in 1..=10 {
            clock.advance(HOUR);
            let believed = time.now(None);
            assert_eq!(believed.time, START + DAY * (1 + hours));
            assert!(believed.problem.unwrap().contains("no edge is connected"));
        }
        // An edge comes, and its clock is right.
        assert_eq!(time.now(Some(three(START + 10 * HOUR))).time, START + 10 * HOUR);
        clock.advance(HOUR);
        assert_eq!(time.now(None).time, START + 34 * HOUR, "from there on");
    }

    #[test]
    fn of_what_the_index_tells_the_earlier_is_taken() {
        let year = 365 * DAY;
        let ahead = IndexStats { last_commit: Some(START + year), ..index_of(START) };
        let camera_ahead = IndexStats { newest_begin: Some(START + year), ..index_of(START) };
        for stats in [ahead, camera_ahead] {
            assert_eq!(following(START + year, &stats).1.now(None).time, START + DAY);
        }
    }

    #[test]
    fn a_region_that_was_off_for_a_month_catches_up_when_an_edge_comes() {
        let (_, mut time) = following(START, &index_of(START - 30 * DAY));
        assert!(time.now(None).problem.is_some());
        assert_eq!(time.now(Some(three(START))), Believed { time: START, problem: None });
    }
}
