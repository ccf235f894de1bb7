//! A camera without a picture: actors walk where a test tells them to, and rules look on.

use std::collections::BTreeMap;
use std::sync::Arc;

use vigil_base::detection::ModelIdentity;
use vigil_base::event::PlateReading;
use vigil_base::ground::RawMark;
use vigil_base::{BoxPx, GroundPlane, Size, TimeSource, Timestamp, TrackId};
use vigil_rules::{Ending, Firing, FrameInput, Phase, RawRules, RuleEngine, RuleSet, SceneStatistics};
use vigil_track::{Observation, TrackUpdate, TrackView};

pub const SIZE: Size = Size::new(1600, 900);
pub const PERSON: u16 = 0;
pub const CAR: u16 = 1;
pub const TRUCK: u16 = 2;
pub const SUITCASE: u16 = 3;

pub fn model() -> Arc<ModelIdentity> {
    let classes = ["person", "car", "truck", "suitcase"].map(str::to_owned).to_vec();
    Arc::new(ModelIdentity { name: "m".into(), fingerprint: "f".into(), classes, ..ModelIdentity::default() })
}

/// The moment `seconds` after noon UTC of a Friday.
pub fn at(seconds: f64) -> Timestamp {
    Timestamp::parse("2026-05-01T12:00:00Z").unwrap() + std::time::Duration::from_micros((seconds * 1e6).round() as u64)
}

/// Seconds after [`at`]`(0.0)`.
pub fn seconds(time: Timestamp) -> f64 {
    time.seconds_since(at(0.0))
}

pub fn raw(toml: &str) -> RawRules {
    toml::from_str(toml).unwrap_or_else(|error| panic!("{error}"))
}

pub fn rules(toml: &str) -> RuleSet {
    RuleSet::resolve(&raw(toml), None).unwrap_or_else(|error| panic!("{error}"))
}

/// A camera that looks straight down: the picture is 32 m wide and 18 m high.
pub fn ground() -> Arc<GroundPlane> {
    let mark = |x: f64, y: f64| RawMark { picture: [x, y], metres: Some([x * 32.0, (1.0 - y) * 18.0]), location: None };
    Arc::new(GroundPlane::from_marks(&[mark(0.1, 0.1), mark(0.9, 0.1), mark(0.9, 0.9), mark(0.1, 0.9)]).unwrap())
}

/// Somebody or something that goes from place to place.
#[derive(Debug, Clone)]
pub struct Actor {
    pub id: u64,
    pub class: u16,
    /// Pixels.
    pub size: (f32, f32),
    pub confidence: f32,
    /// Seconds, and where its foot then is, shares of the picture; straight and even between them.
    pub path: Vec<(f64, f64, f64)>,
    /// From and until when it is not detected.
    pub hidden: Vec<(f64, f64)>,
}

impl Actor {
    pub fn new(id: u64, class: u16, path: &[(f64, f64, f64)]) -> Self {
        let size = match class {
            PERSON => (32.0, 80.0),
            SUITCASE => (30.0, 40.0),
            _ => (160.0, 80.0),
        };
        Self { id, class, size, confidence: 0.9, path: path.to_vec(), hidden: Vec::new() }
    }

    pub fn person(id: u64, path: &[(f64, f64, f64)]) -> Self {
        Self::new(id, PERSON, path)
    }

    pub fn hidden(mut self, from: f64, until: f64) -> Self {
        self.hidden.push((from, until));
        self
    }

    fn lives(&self, t: f64) -> bool {
        t >= self.path[0].0 && t <= self.path[self.path.len() - 1].0
    }

    fn is_seen(&self, t: f64) -> bool {
        self.lives(t) && !self.hidden.iter().any(|(from, until)| (*from..*until).contains(&t))
    }

    pub fn foot(&self, t: f64) -> (f64, f64) {
        let next = self.path.iter().position(|key| key.0 >= t).unwrap_or(self.path.len() - 1).max(1);
        let (Some(a), Some(b)) = (self.path.get(next - 1), self.path.get(next)) else {
            return (self.path[0].1, self.path[0].2);
        };
        let share = ((t - a.0) / (b.0 - a.0)).clamp(0.0, 1.0);
        (a.1 + share * (b.1 - a.1), a.2 + share * (b.2 - a.2))
    }

    fn bbox(&self, t: f64) -> BoxPx {
        let (x, y) = self.foot(t);
        let (width, height) = self.size;
        let (x, y) = (x as f32 * SIZE.width as f32, y as f32 * SIZE.height as f32);
        BoxPx::new(x - width / 2.0, y - height, width, height)
    }
}

/// Rules at work, and all that they have fired.
pub struct Stage {
    pub engine: RuleEngine,
    pub model: Arc<ModelIdentity>,
    pub fired: Vec<Firing>,
    /// First and last detection of the tracks that live.
    known: BTreeMap<u64, (Timestamp, Timestamp)>,
    /// Turns the order of tracks round.
    pub reversed: bool,
}

impl Stage {
    pub fn new(toml: &str) -> Self {
        Self::of(rules(toml))
    }

    pub fn calibrated(toml: &str) -> Self {
        Self::of(RuleSet::resolve(&raw(toml), Some(&ground())).unwrap())
    }

    pub fn of(rules: RuleSet) -> Self {
        let engine = RuleEngine::new(rules);
        Self { engine, model: model(), fired: Vec::new(), known: BTreeMap::new(), reversed: false }
    }

    /// The frame at `t`; what fired on it.
    pub fn frame(&mut self, t: f64, actors: &[Actor]) -> Vec<Firing> {
        self.frame_with(t, actors, &[], None)
    }

    pub fn frame_with(
        &mut self,
        t: f64,
        actors: &[Actor],
        plates: &[PlateReading],
        scene: Option<&SceneStatistics>,
    ) -> Vec<Firing> {
        let update = self.update(t, actors);
        let fired = self.engine.observe(&FrameInput { update: &update, model: &self.model, scene, plates });
        self.fired.extend(fired.iter().cloned());
        fired
    }

    /// Frames at an even rate, both ends included; all that fired on them.
    pub fn play(&mut self, from: f64, until: f64, rate: f64, actors: &[Actor]) -> Vec<Firing> {
        let frames = ((until - from) * rate).round() as u32;
        (0..=frames).flat_map(|frame| self.frame(from + f64::from(frame) / rate, actors)).collect()
    }

    fn update(&mut self, t: f64, actors: &[Actor]) -> TrackUpdate {
        let now = at(t);
        self.known.retain(|id, _| actors.iter().any(|actor| actor.id == *id && actor.lives(t)));
        let mut tracks = Vec::new();
        for actor in actors.iter().filter(|actor| actor.lives(t)) {
            let seen = actor.is_seen(t);
            let is_new = !self.known.contains_key(&actor.id);
            if is_new && !seen {
                continue;
            }
            let known = self.known.entry(actor.id).or_insert((now, now));
            if seen {
                known.1 = now;
            }
            let (bbox, confidence) = (actor.bbox(t), if seen { actor.confidence } else { 0.0 });
            let history = if is_new { vec![Observation { time: now, bbox, confidence }] } else { Vec::new() };
            tracks.push(TrackView {
                id: TrackId(actor.id),
                class: actor.class,
                first_seen: known.0,
                last_seen: known.1,
                bbox,
                confidence,
                velocity: (0.0, 0.0),
                stationary: false,
                history,
            });
        }
        tracks.sort_by_key(|track| track.id);
        if self.reversed {
            tracks.reverse();
        }
        TrackUpdate { capture_time: now, time_source: TimeSource::File, size: SIZE, tracks, ended: Vec::new() }
    }
}

/// Rule and phase of each firing, for comparing: `+` begun, `!` instant, `-` ended and why.
pub fn brief(fired: &[Firing]) -> Vec<String> {
    let brief = |firing: &Firing| {
        let phase = match firing.phase {
            Phase::Begun => "+".to_owned(),
            Phase::Instant => "!".to_owned(),
            Phase::Ended(Ending::Over) => "-over".to_owned(),
            Phase::Ended(ending) => format!("-{ending:?}").to_lowercase(),
        };
        let track = firing.object.map_or(String::new(), |(track, _)| format!(" {track}"));
        format!("{}{track} {phase}", firing.rule)
    };
    fired.iter().map(brief).collect()
}
