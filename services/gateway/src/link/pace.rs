//! When a question that a region has not answered is sent to its replica too, and how often at the most.
//!
//! After Dean & Barroso, "The Tail at Scale" (CACM 56(2), 2013), "hedged requests": the second question goes out when the first has
//! waited longer than 95 % of the region's answers of late take, so that one question in twenty asks twice. A region whose every
//! answer has become slow would have all of them ask twice; a budget (a token bucket) keeps them at that share then, too.

use std::time::Duration;

/// Answer times that are kept: the 95th percentile of so many rests on the six slowest, and a change shows within seconds.
const RECENT: usize = 128;
/// Answer times before the percentile is believed.
const FEW: usize = 20;
/// Of a region's answers that came sooner than the wait.
const QUANTILE: f32 = 0.95;
/// Wait while too few answers are known: what a region in another city takes for a heavy question.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// Shortest wait: below this the second question costs the regions more than it saves a person.
const MIN_WAIT: Duration = Duration::from_millis(10);
/// Longest wait: a person notices a second, and the replica needs the rest of it.
const MAX_WAIT: Duration = Duration::from_millis(500);
/// What each question adds to the budget: hedges are at most this share of the questions.
const SHARE: f32 = 0.05;
/// Most hedges saved up: what the questions to a region that froze need until it is suspected.
const BURST: f32 = 10.0;

/// How long one region's answers took of late, and how many hedges it may have.
#[derive(Debug)]
pub(super) struct Pace {
    /// A ring; the oldest is replaced.
    recent: [Duration; RECENT],
    known: usize,
    next: usize,
    hedges: f32,
}

impl Pace {
    /// Nothing is known; the budget is full.
    pub(super) fn new() -> Self {
        Self { recent: [Duration::ZERO; RECENT], known: 0, next: 0, hedges: BURST }
    }

    /// Notes a question that was asked.
    pub(super) fn asked(&mut self) {
        self.hedges = (self.hedges + SHARE).min(BURST);
    }

    /// Notes how long the region took for an answer, or had taken when it was no longer waited for: it would have taken longer, and
    /// leaving it out would have the slow answers forgotten.
    pub(super) fn took(&mut self, time: Duration) {
        self.recent[self.next] = time;
        self.next = (self.next + 1) % RECENT;
        self.known = (self.known + 1).min(RECENT);
    }

    /// How long a question that has `budget` in all waits for the region alone.
    pub(super) fn wait(&self, budget: Duration) -> Duration {
        let mut times = self.recent;
        let times = &mut times[..self.known];
        let wait = if times.len() < FEW {
            FIRST_WAIT
        } else {
            let rank = (times.len() as f32 * QUANTILE) as usize;
            *times.select_nth_unstable(rank).1
        };
        // The replica has as much time as the region had.
        wait.clamp(MIN_WAIT, MAX_WAIT).min(budget / 2)
    }

    /// Takes one hedge from the budget, where there is one.
    pub(super) fn may_hedge(&mut self) -> bool {
        let may = self.hedges >= 1.0;
        if may {
            self.hedges -= 1.0;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn the_wait_is_the_95th_percentile_of_the_last_answers() {
        let mut pace = Pace::new();
        assert_eq!(pace.wait(LONG), FIRST_WAIT);
        (1..=100).for_each(|ms| pace.took(Duration::from_millis(ms)));
        assert_eq!(pace.wait(LONG), Duration::from_millis(96));
        // It was slow once, which is forgotten.
        (0..RECENT).for_each(|_| pace.took(Duration::from_millis(30)));
        assert_eq!(pace.wait(LONG), Duration::from_millis(30));
    }

    #[test]
    fn the_wait_has_bounds_and_leaves_the_replica_half_of_the_time() {
        for (took, expected) in [(1, MIN_WAIT), (5_000, MAX_WAIT)] {
            let mut pace = Pace::new();
            (0..FEW).for_each(|_| pace.took(Duration::from_millis(took)));
            assert_eq!(pace.wait(LONG), expected);
        }
        assert_eq!(Pace::new().wait(Duration::from_millis(100)), Duration::from_millis(50));
    }

    proptest! {
        #[test]
        fn hedges_are_a_twentieth_of_the_questions_beside_those_saved_up(
            wants in proptest::collection::vec(any::<bool>(), 0..2_000),
        ) {
            let mut pace = Pace::new();
            let mut hedged = 0;
            for (i, wants) in wants.into_iter().enumerate() {
                pace.asked();
                hedged += usize::from(wants && pace.may_hedge());
                prop_assert!(hedged as f32 <= BURST + (i + 1) as f32 * SHARE + 0.1);
            }
        }
    }
}
