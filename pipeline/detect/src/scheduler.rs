//! One model for many cameras: few sessions, and a fair turn for each camera.
//!
//! There are no threads here. A camera's own thread takes a free session and runs its frame; where none is free, it waits
//! for its turn. Whose turn it is goes by when each camera is due (its last turn plus its period: earliest due date first),
//! and a camera that fell below the minimum rate goes before all that did not: so no camera starves, however many others
//! ask more often. Among the others, one that follows something goes before one that does not. On a GPU, whoever gets the session takes the waiting frames of others along in one batch.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};
use parking_lot::{Condvar, Mutex, MutexGuard};
use vigil_base::detection::ModelIdentity;
use vigil_base::{CameraId, Detections, Frame, SharedClock};

use crate::session::{Engine, Look};
use crate::{DetectError, Detector, Model, Provider, Regions};

/// Longest wait for a session. A hundred cameras on one core wait two seconds for their turn; ten mean that a session hangs
/// or that the machine is hopelessly overloaded.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Slowest rate a camera may ask for, a second; keeps periods finite.
const SLOWEST_RATE: f64 = 1e-3;

/// How sessions are shared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SchedulerConfig {
    /// Sessions that run at a time, each on the thread that waits for it; 0 means one per processor that this
    /// process may use.
    pub workers: usize,
    /// Analyses a second that every camera gets before any other gets more.
    pub minimum_rate: f64,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self { workers: 0, minimum_rate: 1.0 }
    }
}

impl SchedulerConfig {
    /// How many sessions there will be. The processors that this process may use are those of its affinity mask, or fewer
    /// where its control group (of version 1 or 2) has a smaller share of their time.
    pub fn sessions(&self) -> usize {
        if self.workers > 0 { self.workers } else { std::thread::available_parallelism().map_or(1, usize::from) }
    }
}

/// Shares a model's sessions among cameras. Cloning shares the same sessions; lanes outlive it.
#[derive(Clone)]
pub struct Scheduler {
    shared: Arc<Shared>,
    provider: Provider,
}

type MakeEngine = Box<dyn Fn() -> Result<Box<dyn Engine>, DetectError> + Send + Sync>;

struct Shared {
    model: Arc<ModelIdentity>,
    minimum_period: Duration,
    make: MakeEngine,
    clock: SharedClock,
    state: Mutex<State>,
    seconds: Histogram,
    errors: Counter,
}

#[derive(Default)]
struct State {
    /// Free sessions. One that broke is `None`, and is made anew by whoever takes it.
    free: Vec<Option<Box<dyn Engine>>>,
    waiting: Vec<Ticket>,
    /// Answers for lanes whose frame was taken along by another.
    answers: HashMap<u64, Result<Detections, DetectError>>,
    next_ticket: u64,
}

/// A frame that waits for a session.
struct Ticket {
    id: u64,
    look: Look,
    /// Below its minimum rate from this moment on (monotonic).
    starving_from: Duration,
    /// Its turn (monotonic).
    due: Duration,
    /// Its camera follows something.
    preferred: bool,
    wake: Arc<Condvar>,
}

impl Scheduler {
    /// Opens as many sessions of `model` as `config` asks for.
    pub fn start(model: Model, config: SchedulerConfig, clock: SharedClock) -> Result<Self, DetectError> {
        let (identity, provider) = (model.identity().clone(), model.provider().active);
        let make: MakeEngine = Box::new(move || Ok(Box::new(model.engine()?)));
        Self::with_engines(make, identity, provider, config, clock)
    }

    fn with_engines(
        make: MakeEngine,
        model: Arc<ModelIdentity>,
        provider: Provider,
        config: SchedulerConfig,
        clock: SharedClock,
    ) -> Result<Self, DetectError> {
        let free = (0..config.sessions()).map(|_| make().map(Some)).collect::<Result<_, _>>()?;
        let shared = Shared {
            minimum_period: period(config.minimum_rate),
            make,
            clock,
            state: Mutex::new(State { free, ..State::default() }),
            seconds: histogram!("vigil_inference_seconds", "model" => model.name.clone()),
            errors: counter!("vigil_inference_errors_total", "model" => model.name.clone()),
            model,
        };
        Ok(Self { shared: Arc::new(shared), provider })
    }

    /// The model that is shared.
    pub fn model(&self) -> &Arc<ModelIdentity> {
        &self.shared.model
    }

    /// What the model really runs on.
    pub fn active_provider(&self) -> Provider {
        self.provider
    }

    /// A place for one camera that analyses `rate` frames a second.
    pub fn camera(&self, camera: &CameraId, rate: f64) -> CameraLane {
        let label = camera.to_string();
        CameraLane {
            shared: self.shared.clone(),
            period: period(rate),
            last_turn: None,
            preferred: false,
            wake: Arc::default(),
            frames: counter!("vigil_inference_frames_total", "camera" => label.clone()),
            wait_seconds: histogram!("vigil_inference_wait_seconds", "camera" => label),
        }
    }
}

fn period(rate: f64) -> Duration {
    Duration::from_secs_f64(1.0 / rate.max(SLOWEST_RATE))
}

/// One camera's access to the shared sessions.
pub struct CameraLane {
    shared: Arc<Shared>,
    period: Duration,
    last_turn: Option<Duration>,
    preferred: bool,
    wake: Arc<Condvar>,
    frames: Counter,
    wait_seconds: Histogram,
}

impl Detector for CameraLane {
    fn prefer(&mut self, preferred: bool) {
        self.preferred = preferred;
    }

    fn model(&self) -> Arc<ModelIdentity> {
        self.shared.model.clone()
    }

    fn detect(&mut self, frame: &Frame) -> Result<Detections, DetectError> {
        self.detect_within(frame, &Regions::WHOLE)
    }

    fn detect_within(&mut self, frame: &Frame, regions: &Regions) -> Result<Detections, DetectError> {
        let asked = self.shared.clock.monotonic();
        let last = self.last_turn.unwrap_or(Duration::ZERO);
        let mut state = self.shared.state.lock();
        let id = state.next_ticket;
        state.next_ticket += 1;
        state.waiting.push(Ticket {
            id,
            look: Look { frame: frame.clone(), regions: *regions },
            starving_from: last + self.shared.minimum_period.max(self.period),
            due: last + self.period,
            preferred: self.preferred,
            wake: self.wake.clone(),
        });
        let answer = self.shared.serve(state, id, &self.wake, asked);
        let now = self.shared.clock.monotonic();
        self.last_turn = Some(now);
        self.wait_seconds.record(now.saturating_sub(asked).as_secs_f64());
        self.frames.increment(1);
        answer
    }
}

impl Shared {
    /// Waits for ticket `id` to be answered, running it here when a session is free and it is its turn.
    fn serve(
        &self,
        mut state: MutexGuard<'_, State>,
        id: u64,
        wake: &Condvar,
        asked: Duration,
    ) -> Result<Detections, DetectError> {
        loop {
            if let Some(answer) = state.answers.remove(&id) {
                return answer;
            }
            let now = self.clock.monotonic();
            if !state.free.is_empty() && state.first(now) == Some(id) {
                return self.run(state, id, now);
            }
            // The wait itself is real time: a simulated clock must not make it endless.
            let timed_out = wake.wait_for(&mut state, LONGEST_WAIT).timed_out();
            // A frame that was taken along is being answered.
            if timed_out && let Some(place) = state.waiting.iter().position(|ticket| ticket.id == id) {
                state.waiting.swap_remove(place);
                self.errors.increment(1);
                let waited = now.saturating_sub(asked).max(LONGEST_WAIT);
                return Err(DetectError::Overloaded { model: self.model.name.clone(), waited });
            }
        }
    }

    /// Takes a free session, and with ticket `id` the next ones as far as a batch goes; runs them, and answers all.
    fn run(&self, mut state: MutexGuard<'_, State>, id: u64, now: Duration) -> Result<Detections, DetectError> {
        let mut engine = state.free.pop().flatten();
        let limit = engine.as_ref().map_or(1, |engine| engine.batch_limit());
        let batch = state.take(limit, now);
        // More sessions may be free, and somebody else be first now.
        state.wake_first(now);
        drop(state);
        let looks: Vec<Look> = batch.iter().map(|ticket| ticket.look.clone()).collect();
        let answers = self.run_batch(&mut engine, &looks);
        self.seconds.record(self.clock.monotonic().saturating_sub(now).as_secs_f64());

        let mut state = self.state.lock();
        state.free.push(engine);
        let mut own = None;
        for (ticket, answer) in batch.into_iter().zip(answers) {
            if ticket.id == id {
                own = Some(answer);
            } else {
                state.answers.insert(ticket.id, answer);
                ticket.wake.notify_one();
            }
        }
        state.wake_first(self.clock.monotonic());
        own.expect("the batch holds the ticket it was taken for, and has an answer for each")
    }

    /// One answer per frame, whatever happens. A session that panicked or failed is thrown away.
    fn run_batch(&self, engine: &mut Option<Box<dyn Engine>>, looks: &[Look]) -> Vec<Result<Detections, DetectError>> {
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            if engine.is_none() {
                *engine = Some((self.make)()?);
            }
            engine.as_mut().expect("made just above").detect(looks)
        }));
        let failure = match attempt {
            Ok(Ok(found)) => return found.into_iter().map(Ok).collect(),
            // One frame is to blame, not the session; the others of the batch get their answers.
            Ok(Err(failure)) if failure.blames_picture() && looks.len() > 1 => {
                return looks.iter().flat_map(|look| self.run_batch(engine, std::slice::from_ref(look))).collect();
            }
            Ok(Err(failure)) if failure.blames_picture() => failure,
            Ok(Err(failure)) => {
                *engine = None;
                failure
            }
            Err(_) => {
                *engine = None;
                DetectError::Panicked { model: self.model.name.clone() }
            }
        };
        self.errors.increment(1);
        looks.iter().map(|_| Err(failure.clone())).collect()
    }
}

impl Ticket {
    /// Smaller goes first: who starves, then who follows something, then by due date, then by arrival.
    fn rank(&self, now: Duration) -> (bool, bool, Duration, u64) {
        let starves = now >= self.starving_from;
        // Among those that starve, only the due date counts: the minimum is everybody's.
        (!starves, !starves && !self.preferred, self.due, self.id)
    }
}

impl State {
    fn first(&self, now: Duration) -> Option<u64> {
        self.waiting.iter().min_by_key(|ticket| ticket.rank(now)).map(|ticket| ticket.id)
    }

    /// The first `limit` tickets in order of rank; at least one.
    fn take(&mut self, limit: usize, now: Duration) -> Vec<Ticket> {
        self.waiting.sort_by_key(|ticket| ticket.rank(now));
        let taken = self.waiting.len().min(limit.max(1));
        self.waiting.drain(..taken).collect()
    }

    fn wake_first(&self, now: Duration) {
        if self.free.is_empty() {
            return;
        }
        if let Some(first) = self.waiting.iter().min_by_key(|ticket| ticket.rank(now)) {
            first.wake.notify_one();
        }
    }
}

#[cfg(test)]
#[path = "scheduler_tests.rs"]
mod tests;
