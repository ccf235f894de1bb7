//! `vigil coverage`: what was watched, and what was not.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::json;
use vigil_base::{CameraId, Clock, RegionId, SystemClock, Timestamp};
use vigil_proto::convert::{CoverageQuestion, coverage_question_from_wire, time_to_wire};
use vigil_proto::v1;

use crate::client::{self, ServerArgs};
use crate::watched::{Watched, seconds};
use crate::{exit, output, when};

/// Show what was watched of each camera: tells "nothing happened" from "nobody looked".
///
/// WATCHED is the part of the time in which the camera streamed and its pictures could be decoded and analysed. BLIND is time in
/// which its edge ran and that was not so. UNKNOWN is time of which nobody has told: the edge was off, or is cut off from its region
/// and has yet to tell. The minute that runs is always unknown. Ask a gateway, a region, or an edge for its last hour.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vigil coverage
  vigil coverage --from 24h --below 99
  vigil coverage --camera station-north --from \"2026-05-01 14:00\" --until \"2026-05-01 15:00\" --step minute
  vigil coverage --server http://127.0.0.1:7201 --json      # an edge's own")]
pub struct CoverageArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Only these regions.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    region: Vec<RegionId>,
    /// Only these cameras.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    camera: Vec<CameraId>,
    /// Begin: a time, or how long ago (15m, 24h).
    #[arg(long, default_value = "1h", value_name = "TIME")]
    from: String,
    /// End.
    #[arg(long, default_value = "now", value_name = "TIME")]
    until: String,
    /// How finely. Times are widened to whole minutes, and to whole hours for longer steps or more than six hours.
    #[arg(long, value_enum, default_value_t = Step::Whole)]
    step: Step,
    /// Only what was watched for less than this part of the time, in percent.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    below: Option<u8>,
    /// JSON lines on standard output: one object a span, then one with the regions' reports.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Step {
    Minute,
    Hour,
    Day,
    Whole,
}

const HEADER: [&str; 11] =
    ["from", "region", "camera", "watched", "blind", "unknown", "analysed", "a second", "dropped", "by", "clock"];

/// Runs the command.
pub async fn run(args: CoverageArgs) -> anyhow::Result<ExitCode> {
    let now = SystemClock::new().now();
    let request = request(&args, now).map_err(exit::wrong_use)?;
    let asked = coverage_question_from_wire(request.clone()).map_err(|e| exit::wrong_use(anyhow::Error::new(e)))?;
    let mut client = client::coverage(args.server.connect().await?);
    let answer = client.get_coverage(args.server.request(request)).await;
    let answer = answer.map_err(|e| args.server.explain(&e))?.into_inner();
    let spans: Vec<_> = answer.spans.into_iter().map(Watched::new).collect();
    // Where spans are left out, a time without one is not known to be unknown.
    let mut spans = if answer.truncated { spans } else { with_gaps(spans, &asked, now) };
    if let Some(below) = args.below {
        spans.retain(|span| span.ratio() * 100.0 < f64::from(below));
    }
    if args.json {
        for span in &spans {
            output::line(span.as_json())?;
        }
        let regions: Vec<_> = answer.regions.iter().map(output::region_json).collect();
        output::line(json!({"regions": regions, "truncated": answer.truncated}))?;
    } else {
        show(&spans)?;
        if answer.truncated {
            output::line("there is more: name cameras or regions, or ask for a shorter time or longer steps")?;
        }
        for line in output::region_lines(&answer.regions, now).iter().filter(|_| !answer.regions.is_empty()) {
            output::line(line)?;
        }
    }
    Ok(if client::complete(&answer.regions) { ExitCode::SUCCESS } else { ExitCode::from(exit::PARTIAL) })
}

fn request(args: &CoverageArgs, now: Timestamp) -> anyhow::Result<v1::GetCoverageRequest> {
    let step = match args.step {
        Step::Minute => v1::CoverageStep::Minute,
        Step::Hour => v1::CoverageStep::Hour,
        Step::Day => v1::CoverageStep::Day,
        Step::Whole => v1::CoverageStep::Whole,
    };
    Ok(v1::GetCoverageRequest {
        from: Some(time_to_wire(when::parse(&args.from, now).context("--from")?)),
        until: Some(time_to_wire(when::parse(&args.until, now).context("--until")?)),
        region_ids: args.region.iter().map(ToString::to_string).collect(),
        camera_ids: args.camera.iter().map(ToString::to_string).collect(),
        step: step.into(),
    })
}

/// The spans, and one for each time between them of which nothing is known.
fn with_gaps(spans: Vec<Watched>, asked: &CoverageQuestion, now: Timestamp) -> Vec<Watched> {
    let end = asked.until.min(now);
    let mut all: Vec<Watched> = Vec::with_capacity(spans.len());
    for span in spans {
        let same = all.last().is_some_and(|last| is_same_camera(last, &span));
        if !same && let Some(last) = all.last() {
            all.extend(gap(last, last.end, end));
        }
        let from = all.last().filter(|_| same).map_or(asked.from, |last| last.end);
        all.extend(gap(&span, from, span.begin));
        all.push(span);
    }
    if let Some(last) = all.last() {
        all.extend(gap(last, last.end, end));
    }
    all
}

fn is_same_camera(a: &Watched, b: &Watched) -> bool {
    (&a.span.region_id, &a.span.camera_id) == (&b.span.region_id, &b.span.camera_id)
}

fn gap(beside: &Watched, from: Timestamp, until: Timestamp) -> Option<Watched> {
    let (region_id, camera_id) = (beside.span.region_id.clone(), beside.span.camera_id.clone());
    let span = || v1::CoverageSpan {
        region_id,
        camera_id,
        begin_time: Some(time_to_wire(from)),
        end_time: Some(time_to_wire(until)),
        ..v1::CoverageSpan::default()
    };
    (from < until).then(|| Watched::new(span()))
}

fn show(spans: &[Watched]) -> anyhow::Result<()> {
    let mut table = output::table(HEADER);
    for span in spans {
        table.add_row([
            when::show_minute(span.begin),
            span.span.region_id.clone(),
            span.span.camera_id.clone(),
            format!("{:.1} %", span.ratio() * 100.0),
            seconds(span.blind()),
            seconds(span.unknown()),
            span.tally.frames_analysed.to_string(),
            format!("{:.1}", span.analysed_per_second()),
            span.dropped(),
            span.analysed_by(),
            span.clock(),
        ]);
    }
    output::line(table)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn times_of_which_nothing_was_told_stand_between_those_that_were() {
        let noon = Timestamp::parse("2026-05-01T12:00:00Z").unwrap();
        let at = |minute: u32| time_to_wire(noon + MINUTE * minute);
        let span = |camera: &str, minute| {
            let (begin_time, end_time) = (Some(at(minute)), Some(at(minute + 1)));
            Watched::new(v1::CoverageSpan { camera_id: camera.into(), begin_time, end_time, ..Default::default() })
        };
        let asked = coverage_question_from_wire(v1::GetCoverageRequest {
            from: Some(at(0)),
            until: Some(at(9)),
            step: v1::CoverageStep::Minute.into(),
            ..Default::default()
        });
        let told = vec![span("a", 0), span("a", 1), span("a", 4), span("b", 2)];
        let all = with_gaps(told, &asked.unwrap(), noon + MINUTE * 5);
        let shown: Vec<_> = all
            .iter()
            .map(|s| (s.span.camera_id.as_str(), s.begin.since(noon).as_secs() / 60, s.end.since(noon).as_secs() / 60))
            .collect();
        let expected = [("a", 0, 1), ("a", 1, 2), ("a", 2, 4), ("a", 4, 5), ("b", 0, 2), ("b", 2, 3), ("b", 3, 5)];
        assert_eq!(shown, expected);
    }
}
