//! `vigil journeys`: plates that several cameras saw within a time.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use vigil_base::{Clock, SystemClock, Timestamp};
use vigil_proto::convert::time_from_wire;
use vigil_proto::v1;

use crate::client::{self, ServerArgs};
use crate::filter_args::FilterArgs;
use crate::{exit, output, when};

/// How far back journeys are looked for unless told otherwise.
const LOOKS_BACK: &str = "24h";

/// Find plates that were seen at several cameras within a time; through a gateway, in all regions together.
///
/// A journey is made of sightings that lie within a span with enough different cameras; those of the last 24 hours are looked
/// at unless --from says otherwise. Ends with status 3 when some region did not answer: what is shown is then a part.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vigil journeys --cameras 3 --within 30m --from 6h
  vigil journeys --plate BAB1234 --plate-match one-wrong --from 7d --within 24h
  vigil journeys --camera bridge-east,bridge-west --from \"2026-05-01 14:00\" --until \"2026-05-01 18:00\" --json")]
pub struct JourneysArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// At this many different cameras or more, 2 to 100.
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=100))]
    cameras: u32,
    /// Within this time, at most 24h.
    #[arg(long, default_value = "30m", value_name = "DURATION", value_parser = humantime::parse_duration)]
    within: Duration,
    /// At most this many journeys, the latest first; at most 1000.
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: u32,
    /// JSON lines on standard output: one object a journey, then one with the regions' reports.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub async fn run(args: JourneysArgs) -> anyhow::Result<ExitCode> {
    let now = SystemClock::new().now();
    let mut filter = args.filter.clone();
    filter.from.get_or_insert_with(|| LOOKS_BACK.to_owned());
    filter.until.get_or_insert_with(|| "now".to_owned());
    let request = v1::FindJourneysRequest {
        filter: Some(filter.resolve(now)?),
        span: Some(args.within.try_into().context("--within").map_err(exit::wrong_use)?),
        min_cameras: args.cameras,
        max_journeys: args.limit,
        sightings_alone: false,
    };
    let mut client = client::insight(args.server.connect().await?);
    let answer = client.find_journeys(args.server.request(request)).await;
    let answer = answer.map_err(|e| args.server.explain(&e))?.into_inner();
    let looked_from = answer.looked_from.and_then(|at| time_from_wire("looked_from", at).ok());
    if args.json {
        for journey in &answer.journeys {
            output::line(as_json(journey))?;
        }
        output::line(json!({
            "regions": answer.regions.iter().map(output::region_json).collect::<Vec<_>>(),
            "truncated": answer.truncated,
            "looked_from": looked_from.map(|at| at.to_string()),
        }))?;
    } else {
        show(&answer, looked_from)?;
        for line in output::region_lines(&answer.regions, now) {
            output::line(line)?;
        }
    }
    Ok(if client::complete(&answer.regions) { ExitCode::SUCCESS } else { ExitCode::from(exit::PARTIAL) })
}

fn show(answer: &v1::FindJourneysResponse, looked_from: Option<Timestamp>) -> anyhow::Result<()> {
    let mut table = output::table(["plate", "begin", "region", "camera", "read as", "conf", "event"]);
    for journey in &answer.journeys {
        for (i, seen) in journey.sightings.iter().enumerate() {
            let begin = time(seen.begin_time.as_ref()).map(when::show).unwrap_or_default();
            let plate = if i == 0 { format!("{} ({})", journey.plate, journey.cameras) } else { String::new() };
            let confidence = format!("{:.2}", seen.confidence);
            let (region, camera, read) = (seen.region_id.clone(), seen.camera_id.clone(), seen.plate.clone());
            table.add_row([plate, begin, region, camera, read, confidence, seen.event_id.clone()]);
        }
    }
    output::line(&table)?;
    output::line(format!("\n{} journeys", answer.journeys.len()))?;
    if answer.truncated {
        output::line("there is more: name cameras or plates, ask for more cameras, or raise --limit")?;
    }
    if let Some(from) = looked_from {
        output::line(format!(
            "there were too many sightings: only those since {} were looked at; ask for a shorter time, or name cameras",
            when::show(from)
        ))?;
    }
    Ok(())
}

fn as_json(journey: &v1::Journey) -> Value {
    let sighting = |seen: &v1::Sighting| {
        json!({
            "event_id": seen.event_id,
            "region": seen.region_id,
            "camera": seen.camera_id,
            "begin_time": time(seen.begin_time.as_ref()).map(|at| at.to_string()),
            "end_time": time(seen.end_time.as_ref()).map(|at| at.to_string()),
            "plate": seen.plate,
            "confidence": (f64::from(seen.confidence) * 1e4).round() / 1e4,
            "location": seen.location.as_ref().map(|at| json!({"latitude": at.latitude, "longitude": at.longitude})),
        })
    };
    let sightings: Vec<Value> = journey.sightings.iter().map(sighting).collect();
    json!({"plate": journey.plate, "cameras": journey.cameras, "sightings": sightings})
}

fn time(wire: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    wire.and_then(|at| time_from_wire("time", *at).ok())
}
