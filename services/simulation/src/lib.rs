//! Delivery and federation under a seeded storm.
//!
//! Edges' outboxes and shippers, regions with their indexes, gateways, and the wire between them: all of it is the product's own
//! code, over its own files. Only what is under it is simulated: the network ([`turmoil`]), time, the moments at which processes
//! die, and chance. One number, the seed, decides them all.
//!
//! - `plan`: what a seed means: hosts, and what happens to them.
//! - `storm`: one run of it, from the first event to the count.
//! - `cast`: who takes part.
//! - `edge`, `region`, `gateway`: the product's processes, with what outlives them.
//! - `subscriber`, `operator`: those who ask, and who check what they are told.
//! - `truth`: what really happened, and the trace of it.
//! - `network`, `clock`, `disk`, `index`, `entropy`: what the processes have around them.
//!
//! # What is checked
//! Throughout: each answer has one report a region; no search ends while a region is missing, lacks what was there when it began,
//! or gives an event twice; no region claims to be complete until a time before which it lacks something; no stream goes back in a
//! region's order of commits, but after a gap that says so; nothing is given that was never made, or that was not asked for.
//! At the end, once all is well: everything arrives within a bounded time, is found once and at its newest revision, through a
//! gateway and in its region, and each subscriber was given the newest revision of every event it wanted.
//!
//! # What is deterministic
//! One seed gives one trace, line for line, on one build and one machine: time stands still while storage works
//! ([`vigil_serve::Threads::InPlace`]), and all randomness, that of the standard library and of tokio's `select!` too, is drawn from
//! the seed (`entropy`). A run has a process of its own, since some of it counts per process. Not decided by the seed: the content
//! of SQLite's files beyond what is read from them, and how long anything takes in real time, by which HTTP/2 forgets streams that
//! were reset half a minute ago. Another build of the code, or of a library, may turn a seed into another storm.
//!
//! # What it does not show
//! The disk keeps what was written: loss of power is the business of SQLite and of the outbox's own tests. TLS is left out, and so
//! are the cameras; frozen processes, full disks and real cables are in the tests of the crates.

mod cast;
mod client;
mod clock;
mod disk;
mod edge;
mod entropy;
mod gateway;
mod index;
mod network;
mod operator;
mod plan;
mod region;
mod storm;
mod subscriber;
mod truth;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::plan::Plan;
use crate::storm::Storm;
use crate::truth::Truth;

/// Name of the thread that simulates.
const THREAD: &str = "simulation";

/// What became of a seed.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Promises that were broken; none when all is well.
    pub problems: Vec<String>,
    /// How often each kind of thing happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// Hash of all that happened, in its order.
    pub trace: String,
}

/// Runs one seed to its end, in a thread of its own; with `echo`, all that happens is told on standard error. Once in a process:
/// chance is drawn from the seed from then on, for the whole process.
///
/// # Panics
/// The thread cannot be started.
pub fn simulate(seed: u64, echo: bool) -> Outcome {
    static PANICKED: AtomicBool = AtomicBool::new(false);
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICKED.store(true, Ordering::Relaxed);
        default(info);
    }));
    let truth = Arc::new(Truth::new(echo));
    let (watched, thread) = (truth.clone(), std::thread::Builder::new().name(THREAD.to_owned()));
    let work = move || {
        entropy::begin(seed);
        Storm::gather(seed, Plan::draw(seed), &truth)?.run()
    };
    let ended = thread.spawn(work).expect("a process may start a thread").join();
    let mut problems = watched.problems();
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => problems.push(format!("{error:#}")),
        Err(_) => problems.push("the simulation panicked".to_owned()),
    }
    // A task of the product's own that panics ends alone; nobody else may notice.
    if PANICKED.load(Ordering::Relaxed) {
        problems.push("a task or thread panicked: see standard error".to_owned());
    }
    let (counts, trace) = watched.summary();
    Outcome { problems, counts, trace }
}
