//! What a process has around it: its clock, its network, its threads. A server is given them, so that a simulation can give it
//! others.

use std::fmt;

use tokio::task::unconstrained;
use vigil_base::{SharedClock, SystemClock};
use vigil_trust::Network;

/// Name of the threads that do work while its caller waits.
const IN_PLACE: &str = "in-place";

/// What a process has around it.
#[derive(Clone)]
pub struct Surroundings {
    /// What time it is.
    pub clock: SharedClock,
    /// What connections are made and taken over.
    pub network: Network,
    /// Which threads do what blocks.
    pub threads: Threads,
}

impl Surroundings {
    /// The machine's own.
    pub fn system() -> Self {
        Self::by(SystemClock::shared())
    }

    /// The machine's own, but for the clock.
    pub fn by(clock: SharedClock) -> Self {
        Self { clock, network: Network::System, threads: Threads::Aside }
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, threads, .. } = self;
        f.debug_struct("Surroundings").field("network", network).field("threads", threads).finish_non_exhaustive()
    }
}

/// Which threads do what blocks: files are read and written, keys are computed with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Threads {
    /// Threads aside; the tasks of the async runtime go on meanwhile.
    #[default]
    Aside,
    /// The runtime's own thread waits until it is done. All happens in one order then, and where time is simulated none passes.
    InPlace,
}

/// Work ended without a result: it panicked, or the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the work was broken off: it panicked, or the process ends")]
pub struct BrokenOff;

impl Threads {
    /// Does work that may block.
    ///
    /// # Errors
    /// [`BrokenOff`].
    pub async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, BrokenOff> {
        match self {
            Self::Aside => tokio::task::spawn_blocking(work).await.map_err(|_| BrokenOff),
            // Not on this thread itself: what waits for an answer by blocking may not do so inside the runtime.
            Self::InPlace => {
                let thread = std::thread::Builder::new().name(IN_PLACE.to_owned()).spawn(work);
                thread.map_err(|_| BrokenOff)?.join().map_err(|_| BrokenOff)
            }
        }
    }

    /// Waits for the answer of a thread that is not of the runtime, such as a database's. Nothing else may be needed for it: in place,
    /// all else stands still.
    pub async fn settle<F: Future>(self, answer: F) -> F::Output {
        match self {
            Self::Aside => answer.await,
            // A task that has had its turn is told to let others go first, for which it waits here in vain.
            Self::InPlace => futures::executor::block_on(unconstrained(answer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::{mpsc, oneshot};
    use tokio::time::Instant;

    use super::*;

    /// A thread answers after a while of real time.
    async fn answer_after(real: Duration) -> u32 {
        let (answer, answered) = oneshot::channel();
        let (never, wait) = std::sync::mpsc::sync_channel::<()>(1);
        std::thread::Builder::new()
            .spawn(move || {
                let _ = wait.recv_timeout(real);
                let _ = answer.send(7);
            })
            .unwrap();
        let answered = answered.await.unwrap();
        drop(never);
        answered
    }

    #[tokio::test(start_paused = true)]
    async fn in_place_no_simulated_time_passes_and_no_other_task_runs_until_the_answer_is_there() {
        let (ran, mut has_run) = mpsc::channel(1);
        tokio::spawn(async move { ran.send(()).await.unwrap() });
        let began = Instant::now();
        assert_eq!(Threads::InPlace.settle(answer_after(Duration::from_millis(20))).await, 7);
        let (answer, answered) = oneshot::channel();
        answer.send(8).unwrap();
        assert_eq!(Threads::InPlace.run(|| answered.blocking_recv()).await, Ok(Ok(8)));
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert!(has_run.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_task_that_has_had_its_turn_is_answered_in_place_all_the_same() {
        let (sender, mut receiver) = mpsc::channel(1);
        for turn in 0..1_000 {
            sender.send(turn).await.unwrap();
            assert_eq!(Threads::InPlace.settle(receiver.recv()).await, Some(turn));
        }
    }

    #[tokio::test]
    async fn work_that_panics_is_broken_off_in_both_ways() {
        for threads in [Threads::Aside, Threads::InPlace] {
            assert_eq!(threads.run(|| panic!("on purpose")).await, Err::<(), _>(BrokenOff));
            assert_eq!(threads.run(|| 3).await, Ok(3));
        }
    }
}
