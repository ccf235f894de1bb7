//! The words of rules that also stand in events.

use std::fmt;

use serde::Deserialize;

/// What a rule watches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // The configuration's tables of the same names say it.
pub enum RuleKind {
    LineCrossed,
    LineCount,
    Inside,
    Entered,
    Left,
    Loitering,
    Occupancy,
    CrowdDensity,
    StoppedVehicle,
    WrongWay,
    Speeding,
    ObjectAbandoned,
    ObjectRemoved,
    CameraTampered,
    PlateListed,
}

impl RuleKind {
    /// All kinds.
    pub const ALL: [Self; 15] = [
        Self::LineCrossed,
        Self::LineCount,
        Self::Inside,
        Self::Entered,
        Self::Left,
        Self::Loitering,
        Self::Occupancy,
        Self::CrowdDensity,
        Self::StoppedVehicle,
        Self::WrongWay,
        Self::Speeding,
        Self::ObjectAbandoned,
        Self::ObjectRemoved,
        Self::CameraTampered,
        Self::PlateListed,
    ];

    /// The table of the configuration that makes a rule of this kind.
    pub fn name(self) -> &'static str {
        match self {
            Self::LineCrossed => "line_crossed",
            Self::LineCount => "line_count",
            Self::Inside => "inside",
            Self::Entered => "entered",
            Self::Left => "left",
            Self::Loitering => "loitering",
            Self::Occupancy => "occupancy",
            Self::CrowdDensity => "crowd_density",
            Self::StoppedVehicle => "stopped_vehicle",
            Self::WrongWay => "wrong_way",
            Self::Speeding => "speeding",
            Self::ObjectAbandoned => "object_abandoned",
            Self::ObjectRemoved => "object_removed",
            Self::CameraTampered => "camera_tampered",
            Self::PlateListed => "plate_listed",
        }
    }

    /// The ONVIF topic below `tns1:` that says the same (Analytics Service Specification 21.12, annex A, and its
    /// recognition and tampering rules), where there is one. Entering and leaving are the two edges of the property
    /// `IsInside`.
    pub fn onvif_topic(self) -> Option<&'static str> {
        match self {
            Self::LineCrossed => Some("RuleEngine/LineDetector/Crossed"),
            Self::LineCount => Some("RuleEngine/CountAggregation/Counter"),
            Self::Inside | Self::Entered | Self::Left => Some("RuleEngine/FieldDetector/ObjectsInside"),
            Self::Loitering => Some("RuleEngine/LoiteringDetector/ObjectIsLoitering"),
            Self::Occupancy => Some("RuleEngine/CountAggregation/OccupancyCounter"),
            Self::CameraTampered => Some("RuleEngine/TamperDetector/Tamper"),
            Self::PlateListed => Some("RuleEngine/Recognition/LicensePlate"),
            Self::CrowdDensity
            | Self::StoppedVehicle
            | Self::WrongWay
            | Self::Speeding
            | Self::ObjectAbandoned
            | Self::ObjectRemoved => None,
        }
    }
}

impl fmt::Display for RuleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which way over a line, seen by somebody who walks along it from its first point to its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// To the left, coming from the right.
    Left,
    /// To the right, coming from the left.
    Right,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Left => "left",
            Self::Right => "right",
        })
    }
}

/// What may be wrong with a camera's picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tamper {
    /// Something is before the lens: the picture has lost its scene and its detail.
    Covered,
    /// The scene is there and its detail is gone.
    Blurred,
    /// Another scene, as rich in detail.
    Moved,
    /// Black, or nearly.
    Dark,
    /// The same picture over and over.
    Frozen,
}

impl fmt::Display for Tamper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Covered => "covered",
            Self::Blurred => "blurred",
            Self::Moved => "moved",
            Self::Dark => "dark",
            Self::Frozen => "frozen",
        })
    }
}
