//! Rules as written: what is refused, where it is, and that nothing written ever makes trouble later.

use proptest::prelude::*;
use vigil_rules::{MAX_PLATES, MAX_RULES, MAX_SHAPES, RawRules, RuleEngine, RuleKind, RuleSet};

use crate::stage::{Actor, CAR, Stage, ground, model, raw, rules};

const PLACES: &str = r#"
time_zone = "Europe/Berlin"
zones = [{ id = "yard", points = [[0.3, 0.2], [0.7, 0.2], [0.7, 0.8], [0.3, 0.8]] }]
lines = [{ id = "gate", points = [[0.5, 0.95], [0.5, 0.05]] }]
schedules = [{ id = "night", windows = [{ from = "22:00", until = "06:00" }] }]
"#;

/// One of each kind, with every key that it has.
const EVERYTHING: &str = r#"
[[rules]]
id = "a"
classes = ["person", "car"]
min_confidence = 0.4
min_presence = "500ms"
schedule = "night"
cool_down = "1m 30s"
armed = false
anchor = "centre"
line_crossed = { line = "gate", direction = "left", hysteresis = 0.2 }
[[rules]]
id = "b"
line_count = { line = "gate", hysteresis = 0, reset = ["00:00", "12:30:15"], report_every = "15m" }
[[rules]]
id = "c"
inside = { zone = "yard", hysteresis = 0.3 }
[[rules]]
id = "d"
entered = { zone = "yard" }
[[rules]]
id = "e"
left = { zone = "yard" }
[[rules]]
id = "f"
loitering = { zone = "yard", time_threshold = "1m" }
[[rules]]
id = "g"
occupancy = { zone = "yard", capacity = 0, hold = "0s" }
[[rules]]
id = "h"
occupancy = { line = "gate", capacity = 200, reset = ["04:00"] }
[[rules]]
id = "i"
crowd_density = { zone = "yard", limit = { per_square_metre = 3.5 }, hold = "3s" }
[[rules]]
id = "j"
stopped_vehicle = { zone = "yard", time_threshold = "20s", tolerance = 0.5 }
[[rules]]
id = "k"
wrong_way = { zone = "yard", allowed = [[0.5, 0.9], [0.45, 0.4]], tolerance_degrees = 45, min_distance = 2 }
[[rules]]
id = "l"
speeding = { zone = "yard", limit = { kilometres_per_hour = 30 }, window = "2s" }
[[rules]]
id = "m"
[rules.object_abandoned]
zone = "yard"
time_threshold = "1m"
owners = ["person"]
attended_within = { metres = 2 }
tolerance = 0.1
[[rules]]
id = "n"
object_removed = { zone = "yard", time_threshold = "5m", tolerance = 0.3 }
[[rules]]
id = "o"
camera_tampered = { detect = ["moved", "covered"], hold = "20s", frozen_after = "2m", accept_after = "30m" }
[[rules]]
id = "p"
plate_listed = { plates = ["B-AB 1234"], on = "unlisted", min_likelihood = 0.9, alike = true }
"#;

#[test]
fn every_key_of_every_kind_is_read() {
    let written = raw(&format!("{PLACES}{EVERYTHING}"));
    let set = RuleSet::resolve(&written, Some(&ground())).unwrap();
    assert_eq!(set.len(), 16);
    let kinds: std::collections::BTreeSet<RuleKind> = set.rules().map(|(_, kind)| kind).collect();
    assert_eq!(kinds.len(), RuleKind::ALL.len());
    assert!(set.needs_scene() && set.needs_plates());
    assert!(set.classes().contains(&"person"));
    let named = rules("[[rules]]\nid = 'a'\nobject_abandoned = { time_threshold = '1m' }");
    assert_eq!(named.classes(), ["backpack", "handbag", "person", "suitcase"]);
    assert!(named.check_classes(&model()).is_ok());
    assert_eq!(RuleKind::LineCrossed.onvif_topic(), Some("RuleEngine/LineDetector/Crossed"));
}

fn refused(toml: &str) -> String {
    RuleSet::resolve(&raw(&format!("{PLACES}{toml}")), None).unwrap_err().to_string()
}

fn refused_rule(body: &str) -> String {
    refused(&format!("[[rules]]\nid = 'r'\n{body}"))
}

#[test]
fn what_is_wrong_is_named_with_its_key_and_its_rule() {
    for (body, expected) in [
        ("inside = { zone = 'yrad' }", "rules[0].inside.zone (rule r): there is no zone \"yrad\"; there are: yard"),
        ("inside = { zone = 'gate' }", "rules[0].inside.zone (rule r): there is no zone \"gate\"; there are: yard"),
        (
            "line_crossed = { line = 'x' }",
            "rules[0].line_crossed.line (rule r): there is no line \"x\"; there are: gate",
        ),
        (
            "schedule = 's'\ninside = { zone = 'yard' }",
            "rules[0].schedule (rule r): there is no schedule \"s\"; there are: night",
        ),
        (
            "line_crossed = { line = 'gate', hysteresis = -1 }",
            "rules[0].line_crossed.hysteresis (rule r): -1 is not within 0 and 100 object sizes",
        ),
        (
            "inside = { zone = 'yard' }\nleft = { zone = 'yard' }",
            "rules[0] (rule r): is both inside and left; make two rules of it",
        ),
        ("loitering = { time_threshold = '0s' }", "rules[0].loitering.time_threshold (rule r): must be above zero"),
        (
            "loitering = { time_threshold = '30days' }",
            "rules[0].loitering.time_threshold (rule r): is longer than seven days",
        ),
        ("cool_down = '8days'\ninside = { zone = 'yard' }", "rules[0].cool_down (rule r): is longer than seven days"),
        (
            "classes = []\ninside = { zone = 'yard' }",
            "rules[0].classes (rule r): are 0; 1 to 128 are taken; leave them out for all",
        ),
    ] {
        assert_eq!(refused_rule(body), expected);
    }
    assert!(
        refused_rule("").starts_with("rules[0] (rule r): watches for nothing; add one of line_crossed, line_count")
    );
    let twice = "[[rules]]\nid = 'r'\ninside = { zone = 'yard' }\n".repeat(2);
    assert_eq!(refused(&twice), "rules[1].id (rule r): stands twice");
}

#[test]
fn what_a_kind_cannot_be_told_is_named_too() {
    for (body, expected) in [
        ("occupancy = { capacity = 3 }", "rules[0].occupancy (rule r): needs a zone or a line, and only one of them"),
        (
            "occupancy = { zone = 'yard', capacity = 3, reset = ['04:00'] }",
            "rules[0].occupancy.reset (rule r): is for a line: a zone's count is who is seen in it",
        ),
        (
            "line_count = { line = 'gate', reset = ['04:00', '4h'] }",
            "rules[0].line_count.reset[1] (rule r): \"4h\" is not a time of day such as 22:00",
        ),
        (
            "crowd_density = { zone = 'yard', limit = { per_picture = nan } }",
            "rules[0].crowd_density.limit (rule r): NaN is not a number above zero",
        ),
        (
            "crowd_density = { zone = 'yard', limit = { per_square_metre = 3 } }",
            "rules[0].crowd_density.limit (rule r): is in objects per square metre, which needs the camera's ground: \
             calibrate it",
        ),
        (
            "wrong_way = { allowed = [[0.5, 0.5], [0.5, 0.51]] }",
            "rules[0].wrong_way.allowed (rule r): must be two points in the picture, at least 0.02 of it apart",
        ),
        (
            "wrong_way = { allowed = [[0.5, 0.9], [0.5, 0.1]], tolerance_degrees = 90 }",
            "rules[0].wrong_way.tolerance_degrees (rule r): 90 is not within 1 and 89",
        ),
        (
            "speeding = { limit = { picture_widths_per_second = 1 }, window = '50ms' }",
            "rules[0].speeding.window (rule r): must be within 200ms and 10s",
        ),
        (
            "object_abandoned = { time_threshold = '1m', attended_within = { sizes = 0 } }",
            "rules[0].object_abandoned.attended_within (rule r): 0 is not a number above zero",
        ),
        (
            "camera_tampered = { detect = [] }",
            "rules[0].camera_tampered.detect (rule r): is empty: nothing would ever be found; leave it out for all",
        ),
        (
            "classes = ['car']\ncamera_tampered = {}",
            "rules[0].camera_tampered (rule r): looks at the picture, not at objects: leave classes and min_presence \
             out",
        ),
        (
            "plate_listed = { plates = ['A1', '--'] }",
            "rules[0].plate_listed.plates[1] (rule r): must have 1 to 16 letters and digits",
        ),
    ] {
        assert_eq!(refused_rule(body), expected);
    }
}

#[test]
fn places_that_are_wrong_are_named() {
    let refused = |toml: &str| RuleSet::resolve(&raw(toml), None).unwrap_err().to_string();
    let square = "points = [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]]";
    for (toml, expected) in [
        (
            "zones = [{ id = 'a', points = [[0.1, 0.1], [0.9, 0.9], [0.9, 0.1], [0.1, 0.9]] }]".to_owned(),
            "zones[0].points: cross themselves",
        ),
        (
            "lines = [{ id = 'a', points = [[0.1, 0.1], [0.2, 1.1]] }]".to_owned(),
            "lines[0].points[1]: is outside the picture",
        ),
        (format!("zones = [{{ id = 'a', {square} }}, {{ id = 'a', {square} }}]"), "zones[1].id: a stands twice"),
        (
            format!("zones = [{{ id = 'a', {square} }}]\nlines = [{{ id = 'a', {square} }}]"),
            "lines[0].id: a is a zone, too",
        ),
        ("time_zone = 'Mars/Olympus'".to_owned(), "time_zone: \"Mars/Olympus\" is not an IANA time zone"),
        ("schedules = [{ id = 's', windows = [] }]".to_owned(), "schedules[0].windows: are 0; 1 to 32 are taken"),
        ("schedules = [{ id = '', windows = [{}] }]".to_owned(), "schedules[0].id: must have 1 to 64 bytes"),
        (
            "schedules = [{ id = 's', windows = [{ from = '6' }] }]".to_owned(),
            "schedules[0].windows[0].from: \"6\" is not a time",
        ),
    ] {
        let found = refused(&toml);
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn limits_hold() {
    let rule = |id: usize| format!("[[rules]]\nid = 'r{id}'\nloitering = {{ time_threshold = '1m' }}\n");
    let many = |count: usize| (0..count).map(rule).collect::<String>();
    assert_eq!(rules(&many(MAX_RULES)).len(), MAX_RULES);
    assert!(RuleSet::resolve(&raw(&many(MAX_RULES + 1)), None).unwrap_err().to_string().contains("at most 64"));
    let zone = |id: usize| format!("[[zones]]\nid = 'z{id}'\npoints = [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]]\n");
    let zones: String = (0..=MAX_SHAPES).map(zone).collect();
    assert!(RuleSet::resolve(&raw(&zones), None).unwrap_err().to_string().starts_with("zones: are 65"));
    let plates: Vec<String> = (0..=MAX_PLATES).map(|plate| format!("'A{plate}'")).collect();
    let plates = format!("[[rules]]\nid = 'p'\nplate_listed = {{ plates = [{}] }}", plates.join(","));
    assert!(RuleSet::resolve(&raw(&plates), None).unwrap_err().to_string().contains("1 to 20000"));
}

#[test]
fn unknown_keys_are_refused_with_their_path() {
    let fault = |toml: &str| {
        let document = toml::Deserializer::parse(toml).unwrap();
        let error = serde_path_to_error::deserialize::<_, RawRules>(document).unwrap_err();
        format!("{}: {}", error.path(), error.inner().message())
    };
    for (toml, path) in [
        ("zoens = []", "zoens"),
        ("[[rules]]\nid = 'r'\nline_crossed = { line = 'a', direktion = 'left' }", "rules[0].line_crossed.direktion"),
        ("[[rules]]\nid = 'r'\nline_crossed = { line = 'a', direction = 'up' }", "rules[0].line_crossed.direction"),
        ("[[rules]]\nid = 'r'\nspeeding = { limit = { mph = 3 } }", "rules[0].speeding.limit"),
        ("[[rules]]\nid = 'r/1'", "rules[0].id"),
        ("[[rules]]\nid = 'r'\nmin_confidence = 1.5", "rules[0].min_confidence"),
        ("[[rules]]\nid = 'r'\ncool_down = 5", "rules[0].cool_down"),
    ] {
        let found = fault(toml);
        assert!(found.starts_with(path), "{found}");
    }
}

#[test]
fn a_class_that_the_model_does_not_find_is_named_and_a_default_may_be_missing() {
    let set = rules("[[rules]]\nid = 'r'\nclasses = ['person', 'cart']\nloitering = { time_threshold = '1m' }");
    let refused = set.check_classes(&model()).unwrap_err().to_string();
    assert_eq!(
        refused,
        "rules[0].classes (rule r): \"cart\" is not a class that model m finds; it finds person, car, truck, suitcase"
    );
}

#[test]
fn plates_are_not_shown_by_debugging() {
    let written = raw("[[rules]]\nid = 'p'\nplate_listed = { plates = ['SECRET1'] }");
    let engine = RuleEngine::new(RuleSet::resolve(&written, None).unwrap());
    assert!(!format!("{written:?} {engine:?}").contains("SECRET1"));
}

/// Lines of the two samples in any order, with some of them altered: mostly no rules, at times odd ones.
fn mutated() -> impl Strategy<Value = String> {
    let lines: Vec<String> = format!("{PLACES}{EVERYTHING}").lines().map(str::to_owned).collect();
    let count = lines.len();
    let edit = (0..count, 0usize..4, any::<char>(), 0usize..60);
    (Just(lines), prop::collection::vec(edit, 0..8)).prop_map(|(mut lines, edits)| {
        for (line, what, character, place) in edits {
            let text = &mut lines[line];
            let place = text.char_indices().map(|(index, _)| index).nth(place).unwrap_or(text.len());
            match what {
                0 => text.insert(place, character),
                1 => text.truncate(place),
                2 => *text = text.replace(|c: char| c.is_ascii_digit(), "9"),
                _ => *text = text.replace("0.", "-"),
            }
        }
        lines.join("\n")
    })
}

fn number() -> impl Strategy<Value = String> {
    let odd = ["nan", "inf", "-inf", "-0.0", "1e308", "5e-324", "0", "1", "-1"].map(str::to_owned);
    prop_oneof![4 => (0f64..=1.0).prop_map(|v| format!("{v:?}")), 1 => prop::sample::select(odd.to_vec())]
}

/// Rules that are well-formed and hold any numbers.
fn any_numbers() -> impl Strategy<Value = String> {
    let points = || {
        let point = (number(), number()).prop_map(|(x, y)| format!("[{x}, {y}]"));
        prop::collection::vec(point, 0..8).prop_map(|points| points.join(", "))
    };
    (points(), points(), prop::collection::vec(number(), 12)).prop_map(|(zone, line, n)| {
        format!(
            r#"
zones = [{{ id = "yard", points = [{zone}] }}]
lines = [{{ id = "gate", points = [{line}] }}]
[[rules]]
id = "a"
line_crossed = {{ line = "gate", hysteresis = {} }}
[[rules]]
id = "b"
inside = {{ zone = "yard", hysteresis = {} }}
[[rules]]
id = "c"
crowd_density = {{ zone = "yard", limit = {{ per_square_metre = {} }} }}
[[rules]]
id = "d"
stopped_vehicle = {{ zone = "yard", time_threshold = "1ns", tolerance = {} }}
[[rules]]
id = "e"
wrong_way = {{ allowed = [[{}, {}], [{}, {}]], tolerance_degrees = {}, min_distance = {} }}
[[rules]]
id = "f"
speeding = {{ limit = {{ metres_per_second = {} }} }}
[[rules]]
id = "g"
object_abandoned = {{ time_threshold = "1s", attended_within = {{ sizes = {} }} }}
"#,
            n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10], n[11]
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever is written is taken or refused; what is taken runs.
    #[test]
    fn no_text_makes_trouble(text in prop_oneof![mutated(), any_numbers(), ".{0,200}"]) {
        let Ok(written) = toml::from_str::<RawRules>(&text) else { return Ok(()) };
        match RuleSet::resolve(&written, Some(&ground())) {
            Ok(set) => {
                let mut stage = Stage::of(set);
                let actors = [
                    Actor::person(1, &[(0.0, 0.0, 0.0), (5.0, 1.0, 1.0)]),
                    Actor::new(2, CAR, &[(0.0, 0.5, 0.5), (5.0, 0.5, 0.5)]),
                ];
                stage.play(0.0, 5.0, 4.0, &actors);
                stage.engine.end_all();
            }
            Err(refused) => prop_assert!(!refused.key.is_empty() && !refused.problem.is_empty()),
        }
    }
}
