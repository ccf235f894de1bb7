//! Where reports go: into an outbox for the region, and into memory for who asks the edge.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use metrics::gauge;
use parking_lot::Mutex;
use prost::Message;
use vigil_base::SharedClock;
use vigil_base::coverage::{CameraCoverage, CoverageReport, MINUTE};
use vigil_outbox::{Outbox, OutboxConfig, OutboxError, Record};
use vigil_proto::convert::{CoverageQuestion, CoverageSums, coverage_to_wire};
use vigil_serve::HealthBoard;
use vigil_serve::error::chain;

/// Room for two weeks of fifty cameras.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// Reports that are kept in memory: an hour, and those that a change of the model adds.
const MAX_RECENT: usize = 70;
/// The component's name on the health board.
const COMPONENT: &str = "coverage";

/// Reports on their way.
pub(crate) struct Journal {
    outbox: Arc<Outbox>,
    recent: Mutex<VecDeque<CoverageReport>>,
    board: HealthBoard,
    clock: SharedClock,
    /// The last reports could not be kept.
    failing: AtomicBool,
}

impl Journal {
    /// Opens the outbox below the edge's data folder. A damaged one is moved aside.
    pub fn open(data_dir: &Path, clock: SharedClock, board: &HealthBoard) -> Result<Self, OutboxError> {
        let config = OutboxConfig {
            max_bytes: MAX_BYTES,
            metrics_label: COMPONENT.to_owned(),
            ..OutboxConfig::new(data_dir.join(COMPONENT))
        };
        let outbox = Arc::new(Outbox::open(&config, clock.clone())?);
        if let Some(aside) = outbox.quarantined() {
            let detail = format!(
                "the ledger was damaged; it was moved to {}, and its waiting minutes are unknown",
                aside.display()
            );
            tracing::error!("{detail}");
            board.report("coverage-damage", detail, false);
        }
        Ok(Self { outbox, recent: Mutex::default(), board: board.clone(), clock, failing: AtomicBool::new(false) })
    }

    /// What waits for the region.
    pub fn outbox(&self) -> Arc<Outbox> {
        self.outbox.clone()
    }

    /// Keeps reports; blocks for a disk sync. One that cannot be kept is told to nobody else either.
    pub fn keep(&self, reports: Vec<CoverageReport>) {
        let records = reports.iter().map(record).collect();
        let kept = self.outbox.put_many(records);
        let was_failing = self.failing.swap(kept.is_err(), Ordering::Relaxed);
        if let Err(error) = kept {
            let detail = format!("what was watched in a minute cannot be kept and will be unknown: {}", chain(&error));
            // Once, not every minute of a disk that stays full.
            if !was_failing {
                tracing::warn!("{detail}");
            }
            self.board.report(COMPONENT, detail, false);
            return;
        }
        if was_failing {
            self.board.clear(COMPONENT);
        }
        for camera in reports.iter().flat_map(|report| &report.cameras) {
            export(camera);
        }
        let mut recent = self.recent.lock();
        recent.extend(reports);
        let surplus = recent.len().saturating_sub(MAX_RECENT);
        recent.drain(..surplus);
    }

    /// Sums over the minutes that are still in memory.
    pub fn sums(&self, question: CoverageQuestion) -> CoverageSums {
        let (from, until, cameras) = (question.from, question.until, question.cameras.clone());
        let mut sums = CoverageSums::new(question);
        let recent = self.recent.lock();
        for report in recent.iter().filter(|report| (from..until).contains(&report.minute)) {
            for told in report.cameras.iter().filter(|told| cameras.is_empty() || cameras.contains(&told.camera)) {
                sums.add(&told.camera, report.minute, &told.tally, &told.analysis, told.clock_offset_ms);
            }
        }
        sums
    }

    /// The edge's time.
    pub fn now(&self) -> vigil_base::Timestamp {
        self.clock.now()
    }
}

fn record(report: &CoverageReport) -> Record {
    Record {
        event_id: report.id,
        revision: 1,
        is_final: true,
        event: coverage_to_wire(report).encode_to_vec().into(),
        thumbnail: Bytes::new(),
    }
}

/// The last minute's figures of a camera.
fn export(told: &CameraCoverage) {
    let camera = told.camera.to_string();
    let watched = told.tally.watched.as_secs_f64();
    gauge!("vigil_coverage_watched_ratio", "camera" => camera.clone()).set((watched / MINUTE.as_secs_f64()).min(1.0));
    let accounted = told.tally.accounted.as_secs_f64().max(1.0);
    let analysed = told.tally.frames.analysed as f64 / accounted;
    gauge!("vigil_coverage_analysed_per_second", "camera" => camera).set(analysed);
}
