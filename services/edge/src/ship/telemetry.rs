//! The shipper's numbers.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use vigil_proto::v1;

pub(super) struct Telemetry {
    connected: Gauge,
    accepted: Counter,
    duplicates: Counter,
    rejected: Counter,
    again: Counter,
    ack_wait: Histogram,
}

impl Telemetry {
    pub(super) fn new() -> Self {
        let shipped = |outcome: &'static str| counter!("vigil_shipped_records_total", "outcome" => outcome);
        Self {
            connected: gauge!("vigil_region_connected"),
            accepted: shipped("accepted"),
            duplicates: shipped("duplicate"),
            rejected: shipped("rejected"),
            again: counter!("vigil_shipped_again_records_total"),
            ack_wait: histogram!("vigil_batch_ack_seconds"),
        }
    }

    pub(super) fn connected(&self) {
        self.connected.set(1.0);
    }

    pub(super) fn disconnected(&self) {
        self.connected.set(0.0);
    }

    /// The region has again what it had lost.
    pub(super) fn sent_again(&self, records: usize) {
        self.again.increment(records as u64);
    }

    pub(super) fn acknowledged(&self, ack: &v1::BatchAck, waited: Duration) {
        self.accepted.increment(ack.accepted.into());
        self.duplicates.increment(ack.duplicates.into());
        self.rejected.increment(ack.rejections.len() as u64);
        self.ack_wait.record(waited);
    }
}
