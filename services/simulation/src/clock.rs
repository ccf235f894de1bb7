//! What time it is on a host: simulated time, and a wall clock that may be wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use vigil_base::{Clock, Timestamp};

/// When the simulation begins: 1 June 2026, 23:58 UTC. Two minutes later is another day, and another file of each index.
pub(crate) const EPOCH: Timestamp = Timestamp::from_micros(1_780_358_280_000_000);

/// One host's clock.
#[derive(Debug)]
pub(crate) struct HostClock {
    /// As last read where simulated time is known; elsewhere, on the threads of a storage, none passes meanwhile.
    elapsed_us: AtomicU64,
    wrong_by_us: AtomicI64,
}

impl HostClock {
    /// A clock that is wrong by some microseconds.
    pub(crate) fn wrong_by(us: i64) -> Arc<Self> {
        Arc::new(Self { elapsed_us: AtomicU64::new(0), wrong_by_us: AtomicI64::new(us) })
    }

    /// Sets the wall clock wrong by so much, as a person or a dead battery does; what has passed is not changed.
    pub(crate) fn set_wrong_by(&self, us: i64) {
        self.wrong_by_us.store(us, Ordering::Relaxed);
    }
}

impl Clock for HostClock {
    fn now(&self) -> Timestamp {
        let right = EPOCH + self.monotonic();
        Timestamp::from_micros(right.as_micros() + self.wrong_by_us.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        // While a host is taken apart its tasks have no runtime any more, and tokio would tell the machine's time.
        if Handle::try_current().is_ok()
            && let Some(elapsed) = turmoil::sim_elapsed()
        {
            self.elapsed_us.store(elapsed.as_micros() as u64, Ordering::Relaxed);
        }
        Duration::from_micros(self.elapsed_us.load(Ordering::Relaxed))
    }
}
