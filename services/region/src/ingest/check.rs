//! Records from the wire to revisions for the index, each checked once.

use std::time::Duration;

use bytes::Bytes;
use vigil_base::coverage::CoverageReport;
use vigil_base::event::MAX_THUMBNAIL_BYTES;
use vigil_base::{EdgeId, RegionId, Timestamp};
use vigil_proto::convert::{bounded_text, coverage_from_wire, event_from_wire, required_time, time_from_wire};
use vigil_proto::{WireError, v1};

use crate::edges::Heartbeat;
use crate::index::NewRevision;

/// Longest event id that a rejection repeats.
const MAX_SHOWN_ID: usize = 64;
/// Cameras whose health one heartbeat may tell.
const MAX_CAMERAS: usize = 1_000;
/// Rules of a camera that one heartbeat may tell of: as many as a camera may have.
const MAX_RULES: usize = 64;
/// How far a minute may lie ahead of the time.
const MAX_AHEAD: Duration = Duration::from_hours(24);
/// Longest detail of a camera's health, in bytes.
const MAX_DETAIL: usize = 512;
/// A JPEG begins with a start-of-image marker (ITU-T T.81, table B.1).
const JPEG_START: [u8; 2] = [0xff, 0xd8];

/// A batch after its check.
#[derive(Debug)]
pub(super) struct CheckedBatch {
    pub(super) sequence: u64,
    /// What can be stored.
    pub(super) revisions: Vec<NewRevision>,
    /// Where each of `revisions` was in the batch, and its event id as sent.
    pub(super) places: Vec<(u32, String)>,
    /// What cannot.
    pub(super) rejections: Vec<v1::Rejection>,
}

/// Checks each record of a batch; what is wrong with one does not touch the others.
pub(super) fn check_batch(batch: v1::EventBatch, region: &RegionId, edge: &EdgeId) -> CheckedBatch {
    let mut checked = CheckedBatch {
        sequence: batch.sequence,
        revisions: Vec::with_capacity(batch.records.len()),
        places: Vec::with_capacity(batch.records.len()),
        rejections: Vec::new(),
    };
    for (index, record) in (0..).zip(batch.records) {
        let event_id = shown_id(&record);
        match check_record(record, region, edge) {
            Ok(revision) => {
                checked.revisions.push(revision);
                checked.places.push((index, event_id));
            }
            Err(error) => checked.rejections.push(v1::Rejection { index, event_id, reason: error.to_string() }),
        }
    }
    checked
}

fn shown_id(record: &v1::EventRecord) -> String {
    record.event.as_ref().map(|event| event.event_id.chars().take(MAX_SHOWN_ID).collect()).unwrap_or_default()
}

fn check_record(record: v1::EventRecord, region: &RegionId, edge: &EdgeId) -> Result<NewRevision, WireError> {
    let wire = record.event.ok_or_else(|| WireError::new("event", "is missing"))?;
    let event = event_from_wire(wire).map_err(|error| error.within("event"))?;
    if event.region != *region {
        return Err(WireError::new("event.region_id", format!("is {}; this region is {region}", event.region)));
    }
    if event.edge != *edge {
        return Err(WireError::new("event.edge_id", format!("is {}; the stream is of edge {edge}", event.edge)));
    }
    check_thumbnail(&record.thumbnail_jpeg)?;
    Ok(NewRevision::new(event, record.thumbnail_jpeg))
}

fn check_thumbnail(jpeg: &Bytes) -> Result<(), WireError> {
    const FIELD: &str = "thumbnail_jpeg";
    if jpeg.len() > MAX_THUMBNAIL_BYTES {
        return Err(WireError::new(
            FIELD,
            format!("has {} bytes; at most {MAX_THUMBNAIL_BYTES} are taken", jpeg.len()),
        ));
    }
    if !jpeg.is_empty() && !jpeg.starts_with(&JPEG_START) {
        return Err(WireError::new(FIELD, "is not a JPEG"));
    }
    Ok(())
}

/// Reports of a batch that can be stored, and the rejections of those that cannot.
pub(super) struct CheckedCoverage {
    pub(super) sequence: u64,
    pub(super) reports: Vec<CoverageReport>,
    pub(super) rejections: Vec<v1::Rejection>,
}

/// Checks each report of a batch, while it is `now` at the latest; what is wrong with one does not touch the others.
pub(super) fn check_coverage(batch: v1::CoverageBatch, now: Timestamp) -> CheckedCoverage {
    let (mut reports, mut rejections) = (Vec::with_capacity(batch.reports.len()), Vec::new());
    for (index, report) in (0..).zip(batch.reports) {
        let event_id = report.report_id.chars().take(MAX_SHOWN_ID).collect();
        match check_report(report, now) {
            Ok(report) => reports.push(report),
            Err(error) => rejections.push(v1::Rejection { index, event_id, reason: error.to_string() }),
        }
    }
    CheckedCoverage { sequence: batch.sequence, reports, rejections }
}

fn check_report(report: v1::CoverageReport, now: Timestamp) -> Result<CoverageReport, WireError> {
    let report = coverage_from_wire(report).map_err(|error| error.within("report"))?;
    if report.minute > now + MAX_AHEAD {
        // It would outlive retention.
        let problem = format!("is {}, more than a day ahead of the region's clock and of most edges'", report.minute);
        return Err(WireError::new("report.minute", problem));
    }
    Ok(report)
}

/// A heartbeat, checked.
pub(super) fn check_heartbeat(heartbeat: v1::PublishHeartbeat) -> Result<Heartbeat, WireError> {
    let cameras = heartbeat.cameras;
    if cameras.len() > MAX_CAMERAS {
        return Err(WireError::new("cameras", format!("has {} entries; at most {MAX_CAMERAS}", cameras.len())));
    }
    Ok(Heartbeat {
        edge_time: required_time("edge_time", heartbeat.edge_time)?,
        complete_until: optional_time("complete_until", heartbeat.complete_until)?,
        backlog: heartbeat.backlog,
        cameras: cameras.into_iter().map(check_camera_health).collect::<Result<_, _>>()?,
    })
}

fn check_camera_health(health: v1::CameraHealth) -> Result<v1::CameraHealth, WireError> {
    vigil_base::CameraId::new(&health.camera_id).map_err(|e| WireError::new("cameras.camera_id", e))?;
    optional_time("cameras.last_frame_time", health.last_frame_time)?;
    let state = health.state().into();
    let detail = bounded_text("cameras.detail", health.detail, MAX_DETAIL)?;
    if health.rules.len() > MAX_RULES {
        let problem = format!("has {} entries; at most {MAX_RULES}", health.rules.len());
        return Err(WireError::new("cameras.rules", problem));
    }
    health.rules.iter().try_for_each(check_rule_readout)?;
    Ok(v1::CameraHealth { detail, state, ..health })
}

fn check_rule_readout(readout: &v1::RuleReadout) -> Result<(), WireError> {
    vigil_base::RuleId::new(&readout.rule_id).map_err(|e| WireError::new("cameras.rules.rule_id", e))?;
    match &readout.reading {
        Some(v1::rule_readout::Reading::Counts(counts)) => {
            optional_time("cameras.rules.counts.since", counts.since).map(drop)
        }
        Some(v1::rule_readout::Reading::Inside(_)) | None => Ok(()),
    }
}

fn optional_time(field: &str, at: Option<prost_types::Timestamp>) -> Result<Option<Timestamp>, WireError> {
    at.map(|at| time_from_wire(field, at)).transpose()
}
