//! Rules as they are written.

use std::time::Duration;

use serde::Deserialize;
use vigil_base::config::Share;
use vigil_base::{RuleId, ZoneId};

use super::kinds::{
    RawAbandoned, RawCrowdDensity, RawLineCount, RawLineCrossed, RawLoitering, RawOccupancy, RawPlateListed,
    RawRemoved, RawSpeeding, RawStopped, RawTampered, RawWrongWay, RawZoned,
};

/// A camera's rules and what they refer to, as written. Nothing in it is checked against anything else yet:
/// [`crate::RuleSet::resolve`] does that.
///
/// Points are shares of the picture, `[x, y]`, 0..1, origin top-left, x right, y down. Durations are texts as `"1m
/// 30s"`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRules {
    /// IANA time zone of schedules and reset times that name none; absent: UTC.
    pub time_zone: Option<String>,
    /// Areas that rules watch.
    pub zones: Vec<RawShape>,
    /// Lines that rules watch.
    pub lines: Vec<RawShape>,
    /// When rules are on.
    pub schedules: Vec<RawSchedule>,
    /// The rules.
    pub rules: Vec<RawRule>,
}

/// A zone (a simple polygon of 3 points or more) or a line (a simple polyline of 2 or more).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawShape {
    /// Unique among the camera's zones and lines.
    pub id: ZoneId,
    /// In order. A line has a direction, from its first point to its last.
    pub points: Vec<[f64; 2]>,
}

/// When rules are on: whenever one of its windows is open.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSchedule {
    /// Unique among the camera's schedules.
    pub id: String,
    /// IANA time zone, as `Europe/Berlin`; absent: that of the rules.
    pub time_zone: Option<String>,
    /// At least one.
    pub windows: Vec<RawWindow>,
}

/// A span of local time on some days of the week.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawWindow {
    /// The days on which it opens; absent: every day.
    pub days: Option<Vec<Day>>,
    /// `HH:MM` or `HH:MM:SS`; absent: 00:00.
    pub from: Option<String>,
    /// The same, or `24:00`; not after `from`: it closes on the next day. Absent: 24:00.
    pub until: Option<String>,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // The names say it.
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// One rule: what all rules have, and exactly one of the tables that say what it watches for.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRule {
    /// Unique in the camera.
    pub id: RuleId,
    /// Class names it looks at (ONVIF: `ClassFilter`); absent: those its kind is meant for, for most kinds all.
    pub classes: Option<Vec<String>>,
    /// Least confidence of the object's best detection so far, 0..1 (ONVIF: `ConfidenceLevel`); absent: any.
    pub min_confidence: Option<Share>,
    /// An object counts when it has been seen for so long (ONVIF: `DwellTime`); absent: once it is a track.
    #[serde(default, with = "humantime_serde")]
    pub min_presence: Option<Duration>,
    /// When it is on; absent: always.
    pub schedule: Option<String>,
    /// After a firing it does not fire again for so long; absent: not at all.
    #[serde(default, with = "humantime_serde")]
    pub cool_down: Option<Duration>,
    /// Off when false; absent: on.
    pub armed: Option<bool>,
    /// Which point of an object's box stands for it; absent: the middle of its lower side.
    pub anchor: Option<Anchor>,

    /// An object crosses a line.
    pub line_crossed: Option<RawLineCrossed>,
    /// How many cross a line.
    pub line_count: Option<RawLineCount>,
    /// An object is inside a zone.
    pub inside: Option<RawZoned>,
    /// An object enters a zone.
    pub entered: Option<RawZoned>,
    /// An object leaves a zone.
    pub left: Option<RawZoned>,
    /// An object stays in a zone for long.
    pub loitering: Option<RawLoitering>,
    /// More objects are inside than may be.
    pub occupancy: Option<RawOccupancy>,
    /// Objects stand too densely in a zone.
    pub crowd_density: Option<RawCrowdDensity>,
    /// A vehicle stands.
    pub stopped_vehicle: Option<RawStopped>,
    /// An object goes against the allowed direction.
    pub wrong_way: Option<RawWrongWay>,
    /// An object is too fast.
    pub speeding: Option<RawSpeeding>,
    /// A thing is left alone.
    pub object_abandoned: Option<RawAbandoned>,
    /// A thing that stood is gone.
    pub object_removed: Option<RawRemoved>,
    /// The camera is covered, blurred, moved, dark or frozen.
    pub camera_tampered: Option<RawTampered>,
    /// A plate is on a list, or not on it.
    pub plate_listed: Option<RawPlateListed>,
}

/// Which point of an object's box stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anchor {
    /// The middle of its lower side: where persons and vehicles stand on the ground.
    #[default]
    BottomCentre,
    /// Its middle. Use where the camera looks straight down, or for what does not stand on the ground.
    Centre,
}
