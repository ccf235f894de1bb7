//! What made a rule fire, in numbers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::attributes::Speed;
use crate::rule::{Direction, Tamper};
use crate::{PointNorm, Timestamp, TrackId};

/// What made a rule fire. Times are capture times, places are in the picture.
#[derive(Debug, Clone, PartialEq)]
pub enum Evidence {
    /// Over a line.
    Crossing(Crossing),
    /// How many went over a line since the counts last began anew.
    Counts(Counts),
    /// Inside a zone, since a moment.
    Stay {
        /// When it came in, or was first seen inside.
        since: Timestamp,
        /// How long it has been inside, as far as that was watched.
        dwell: Duration,
    },
    /// Over a zone's border, inwards or outwards.
    Border {
        /// Where and when the border was passed: interpolated between the next two.
        at: Spot,
        /// The last sighting on the one side.
        from: Spot,
        /// The first sighting on the other.
        to: Spot,
    },
    /// More than may be.
    Occupancy {
        /// How many there are.
        count: u32,
        /// How many there may be.
        capacity: u32,
        /// How many there were at most.
        peak: u32,
    },
    /// Too densely.
    Density {
        /// How many there are.
        count: u32,
        /// How densely.
        density: f64,
        /// Above this the rule fires.
        limit: f64,
        /// Of both.
        unit: DensityUnit,
    },
    /// Standing in one place.
    Standing {
        /// Where.
        at: PointNorm,
        /// Since when.
        since: Timestamp,
        /// For how long, as far as that was watched.
        stood: Duration,
    },
    /// Against the allowed direction.
    WrongWay {
        /// Where it turned against it.
        from: Spot,
        /// Where it is now.
        to: Spot,
        /// The allowed direction: degrees in the picture, 0 up, 90 right.
        allowed_degrees: f32,
        /// The direction it went.
        went_degrees: f32,
    },
    /// Too fast.
    Speeding {
        /// The speed measured between the two places.
        speed: Speed,
        /// The highest measured so far.
        peak: Speed,
        /// Above this the rule fires.
        limit: Speed,
        /// Where the measurement began.
        from: Spot,
        /// Where it ended.
        to: Spot,
    },
    /// A thing without its owner.
    Abandoned {
        /// Where it stands.
        at: PointNorm,
        /// Since when it stands there.
        since: Timestamp,
        /// How long nobody has attended it.
        unattended: Duration,
        /// Who left it, where that was seen.
        owner: Option<TrackId>,
    },
    /// A thing that is gone.
    Removed {
        /// Where it stood.
        at: PointNorm,
        /// From when.
        since: Timestamp,
        /// When it was last seen there.
        last_seen: Timestamp,
    },
    /// The camera's picture is not what it was.
    Tampered {
        /// What is wrong with it.
        cause: Tamper,
        /// The measure that says so: see [`Tamper`].
        value: f32,
        /// Its limit.
        limit: f32,
    },
    /// A plate that is looked for.
    Plate {
        /// As read.
        text: Arc<str>,
        /// The reading's confidence, 0..1.
        likelihood: f32,
        /// Whether it stands on the rule's list.
        listed: bool,
    },
}

/// An object went over a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crossing {
    /// Seen along the line.
    pub direction: Direction,
    /// Where and when: interpolated between the next two.
    pub at: Spot,
    /// The last sighting before the line.
    pub from: Spot,
    /// The first sighting after it.
    pub to: Spot,
}

/// How many went over a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// To the left, seen along the line.
    pub left: u64,
    /// To the right.
    pub right: u64,
    /// When the counts last began anew; the first frame where they never did.
    pub since: Timestamp,
}

/// What a density counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // The names say it.
pub enum DensityUnit {
    PerSquareMetre,
    PerPicture,
}

/// Where something was, and when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spot {
    /// Capture time.
    pub time: Timestamp,
    /// In the picture.
    pub at: PointNorm,
}

impl fmt::Display for DensityUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PerSquareMetre => "per square metre",
            Self::PerPicture => "per picture",
        })
    }
}

struct Pace(Speed);

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Speed::MetresPerSecond(value) => write!(f, "{value:.2} m/s"),
            Speed::PictureWidthsPerSecond(value) => write!(f, "{value:.3} picture widths/s"),
        }
    }
}

struct At(PointNorm);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({:.3}, {:.3})", self.0.x, self.0.y)
    }
}

impl fmt::Display for Evidence {
    /// For people, on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crossing(Crossing { direction, at, .. }) => {
                write!(f, "crossed to the {direction} at {} at {}", At(at.at), at.time)
            }
            Self::Counts(Counts { left, right, since }) => write!(f, "{left} left, {right} right since {since}"),
            Self::Stay { since, dwell } => write!(f, "inside since {since}, {:.1} s", dwell.as_secs_f64()),
            Self::Border { at, .. } => write!(f, "passed the border at {} at {}", At(at.at), at.time),
            Self::Occupancy { count, capacity, peak } => write!(f, "{count} where {capacity} may be, {peak} at most"),
            Self::Density { count, density, limit, unit } => {
                write!(f, "{count}, {density:.2} {unit} where {limit:.2} may be")
            }
            Self::Standing { at, since, stood } => {
                write!(f, "stands at {} since {since}, {:.1} s", At(*at), stood.as_secs_f64())
            }
            Self::WrongWay { from, to, allowed_degrees, went_degrees } => {
                write!(f, "went {went_degrees:.0} degrees where {allowed_degrees:.0} is allowed, ")?;
                write!(f, "from {} to {}", At(from.at), At(to.at))
            }
            Self::Speeding { speed, peak, limit, .. } => {
                write!(f, "{} where {} may be, {} at most", Pace(*speed), Pace(*limit), Pace(*peak))
            }
            Self::Abandoned { at, since, unattended, owner } => {
                write!(f, "stands at {} since {since}, unattended for {:.1} s", At(*at), unattended.as_secs_f64())?;
                owner.map_or(Ok(()), |owner| write!(f, ", left by track {owner}"))
            }
            Self::Removed { at, since, last_seen } => {
                write!(f, "stood at {} from {since}, last seen at {last_seen}", At(*at))
            }
            Self::Tampered { cause, value, limit } => write!(f, "{cause}: {value:.2}, limit {limit:.2}"),
            Self::Plate { text, likelihood, listed } => {
                write!(f, "{text} ({likelihood:.2}), {} the list", if *listed { "on" } else { "not on" })
            }
        }
    }
}
