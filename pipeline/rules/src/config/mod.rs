//! Rules as written and as meant.

mod fault;
mod kinds;
mod places;
mod raw;
mod resolve;
mod resolved;

pub use fault::RuleError;
pub(crate) use fault::{Fault, listed};
pub use kinds::{
    Density, Direction, Directions, PlateMatch, RawAbandoned, RawCrowdDensity, RawLineCount, RawLineCrossed,
    RawLoitering, RawOccupancy, RawPlateListed, RawRemoved, RawSpeeding, RawStopped, RawTampered, RawWrongWay,
    RawZoned, Reach, SpeedLimit, Tamper,
};
pub use places::{MAX_SCHEDULES, MAX_SHAPES};
pub use raw::{Anchor, Day, RawRule, RawRules, RawSchedule, RawShape, RawWindow};
pub use resolve::{MAX_PLATES, MAX_RULES};
pub(crate) use resolved::{
    AbandonedRule, Capacity, CrowdRule, LineRule, OccupancyRule, PlateRule, Rule, Settings, SpeedScale, SpeedingRule,
    StandingRule, TamperRule, Watch, WrongWayRule, ZoneRule,
};
pub use resolved::{RuleKind, RuleSet};
