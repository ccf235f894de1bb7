//! Time is given, never taken: each stage holds a [`Clock`], so that tests decide what time it is.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::Timestamp;

/// What time it is.
pub trait Clock: Send + Sync + 'static {
    /// UTC, as this machine's clock has it; may jump.
    fn now(&self) -> Timestamp;
    /// Time since some moment before this process did anything; never goes back, never leaves the process.
    fn monotonic(&self) -> Duration;
}

/// A clock that many stages hold.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's own clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    started: std::time::Instant,
}

impl SystemClock {
    /// The machine's clock, to be made once, where a process starts.
    #[allow(clippy::new_without_default, clippy::disallowed_methods)] // The one place that may read the time itself.
    pub fn new() -> Self {
        Self { started: std::time::Instant::now() }
    }

    /// The same, ready to be shared.
    pub fn shared() -> SharedClock {
        Arc::new(Self::new())
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // The one place that may read the time itself.
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A clock that moves only when told to.
#[derive(Debug)]
pub struct SimClock {
    state: Mutex<(Timestamp, Duration)>,
}

impl SimClock {
    /// A clock that stands at `now`.
    pub fn new(now: Timestamp) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new((now, Duration::ZERO)) })
    }

    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        let mut state = self.state.lock();
        *state = (state.0 + by, state.1 + by);
    }

    /// Sets the wall clock, as an operator or NTP would; monotonic time does not move.
    pub fn jump_to(&self, now: Timestamp) {
        self.state.lock().0 = now;
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.state.lock().0
    }

    fn monotonic(&self) -> Duration {
        self.state.lock().1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_of_the_wall_clock_leaves_monotonic_time_alone() {
        let clock = SimClock::new(Timestamp::from_micros(1_000_000));
        clock.advance(Duration::from_secs(2));
        clock.jump_to(Timestamp::from_micros(0));
        assert_eq!(clock.now(), Timestamp::from_micros(0));
        assert_eq!(clock.monotonic(), Duration::from_secs(2));
    }
}
