//! How often one address may fail to enrol.
//!
//! A token has 256 random bits and cannot be guessed; this keeps the disk and the log from those who try. Only failures
//! count: all edges of a site may come through one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;

/// Failures that one address may have at once.
const BURST: u32 = 10;
/// One more is allowed after each such time.
const REFILL: Duration = Duration::from_secs(6);
/// Addresses that are remembered; some 100 bytes each.
const MAX_ADDRESSES: usize = 10_000;

/// Failures by address.
#[derive(Debug, Default)]
pub(super) struct Attempts(Mutex<HashMap<IpAddr, Failures>>);

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    /// When the count was right, monotonic.
    at: Duration,
}

impl Failures {
    fn at(self, now: Duration) -> u32 {
        let passed = now.saturating_sub(self.at).as_secs() / REFILL.as_secs();
        self.count.saturating_sub(u32::try_from(passed).unwrap_or(u32::MAX))
    }
}

impl Attempts {
    /// Whether this address may try now; if not, when.
    pub(super) fn admit(&self, address: IpAddr, now: Duration) -> Result<(), Duration> {
        let mut known = self.0.lock();
        if known.len() >= MAX_ADDRESSES {
            known.retain(|_, failures| failures.at(now) > 0);
        }
        let is_full = known.len() >= MAX_ADDRESSES;
        match known.get(&address) {
            Some(failures) if failures.at(now) >= BURST => Err(REFILL),
            None if is_full => Err(REFILL),
            _ => Ok(()),
        }
    }

    /// Notes a failure.
    pub(super) fn failed(&self, address: IpAddr, now: Duration) {
        let mut known = self.0.lock();
        let before = known.get(&address).map_or(0, |failures| failures.at(now));
        known.insert(address, Failures { count: before + 1, at: now });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_keeps_failing_waits_and_others_do_not() {
        let attempts = Attempts::default();
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut now = Duration::from_secs(100);
        for _ in 0..BURST {
            attempts.admit(one, now).unwrap();
            attempts.failed(one, now);
        }
        assert_eq!(attempts.admit(one, now), Err(REFILL));
        assert_eq!(attempts.admit(other, now), Ok(()));
        now += REFILL;
        assert_eq!(attempts.admit(one, now), Ok(()));
        attempts.failed(one, now);
        assert_eq!(attempts.admit(one, now), Err(REFILL));
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_memory() {
        let attempts = Attempts::default();
        let address = |n: usize| IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
        for n in 0..MAX_ADDRESSES * 2 {
            if attempts.admit(address(n), Duration::ZERO).is_ok() {
                attempts.failed(address(n), Duration::ZERO);
            }
        }
        assert!(attempts.0.lock().len() <= MAX_ADDRESSES);
        assert!(attempts.admit(address(MAX_ADDRESSES * 3), REFILL).is_ok(), "those who stopped are forgotten");
    }
}
