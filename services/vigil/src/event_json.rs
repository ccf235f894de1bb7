//! Events as JSON objects: one shape for `query`, `subscribe` and `analyze`.
//!
//! Times are RFC 3339 in UTC, boxes are `[left, top, width, height]` in shares of the picture. Fields without a value are
//! left out.

use serde_json::{Map, Value, json};
use vigil_base::event::{Attributes, ColourMethod, EndReason, EventState, GroundPosition, MotionMethod, Speed};
use vigil_base::{BoxNorm, Event};
use vigil_proto::convert::withheld_name;
use vigil_proto::v1;

/// One revision of an event.
pub fn event(event: &Event) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| {
        if !value.is_null() {
            object.insert(key.to_owned(), value);
        }
    };
    let (state, reason) = state(event.state);
    put("event_id", json!(event.id.to_string()));
    put("revision", json!(event.revision));
    put("state", json!(state));
    put("end_reason", json!(reason));
    put("region", json!(event.region.as_str()));
    put("edge", json!(event.edge.as_str()));
    put("camera", json!(event.camera.as_str()));
    put("kind", json!(event.kind().to_string()));
    put("class", if event.object_class.is_empty() { Value::Null } else { json!(&*event.object_class) });
    put("track", if event.track.0 == 0 { Value::Null } else { json!(event.track.0) });
    put("begin_time", json!(event.begin_time.to_string()));
    put("end_time", json!(event.end_time.to_string()));
    put("confirm_time", json!(event.confirm_time.to_string()));
    put("receive_time", json!(event.receive_time.map(|at| at.to_string())));
    put("time_source", json!(event.time_source));
    put("confidence", rounded(event.confidence));
    put("best_box", bbox(event.best_box));
    put("best_time", json!(event.best_time.to_string()));
    put("path", event.path.iter().map(|p| json!({"time": p.time.to_string(), "box": bbox(p.bbox)})).collect());
    put("colours", colours(event));
    put("colour_method", json!(event.attributes.colour_method.map(ColourMethod::name)));
    put("direction_degrees", event.attributes.direction_degrees.map_or(Value::Null, rounded));
    put("direction_confidence", event.attributes.direction_confidence.map_or(Value::Null, rounded));
    put("speed", speed(&event.attributes));
    put("motion_method", json!(event.attributes.motion_method.map(MotionMethod::name)));
    put("position", event.attributes.position.map_or(Value::Null, position));
    put("location", json!(event.location));
    if let Some(finding) = &event.finding {
        put("rule", json!(finding.rule.as_str()));
        put("zone", json!(finding.zone.as_ref().map(vigil_base::ZoneId::as_str)));
        put("evidence", json!(finding.evidence.to_string()));
        put("suppressed", if finding.suppressed == 0 { Value::Null } else { json!(finding.suppressed) });
    }
    if let Some(plate) = &event.plate {
        put("plate", json!(plate.text));
        put("plate_confidence", rounded(plate.confidence));
        put("plate_looks", if plate.looks == 0 { Value::Null } else { json!(plate.looks) });
        put("plate_model", plate.model.as_ref().map_or(Value::Null, |model| json!(&*model.name)));
    }
    put("thumbnail_key", json!(event.thumbnail_key.as_deref()));
    put("model", json!({"name": &*event.model.name, "fingerprint": &*event.model.fingerprint}));
    put("trace_parent", json!(event.trace_parent.as_deref()));
    Value::Object(object)
}

/// The same, with what the region's policy keeps back of it as `withheld`; absent when it is nothing.
pub fn event_with(event: &Event, withheld: &[v1::Withheld]) -> Value {
    let mut value = self::event(event);
    if let Some(object) = value.as_object_mut().filter(|_| !withheld.is_empty()) {
        object.insert("withheld".to_owned(), withheld.iter().map(|mark| withheld_name(*mark)).collect());
    }
    value
}

/// "ongoing", or "ended" and why.
pub fn state(state: EventState) -> (&'static str, Option<&'static str>) {
    match state {
        EventState::Ongoing => ("ongoing", None),
        EventState::Ended(reason) => (
            "ended",
            Some(match reason {
                EndReason::Lost => "lost",
                EndReason::StreamLost => "stream_lost",
                EndReason::EdgeStopped => "edge_stopped",
                EndReason::EdgeRestarted => "edge_restarted",
                EndReason::Over => "over",
                EndReason::RuleOff => "rule_off",
                EndReason::RuleChanged => "rule_changed",
            }),
        ),
    }
}

fn colours(event: &Event) -> Value {
    if event.attributes.colours.is_empty() {
        return Value::Null;
    }
    event
        .attributes
        .colours
        .iter()
        .map(|told| {
            let (part, name) = (told.part.name(), told.colour.name());
            json!({"part": part, "name": name, "share": rounded(told.share), "confidence": rounded(told.confidence)})
        })
        .collect()
}

fn speed(attributes: &Attributes) -> Value {
    let (value, unit) = match attributes.speed {
        Some(Speed::PictureWidthsPerSecond(value)) => (value, "picture_widths_per_second"),
        Some(Speed::MetresPerSecond(value)) => (value, "metres_per_second"),
        None => return Value::Null,
    };
    json!({"value": rounded(value), "unit": unit, "error": attributes.speed_error.map(rounded)})
}

fn position(position: GroundPosition) -> Value {
    let metres = [position.place.x, position.place.y].map(|metres| (metres * 1e3).round() / 1e3);
    json!({"metres": metres, "error_metres": rounded(position.error_metres)})
}

fn bbox(bbox: BoxNorm) -> Value {
    [bbox.left, bbox.top, bbox.width, bbox.height].into_iter().map(rounded).collect()
}

/// Four digits: a tenth of a pixel of a 1000-pixel picture, and the same text on every machine.
fn rounded(value: f32) -> Value {
    json!((f64::from(value) * 1e4).round() / 1e4)
}
