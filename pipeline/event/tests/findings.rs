//! What rules find becomes events: tracks and rules as the runtime joins them, frame by frame.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

use std::sync::Arc;
use std::time::Duration;

use vigil_base::detection::ModelIdentity;
use vigil_base::event::{EndReason, Event, EventKind, EventState, ModelRef};
use vigil_base::{BoxPx, CameraId, EdgeId, Evidence, Frame, RegionId, RuleKind, Size, TimeSource, Timestamp, TrackId};
use vigil_event::{EventConfig, EventContext, EventIds, EventMaker, Revision};
use vigil_rules::{FrameInput, RawRules, RuleEngine, RuleSet, SceneStatistics};
use vigil_track::{Observation, TrackUpdate, TrackView};

const SIZE: Size = Size::new(640, 480);
const STEP_MS: i64 = 200;
const RULES: &str = r#"
zones = [{ id = "yard", points = [[0.4, 0.0], [1.0, 0.0], [1.0, 1.0], [0.4, 1.0]] }]
lines = [{ id = "gate", points = [[0.4, 0.0], [0.4, 1.0]] }]
[[rules]]
id = "over"
line_crossed = { line = "gate" }
[[rules]]
id = "in-the-yard"
inside = { zone = "yard" }
[[rules]]
id = "covered"
camera_tampered = { detect = ["dark"], hold = "1s" }
"#;

fn at(ms: i64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + ms * 1000)
}

fn rules(text: &str) -> RuleSet {
    RuleSet::resolve(&toml::from_str::<RawRules>(text).unwrap(), None).unwrap()
}

struct Camera {
    engine: RuleEngine,
    maker: EventMaker,
    model: Arc<ModelIdentity>,
    luma: u8,
}

impl Camera {
    fn new(told: &[&str]) -> Self {
        let model = ModelIdentity {
            name: "m".into(),
            fingerprint: "f".into(),
            classes: vec!["person".into()],
            ..ModelIdentity::default()
        };
        let context = EventContext {
            region: RegionId::new("north").unwrap(),
            edge: EdgeId::new("edge-1").unwrap(),
            camera: CameraId::new("gate").unwrap(),
            location: None,
            ground: None,
            model: ModelRef { name: "m".into(), fingerprint: "f".into() },
        };
        let config = EventConfig {
            classes: told.iter().map(|class| (*class).to_owned()).collect(),
            update_interval: Duration::from_secs(2),
            thumbnails: true,
            ids: EventIds::Repeatable,
        };
        let maker = EventMaker::new(context, config);
        Self { engine: RuleEngine::new(rules(RULES)), maker, model: Arc::new(model), luma: 120 }
    }

    /// A frame with a walker whose foot is at `x`, or with nobody.
    fn show(&mut self, ms: i64, x: Option<f32>, ended: &[u64]) -> Vec<Revision> {
        // Even, and a little different each time: a picture that stays the same is a frozen camera.
        let frame = Frame::uniform(SIZE, [self.luma + (ms / STEP_MS).rem_euclid(3) as u8, 90, 200], at(ms));
        let tracks: Vec<TrackView> = x.into_iter().map(|x| walker(ms, x)).collect();
        let ended = ended.iter().copied().map(TrackId).collect();
        let update = TrackUpdate { capture_time: at(ms), time_source: TimeSource::File, size: SIZE, tracks, ended };
        let scene = SceneStatistics::measure(&frame.planes[0], 0.0);
        let input = FrameInput { update: &update, model: &self.model, scene: Some(&scene), plates: &[] };
        let firings = self.engine.observe(&input);
        let mut due = self.maker.observe(&update, firings, &frame, &self.model);
        self.maker.grow(self.engine.open(), at(ms), &mut due);
        due
    }

    /// A walk from left to right, over the gate into the yard; then the walker is lost.
    fn walk(&mut self) -> Vec<Revision> {
        let mut due = Vec::new();
        for step in 0..30i64 {
            due.extend(self.show(step * STEP_MS, Some(60.0 + 18.0 * step as f32), &[]));
        }
        due.extend(self.show(30 * STEP_MS, None, &[1]));
        due
    }
}

fn walker(ms: i64, x: f32) -> TrackView {
    let bbox = BoxPx::new(x - 20.0, 200.0, 40.0, 100.0);
    let history = if ms == 0 { vec![Observation { time: at(0), bbox, confidence: 0.8 }] } else { Vec::new() };
    TrackView {
        id: TrackId(1),
        class: 0,
        first_seen: at(0),
        last_seen: at(ms),
        bbox,
        confidence: 0.8,
        velocity: (90.0, 0.0),
        stationary: false,
        history,
    }
}

fn of(due: &[Revision], kind: RuleKind) -> Vec<&Event> {
    due.iter().map(|revision| &revision.event).filter(|event| event.kind() == EventKind::Rule(kind)).collect()
}

#[test]
fn a_crossing_is_one_event_that_is_over_about_the_walkers_track_with_its_picture() {
    let due = Camera::new(&["person"]).walk();
    let crossings = of(&due, RuleKind::LineCrossed);
    let [crossing] = crossings[..] else { panic!("{crossings:?}") };
    assert_eq!((crossing.revision, crossing.state), (1, EventState::Ended(EndReason::Over)));
    assert_eq!((crossing.track, &*crossing.object_class), (TrackId(1), "person"));
    let finding = crossing.finding.as_ref().unwrap();
    let Evidence::Crossing(evidence) = &finding.evidence else { panic!("{finding:?}") };
    assert_eq!((finding.rule.as_str(), finding.zone.as_ref().unwrap().as_str()), ("over", "gate"));
    assert!((evidence.at.at.x - 0.4).abs() < 1e-6 && evidence.at.time == crossing.begin_time);
    assert!(crossing.path.len() > 3 && crossing.thumbnail_key.is_some());
    let with_picture = due.iter().find(|revision| revision.event.id == crossing.id).unwrap();
    assert!(with_picture.thumbnail.as_ref().is_some_and(|jpeg| jpeg.starts_with(&[0xff, 0xd8])));
}

#[test]
fn what_goes_on_is_one_event_that_grows_at_the_interval_and_ends_with_its_object() {
    let due = Camera::new(&["person"]).walk();
    let stays = of(&due, RuleKind::Inside);
    let revisions: Vec<u32> = stays.iter().map(|event| event.revision).collect();
    assert_eq!(revisions, (1..=revisions.len() as u32).collect::<Vec<_>>());
    assert!((3..=4).contains(&revisions.len()), "{revisions:?}");
    assert!(stays.iter().all(|event| event.id == stays[0].id && event.begin_time == stays[0].begin_time));
    let (last, before) = stays.split_last().unwrap();
    assert!(before.iter().all(|event| event.state == EventState::Ongoing));
    assert_eq!((last.state, last.end_time), (EventState::Ended(EndReason::Lost), at(29 * STEP_MS)));
    let ids: std::collections::BTreeSet<_> = due.iter().map(|revision| revision.event.id).collect();
    assert_eq!(ids.len(), 3, "the walker, the crossing and the stay");
}

#[test]
fn what_goes_on_for_hours_is_told_once_a_minute() {
    let mut camera = Camera::new(&["person"]);
    let mut told = Vec::new();
    for step in 0..(10 * 60 * 5) {
        let due = camera.show(step * STEP_MS, Some(400.0 + (step % 2) as f32), &[]);
        told.extend(of(&due, RuleKind::Inside).iter().map(|_| step * STEP_MS / 1000));
    }
    let (early, late): (Vec<i64>, Vec<i64>) = told.into_iter().partition(|second| *second <= 60);
    assert!((28..=32).contains(&early.len()), "every other second at first: {early:?}");
    assert!((8..=10).contains(&late.len()), "then each minute: {late:?}");
}

#[test]
fn a_class_that_no_event_is_wanted_of_is_followed_for_the_rules_alone() {
    let due = Camera::new(&[]).walk();
    assert!(due.iter().all(|revision| revision.event.kind() != EventKind::Object));
    assert_eq!(of(&due, RuleKind::LineCrossed).len(), 1);
}

#[test]
fn what_is_no_object_shows_the_whole_picture() {
    let mut camera = Camera::new(&["person"]);
    let mut due: Vec<Revision> = (0..20).flat_map(|step| camera.show(step * STEP_MS, None, &[])).collect();
    camera.luma = 16;
    due.extend((20..40).flat_map(|step| camera.show(step * STEP_MS, None, &[])));
    let dark = of(&due, RuleKind::CameraTampered);
    let first = dark.first().expect("the lens was covered");
    assert_eq!((&*first.object_class, first.track, first.confidence), ("", TrackId(0), 1.0));
    assert_eq!((first.best_box.width, first.best_box.height), (1.0, 1.0));
    assert!(due.iter().any(|revision| revision.thumbnail.is_some()));
}

/// From `from_ms` for `for_ms`, somebody stands with a foot at `x`; what is told of it by the rule that watches the yard.
fn stay(camera: &mut Camera, from_ms: i64, for_ms: i64, x: f32) -> Vec<Event> {
    let due: Vec<Revision> = (from_ms..from_ms + for_ms)
        .step_by(STEP_MS as usize)
        .flat_map(|ms| camera.show(ms, Some(x + (ms / STEP_MS % 2) as f32), &[]))
        .collect();
    of(&due, RuleKind::Inside).into_iter().cloned().collect()
}

/// What an edge that ends leaves to the next, and the stay that it cut off.
fn interrupted_at(ms: i64, x: f32) -> (Vec<Event>, Event) {
    let mut camera = Camera::new(&["person"]);
    stay(&mut camera, 0, ms, x);
    let firings = camera.engine.end_all();
    let ended = camera.maker.conclude(firings, EndReason::EdgeStopped);
    (camera.maker.interrupted(), ended[0].event.clone())
}

#[test]
fn who_stays_over_a_restart_is_the_same_event_that_goes_on() {
    let (left, ended) = interrupted_at(5_000, 400.0);
    assert_eq!(left, std::slice::from_ref(&ended));
    let mut camera = Camera::new(&["person"]);
    camera.maker.recall(left);
    assert!(camera.maker.has_unsaved());
    let told = stay(&mut camera, 65_000, 5_000, 402.0);
    assert!(told.iter().all(|event| event.id == ended.id && event.begin_time == ended.begin_time), "{told:?}");
    assert_eq!((told[0].state, told[0].revision), (EventState::Ongoing, ended.revision + 1));
    assert!(told[0].end_time >= at(65_000) && camera.maker.interrupted().is_empty());
    // Once it is taken up, another one at the same place is another one.
    let firings = camera.engine.replace(rules(RULES));
    assert!(camera.maker.conclude(firings, EndReason::EdgeStopped).is_empty());
}

#[test]
fn a_break_of_the_stream_is_bridged_in_the_same_way() {
    let mut camera = Camera::new(&["person"]);
    let first = stay(&mut camera, 0, 5_000, 400.0);
    let firings = camera.engine.end_all();
    camera.maker.conclude(firings, EndReason::StreamLost);
    camera.maker.end_all(EndReason::StreamLost);
    let again = stay(&mut camera, 30_000, 5_000, 401.0);
    assert_eq!(again[0].id, first[0].id);
}

#[test]
fn who_is_elsewhere_or_comes_later_or_after_a_long_break_is_somebody_else() {
    let (left, ended) = interrupted_at(5_000, 400.0);
    let minutes = vigil_event::MAX_BREAK.as_millis() as i64;
    for (why, from_ms, x, empty_ms) in [
        ("elsewhere", 65_000, 480.0, 0),
        ("came after the camera was seen again", 65_000, 400.0, 15_000),
        ("after a long break", 6_000 + minutes, 400.0, 0),
        ("the clock was set back", -60_000, 400.0, 0),
    ] {
        let mut camera = Camera::new(&["person"]);
        camera.maker.recall(left.clone());
        for ms in (from_ms..from_ms + empty_ms).step_by(STEP_MS as usize) {
            camera.show(ms, None, &[]);
        }
        let told = stay(&mut camera, from_ms + empty_ms, 5_000, x);
        assert!(!told.is_empty() && told.iter().all(|event| event.id != ended.id), "{why}: {told:?}");
    }
}

#[test]
fn no_more_are_remembered_than_may_be_and_the_last_revision_of_one_counts() {
    let (left, ended) = interrupted_at(5_000, 400.0);
    let mut camera = Camera::new(&["person"]);
    let other = |nth: u64| Event { id: vigil_base::EventId::numbered(at(0), 1000 + nth), ..ended.clone() };
    camera.maker.recall((0..100).map(other));
    camera.maker.recall(left);
    let later = Event { revision: ended.revision + 5, ..ended.clone() };
    camera.maker.recall([later, ended.clone()]);
    let kept = camera.maker.interrupted();
    assert_eq!(kept.len(), vigil_event::MAX_INTERRUPTED);
    assert_eq!(kept.last().map(|event| (event.id, event.revision)), Some((ended.id, ended.revision + 5)));
}

#[test]
fn a_stream_that_breaks_ends_findings_with_its_reason_and_other_rules_with_theirs() {
    let inside = |camera: &mut Camera| {
        for step in 0..20 {
            camera.show(step * STEP_MS, Some(300.0 + step as f32), &[]);
        }
    };
    let mut camera = Camera::new(&["person"]);
    inside(&mut camera);
    let firings = camera.engine.end_all();
    let ended = camera.maker.conclude(firings, EndReason::StreamLost);
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0].event.state, EventState::Ended(EndReason::StreamLost));

    let mut camera = Camera::new(&["person"]);
    inside(&mut camera);
    let firings = camera.engine.replace(RuleSet::default());
    let ended = camera.maker.conclude(firings, EndReason::StreamLost);
    assert_eq!(ended[0].event.state, EventState::Ended(EndReason::RuleChanged));
    assert!(camera.maker.conclude(camera.engine.end_all(), EndReason::EdgeStopped).is_empty());
}
