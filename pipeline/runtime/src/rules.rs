//! A camera's rules at work.

use std::sync::Arc;

use vigil_base::detection::ModelIdentity;
use vigil_base::event::PlateReading;
use vigil_base::{Frame, RuleId};
use vigil_rules::{
    Firing, FrameInput, OpenFiring, Readout, RuleEngine, RuleSet, RuleState, RulesMemory, SceneStatistics, Unsaved,
};
use vigil_track::TrackUpdate;

/// Shows a camera's frames to its rules; costs nothing where there are none.
pub(crate) struct Rules {
    engine: RuleEngine,
    is_empty: bool,
    needs_scene: bool,
}

impl Rules {
    pub fn new(rules: RuleSet) -> Self {
        let (is_empty, needs_scene) = (rules.is_empty(), rules.needs_scene());
        Self { engine: RuleEngine::new(rules), is_empty, needs_scene }
    }

    /// Takes other rules from the next frame on; what ended with those that are gone.
    pub fn replace(&mut self, rules: RuleSet) -> Vec<Firing> {
        (self.is_empty, self.needs_scene) = (rules.is_empty(), rules.needs_scene());
        self.engine.replace(rules)
    }

    /// What the rules make of a frame. `changed` is the share of the picture that the motion gate saw change, 0..1.
    pub fn observe(
        &mut self,
        update: &TrackUpdate,
        frame: &Frame,
        changed: f32,
        plates: &[PlateReading],
        model: &Arc<ModelIdentity>,
    ) -> Vec<Firing> {
        if self.is_empty {
            return Vec::new();
        }
        let luma = self.needs_scene.then(|| frame.planes.first()).flatten();
        let scene = luma.map(|luma| SceneStatistics::measure(luma, changed));
        self.engine.observe(&FrameInput { update, model, scene: scene.as_ref(), plates })
    }

    /// As [`Rules::observe`], of a frame that the detector was not asked about: nothing is tracked.
    pub fn observe_still(&mut self, frame: &Frame, changed: f32, model: &Arc<ModelIdentity>) -> Vec<Firing> {
        if self.is_empty {
            return Vec::new();
        }
        self.observe(&nothing_on(frame), frame, changed, &[], model)
    }

    /// What went on ends: the stream broke, or the analysis stops.
    pub fn end_all(&mut self) -> Vec<Firing> {
        self.engine.end_all()
    }

    /// Whether any of them is armed and within its schedule.
    pub fn are_watching(&self) -> bool {
        self.engine.is_watching()
    }

    pub fn memory(&mut self) -> RulesMemory {
        self.engine.memory()
    }

    pub fn unsaved(&self) -> Unsaved {
        self.engine.unsaved()
    }

    pub fn recall<'a>(&mut self, memory: &'a RulesMemory) -> Vec<&'a RuleId> {
        self.engine.recall(memory)
    }

    pub fn open(&self) -> impl Iterator<Item = OpenFiring<'_>> {
        self.engine.open()
    }

    pub fn states(&self) -> impl Iterator<Item = RuleState<'_>> + Clone {
        self.engine.states()
    }

    pub fn readouts(&self) -> impl Iterator<Item = Readout<'_>> {
        self.engine.readouts()
    }
}

fn nothing_on(frame: &Frame) -> TrackUpdate {
    TrackUpdate {
        capture_time: frame.capture_time,
        time_source: frame.time_source,
        size: frame.size,
        tracks: Vec::new(),
        ended: Vec::new(),
    }
}
