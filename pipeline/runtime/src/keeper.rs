//! When what a camera's rules remember is written, and how it comes back.

use std::sync::Arc;
use std::time::Duration;

use vigil_base::{CameraId, SharedClock};
use vigil_rules::Unsaved;

use crate::analyse::Analyser;
use crate::memory::MemoryStore;

/// Counts are written at most so often: a count that is lost with the power is no alarm. That a rule fired is written at once,
/// or it would fire again; its cool-down bounds how often that is.
pub const SAVE_COUNTS_EVERY: Duration = Duration::from_secs(10);

/// Saves when it is due.
pub(crate) struct Keeper {
    store: Option<Arc<dyn MemoryStore>>,
    clock: SharedClock,
    saved_at: Option<Duration>,
}

impl Keeper {
    pub fn new(store: Option<Arc<dyn MemoryStore>>, clock: SharedClock) -> Self {
        Self { store, clock, saved_at: None }
    }

    /// After a frame: saves what must not wait, and the rest once in a while.
    pub fn look(&mut self, analyser: &mut Analyser) {
        let is_due = match analyser.unsaved() {
            Unsaved::Nothing => return,
            Unsaved::Firing => true,
            Unsaved::Counts => {
                let now = self.clock.monotonic();
                self.saved_at.is_none_or(|saved| now.saturating_sub(saved) >= SAVE_COUNTS_EVERY)
            }
        };
        if is_due {
            self.save(analyser);
        }
    }

    /// The analysis ends: saves what there is.
    pub fn finish(&mut self, analyser: &mut Analyser) {
        if analyser.unsaved() != Unsaved::Nothing {
            self.save(analyser);
        }
    }

    fn save(&mut self, analyser: &mut Analyser) {
        if let Some(store) = &self.store {
            store.save(&analyser.remembered());
            self.saved_at = Some(self.clock.monotonic());
        }
    }
}

/// Lets an analysis that has seen nothing yet go on with what was kept.
pub(crate) fn recall(analyser: &mut Analyser, camera: &CameraId, store: &dyn MemoryStore) {
    let remembered = store.load();
    let (rules, interrupted) = (remembered.rules.rules.len(), remembered.interrupted.len());
    let left_out = analyser.recall(remembered);
    if rules + interrupted > 0 {
        let taken = rules - left_out.len();
        tracing::info!(camera = %camera, rules = taken, interrupted, "cool-downs, counts and what went on are as they were left");
    }
    for rule in left_out {
        tracing::info!(camera = %camera, rule = %rule, "the rule is gone or watches for something else: it begins anew");
    }
}
