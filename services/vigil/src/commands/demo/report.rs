//! What the demo found, for people and programs.

use serde_json::json;
use vigil_proto::v1;

use super::measure::{RegionSummary, Summary};
use crate::output;

/// Shows the summary; in JSON as one line.
pub fn show(summary: &Summary, json: bool) -> anyhow::Result<()> {
    if json {
        return output::line(as_json(summary));
    }
    let mut table =
        output::table(["region", "cameras", "frames", "analysed", "dropped", "events", "found after p50", "p99"]);
    for region in &summary.regions {
        let (p50, p99) = region
            .wait_ms
            .map_or(("-".to_owned(), "-".to_owned()), |(p50, p99)| (format!("{p50:.0} ms"), format!("{p99:.0} ms")));
        let cells =
            [region.cameras.len() as u64, frames(region), analysed(region), dropped(region), region.events as u64];
        table.add_row(
            std::iter::once(region.region.clone()).chain(cells.iter().map(ToString::to_string)).chain([p50, p99]),
        );
    }
    output::line("")?;
    output::line(table)?;
    let answered = summary.regions.iter().filter(|region| region.answered).count();
    output::line(format!(
        "\n{answered} of {} regions answered; {} questions asked, {} answered in part",
        summary.regions.len(),
        summary.searches,
        summary.partial
    ))
}

fn as_json(summary: &Summary) -> serde_json::Value {
    let regions = summary.regions.iter().map(|region| {
        json!({
            "region": region.region,
            "answered": region.answered,
            "cameras": region.cameras.len(),
            "frames": frames(region),
            "analysed": analysed(region),
            "dropped": dropped(region),
            "events": region.events,
            "found_after_ms_p50": region.wait_ms.map(|w| w.0.round()),
            "found_after_ms_p99": region.wait_ms.map(|w| w.1.round()),
        })
    });
    json!({
        "ok": summary.succeeded(),
        "regions": regions.collect::<Vec<_>>(),
        "searches": summary.searches,
        "partial": summary.partial,
    })
}

fn sum(region: &RegionSummary, number: impl Fn(&v1::CameraHealth) -> u64) -> u64 {
    region.cameras.iter().map(number).sum()
}

fn frames(region: &RegionSummary) -> u64 {
    sum(region, |camera| camera.frames_received)
}

fn analysed(region: &RegionSummary) -> u64 {
    sum(region, |camera| camera.frames_analysed)
}

fn dropped(region: &RegionSummary) -> u64 {
    sum(region, |camera| camera.frames_dropped)
}
