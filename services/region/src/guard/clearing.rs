//! Taking out of an event, or a camera's entry, what is withheld, and saying so.
//!
//! Each message is taken apart field by field: a field that is added to the contract does not compile until it is decided here
//! whether it is given.

use vigil_base::event::EventKind;
use vigil_policy::{Grant, Grants, Ruling};
use vigil_proto::convert::kind_from_wire;
use vigil_proto::v1;

/// The grants that fields of an event need, with their marks, in ascending order of these.
const OF_EVENTS: [(Grant, v1::Withheld); 4] = [
    (Grant::Plates, v1::Withheld::Plate),
    (Grant::Appearance, v1::Withheld::Appearance),
    (Grant::Thumbnails, v1::Withheld::Thumbnail),
    (Grant::Position, v1::Withheld::Position),
];
/// Those that fields of a camera's entry need.
const OF_CAMERAS: [(Grant, v1::Withheld); 2] =
    [(Grant::Position, v1::Withheld::Position), (Grant::Footage, v1::Withheld::Footage)];
/// The whole picture: where nothing in it is told.
const WHOLE_PICTURE: v1::Box = v1::Box { left: 0.0, top: 0.0, width: 1.0, height: 1.0 };

/// The kind of an event; none where this version does not know it.
pub(super) fn kind_of(event: &v1::Event) -> Option<EventKind> {
    kind_from_wire("kind", event.kind()).ok()
}

/// The marks of what events lack that are given with `grants`.
pub(super) fn marks_of_events(grants: Grants) -> impl Iterator<Item = v1::Withheld> {
    OF_EVENTS.into_iter().filter(move |(grant, _)| !grants.has(*grant)).map(|(_, mark)| mark)
}

/// The event as it is given.
pub(super) fn cleared_event(event: v1::Event, ruling: Ruling<'_>) -> v1::Event {
    let grants = ruling.grants();
    let v1::Event {
        event_id,
        revision,
        state,
        end_reason,
        region_id,
        edge_id,
        camera_id,
        kind,
        object_class,
        track_id,
        begin_time,
        end_time,
        confirm_time,
        receive_time,
        time_source,
        confidence,
        best_box,
        best_time,
        path,
        attributes,
        location,
        rule_id,
        zone_id,
        plate,
        thumbnail_key,
        model,
        trace_parent,
        evidence,
        suppressed,
        withheld: _,
        appearance,
    } = event;
    let has = |grant| grants.has(grant);
    v1::Event {
        event_id,
        revision,
        state,
        end_reason,
        region_id,
        edge_id,
        camera_id,
        kind,
        object_class,
        track_id,
        begin_time,
        end_time,
        confirm_time,
        receive_time,
        time_source,
        confidence,
        best_box: if has(Grant::Position) { best_box } else { Some(WHOLE_PICTURE) },
        best_time,
        path: if has(Grant::Position) { path } else { Vec::new() },
        attributes: attributes.map(|attributes| cleared_attributes(attributes, grants)),
        location: location.filter(|_| has(Grant::Position)),
        rule_id,
        zone_id,
        plate: plate.filter(|_| has(Grant::Plates)),
        thumbnail_key: if has(Grant::Thumbnails) { thumbnail_key } else { String::new() },
        model,
        trace_parent,
        evidence: evidence.map(|evidence| cleared_evidence(evidence, grants)),
        suppressed,
        withheld: marks_of_events(grants).map(i32::from).collect(),
        appearance: appearance.filter(|_| has(Grant::Appearance)),
    }
}

fn cleared_attributes(attributes: v1::Attributes, grants: Grants) -> v1::Attributes {
    let v1::Attributes {
        colours,
        direction_degrees,
        speed,
        colour_method,
        direction_confidence,
        motion_method,
        position,
    } = attributes;
    let has_looks = grants.has(Grant::Appearance);
    v1::Attributes {
        colours: if has_looks { colours } else { Vec::new() },
        direction_degrees,
        speed,
        colour_method: if has_looks { colour_method } else { 0 },
        direction_confidence,
        motion_method,
        position: position.filter(|_| grants.has(Grant::Position)),
    }
}

/// That a plate on a list was seen is what the event says; which one is not.
fn cleared_evidence(evidence: v1::RuleEvidence, grants: Grants) -> v1::RuleEvidence {
    use v1::rule_evidence::Detail;
    match evidence.detail {
        Some(Detail::Plate(sighting)) if !grants.has(Grant::Plates) => {
            let v1::PlateSighting { text: _, likelihood, listed } = sighting;
            let sighting = v1::PlateSighting { text: String::new(), likelihood, listed };
            v1::RuleEvidence { detail: Some(Detail::Plate(sighting)) }
        }
        detail => v1::RuleEvidence { detail },
    }
}

/// The camera's entry as it is given.
pub(super) fn cleared_camera(camera: v1::Camera, grants: Grants) -> v1::Camera {
    let v1::Camera {
        camera_id,
        region_id,
        edge_id,
        display_name,
        location,
        address,
        origin,
        update_time,
        etag,
        withheld: _,
    } = camera;
    let marks = OF_CAMERAS.into_iter().filter(|(grant, _)| !grants.has(*grant)).map(|(_, mark)| i32::from(mark));
    v1::Camera {
        camera_id,
        region_id,
        edge_id,
        display_name,
        location: location.filter(|_| grants.has(Grant::Position)),
        address: if grants.has(Grant::Footage) { address } else { String::new() },
        origin,
        update_time,
        etag,
        withheld: marks.collect(),
    }
}
