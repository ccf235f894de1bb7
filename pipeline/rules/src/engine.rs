//! All rules of one camera.

use std::sync::Arc;
use std::time::Duration;

use vigil_base::detection::ModelIdentity;
use vigil_base::event::{Plate, PlateReading};
use vigil_base::{RuleId, Timestamp, ZoneId};
use vigil_track::TrackUpdate;

use crate::config::{RuleKind, RuleSet};
use crate::firing::{Ending, Evidence, Firing, Reading};
use crate::live::{Firings, LiveRule};
use crate::memory::{RulesMemory, Unsaved};
use crate::moment::Moment;
use crate::report::Object;
use crate::scene::SceneStatistics;
use crate::sighting::{Sighting, collect};
use crate::tracks::Tracks;
use crate::watch::Slots;

/// Longest time between two frames that counts as watched. What happened in a longer gap nobody saw: of it, as much is
/// counted. Stages that look at a quiet camera only at its keyframes come at most this far apart.
pub const MAX_STEP: Duration = Duration::from_secs(10);
/// A frame that is earlier than the one before by more means that the clock was set back; by less, that it is late, as
/// the tracker has it.
const MAX_SET_BACK_MICROS: i64 = 1_000_000;

/// What one analysed frame brings.
#[derive(Debug, Clone, Copy)]
pub struct FrameInput<'a> {
    /// The tracker's answer; without tracks for a frame that the detector was not asked about.
    pub update: &'a TrackUpdate,
    /// Whose class indices stand in it. The same `Arc` from frame to frame: another one is learned anew.
    pub model: &'a Arc<ModelIdentity>,
    /// The picture as a whole, for rules that need it ([`RuleSet::needs_scene`]).
    pub scene: Option<&'a SceneStatistics>,
    /// Plates that were read, when they were read or read better.
    pub plates: &'a [PlateReading],
}

/// What an engine met that no firing tells; counted since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Frames that were not later than the one before, and were ignored.
    pub late_frames: u64,
    /// Times the capture clock was set back: all that went on was ended.
    pub set_back: u64,
    /// Times more than [`MAX_STEP`] passed between two frames.
    pub gaps: u64,
    /// Sightings of tracks beyond the most that are looked at.
    pub crowded_out: u64,
}

/// A count of one rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Readout<'a> {
    /// Which rule.
    pub rule: &'a RuleId,
    /// What it watches for.
    pub kind: RuleKind,
    /// The zone or line it watches.
    pub zone: Option<&'a ZoneId>,
    /// The count.
    pub reading: Reading,
}

/// How a rule is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RuleState<'a> {
    /// Which.
    pub rule: &'a RuleId,
    /// Armed and within its schedule, as of the last frame.
    pub is_on: bool,
    /// What it counts, where it counts.
    pub reading: Option<Reading>,
}

/// A firing that goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenFiring<'a> {
    /// The number it began with.
    pub number: u64,
    /// Which rule.
    pub rule: &'a RuleId,
    /// When what it reports began.
    pub begin: Timestamp,
    /// As of the last frame on which it held.
    pub evidence: &'a Evidence,
}

/// Runs the rules of one camera, one analysed frame at a time.
#[derive(Debug)]
pub struct RuleEngine {
    rules: Vec<LiveRule>,
    tracks: Tracks,
    plates: Slots<Option<Plate>>,
    model: Option<Arc<ModelIdentity>>,
    sightings: Vec<Sighting>,
    firings: Firings,
    now: Option<Moment>,
    /// Of the last frame, also before the stream broke or the process began.
    latest: Option<Timestamp>,
    /// Of the moment before the stream broke.
    watched: i64,
    stats: EngineStats,
}

/// How a frame follows the one before.
enum Step {
    Late,
    Forward(Moment),
    SetBack { now: Moment, by: i64 },
}

impl RuleEngine {
    /// An engine that has seen nothing yet.
    pub fn new(rules: RuleSet) -> Self {
        Self {
            rules: rules.rules.into_iter().map(LiveRule::new).collect(),
            tracks: Tracks::default(),
            plates: Slots::default(),
            model: None,
            sightings: Vec::new(),
            firings: Firings::default(),
            now: None,
            latest: None,
            watched: 0,
            stats: EngineStats::default(),
        }
    }

    /// Takes in one analysed frame: what fired and what ended with it, rule after rule. Frames need not come evenly.
    pub fn observe(&mut self, input: &FrameInput<'_>) -> Vec<Firing> {
        let now = match self.step(input.update.capture_time) {
            Step::Late => {
                self.stats.late_frames += 1;
                return Vec::new();
            }
            Step::SetBack { now, by } => {
                self.stats.set_back += 1;
                self.cut();
                self.rules.iter_mut().for_each(|rule| rule.shift_clock(by));
                now
            }
            Step::Forward(now) => now,
        };
        if self.now.is_none() {
            self.rules.iter_mut().for_each(|rule| rule.begin_at(now.time));
        }
        (self.now, self.latest, self.watched) = (Some(now), Some(now.time), now.watched);
        self.learn_classes(input.model);
        self.stats.crowded_out += collect(input.update, now, &mut self.tracks, &mut self.sightings);
        self.end_gone(now.time);
        self.remember(input.plates);
        for rule in &mut self.rules {
            if !rule.switch(now.time, &mut self.firings) {
                continue;
            }
            tell_plates(rule, input.plates, &self.tracks, &mut self.plates);
            for sighting in &self.sightings {
                rule.see(sighting, &self.tracks);
            }
            rule.conclude(input.scene, now, &mut self.firings);
        }
        std::mem::take(&mut self.firings.made)
    }

    /// The stream broke, or the analysis stops: all that goes on ends, and all objects are forgotten. Counts and
    /// cool-downs stay. What ended with it.
    pub fn end_all(&mut self) -> Vec<Firing> {
        self.cut();
        self.now = None;
        std::mem::take(&mut self.firings.made)
    }

    /// Takes other rules from the next frame on. A rule that watches for the same keeps what it has seen, counted and
    /// fired, also when its classes, confidence, presence, schedule, cool-down or arming change; what the others had
    /// going on ends, and is returned.
    pub fn replace(&mut self, rules: RuleSet) -> Vec<Firing> {
        let mut old: Vec<Option<LiveRule>> = std::mem::take(&mut self.rules).into_iter().map(Some).collect();
        for rule in rules.rules {
            let same = |live: &&mut Option<LiveRule>| {
                live.as_ref().is_some_and(|live| live.rule().id == rule.id && live.rule().watch == rule.watch)
            };
            self.rules.push(match old.iter_mut().find(same).and_then(Option::take) {
                Some(mut live) => {
                    live.set(rule.settings);
                    live
                }
                None => LiveRule::new(rule),
            });
        }
        for mut gone in old.into_iter().flatten() {
            gone.cut(Ending::Changed, &mut self.firings);
        }
        self.model = None;
        std::mem::take(&mut self.firings.made)
    }

    /// What the rules remember beyond this engine: cool-downs and counts. From here on that counts as saved.
    pub fn memory(&mut self) -> RulesMemory {
        RulesMemory { at: self.latest, rules: self.rules.iter_mut().filter_map(LiveRule::save).collect() }
    }

    /// Whether there is something that [`RuleEngine::memory`] has not given yet; allocates nothing.
    pub fn unsaved(&self) -> Unsaved {
        self.rules.iter().map(LiveRule::unsaved).max().unwrap_or(Unsaved::Nothing)
    }

    /// Goes on with what the rules of an earlier engine remembered; to be called before the first frame. Those that are
    /// gone or watch for something else are left out; their ids.
    pub fn recall<'a>(&mut self, memory: &'a RulesMemory) -> Vec<&'a RuleId> {
        let Some(at) = memory.at else { return Vec::new() };
        self.latest = Some(at);
        let mut left_out = Vec::new();
        for kept in &memory.rules {
            let live = self.rules.iter_mut().find(|live| live.rule().id == kept.rule);
            if !live.is_some_and(|live| live.recall(kept, at)) {
                left_out.push(&kept.rule);
            }
        }
        left_out
    }

    /// Whether any rule is armed and within its schedule, as of the last frame.
    pub fn is_watching(&self) -> bool {
        self.rules.iter().any(LiveRule::is_on)
    }

    /// What the rules count, now; in the rules' order.
    pub fn readouts(&self) -> impl Iterator<Item = Readout<'_>> {
        self.rules.iter().filter_map(|live| {
            let watch = &live.rule().watch;
            let (rule, kind, zone) = (&live.rule().id, watch.kind(), watch.place());
            live.reading().map(|reading| Readout { rule, kind, zone, reading })
        })
    }

    /// How all rules are, in their order; allocates nothing.
    pub fn states(&self) -> impl Iterator<Item = RuleState<'_>> + Clone {
        self.rules.iter().map(|live| RuleState { rule: &live.rule().id, is_on: live.is_on(), reading: live.reading() })
    }

    /// Firings that go on, with the evidence as it is now.
    pub fn open(&self) -> impl Iterator<Item = OpenFiring<'_>> {
        self.rules.iter().flat_map(|live| {
            let rule = &live.rule().id;
            live.open().map(move |open| OpenFiring {
                number: open.number,
                rule,
                begin: open.begin,
                evidence: &open.evidence,
            })
        })
    }

    /// Counts since the engine was made.
    pub fn stats(&self) -> EngineStats {
        self.stats
    }

    fn step(&mut self, time: Timestamp) -> Step {
        let Some(last) = self.now else {
            return Step::Forward(Moment { time, watched: self.watched });
        };
        let passed = time.as_micros().saturating_sub(last.time.as_micros());
        if passed < -MAX_SET_BACK_MICROS {
            return Step::SetBack { now: Moment { time, ..last }, by: passed };
        }
        if passed <= 0 {
            return Step::Late;
        }
        let longest = MAX_STEP.as_micros() as i64;
        self.stats.gaps += u64::from(passed > longest);
        Step::Forward(Moment { time, watched: last.watched + passed.min(longest) })
    }

    fn learn_classes(&mut self, model: &Arc<ModelIdentity>) {
        if self.model.as_ref().is_some_and(|known| Arc::ptr_eq(known, model)) {
            return;
        }
        self.rules.iter_mut().for_each(|rule| rule.learn_classes(model));
        self.model = Some(Arc::clone(model));
    }

    fn end_gone(&mut self, now: Timestamp) {
        while let Some((slot, track)) = self.tracks.next_gone() {
            let object = Object { track: track.id, class: track.class, at: track.foot };
            for rule in &mut self.rules {
                rule.end(slot, object, now, &mut self.firings);
            }
            self.plates.take(slot);
            self.tracks.release(slot);
        }
    }

    fn remember(&mut self, plates: &[PlateReading]) {
        for reading in plates {
            if let Some(slot) = self.tracks.slot_of(reading.track) {
                *self.plates.of(slot) = Some(reading.plate.clone());
            }
        }
    }

    fn cut(&mut self) {
        for rule in &mut self.rules {
            rule.cut(Ending::Cut, &mut self.firings);
        }
        self.tracks.clear();
        self.plates.clear();
    }
}

/// Tells a rule what was read: all that is known when it has just begun, else what is new.
fn tell_plates(rule: &mut LiveRule, new: &[PlateReading], tracks: &Tracks, known: &mut Slots<Option<Plate>>) {
    if rule.wants_plates() {
        for (slot, plate) in known.iter().enumerate() {
            if let Some(plate) = plate {
                rule.read(slot, plate);
            }
        }
        return;
    }
    for reading in new {
        if let Some(slot) = tracks.slot_of(reading.track) {
            rule.read(slot, &reading.plate);
        }
    }
}
