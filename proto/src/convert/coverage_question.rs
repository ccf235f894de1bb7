//! Questions for what was watched.

use std::time::Duration;

use vigil_base::coverage::MINUTE;
use vigil_base::{CameraId, RegionId, Timestamp};

use super::{Filter, WireError, filter_from_wire, time_to_wire};
use crate::v1;

const HOUR: Duration = Duration::from_hours(1);
/// Longest time that is added up of minutes, where no longer step is asked for: six hours, and what rounding adds.
const BY_MINUTES: Duration = Duration::from_mins(6 * 60 + 1);
/// Longest time of a question.
const MAX_SPAN: Duration = Duration::from_hours(366 * 24);

/// How finely coverage is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoverageStep {
    /// UTC minutes.
    Minute,
    /// UTC hours.
    Hour,
    /// UTC days.
    Day,
    /// All of the time at once.
    Whole,
}

impl CoverageStep {
    /// A step's length; none for all of the time.
    pub fn length(self) -> Option<Duration> {
        match self {
            Self::Minute => Some(MINUTE),
            Self::Hour => Some(HOUR),
            Self::Day => Some(24 * HOUR),
            Self::Whole => None,
        }
    }

    /// What is added up over this time: minutes, or hours.
    fn grain(self, span: Duration) -> Duration {
        match self {
            Self::Minute => MINUTE,
            Self::Whole if span <= BY_MINUTES => MINUTE,
            Self::Hour | Self::Day | Self::Whole => HOUR,
        }
    }
}

/// A question for coverage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoverageQuestion {
    /// Begin, rounded down to the grain.
    pub from: Timestamp,
    /// End, rounded up likewise.
    pub until: Timestamp,
    /// Regions; none for all.
    pub regions: Vec<RegionId>,
    /// Cameras; none for all.
    pub cameras: Vec<CameraId>,
    /// How finely.
    pub step: CoverageStep,
    /// What is added up: minutes or hours.
    pub grain: Duration,
}

impl CoverageQuestion {
    /// The step that a moment lies in, cut to the question's times.
    pub fn step_around(&self, at: Timestamp) -> (Timestamp, Timestamp) {
        let Some(length) = self.step.length() else { return (self.from, self.until) };
        let begin = at.round_down(length);
        (begin.max(self.from), (begin + length).min(self.until))
    }
}

/// A question from the wire.
pub fn coverage_question_from_wire(wire: v1::GetCoverageRequest) -> Result<CoverageQuestion, WireError> {
    let step = match v1::CoverageStep::try_from(wire.step) {
        Ok(v1::CoverageStep::Unspecified | v1::CoverageStep::Whole) => CoverageStep::Whole,
        Ok(v1::CoverageStep::Minute) => CoverageStep::Minute,
        Ok(v1::CoverageStep::Hour) => CoverageStep::Hour,
        Ok(v1::CoverageStep::Day) => CoverageStep::Day,
        Err(_) => return Err(WireError::new("step", format!("{} is not known", wire.step))),
    };
    let v1::GetCoverageRequest { from, until, region_ids, camera_ids, .. } = wire;
    let filter = v1::EventFilter { from, until, region_ids, camera_ids, ..v1::EventFilter::default() };
    let Filter { from, until, regions, cameras, .. } = filter_from_wire(Some(filter))?;
    let from = from.ok_or_else(|| WireError::new("from", "is required"))?;
    let until = until.ok_or_else(|| WireError::new("until", "is required"))?;
    // A gateway passes on what it has rounded.
    if until.since(from) > MAX_SPAN + HOUR {
        return Err(WireError::new("until", "is more than 366 days after from"));
    }
    let rounded = |grain: Duration| {
        let last = Timestamp::from_micros(until.as_micros() - 1);
        (from.round_down(grain), last.round_down(grain) + grain)
    };
    let (from_minute, until_minute) = rounded(MINUTE);
    let grain = step.grain(until_minute.since(from_minute));
    let (from, until) = rounded(grain);
    Ok(CoverageQuestion { from, until, regions, cameras, step, grain })
}

/// A question for the wire.
pub fn coverage_question_to_wire(question: &CoverageQuestion) -> v1::GetCoverageRequest {
    let step = match question.step {
        CoverageStep::Minute => v1::CoverageStep::Minute,
        CoverageStep::Hour => v1::CoverageStep::Hour,
        CoverageStep::Day => v1::CoverageStep::Day,
        CoverageStep::Whole => v1::CoverageStep::Whole,
    };
    v1::GetCoverageRequest {
        from: Some(time_to_wire(question.from)),
        until: Some(time_to_wire(question.until)),
        region_ids: question.regions.iter().map(ToString::to_string).collect(),
        camera_ids: question.cameras.iter().map(ToString::to_string).collect(),
        step: step.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn question(from: &str, until: &str, step: v1::CoverageStep) -> Result<CoverageQuestion, WireError> {
        let (from, until) = (Some(time_to_wire(at(from))), Some(time_to_wire(at(until))));
        coverage_question_from_wire(v1::GetCoverageRequest { from, until, step: step.into(), ..Default::default() })
    }

    #[test]
    fn times_are_widened_to_whole_steps_grains() {
        let (from, until) = ("2026-05-01T14:03:20Z", "2026-05-01T15:00:00Z");
        let minutes = question(from, until, v1::CoverageStep::Minute).unwrap();
        assert_eq!((minutes.from, minutes.until), (at("2026-05-01T14:03:00Z"), at(until)));
        let days = question(from, until, v1::CoverageStep::Day).unwrap();
        assert_eq!((days.from, days.until), (at("2026-05-01T14:00:00Z"), at(until)));
        let hour = question(from, until, v1::CoverageStep::Whole).unwrap();
        assert_eq!((hour.from, hour.until, hour.grain), (minutes.from, minutes.until, MINUTE), "short: to the minute");
        assert_eq!(days.step_around(days.from), (days.from, days.until), "a day is cut to the question's times");
        assert_eq!(
            minutes.step_around(at("2026-05-01T14:10:59Z")),
            (at("2026-05-01T14:10:00Z"), at("2026-05-01T14:11:00Z"))
        );
        let longest = question("2025-01-01T00:30:00Z", "2026-01-02T00:30:00Z", v1::CoverageStep::Day).unwrap();
        for rounded in [hour, days, longest] {
            assert_eq!(coverage_question_from_wire(coverage_question_to_wire(&rounded)), Ok(rounded), "passed on");
        }
    }

    #[test]
    fn a_question_without_bounds_is_refused() {
        let step = v1::CoverageStep::Whole;
        let field = |error: Result<CoverageQuestion, WireError>| error.unwrap_err().field;
        assert_eq!(field(coverage_question_from_wire(v1::GetCoverageRequest::default())), "from");
        assert_eq!(field(question("2024-01-01T00:00:00Z", "2026-01-01T00:00:00Z", step)), "until");
        assert_eq!(field(question("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z", step)), "until");
        let unknown = v1::GetCoverageRequest { step: 99, ..Default::default() };
        assert_eq!(field(coverage_question_from_wire(unknown)), "step");
    }
}
