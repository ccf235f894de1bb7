//! Checked conversions between the wire's messages and the pipeline's types.

mod appearance;
mod attributes;
mod coverage;
mod coverage_question;
mod coverage_sums;
mod event;
mod evidence;
mod filter;
mod insight;
mod journeys;
mod plate;
mod ways;
mod withheld;

pub use appearance::{
    AppearanceQuestion, Example, FollowQuestion, MAX_HITS, MAX_PICTURE_BYTES, appearance_from_wire,
    appearance_question_from_wire, appearance_question_to_wire, appearance_to_wire, follow_question_from_wire,
    method_from_wire, method_to_wire,
};
pub use coverage::{analysis_to_wire, coverage_from_wire, coverage_to_wire, tally_from_wire, tally_to_wire};
pub use coverage_question::{CoverageQuestion, CoverageStep, coverage_question_from_wire, coverage_question_to_wire};
pub use coverage_sums::CoverageSums;
pub use event::{event_from_wire, event_to_wire, kind_from_wire, path_point_to_wire};
pub use filter::{Filter, MAX_LIST, filter_from_wire, filter_to_wire};
pub use insight::{
    JourneyQuestion, PresenceQuestion, journey_question_from_wire, journey_question_to_wire,
    presence_question_from_wire, presence_question_to_wire,
};
pub use journeys::{Journey, Sighting, journeys, journeys_from_wire, journeys_to_wire, looked_from};
pub use plate::{MIN_ONE_WRONG, PlateMatch, PlatePattern};
pub use ways::ways;
pub use withheld::{withheld_name, withheld_of_name};

use prost_types::Timestamp as WireTime;
use vigil_base::{GeoPoint, Timestamp};

use crate::v1;

/// A message's field holds what it must not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct WireError {
    /// Path of the field, as `event.best_box.left`.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

impl WireError {
    /// An error at `field`.
    #[allow(clippy::needless_pass_by_value)] // Takes literals and errors alike.
    pub fn new(field: impl Into<String>, problem: impl ToString) -> Self {
        Self { field: field.into(), problem: problem.to_string() }
    }

    /// The same error, seen from the message that holds the field.
    #[must_use]
    pub fn within(mut self, parent: &str) -> Self {
        self.field = format!("{parent}.{}", self.field);
        self
    }
}

/// A time for the wire.
pub fn time_to_wire(at: Timestamp) -> WireTime {
    let micros = at.as_micros();
    WireTime { seconds: micros.div_euclid(1_000_000), nanos: (micros.rem_euclid(1_000_000) * 1_000) as i32 }
}

/// A time from the wire: between 1970 and 9999, to the microsecond.
pub fn time_from_wire(field: &str, at: WireTime) -> Result<Timestamp, WireError> {
    let in_range = (0..=Timestamp::MAX.as_micros() / 1_000_000).contains(&at.seconds);
    if !in_range || !(0..1_000_000_000).contains(&at.nanos) {
        return Err(WireError::new(field, "must lie between the years 1970 and 9999"));
    }
    Ok(Timestamp::from_micros(at.seconds * 1_000_000 + i64::from(at.nanos) / 1_000))
}

/// A time that must be given.
pub fn required_time(field: &str, at: Option<WireTime>) -> Result<Timestamp, WireError> {
    time_from_wire(field, at.ok_or_else(|| WireError::new(field, "is missing"))?)
}

/// A place from the wire: degrees within range.
pub fn geo_from_wire(field: &str, point: v1::GeoPoint) -> Result<GeoPoint, WireError> {
    GeoPoint::new(point.latitude, point.longitude)
        .ok_or_else(|| WireError::new(field, "latitude must be within -90..90 and longitude within -180..180"))
}

/// A place for the wire.
pub fn geo_to_wire(point: GeoPoint) -> v1::GeoPoint {
    v1::GeoPoint { latitude: point.latitude, longitude: point.longitude }
}

fn share(field: &str, value: f32) -> Result<f32, WireError> {
    if (0.0..=1.0).contains(&value) {
        return Ok(value);
    }
    Err(WireError::new(field, format!("{value} is not within 0 and 1")))
}

/// A text of at most `max` bytes without control characters.
pub fn bounded_text(field: &str, value: String, max: usize) -> Result<String, WireError> {
    if value.len() > max {
        return Err(WireError::new(field, format!("is {} bytes long; at most {max} are taken", value.len())));
    }
    if value.chars().any(char::is_control) {
        return Err(WireError::new(field, "holds a control character"));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_survive_the_wire(micros in 0i64..253_402_300_799_999_999) {
            let at = Timestamp::from_micros(micros);
            prop_assert_eq!(time_from_wire("t", time_to_wire(at)).unwrap(), at);
        }

        #[test]
        fn no_wire_time_panics(seconds in any::<i64>(), nanos in any::<i32>()) {
            let _ = time_from_wire("t", WireTime { seconds, nanos });
        }
    }

    #[test]
    fn an_error_names_the_whole_path() {
        let err = WireError::new("left", "is missing").within("best_box").within("event");
        assert_eq!(err.to_string(), "event.best_box.left: is missing");
    }
}
