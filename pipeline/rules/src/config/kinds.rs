//! What the kinds of rules are told, as it is written: the table whose name is the kind.

use std::time::Duration;

use serde::Deserialize;
use vigil_base::ZoneId;
use vigil_base::config::Share;

pub use vigil_base::rule::{Direction, Tamper};

/// Which way over a line a rule listens to (ONVIF: `Direction`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // The names say it.
pub enum Directions {
    Left,
    Right,
    #[default]
    Any,
}

/// `line_crossed = { line = "gate", direction = "right" }`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawLineCrossed {
    /// Of the camera's lines.
    pub line: ZoneId,
    /// Which way fires; both are counted. Absent: any.
    #[serde(default)]
    pub direction: Directions,
    /// How far from the line an object must have been on either side, in its own sizes (the longer side of its box);
    /// absent: 0.1.
    pub hysteresis: Option<f64>,
}

/// `line_count = { line = "gate", reset = ["00:00"], report_every = "15m" }`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawLineCount {
    /// Of the camera's lines.
    pub line: ZoneId,
    /// As in [`RawLineCrossed::hysteresis`].
    pub hysteresis: Option<f64>,
    /// Local times of day at which the counts begin anew (ONVIF: `ResetTime`); absent: never.
    #[serde(default)]
    pub reset: Vec<String>,
    /// Fires with the counts this often, if they changed (ONVIF: `ReportTimeInterval`); absent: they are only read out.
    #[serde(default, with = "humantime_serde")]
    pub report_every: Option<Duration>,
}

/// `inside = { zone = "forecourt" }`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawZoned {
    /// Of the camera's zones.
    pub zone: ZoneId,
    /// How far outside an object must be to have left, in its own sizes; absent: 0.1.
    pub hysteresis: Option<f64>,
}

/// `loitering = { zone = "forecourt", time_threshold = "1m" }`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawLoitering {
    /// Absent: the whole picture.
    pub zone: Option<ZoneId>,
    /// How long it may stay (ONVIF: `TimeThreshold`).
    #[serde(with = "humantime_serde")]
    pub time_threshold: Duration,
}

/// `occupancy = { zone = "hall", capacity = 50 }` or `occupancy = { line = "door", capacity = 200, reset = ["04:00"] }`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawOccupancy {
    /// Counts who is seen inside. Either this or `line`.
    pub zone: Option<ZoneId>,
    /// Counts who went in (to the right) and out (to the left), for a room the camera does not see.
    pub line: Option<ZoneId>,
    /// Fires above this many.
    pub capacity: u32,
    /// How long the count must be above, and then at or below it; absent: 2 s.
    #[serde(default, with = "humantime_serde")]
    pub hold: Option<Duration>,
    /// With `line`: local times of day at which the room is empty; absent: never.
    #[serde(default)]
    pub reset: Vec<String>,
}

/// `crowd_density = { zone = "square", limit = { per_square_metre = 3.5 } }`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawCrowdDensity {
    /// Of the camera's zones.
    pub zone: ZoneId,
    /// Fires above this density.
    pub limit: Density,
    /// How long the density must be above, and then at or below it; absent: 5 s.
    #[serde(default, with = "humantime_serde")]
    pub hold: Option<Duration>,
}

/// How densely objects stand.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Density {
    /// On the ground plane of a calibrated camera.
    PerSquareMetre(f64),
    /// As many as a whole picture would hold at the density of the zone: its count divided by its share of the picture.
    PerPicture(f64),
}

/// `stopped_vehicle = { zone = "lane", time_threshold = "20s" }`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawStopped {
    /// Absent: the whole picture.
    pub zone: Option<ZoneId>,
    /// How long it may stand.
    #[serde(with = "humantime_serde")]
    pub time_threshold: Duration,
    /// How far it may move and still stand, in its own sizes; absent: 0.25.
    pub tolerance: Option<f64>,
}

/// `wrong_way = { zone = "lane", allowed = [[0.5, 0.9], [0.45, 0.4]] }`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawWrongWay {
    /// Absent: the whole picture.
    pub zone: Option<ZoneId>,
    /// An arrow in the picture, from its first point to its second: the way that is allowed.
    pub allowed: [[f64; 2]; 2],
    /// A way is wrong that is within so many degrees of the opposite, 1..89; absent: 60.
    pub tolerance_degrees: Option<f64>,
    /// How far it must go the wrong way, in its own sizes; absent: 1.
    pub min_distance: Option<f64>,
}

/// `speeding = { zone = "lane", limit = { kilometres_per_hour = 30 } }`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawSpeeding {
    /// Absent: the whole picture.
    pub zone: Option<ZoneId>,
    /// Fires above this speed.
    pub limit: SpeedLimit,
    /// Time over which a speed is measured; two in a row must be above the limit. Absent: 1 s.
    #[serde(default, with = "humantime_serde")]
    pub window: Option<Duration>,
}

/// A speed, in a unit.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpeedLimit {
    /// On the ground plane of a calibrated camera.
    KilometresPerHour(f64),
    /// On the ground plane of a calibrated camera.
    MetresPerSecond(f64),
    /// In the picture.
    PictureWidthsPerSecond(f64),
}

/// `object_abandoned = { zone = "platform", time_threshold = "30s" }`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawAbandoned {
    /// Absent: the whole picture.
    pub zone: Option<ZoneId>,
    /// How long it may be without its owner.
    #[serde(with = "humantime_serde")]
    pub time_threshold: Duration,
    /// Class names of owners; absent: person.
    pub owners: Option<Vec<String>>,
    /// How near its owner attends it; absent: 3 m where the camera is calibrated, else 1.75 sizes of the owner.
    pub attended_within: Option<Reach>,
    /// How far it may move and still stand, in its own sizes; absent: 0.25.
    pub tolerance: Option<f64>,
}

/// A distance around an object.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// On the ground plane of a calibrated camera.
    Metres(f64),
    /// In sizes (the longer side of its box) of whoever reaches.
    Sizes(f64),
}

/// `object_removed = { zone = "showcase", time_threshold = "5m" }`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawRemoved {
    /// Absent: the whole picture.
    pub zone: Option<ZoneId>,
    /// How long it must have stood before it can be missed.
    #[serde(with = "humantime_serde")]
    pub time_threshold: Duration,
    /// How far it may move and still stand, in its own sizes; absent: 0.25.
    pub tolerance: Option<f64>,
}

/// `camera_tampered = { detect = ["covered", "moved"], hold = "10s" }`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTampered {
    /// What to look for; absent: all.
    pub detect: Option<Vec<Tamper>>,
    /// How long it must last, and how long it must be over; absent: 10 s.
    #[serde(default, with = "humantime_serde")]
    pub hold: Option<Duration>,
    /// How long a picture may stay the same to the bit; absent: 60 s.
    #[serde(default, with = "humantime_serde")]
    pub frozen_after: Option<Duration>,
    /// A view that lasts for so long becomes the camera's own; absent: 10 min.
    #[serde(default, with = "humantime_serde")]
    pub accept_after: Option<Duration>,
}

/// `plate_listed = { plates = ["B AB 1234"], on = "listed" }`
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawPlateListed {
    /// Letters and digits; case, blanks and other characters do not matter.
    pub plates: Vec<String>,
    /// Absent: listed.
    #[serde(default)]
    pub on: PlateMatch,
    /// Least confidence of a reading, 0..1 (ONVIF: `Likelihood`); absent: 0.8.
    pub min_likelihood: Option<Share>,
    /// Takes characters that readers confuse (0 O Q D, 1 I L, 2 Z, 5 S, 8 B) for the same; absent: no.
    #[serde(default)]
    pub alike: bool,
}

impl std::fmt::Debug for RawPlateListed {
    /// How many plates, not which: logs are no place for them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RawPlateListed {{ {} plates, on: {:?} }}", self.plates.len(), self.on)
    }
}

/// Which plates fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlateMatch {
    /// Those on the list.
    #[default]
    Listed,
    /// Those that are not.
    Unlisted,
}
