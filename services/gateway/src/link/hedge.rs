//! A region's replicas, and when they are asked: instead of a region that does not answer, or beside one that is slow.
//!
//! ```text
//! asked: the region --- answers, or refuses this question -----------------------------> its answer
//!           |  \--- circuit open, connection refused, unavailable -> the replica at once -> the replica's answer
//!           |
//!           \- silent for the wait, budget left -> the replica too -> the first good answer; the other call is dropped
//! ```
//! Only questions come here, whose answer changes nothing. A replica that fails, or refuses, is no answer: the region's own is
//! waited for, and where both fail, the region's failure is told. What a dropped call would have brought is not known, so it
//! neither opens nor closes a circuit; a region that replicas overtake again and again is probed
//! ([`super::breaker::Breaker::overtaken`]).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use metrics::Counter;
use parking_lot::Mutex;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use vigil_base::RegionId;

use super::RegionLink;
use super::pace::Pace;
use crate::deadline::Question;
use crate::report::Failure;

/// What became of a second question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The replica answered first.
    Won,
    /// The region answered first.
    Lost,
    /// The replica did not answer either.
    Failed,
    /// The region could not be asked, and the replica answered instead.
    Instead,
    /// It was due, and the budget was spent.
    OverBudget,
}

const OUTCOMES: [(Outcome, &str); 5] = [
    (Outcome::Won, "won"),
    (Outcome::Lost, "lost"),
    (Outcome::Failed, "failed"),
    (Outcome::Instead, "instead"),
    (Outcome::OverBudget, "over_budget"),
];

/// The replicas of one region, in the order in which they are asked.
pub(super) struct Hedge {
    replicas: Vec<Arc<RegionLink>>,
    pace: Mutex<Pace>,
    counters: [Counter; OUTCOMES.len()],
}

impl Hedge {
    /// None where there are no replicas.
    pub(super) fn over(region: &RegionId, replicas: Vec<Arc<RegionLink>>) -> Option<Self> {
        let counters = OUTCOMES.map(|(_, outcome)| {
            metrics::counter!("vigil_gateway_hedged_total", "region" => region.to_string(), "outcome" => outcome)
        });
        (!replicas.is_empty()).then(|| Self { replicas, pace: Mutex::new(Pace::new()), counters })
    }

    /// The links to the replicas.
    pub(super) fn replicas(&self) -> &[Arc<RegionLink>] {
        &self.replicas
    }

    fn count(&self, outcome: Outcome) {
        for ((known, _), counter) in OUTCOMES.iter().zip(&self.counters) {
            if *known == outcome {
                counter.increment(1);
            }
        }
    }

    /// Asks `region`, and a replica where that is needed. Comes back within the question's remaining time.
    pub(super) async fn read<M, R, F, T>(
        &self,
        region: &RegionLink,
        question: &Question,
        message: M,
        send: impl Fn(Channel, Request<M>) -> F,
        accept: impl Fn(R) -> Result<T, Failure>,
    ) -> Result<T, Failure>
    where
        M: Clone,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let asked_at = region.clock.monotonic();
        let elapsed = || region.clock.monotonic().saturating_sub(asked_at);
        let wait = {
            let mut pace = self.pace.lock();
            pace.asked();
            pace.wait(question.remaining(asked_at))
        };
        let mut first = std::pin::pin!(region.ask(question, message.clone(), &send, &accept));
        let from_replicas = self.ask_replicas(question, message, &send, &accept);
        let heard = match timeout(wait, first.as_mut()).await {
            Ok(result) => Some(result),
            // The budget is for regions that are well.
            Err(_) if region.is_suspect.load(Ordering::Relaxed) || self.pace.lock().may_hedge() => None,
            Err(_) => {
                self.count(Outcome::OverBudget);
                Some(first.as_mut().await)
            }
        };
        if let Some(result) = heard {
            return self.settle(result, elapsed(), from_replicas).await;
        }
        let mut second = std::pin::pin!(from_replicas);
        tokio::select! {
            // A region that has answered is believed before its replica.
            biased;
            result = first.as_mut() => match result {
                Err(failure) if failure.calls_for_replica() => self.tell(second.await, failure, Outcome::Won),
                result => {
                    self.pace.lock().took(elapsed());
                    self.count(Outcome::Lost);
                    result
                }
            },
            result = second.as_mut() => if let Ok(answer) = result {
                self.pace.lock().took(elapsed());
                self.count(Outcome::Won);
                region.overtaken();
                Ok(answer)
            } else {
                self.count(Outcome::Failed);
                first.await
            },
        }
    }

    /// The region's own answer, or the replicas' where there is none.
    async fn settle<T>(
        &self,
        result: Result<T, Failure>,
        took: Duration,
        from_replicas: impl Future<Output = Result<T, ()>>,
    ) -> Result<T, Failure> {
        match result {
            Err(failure) if failure.calls_for_replica() => {
                if matches!(failure, Failure::TimedOut(_)) {
                    self.pace.lock().took(took);
                }
                self.tell(from_replicas.await, failure, Outcome::Instead)
            }
            result => {
                self.pace.lock().took(took);
                result
            }
        }
    }

    fn tell<T>(&self, of_replicas: Result<T, ()>, of_region: Failure, good: Outcome) -> Result<T, Failure> {
        self.count(if of_replicas.is_ok() { good } else { Outcome::Failed });
        of_replicas.map_err(|()| of_region)
    }

    /// The first good answer of a replica, asked one after the other.
    async fn ask_replicas<M, R, F, T>(
        &self,
        question: &Question,
        message: M,
        send: impl Fn(Channel, Request<M>) -> F,
        accept: impl Fn(R) -> Result<T, Failure>,
    ) -> Result<T, ()>
    where
        M: Clone,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        for replica in &self.replicas {
            if question.remaining(replica.clock.monotonic()).is_zero() {
                break;
            }
            if let Ok(answer) = replica.ask(question, message.clone(), &send, &accept).await {
                return Ok(answer);
            }
        }
        Err(())
    }
}
