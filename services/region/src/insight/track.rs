//! One track: the event of its object, and what rules found about it meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use vigil_base::event::{EventKind, PathPoint};
use vigil_base::{Event, Timestamp};
use vigil_proto::convert::{Filter, event_from_wire, event_to_wire, geo_to_wire, time_to_wire};
use vigil_proto::v1;

use super::Events;
use super::pages::NewestFirst;
use crate::index::IndexError;

/// Events of the camera that are looked at for those of the track.
const MAX_LOOKED_AT: usize = 20_000;
/// Findings that are told.
const MAX_FINDINGS: usize = 1_000;

/// The track of an event, but for the region's report.
///
/// A track's number is unique for as long as an edge's process lives, so only events that touch the object's own time are of the
/// same track.
///
/// # Errors
/// As a search's.
pub async fn track(events: &(impl Events + ?Sized), of: v1::Event) -> Result<v1::GetTrackResponse, IndexError> {
    let Some(named) = checked(of) else { return Ok(v1::GetTrackResponse::default()) };
    if named.track.0 == 0 {
        return Ok(told(vec![named], false));
    }
    let (mut found, mut truncated) = same_track(events, &named).await?;
    // Asked for by what a rule found, which is a part of the object's time.
    let object = found.iter().find(|event| event.kind() == EventKind::Object).cloned();
    if let Some(object) = object.filter(|object| object.id != named.id) {
        (found, truncated) = same_track(events, &object).await?;
    }
    if found.iter().all(|event| event.id != named.id) {
        found.push(named);
    }
    Ok(told(found, truncated))
}

/// The events of the same track of the same camera that touch this one's time, and whether there may be more.
async fn same_track(events: &(impl Events + ?Sized), of: &Event) -> Result<(Vec<Event>, bool), IndexError> {
    let filter = Filter {
        from: Some(of.begin_time),
        until: Some(of.end_time + Duration::from_micros(1)),
        cameras: vec![of.camera.clone()],
        edges: vec![of.edge.clone()],
        ..Filter::default()
    };
    let mut pages = NewestFirst::new(events, filter, MAX_LOOKED_AT);
    let mut found = Vec::new();
    while let Some(page) = pages.next().await? {
        found.extend(page.into_iter().filter_map(checked).filter(|event| event.track == of.track));
    }
    Ok((found, pages.looked_from().is_some()))
}

/// What the index holds was checked when it came.
fn checked(wire: v1::Event) -> Option<Event> {
    event_from_wire(wire).ok()
}

fn told(mut events: Vec<Event>, truncated: bool) -> v1::GetTrackResponse {
    events.sort_by_key(|event| (event.begin_time, event.id));
    let path = path(&events);
    let ground = ground(&events);
    let at = events.iter().position(|event| event.kind() == EventKind::Object);
    let object = at.map(|at| event_to_wire(&events.remove(at)));
    let truncated = truncated || events.len() > MAX_FINDINGS;
    let findings = events.iter().take(MAX_FINDINGS).map(event_to_wire).collect();
    v1::GetTrackResponse { object, findings, path, ground, regions: Vec::new(), truncated }
}

/// The boxes of all events by their times; of two at the same time the object's own.
fn path(events: &[Event]) -> Vec<v1::PathPoint> {
    let mut points: BTreeMap<Timestamp, PathPoint> = BTreeMap::new();
    let objects_last = events.iter().filter(|event| event.finding.is_some());
    for event in objects_last.chain(events.iter().filter(|event| event.finding.is_none())) {
        points.extend(event.path.iter().map(|point| (point.time, *point)));
    }
    points.values().map(vigil_proto::convert::path_point_to_wire).collect()
}

fn ground(events: &[Event]) -> Vec<v1::GroundFix> {
    let fix = |event: &Event| {
        let position = event.attributes.position?;
        let position =
            v1::GroundPosition { x: position.place.x, y: position.place.y, error_metres: position.error_metres };
        Some(v1::GroundFix {
            time: Some(time_to_wire(event.end_time)),
            position: Some(position),
            location: event.location.map(geo_to_wire),
            event_id: event.id.to_string(),
        })
    };
    let mut fixes: Vec<(Timestamp, v1::GroundFix)> =
        events.iter().filter_map(|event| Some((event.end_time, fix(event)?))).collect();
    fixes.sort_by_key(|(time, _)| *time);
    fixes.into_iter().map(|(_, fix)| fix).collect()
}
