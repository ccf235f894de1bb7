//! What was watched.

use std::time::Duration;

use vigil_base::coverage::{Analysis, CameraCoverage, CoverageReport, FrameCounts, MINUTE, Tally};
use vigil_base::{CameraId, EventId, Timestamp};
use vigil_proto::convert::{CoverageQuestion, CoverageStep, time_from_wire};
use vigil_proto::v1;
use vigil_region::index::{CameraOrigin, Index};

use super::{Engine, camera_entry, open};
use crate::common::{NOON, at, region};

/// A report of the minute that begins so many minutes after noon.
fn report(minute: u32, cameras: &[&str]) -> CoverageReport {
    let told = |camera: &&str| CameraCoverage {
        camera: CameraId::new(camera).unwrap(),
        tally: Tally {
            accounted: MINUTE,
            watched: Duration::from_secs(50),
            frames: FrameCounts { received: 1_500, analysed: 250, dropped_overload: 1, ..FrameCounts::default() },
        },
        analysis: Analysis { provider: "cpu".into(), model: "m".into(), fingerprint: "ab".into(), rate: 5.0 },
        clock_offset_ms: Some(i64::from(minute)),
    };
    let minute = at(MINUTE * minute);
    CoverageReport { id: EventId::at(minute), minute, cameras: cameras.iter().map(told).collect() }
}

fn question(step: CoverageStep, cameras: &[&str]) -> CoverageQuestion {
    let cameras = cameras.iter().map(|camera| CameraId::new(camera).unwrap()).collect();
    let grain = if step == CoverageStep::Minute { MINUTE } else { Duration::from_hours(1) };
    CoverageQuestion { from: NOON, until: at(Duration::from_hours(3)), regions: Vec::new(), cameras, step, grain }
}

/// Camera, minutes after noon, analysed pictures of each span.
async fn spans(index: &dyn Index, question: CoverageQuestion) -> Vec<(String, u64, u64)> {
    let (spans, truncated) = index.coverage(question).await.unwrap().into_spans(&region(), at(Duration::from_hours(9)));
    assert!(!truncated);
    let shown = |span: v1::CoverageSpan| {
        let begin = time_from_wire("begin", span.begin_time.unwrap()).unwrap();
        (span.camera_id, begin.since(NOON).as_secs() / 60, span.tally.unwrap().frames_analysed)
    };
    spans.into_iter().map(shown).collect()
}

fn expected(spans: &[(&str, u64, u64)]) -> Vec<(String, u64, u64)> {
    spans.iter().map(|(camera, minute, analysed)| ((*camera).to_owned(), *minute, *analysed)).collect()
}

pub async fn coverage_is_counted_once_and_adds_up_by_steps(engine: &dyn Engine) {
    let index = open(engine);
    let reports = [report(0, &["gate", "yard"]), report(1, &["gate"]), report(1, &["gate"]), report(61, &["gate"])];
    index.store_coverage(reports.to_vec()).await.unwrap();
    // As an edge does that has not heard the acknowledgement, and as a region that was restarted meanwhile.
    index.store_coverage(reports[1..3].to_vec()).await.unwrap();
    drop(index);
    let index = open(engine);
    index.store_coverage(reports.to_vec()).await.unwrap();

    let minutes = expected(&[("gate", 0, 250), ("gate", 1, 500), ("gate", 61, 250), ("yard", 0, 250)]);
    assert_eq!(spans(&*index, question(CoverageStep::Minute, &[])).await, minutes);
    let by_minutes = CoverageQuestion { grain: MINUTE, ..question(CoverageStep::Whole, &["yard"]) };
    assert_eq!(spans(&*index, by_minutes).await, expected(&[("yard", 0, 250)]));
    let hours = expected(&[("gate", 0, 750), ("gate", 60, 250), ("yard", 0, 250)]);
    assert_eq!(spans(&*index, question(CoverageStep::Hour, &[])).await, hours);
    let named = question(CoverageStep::Whole, &["gate", "gate", "nobody"]);
    assert_eq!(spans(&*index, named.clone()).await, expected(&[("gate", 0, 1_000)]), "a name given twice is one");
    assert_eq!(spans(&*index, question(CoverageStep::Whole, &["nobody"])).await, []);
    let (whole, _) = index.coverage(named).await.unwrap().into_spans(&region(), at(Duration::from_hours(9)));
    let tally = whole[0].tally.unwrap();
    assert_eq!((tally.accounted_ms, tally.watched_ms), (240_000, 200_000));
    assert_eq!((tally.packets_received, tally.frames_dropped_overload), (6_000, 4));
    assert_eq!((whole[0].camera_clock_offset_ms, whole[0].analyses.len()), (Some(61), 1));
    assert_eq!(whole[0].analyses[0].frames_per_second, 5.0);
}

pub async fn many_cameras_coverage_is_found_like_fews(engine: &dyn Engine) {
    let index = open(engine);
    let names: Vec<String> = (0..100).map(|number| format!("camera-{number:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    index.store_coverage((0..5).map(|minute| report(minute, &names)).collect()).await.unwrap();
    for named in [3, 70, 100] {
        let found = spans(&*index, question(CoverageStep::Minute, &names[..named])).await;
        assert_eq!(found.len(), named * 5);
        assert!(found.iter().all(|(camera, _, _)| names[..named].contains(&camera.as_str())));
    }
}

pub async fn old_coverage_goes_and_registered_cameras_are_named_all_the_same(engine: &dyn Engine) {
    let index = open(engine);
    index.announce_cameras(vec![camera_entry("silent", CameraOrigin::Edge)]).await.unwrap();
    index.store_coverage((0..90).map(|minute| report(minute, &["gate"])).collect()).await.unwrap();
    let older_than: Timestamp = at(MINUTE * 61);
    let mut removed = 0;
    loop {
        match index.purge_coverage(older_than).await.unwrap() {
            0 => break,
            rows => removed += rows,
        }
    }
    assert_eq!(removed, 61);
    let left = spans(&*index, question(CoverageStep::Minute, &[])).await;
    assert_eq!((left.len(), left[0].1), (29, 61));
    let whole = spans(&*index, question(CoverageStep::Whole, &[])).await;
    assert_eq!(whole, expected(&[("gate", 0, 30 * 250), ("silent", 0, 0)]), "hours go when they are all over");
    index.purge_coverage(at(Duration::from_hours(99))).await.unwrap();
}
