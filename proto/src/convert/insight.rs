//! Questions whose answer is in no single event, checked and bounded.

use std::time::Duration;

use vigil_base::event::EventKind;
use vigil_base::{CameraId, RegionId, Timestamp};

use super::plate::{PlateMatch, PlatePattern};
use super::{Filter, WireError, filter_from_wire, filter_to_wire, time_to_wire};
use crate::v1;

/// Longest time of a question: a month.
const MAX_TIME: Duration = Duration::from_hours(31 * 24);
/// Longest span of a journey.
const MAX_SPAN: Duration = Duration::from_hours(24);
/// Most cameras that a journey can be asked to have.
const MAX_MIN_CAMERAS: u32 = 100;
/// Journeys in an answer unless told otherwise, and most.
const DEFAULT_JOURNEYS: u32 = 100;
const MAX_JOURNEYS: u32 = 1_000;
/// Cells across and down unless told otherwise: squares of a picture of 16 to 9.
const DEFAULT_GRID: (u32, u32) = (64, 36);
/// Most cells of a grid: a hundred classes of these fit in one message.
const MAX_CELLS: u32 = 16_384;

/// A question for plates seen at several cameras within a time.
#[derive(Debug, Clone, PartialEq)]
pub struct JourneyQuestion {
    /// Which events are sightings; it has both times, and a pattern.
    pub filter: Filter,
    /// Within which time the cameras are counted.
    pub span: Duration,
    /// How many different cameras there must be within it.
    pub min_cameras: usize,
    /// Most journeys in the answer.
    pub max_journeys: usize,
    /// Whether each plate's sightings are wanted however few there are.
    pub sightings_alone: bool,
}

impl JourneyQuestion {
    /// The vehicle that a plate, as read, belongs to.
    pub fn vehicle<'q>(&'q self, plate: &'q str) -> &'q str {
        match &self.filter.plate {
            Some(pattern) if pattern.how() == PlateMatch::OneWrong => pattern.text(),
            _ => plate,
        }
    }
}

/// A question for journeys from the wire.
pub fn journey_question_from_wire(wire: v1::FindJourneysRequest) -> Result<JourneyQuestion, WireError> {
    let filter = filter_from_wire(wire.filter).map_err(|error| error.within("filter"))?;
    check_time(filter.from, filter.until).map_err(|error| error.within("filter"))?;
    let span = wire.span.ok_or_else(|| WireError::new("span", "is missing"))?;
    let span = Duration::try_from(span).ok().filter(|span| (Duration::from_secs(1)..=MAX_SPAN).contains(span));
    let span = span.ok_or_else(|| WireError::new("span", "must be between 1 s and 24 h"))?;
    if !(2..=MAX_MIN_CAMERAS).contains(&wire.min_cameras) {
        let problem = format!("is {}; must be between 2 and {MAX_MIN_CAMERAS}", wire.min_cameras);
        return Err(WireError::new("min_cameras", problem));
    }
    let max_journeys = if wire.max_journeys == 0 { DEFAULT_JOURNEYS } else { wire.max_journeys.min(MAX_JOURNEYS) };
    Ok(JourneyQuestion {
        filter: Filter { plate: filter.plate.or(Some(PlatePattern::ANY)), ..filter },
        span,
        min_cameras: wire.min_cameras as usize,
        max_journeys: max_journeys as usize,
        sightings_alone: wire.sightings_alone,
    })
}

/// A question for journeys for the wire.
pub fn journey_question_to_wire(question: &JourneyQuestion) -> v1::FindJourneysRequest {
    v1::FindJourneysRequest {
        filter: Some(filter_to_wire(&question.filter)),
        span: prost_types::Duration::try_from(question.span).ok(),
        min_cameras: question.min_cameras as u32,
        max_journeys: question.max_journeys as u32,
        sightings_alone: question.sightings_alone,
    }
}

/// A question for where objects linger in one camera's picture.
#[derive(Debug, Clone, PartialEq)]
pub struct PresenceQuestion {
    /// Of these objects: of one camera, with both times.
    pub filter: Filter,
    /// Begin of the time that is added up.
    pub from: Timestamp,
    /// Its end.
    pub until: Timestamp,
    /// Cells across.
    pub columns: u32,
    /// Cells down.
    pub rows: u32,
}

/// A question for presence from the wire, but for its region: who is asked looks at that.
pub fn presence_question_from_wire(wire: v1::GetPresenceRequest) -> Result<PresenceQuestion, WireError> {
    let camera = CameraId::new(&wire.camera_id).map_err(|e| WireError::new("camera_id", e))?;
    let v1::GetPresenceRequest { from, until, object_classes, .. } = wire;
    let filter = filter_from_wire(Some(v1::EventFilter { from, until, object_classes, ..Default::default() }))?;
    let (from, until) = check_time(filter.from, filter.until)?;
    let or = |asked, default| if asked == 0 { default } else { asked };
    let (columns, rows) = (or(wire.columns, DEFAULT_GRID.0), or(wire.rows, DEFAULT_GRID.1));
    if columns.checked_mul(rows).is_none_or(|cells| cells > MAX_CELLS) {
        return Err(WireError::new("rows", format!("{columns} by {rows} cells are more than {MAX_CELLS}")));
    }
    let filter = Filter { cameras: vec![camera], kinds: vec![EventKind::Object], ..filter };
    Ok(PresenceQuestion { filter, from, until, columns, rows })
}

/// A question for presence for the wire, to this region.
pub fn presence_question_to_wire(question: &PresenceQuestion, region: &RegionId) -> v1::GetPresenceRequest {
    v1::GetPresenceRequest {
        camera_id: question.filter.cameras.first().map(ToString::to_string).unwrap_or_default(),
        region_id: region.to_string(),
        from: Some(time_to_wire(question.from)),
        until: Some(time_to_wire(question.until)),
        object_classes: question.filter.classes.clone(),
        columns: question.columns,
        rows: question.rows,
    }
}

fn check_time(from: Option<Timestamp>, until: Option<Timestamp>) -> Result<(Timestamp, Timestamp), WireError> {
    let from = from.ok_or_else(|| WireError::new("from", "is required"))?;
    let until = until.ok_or_else(|| WireError::new("until", "is required"))?;
    if until.since(from) > MAX_TIME {
        return Err(WireError::new("until", "is more than 31 days after from"));
    }
    Ok((from, until))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(from: i64, until: i64) -> v1::EventFilter {
        let at = |hour: i64| Some(time_to_wire(Timestamp::from_micros(hour * 3_600_000_000)));
        v1::EventFilter { from: at(from), until: at(until), ..Default::default() }
    }

    fn journeys() -> v1::FindJourneysRequest {
        let span = Some(prost_types::Duration { seconds: 1_800, nanos: 0 });
        v1::FindJourneysRequest { filter: Some(hours(0, 5)), span, min_cameras: 3, ..Default::default() }
    }

    fn presence() -> v1::GetPresenceRequest {
        let v1::EventFilter { from, until, .. } = hours(0, 5);
        v1::GetPresenceRequest { camera_id: "gate".into(), from, until, ..Default::default() }
    }

    #[test]
    fn questions_survive_the_wire() {
        let asked = journey_question_from_wire(journeys()).unwrap();
        assert_eq!((asked.max_journeys, asked.filter.plate.clone()), (100, Some(PlatePattern::ANY)));
        assert_eq!(journey_question_from_wire(journey_question_to_wire(&asked)), Ok(asked));
        let asked = presence_question_from_wire(presence()).unwrap();
        assert_eq!((asked.columns, asked.rows), (64, 36));
        let wire = presence_question_to_wire(&asked, &RegionId::new("north").unwrap());
        assert_eq!(wire.region_id, "north");
        assert_eq!(presence_question_from_wire(wire), Ok(asked));
    }

    #[test]
    fn unbounded_questions_are_refused_by_the_name_of_the_field() {
        let long = hours(0, 32 * 24);
        let day = prost_types::Duration { seconds: 86_401, nanos: 0 };
        let cases = [
            (v1::FindJourneysRequest { filter: None, ..journeys() }, "filter.from"),
            (v1::FindJourneysRequest { filter: Some(long.clone()), ..journeys() }, "filter.until"),
            (v1::FindJourneysRequest { span: None, ..journeys() }, "span"),
            (v1::FindJourneysRequest { span: Some(day), ..journeys() }, "span"),
            (v1::FindJourneysRequest { min_cameras: 1, ..journeys() }, "min_cameras"),
            (v1::FindJourneysRequest { min_cameras: 101, ..journeys() }, "min_cameras"),
        ];
        for (wire, field) in cases {
            assert_eq!(journey_question_from_wire(wire).unwrap_err().field, field);
        }
        let cases = [
            (v1::GetPresenceRequest { camera_id: "' OR 1".into(), ..presence() }, "camera_id"),
            (v1::GetPresenceRequest { from: None, ..presence() }, "from"),
            (v1::GetPresenceRequest { until: long.until, ..presence() }, "until"),
            (v1::GetPresenceRequest { columns: u32::MAX, rows: u32::MAX, ..presence() }, "rows"),
            (v1::GetPresenceRequest { columns: 129, rows: 128, ..presence() }, "rows"),
        ];
        for (wire, field) in cases {
            assert_eq!(presence_question_from_wire(wire).unwrap_err().field, field);
        }
    }

    #[test]
    fn plates_with_one_wrong_character_are_one_vehicle_and_others_are_their_own() {
        let mut asked = journey_question_from_wire(journeys()).unwrap();
        assert_eq!(asked.vehicle("BAB12"), "BAB12");
        asked.filter.plate = Some(PlatePattern::new("BAB12", PlateMatch::OneWrong).unwrap());
        assert_eq!(asked.vehicle("8AB12"), "BAB12");
    }
}
