//! One rule at work: what its kind reports is judged by its settings, and becomes firings.

use vigil_base::detection::ModelIdentity;
use vigil_base::event::Plate;
use vigil_base::{PointNorm, Timestamp, TrackId};

use crate::config::{Rule, RuleKind, Settings};
use crate::firing::{Ending, Evidence, Firing, Phase, Reading};
use crate::kinds::{Machine, machine};
use crate::memory::{Kept, RuleMemory, Unsaved, fingerprint};
use crate::moment::Moment;
use crate::report::{Object, Report, Reports, What, key_of};
use crate::scene::SceneStatistics;
use crate::seen::Seen;
use crate::sighting::Sighting;
use crate::tracks::Tracks;

/// A rule, its kind at work, and what it has fired.
#[derive(Debug)]
pub(crate) struct LiveRule {
    rule: Rule,
    machine: Box<dyn Machine>,
    reports: Reports,
    /// By class index: whether it looks at it; absent for all.
    classes: Option<Vec<bool>>,
    /// By key: what it fired that goes on.
    open: Vec<Option<Open>>,
    /// By key: what goes on and was kept back.
    kept_back: Vec<bool>,
    /// When it last fired.
    fired: Option<Timestamp>,
    suppressed: u32,
    is_on: bool,
    knows_plates: bool,
    /// What was last kept for another process.
    saved: Kept,
}

/// A firing, as of the last frame on which it held.
#[derive(Debug, Clone)]
pub(crate) struct Open {
    pub number: u64,
    object: Option<(TrackId, u16)>,
    pub begin: Timestamp,
    position: Option<PointNorm>,
    pub evidence: Evidence,
    last: Timestamp,
}

impl Open {
    fn new(
        firings: &mut Firings,
        object: Option<Object>,
        begin: Timestamp,
        evidence: Evidence,
        now: Timestamp,
    ) -> Self {
        firings.count += 1;
        let (number, position) = (firings.count, object.map(|object| object.at));
        Self { number, object: object.map(|object| (object.track, object.class)), begin, position, evidence, last: now }
    }

    fn into_firing(self, rule: &Rule, phase: Phase, suppressed: u32) -> Firing {
        Firing {
            number: self.number,
            rule: rule.id.clone(),
            kind: rule.watch.kind(),
            zone: rule.watch.place().cloned(),
            object: self.object,
            phase,
            begin: self.begin,
            time: self.last,
            position: self.position,
            evidence: self.evidence,
            suppressed,
        }
    }
}

/// Where firings go, each with its number.
#[derive(Debug, Default)]
pub(crate) struct Firings {
    pub made: Vec<Firing>,
    count: u64,
}

impl LiveRule {
    pub fn new(rule: Rule) -> Self {
        let mut live = Self {
            machine: machine(&rule.watch),
            rule,
            reports: Reports::default(),
            classes: None,
            open: Vec::new(),
            kept_back: Vec::new(),
            fired: None,
            suppressed: 0,
            is_on: false,
            knows_plates: false,
            saved: Kept::default(),
        };
        // What it begins with need not be kept.
        live.saved = live.kept();
        live
    }

    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Goes on with other settings.
    pub fn set(&mut self, settings: Settings) {
        self.rule.settings = settings;
    }

    pub fn learn_classes(&mut self, model: &ModelIdentity) {
        let named = self.rule.settings.classes.as_ref();
        self.classes = named.map(|named| model.classes.iter().map(|class| named.contains(class)).collect());
        self.machine.learn_classes(model);
    }

    /// Whether it is armed and its schedule's window is open. When it no longer is, all that goes on ends, and what was
    /// seen is forgotten: it begins anew when its time comes.
    pub fn switch(&mut self, now: Timestamp, firings: &mut Firings) -> bool {
        let settings = &self.rule.settings;
        let is_on = settings.armed && settings.schedule.as_ref().is_none_or(|schedule| schedule.is_on(now));
        if self.is_on && !is_on {
            self.cut(Ending::Off, firings);
        }
        self.is_on = is_on;
        is_on
    }

    /// Whether it was on when it was last asked to [`LiveRule::switch`].
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Whether it must be told of all plates that are known: it has just begun.
    pub fn wants_plates(&mut self) -> bool {
        !std::mem::replace(&mut self.knows_plates, true) && self.rule.watch.kind() == RuleKind::PlateListed
    }

    pub fn read(&mut self, slot: usize, plate: &Plate) {
        self.machine.read(slot, plate);
    }

    pub fn see(&mut self, sighting: &Sighting, tracks: &Tracks) {
        let settings = &self.rule.settings;
        let class = usize::from(sighting.seen.class);
        let of_class = self.classes.as_ref().is_none_or(|classes| classes.get(class).copied().unwrap_or(false));
        let eligible =
            of_class && sighting.confidence >= settings.min_confidence && sighting.presence >= settings.min_presence;
        self.machine.see(&Seen { eligible, ..sighting.seen }, tracks, &mut self.reports);
    }

    /// The frame is complete.
    pub fn conclude(&mut self, scene: Option<&SceneStatistics>, now: Moment, firings: &mut Firings) {
        if let Some(scene) = scene {
            self.machine.look(scene, now, &mut self.reports);
        }
        self.machine.conclude(now, &mut self.reports);
        self.judge(now.time, firings);
    }

    /// A track has ended.
    pub fn end(&mut self, slot: usize, object: Object, now: Timestamp, firings: &mut Firings) {
        self.machine.end(slot, object, &mut self.reports);
        self.judge(now, firings);
        self.reports.forget(slot);
        self.close(key_of(slot), Ending::Lost, firings);
    }

    /// All that goes on ends, and what was seen is forgotten.
    pub fn cut(&mut self, ending: Ending, firings: &mut Firings) {
        let before = firings.made.len();
        for key in 0..self.open.len() {
            self.close(key, ending, firings);
        }
        firings.made[before..].sort_unstable_by_key(|ended| ended.number);
        self.kept_back.fill(false);
        self.reports.clear();
        self.machine.reset();
        self.knows_plates = false;
    }

    /// The capture clock was set back, by microseconds below zero.
    pub fn shift_clock(&mut self, by: i64) {
        let shifted = |at: Timestamp| Timestamp::from_micros(at.as_micros().saturating_add(by));
        self.fired = self.fired.map(shifted);
    }

    /// What it would forget.
    pub fn unsaved(&self) -> Unsaved {
        let kept = self.kept();
        if kept == self.saved {
            return Unsaved::Nothing;
        }
        if kept.fired == self.saved.fired { Unsaved::Counts } else { Unsaved::Firing }
    }

    /// What it remembers; from here on that counts as saved.
    pub fn save(&mut self) -> Option<RuleMemory> {
        self.saved = self.kept();
        let is_any = self.saved != Kept::default();
        let (rule, watch) = (&self.rule.id, &self.rule.watch);
        is_any.then(|| RuleMemory { rule: rule.clone(), watch: fingerprint(watch), kept: self.saved })
    }

    /// Goes on with what it remembered as of `at`, unless it watched for something else then.
    pub fn recall(&mut self, memory: &RuleMemory, at: Timestamp) -> bool {
        if memory.watch != fingerprint(&self.rule.watch) {
            return false;
        }
        (self.fired, self.suppressed) = (memory.kept.fired, memory.kept.suppressed);
        if let Some(tally) = memory.kept.tally {
            self.machine.recall(tally, at);
        }
        self.saved = self.kept();
        true
    }

    /// Frames begin at `now`: it cannot have fired later, whatever the clock said then.
    pub fn begin_at(&mut self, now: Timestamp) {
        self.fired = self.fired.map(|fired| fired.min(now));
    }

    fn kept(&self) -> Kept {
        let fired = self.fired.filter(|_| !self.rule.settings.cool_down.is_zero());
        Kept { fired, suppressed: self.suppressed, tally: self.machine.kept() }
    }

    pub fn reading(&self) -> Option<Reading> {
        self.machine.reading()
    }

    pub fn open(&self) -> impl Iterator<Item = &Open> {
        self.open.iter().flatten()
    }

    fn judge(&mut self, now: Timestamp, firings: &mut Firings) {
        let mut reports = std::mem::take(&mut self.reports);
        for report in reports.take() {
            self.judge_one(report, now, firings);
        }
        self.reports = reports;
    }

    fn judge_one(&mut self, report: Report, now: Timestamp, firings: &mut Firings) {
        let Report { key, object, what, eligible, .. } = report;
        self.make_room(key);
        match what {
            What::Happened { begin, evidence } if self.may_fire(now) => {
                let open = Open::new(firings, object, begin, evidence, now);
                self.fire(open, Phase::Instant, now, firings);
            }
            What::Happened { .. } => self.suppressed = self.suppressed.saturating_add(1),
            What::Holds { begin, evidence } => {
                if let Some(open) = &mut self.open[key] {
                    (open.evidence, open.position, open.last) = (evidence, object.map(|object| object.at), now);
                } else if eligible && self.may_fire(now) {
                    let open = Open::new(firings, object, begin, evidence, now);
                    self.kept_back[key] = false;
                    self.open[key] = Some(open.clone());
                    self.fire(open, Phase::Begun, now, firings);
                } else {
                    self.kept_back[key] |= eligible;
                }
            }
            What::Over => self.close(key, Ending::Over, firings),
        }
    }

    /// Ends what goes on under a key. What was kept back until its end is counted.
    fn close(&mut self, key: usize, ending: Ending, firings: &mut Firings) {
        if let Some(kept_back) = self.kept_back.get_mut(key)
            && std::mem::take(kept_back)
        {
            self.suppressed = self.suppressed.saturating_add(1);
        }
        if let Some(open) = self.open.get_mut(key).and_then(Option::take) {
            firings.made.push(open.into_firing(&self.rule, Phase::Ended(ending), 0));
        }
    }

    fn fire(&mut self, open: Open, phase: Phase, now: Timestamp, firings: &mut Firings) {
        self.fired = Some(now);
        let suppressed = std::mem::take(&mut self.suppressed);
        firings.made.push(open.into_firing(&self.rule, phase, suppressed));
    }

    fn may_fire(&self, now: Timestamp) -> bool {
        self.fired.is_none_or(|fired| now.since(fired) >= self.rule.settings.cool_down)
    }

    fn make_room(&mut self, key: usize) {
        if key >= self.open.len() {
            self.open.resize_with(key + 1, || None);
            self.kept_back.resize(key + 1, false);
        }
    }
}
