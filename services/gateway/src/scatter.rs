//! One question to many regions at once: a part per region, in whichever order they come.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use vigil_base::SharedClock;
use vigil_proto::v1;

use crate::link::RegionLink;
use crate::report::{Failure, Freshness, report};

/// What one region gave.
pub(crate) struct Part<T> {
    /// The region.
    pub(crate) link: Arc<RegionLink>,
    /// Its answer, or why there is none.
    pub(crate) result: Result<T, Failure>,
    /// From sending the question to having the answer, or giving up.
    pub(crate) elapsed: Duration,
}

impl<T> Part<T> {
    /// The report on this part.
    pub(crate) fn report(&self, fresh: impl FnOnce(&T) -> Freshness) -> v1::RegionReport {
        report(self.link.id(), self.result.as_ref().map(fresh), self.elapsed)
    }
}

/// Questions under way. Dropping it gives up those that are.
pub(crate) struct Scatter<T> {
    tasks: JoinSet<(usize, Part<T>)>,
    waiting: usize,
}

impl<T: Send + 'static> Scatter<T> {
    /// Asks each of `links` (`ask` is given its position and the link), each in a task of its own, so that answers are
    /// decoded on all cores.
    pub(crate) fn new<A, F>(clock: &SharedClock, links: &[Arc<RegionLink>], ask: A) -> Self
    where
        A: Fn(usize, Arc<RegionLink>) -> F,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        for (i, link) in links.iter().enumerate() {
            let (clock, link, asking) = (clock.clone(), link.clone(), ask(i, link.clone()));
            tasks.spawn(async move {
                let start = clock.monotonic();
                let result = asking.await;
                (i, Part { link, result, elapsed: clock.monotonic().saturating_sub(start) })
            });
        }
        Self { tasks, waiting: links.len() }
    }

    /// The next part that is there, with the region's position in the list.
    pub(crate) async fn next(&mut self) -> Option<(usize, Part<T>)> {
        match self.tasks.join_next().await? {
            Ok(part) => Some(part),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => unreachable!("nobody else holds the tasks: {error}"),
            },
        }
    }

    /// All parts, in the order of the list.
    pub(crate) async fn all(mut self) -> Vec<Part<T>> {
        let mut parts: Vec<Option<Part<T>>> = std::iter::repeat_with(|| None).take(self.waiting).collect();
        while let Some((i, part)) = self.next().await {
            parts[i] = Some(part);
        }
        parts.into_iter().flatten().collect()
    }
}
