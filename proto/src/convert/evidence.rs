//! What made a rule fire, both ways.

use std::time::Duration;

use prost_types::Duration as WireDuration;
use vigil_base::event::MAX_PLATE_BYTES;
use vigil_base::evidence::{Counts, Crossing, DensityUnit, Evidence, Spot};
use vigil_base::rule::{Direction, Tamper};
use vigil_base::{PointNorm, TrackId};

use super::attributes::{speed_from_wire, speed_to_wire};
use super::{WireError, bounded_text, required_time, share, time_to_wire};
use crate::v1;
use crate::v1::rule_evidence::Detail;

pub(super) fn evidence_to_wire(evidence: &Evidence) -> v1::RuleEvidence {
    // On the wire every message may be missing.
    let time = |at| Some(time_to_wire(at));
    let point = |at| Some(point_to_wire(at));
    let spot = |at| Some(spot_to_wire(at));
    let duration = |time| Some(duration_to_wire(time));
    let detail = match evidence {
        Evidence::Crossing(Crossing { direction, at, from, to }) => Detail::Crossing(v1::LineCrossing {
            direction: direction_to_wire(*direction).into(),
            at: spot(*at),
            from: spot(*from),
            to: spot(*to),
        }),
        Evidence::Counts(Counts { left, right, since }) => {
            Detail::Counts(v1::LineCounts { left: *left, right: *right, since: time(*since) })
        }
        Evidence::Stay { since, dwell } => Detail::Stay(v1::ZoneStay { since: time(*since), dwell: duration(*dwell) }),
        Evidence::Border { at, from, to } => {
            let [at, from, to] = [*at, *from, *to].map(spot);
            Detail::Border(v1::BorderPassage { at, from, to })
        }
        Evidence::Occupancy { count, capacity, peak } => {
            Detail::Occupancy(v1::ZoneOccupancy { count: *count, capacity: *capacity, peak: *peak })
        }
        Evidence::Density { count, density, limit, unit } => Detail::Density(v1::CrowdDensity {
            count: *count,
            density: *density,
            limit: *limit,
            unit: density_unit_to_wire(*unit).into(),
        }),
        Evidence::Standing { at, since, stood } => {
            Detail::Standing(v1::Standing { at: point(*at), since: time(*since), stood: duration(*stood) })
        }
        Evidence::WrongWay { from, to, allowed_degrees, went_degrees } => Detail::WrongWay(v1::WrongWay {
            from: spot(*from),
            to: spot(*to),
            allowed_degrees: *allowed_degrees,
            went_degrees: *went_degrees,
        }),
        Evidence::Speeding { speed, peak, limit, from, to } => Detail::Speeding(v1::Speeding {
            speed: Some(speed_to_wire(*speed)),
            peak: Some(speed_to_wire(*peak)),
            limit: Some(speed_to_wire(*limit)),
            from: spot(*from),
            to: spot(*to),
        }),
        Evidence::Abandoned { at, since, unattended, owner } => Detail::Abandoned(v1::ObjectAbandoned {
            at: point(*at),
            since: time(*since),
            unattended: duration(*unattended),
            owner_track_id: owner.map(|owner| owner.0),
        }),
        Evidence::Removed { at, since, last_seen } => {
            Detail::Removed(v1::ObjectRemoved { at: point(*at), since: time(*since), last_seen: time(*last_seen) })
        }
        Evidence::Tampered { cause, value, limit } => Detail::Tampering(v1::CameraTampering {
            cause: tamper_to_wire(*cause).into(),
            value: *value,
            limit: *limit,
        }),
        Evidence::Plate { text, likelihood, listed } => {
            Detail::Plate(v1::PlateSighting { text: text.to_string(), likelihood: *likelihood, listed: *listed })
        }
    };
    v1::RuleEvidence { detail: Some(detail) }
}

/// Errors name the field within the message.
pub(super) fn evidence_from_wire(wire: v1::RuleEvidence) -> Result<Evidence, WireError> {
    let detail = wire.detail.ok_or_else(|| WireError::new("detail", "is missing or unknown"))?;
    Ok(match detail {
        Detail::Crossing(wire) => crossing_from_wire(&wire).map_err(|error| error.within("crossing"))?,
        Detail::Counts(v1::LineCounts { left, right, since }) => {
            Evidence::Counts(Counts { left, right, since: required_time("counts.since", since)? })
        }
        Detail::Stay(wire) => Evidence::Stay {
            since: required_time("stay.since", wire.since)?,
            dwell: duration("stay.dwell", wire.dwell)?,
        },
        Detail::Border(wire) => Evidence::Border {
            at: spot("border.at", wire.at)?,
            from: spot("border.from", wire.from)?,
            to: spot("border.to", wire.to)?,
        },
        Detail::Occupancy(v1::ZoneOccupancy { count, capacity, peak }) => Evidence::Occupancy { count, capacity, peak },
        Detail::Density(wire) => Evidence::Density {
            count: wire.count,
            density: finite("density.density", wire.density)?,
            limit: finite("density.limit", wire.limit)?,
            unit: density_unit_from_wire(wire.unit())?,
        },
        Detail::Standing(wire) => Evidence::Standing {
            at: point("standing.at", wire.at)?,
            since: required_time("standing.since", wire.since)?,
            stood: duration("standing.stood", wire.stood)?,
        },
        Detail::WrongWay(wire) => Evidence::WrongWay {
            from: spot("wrong_way.from", wire.from)?,
            to: spot("wrong_way.to", wire.to)?,
            allowed_degrees: degrees("wrong_way.allowed_degrees", wire.allowed_degrees)?,
            went_degrees: degrees("wrong_way.went_degrees", wire.went_degrees)?,
        },
        Detail::Speeding(wire) => {
            let speed = |speed: Option<v1::Speed>| speed_from_wire(speed.unwrap_or_default());
            Evidence::Speeding {
                speed: speed(wire.speed).map_err(|error| error.within("speeding.speed"))?,
                peak: speed(wire.peak).map_err(|error| error.within("speeding.peak"))?,
                limit: speed(wire.limit).map_err(|error| error.within("speeding.limit"))?,
                from: spot("speeding.from", wire.from)?,
                to: spot("speeding.to", wire.to)?,
            }
        }
        Detail::Abandoned(wire) => Evidence::Abandoned {
            at: point("abandoned.at", wire.at)?,
            since: required_time("abandoned.since", wire.since)?,
            unattended: duration("abandoned.unattended", wire.unattended)?,
            owner: wire.owner_track_id.map(TrackId),
        },
        Detail::Removed(wire) => Evidence::Removed {
            at: point("removed.at", wire.at)?,
            since: required_time("removed.since", wire.since)?,
            last_seen: required_time("removed.last_seen", wire.last_seen)?,
        },
        Detail::Tampering(wire) => Evidence::Tampered {
            cause: tamper_from_wire(wire.cause())?,
            value: finite("tampering.value", wire.value)?,
            limit: finite("tampering.limit", wire.limit)?,
        },
        Detail::Plate(wire) => Evidence::Plate {
            text: bounded_text("plate.text", wire.text, MAX_PLATE_BYTES)?.into(),
            likelihood: share("plate.likelihood", wire.likelihood)?,
            listed: wire.listed,
        },
    })
}

fn crossing_from_wire(wire: &v1::LineCrossing) -> Result<Evidence, WireError> {
    let direction = match wire.direction() {
        v1::LineDirection::Left => Direction::Left,
        v1::LineDirection::Right => Direction::Right,
        v1::LineDirection::Unspecified => return Err(WireError::new("direction", "is missing or unknown")),
    };
    let [at, from, to] = [("at", &wire.at), ("from", &wire.from), ("to", &wire.to)].map(|(name, at)| spot(name, *at));
    Ok(Evidence::Crossing(Crossing { direction, at: at?, from: from?, to: to? }))
}

fn direction_to_wire(direction: Direction) -> v1::LineDirection {
    match direction {
        Direction::Left => v1::LineDirection::Left,
        Direction::Right => v1::LineDirection::Right,
    }
}

fn density_unit_to_wire(unit: DensityUnit) -> v1::DensityUnit {
    match unit {
        DensityUnit::PerSquareMetre => v1::DensityUnit::PerSquareMetre,
        DensityUnit::PerPicture => v1::DensityUnit::PerPicture,
    }
}

fn density_unit_from_wire(unit: v1::DensityUnit) -> Result<DensityUnit, WireError> {
    match unit {
        v1::DensityUnit::PerSquareMetre => Ok(DensityUnit::PerSquareMetre),
        v1::DensityUnit::PerPicture => Ok(DensityUnit::PerPicture),
        v1::DensityUnit::Unspecified => Err(WireError::new("density.unit", "is missing or unknown")),
    }
}

fn tamper_to_wire(cause: Tamper) -> v1::TamperCause {
    match cause {
        Tamper::Covered => v1::TamperCause::Covered,
        Tamper::Blurred => v1::TamperCause::Blurred,
        Tamper::Moved => v1::TamperCause::Moved,
        Tamper::Dark => v1::TamperCause::Dark,
        Tamper::Frozen => v1::TamperCause::Frozen,
    }
}

fn tamper_from_wire(cause: v1::TamperCause) -> Result<Tamper, WireError> {
    match cause {
        v1::TamperCause::Covered => Ok(Tamper::Covered),
        v1::TamperCause::Blurred => Ok(Tamper::Blurred),
        v1::TamperCause::Moved => Ok(Tamper::Moved),
        v1::TamperCause::Dark => Ok(Tamper::Dark),
        v1::TamperCause::Frozen => Ok(Tamper::Frozen),
        v1::TamperCause::Unspecified => Err(WireError::new("tampering.cause", "is missing or unknown")),
    }
}

fn point_to_wire(at: PointNorm) -> v1::Point {
    v1::Point { x: at.x, y: at.y }
}

fn spot_to_wire(spot: Spot) -> v1::Spot {
    v1::Spot { time: Some(time_to_wire(spot.time)), at: Some(point_to_wire(spot.at)) }
}

/// A place of an object; a box that is cut off by the picture's edge may stand a little outside of it.
fn point(field: &str, wire: Option<v1::Point>) -> Result<PointNorm, WireError> {
    let v1::Point { x, y } = wire.ok_or_else(|| WireError::new(field, "is missing"))?;
    if (-1.0..=2.0).contains(&x) && (-1.0..=2.0).contains(&y) {
        return Ok(PointNorm { x, y });
    }
    Err(WireError::new(field, "is far outside the picture: 0..1 of its width and height"))
}

fn spot(field: &str, wire: Option<v1::Spot>) -> Result<Spot, WireError> {
    let wire = wire.ok_or_else(|| WireError::new(field, "is missing"))?;
    Ok(Spot { time: required_time(&format!("{field}.time"), wire.time)?, at: point(&format!("{field}.at"), wire.at)? })
}

fn duration_to_wire(time: Duration) -> WireDuration {
    // Capped at some 300 billion years, where the wire's seconds end.
    WireDuration::try_from(time).unwrap_or(WireDuration { seconds: i64::MAX, nanos: 0 })
}

fn duration(field: &str, wire: Option<WireDuration>) -> Result<Duration, WireError> {
    let wire = wire.ok_or_else(|| WireError::new(field, "is missing"))?;
    Duration::try_from(wire).map_err(|_| WireError::new(field, "must be a length of time that is not negative"))
}

fn degrees(field: &str, value: f32) -> Result<f32, WireError> {
    if (0.0..=360.0).contains(&value) {
        return Ok(value);
    }
    Err(WireError::new(field, "is not within 0 and 360"))
}

fn finite<T: Into<f64> + Copy>(field: &str, value: T) -> Result<T, WireError> {
    if value.into().is_finite() {
        return Ok(value);
    }
    Err(WireError::new(field, "is not a finite number"))
}

#[cfg(test)]
mod tests;
