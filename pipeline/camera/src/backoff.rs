//! How long to wait before connecting again.

use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;

/// Each wait is within this share of its nominal length, so that a hundred cameras behind one switch do not come back at
/// the same moment.
const JITTER: f64 = 0.2;

/// Doubles from `min` to `max`, each wait longer or shorter by up to a fifth, and never outside of the two.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    nominal: Duration,
    rng: SmallRng,
}

impl Backoff {
    pub fn new(min: Duration, max: Duration, rng: SmallRng) -> Self {
        Self { min, max, nominal: min, rng }
    }

    /// The camera was well: the next wait is short again.
    pub fn reset(&mut self) {
        self.nominal = self.min;
    }

    /// The next wait.
    pub fn next(&mut self) -> Duration {
        let wait = self.nominal.mul_f64(self.rng.random_range(1.0 - JITTER..=1.0 + JITTER));
        self.nominal = (self.nominal * 2).min(self.max);
        wait.clamp(self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;

    proptest! {
        #[test]
        fn waits_grow_to_the_maximum_stay_in_bounds_and_start_again(seed: u64, min_ms in 10u64..1000, times in 1u64..50) {
            let (min, max) = (Duration::from_millis(min_ms), Duration::from_millis(min_ms * times));
            let mut backoff = Backoff::new(min, max, SmallRng::seed_from_u64(seed));
            let waits: Vec<_> = (0..10).map(|_| backoff.next()).collect();
            prop_assert!(waits.iter().all(|wait| (min..=max).contains(wait)));
            prop_assert!(waits[9] >= max.mul_f64(0.79));
            backoff.reset();
            prop_assert!(backoff.next() <= min.mul_f64(1.21).min(max));
        }
    }
}
