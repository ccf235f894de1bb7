//! `vigil path`: where the object of an event went.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use vigil_base::{Clock, Event, EventId, RegionId, SystemClock};
use vigil_proto::convert::{event_from_wire, time_from_wire};
use vigil_proto::v1;

use crate::client::{self, ServerArgs};
use crate::{event_json, exit, output, when};

/// Show where the object of an event went, and what rules found about it meanwhile.
///
/// The event may be that of the object, or one that a rule made about it. Boxes are `[left, top, width, height]` in shares of the
/// picture. Places on the ground are known only of cameras that are calibrated.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vigil path 0192f3c4-5a6b-7c8d-9e0f-102132435465
  vigil path 0192f3c4-5a6b-7c8d-9e0f-102132435465 --format geojson > way.geojson")]
pub struct PathArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// The event.
    event: EventId,
    /// Ask only this region.
    #[arg(long, value_name = "ID")]
    region: Option<RegionId>,
    /// What is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// One object.
    Json,
    /// A `GeoJSON` feature collection (RFC 7946; longitude first): the way on the ground where the camera's marks are on the map, else
    /// where the camera stands.
    Geojson,
}

/// Runs the command.
pub async fn run(args: PathArgs) -> anyhow::Result<ExitCode> {
    let region_id = args.region.as_ref().map(ToString::to_string).unwrap_or_default();
    let request = v1::GetTrackRequest { event_id: args.event.to_string(), region_id };
    let mut client = client::insight(args.server.connect().await?);
    let answer = client.get_track(args.server.request(request)).await;
    let answer = answer.map_err(|e| args.server.explain(&e))?.into_inner();
    let events = answer.object.iter().chain(&answer.findings).cloned();
    let events: Result<Vec<Event>, _> = events.map(event_from_wire).collect();
    let events = events.context("the server sent an event that breaks the contract")?;
    match args.format {
        Format::Table => show(&answer, &events)?,
        Format::Json => output::line(as_json(&answer, &events))?,
        Format::Geojson => output::line(serde_json::to_string_pretty(&as_geojson(&answer, &events))?)?,
    }
    Ok(if client::complete(&answer.regions) { ExitCode::SUCCESS } else { ExitCode::from(exit::PARTIAL) })
}

fn show(answer: &v1::GetTrackResponse, events: &[Event]) -> anyhow::Result<()> {
    let mut table = output::table(output::EVENT_HEADER);
    for event in events {
        table.add_row(output::event_row(event));
    }
    output::line(&table)?;
    let mut table = output::table(["time", "left", "top", "width", "height", "conf"]);
    for point in &answer.path {
        let at = point.time.and_then(|at| time_from_wire("time", at).ok());
        let bbox = point.r#box.unwrap_or_default();
        let numbers = [bbox.left, bbox.top, bbox.width, bbox.height, point.confidence];
        let row =
            [at.map(when::show).unwrap_or_default()].into_iter().chain(numbers.map(|share| format!("{share:.3}")));
        table.add_row(row);
    }
    output::line(format!("\n{table}"))?;
    for fix in &answer.ground {
        let at = fix.time.and_then(|at| time_from_wire("time", at).ok()).map(when::show).unwrap_or_default();
        let place = fix.location.map(|p| format!(", {:.6},{:.6}", p.latitude, p.longitude)).unwrap_or_default();
        if let Some(on) = &fix.position {
            let (x, y, error) = (on.x, on.y, on.error_metres);
            output::line(format!("on the ground at {at}: {x:.2} m, {y:.2} m (error {error:.2} m){place}"))?;
        }
    }
    if answer.truncated {
        output::line("the camera had too many events meanwhile: some of what rules found may be missing")?;
    }
    for line in output::region_lines(&answer.regions, SystemClock::new().now()) {
        output::line(line)?;
    }
    Ok(())
}

fn as_json(answer: &v1::GetTrackResponse, events: &[Event]) -> Value {
    let (objects, findings): (Vec<&Event>, Vec<&Event>) = events.iter().partition(|event| event.finding.is_none());
    json!({
        "object": objects.first().map(|event| event_json::event(event)),
        "findings": findings.iter().map(|event| event_json::event(event)).collect::<Vec<_>>(),
        "path": answer.path.iter().map(point).collect::<Vec<_>>(),
        "ground": answer.ground.iter().map(fix).collect::<Vec<_>>(),
        "truncated": answer.truncated,
        "regions": answer.regions.iter().map(output::region_json).collect::<Vec<_>>(),
    })
}

fn point(point: &v1::PathPoint) -> Value {
    let bbox = point.r#box.unwrap_or_default();
    let rounded = |share: f32| (f64::from(share) * 1e4).round() / 1e4;
    let bbox = [bbox.left, bbox.top, bbox.width, bbox.height].map(rounded);
    json!({"time": time(point.time), "box": bbox, "confidence": rounded(point.confidence)})
}

fn fix(fix: &v1::GroundFix) -> Value {
    let position = fix.position.unwrap_or_default();
    json!({
        "time": time(fix.time),
        "metres": [position.x, position.y],
        "error_metres": (f64::from(position.error_metres) * 1e4).round() / 1e4,
        "location": fix.location.map(|at| json!({"latitude": at.latitude, "longitude": at.longitude})),
        "event_id": fix.event_id,
    })
}

fn time(wire: Option<prost_types::Timestamp>) -> Option<String> {
    wire.and_then(|at| time_from_wire("time", at).ok()).map(|at| at.to_string())
}

/// One feature for the way (a line, where two places or more are known) and one for each place.
fn as_geojson(answer: &v1::GetTrackResponse, events: &[Event]) -> Value {
    let fixes: Vec<(Value, [f64; 2])> =
        answer.ground.iter().filter_map(|on| Some((fix(on), lon_lat(on.location.as_ref()?)))).collect();
    let mut features = Vec::new();
    if fixes.len() > 1 {
        let line: Vec<[f64; 2]> = fixes.iter().map(|(_, at)| *at).collect();
        let times: Vec<&Value> = fixes.iter().map(|(fix, _)| &fix["time"]).collect();
        features.push(feature("LineString", json!(line), json!({"what": "way", "times": times})));
    }
    for (properties, at) in &fixes {
        let properties = json!({"what": "place", "time": properties["time"], "event_id": properties["event_id"],
                                "error_metres": properties["error_metres"]});
        features.push(feature("Point", json!(at), properties));
    }
    let camera = events.iter().find_map(|event| Some((event, event.location?)));
    if let Some((event, at)) = camera.filter(|_| fixes.is_empty()) {
        let properties = json!({"what": "camera", "camera": event.camera.as_str(), "region": event.region.as_str()});
        features.push(feature("Point", json!([at.longitude, at.latitude]), properties));
    }
    json!({"type": "FeatureCollection", "features": features})
}

#[allow(clippy::needless_pass_by_value)] // json! takes them apart.
fn feature(kind: &str, coordinates: Value, properties: Value) -> Value {
    json!({"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": properties})
}

fn lon_lat(at: &v1::GeoPoint) -> [f64; 2] {
    [at.longitude, at.latitude]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geojson_is_longitude_first_and_a_line_needs_two_places() {
        let at = |second: i64, latitude, longitude| v1::GroundFix {
            time: Some(prost_types::Timestamp { seconds: 1_700_000_000 + second, nanos: 0 }),
            position: Some(v1::GroundPosition { x: 1.0, y: 2.0, error_metres: 0.5 }),
            location: Some(v1::GeoPoint { latitude, longitude }),
            event_id: "e".into(),
        };
        let ground = vec![at(0, 52.5, 13.4), at(9, 52.6, 13.5)];
        let two = as_geojson(&v1::GetTrackResponse { ground: ground.clone(), ..Default::default() }, &[]);
        assert_eq!(two["features"].as_array().unwrap().len(), 3);
        assert_eq!(two["features"][0]["geometry"]["type"], "LineString");
        assert_eq!(two["features"][0]["geometry"]["coordinates"], json!([[13.4, 52.5], [13.5, 52.6]]));
        let one = as_geojson(&v1::GetTrackResponse { ground: ground[..1].to_vec(), ..Default::default() }, &[]);
        assert_eq!(one["features"][0]["geometry"], json!({"type": "Point", "coordinates": [13.4, 52.5]}));
    }
}
