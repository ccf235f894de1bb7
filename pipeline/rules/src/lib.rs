//! `TrackUpdate` to firings: what the rules of a camera make of what is tracked.
//!
//! Pure: no files, no sockets, no clock; time is the capture time of the frames. One [`RuleEngine`] serves one camera.
//! Rules are written as [`RawRules`] and meant as a [`RuleSet`]; a set that is wrong anywhere is refused as a whole,
//! with the key and the rule's id ([`RuleError`]).
//!
//! ```toml
//! time_zone = "Europe/Berlin"
//! zones = [{ id = "forecourt", points = [[0.1, 0.5], [0.9, 0.5], [0.9, 0.95], [0.1, 0.95]] }]
//! lines = [{ id = "gate", points = [[0.2, 0.8], [0.8, 0.8]] }]
//! schedules = [{ id = "night", windows = [{ from = "22:00", until = "06:00" }] }]
//!
//! [[rules]]
//! id = "in-by-the-gate"
//! line_crossed = { line = "gate", direction = "right" }
//!
//! [[rules]]
//! id = "nobody-at-night"
//! classes = ["person"]
//! min_confidence = 0.5
//! min_presence = "2s"
//! schedule = "night"
//! cool_down = "5m"
//! loitering = { zone = "forecourt", time_threshold = "1m" }
//! ```
//!
//! What happens on a frame ([`RuleEngine::observe`]):
//! 1. Tracks that are no longer told of have ended; what went on about them ends.
//! 2. Each rule that is armed and within its schedule sees each sighting, in time order, also those of before a track
//!    was confirmed. Where a track is only expected and not seen, nothing is concluded.
//! 3. What its kind reports is sorted by time, then by track, so that the order of tracks changes nothing, and becomes
//!    a [`Firing`] unless the rule's cool-down keeps it back. A state fires when it begins and ends with the same
//!    number.
//!
//! What counts as what, for all kinds:
//! - **An object counts** for a rule when it is of its classes, its best detection so far is sure enough, and it has
//!   been seen for long enough. What it did before waits for that: it fires when the object counts, and not at all when
//!   it was undone before.
//! - **A change is sure** after two sightings in a row. One is never enough: it may be a detector's slip.
//! - **Between two sightings** an object went straight. So a track that was lost and found again crossed the line that
//!   lies between, and analysing more or fewer frames of the same way gives the same result.
//! - **Time** that is counted (dwell, presence, holds) is time that was watched: of a gap between two frames at most
//!   [`MAX_STEP`] counts. A frame that is not later than the last is ignored; a clock set back by more than a second
//!   ends all that goes on, as it ends all tracks, and moves cool-downs along; one set forward is a gap.
//! - **A rule that is off** sees nothing. It begins anew when its time comes: who is inside then did not enter, and
//!   dwell counts from then.
//! - **Cool-downs** keep firings back, not counts. A state that outlasts the cool-down fires when it is over.
//! - **A restart** of the process: cool-downs and counts go on where they are kept ([`RuleEngine::memory`]); tracks do
//!   not, nor what is about them.
//! - **Memory** is bounded by the rules and the objects that live at once; a frame on which nothing fires allocates
//!   nothing.
//!
//! Deliberately absent: faces, and any guess of who somebody is or what they intend.

mod config;
mod engine;
mod firing;
mod kinds;
mod live;
mod memory;
mod moment;
mod plate;
mod report;
mod scene;
mod schedule;
mod seen;
mod shape;
mod sighting;
mod tracks;
mod watch;

pub use config::{
    Anchor, Day, Density, Direction, Directions, MAX_PLATES, MAX_RULES, MAX_SCHEDULES, MAX_SHAPES, PlateMatch,
    RawAbandoned, RawCrowdDensity, RawLineCount, RawLineCrossed, RawLoitering, RawOccupancy, RawPlateListed,
    RawRemoved, RawRule, RawRules, RawSchedule, RawShape, RawSpeeding, RawStopped, RawTampered, RawWindow, RawWrongWay,
    RawZoned, Reach, RuleError, RuleKind, RuleSet, SpeedLimit, Tamper,
};
pub use engine::{EngineStats, FrameInput, MAX_STEP, OpenFiring, Readout, RuleEngine, RuleState};
pub use firing::{Counts, Crossing, DensityUnit, Ending, Evidence, Firing, Phase, Reading};
pub use memory::{Kept, KeptCounts, KeptTally, RuleMemory, RulesMemory, Unsaved};
pub use moment::Spot;
pub use scene::{GRID_CELLS, GRID_COLUMNS, GRID_ROWS, SceneStatistics};
pub use schedule::{MAX_RESETS, MAX_WINDOWS, Schedule};
pub use shape::MAX_POINTS;
pub use tracks::MAX_TRACKS;
