//! A fixed set of storms. `VIGIL_SIM_SEED=n` runs that one instead, and tells all that happens; `scripts/fuzz simulation` runs more.

use std::process::{Command, Output};

/// Storms of each test run: what two cores do in about a minute.
const SEEDS: u64 = 32;
/// What happens in some of them: batches sent twice, streams set back, commits without room, pages that lack a region, and so on.
const WEATHER: [&str; 8] = ["duplicate", "gap", "full", "down", "claim", "searched", "refused", "parted"];
/// One of them with all kinds of faults in it.
const REPEATED: &str = "3";

fn simulation(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vigil-simulation")).args(arguments).output().expect("the program starts")
}

/// The line that tells of the trace.
fn trace(output: &Output) -> String {
    let told = String::from_utf8_lossy(&output.stdout);
    told.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn after_each_storm_every_event_is_found_once_and_no_answer_claimed_more_than_it_had() {
    let seed = std::env::var("VIGIL_SIM_SEED");
    let output = match &seed {
        Ok(seed) => simulation(&["seed", seed, "--trace"]),
        Err(_) => simulation(&["seeds", "--count", &SEEDS.to_string()]),
    };
    let told = String::from_utf8_lossy(&output.stdout);
    let failed: Vec<_> = told.lines().filter(|line| line.contains("FAILED")).collect();
    let log = if seed.is_ok() { String::from_utf8_lossy(&output.stderr) } else { told.clone() };
    assert!(output.status.success(), "{log}\nVIGIL_SIM_SEED=n runs one seed again:\n{}", failed.join("\n"));
    assert_eq!(failed, Vec::<&str>::new());
    // What the checks look at happened.
    for kind in WEATHER.iter().filter(|_| seed.is_err()) {
        assert!(told.contains(&format!(" {kind} ")), "no storm had {kind:?}");
    }
}

#[test]
fn one_seed_is_one_storm_line_for_line() {
    let (first, second) = (simulation(&["seed", REPEATED]), simulation(&["seed", REPEATED]));
    assert!(first.status.success(), "{}", trace(&first));
    assert_eq!(trace(&first), trace(&second));
    assert_ne!(trace(&first), trace(&simulation(&["seed", "4"])));
}
