//! What all rules have: classes, confidence, presence, schedule, cool-down, arming; and rules that are replaced.

use vigil_base::detection::ModelIdentity;
use vigil_rules::{Counts, Reading};

use crate::stage::{Actor, CAR, PERSON, Stage, TRUCK, at, brief, rules, seconds};

const LINE: &str = r#"lines = [{ id = "gate", points = [[0.5, 0.95], [0.5, 0.05]] }]"#;

fn gate(settings: &str) -> Stage {
    Stage::new(&format!("{LINE}\n[[rules]]\nid = 'r'\nline_crossed = {{ line = 'gate' }}\n{settings}"))
}

fn crossing(id: u64, class: u16, from: f64) -> Actor {
    Actor::new(id, class, &[(from, 0.3, 0.5), (from + 4.0, 0.7, 0.5)])
}

fn count(stage: &Stage) -> u64 {
    match stage.engine.readouts().next().unwrap().reading {
        Reading::Counts(Counts { left, right, .. }) => left + right,
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_its_classes_count_also_when_a_track_changes_its_class() {
    let mut stage = gate("classes = ['truck']");
    stage.play(0.0, 5.0, 5.0, &[crossing(1, CAR, 0.0), crossing(2, TRUCK, 0.0)]);
    assert_eq!(brief(&stage.fired), ["r 2 !"]);
    let mut stage = gate("classes = ['truck']");
    let mut van = Actor::new(1, CAR, &[(0.0, 0.3, 0.5), (8.0, 0.7, 0.5)]);
    stage.play(0.0, 5.0, 5.0, &[van.clone()]);
    assert!(stage.fired.is_empty());
    van.class = TRUCK;
    assert_eq!(brief(&stage.play(5.2, 6.0, 5.0, &[van])), ["r 1 !"]);
    assert!((seconds(stage.fired[0].begin) - 4.0).abs() < 1e-5);
}

#[test]
fn who_changes_to_another_class_is_no_longer_counted_inside() {
    let toml = "zones = [{ id = 'z', points = [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]] }]
[[rules]]\nid = 'o'\nclasses = ['truck']\noccupancy = { zone = 'z', capacity = 5 }";
    let mut stage = Stage::new(toml);
    let mut van = Actor::new(1, TRUCK, &[(0.0, 0.5, 0.5), (60.0, 0.5, 0.5)]);
    for (frame, class, expected) in [(0, TRUCK, 0), (1, TRUCK, 1), (2, CAR, 0), (3, TRUCK, 1)] {
        van.class = class;
        stage.frame(f64::from(frame), &[van.clone()]);
        let Reading::Occupancy { count, .. } = stage.engine.readouts().next().unwrap().reading else { panic!() };
        assert_eq!(count, expected, "frame {frame}");
    }
}

#[test]
fn a_rule_may_look_at_the_middle_of_boxes() {
    let across = |anchor: &str| {
        let line = "lines = [{ id = 'l', points = [[0.0, 0.5], [1.0, 0.5]] }]";
        let mut stage =
            Stage::new(&format!("{line}\n[[rules]]\nid = 'r'\nanchor = '{anchor}'\nline_crossed = {{ line = 'l' }}"));
        // The box is 80 of 900 pixels high; its foot goes from 0.3 to 0.7 in 4 s.
        let fired = stage.play(0.0, 4.0, 10.0, &[Actor::person(1, &[(0.0, 0.5, 0.3), (4.0, 0.5, 0.7)])]);
        seconds(fired[0].begin)
    };
    assert!((across("bottom_centre") - 2.0).abs() < 1e-5);
    assert!((across("centre") - 2.0 - 40.0 / 900.0 / 0.1).abs() < 1e-4);
}

#[test]
fn an_object_counts_once_it_was_sure_enough() {
    let mut stage = gate("min_confidence = 0.8");
    let mut unsure = crossing(1, PERSON, 0.0);
    unsure.confidence = 0.79;
    let mut once_sure = Actor::new(2, PERSON, &[(0.0, 0.3, 0.5), (8.0, 0.7, 0.5)]);
    once_sure.confidence = 0.5;
    stage.play(0.0, 5.0, 5.0, &[unsure.clone(), once_sure.clone()]);
    assert!(stage.fired.is_empty());
    once_sure.confidence = 0.8;
    stage.frame(5.2, &[unsure, once_sure]);
    assert_eq!(brief(&stage.fired), ["r 2 !"]);
}

#[test]
fn a_crossing_waits_for_the_least_presence_and_one_there_and_back_before_is_none() {
    let mut stage = gate("min_presence = '6s'");
    let stays = Actor::person(1, &[(0.0, 0.3, 0.5), (4.0, 0.7, 0.5), (10.0, 0.8, 0.5)]);
    let brief_one = crossing(2, PERSON, 0.0);
    let back = Actor::person(3, &[(0.0, 0.4, 0.5), (2.5, 0.6, 0.5), (5.0, 0.4, 0.5), (10.0, 0.4, 0.5)]);
    let fired = stage.play(0.0, 10.0, 5.0, &[stays, brief_one, back]);
    assert_eq!(brief(&fired), ["r 1 !"]);
    assert!((seconds(fired[0].time) - 6.0).abs() < 1e-6 && (seconds(fired[0].begin) - 2.0).abs() < 1e-5);
}

#[test]
fn a_cool_down_keeps_firings_back_counts_them_and_counts_on() {
    let mut stage = gate("cool_down = '10s'");
    let actors: Vec<Actor> = (0..12).map(|id| crossing(id + 1, PERSON, 2.0 * id as f64)).collect();
    stage.play(0.0, 30.0, 5.0, &actors);
    assert_eq!(count(&stage), 12);
    let times: Vec<f64> = stage.fired.iter().map(|firing| seconds(firing.time)).collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 10.0), "{times:?}");
    assert_eq!(stage.fired.iter().map(|firing| firing.suppressed).collect::<Vec<_>>(), [0, 4, 4]);
}

#[test]
fn of_two_at_once_the_earlier_fires_whichever_is_told_first() {
    for reversed in [false, true] {
        let mut stage = gate("cool_down = '10s'");
        stage.reversed = reversed;
        // Both are sure on the same frame; the second passed the line a little earlier, but was seen no earlier.
        let first = Actor::person(7, &[(0.0, 0.3, 0.5), (4.0, 0.7, 0.5)]);
        let second = Actor::person(8, &[(0.0, 0.31, 0.5), (4.0, 0.7, 0.5)]);
        let fired = stage.play(0.0, 5.0, 2.0, &[first, second]);
        assert_eq!(brief(&fired), ["r 7 !"]);
    }
}

#[test]
fn a_state_that_outlasts_the_cool_down_fires_when_it_is_over() {
    let toml = "[[rules]]\nid = 'l'\ncool_down = '30s'\nloitering = { time_threshold = '5s' }";
    let mut stage = Stage::new(toml);
    let stays = Actor::person(1, &[(0.0, 0.3, 0.5), (60.0, 0.3, 0.5)]);
    let passes = Actor::person(2, &[(3.0, 0.5, 0.5), (12.0, 0.5, 0.5)]);
    let stays_too = Actor::person(3, &[(4.0, 0.7, 0.5), (60.0, 0.7, 0.5)]);
    let fired = stage.play(0.0, 50.0, 5.0, &[stays, passes, stays_too]);
    assert_eq!(brief(&fired), ["l 1 +", "l 3 +"]);
    assert!((seconds(fired[1].time) - 35.0).abs() < 1e-6 && fired[1].begin == at(4.0));
    assert_eq!(fired[1].suppressed, 1);
}

#[test]
fn a_rule_that_is_disarmed_sees_nothing() {
    let mut stage = gate("armed = false");
    stage.play(0.0, 5.0, 5.0, &[crossing(1, PERSON, 0.0)]);
    assert!(stage.fired.is_empty() && stage.engine.readouts().next().is_none());
    assert!(!stage.engine.is_watching());
}

const NIGHT: &str = r#"
time_zone = "Europe/Berlin"
zones = [{ id = "yard", points = [[0.3, 0.2], [0.7, 0.2], [0.7, 0.8], [0.3, 0.8]] }]
# Noon UTC is 14:00 in Berlin.
schedules = [{ id = "short", windows = [{ days = ["fri"], from = "14:00:30", until = "14:01:30" }] }]
[[rules]]
id = "inside"
schedule = "short"
inside = { zone = "yard" }
[[rules]]
id = "entered"
schedule = "short"
entered = { zone = "yard" }
[[rules]]
id = "loiters"
schedule = "short"
loitering = { zone = "yard", time_threshold = "20s" }
"#;

#[test]
fn a_rule_begins_anew_with_its_schedule_and_ends_with_it() {
    let mut stage = Stage::new(NIGHT);
    let actor = Actor::person(1, &[(0.0, 0.1, 0.5), (5.0, 0.5, 0.5), (200.0, 0.5, 0.5)]);
    let mut fired = stage.play(0.0, 60.0, 2.0, std::slice::from_ref(&actor));
    assert!(stage.engine.is_watching());
    fired.extend(stage.play(60.5, 120.0, 2.0, &[actor]));
    assert!(!stage.engine.is_watching());
    assert_eq!(brief(&fired), ["inside 1 +", "loiters 1 +", "inside 1 -off", "loiters 1 -off"]);
    let times: Vec<f64> = fired.iter().map(|firing| seconds(firing.time)).collect();
    assert_eq!(times, [30.5, 50.0, 89.5, 89.5]);
    assert_eq!(fired[0].begin, at(30.0));
}

#[test]
fn replacing_keeps_what_watches_the_same_and_ends_the_rest() {
    let mut stage = Stage::new(&NIGHT.replace("schedule = \"short\"\n", ""));
    let actor = [Actor::person(1, &[(0.0, 0.1, 0.5), (5.0, 0.5, 0.5), (200.0, 0.5, 0.5)])];
    stage.play(0.0, 15.0, 2.0, &actor);
    assert_eq!(brief(&stage.fired), ["inside 1 +", "entered 1 !"]);

    // Another threshold: it begins anew. Another cool-down: it goes on. One is gone, one is new.
    let changed = NIGHT
        .replace("schedule = \"short\"\n", "cool_down = \"1s\"\n")
        .replace("20s", "10s")
        .replace("\"entered\"\n", "\"entered-2\"\n");
    let ended = stage.engine.replace(rules(&changed));
    assert!(ended.is_empty());
    let fired = stage.play(15.5, 40.0, 2.0, &actor);
    assert_eq!(brief(&fired), ["loiters 1 +"]);
    assert_eq!(fired[0].begin, at(15.5));

    // The zone moves: whatever watched it ends.
    let moved = changed.replace("[0.3, 0.2]", "[0.31, 0.2]");
    assert_eq!(brief(&stage.engine.replace(rules(&moved))), ["inside 1 -changed", "loiters 1 -changed"]);
    let numbers: Vec<u64> = stage.fired.iter().map(|firing| firing.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(brief(&stage.frame(41.0, &actor)), Vec::<String>::new());
    let fired = stage.frame(41.5, &actor);
    assert_eq!((brief(&fired), fired[0].number), (vec!["inside 1 +".to_owned()], 4));
}

#[test]
fn counts_and_cool_downs_survive_a_replacement_and_the_end_of_the_stream() {
    let mut stage = gate("cool_down = '1h'");
    stage.play(0.0, 5.0, 5.0, &[crossing(1, PERSON, 0.0)]);
    let others = "[[rules]]\nid = 'other'\nloitering = { time_threshold = '1s' }";
    let changed = "[[rules]]\nid = 'r'\nline_crossed = { line = 'gate' }\ncool_down = '2h'";
    let ended = stage.engine.replace(rules(&format!("{LINE}\n{others}\n{changed}")));
    assert!(ended.is_empty() && stage.engine.end_all().is_empty());
    let fired = stage.play(10.0, 15.0, 5.0, &[crossing(2, PERSON, 10.0)]);
    assert_eq!(brief(&fired), ["other 2 +", "other 2 -lost"]);
    let reading = stage.engine.readouts().find(|readout| readout.rule.as_str() == "r").unwrap().reading;
    assert!(matches!(reading, Reading::Counts(Counts { right: 2, .. })), "{reading:?}");
}

#[test]
fn a_model_with_other_indices_for_its_classes_is_followed() {
    let mut stage = gate("classes = ['truck']");
    let classes = vec!["truck".to_owned(), "person".to_owned()];
    stage.model = std::sync::Arc::new(ModelIdentity { classes, ..(*stage.model).clone() });
    stage.play(0.0, 5.0, 5.0, &[crossing(1, 0, 0.0), crossing(2, TRUCK, 0.0), crossing(3, 9, 0.0)]);
    assert_eq!(brief(&stage.fired), ["r 1 !"]);
}

#[test]
fn open_firings_can_be_read_with_their_evidence_as_it_is_now() {
    let mut stage = Stage::new("[[rules]]\nid = 'l'\nloitering = { time_threshold = '5s' }");
    stage.play(0.0, 20.0, 5.0, &[Actor::person(1, &[(0.0, 0.3, 0.5), (60.0, 0.3, 0.5)])]);
    let open: Vec<_> = stage.engine.open().collect();
    assert_eq!((open.len(), open[0].number, open[0].begin), (1, 1, at(0.0)));
    assert!(open[0].evidence.to_string().contains("20.0 s"), "{}", open[0].evidence);
}
