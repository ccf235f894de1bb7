//! Which frames of a stream are analysed.

use std::time::Duration;

use vigil_base::Timestamp;

/// Picks frames at a set rate, by capture time.
///
/// At a rate that divides the stream's, every n-th frame is taken and none twice: whoever begins when, the same frames are,
/// for the grid is anchored to the first frame behind a whole number of periods of capture time, and anew where the capture
/// time turns out to be another (a camera's NTP time is known some seconds after its first frame). What a camera is found to
/// show then does not depend on when it was connected. A jump of the clock starts a new grid.
#[derive(Debug, Clone)]
pub struct Sampler {
    period_us: i64,
    next_due: Option<Due>,
    /// Capture time of the frame before.
    before: Option<i64>,
}

/// When the next frame is taken.
#[derive(Debug, Clone, Copy)]
struct Due {
    at_us: i64,
    /// Frames are expected then, and may come a little early; else the grid begins with the first that is not earlier.
    anchored: bool,
}

impl Sampler {
    /// A sampler that takes `rate` frames a second; above the stream's own rate it takes all.
    ///
    /// # Panics
    /// When `rate` is not a positive number.
    pub fn new(rate: f64) -> Self {
        assert!(rate.is_finite() && rate > 0.0, "a rate of {rate} frames a second");
        Self { period_us: ((1e6 / rate) as i64).max(1), next_due: None, before: None }
    }

    /// Whether the frame taken at `capture_time` is to be analysed. Call once for each frame, in order.
    pub fn takes(&mut self, capture_time: Timestamp) -> bool {
        let now = capture_time.as_micros();
        let before = self.before.replace(now);
        let Some(Due { at_us, anchored }) = self.next_due else { return self.restart(now) };
        // Cameras' timestamps jitter: a frame a tenth of a period early is the one that was meant.
        let slack = if anchored { self.period_us / 10 } else { 0 };
        if now < at_us - slack {
            // More than a period before the due time: the clock went back.
            return if at_us - now > 2 * self.period_us { self.restart(now) } else { false };
        }
        // After a gap the grid starts anew: what was missed is not made up for.
        if now - at_us > self.period_us {
            return self.restart(now);
        }
        if before.is_some_and(|before| !self.is_first_of_its_period(now, before)) {
            return self.restart(now);
        }
        let from = if anchored { at_us } else { now };
        self.next_due = Some(Due { at_us: from + self.period_us, anchored: true });
        true
    }

    /// Whether the frame before lies in another period; with slack, so that jitter at a period's end does not tear the grid.
    fn is_first_of_its_period(&self, now_us: i64, before_us: i64) -> bool {
        let slack = self.period_us / 10;
        (now_us + slack).div_euclid(self.period_us) > (before_us - slack).div_euclid(self.period_us)
    }

    /// Takes a frame, with the next whole number of periods for the grid's beginning.
    fn restart(&mut self, now_us: i64) -> bool {
        let after = now_us - now_us.rem_euclid(self.period_us) + self.period_us;
        self.next_due = Some(Due { at_us: after, anchored: false });
        true
    }

    /// Time between two frames that are taken.
    pub fn period(&self) -> Duration {
        Duration::from_micros(self.period_us.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken(rate: f64, times_us: impl IntoIterator<Item = i64>) -> Vec<i64> {
        let mut sampler = Sampler::new(rate);
        times_us.into_iter().filter(|&us| sampler.takes(Timestamp::from_micros(us))).collect()
    }

    #[test]
    fn every_second_frame_of_ten_at_five_a_second() {
        let found = taken(5.0, (0..10).map(|i| i * 100_000));
        assert_eq!(found, [0, 200_000, 400_000, 600_000, 800_000]);
    }

    #[test]
    fn a_rate_above_the_streams_takes_every_frame() {
        assert_eq!(taken(30.0, (0..10).map(|i| i * 100_000)).len(), 10);
    }

    #[test]
    fn a_clock_set_back_by_an_hour_does_not_blind_the_camera() {
        let hour = 3_600_000_000;
        let times = (0..10).map(|i| hour + i * 100_000).chain((0..10).map(|i| i * 100_000));
        assert_eq!(taken(5.0, times).len(), 10);
    }

    #[test]
    fn whoever_begins_later_takes_the_same_frames() {
        let from = |first: i64| taken(5.0, (first..100).map(|i| 3_333 + i * 100_000));
        let (early, late) = (from(0), from(7));
        assert_eq!(late[0], 703_333, "the first frame is taken whenever it comes");
        assert!(late[1..].iter().all(|us| early.contains(us)), "{late:?}");
        assert_eq!(late.len(), 47);
    }

    #[test]
    fn a_grid_that_began_on_another_time_finds_the_frames_that_all_take() {
        // The first frames' times are 60 ms late, as by their arrival; then the camera's own are known.
        let times = (0..100).map(|i| 30_000 + i * 100_000 + if i < 20 { 60_000 } else { 0 });
        let late = (0..100).map(|i| 30_000 + i * 100_000 + if i < 20 { 130_000 } else { 0 });
        let known = taken(5.0, (0..100).map(|i| 30_000 + i * 100_000));
        for found in [taken(5.0, times), taken(5.0, late)] {
            let settled: Vec<_> = found.into_iter().filter(|us| *us > 3_000_000).collect();
            assert!(settled.iter().all(|us| known.contains(us)), "{settled:?}");
            assert_eq!(settled.len(), 35);
        }
    }

    proptest! {
        #[test]
        fn the_rate_is_kept_whatever_the_jitter(jitter in prop::collection::vec(-8_000i64..8_000, 500)) {
            let times = jitter.iter().enumerate().map(|(i, j)| i as i64 * 40_000 + j);
            let found = taken(5.0, times).len();
            prop_assert!((98..=102).contains(&found), "{found} of 500 frames in 20 s at 5 a second");
        }
    }
}
