//! What a camera's rules remember, and where it is kept so that it outlives the process.

use vigil_base::event::Event;
use vigil_rules::RulesMemory;

/// What outlives a process of one camera's analysis.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Remembered {
    /// Cool-downs and counts.
    pub rules: RulesMemory,
    /// Events of rules that ended because nobody looked any more, oldest first.
    pub interrupted: Vec<Event>,
}

/// Where it is kept. It reports trouble itself: an analysis goes on without.
pub trait MemoryStore: Send + Sync {
    /// What was last saved.
    fn load(&self) -> Remembered;
    /// Replaces it as a whole.
    fn save(&self, remembered: &Remembered);
}
