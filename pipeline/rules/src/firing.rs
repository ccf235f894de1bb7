//! What comes of rules: firings with their evidence, and counts to read.

use vigil_base::{PointNorm, RuleId, Timestamp, TrackId, ZoneId};

pub use vigil_base::evidence::{Counts, Crossing, DensityUnit, Evidence};

use crate::config::RuleKind;

/// A rule fired, or what it fired about is over.
#[derive(Debug, Clone, PartialEq)]
pub struct Firing {
    /// Counts the engine's firings, from 1; a firing that ends carries the number it began with.
    pub number: u64,
    /// Which rule.
    pub rule: RuleId,
    /// What it watches for.
    pub kind: RuleKind,
    /// The zone or line it watches.
    pub zone: Option<ZoneId>,
    /// The object, where it is one: its track and class index.
    pub object: Option<(TrackId, u16)>,
    /// Whether it is over at once, goes on, or has ended.
    pub phase: Phase,
    /// Capture time at which what it reports began; may lie well before the frame on which it was sure.
    pub begin: Timestamp,
    /// Capture time of the frame on which it fired; where it ended, of the last frame on which it held.
    pub time: Timestamp,
    /// Where the object was then: the anchor of its box.
    pub position: Option<PointNorm>,
    /// What made it fire; where it ended, as it was last.
    pub evidence: Evidence,
    /// How many firings of this rule its cool-down kept back since the one before.
    pub suppressed: u32,
}

/// How long a firing lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It reports a moment.
    Instant,
    /// It reports a state that goes on; one firing with the same number ends it.
    Begun,
    /// The state that it reported is over.
    Ended(Ending),
}

/// Why a firing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// What it reported is no longer so.
    Over,
    /// The object was lost.
    Lost,
    /// The rule was disarmed, or its schedule's window closed.
    Off,
    /// The rule was changed or taken out.
    Changed,
    /// The stream broke, its clock was set back, or the analysis stopped.
    Cut,
}

/// What a rule counts, now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reading {
    /// Of a line, also in the direction that does not fire.
    Counts(Counts),
    /// Of a zone or a room behind a line.
    Occupancy {
        /// How many there are.
        count: u32,
        /// How many there may be; none for a rule that only says who is inside.
        capacity: Option<u32>,
    },
    /// Of a zone.
    Density {
        /// How many there are.
        count: u32,
        /// How densely.
        density: f64,
        /// Its unit.
        unit: DensityUnit,
    },
}
