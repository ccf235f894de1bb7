//! Which slice an event goes to.
//!
//! A dated slice holds the events that began within its time. One is made only for times near the region's clock: from
//! [`SLICES_BACK`] slices before to [`SLICES_AHEAD`] after the moment an event is received. What begins outside of that (a
//! camera that believes it is 1970, or 2099) goes to the stray slice of the time at which it is *received*. So the number of
//! files is bounded by what the region's own clock passes through, not by what cameras claim, and retention removes strays
//! whole, like all else.
//!
//! Later revisions stay where the first went, wherever the clock is by then: a writer looks into every slice that may hold the
//! event before it takes it for new.

use std::ops::Range;
use std::time::Duration;

use super::slices::{Slice, SliceKind, SliceList};

/// Slices before the one of now that are made for what arrives: more than a year of days. Retention may not be longer.
pub(crate) const SLICES_BACK: u32 = 400;
/// Slices after the one of now that are made: clocks of edges differ.
pub(super) const SLICES_AHEAD: i64 = 2;

/// The times at which slices begin: multiples of a length since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    length_us: i64,
}

/// Where an event belongs: the kind of slice, and a time that lies in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) kind: SliceKind,
    pub(super) at_us: i64,
}

impl Grid {
    pub(super) fn new(length: Duration) -> Self {
        Self { length_us: i64::try_from(length.as_micros()).unwrap_or(i64::MAX).max(1) }
    }

    /// Where an event belongs that begins at `begin_us` and is received at `receive_us`.
    pub(super) fn home(self, begin_us: i64, receive_us: i64) -> Home {
        let ahead = begin_us.div_euclid(self.length_us) - receive_us.div_euclid(self.length_us);
        if (-i64::from(SLICES_BACK)..=SLICES_AHEAD).contains(&ahead) {
            Home { kind: SliceKind::Dated, at_us: begin_us }
        } else {
            Home { kind: SliceKind::Stray, at_us: receive_us }
        }
    }

    pub(super) fn length_us(self) -> i64 {
        self.length_us
    }

    /// The place in the grid that a time lies in.
    pub(super) fn around(self, at_us: i64) -> Range<i64> {
        let from = at_us.div_euclid(self.length_us) * self.length_us;
        from..from.saturating_add(self.length_us)
    }

    /// The home's place in the grid.
    pub(super) fn place_of(self, home: Home) -> (SliceKind, i64) {
        (home.kind, home.at_us.div_euclid(self.length_us))
    }

    /// The time of the slice that is to be made for `home`: its place in the grid, less what slices have already that were
    /// made by a grid of another length.
    pub(super) fn time_of_new(self, home: Home, list: &SliceList) -> Range<i64> {
        let place = self.around(home.at_us);
        if home.kind == SliceKind::Stray {
            return place;
        }
        let after = list.dated.partition_point(|slice| slice.from_us <= home.at_us);
        let (before, next) = (list.dated[..after].last(), list.dated.get(after));
        place.start.max(before.map_or(i64::MIN, |slice| slice.until_us))
            ..place.end.min(next.map_or(i64::MAX, |slice| slice.from_us))
    }
}

/// The slice there is for `home`.
pub(super) fn existing(home: Home, list: &SliceList) -> Option<&std::sync::Arc<Slice>> {
    match home.kind {
        SliceKind::Dated => list.dated_at(home.at_us),
        SliceKind::Stray => list.stray_at(home.at_us),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::RwLock;

    use super::super::slices::SliceState;
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    fn slice(time: Range<i64>) -> Arc<Slice> {
        let state = SliceState { summary: None, seq_bound: 0, is_sealed: false, problem: None, is_dropped: false };
        Arc::new(Slice {
            number: time.start,
            kind: SliceKind::Dated,
            from_us: time.start,
            until_us: time.end,
            path: "slice".into(),
            state: RwLock::new(state),
        })
    }

    #[test]
    fn clocks_far_from_the_regions_share_the_slice_of_the_moment() {
        let (grid, now) = (Grid::new(Duration::from_hours(1)), 1_000_000 * HOUR + 17);
        for begin in [now, now - 400 * HOUR, now + 2 * HOUR] {
            assert_eq!(grid.home(begin, now), Home { kind: SliceKind::Dated, at_us: begin });
        }
        for begin in [0, i64::MIN / 2, now - 401 * HOUR, now + 3 * HOUR, i64::MAX / 2] {
            assert_eq!(grid.home(begin, now), Home { kind: SliceKind::Stray, at_us: now });
        }
    }

    #[test]
    fn slices_of_a_new_length_fill_the_gaps_between_old_ones() {
        let list =
            SliceList { dated: vec![slice(2 * HOUR..3 * HOUR), slice(7 * HOUR..8 * HOUR)], ..Default::default() };
        let grid = Grid::new(Duration::from_hours(24));
        for (at, expected) in [(HOUR, 0..2 * HOUR), (4 * HOUR, 3 * HOUR..7 * HOUR), (9 * HOUR, 8 * HOUR..24 * HOUR)] {
            let home = Home { kind: SliceKind::Dated, at_us: at };
            assert_eq!(existing(home, &list).map(|slice| slice.number), None);
            assert_eq!(grid.time_of_new(home, &list), expected);
        }
        assert!(existing(Home { kind: SliceKind::Dated, at_us: 2 * HOUR }, &list).is_some());
    }
}
