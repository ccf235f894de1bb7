//! From a frame to events: the chain behind the decoder, one frame at a time, without threads of its own.
//!
//! `vigil edge` runs it on a thread per camera, `vigil analyze` over a file.

use std::sync::Arc;

use vigil_base::detection::ModelIdentity;
use vigil_base::event::{EndReason, ModelRef};
use vigil_base::{Detections, Frame};
use vigil_detect::{DetectError, Detector, Regions};
use vigil_event::{EventConfig, EventContext, EventMaker, Revision};
use vigil_gate::{Attend, Attention, AttentionConfig, GateConfig, MotionGate, Open};
use vigil_track::{Outlook, TrackUpdate, Tracker, TrackerConfig, stripes};

use crate::tracking::TrackerTelemetry;

/// How one camera's frames are analysed.
#[derive(Debug, Clone)]
pub struct AnalyserConfig {
    /// Class names that become events; others are not tracked.
    pub classes: Vec<String>,
    /// Look when and where something moves or is tracked; `None` looks at all of every frame.
    pub gate: Option<GateConfig>,
    /// How much, with a gate.
    pub attention: AttentionConfig,
    /// The tracker's parameters.
    pub tracker: TrackerConfig,
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

/// What came of one frame.
#[derive(Debug)]
pub enum Analysis {
    /// Nothing moved and nothing was tracked: the detector was not asked.
    Still,
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
    /// By class index: whether it becomes an event.
    wanted: Vec<bool>,
    tracker: Tracker,
    telemetry: TrackerTelemetry,
    events: EventMaker,
    attention: Attention,
    /// Something is tracked that moves, or is not confirmed yet.
    busy: bool,
}

impl Analyser {
    /// An analyser that has seen nothing yet.
    ///
    /// # Errors
    /// A class is not one of the model's.
    pub fn new(
        config: AnalyserConfig,
        context: EventContext,
        detector: Box<dyn Detector>,
    ) -> Result<Self, UnknownClass> {
        let model = detector.model();
        let wanted = wanted_classes(&config.classes, &model)?;
        Ok(Self {
            gate: config.gate.map(MotionGate::new),
            detector,
            model,
            wanted,
            tracker: Tracker::new(config.tracker),
            telemetry: TrackerTelemetry::new(&context.camera),
            events: EventMaker::new(context, config.events),
            attention: Attention::new(config.attention),
            busy: false,
        })
    }

    /// Analyses one frame. Frames must come in order.
    ///
    /// # Errors
    /// The detector failed on this frame; the next may go well.
    pub fn analyse(&mut self, frame: &Frame) -> Result<Analysis, DetectError> {
        let regions = match self.consider(frame) {
            Attend::Still => return Ok(Analysis::Still),
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
        self.busy = update.tracks.iter().any(|track| !track.stationary) || self.tracker.has_tentative();
        self.detector.prefer(self.busy);
        let revisions = self.events.observe(&update, frame, &self.model);
        Ok(Analysis::Seen { update, revisions })
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
        self.events.end_all(reason)
    }

    /// The gate sees every frame, so that its background stays true, also while something is tracked.
    fn consider(&mut self, frame: &Frame) -> Attend {
        let Some(gate) = &mut self.gate else { return Attend::Whole };
        let motion = gate.observe(frame);
        let open = self.tracker.outlook(frame.capture_time).map(open);
        self.attention.consider(frame, &motion, gate, open)
    }

    /// A model that was promoted finds the same classes; events tell it by its fingerprint.
    fn follow_model(&mut self, model: &Arc<ModelIdentity>) {
        if Arc::ptr_eq(&self.model, model) || self.model.fingerprint == model.fingerprint {
            return;
        }
        let (name, fingerprint) = (model.name.as_str().into(), model.fingerprint.as_str().into());
        self.events.set_model(ModelRef { name, fingerprint });
        self.model = model.clone();
    }

    fn keep_wanted(&self, detections: &mut Detections) {
        detections.items.retain(|found| self.wanted.get(usize::from(found.class)).copied().unwrap_or(false));
    }
}

fn open(outlook: Outlook) -> Open {
    let Outlook { bbox, speed, confirmed, moved } = outlook;
    Open { bbox, speed, known: confirmed, urgent: confirmed || moved }
}

fn wanted_classes(classes: &[String], model: &ModelIdentity) -> Result<Vec<bool>, UnknownClass> {
    let mut wanted = vec![false; model.classes.len()];
    for class in classes {
        let index = model.classes.iter().position(|known| known == class).ok_or_else(|| UnknownClass {
            class: class.clone(),
            model: model.name.clone(),
            known: model.classes.join(", "),
        })?;
        wanted[index] = true;
    }
    Ok(wanted)
}
