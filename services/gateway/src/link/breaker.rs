//! A circuit breaker (Nygard, "Release It!", 2007): a region that keeps failing is no longer asked, so that it costs no
//! question any time, until a probe finds it well.
//!
//! ```text
//!             N failures in a row              probe due
//!   closed ------------------------> open ------------------> half-open (one probe under way)
//!      ^                               ^                           |        |
//!      |                               +------ probe failed -------+        |
//!      +----------------------- probe, or a late answer, succeeded ---------+
//! ```
//!
//! A region with replicas may fail without any question failing: replicas answer them. It is then probed while the circuit is closed
//! ([`Breaker::overtaken`]), and a probe that fails opens it.
//!
//! The published crates let the next caller be the probe. Here the gateway probes by itself, so that no operator waits for
//! a region that is still frozen; and time comes from the caller.

use std::time::Duration;

/// Failures in a row that open the circuit: one can be a lost packet, three are not.
const FAILURES_TO_OPEN: u32 = 3;
/// Questions in a row for which a replica was quicker, after which the region is probed: in a region that is well one question in
/// twenty is, so that three in a row are one chance in eight thousand.
const OVERTAKEN_TO_PROBE: u32 = 3;
/// Wait before the first probe; doubled after each that fails.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Longest wait between probes: a region that came back is noticed within this time.
const MAX_WAIT: Duration = Duration::from_secs(15);

/// Why a region is not asked now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The failure that opened the circuit.
    pub(crate) reason: String,
    /// Time to the next probe.
    pub(crate) retry_in: Duration,
}

/// What a result changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing.
    None,
    /// The circuit opened.
    Opened,
    /// The circuit closed.
    Closed,
}

#[derive(Debug)]
enum State {
    Closed { failures: u32, overtaken: u32 },
    Open { wait: Duration, probe_at: Duration, reason: String },
}

/// The state of one region's circuit. All times are [`vigil_base::Clock::monotonic`].
#[derive(Debug)]
pub(crate) struct Breaker {
    state: State,
}

impl Breaker {
    /// A closed circuit.
    pub(crate) fn new() -> Self {
        Self { state: State::Closed { failures: 0, overtaken: 0 } }
    }

    /// Whether a question may be sent.
    pub(crate) fn admit(&self, now: Duration) -> Result<(), Refusal> {
        match &self.state {
            State::Closed { .. } => Ok(()),
            State::Open { probe_at, reason, .. } => {
                Err(Refusal { reason: reason.clone(), retry_in: probe_at.saturating_sub(now) })
            }
        }
    }

    /// The region answered.
    pub(crate) fn succeeded(&mut self) -> Change {
        let was_open = matches!(self.state, State::Open { .. });
        self.state = State::Closed { failures: 0, overtaken: 0 };
        if was_open { Change::Closed } else { Change::None }
    }

    /// A question was not answered because of `reason`.
    pub(crate) fn failed(&mut self, now: Duration, reason: &str) -> Change {
        let State::Closed { failures, .. } = &mut self.state else {
            // A question from before the circuit opened: the probes decide now.
            return Change::None;
        };
        *failures += 1;
        if *failures < FAILURES_TO_OPEN {
            return Change::None;
        }
        self.open(now, reason);
        Change::Opened
    }

    fn open(&mut self, now: Duration, reason: &str) {
        self.state = State::Open { wait: FIRST_WAIT, probe_at: now + FIRST_WAIT, reason: reason.to_owned() };
    }

    /// A replica answered while the region had not yet, and the question was taken back. That is no failure: what the region would
    /// have answered is not known. True when it has happened so often in a row that the region is to be probed.
    pub(crate) fn overtaken(&mut self) -> bool {
        let State::Closed { overtaken, .. } = &mut self.state else { return false };
        *overtaken += 1;
        let is_due = *overtaken >= OVERTAKEN_TO_PROBE;
        if is_due {
            *overtaken = 0;
        }
        is_due
    }

    /// The probe of an overtaken region was not answered because of `why`: after the questions before it, that is enough.
    pub(crate) fn check_failed(&mut self, now: Duration, why: &str) -> Change {
        if matches!(self.state, State::Open { .. }) {
            return Change::None;
        }
        self.open(now, why);
        Change::Opened
    }

    /// Time until the next probe; none while the circuit is closed.
    pub(crate) fn probe_in(&self, now: Duration) -> Option<Duration> {
        match &self.state {
            State::Closed { .. } => None,
            State::Open { probe_at, .. } => Some(probe_at.saturating_sub(now)),
        }
    }

    /// A probe was not answered because of `why`.
    pub(crate) fn probe_failed(&mut self, now: Duration, why: &str) {
        if let State::Open { wait, probe_at, reason } = &mut self.state {
            *wait = (*wait * 2).min(MAX_WAIT);
            *probe_at = now + *wait;
            why.clone_into(reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn opened() -> Breaker {
        let mut breaker = Breaker::new();
        assert_eq!(breaker.failed(Duration::ZERO, "refused"), Change::None);
        assert_eq!(breaker.failed(Duration::ZERO, "refused"), Change::None);
        assert_eq!(breaker.failed(Duration::ZERO, "refused"), Change::Opened);
        breaker
    }

    #[test]
    fn failures_in_a_row_open_the_circuit_and_say_why() {
        let refusal = opened().admit(Duration::from_millis(200)).unwrap_err();
        assert_eq!(refusal, Refusal { reason: "refused".into(), retry_in: Duration::from_millis(300) });
    }

    #[test]
    fn an_answer_in_between_starts_the_count_again() {
        let mut breaker = Breaker::new();
        for _ in 0..10 {
            breaker.failed(Duration::ZERO, "slow");
            breaker.failed(Duration::ZERO, "slow");
            assert_eq!(breaker.succeeded(), Change::None);
        }
        assert!(breaker.admit(Duration::ZERO).is_ok());
    }

    #[test]
    fn a_late_answer_closes_the_circuit() {
        let mut breaker = opened();
        assert_eq!(breaker.succeeded(), Change::Closed);
        assert!(breaker.admit(Duration::ZERO).is_ok());
        assert_eq!(breaker.probe_in(Duration::ZERO), None);
    }

    #[test]
    fn being_overtaken_closes_nothing_and_asks_for_a_probe_now_and_then() {
        let mut breaker = Breaker::new();
        let due: Vec<bool> = (0..6).map(|_| breaker.overtaken()).collect();
        assert_eq!(due, [false, false, true, false, false, true]);
        assert!(breaker.admit(Duration::ZERO).is_ok());
        breaker.overtaken();
        breaker.overtaken();
        breaker.succeeded();
        assert!(!breaker.overtaken(), "it has answered in between");
        assert_eq!(breaker.check_failed(Duration::ZERO, "silent"), Change::Opened);
        assert_eq!(breaker.check_failed(Duration::ZERO, "silent"), Change::None);
        assert!(breaker.admit(Duration::ZERO).is_err() && !breaker.overtaken());
    }

    proptest! {
        #[test]
        fn waits_between_probes_grow_to_a_bound(probes in 1usize..40) {
            let mut breaker = opened();
            let mut now = Duration::ZERO;
            let mut last = Duration::ZERO;
            for _ in 0..probes {
                let wait = breaker.probe_in(now).unwrap();
                prop_assert!(wait >= last && wait <= MAX_WAIT);
                (now, last) = (now + wait, wait);
                breaker.probe_failed(now, "still refused");
                prop_assert!(breaker.admit(now).is_err());
            }
        }
    }
}
