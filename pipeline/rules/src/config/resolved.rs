//! Rules as they are meant: every value checked, every reference followed.

use std::sync::Arc;
use std::time::Duration;

use vigil_base::config::Share;
use vigil_base::detection::ModelIdentity;
use vigil_base::{GroundPlane, RuleId, ZoneId};

pub use vigil_base::rule::RuleKind;

use super::{Anchor, Density, Directions, Fault, PlateMatch, Reach, RuleError, Tamper, listed};
use crate::plate::PlateList;
use crate::schedule::{Schedule, TimesOfDay};
use crate::shape::{Line, Zone};

/// A camera's rules as they are meant.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RuleSet {
    pub(crate) rules: Vec<Rule>,
}

impl RuleSet {
    /// How many rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rules' ids and kinds, as written.
    pub fn rules(&self) -> impl Iterator<Item = (&RuleId, RuleKind)> {
        self.rules.iter().map(|rule| (&rule.id, rule.watch.kind()))
    }

    /// Class names that rules name, or their kinds bring along, in alphabetical order: what must be tracked for them,
    /// whatever becomes an event of its own. A rule without classes looks at all that is tracked.
    pub fn classes(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for rule in self.rules.iter().filter(|rule| rule.watch.kind() != RuleKind::CameraTampered) {
            names.extend(rule.settings.classes.iter().flatten().map(String::as_str));
            if let Watch::Abandoned(abandoned) = &rule.watch {
                names.extend(abandoned.owners.iter().map(String::as_str));
            }
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether some rule needs [`crate::SceneStatistics`].
    pub fn needs_scene(&self) -> bool {
        self.rules.iter().any(|rule| rule.watch.kind() == RuleKind::CameraTampered)
    }

    /// Whether some rule needs [`vigil_base::event::PlateReading`]s.
    pub fn needs_plates(&self) -> bool {
        self.rules.iter().any(|rule| rule.watch.kind() == RuleKind::PlateListed)
    }

    /// Checks that the model finds every class that is named.
    ///
    /// # Errors
    /// A class is not one of the model's. Classes that were not named but are a kind's default may be missing.
    pub fn check_classes(&self, model: &ModelIdentity) -> Result<(), RuleError> {
        for (index, rule) in self.rules.iter().enumerate().filter(|(_, rule)| rule.settings.classes_named) {
            let classes = rule.settings.classes.iter().flatten();
            if let Some(class) = classes.into_iter().find(|class| !model.classes.contains(class)) {
                let known = listed(model.classes.iter().map(String::as_str));
                let problem = format!("{class:?} is not a class that model {} finds; it finds {known}", model.name);
                return Err(Fault::at(format!("rules[{index}].classes"), problem).in_rule(rule.id.as_str()));
            }
        }
        Ok(())
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Rule {
    pub id: RuleId,
    pub settings: Settings,
    pub watch: Watch,
}

/// What all rules have. A rule whose settings change keeps what it has seen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// All when absent.
    pub classes: Option<Vec<String>>,
    /// Whether the classes were written, or are the kind's own.
    pub classes_named: bool,
    pub min_confidence: f32,
    pub min_presence: Duration,
    pub schedule: Option<Arc<Schedule>>,
    pub cool_down: Duration,
    pub armed: bool,
}

/// What a rule watches. A rule for which this changes begins anew.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Watch {
    LineCrossed(LineRule, Directions),
    LineCount { line: LineRule, reset: TimesOfDay, report_every: Option<Duration> },
    Zone(ZoneRule, RuleKind),
    Loitering(ZoneRule, Duration),
    Occupancy(OccupancyRule),
    Crowd(CrowdRule),
    Stopped(StandingRule),
    WrongWay(WrongWayRule),
    Speeding(SpeedingRule),
    Abandoned(AbandonedRule),
    Removed(StandingRule),
    Tampered(TamperRule),
    Plate(PlateRule),
}

impl Watch {
    pub(crate) fn kind(&self) -> RuleKind {
        match self {
            Self::LineCrossed(..) => RuleKind::LineCrossed,
            Self::LineCount { .. } => RuleKind::LineCount,
            Self::Zone(_, kind) => *kind,
            Self::Loitering(..) => RuleKind::Loitering,
            Self::Occupancy(_) => RuleKind::Occupancy,
            Self::Crowd(_) => RuleKind::CrowdDensity,
            Self::Stopped(_) => RuleKind::StoppedVehicle,
            Self::WrongWay(_) => RuleKind::WrongWay,
            Self::Speeding(_) => RuleKind::Speeding,
            Self::Abandoned(_) => RuleKind::ObjectAbandoned,
            Self::Removed(_) => RuleKind::ObjectRemoved,
            Self::Tampered(_) => RuleKind::CameraTampered,
            Self::Plate(_) => RuleKind::PlateListed,
        }
    }

    /// The zone or line it watches.
    pub(crate) fn place(&self) -> Option<&ZoneId> {
        match self {
            Self::LineCrossed(line, _) | Self::LineCount { line, .. } => Some(&line.line.id),
            Self::Zone(zone, _) | Self::Loitering(zone, _) => zone.place(),
            Self::Occupancy(occupancy) => match &occupancy.of {
                Capacity::Zone(zone) => zone.place(),
                Capacity::Line { line, .. } => Some(&line.line.id),
            },
            Self::Crowd(crowd) => crowd.zone.place(),
            Self::Stopped(standing) | Self::Removed(standing) => standing.zone.place(),
            Self::WrongWay(rule) => rule.zone.place(),
            Self::Speeding(rule) => rule.zone.place(),
            Self::Abandoned(rule) => rule.standing.zone.place(),
            Self::Tampered(_) | Self::Plate(_) => None,
        }
    }
}

/// A line that objects cross.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LineRule {
    pub line: Arc<Line>,
    /// Object sizes.
    pub hysteresis: f64,
    pub anchor: Anchor,
}

/// A zone that objects are in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ZoneRule {
    /// The whole picture when absent.
    pub zone: Option<Arc<Zone>>,
    /// Object sizes.
    pub hysteresis: f64,
    pub anchor: Anchor,
}

impl ZoneRule {
    fn place(&self) -> Option<&ZoneId> {
        self.zone.as_ref().map(|zone| &zone.id)
    }
}

/// How many may be somewhere.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OccupancyRule {
    pub of: Capacity,
    pub capacity: u32,
    pub hold: Duration,
}

/// How they are counted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Capacity {
    Zone(ZoneRule),
    Line { line: LineRule, reset: TimesOfDay },
}

/// How densely they may stand.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CrowdRule {
    pub zone: ZoneRule,
    pub limit: CrowdLimit,
    pub hold: Duration,
}

/// A density and the area it is over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CrowdLimit {
    /// The limit, in its unit.
    pub density: Density,
    /// Of the zone: square metres, or share of the picture.
    pub area: f64,
}

/// What stands somewhere for long.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StandingRule {
    pub zone: ZoneRule,
    pub time_threshold: Duration,
    /// Object sizes.
    pub tolerance: f64,
}

/// Which way is wrong.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WrongWayRule {
    pub zone: ZoneRule,
    /// The allowed way, in shares of the picture.
    pub allowed: (f64, f64),
    pub tolerance_degrees: f64,
    /// Object sizes.
    pub min_distance: f64,
}

/// How fast is too fast.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SpeedingRule {
    pub zone: ZoneRule,
    pub scale: SpeedScale,
    /// In the scale's unit.
    pub limit: f64,
    pub window: Duration,
}

/// How ways are measured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SpeedScale {
    /// Metres on the ground.
    Ground(Arc<GroundPlane>),
    /// Picture widths.
    Picture,
}

/// A thing without its owner.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AbandonedRule {
    pub standing: StandingRule,
    pub owners: Vec<String>,
    pub attended_within: Reach,
    pub ground: Option<Arc<GroundPlane>>,
}

/// What may be wrong with the camera.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TamperRule {
    /// In order, each once.
    pub detect: Vec<Tamper>,
    pub hold: Duration,
    pub frozen_after: Duration,
    pub accept_after: Duration,
}

/// Which plates fire.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PlateRule {
    pub list: Arc<PlateList>,
    pub on: PlateMatch,
    pub min_likelihood: Share,
}
