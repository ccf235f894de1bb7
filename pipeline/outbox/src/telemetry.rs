//! Everything an outbox tells about itself: metric and log line of one happening in one place.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::call::{Call, CallResult};
use crate::{Backlog, OutboxError};

pub(crate) struct Telemetry {
    put: Counter,
    refused: Counter,
    failed: Counter,
    acknowledged: Counter,
    set_aside: Counter,
    commit_seconds: Histogram,
    records: Gauge,
    bytes: Gauge,
}

impl Telemetry {
    pub(crate) fn new(label: &str) -> Self {
        let label = || label.to_owned();
        Self {
            put: counter!("vigil_outbox_put_records_total", "outbox" => label()),
            refused: counter!("vigil_outbox_refused_calls_total", "outbox" => label()),
            failed: counter!("vigil_outbox_failed_calls_total", "outbox" => label()),
            acknowledged: counter!("vigil_outbox_acknowledged_records_total", "outbox" => label()),
            set_aside: counter!("vigil_outbox_set_aside_records_total", "outbox" => label()),
            commit_seconds: histogram!("vigil_outbox_commit_seconds", "outbox" => label()),
            records: gauge!("vigil_outbox_pending_records", "outbox" => label()),
            bytes: gauge!("vigil_outbox_bytes", "outbox" => label()),
        }
    }

    pub(crate) fn backlog(&self, backlog: &Backlog) {
        self.records.set(backlog.records as f64);
        self.bytes.set(backlog.bytes as f64);
    }

    pub(crate) fn committed(&self, calls: &[Call], results: &[CallResult], took: Duration) {
        self.commit_seconds.record(took);
        for (call, result) in calls.iter().zip(results) {
            match result {
                Ok(_) => self.done(call),
                Err(error) => self.not_done(error),
            }
        }
    }

    fn done(&self, call: &Call) {
        match call {
            Call::Put(records) => self.put.increment(records.len() as u64),
            Call::Acknowledge(acknowledged) => self.acknowledged.increment(acknowledged.len() as u64),
            Call::SetAside { event_id, revision, reason } => {
                self.set_aside.increment(1);
                tracing::warn!(%event_id, revision, reason, "the region rejected an event; it was set aside");
            }
        }
    }

    /// Counted here, logged by whoever called: only they know what becomes of the records.
    fn not_done(&self, error: &OutboxError) {
        if error.is_refusal() {
            self.refused.increment(1);
        } else {
            self.failed.increment(1);
        }
    }
}

/// A damaged file was moved aside.
pub(crate) fn quarantined(label: &str, path: &std::path::Path, damage: &str) {
    counter!("vigil_outbox_quarantined_files_total", "outbox" => label.to_owned()).increment(1);
    tracing::error!(
        path = %path.display(),
        damage,
        "the outbox file was damaged and is moved aside; events it held may not have reached the region"
    );
}
