//! From a frame to events: the chain behind the decoder, one frame at a time, without threads of its own.
//!
//! `vigil edge` runs it on a thread per camera, `vigil analyze` over a file.

use std::sync::Arc;

use vigil_base::detection::ModelIdentity;
use vigil_base::event::{EndReason, ModelRef};
use vigil_base::{Detections, Frame, Hold, RuleId};
use vigil_detect::{DetectError, Detector, Regions};
use vigil_event::{EventConfig, EventContext, EventMaker, Revision};
use vigil_gate::{Attend, Attention, AttentionConfig, Boxes, GateConfig, MotionGate, Open, Reason};
use vigil_plates::{PlateConfig, PlateWatch};
use vigil_rules::{Readout, RuleError, RuleSet, RuleState, Unsaved};
use vigil_track::{Outlook, TrackUpdate, Tracker, TrackerConfig, stripes};

use crate::memory::Remembered;
use crate::rules::Rules;
use crate::sampler::Sampler;
use crate::tracking::TrackerTelemetry;

/// How one camera's frames are analysed.
#[derive(Debug, Clone)]
pub struct AnalyserConfig {
    /// What is watched for; its classes are tracked, too. Classes that become events of their own stand in `events`;
    /// others are not tracked.
    pub rules: RuleSet,
    /// Look when and where something moves or is tracked; `None` looks at all of every frame.
    pub gate: Option<GateConfig>,
    /// How much, with a gate.
    pub attention: AttentionConfig,
    /// The tracker's parameters; how confidences are read, the model says.
    pub tracker: TrackerConfig,
    /// Who reads number plates; `None` reads none.
    pub plates: Option<PlateConfig>,
    /// How often and with what events are told.
    pub events: EventConfig,
}

/// A class name in the configuration is not one of the model's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("class {class:?} is not one that model {model} finds; it finds: {known}")]
pub struct UnknownClass {
    class: String,
    model: String,
    known: String,
}

/// What is configured does not fit the model.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unfit {
    /// A class that should become an event.
    #[error(transparent)]
    Class(#[from] UnknownClass),
    /// A class that a rule names.
    #[error("the rules do not fit the model")]
    Rules(#[from] RuleError),
}

/// What came of one frame.
#[derive(Debug)]
pub enum Analysis {
    /// Nothing moved and nothing was tracked: the detector was not asked.
    Still {
        /// Event revisions that are due: what the rules say of the picture, and what has ended.
        revisions: Vec<Revision>,
    },
    /// What is tracked needs no look yet: the detector was not asked.
    NotDue,
    /// The detector looked at it.
    Seen {
        /// What the tracker made of it.
        update: TrackUpdate,
        /// Event revisions that are due.
        revisions: Vec<Revision>,
    },
}

/// Analyses one camera's frames.
pub struct Analyser {
    gate: Option<MotionGate>,
    detector: Box<dyn Detector>,
    model: Arc<ModelIdentity>,
    /// Class names that become events.
    told: Vec<String>,
    /// By class index: whether it is tracked.
    wanted: Vec<bool>,
    tracker: Tracker,
    telemetry: TrackerTelemetry,
    plates: Option<PlateWatch>,
    rules: Rules,
    events: EventMaker,
    attention: Attention,
    /// The frames that would be looked at without attention.
    regular: Sampler,
    /// Where the last frame that the gate saw changed; none without a gate.
    changed: Option<Boxes>,
    /// Something is tracked that moves, or may be about to.
    busy: bool,
}

impl Analyser {
    /// An analyser that has seen nothing yet.
    ///
    /// # Errors
    /// A class is not one of the model's.
    pub fn new(config: AnalyserConfig, context: EventContext, detector: Box<dyn Detector>) -> Result<Self, Unfit> {
        let model = detector.model();
        let told = config.events.classes.clone();
        let wanted = wanted_classes(&told, &config.rules, &model)?;
        let mut analyser = Self {
            gate: config.gate.map(MotionGate::new),
            detector,
            model,
            told,
            wanted,
            tracker: Tracker::new(config.tracker),
            telemetry: TrackerTelemetry::new(&context.camera),
            plates: config.plates.map(|plates| PlateWatch::new(plates, &context.camera)),
            rules: Rules::new(config.rules),
            events: EventMaker::new(context, config.events),
            attention: Attention::new(config.attention),
            regular: Sampler::new(config.attention.max_rate),
            changed: None,
            busy: false,
        };
        analyser.adopt_model();
        Ok(analyser)
    }

    /// Analyses one frame. Frames must come in order.
    ///
    /// # Errors
    /// The detector failed on this frame; the next may go well.
    pub fn analyse(&mut self, frame: &Frame) -> Result<Analysis, DetectError> {
        let (attend, changed) = self.consider(frame);
        let regions = match attend {
            Attend::Still => return Ok(Analysis::Still { revisions: self.find_on_still(frame, changed) }),
            Attend::NotDue => return Ok(Analysis::NotDue),
            Attend::Whole => Regions::WHOLE,
            Attend::Parts => {
                Regions::of(self.attention.places().iter().copied()).in_detail(self.attention.wants_detail())
            }
        };
        let mut detections = self.detector.detect_within(frame, &regions)?;
        self.follow_model(&detections.model);
        self.keep_wanted(&mut detections);
        let update = self.tracker.update_looking(&detections, &|bbox| stripes(frame, bbox));
        self.telemetry.follow(self.tracker.stats());
        self.busy = self.tracker.outlook(frame.capture_time).any(|one| self.moves(&one, frame));
        let plates = self.plates.as_mut().map(|plates| plates.observe(&update, frame, &self.model)).unwrap_or_default();
        self.events.read(&plates);
        let firings = self.rules.observe(&update, frame, changed, &plates, &self.model);
        // What stands still matters where rules watch it: a bag, a car.
        self.detector.prefer(self.busy || (!update.tracks.is_empty() && self.rules.are_watching()));
        let mut revisions = self.events.observe(&update, firings, frame, &self.model);
        self.events.grow(self.rules.open(), frame.capture_time, &mut revisions);
        Ok(Analysis::Seen { update, revisions })
    }

    /// Takes other rules from the next frame on. A rule that watches for the same keeps what it has seen and counted;
    /// the events of those that are gone end.
    ///
    /// # Errors
    /// A rule names a class that the model does not find: all stays as it was.
    pub fn set_rules(&mut self, rules: RuleSet) -> Result<Vec<Revision>, Unfit> {
        self.wanted = wanted_classes(&self.told, &rules, &self.model)?;
        let ended = self.rules.replace(rules);
        Ok(self.events.conclude(ended, EndReason::RuleChanged))
    }

    /// What must outlive this analyser. From here on that counts as saved.
    pub fn remembered(&mut self) -> Remembered {
        Remembered { rules: self.rules.memory(), interrupted: self.events.interrupted() }
    }

    /// Whether there is something that [`Analyser::remembered`] has not given yet.
    pub fn unsaved(&self) -> Unsaved {
        if self.events.has_unsaved() { Unsaved::Firing } else { self.rules.unsaved() }
    }

    /// Goes on with what an earlier analyser of this camera left; to be called before the first frame. The rules that are
    /// gone or watch for something else, which begin anew.
    pub fn recall(&mut self, remembered: Remembered) -> Vec<RuleId> {
        let left_out = self.rules.recall(&remembered.rules).into_iter().cloned().collect();
        self.events.recall(remembered.interrupted);
        left_out
    }

    /// What the rules count, now; in the rules' order.
    pub fn readouts(&self) -> impl Iterator<Item = Readout<'_>> {
        self.rules.readouts()
    }

    /// How the rules are, now.
    pub fn rule_states(&self) -> impl Iterator<Item = RuleState<'_>> + Clone {
        self.rules.states()
    }

    /// Whether something moves that is tracked, or may turn out to be worth tracking: no frame should be missed now.
    pub fn is_busy(&self) -> bool {
        self.busy
    }

    /// Ends all tracks and their events: the stream broke, or the edge stops.
    pub fn end_all(&mut self, reason: EndReason) -> Vec<Revision> {
        self.tracker.flush();
        self.busy = false;
        self.attention.reset();
        self.plates.iter_mut().for_each(PlateWatch::reset);
        let firings = self.rules.end_all();
        let mut ended = self.events.conclude(firings, reason);
        ended.extend(self.events.end_all(reason));
        ended
    }

    /// What the rules say of a picture on which nothing is tracked.
    fn find_on_still(&mut self, frame: &Frame, changed: f32) -> Vec<Revision> {
        let firings = self.rules.observe_still(frame, changed, &self.model);
        let mut revisions = self.events.find(firings, frame, &self.model);
        self.events.grow(self.rules.open(), frame.capture_time, &mut revisions);
        revisions
    }

    /// How to look, and the share of the picture that changed. The gate sees every frame that may be looked at, so that its
    /// background stays true, also while something is tracked.
    fn consider(&mut self, frame: &Frame) -> (Attend, f32) {
        let Some(gate) = &mut self.gate else { return (Attend::Whole, 0.0) };
        let regular = self.regular.takes(frame.capture_time);
        if self.attention.is_too_soon(frame.capture_time) {
            return (Attend::NotDue, 0.0);
        }
        let motion = gate.observe(frame);
        // A first picture differs from nothing.
        let known = !matches!(motion.reason, Reason::First | Reason::Resized);
        self.changed = Some(if known { motion.boxes.clone() } else { Boxes::new() });
        let open = self.tracker.outlook(frame.capture_time).map(open);
        (self.attention.consider(frame, &motion, gate, open, regular), motion.share_changed)
    }

    /// Whether something that is open moves, or may be about to. What was there when it was first seen, has not moved since and
    /// where nothing changes can wait: a street has parked cars.
    fn moves(&self, one: &Outlook, frame: &Frame) -> bool {
        let changes =
            || self.changed.as_ref().is_none_or(|boxes| boxes.iter().any(|b| b.to_px(frame.size).iou(&one.bbox) > 0.0));
        match one.hold {
            Hold::Doubtful | Hold::Settled => false,
            Hold::Moving => true,
            Hold::New | Hold::Followed | Hold::Lost => one.moved || changes(),
        }
    }

    /// A model that was promoted finds the same classes; events tell it by its fingerprint.
    fn follow_model(&mut self, model: &Arc<ModelIdentity>) {
        if Arc::ptr_eq(&self.model, model) || self.model.fingerprint == model.fingerprint {
            return;
        }
        self.model = model.clone();
        self.adopt_model();
    }

    /// Events name the model that detects now, whatever was promoted since the camera was configured; its confidences are
    /// read on its own scale.
    fn adopt_model(&mut self) {
        let ModelIdentity { name, fingerprint, confidence, .. } = &*self.model;
        self.events.set_model(ModelRef { name: name.as_str().into(), fingerprint: fingerprint.as_str().into() });
        self.tracker.follow_scale(confidence);
    }

    fn keep_wanted(&self, detections: &mut Detections) {
        detections.items.retain(|found| self.wanted.get(usize::from(found.class)).copied().unwrap_or(false));
    }
}

fn open(outlook: Outlook) -> Open {
    let Outlook { bbox, speed, hold, .. } = outlook;
    Open { bbox, speed, hold }
}

/// Whether a camera that makes events of these classes, with these rules, can run with a model.
///
/// # Errors
/// A class is not one of the model's.
pub fn fits(classes: &[String], rules: &RuleSet, model: &ModelIdentity) -> Result<(), Unfit> {
    wanted_classes(classes, rules, model).map(drop)
}

/// By class index: whether it is tracked. Classes that a rule's kind brings along need not be the model's.
fn wanted_classes(told: &[String], rules: &RuleSet, model: &ModelIdentity) -> Result<Vec<bool>, Unfit> {
    if let Some(class) = told.iter().find(|class| !model.classes.contains(class)) {
        let (class, known) = (class.clone(), model.classes.join(", "));
        return Err(UnknownClass { class, model: model.name.clone(), known }.into());
    }
    rules.check_classes(model)?;
    let named = rules.classes();
    let is_wanted = |class: &String| told.contains(class) || named.contains(&class.as_str());
    Ok(model.classes.iter().map(is_wanted).collect())
}
