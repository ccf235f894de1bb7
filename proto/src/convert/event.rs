//! The event, both ways.

use std::sync::Arc;

use vigil_base::event::{
    EndReason, Event, EventKind, EventState, Finding, MAX_PATH_POINTS, MAX_PLATE_BYTES, ModelRef, PathPoint, Plate,
};
use vigil_base::{BoxNorm, CameraId, EdgeId, EventId, RegionId, RuleId, RuleKind, TimeSource, TrackId, ZoneId};

use super::appearance::{appearance_from_wire, appearance_to_wire};
use super::attributes::{attributes_from_wire, attributes_to_wire};
use super::evidence::{evidence_from_wire, evidence_to_wire};
use super::{WireError, bounded_text, geo_from_wire, geo_to_wire, required_time, share, time_from_wire, time_to_wire};
use crate::v1;

/// Longest class and model name and thumbnail key, in bytes.
const MAX_NAME: usize = 128;
/// A W3C traceparent of version 00 is exactly this long.
const TRACE_PARENT_LEN: usize = 55;

/// The event for the wire.
pub fn event_to_wire(event: &Event) -> v1::Event {
    let (state, end_reason) = state_to_wire(event.state);
    let finding = event.finding.as_ref();
    v1::Event {
        event_id: event.id.to_string(),
        revision: event.revision,
        state: state.into(),
        end_reason: end_reason.into(),
        region_id: event.region.to_string(),
        edge_id: event.edge.to_string(),
        camera_id: event.camera.to_string(),
        kind: kind_to_wire(event.kind()).into(),
        object_class: event.object_class.to_string(),
        track_id: event.track.0,
        begin_time: Some(time_to_wire(event.begin_time)),
        end_time: Some(time_to_wire(event.end_time)),
        confirm_time: Some(time_to_wire(event.confirm_time)),
        receive_time: event.receive_time.map(time_to_wire),
        time_source: source_to_wire(event.time_source).into(),
        confidence: event.confidence,
        best_box: Some(box_to_wire(event.best_box)),
        best_time: Some(time_to_wire(event.best_time)),
        path: event.path.iter().map(path_point_to_wire).collect(),
        attributes: Some(attributes_to_wire(&event.attributes)),
        location: event.location.map(geo_to_wire),
        rule_id: finding.map(|finding| finding.rule.to_string()).unwrap_or_default(),
        zone_id: finding.and_then(|finding| finding.zone.as_ref()).map(ToString::to_string).unwrap_or_default(),
        plate: event.plate.as_ref().map(plate_to_wire),
        thumbnail_key: optional_text(event.thumbnail_key.as_ref()),
        model: Some(model_to_wire(&event.model)),
        trace_parent: optional_text(event.trace_parent.as_ref()),
        evidence: finding.map(|finding| evidence_to_wire(&finding.evidence)),
        suppressed: finding.map_or(0, |finding| finding.suppressed),
        // Who answers says what it keeps back.
        withheld: Vec::new(),
        appearance: event.appearance.as_ref().map(appearance_to_wire),
    }
}

/// The event from the wire, each field checked.
pub fn event_from_wire(wire: v1::Event) -> Result<Event, WireError> {
    let state = state_from_wire(wire.state(), wire.end_reason())?;
    let finding = match kind_from_wire("kind", wire.kind())? {
        EventKind::Object => no_finding(&wire)?,
        EventKind::Rule(kind) => Some(finding_from_wire(kind, &wire)?),
    };
    let time_source = source_from_wire(wire.time_source())?;
    let begin_time = required_time("begin_time", wire.begin_time)?;
    let end_time = required_time("end_time", wire.end_time)?;
    if end_time < begin_time {
        return Err(WireError::new("end_time", "is before begin_time"));
    }
    if wire.revision == 0 {
        return Err(WireError::new("revision", "must be at least 1"));
    }
    if wire.path.len() > MAX_PATH_POINTS {
        return Err(WireError::new("path", format!("has {} points; at most {MAX_PATH_POINTS}", wire.path.len())));
    }
    let model = wire.model.unwrap_or_default();
    Ok(Event {
        id: wire.event_id.parse::<EventId>().map_err(|e| WireError::new("event_id", e))?,
        revision: wire.revision,
        state,
        region: RegionId::new(&wire.region_id).map_err(|e| WireError::new("region_id", e))?,
        edge: EdgeId::new(&wire.edge_id).map_err(|e| WireError::new("edge_id", e))?,
        camera: CameraId::new(&wire.camera_id).map_err(|e| WireError::new("camera_id", e))?,
        object_class: class(wire.object_class, finding.is_some())?,
        track: TrackId(wire.track_id),
        begin_time,
        end_time,
        confirm_time: required_time("confirm_time", wire.confirm_time)?,
        receive_time: wire.receive_time.map(|t| time_from_wire("receive_time", t)).transpose()?,
        time_source,
        confidence: share("confidence", wire.confidence)?,
        best_box: box_from_wire("best_box", wire.best_box)?,
        best_time: required_time("best_time", wire.best_time)?,
        path: wire.path.into_iter().map(point_from_wire).collect::<Result<_, _>>()?,
        attributes: attributes_from_wire(&wire.attributes.unwrap_or_default())?,
        location: wire.location.map(|p| geo_from_wire("location", p)).transpose()?,
        finding,
        plate: wire.plate.map(plate_from_wire).transpose()?,
        thumbnail_key: text("thumbnail_key", wire.thumbnail_key)?,
        model: model_from_wire(model)?,
        trace_parent: trace_parent(wire.trace_parent)?,
        appearance: wire.appearance.map(appearance_from_wire).transpose().map_err(|e| e.within("appearance"))?,
    })
}

/// An event of an object names its class; what a rule found need not be one.
fn class(value: String, optional: bool) -> Result<Arc<str>, WireError> {
    match text("object_class", value)? {
        Some(class) => Ok(class),
        None if optional => Ok("".into()),
        None => Err(WireError::new("object_class", "is missing")),
    }
}

fn no_finding(wire: &v1::Event) -> Result<Option<Finding>, WireError> {
    let set = [
        ("rule_id", !wire.rule_id.is_empty()),
        ("zone_id", !wire.zone_id.is_empty()),
        ("evidence", wire.evidence.is_some()),
        ("suppressed", wire.suppressed > 0),
    ];
    match set.into_iter().find(|(_, is_set)| *is_set) {
        Some((field, _)) => Err(WireError::new(field, "is set on an event that no rule made")),
        None => Ok(None),
    }
}

fn finding_from_wire(kind: RuleKind, wire: &v1::Event) -> Result<Finding, WireError> {
    let zone = Some(wire.zone_id.as_str()).filter(|zone| !zone.is_empty());
    let evidence = wire.evidence.clone().ok_or_else(|| WireError::new("evidence", "is missing"))?;
    Ok(Finding {
        rule: RuleId::new(&wire.rule_id).map_err(|e| WireError::new("rule_id", e))?,
        kind,
        zone: zone.map(ZoneId::new).transpose().map_err(|e| WireError::new("zone_id", e))?,
        evidence: evidence_from_wire(evidence).map_err(|error| error.within("evidence"))?,
        suppressed: wire.suppressed,
    })
}

fn optional_text(value: Option<&Arc<str>>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

fn text(field: &str, value: String) -> Result<Option<Arc<str>>, WireError> {
    let value = bounded_text(field, value, MAX_NAME)?;
    Ok((!value.is_empty()).then(|| value.into()))
}

fn required_text(field: &str, value: String) -> Result<Arc<str>, WireError> {
    text(field, value)?.ok_or_else(|| WireError::new(field, "is missing"))
}

/// A traceparent is kept when it is well-formed (W3C Trace Context, section 3.2) and dropped when not: a bad trace id must
/// not cost an event.
fn trace_parent(value: String) -> Result<Option<Arc<str>>, WireError> {
    let value = bounded_text("trace_parent", value, MAX_NAME)?;
    let parts: Vec<&str> = value.split('-').collect();
    let hex = |s: &str| s.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
    let well_formed = value.len() == TRACE_PARENT_LEN
        && matches!(parts.as_slice(), [version, trace, span, flags]
            if version.len() == 2 && trace.len() == 32 && span.len() == 16 && flags.len() == 2
                && parts.iter().all(|part| hex(part))
                && trace.chars().any(|c| c != '0') && span.chars().any(|c| c != '0'));
    Ok(well_formed.then(|| value.into()))
}

fn state_to_wire(state: EventState) -> (v1::EventState, v1::EndReason) {
    match state {
        EventState::Ongoing => (v1::EventState::Ongoing, v1::EndReason::Unspecified),
        EventState::Ended(reason) => (
            v1::EventState::Ended,
            match reason {
                EndReason::Lost => v1::EndReason::Lost,
                EndReason::StreamLost => v1::EndReason::StreamLost,
                EndReason::EdgeStopped => v1::EndReason::EdgeStopped,
                EndReason::EdgeRestarted => v1::EndReason::EdgeRestarted,
                EndReason::Over => v1::EndReason::Over,
                EndReason::RuleOff => v1::EndReason::RuleOff,
                EndReason::RuleChanged => v1::EndReason::RuleChanged,
            },
        ),
    }
}

fn state_from_wire(state: v1::EventState, reason: v1::EndReason) -> Result<EventState, WireError> {
    match (state, reason) {
        (v1::EventState::Ongoing, v1::EndReason::Unspecified) => Ok(EventState::Ongoing),
        (v1::EventState::Ongoing, _) => Err(WireError::new("end_reason", "is set on an event that is ongoing")),
        (v1::EventState::Ended, v1::EndReason::Lost) => Ok(EventState::Ended(EndReason::Lost)),
        (v1::EventState::Ended, v1::EndReason::StreamLost) => Ok(EventState::Ended(EndReason::StreamLost)),
        (v1::EventState::Ended, v1::EndReason::EdgeStopped) => Ok(EventState::Ended(EndReason::EdgeStopped)),
        (v1::EventState::Ended, v1::EndReason::EdgeRestarted) => Ok(EventState::Ended(EndReason::EdgeRestarted)),
        (v1::EventState::Ended, v1::EndReason::Over) => Ok(EventState::Ended(EndReason::Over)),
        (v1::EventState::Ended, v1::EndReason::RuleOff) => Ok(EventState::Ended(EndReason::RuleOff)),
        (v1::EventState::Ended, v1::EndReason::RuleChanged) => Ok(EventState::Ended(EndReason::RuleChanged)),
        (v1::EventState::Ended, v1::EndReason::Unspecified) => {
            Err(WireError::new("end_reason", "is missing on an event that has ended"))
        }
        (v1::EventState::Unspecified, _) => Err(WireError::new("state", "is missing or unknown")),
    }
}

pub(super) fn kind_to_wire(kind: EventKind) -> v1::EventKind {
    let EventKind::Rule(kind) = kind else { return v1::EventKind::Object };
    match kind {
        RuleKind::LineCrossed => v1::EventKind::LineCrossed,
        RuleKind::LineCount => v1::EventKind::LineCount,
        RuleKind::Inside => v1::EventKind::Inside,
        RuleKind::Entered => v1::EventKind::Entered,
        RuleKind::Left => v1::EventKind::Left,
        RuleKind::Loitering => v1::EventKind::Loitering,
        RuleKind::Occupancy => v1::EventKind::Occupancy,
        RuleKind::CrowdDensity => v1::EventKind::CrowdDensity,
        RuleKind::StoppedVehicle => v1::EventKind::StoppedVehicle,
        RuleKind::WrongWay => v1::EventKind::WrongWay,
        RuleKind::Speeding => v1::EventKind::Speeding,
        RuleKind::ObjectAbandoned => v1::EventKind::ObjectAbandoned,
        RuleKind::ObjectRemoved => v1::EventKind::ObjectRemoved,
        RuleKind::CameraTampered => v1::EventKind::CameraTampered,
        RuleKind::PlateListed => v1::EventKind::PlateListed,
    }
}

/// The kind of an event; an error at `field` where this version knows none of that number.
pub fn kind_from_wire(field: &str, kind: v1::EventKind) -> Result<EventKind, WireError> {
    // No rule is of the kind that stands for none, so only what is known is found.
    let found = EventKind::all().find(|known| kind_to_wire(*known) == kind);
    found.ok_or_else(|| WireError::new(field, "is missing or unknown"))
}

fn source_to_wire(source: TimeSource) -> v1::TimeSource {
    match source {
        TimeSource::Ntp => v1::TimeSource::Ntp,
        TimeSource::Arrival => v1::TimeSource::Arrival,
        TimeSource::File => v1::TimeSource::File,
    }
}

fn source_from_wire(source: v1::TimeSource) -> Result<TimeSource, WireError> {
    match source {
        v1::TimeSource::Ntp => Ok(TimeSource::Ntp),
        v1::TimeSource::Arrival => Ok(TimeSource::Arrival),
        v1::TimeSource::File => Ok(TimeSource::File),
        v1::TimeSource::Unspecified => Err(WireError::new("time_source", "is missing or unknown")),
    }
}

pub(super) fn box_to_wire(bbox: BoxNorm) -> v1::Box {
    v1::Box { left: bbox.left, top: bbox.top, width: bbox.width, height: bbox.height }
}

pub(super) fn box_from_wire(field: &str, wire: Option<v1::Box>) -> Result<BoxNorm, WireError> {
    let wire = wire.ok_or_else(|| WireError::new(field, "is missing"))?;
    let bbox = BoxNorm { left: wire.left, top: wire.top, width: wire.width, height: wire.height };
    if bbox.is_valid() {
        return Ok(bbox);
    }
    Err(WireError::new(field, "must lie inside the picture, in shares of it: 0..1"))
}

/// A sampled box for the wire.
pub fn path_point_to_wire(point: &PathPoint) -> v1::PathPoint {
    v1::PathPoint {
        time: Some(time_to_wire(point.time)),
        r#box: Some(box_to_wire(point.bbox)),
        confidence: point.confidence,
    }
}

fn point_from_wire(wire: v1::PathPoint) -> Result<PathPoint, WireError> {
    Ok(PathPoint {
        time: required_time("path.time", wire.time)?,
        bbox: box_from_wire("path.box", wire.r#box)?,
        confidence: share("path.confidence", wire.confidence)?,
    })
}

fn plate_to_wire(plate: &Plate) -> v1::Plate {
    v1::Plate {
        text: plate.text.clone(),
        confidence: plate.confidence,
        looks: plate.looks,
        model: plate.model.as_ref().map(model_to_wire),
    }
}

fn plate_from_wire(wire: v1::Plate) -> Result<Plate, WireError> {
    Ok(Plate {
        text: bounded_text("plate.text", wire.text, MAX_PLATE_BYTES)?.to_uppercase(),
        confidence: share("plate.confidence", wire.confidence)?,
        looks: wire.looks,
        model: wire.model.map(model_from_wire).transpose()?,
    })
}

fn model_to_wire(model: &ModelRef) -> v1::ModelInfo {
    v1::ModelInfo { name: model.name.to_string(), fingerprint: model.fingerprint.to_string() }
}

fn model_from_wire(wire: v1::ModelInfo) -> Result<ModelRef, WireError> {
    Ok(ModelRef {
        name: required_text("model.name", wire.name)?,
        fingerprint: required_text("model.fingerprint", wire.fingerprint)?,
    })
}
