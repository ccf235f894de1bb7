//! What the two threads of a camera share.

use std::sync::atomic::{AtomicBool, Ordering};

use metrics::{Counter, Gauge, counter, gauge};
use parking_lot::Mutex;
use vigil_base::CameraId;
use vigil_camera::Shutdown;
use vigil_rules::RuleSet;

use crate::config::ChainConfig;
use crate::ledger::Ledger;
use crate::readouts::Readouts;
use crate::slot::FrameSlot;
use crate::status::{Stage, StatusCell};

/// What both threads share.
pub(crate) struct Shared {
    pub slot: FrameSlot,
    pub ledger: Ledger,
    pub status: StatusCell,
    pub shutdown: Shutdown,
    /// The gate before the decoder lets only keyframes through: no frames come, and nothing is wrong.
    resting: AtomicBool,
    /// Something is tracked that moves, or may turn out to.
    busy: AtomicBool,
    /// Packets come and nothing is seen.
    blind: Gauge,
    /// Events whose first, and whose last revision was kept; and those that went on after a break had ended them.
    pub events_begun: Counter,
    pub events_resumed: Counter,
    pub events_ended: Counter,
    /// What the rules count.
    pub readouts: Readouts,
    rules: Mutex<NewRules>,
}

/// Rules that were changed since the start.
#[derive(Default)]
struct NewRules {
    /// As they were last set; an analysis that is set up anew begins with them.
    set: Option<RuleSet>,
    /// Not taken over yet.
    waits: bool,
}

impl Shared {
    pub fn new(camera: &CameraId) -> Self {
        Self {
            slot: FrameSlot::default(),
            ledger: Ledger::new(camera),
            status: StatusCell::new(),
            shutdown: Shutdown::new(),
            resting: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            blind: gauge!("vigil_camera_blind", "camera" => camera.to_string()),
            events_begun: counter!("vigil_events_begun_total", "camera" => camera.to_string()),
            events_resumed: counter!("vigil_events_resumed_total", "camera" => camera.to_string()),
            events_ended: counter!("vigil_events_ended_total", "camera" => camera.to_string()),
            readouts: Readouts::default(),
            rules: Mutex::default(),
        }
    }

    /// Tells of a stage that fails, or works again: once for each reason.
    pub fn sight(&self, config: &ChainConfig, stage: Stage, trouble: Option<&str>) {
        if !self.status.sight(stage, trouble) {
            return;
        }
        let blind = self.status.blind();
        self.blind.set(if blind.is_some() { 1.0 } else { 0.0 });
        if let Some(why) = trouble {
            tracing::warn!(camera = %config.camera, why, "the camera is not seen although it streams");
        } else {
            tracing::info!(camera = %config.camera, ?stage, "works again");
        }
        (config.on_sight)(blind.as_deref());
    }

    pub fn set_rules(&self, rules: RuleSet) {
        *self.rules.lock() = NewRules { set: Some(rules), waits: true };
    }

    /// The rules that were last set, where some were.
    pub fn rules(&self) -> Option<RuleSet> {
        self.rules.lock().set.clone()
    }

    /// The rules that wait to be taken over.
    pub fn take_new_rules(&self) -> Option<RuleSet> {
        let mut rules = self.rules.lock();
        std::mem::take(&mut rules.waits).then(|| rules.set.clone()).flatten()
    }

    pub fn is_resting(&self) -> bool {
        self.resting.load(Ordering::Relaxed)
    }

    pub fn set_resting(&self, resting: bool) {
        self.resting.store(resting, Ordering::Relaxed);
    }

    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    pub fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::Relaxed);
    }
}
