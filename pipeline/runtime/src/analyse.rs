//! From a frame to events: the chain behind the decoder, one frame at a time, without threads of its own.
//!
//! `vigil edge` runs it on a thread per camera, `vigil analyze` over a file.

use std::sync::Arc;
use std::time::Duration;

use vigil_base::detection::ModelIdentity;
use vigil_base::event::EndReason;
use vigil_base::{Detections, Frame, Timestamp};
use vigil_detect::{DetectError, Detector};
use vigil_event::{EventConfig, EventContext, EventMaker, Revision};
use vigil_gate::{GateConfig, MotionGate};
use vigil_track::{TrackUpdate, Tracker, TrackerConfig};

/// How one camera's frames are analysed.
#[derive(Debug, Clone)]
pub struct AnalyserConfig {
    /// Class names that become events; others are not tracked.
    pub classes: Vec<String>,
    /// Skip frames on which nothing moves while nothing is tracked; `None` looks at every frame.
    pub gate: Option<GateConfig>,
    /// A still picture is looked at this often all the same: something may stand in it that the gate never saw move.
    pub still_refresh: Duration,
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
    events: EventMaker,
    still_refresh: Duration,
    /// Capture time of the last frame the detector looked at.
    last_seen: Option<Timestamp>,
    tracking: bool,
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
            events: EventMaker::new(context, config.events),
            still_refresh: config.still_refresh,
            last_seen: None,
            tracking: false,
            busy: false,
        })
    }

    /// Analyses one frame. Frames must come in order.
    ///
    /// # Errors
    /// The detector failed on this frame; the next may go well.
    pub fn analyse(&mut self, frame: &Frame) -> Result<Analysis, DetectError> {
        if !self.worth_a_look(frame) {
            return Ok(Analysis::Still);
        }
        let mut detections = self.detector.detect(frame)?;
        self.last_seen = Some(frame.capture_time);
        self.keep_wanted(&mut detections);
        let update = self.tracker.update(&detections);
        self.tracking = !update.tracks.is_empty() || self.tracker.has_tentative();
        self.busy = update.tracks.iter().any(|track| !track.stationary) || self.tracker.has_tentative();
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
        (self.tracking, self.busy) = (false, false);
        self.last_seen = None;
        self.events.end_all(reason)
    }

    /// The gate sees every frame, so that its background stays true, also while something is tracked.
    fn worth_a_look(&mut self, frame: &Frame) -> bool {
        let moved = self.gate.as_mut().is_none_or(|gate| gate.observe(frame).moved);
        let refresh = self
            .last_seen
            .is_none_or(|last| frame.capture_time < last || frame.capture_time.since(last) >= self.still_refresh);
        moved || refresh || self.tracking
    }

    fn keep_wanted(&self, detections: &mut Detections) {
        detections.items.retain(|found| self.wanted.get(usize::from(found.class)).copied().unwrap_or(false));
    }
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
