//! How large a camera's packets are when nothing happens.

/// Packets over which a mean is compared with the baseline: a fifth of a second of most cameras.
const WINDOW: u32 = 5;
/// The window's mean must lie above the baseline by so many deviations of single packets. The mean of five of them deviates
/// by chance by half of one, and packets in a row are alike.
const DEVIATIONS: f32 = 4.0;
/// And above it by this factor: the packets of a still and noiseless scene hardly deviate at all.
const LEAST_GROWTH: f32 = 1.3;
/// Packets after which the baseline is known.
const SETTLED: u32 = 50;
/// Weight of a packet in the baseline once it is settled: it follows dusk and rain within a minute.
const SHARE: f32 = 1.0 / 750.0;

/// Running mean and deviation of the packets between keyframes.
///
/// Sizes are compared as logarithms: noise and weather multiply them.
#[derive(Debug, Default)]
pub(crate) struct SizeBaseline {
    packets: u32,
    mean: f32,
    deviation: f32,
    window: f32,
}

impl SizeBaseline {
    /// Takes a packet in; true when the last few outgrow the baseline. Keyframes do not count: their size tells the scene's
    /// detail and not its motion.
    pub fn observe(&mut self, bytes: usize, keyframe: bool) -> bool {
        if keyframe {
            return false;
        }
        let size = (bytes.max(1) as f32).ln();
        if self.packets == 0 {
            (self.mean, self.window) = (size, size);
        }
        self.packets = self.packets.saturating_add(1);
        self.window += (size - self.window) / WINDOW as f32;
        let growth = self.window - self.mean;
        let outgrown = self.is_settled() && growth > LEAST_GROWTH.ln().max(DEVIATIONS * self.deviation);
        // The first packets count in full, so that the baseline is known after a few of them.
        let share = (1.0 / self.packets as f32).max(SHARE);
        let distance = size - self.mean;
        self.mean += share * distance;
        self.deviation += share * (distance.abs() - self.deviation);
        outgrown
    }

    /// Whether enough was seen.
    pub fn is_settled(&self) -> bool {
        self.packets >= SETTLED
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dusk_that_doubles_the_noise_over_minutes_is_followed() {
        let mut baseline = SizeBaseline::default();
        let outgrown = (0..15_000).filter(|n| baseline.observe(2_000 + n * 2_000 / 15_000, false)).count();
        assert_eq!(outgrown, 0);
    }

    proptest! {
        #[test]
        fn noise_of_a_fifth_hardly_ever_wakes(sizes in prop::collection::vec(4_000usize..6_000, 3_000)) {
            let mut baseline = SizeBaseline::default();
            let woken = sizes.iter().filter(|&&size| baseline.observe(size, false)).count();
            prop_assert!(woken <= 3, "{woken} of 3000");
        }
    }
}
