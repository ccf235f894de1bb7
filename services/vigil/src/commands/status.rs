//! `vigil status`: how the regions are.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use vigil_base::{Clock, SystemClock};
use vigil_proto::convert::time_from_wire;
use vigil_proto::v1;
use vigil_proto::v1::rule_readout::Reading;

use crate::client::{self, ServerArgs};
use crate::{exit, output, when};

/// Show each region's index, its edges and their cameras: what is connected, what is behind, what is wrong.
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// JSON lines on standard output.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub async fn run(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let now = SystemClock::new().now();
    let channel = args.server.connect().await?;
    let request = args.server.request(v1::GetStatusRequest::default());
    let answer = client::regions(channel).get_status(request).await.map_err(|e| args.server.explain(&e))?.into_inner();
    for status in &answer.statuses {
        if args.json {
            output::line(as_json(status))?;
        } else {
            for line in as_text(status) {
                output::line(line)?;
            }
        }
    }
    if args.json {
        output::line(json!({"regions": answer.regions.iter().map(output::region_json).collect::<Vec<_>>()}))?;
    } else {
        for line in output::region_lines(&answer.regions, now) {
            output::line(line)?;
        }
    }
    Ok(if client::complete(&answer.regions) { ExitCode::SUCCESS } else { ExitCode::from(exit::PARTIAL) })
}

fn time(at: Option<prost_types::Timestamp>) -> Option<vigil_base::Timestamp> {
    at.and_then(|at| time_from_wire("time", at).ok())
}

fn camera_state(state: v1::CameraState) -> &'static str {
    match state {
        v1::CameraState::Connecting => "connecting",
        v1::CameraState::Streaming => "streaming",
        v1::CameraState::Down => "down",
        v1::CameraState::Unspecified => "unknown",
    }
}

/// For people: a camera that is down stands out, with the time of the last picture there was.
fn camera_line(camera: &v1::CameraHealth) -> String {
    let (state, last) = match camera.state() {
        v1::CameraState::Streaming => (String::from("streaming"), String::new()),
        other => {
            let last = time(camera.last_frame_time).map_or("none yet".to_owned(), when::show);
            (camera_state(other).to_uppercase(), format!("last frame {last}; "))
        }
    };
    format!(
        "camera {}: {state}, {}; {last}frames received {}, analysed {}, dropped {}",
        camera.camera_id, camera.detail, camera.frames_received, camera.frames_analysed, camera.frames_dropped
    )
}

/// A rule, whether it is on, and what it counts.
fn rule_line(rule: &v1::RuleReadout) -> String {
    let state = if rule.on { "on" } else { "off" };
    let reading = match &rule.reading {
        Some(Reading::Counts(counts)) => {
            let since = time(counts.since).map_or("the start".to_owned(), when::show);
            format!(", {} left, {} right since {since}", counts.left, counts.right)
        }
        Some(Reading::Inside(inside)) => format!(", {inside} inside"),
        None => String::new(),
    };
    format!("rule {}: {state}{reading}", rule.rule_id)
}

fn rule_json(rule: &v1::RuleReadout) -> serde_json::Value {
    let reading = match &rule.reading {
        Some(Reading::Counts(counts)) => {
            json!({"left": counts.left, "right": counts.right, "since": time(counts.since).map(|at| at.to_string())})
        }
        Some(Reading::Inside(inside)) => json!({"inside": inside}),
        None => serde_json::Value::Null,
    };
    json!({"rule": rule.rule_id, "on": rule.on, "reading": reading})
}

fn as_text(status: &v1::RegionStatus) -> Vec<String> {
    let newest = time(status.newest_begin_time).map_or("none".to_owned(), when::show);
    let mut lines = vec![format!(
        "region {}: {} events, newest {newest}, index {:.1} MB, disk free {:.1} GB",
        status.region_id,
        status.events,
        status.index_bytes as f64 / 1e6,
        status.disk_free_bytes as f64 / 1e9
    )];
    lines.push(match status.policy.as_str() {
        "" => "  no policy is set: whoever may ask is given everything".to_owned(),
        version => format!("  policy {version}"),
    });
    lines.extend(status.problems.iter().map(|problem| format!("  problem: {problem}")));
    for edge in &status.edges {
        let state = if edge.connected { "connected" } else { "OFFLINE" };
        lines.push(format!(
            "  edge {}: {state}, {} records behind, clock {:+} ms",
            edge.edge_id, edge.backlog, edge.clock_offset_ms
        ));
        for camera in &edge.cameras {
            lines.push(format!("    {}", camera_line(camera)));
            lines.extend(camera.rules.iter().map(|rule| format!("      {}", rule_line(rule))));
        }
    }
    lines
}

fn as_json(status: &v1::RegionStatus) -> serde_json::Value {
    let text = |at| time(at).map(|at| at.to_string());
    json!({
        "region": status.region_id,
        "version": status.software_version,
        "events": status.events,
        "oldest_begin_time": text(status.oldest_begin_time),
        "newest_begin_time": text(status.newest_begin_time),
        "last_commit_time": text(status.last_commit_time),
        "complete_until": text(status.complete_until),
        "index_bytes": status.index_bytes,
        "disk_free_bytes": status.disk_free_bytes,
        "problems": status.problems,
        "policy": Some(&status.policy).filter(|policy| !policy.is_empty()),
        "edges": status.edges.iter().map(|edge| json!({
            "edge": edge.edge_id,
            "connected": edge.connected,
            "version": edge.software_version,
            "last_seen_time": text(edge.last_seen_time),
            "backlog": edge.backlog,
            "clock_offset_ms": edge.clock_offset_ms,
            "cameras": edge.cameras.iter().map(|camera| json!({
                "camera": camera.camera_id,
                "state": camera_state(camera.state()),
                "detail": camera.detail,
                "last_frame_time": text(camera.last_frame_time),
                "frames_received": camera.frames_received,
                "frames_analysed": camera.frames_analysed,
                "frames_dropped": camera.frames_dropped,
                "rules": camera.rules.iter().map(rule_json).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}
