//! What policies mean, by examples and against the plain reading of their rules.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use vigil_base::event::EventKind;
use vigil_base::{CameraId, EdgeId, RuleKind, Timestamp};
use vigil_policy::{Asker, Grant, Grants, GroupFile, Hint, Policy, PolicyFile, Roster, RuleFile, Scope, Unmet};

/// A Monday in May, noon in Berlin.
fn monday() -> Timestamp {
    Timestamp::parse("2026-05-04T10:00:00Z").unwrap()
}

fn policy(text: &str) -> Result<Arc<Policy>, String> {
    let file: PolicyFile = toml::from_str(text).map_err(|error| error.to_string())?;
    Policy::resolve(&file, "v1").map(Arc::new).map_err(|error| error.to_string())
}

fn example() -> Arc<Policy> {
    policy(include_str!("../example.toml")).unwrap()
}

fn of(department: &str) -> Asker<'_> {
    Asker { subject: "x", department: Some(department), is_proved: true, ..Asker::default() }
}

fn given(asker: Asker<'_>, camera: &str, edge: &str) -> String {
    let clearance = example().clearance(&asker, monday());
    clearance.decide(camera, Some(edge)).map_or_else(|| "no rule".to_owned(), |rule| rule.id.clone())
}

#[test]
fn the_first_rule_that_is_met_decides() {
    let own = Asker { home_region: Some("north"), has_purpose: true, ..of("police") };
    assert_eq!(given(own, "gate-1", "box-1"), "our own police");
    assert_eq!(given(own, "gate-1", "box-7"), "the yard is closed", "by the edge that reads it");
    let chief = Asker { roles: &["supervisor"], has_case: true, ..own };
    assert_eq!(given(chief, "gate-1", "box-7"), "nobody else sees the yard");
    let other = "police of other regions: events, without plates and thumbnails";
    assert_eq!(given(Asker { has_purpose: false, ..own }, "gate-1", "box-1"), other, "without a purpose");
    assert_eq!(given(Asker { home_region: Some("south"), ..own }, "gate-1", "box-1"), other);
    assert_eq!(
        given(Asker { home_region: None, ..own }, "gate-1", "box-1"),
        other,
        "a region that is not known is none"
    );
    assert_eq!(given(of("fire"), "station-4", "box-1"), "fire brigade: people counts and crowds");
    assert_eq!(given(of("fire"), "gate-1", "box-1"), "no rule");
    assert_eq!(
        given(Asker { is_proved: false, ..of("fire") }, "station-4", "box-1"),
        "no rule",
        "anybody can say fire"
    );
    assert_eq!(given(Asker::default(), "gate-1", "box-1"), "no rule");
}

#[test]
fn windows_are_local_time() {
    let met = |at: &str| !example().clearance(&of("town-hall"), Timestamp::parse(at).unwrap()).met().is_empty();
    let is_closed_rule_alone =
        |at: &str| example().clearance(&of("town-hall"), Timestamp::parse(at).unwrap()).met().len() == 1;
    assert!(met("2026-05-04T06:00:00Z") && !is_closed_rule_alone("2026-05-04T06:00:00Z"), "08:00 in Berlin");
    assert!(is_closed_rule_alone("2026-05-04T05:59:59Z"));
    assert!(is_closed_rule_alone("2026-05-03T10:00:00Z"), "a Sunday");
}

#[test]
fn who_could_say_more_is_told_so() {
    let hint = |asker| example().clearance(&asker, monday()).hint();
    let own = Asker { home_region: Some("north"), ..of("police") };
    assert_eq!(hint(own), Hint { purpose: true, case: false });
    let chief = Asker { roles: &["supervisor"], ..own };
    assert_eq!(hint(chief), Hint { purpose: true, case: true });
    assert_eq!(hint(Asker { has_purpose: true, has_case: true, ..chief }), Hint::default());
    assert_eq!(hint(of("fire")), Hint::default(), "nothing it could say would help");
}

#[test]
fn each_rule_says_why_it_does_not_decide() {
    let policy = example();
    let found = policy.explain(&of("fire"), monday(), "station-4", None);
    assert_eq!(found[0].unmet, [Unmet::Department, Unmet::Role, Unmet::Case]);
    let decides: Vec<_> = found.iter().filter(|f| f.unmet.is_empty() && f.has_camera).map(|f| f.rule).collect();
    assert_eq!(decides, ["fire brigade: people counts and crowds"]);
    assert!(found[1].unmet.is_empty() && !found[1].has_camera);
}

#[test]
fn mistakes_are_named_by_their_key() {
    let rule = |text: &str| policy(&format!("[[rules]]\nid = 'x'\n{text}")).unwrap_err();
    for (text, expected) in [
        ("grants = ['plate']", "rules[0].grants[0]: is nothing that can be granted"),
        ("grants = ['events']\ncameras = ['yard']", "rules[0].cameras[0]: no group has the id \"yard\""),
        ("grants = []\ncameras = []", "rules[0].cameras: is empty"),
        ("grants = []\nroles = ['boss']", "rules[0].roles[0]: is no role"),
        ("grants = []\ndepartments = []", "rules[0].departments: has 0 entries"),
        ("grants = []\nsubjects = []", "rules[0].subjects: is empty"),
        ("grants = ['counts', 'plates']", "rules[0].grants: plates is of no use"),
        ("grants = ['counts']\nevents_of = { kinds = ['object'] }", "rules[0].events_of: is of no use"),
        (
            "grants = ['events']\nevents_of = { kinds = ['party'] }",
            "rules[0].events_of.kinds[0]: \"party\" is not a known",
        ),
        ("grants = ['events']\nevents_of = { classes = [] }", "rules[0].events_of.classes: is empty"),
        ("grants = []\ntime_zone = 'UTC'", "rules[0].time_zone: is of no use"),
        ("grants = []\nwindows = [{ from = '25:00' }]", "rules[0].windows[0].from"),
        ("grants = []\ngrant = []", "unknown field `grant`"),
        ("grants = []\n[[rules]]\nid = 'x'\ngrants = []", "rules[1].id: \"x\" stands twice"),
    ] {
        let told = rule(text);
        assert!(told.contains(expected), "{text}: {told}");
    }
    assert!(policy("[[groups]]\nid = 'g'").unwrap_err().contains("groups[0].cameras: is empty"));
    assert!(policy(&"[[groups]]\nid = 'g'\ncameras = ['x']\n".repeat(257)).unwrap_err().starts_with("groups: are 257"));
    assert!(policy("contact = \"a\\u0007b\"").unwrap_err().starts_with("contact"));
    assert_eq!(policy("").unwrap().rules(), 0, "an empty one is good, and gives nothing");
}

fn camera(name: &str) -> CameraId {
    CameraId::new(name).unwrap()
}

fn edge(name: &str) -> EdgeId {
    EdgeId::new(name).unwrap()
}

#[test]
fn a_camera_that_two_edges_read_gives_what_both_give() {
    let mut roster = Roster::default();
    roster.add_camera(&camera("gate-1"), Some(&edge("box-1")));
    let own = Asker { home_region: Some("north"), has_purpose: true, ..of("police") };
    let of_gate =
        |roster: &Roster| Scope::new(example().clearance(&own, monday()), roster).of_camera(&camera("gate-1"));
    assert_eq!(of_gate(&roster), Grants::all());
    roster.add_camera(&camera("gate-1"), Some(&edge("box-7")));
    assert_eq!(of_gate(&roster), Grants::NONE, "box-7 reads the closed yard");
}

#[test]
fn what_a_question_may_look_at_is_told_by_cameras_kinds_and_time() {
    let mut roster = Roster::default();
    for name in ["station-1", "station-2", "gate-1"] {
        roster.add_camera(&camera(name), Some(&edge("box-1")));
    }
    let fire = Scope::new(example().clearance(&of("fire"), monday()), &roster);
    let share = fire.share(Grant::Events, Grants::NONE, &[]);
    assert_eq!((share.left_out, share.is_cut, share.parts.len()), (1, true, 1));
    let kinds = [RuleKind::CrowdDensity, RuleKind::Occupancy].map(EventKind::Rule);
    assert_eq!(share.parts[0].limit.kinds.as_deref(), Some(&kinds[..]));
    let mut cameras = share.parts[0].cameras.clone().unwrap();
    cameras.sort();
    assert_eq!(cameras, [camera("station-1"), camera("station-2")]);
    let by_plate = fire.share(Grant::Events, Grants::NONE.with(Grant::Plates), &[]);
    assert_eq!((by_plate.parts.len(), by_plate.left_out), (0, 3), "nobody finds by plate what shows no plate");
    let named = fire.share(Grant::Counts, Grants::NONE, &[camera("gate-1"), camera("nowhere"), camera("station-1")]);
    assert_eq!((named.parts.len(), named.left_out), (1, 2), "one that is not there counts as withheld");
    let police = Scope::new(example().clearance(&of("police"), monday()), &roster);
    let share = police.share(Grant::Events, Grants::NONE, &[]);
    assert_eq!((share.left_out, share.back), (0, Some(Duration::from_hours(7 * 24))));
    assert!(share.withheld.has(Grant::Plates) && !share.withheld.has(Grant::Appearance));
}

const CAMERAS: [&str; 5] = ["gate-1", "gate-2", "station-1", "yard", "yard-9"];
const EDGES: [&str; 3] = ["box-1", "box-2", "kiosk"];
const NAMES: [&str; 8] = ["*", "gate-*", "gate-1", "station-?", "yard*", "box-*", "kiosk", "box-2"];

/// Groups, grants, and whether a purpose must be named.
type RuleParts<'a> = (Option<BTreeSet<usize>>, Vec<&'a str>, bool);

fn some_policy() -> impl Strategy<Value = PolicyFile> {
    let names = || prop::collection::vec(prop::sample::select(&NAMES[..]), 0..3);
    let group = (names(), names()).prop_filter("holds something", |(a, b)| !a.is_empty() || !b.is_empty());
    let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let grants = prop::sample::subsequence(vec!["events", "counts", "coverage", "position"], 0..=4);
    let rule = (prop::option::of(prop::collection::btree_set(0usize..3, 1..3)), grants, any::<bool>());
    let (groups, rules) = (prop::collection::vec(group, 3), prop::collection::vec(rule, 0..5));
    (groups, rules).prop_map(move |(groups, rules)| PolicyFile {
        groups: (0..)
            .zip(groups)
            .map(|(i, (cameras, edges))| GroupFile {
                id: format!("g{i}"),
                cameras: owned(cameras),
                edges: owned(edges),
            })
            .collect(),
        rules: (0..)
            .zip(rules)
            .map(|(i, (cameras, grants, purpose)): (usize, RuleParts)| RuleFile {
                id: format!("r{i}"),
                cameras: cameras.map(|groups| groups.into_iter().map(|at| format!("g{at}")).collect()),
                grants: owned(grants),
                purpose,
                ..RuleFile::default()
            })
            .collect(),
        ..PolicyFile::default()
    })
}

proptest! {
    /// What the tables say is what the rules say, of every camera and edge; and the parts of a share are exactly what is given.
    #[test]
    fn a_scope_decides_as_its_rules_do(
        file in some_policy(),
        has_purpose: bool,
        known in prop::collection::vec((0..CAMERAS.len(), prop::option::of(0..EDGES.len())), 0..8),
        strays in prop::collection::vec(0..EDGES.len(), 0..3),
        named in prop::sample::subsequence(CAMERAS.to_vec(), 0..=3),
        needs_position: bool,
    ) {
        let policy = Arc::new(Policy::resolve(&file, "v").unwrap());
        let mut roster = Roster::default();
        for (at, by) in known {
            roster.add_camera(&camera(CAMERAS[at]), by.map(|by| edge(EDGES[by])).as_ref());
        }
        for at in strays {
            roster.add_edge(&edge(EDGES[at]));
        }
        let clearance = policy.clearance(&Asker { has_purpose, ..Asker::default() }, monday());
        let scope = Scope::new(clearance.clone(), &roster);
        let needs = if needs_position { Grants::NONE.with(Grant::Position) } else { Grants::NONE };
        let asked: Vec<CameraId> = named.iter().map(|name| camera(name)).collect();
        let share = scope.share(Grant::Events, needs, &asked);
        for cam in CAMERAS {
            for by in EDGES {
                let plain = clearance.decide(cam, Some(by));
                let ruling = scope.decide(cam, by);
                prop_assert_eq!(plain.map(|rule| &rule.id), ruling.rule().map(|rule| &rule.id), "{} {}", cam, by);
                prop_assert!(
                    !roster.knows(&camera(cam), &edge(by)) || ruling.grants().has_all(scope.of_camera(&camera(cam))),
                    "a camera as a whole gives no more than any of its edges"
                );
                // Of what the region knows, which is all that it has events of.
                let is_known = roster.cameras().any(|(id, _)| id.as_str() == cam) && roster.edges().any(|id| id.as_str() == by);
                let in_parts = share.parts.iter().filter(|part| {
                    part.cameras.as_ref().is_none_or(|all| all.contains(&camera(cam)))
                        && part.edges.as_ref().is_none_or(|all| all.contains(&edge(by)))
                });
                let is_meant = asked.is_empty() || asked.contains(&camera(cam));
                let is_given = ruling.grants().has_all(needs.with(Grant::Events)) && is_meant;
                if is_known {
                    prop_assert_eq!(in_parts.count(), usize::from(is_given), "{} {}", cam, by);
                }
            }
        }
    }
}
