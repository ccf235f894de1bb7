//! Some thousand damaged inputs for each parser, the same in every run. More, and guided by coverage: `scripts/fuzz`.

#![allow(clippy::unwrap_used)] // The helpers are tests too.

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use vigil_fuzz::{ALL, Mutator, Target};

/// The same damage in every run.
const SEED: u64 = 20_261;

fn kept(target: Target) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(target.corpus());
    let mut files: Vec<_> = entries.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn feed(name: &str) {
    let target = Target::named(name).unwrap();
    for file in kept(target) {
        let input = std::fs::read(&file).unwrap();
        assert!(catch_unwind(|| (target.feed)(&input)).is_ok(), "{} goes wrong again", file.display());
    }
    let seeds = (target.seeds)();
    for seed in &seeds {
        (target.feed)(seed);
    }
    let mut mutator = Mutator::new(seeds, target.is_text, SEED);
    for n in 0..target.in_tests {
        let input = mutator.next_input();
        if catch_unwind(|| (target.feed)(&input)).is_err() {
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{n}"));
            std::fs::write(&path, &input).unwrap();
            panic!(
                "input {n} goes wrong: {}; mend it, and keep the file in {}",
                path.display(),
                target.corpus().display()
            );
        }
    }
}

#[test]
fn damaged_access_units_pass_the_gates_and_the_decoder() {
    feed("packets");
}

#[test]
fn whatever_a_camera_describes_and_sends_is_taken_apart_or_refused() {
    feed("rtsp");
}

#[test]
fn damaged_edge_configurations_are_refused_or_meant() {
    feed("edge_config");
}

#[test]
fn damaged_rules_are_refused_or_meant() {
    feed("rules");
}

#[test]
fn damaged_model_manifests_are_refused_or_meant() {
    feed("manifest");
}

#[test]
fn damaged_mot_files_are_refused_or_read_as_written() {
    feed("mot");
}

#[test]
fn whatever_a_model_answers_becomes_few_and_real_boxes() {
    feed("model_output");
}

#[test]
fn every_target_is_fed_here() {
    let here = include_str!("fuzz.rs");
    assert!(ALL.iter().all(|target| here.contains(&format!("feed(\"{}\")", target.name))));
}
