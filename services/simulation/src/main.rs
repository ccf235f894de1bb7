//! Runs storms: one seed here, or many, each in a process of its own.

use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use clap::{Parser, Subcommand};
use vigil_simulation::{Outcome, simulate};

/// Storms over edges, regions and gateways. Exit status 1: a promise was broken.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// One storm.
    Seed {
        /// Which.
        seed: u64,
        /// Tells all that happens, on standard error; with `RUST_LOG`, what the processes log, too.
        #[arg(long)]
        trace: bool,
    },
    /// Many, as many at a time as there are processors.
    Seeds {
        /// The first of them.
        #[arg(long, default_value_t = 1)]
        first: u64,
        /// How many.
        #[arg(long, default_value_t = 100)]
        count: u64,
    },
}

fn main() -> ExitCode {
    let went_well = match Arguments::parse().what {
        What::Seed { seed, trace } => one(seed, trace),
        What::Seeds { first, count } => many(first, count),
    };
    if went_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(seed: u64, trace: bool) -> bool {
    if std::env::var_os("RUST_LOG").is_some() {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt().with_env_filter(filter).without_time().with_writer(std::io::stderr).init();
    }
    let outcome = simulate(seed, trace);
    tell(seed, &outcome);
    outcome.problems.is_empty()
}

#[allow(clippy::print_stdout)] // What the program is run for.
fn tell(seed: u64, outcome: &Outcome) {
    let counts: Vec<_> = outcome.counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    println!("seed {seed}: trace {}: {}", outcome.trace, counts.join(", "));
    for problem in &outcome.problems {
        println!("seed {seed} FAILED: {problem}");
    }
}

/// A process each: what a library draws per process is then a seed's own.
fn many(first: u64, count: u64) -> bool {
    let (next, all_well) = (AtomicU64::new(first), AtomicBool::new(true));
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first.saturating_add(count) {
                return;
            }
            if !in_a_process(seed) {
                all_well.store(false, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    all_well.into_inner()
}

#[allow(clippy::print_stdout)] // What the program is run for.
fn in_a_process(seed: u64) -> bool {
    let program = std::env::current_exe().expect("a running program has a file");
    let output = Command::new(program).arg("seed").arg(seed.to_string()).output();
    let output = output.expect("a program that runs can be run once more");
    print!("{}", String::from_utf8_lossy(&output.stdout));
    if !output.status.success() {
        println!("{}seed {seed} FAILED ({})", String::from_utf8_lossy(&output.stderr), output.status);
    }
    output.status.success()
}
