//! What an edge's coverage ledger says of its last minutes.

use std::time::Duration;

use vigil_base::coverage::MINUTE;
use vigil_base::error::chain;
use vigil_base::{Clock, SystemClock};
use vigil_proto::convert::time_to_wire;
use vigil_proto::v1;

use super::{Finding, Verdict};
use crate::client::{self, ServerArgs, TlsArgs};
use crate::watched::{Watched, seconds};

/// How far back it is asked.
const BACK: Duration = Duration::from_mins(10);
/// How long the edge may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Blind time, or dropped pictures, from which a camera counts as broken: part of the whole.
const TOLERATED: f64 = 0.01;

/// A finding for each camera of the edge at `address`, or the one that it does not answer.
pub(super) fn findings(address: &str, tls: &TlsArgs) -> Vec<Finding> {
    match ask(address, tls) {
        Ok(spans) if spans.is_empty() => {
            let detail = "it has counted no whole minute yet: ask again in a minute";
            vec![Finding::new(format!("edge {address}"), Verdict::Absent, detail)]
        }
        Ok(spans) => spans.into_iter().map(|span| finding(&Watched::new(span))).collect(),
        Err(error) => vec![Finding::new(format!("edge {address}"), Verdict::Broken, chain(error.as_ref()))],
    }
}

fn ask(address: &str, tls: &TlsArgs) -> anyhow::Result<Vec<v1::CoverageSpan>> {
    let server = ServerArgs { tls: tls.clone(), ..ServerArgs::to(address, PATIENCE, "vigil doctor") };
    // Minutes that are over: the one that runs is told when it ends.
    let now = SystemClock::new().now();
    let request = v1::GetCoverageRequest {
        from: Some(time_to_wire(now - BACK)),
        until: Some(time_to_wire(now)),
        step: v1::CoverageStep::Minute.into(),
        ..v1::GetCoverageRequest::default()
    };
    let asking = async {
        let mut client = client::coverage(server.connect().await?);
        let answer = client.get_coverage(server.request(request)).await;
        Ok(added_up(answer.map_err(|status| server.explain(&status))?.into_inner().spans))
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(asking)
}

/// One span a camera, from its first minute to its last.
fn added_up(minutes: Vec<v1::CoverageSpan>) -> Vec<v1::CoverageSpan> {
    let mut cameras: Vec<v1::CoverageSpan> = Vec::new();
    for minute in minutes {
        match cameras.last_mut().filter(|last| last.camera_id == minute.camera_id) {
            Some(last) => add(last, minute),
            None => cameras.push(minute),
        }
    }
    cameras
}

fn add(sum: &mut v1::CoverageSpan, minute: v1::CoverageSpan) {
    use vigil_proto::convert::{tally_from_wire, tally_to_wire};
    let mut tally = tally_from_wire(sum.tally.unwrap_or_default());
    tally += tally_from_wire(minute.tally.unwrap_or_default());
    sum.tally = Some(tally_to_wire(&tally));
    sum.end_time = minute.end_time;
    sum.camera_clock_offset_ms = minute.camera_clock_offset_ms.or(sum.camera_clock_offset_ms);
    for analysis in minute.analyses {
        if !sum.analyses.contains(&analysis) {
            sum.analyses.push(analysis);
        }
    }
}

fn finding(watched: &Watched) -> Finding {
    let tally = &watched.tally;
    let dropped = (tally.frames_dropped_overload + tally.frames_dropped_detector) as f64;
    let wanted = tally.frames_analysed as f64 + dropped;
    let blind = watched.blind().as_secs_f64() / (tally.accounted_ms as f64 / 1e3).max(1.0);
    let is_bad = blind > TOLERATED || dropped / wanted.max(1.0) > TOLERATED;
    let verdict = if is_bad { Verdict::Broken } else { Verdict::Works };
    let rate = watched.span.analyses.last().map(|analysis| analysis.frames_per_second).unwrap_or_default();
    let mut detail = format!(
        "watched {} of {}, analysed {:.1} a second of at most {rate} by {}",
        seconds(watched.watched().max(Duration::from_secs(1))),
        seconds(Duration::from_millis(tally.accounted_ms).max(Duration::from_secs(1))),
        watched.analysed_per_second(),
        watched.analysed_by(),
    );
    for (what, text) in [("dropped", watched.dropped()), ("its clock is off by", watched.clock())] {
        if !text.is_empty() {
            detail = format!("{detail}; {what} {text}");
        }
    }
    let minutes = (watched.end.since(watched.begin).as_secs_f64() / MINUTE.as_secs_f64()).round();
    Finding::new(format!("camera {}, last {minutes} min", watched.span.camera_id), verdict, detail)
}
