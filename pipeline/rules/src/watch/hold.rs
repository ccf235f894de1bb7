//! What lasts.

use std::time::Duration;

use super::CONFIRMING;
use crate::moment::Moment;

/// A condition that must last before it counts, and must be over for as long before it no longer does.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hold {
    /// Since when it holds, once it counts.
    since: Option<Moment>,
    /// Since when it has been otherwise, and how often that was seen.
    contrary: Option<(Moment, u8)>,
}

impl Hold {
    /// Takes in how the condition is now. Since when it holds, where it has lasted.
    pub fn update(&mut self, condition: bool, now: Moment, hold: Duration) -> Option<Moment> {
        if condition == self.since.is_some() {
            self.contrary = None;
            return self.since;
        }
        let (first, seen) = self.contrary.map_or((now, 1), |(first, seen)| (first, seen.saturating_add(1)));
        self.contrary = Some((first, seen));
        if seen >= CONFIRMING && now.since(first) >= hold {
            self.since = condition.then_some(first);
            self.contrary = None;
        }
        self.since
    }

    /// Since when it holds, where it counts.
    pub fn since(&self) -> Option<Moment> {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use vigil_base::Timestamp;

    use super::*;

    fn at(ms: i64) -> Moment {
        Moment { time: Timestamp::from_micros(ms * 1000), watched: ms * 1000 }
    }

    #[test]
    fn it_counts_when_it_has_lasted_and_no_longer_when_it_has_been_over_as_long() {
        let mut hold = Hold::default();
        let mut seen =
            |ms, condition| hold.update(condition, at(ms), Duration::from_secs(1)).map(|since| since.watched / 1000);
        assert_eq!(seen(0, true), None);
        assert_eq!(seen(900, true), None);
        assert_eq!(seen(1000, true), Some(0));
        assert_eq!(seen(1500, false), Some(0));
        assert_eq!(seen(1600, true), Some(0));
        assert_eq!(seen(2000, false), Some(0));
        assert_eq!(seen(3000, false), None);
    }

    #[test]
    fn once_is_never_enough_however_long_ago() {
        let mut hold = Hold::default();
        assert_eq!(hold.update(true, at(0), Duration::ZERO), None);
        assert_eq!(hold.update(true, at(1), Duration::ZERO), Some(at(0)));
    }
}
