//! Tracks on file, and what fires on them.
//!
//! Each folder of `tests/golden` holds `rules.toml`, one MOTChallenge file per class (`person.mot`), and
//! `expected.txt`. `VIGIL_UPDATE_GOLDEN=1 cargo test -p vigil-rules golden` writes the latter anew; look at the
//! difference before you keep it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vigil_base::detection::ModelIdentity;
use vigil_base::ground::RawMark;
use vigil_base::{GroundPlane, Size, TimeSource, Timestamp, TrackId};
use vigil_rules::{Firing, FrameInput, Phase, RawRules, RuleEngine, RuleSet};
use vigil_track::{MotFile, MotRow, Observation, TrackUpdate, TrackView};

const UPDATE: &str = "VIGIL_UPDATE_GOLDEN";

struct Scene {
    name: &'static str,
    size: Size,
    frames_per_second: f64,
    /// Picture and metres of four marks.
    marks: Option<[[f64; 4]; 4]>,
}

#[test]
fn a_plaza_with_real_tracks_fires_as_before() {
    check(&Scene { name: "plaza", size: Size::new(768, 576), frames_per_second: 5.0, marks: None });
}

#[test]
fn a_street_with_vehicles_and_things_fires_as_before() {
    // As generated: a pinhole camera 7 m above the street.
    let marks = [
        [0.102_233_302_5, 0.847_582_291_9, -6.0, 12.0],
        [0.897_766_697_4, 0.847_582_291_9, 6.0, 12.0],
        [0.716_099_618_9, 0.451_400_812_4, 6.0, 24.0],
        [0.283_900_381_1, 0.451_400_812_4, -6.0, 24.0],
    ];
    check(&Scene { name: "street", size: Size::new(1280, 720), frames_per_second: 5.0, marks: Some(marks) });
}

fn check(scene: &Scene) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(scene.name);
    let found = tell(scene, &folder);
    let path = folder.join("expected.txt");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    for (number, (found, expected)) in (1..).zip(found.lines().zip(expected.lines())) {
        assert_eq!(found, expected, "{} line {number}; {UPDATE}=1 writes it anew", path.display());
    }
    assert_eq!(found.lines().count(), expected.lines().count(), "{}; {UPDATE}=1 writes it anew", path.display());
}

/// One line per firing, then the counts.
fn tell(scene: &Scene, folder: &Path) -> String {
    let written: RawRules = toml::from_str(&std::fs::read_to_string(folder.join("rules.toml")).unwrap()).unwrap();
    let ground = scene.marks.map(|marks| {
        let mark =
            |[x, y, right, ahead]: [f64; 4]| RawMark { picture: [x, y], metres: Some([right, ahead]), location: None };
        Arc::new(GroundPlane::from_marks(&marks.map(mark)).unwrap())
    });
    let mut engine = RuleEngine::new(RuleSet::resolve(&written, ground.as_ref()).unwrap());
    let (model, tracks) = read_tracks(folder);
    let mut text = String::new();
    for update in updates(scene, &tracks) {
        let fired = engine.observe(&FrameInput { update: &update, model: &model, scene: None, plates: &[] });
        for firing in &fired {
            tell_firing(&mut text, firing, &model);
        }
    }
    for firing in engine.end_all() {
        tell_firing(&mut text, &firing, &model);
    }
    for readout in engine.readouts() {
        writeln!(text, "{}: {:?}", readout.rule, readout.reading).unwrap();
    }
    text
}

fn tell_firing(text: &mut String, firing: &Firing, model: &ModelIdentity) {
    let seconds = |time: Timestamp| time.as_micros() as f64 / 1e6;
    let phase = match firing.phase {
        Phase::Instant => "happened".to_owned(),
        Phase::Begun => "begun".to_owned(),
        Phase::Ended(ending) => format!("ended ({ending:?})"),
    };
    write!(text, "{:.2} #{} {} {phase}", seconds(firing.time), firing.number, firing.rule).unwrap();
    if let Some((track, class)) = firing.object {
        write!(text, ", {} {track}", model.class_name(class)).unwrap();
    }
    writeln!(text, ", begin {:.2}: {}", seconds(firing.begin), firing.evidence).unwrap();
}

/// Class indices and rows, by frame.
type Tracks = BTreeMap<u32, Vec<(u16, MotRow)>>;

/// The classes that there are files of, and their rows.
fn read_tracks(folder: &Path) -> (Arc<ModelIdentity>, Tracks) {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "mot"));
    files.sort();
    assert!(!files.is_empty(), "no tracks in {}", folder.display());
    let classes = files.iter().map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    let mut rows = Tracks::new();
    for (class, path) in (0..).zip(&files) {
        for row in MotFile::parse(&std::fs::read_to_string(path).unwrap()).unwrap().rows {
            rows.entry(row.frame).or_default().push((class, row));
        }
    }
    (
        Arc::new(ModelIdentity {
            name: "golden".into(),
            fingerprint: String::new(),
            classes,
            ..ModelIdentity::default()
        }),
        rows,
    )
}

/// A track lives from its first row to its last; on a frame without a row it is where it last was, and not seen.
fn updates(scene: &Scene, tracks: &Tracks) -> Vec<TrackUpdate> {
    let mut last_frame: BTreeMap<u64, u32> = BTreeMap::new();
    for (frame, rows) in tracks {
        last_frame.extend(rows.iter().map(|(_, row)| (row.id.unwrap(), *frame)));
    }
    let mut live: BTreeMap<u64, TrackView> = BTreeMap::new();
    let end = tracks.keys().max().copied().unwrap_or(0);
    let mut updates = Vec::new();
    for frame in 1..=end {
        let now = Timestamp::from_micros((f64::from(frame - 1) / scene.frames_per_second * 1e6).round() as i64);
        live.retain(|id, _| last_frame[id] >= frame);
        for view in live.values_mut() {
            (view.confidence, view.history) = (0.0, Vec::new());
        }
        for (class, row) in tracks.get(&frame).into_iter().flatten() {
            see(&mut live, *class, row, now);
        }
        let (time_source, size) = (TimeSource::File, scene.size);
        updates.push(TrackUpdate {
            capture_time: now,
            time_source,
            size,
            tracks: live.values().cloned().collect(),
            ended: vec![],
        });
    }
    updates
}

fn see(live: &mut BTreeMap<u64, TrackView>, class: u16, row: &MotRow, now: Timestamp) {
    let (id, bbox, confidence) = (row.id.unwrap(), row.bbox, row.confidence);
    let history = if live.contains_key(&id) { Vec::new() } else { vec![Observation { time: now, bbox, confidence }] };
    let view = live.entry(id).or_insert_with(|| TrackView {
        id: TrackId(id),
        class,
        first_seen: now,
        last_seen: now,
        bbox,
        confidence,
        velocity: (0.0, 0.0),
        stationary: false,
        history: Vec::new(),
    });
    (view.last_seen, view.bbox, view.confidence, view.history) = (now, bbox, confidence, history);
}
