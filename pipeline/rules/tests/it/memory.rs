//! Another process goes on where one ended.

use vigil_rules::{Counts, Reading, RulesMemory, Unsaved};

use crate::stage::{Actor, Stage, at, brief};

const RULES: &str = r#"
lines = [{ id = "gate", points = [[0.5, 0.95], [0.5, 0.05]] }]
[[rules]]
id = "line"
cool_down = "60s"
line_crossed = { line = "gate" }
[[rules]]
id = "count"
line_count = { line = "gate", report_every = "20s", reset = ["12:05"] }
[[rules]]
id = "room"
occupancy = { line = "gate", capacity = 9, reset = ["12:05"] }
"#;

fn crossing(id: u64, from: f64) -> Actor {
    Actor::person(id, &[(from, 0.31, 0.5), (from + 4.0, 0.71, 0.5)])
}

/// As it is written and read again.
fn kept(stage: &mut Stage) -> RulesMemory {
    let text = serde_json::to_string(&stage.engine.memory()).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn readings(stage: &Stage) -> Vec<Reading> {
    stage.engine.readouts().map(|readout| readout.reading).collect()
}

/// The same rules in a process of their own, after one crossing in another.
fn restarted(rules: &str) -> (Stage, RulesMemory) {
    let mut before = Stage::new(RULES);
    assert_eq!(brief(&before.play(0.0, 5.0, 5.0, &[crossing(1, 0.0)])), ["line 1 !"]);
    (Stage::new(rules), kept(&mut before))
}

#[test]
fn counts_and_cool_downs_go_on_after_a_restart() {
    let (mut stage, memory) = restarted(RULES);
    assert!(stage.engine.recall(&memory).is_empty());
    let fired = stage.play(30.0, 35.0, 5.0, &[crossing(1, 30.0)]);
    assert_eq!(brief(&fired), ["count !"], "the crossing is kept back, the counts are due");
    let counts = Counts { left: 0, right: 2, since: at(0.0) };
    let inside = Reading::Occupancy { count: 2, capacity: Some(9) };
    assert_eq!(readings(&stage), [Reading::Counts(counts), Reading::Counts(counts), inside]);
    let fired = stage.play(63.0, 70.0, 5.0, &[crossing(2, 64.0)]);
    let line = fired.iter().find(|firing| firing.rule.as_str() == "line").unwrap();
    assert_eq!(line.suppressed, 1);
}

#[test]
fn counts_that_should_have_begun_anew_meanwhile_do() {
    let (mut stage, memory) = restarted(RULES);
    stage.engine.recall(&memory);
    stage.frame(400.0, &[]);
    let anew = Counts { left: 0, right: 0, since: at(400.0) };
    let never = Counts { left: 0, right: 1, since: at(0.0) };
    let empty = Reading::Occupancy { count: 0, capacity: Some(9) };
    assert_eq!(readings(&stage), [Reading::Counts(never), Reading::Counts(anew), empty]);
}

#[test]
fn a_rule_that_watches_for_something_else_begins_anew_and_is_named() {
    let moved = RULES.replace("[0.5, 0.05]]", "[0.6, 0.05]]").replace("id = \"room\"", "id = \"hall\"");
    let (mut stage, memory) = restarted(&moved);
    let left_out: Vec<&str> = stage.engine.recall(&memory).into_iter().map(vigil_base::RuleId::as_str).collect();
    assert_eq!(left_out, ["line", "count", "room"]);
    assert!(stage.engine.readouts().all(|readout| !matches!(readout.reading, Reading::Counts(_))));
    // Another cool-down is another setting, not another rule.
    let (mut stage, memory) = restarted(&RULES.replace("60s", "10s"));
    assert!(stage.engine.recall(&memory).is_empty());
    assert_eq!(brief(&stage.play(30.0, 35.0, 5.0, &[crossing(1, 30.0)])), ["count !", "line 1 !"]);
}

#[test]
fn a_clock_that_was_set_back_meanwhile_silences_nothing_for_longer_than_its_cool_down() {
    let mut before = Stage::new(RULES);
    before.play(9_000.0, 9_005.0, 5.0, &[crossing(1, 9_000.0)]);
    let memory = kept(&mut before);
    let mut stage = Stage::new(RULES);
    stage.engine.recall(&memory);
    assert!(brief(&stage.play(0.0, 50.0, 5.0, &[crossing(1, 10.0)])).iter().all(|fired| fired == "count !"));
    let fired = brief(&stage.play(60.2, 70.0, 5.0, &[crossing(2, 61.0)]));
    assert!(fired.contains(&"line 2 !".to_owned()), "{fired:?}");
}

#[test]
fn what_is_not_saved_yet_is_told_and_the_firings_of_a_rule_without_a_cool_down_are_not_kept() {
    let mut stage = Stage::new(RULES);
    assert_eq!(stage.engine.unsaved(), Unsaved::Nothing);
    stage.frame(0.0, &[]);
    assert_eq!(stage.engine.unsaved(), Unsaved::Counts);
    stage.engine.memory();
    assert_eq!(stage.engine.unsaved(), Unsaved::Nothing);
    stage.play(0.2, 5.0, 5.0, &[crossing(1, 0.2)]);
    assert_eq!(stage.engine.unsaved(), Unsaved::Firing);
    let mut stage = Stage::new(&RULES.replace("cool_down = \"60s\"", ""));
    stage.play(0.0, 5.0, 5.0, &[crossing(1, 0.2)]);
    assert_eq!(stage.engine.unsaved(), Unsaved::Counts);
}
