//! How much one requester may ask: a program that asks in a loop must not slow everybody else down.
//!
//! A bucket of questions for each, filled at a steady rate (the generic cell rate algorithm, ITU-T I.371, in `governor`), and a
//! count of questions and live streams that are open. Who finds no room is told when to come back, and nothing else is done for
//! it: no work, no line in the audit log. Requesters of whom nothing is proved are counted only where people sign in.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock as _;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use http::Extensions;
use metrics::{Counter, counter};
use parking_lot::Mutex;
use vigil_base::SharedClock;
use vigil_trust::PeerInfo;

use super::SubjectLimits;
use crate::requester::ANONYMOUS;
use crate::{ErrorCode, ServiceError};

/// Seconds' worth of questions that may come at once: a page of results and its pictures.
const BURST_SECONDS: u32 = 2;
/// Requesters that are remembered: when there are more, those whose buckets are full again are forgotten. Some 2 MB.
const MAX_REMEMBERED: usize = 10_000;
/// When a requester that has too many questions or streams open may ask again.
const RETRY_OPEN: Duration = Duration::from_secs(1);

/// Time for the limiter, from the process's own clock.
#[derive(Clone)]
struct Monotonic(SharedClock);

impl governor::clock::Clock for Monotonic {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.monotonic().into()
    }
}

type Buckets = RateLimiter<String, HashMapStateStore<String>, Monotonic, NoOpMiddleware<Nanos>>;

/// What is open of one requester.
#[derive(Debug, Default, Clone, Copy)]
struct Open {
    questions: usize,
    streams: usize,
}

/// Counts what requesters ask.
pub(super) struct Limiter {
    limits: SubjectLimits,
    buckets: Buckets,
    clock: Monotonic,
    /// Only those who have something open: as many as calls are open at most.
    open: Mutex<HashMap<String, Open>>,
    refused: [Counter; 2],
}

impl Limiter {
    pub(super) fn new(limits: SubjectLimits, clock: SharedClock) -> Self {
        let clock = Monotonic(clock);
        let rate = NonZeroU32::new(limits.questions_per_second).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(rate).allow_burst(rate.saturating_mul(BURST));
        let buckets = RateLimiter::new(quota, HashMapStateStore::default(), clock.clone());
        let refused = |why: &'static str| counter!("vigil_questions_refused_total", "why" => why);
        let refused = [refused("rate"), refused("open")];
        Self { limits, buckets, clock, open: Mutex::default(), refused }
    }

    /// A place for one more question or live stream of `who`, until it is dropped.
    pub(super) fn admit(self: &Arc<Self>, who: String, is_stream: bool) -> Result<Place, ServiceError> {
        if self.buckets.len() > MAX_REMEMBERED {
            self.buckets.retain_recent();
        }
        if let Err(until) = self.buckets.check_key(&who) {
            self.refused[0].increment(1);
            let rate = self.limits.questions_per_second;
            let message = format!("{who} asks more often than the {rate} times a second that one requester may");
            return Err(full(message, until.wait_time_from(self.clock.now())));
        }
        let mut open = self.open.lock();
        let mine = open.entry(who.clone()).or_default();
        let (count, most, what) = if is_stream {
            (&mut mine.streams, self.limits.streams, "live streams")
        } else {
            (&mut mine.questions, self.limits.concurrent_questions, "questions")
        };
        if *count >= most {
            self.refused[1].increment(1);
            let message = format!("{who} has {most} {what} open, the most that one requester may");
            return Err(full(message, RETRY_OPEN));
        }
        *count += 1;
        Ok(Place { limiter: Arc::clone(self), who, is_stream })
    }
}

const BURST: NonZeroU32 = NonZeroU32::new(BURST_SECONDS).expect("above zero");

fn full(message: String, retry_after: Duration) -> ServiceError {
    ServiceError { retry_after: Some(retry_after), ..ServiceError::new(ErrorCode::LimitReached, message) }
}

/// One open question or stream; given back when dropped.
pub(super) struct Place {
    limiter: Arc<Limiter>,
    who: String,
    is_stream: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.limiter.open.lock();
        let Some(mine) = open.get_mut(&self.who) else { return };
        if self.is_stream {
            mine.streams -= 1;
        } else {
            mine.questions -= 1;
        }
        if mine.questions == 0 && mine.streams == 0 {
            open.remove(&self.who);
        }
    }
}

/// Where somebody is of whom nothing else is known.
pub(super) fn address(extensions: &Extensions) -> String {
    let address = extensions.get::<PeerInfo>().and_then(|info| info.address);
    address.map_or_else(|| ANONYMOUS.to_owned(), |address| address.ip().to_string())
}

#[cfg(test)]
mod tests {
    use vigil_base::{SimClock, Timestamp};

    use super::*;

    fn limiter(limits: SubjectLimits) -> (Arc<Limiter>, Arc<SimClock>) {
        let clock = SimClock::new(Timestamp::MIN);
        (Arc::new(Limiter::new(limits, clock.clone())), clock)
    }

    #[test]
    fn each_has_a_rate_of_its_own_and_is_told_when_to_come_back() {
        let limits = SubjectLimits { questions_per_second: 10, ..SubjectLimits::of_gateway() };
        let (limiter, clock) = limiter(limits);
        for _ in 0..20 {
            limiter.admit("alice".to_owned(), false).expect("a burst of two seconds");
        }
        let refused = limiter.admit("alice".to_owned(), false).err().unwrap();
        assert_eq!(refused.code, ErrorCode::LimitReached);
        let wait = refused.retry_after.unwrap();
        assert!(wait <= Duration::from_millis(100), "{wait:?}");
        limiter.admit("bob".to_owned(), false).expect("bob asked nothing yet");
        clock.advance(wait);
        limiter.admit("alice".to_owned(), false).expect("it came back when it was told to");
    }

    #[test]
    fn what_is_open_is_bounded_and_given_back() {
        let limits = SubjectLimits { questions_per_second: 1_000, concurrent_questions: 2, streams: 1 };
        let (limiter, _) = limiter(limits);
        let stream = limiter.admit("alice".to_owned(), true).unwrap();
        assert!(limiter.admit("alice".to_owned(), true).is_err());
        let questions = [limiter.admit("alice".to_owned(), false), limiter.admit("alice".to_owned(), false)];
        assert!(questions.iter().all(Result::is_ok) && limiter.admit("alice".to_owned(), false).is_err());
        drop((stream, questions));
        assert!(limiter.open.lock().is_empty(), "who has nothing open is not remembered");
        limiter.admit("alice".to_owned(), true).unwrap();
    }

    #[test]
    fn however_many_ask_only_so_many_are_remembered() {
        let (limiter, clock) = limiter(SubjectLimits::of_gateway());
        for number in 0..MAX_REMEMBERED * 3 {
            drop(limiter.admit(format!("asker-{number}"), false));
            clock.advance(Duration::from_millis(1));
        }
        assert!(limiter.buckets.len() <= MAX_REMEMBERED + 1, "{}", limiter.buckets.len());
    }
}
