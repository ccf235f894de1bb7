//! Tables for people, JSON for programs.

use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::{Value, json};
use vigil_base::event::Part;
use vigil_base::{Event, Timestamp};
use vigil_proto::convert::{time_from_wire, withheld_name};
use vigil_proto::v1;

use crate::{event_json, when};

/// Writes one line to standard output; a reader that went away ends the program quietly, as it should in a pipe.
pub fn line(text: impl std::fmt::Display) -> anyhow::Result<()> {
    let written = writeln!(io::stdout().lock(), "{text}");
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// A table with a header, as wide as the terminal.
pub fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(header);
    table
}

/// One row of an event table.
pub fn event_row(event: &Event) -> [String; 8] {
    let (state, reason) = event_json::state(event.state);
    let seconds = event.end_time.seconds_since(event.begin_time);
    [
        when::show(event.begin_time),
        format!("{seconds:.1} s"),
        event.region.to_string(),
        event.camera.to_string(),
        what(event),
        format!("{:.2}", event.confidence),
        colours(event),
        format!("{} {}", event.id, reason.unwrap_or(state)),
    ]
}

/// The object's class, its plate, and what a rule found: "person loitering (nobody-at-night)".
fn what(event: &Event) -> String {
    let class = (!event.object_class.is_empty()).then(|| event.object_class.to_string());
    let plate = event.plate.as_ref().map(|plate| plate.text.clone());
    let found = event.finding.as_ref().map(|found| format!("{} ({})", found.kind, found.rule));
    class.into_iter().chain(plate).chain(found).collect::<Vec<_>>().join(" ")
}

/// The colours, a person's upper body before the lower: "red black / blue".
fn colours(event: &Event) -> String {
    let of = |part: Part| {
        let told = event.attributes.colours.iter().filter(|told| told.part == part).map(|told| told.colour.name());
        told.collect::<Vec<_>>().join(" ")
    };
    let parts: Vec<String> = Part::ALL.map(of).into_iter().filter(|names| !names.is_empty()).collect();
    parts.join(" / ")
}

/// Header of [`event_row`].
pub const EVENT_HEADER: [&str; 8] = ["begin", "for", "region", "camera", "what", "conf", "colours", "event"];

/// What became of the question in each region, for people. Nothing is written when all answered and hold everything.
pub fn region_lines(reports: &[v1::RegionReport], now: Timestamp) -> Vec<String> {
    let answered = reports.iter().filter(|r| r.outcome() == v1::RegionOutcome::Answered).count();
    let mut lines = vec![format!("{answered} of {} regions answered", reports.len())];
    for report in reports {
        let text = outcome(report.outcome());
        let took = report.elapsed.map(|d| d.seconds as f64 * 1e3 + f64::from(d.nanos) / 1e6).unwrap_or_default();
        let mut line = format!("  {}: {text} in {took:.0} ms", report.region_id);
        if report.outcome() == v1::RegionOutcome::Answered {
            line.push_str(&freshness(report, now));
        } else {
            let hint = if report.retryable { " (asking again may help)" } else { "" };
            line = format!("{line}: {}{hint}", report.detail);
        }
        lines.push(line);
    }
    lines
}

fn freshness(report: &v1::RegionReport, now: Timestamp) -> String {
    let complete = report.complete_until.and_then(|at| time_from_wire("complete_until", at).ok());
    let by = if report.from_replica { " by its replica" } else { "" };
    let completeness = match complete {
        Some(at) => format!("complete up to {:.1} s ago", now.seconds_since(at).max(0.0)),
        None => "completeness unknown".to_owned(),
    };
    let mut text = format!("{by}, {completeness}");
    if report.edges_offline > 0 {
        text = format!("{text}, {} edges offline", report.edges_offline);
    }
    if !report.missing.is_empty() {
        text = format!("{text}; INCOMPLETE: {}", report.missing);
    }
    if let Some(withheld) = &report.withheld {
        text = format!("{text}; {}", withheld_words(withheld));
    }
    text
}

/// What a region's policy kept back, for people.
pub fn withheld_words(withheld: &v1::WithheldReport) -> String {
    let what: Vec<_> = withheld.what().map(withheld_name).collect();
    let cameras = match withheld.cameras {
        0 => String::new(),
        1 => ", 1 camera left out".to_owned(),
        more => format!(", {more} cameras left out"),
    };
    let mut text = format!("WITHHELD by policy {}: {}{cameras}", withheld.policy, what.join(", "));
    for part in [&withheld.hint, &withheld.contact].into_iter().filter(|part| !part.is_empty()) {
        text = format!("{text}; {part}");
    }
    text
}

/// The same for programs.
pub fn withheld_json(withheld: &v1::WithheldReport) -> Value {
    json!({
        "region": withheld.region_id,
        "cameras": withheld.cameras,
        "what": withheld.what().map(withheld_name).collect::<Vec<_>>(),
        "policy": withheld.policy,
        "contact": withheld.contact,
        "hint": withheld.hint,
    })
}

/// A region's report as JSON.
pub fn region_json(report: &v1::RegionReport) -> Value {
    let complete = report.complete_until.and_then(|at| time_from_wire("complete_until", at).ok());
    json!({
        "region": report.region_id,
        "outcome": outcome(report.outcome()),
        "detail": report.detail,
        "retryable": report.retryable,
        "elapsed_ms": report.elapsed.map(|d| d.seconds as f64 * 1e3 + f64::from(d.nanos) / 1e6),
        "complete_until": complete.map(|at| at.to_string()),
        "edges_offline": report.edges_offline,
        "from_replica": report.from_replica,
        "missing": report.missing,
        "withheld": report.withheld.as_ref().map(withheld_json),
    })
}

/// What became of a question, in a word or two.
pub fn outcome(outcome: v1::RegionOutcome) -> &'static str {
    match outcome {
        v1::RegionOutcome::Answered => "answered",
        v1::RegionOutcome::TimedOut => "timed out",
        v1::RegionOutcome::Unreachable => "unreachable",
        v1::RegionOutcome::Denied => "denied",
        v1::RegionOutcome::Failed => "failed",
        v1::RegionOutcome::Unspecified => "unknown",
    }
}
