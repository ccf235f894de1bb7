//! Reports of what was watched.

use std::time::Duration;

use vigil_base::CameraId;
use vigil_base::coverage::{
    Analysis, CameraCoverage, CoverageReport, FrameCounts, MAX_REPORTED_CAMERAS, MINUTE, Tally,
};

use super::{WireError, bounded_text, required_time, time_to_wire};
use crate::v1;

/// Most time that one report may account for: a minute, and what a late tick adds to it.
const MAX_ACCOUNTED: Duration = Duration::from_secs(90);
/// Longest name of an execution provider, in bytes.
const MAX_PROVIDER: usize = 32;
/// Longest name of a model, in bytes.
const MAX_MODEL: usize = 128;
/// A SHA-256 in hex.
const MAX_FINGERPRINT: usize = 64;
/// Most packets or pictures a minute: a thousand a second.
const MAX_COUNT: u64 = 60_000;

/// A report for the wire.
pub fn coverage_to_wire(report: &CoverageReport) -> v1::CoverageReport {
    v1::CoverageReport {
        report_id: report.id.to_string(),
        minute: Some(time_to_wire(report.minute)),
        cameras: report.cameras.iter().map(camera_to_wire).collect(),
    }
}

fn camera_to_wire(camera: &CameraCoverage) -> v1::CameraCoverage {
    v1::CameraCoverage {
        camera_id: camera.camera.to_string(),
        tally: Some(tally_to_wire(&camera.tally)),
        analysis: Some(analysis_to_wire(&camera.analysis)),
        camera_clock_offset_ms: camera.clock_offset_ms,
    }
}

/// Sums for the wire.
pub fn tally_to_wire(tally: &Tally) -> v1::CoverageTally {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    v1::CoverageTally {
        accounted_ms: ms(tally.accounted),
        watched_ms: ms(tally.watched),
        packets_received: tally.frames.received,
        packets_gated: tally.frames.gated,
        frames_decoded: tally.frames.decoded,
        frames_not_due: tally.frames.not_due,
        frames_still: tally.frames.still,
        frames_analysed: tally.frames.analysed,
        frames_dropped_overload: tally.frames.dropped_overload,
        frames_dropped_detector: tally.frames.dropped_detector,
    }
}

/// What analysed, for the wire.
pub fn analysis_to_wire(analysis: &Analysis) -> v1::Analysis {
    v1::Analysis {
        execution_provider: analysis.provider.to_string(),
        model: analysis.model.to_string(),
        model_fingerprint: analysis.fingerprint.to_string(),
        frames_per_second: analysis.rate,
    }
}

/// A report from the wire, for one whole minute, with sums that a minute can hold.
pub fn coverage_from_wire(wire: v1::CoverageReport) -> Result<CoverageReport, WireError> {
    let id = wire.report_id.parse().map_err(|e| WireError::new("report_id", e))?;
    let minute = required_time("minute", wire.minute)?;
    if minute.round_down(MINUTE) != minute {
        return Err(WireError::new("minute", "is not the begin of a minute"));
    }
    if wire.cameras.len() > MAX_REPORTED_CAMERAS {
        let problem = format!("has {} entries; at most {MAX_REPORTED_CAMERAS}", wire.cameras.len());
        return Err(WireError::new("cameras", problem));
    }
    let cameras = wire.cameras.into_iter().map(|camera| camera_from_wire(camera).map_err(|e| e.within("cameras")));
    Ok(CoverageReport { id, minute, cameras: cameras.collect::<Result<_, _>>()? })
}

fn camera_from_wire(wire: v1::CameraCoverage) -> Result<CameraCoverage, WireError> {
    let tally = wire.tally.ok_or_else(|| WireError::new("tally", "is missing"))?;
    check_minute(&tally).map_err(|e| e.within("tally"))?;
    let analysis = wire.analysis.unwrap_or_default();
    Ok(CameraCoverage {
        camera: CameraId::new(&wire.camera_id).map_err(|e| WireError::new("camera_id", e))?,
        tally: tally_from_wire(tally),
        analysis: analysis_from_wire(analysis).map_err(|e| e.within("analysis"))?,
        clock_offset_ms: wire.camera_clock_offset_ms,
    })
}

/// Sums from the wire, of whatever time.
pub fn tally_from_wire(wire: v1::CoverageTally) -> Tally {
    Tally {
        accounted: Duration::from_millis(wire.accounted_ms),
        watched: Duration::from_millis(wire.watched_ms),
        frames: FrameCounts {
            received: wire.packets_received,
            gated: wire.packets_gated,
            decoded: wire.frames_decoded,
            not_due: wire.frames_not_due,
            still: wire.frames_still,
            analysed: wire.frames_analysed,
            dropped_overload: wire.frames_dropped_overload,
            dropped_detector: wire.frames_dropped_detector,
        },
    }
}

fn check_minute(tally: &v1::CoverageTally) -> Result<(), WireError> {
    if tally.accounted_ms > MAX_ACCOUNTED.as_millis() as u64 {
        let problem = format!("is {} ms; a minute's report accounts for at most {MAX_ACCOUNTED:?}", tally.accounted_ms);
        return Err(WireError::new("accounted_ms", problem));
    }
    if tally.watched_ms > tally.accounted_ms {
        return Err(WireError::new("watched_ms", "is more than is accounted for"));
    }
    let counts = [
        ("packets_received", tally.packets_received),
        ("packets_gated", tally.packets_gated),
        ("frames_decoded", tally.frames_decoded),
        ("frames_not_due", tally.frames_not_due),
        ("frames_still", tally.frames_still),
        ("frames_analysed", tally.frames_analysed),
        ("frames_dropped_overload", tally.frames_dropped_overload),
        ("frames_dropped_detector", tally.frames_dropped_detector),
    ];
    match counts.into_iter().find(|(_, count)| *count > MAX_COUNT) {
        None => Ok(()),
        Some((field, count)) => Err(WireError::new(field, format!("is {count}; a minute has at most {MAX_COUNT}"))),
    }
}

fn analysis_from_wire(wire: v1::Analysis) -> Result<Analysis, WireError> {
    if !(0.0..=1e3).contains(&wire.frames_per_second) {
        return Err(WireError::new("frames_per_second", "must lie between 0 and 1000"));
    }
    Ok(Analysis {
        provider: bounded_text("execution_provider", wire.execution_provider, MAX_PROVIDER)?.into(),
        model: bounded_text("model", wire.model, MAX_MODEL)?.into(),
        fingerprint: bounded_text("model_fingerprint", wire.model_fingerprint, MAX_FINGERPRINT)?.into(),
        rate: wire.frames_per_second,
    })
}

#[cfg(test)]
mod tests {
    use vigil_base::{EventId, Timestamp};

    use super::*;

    fn report() -> CoverageReport {
        let minute = Timestamp::from_micros(1_700_000_040_000_000);
        let frames = FrameCounts { received: 1_500, gated: 1_400, decoded: 100, analysed: 90, ..Default::default() };
        let tally = Tally { accounted: MINUTE, watched: Duration::from_secs(59), frames };
        let analysis = Analysis { provider: "cpu".into(), model: "m".into(), fingerprint: "ab".into(), rate: 5.0 };
        let camera = CameraId::new("gate").unwrap();
        let cameras = vec![CameraCoverage { camera, tally, analysis, clock_offset_ms: Some(-3) }];
        CoverageReport { id: EventId::at(minute), minute, cameras }
    }

    #[test]
    fn a_report_survives_the_wire() {
        let report = report();
        assert_eq!(coverage_from_wire(coverage_to_wire(&report)).unwrap(), report);
    }

    fn tally(wire: &mut v1::CoverageReport) -> &mut v1::CoverageTally {
        wire.cameras[0].tally.get_or_insert_default()
    }

    #[test]
    fn a_report_that_cannot_be_true_is_refused_with_its_field() {
        let wrong = |field: &str, change: fn(&mut v1::CoverageReport)| {
            let mut wire = coverage_to_wire(&report());
            change(&mut wire);
            let error = coverage_from_wire(wire).unwrap_err();
            assert_eq!(error.field, field, "{error}");
        };
        wrong("report_id", |wire| wire.report_id.clear());
        wrong("minute", |wire| wire.minute.as_mut().unwrap().seconds += 1);
        wrong("cameras", |wire| wire.cameras = vec![wire.cameras[0].clone(); MAX_REPORTED_CAMERAS + 1]);
        wrong("cameras.camera_id", |wire| wire.cameras[0].camera_id = "../x".into());
        wrong("cameras.tally", |wire| wire.cameras[0].tally = None);
        wrong("cameras.tally.accounted_ms", |wire| tally(wire).accounted_ms = 1_000_000);
        wrong("cameras.tally.watched_ms", |wire| tally(wire).watched_ms = 60_001);
        wrong("cameras.tally.frames_analysed", |wire| tally(wire).frames_analysed = u64::MAX);
        wrong("cameras.analysis.frames_per_second", |wire| {
            wire.cameras[0].analysis.get_or_insert_default().frames_per_second = f32::NAN;
        });
        wrong("cameras.analysis.model", |wire| {
            wire.cameras[0].analysis.get_or_insert_default().model = "x".repeat(999);
        });
    }
}
