//! Coverage reports on their way: one batch at a time, since there is a report a minute.

use std::sync::Arc;

use prost::Message;
use tokio::time::Instant;
use vigil_base::EventId;
use vigil_outbox::{Outbox, OutboxError, Pending};
use vigil_proto::v1;
use vigil_serve::Threads;

/// Most reports of a batch: an hour of an outage.
const MAX_REPORTS: usize = 60;
/// Most bytes of a batch, far below what a region takes as one message.
const MAX_BYTES: usize = 1024 * 1024;

/// The reports of one connection.
pub(super) struct CoverageShipment {
    outbox: Arc<Outbox>,
    threads: Threads,
    batches: u64,
    under_way: Option<UnderWay>,
}

struct UnderWay {
    sent_at: Instant,
    reports: Vec<EventId>,
}

impl CoverageShipment {
    pub(super) fn new(outbox: Arc<Outbox>, threads: Threads) -> Self {
        Self { outbox, threads, batches: 0, under_way: None }
    }

    /// When the batch that is under way was sent.
    pub(super) fn sent_at(&self) -> Option<Instant> {
        self.under_way.as_ref().map(|batch| batch.sent_at)
    }

    /// The next batch; none while one is under way or nothing waits.
    pub(super) async fn next(&mut self) -> Result<Option<v1::CoverageBatch>, OutboxError> {
        if self.under_way.is_some() || self.outbox.backlog().records == 0 {
            return Ok(None);
        }
        let read = |outbox: &Outbox| {
            let pending = outbox.next_batch(MAX_REPORTS, MAX_BYTES)?;
            Ok(pending.into_iter().map(|pending| (pending.record.event_id, decode(pending))).unzip())
        };
        let (ids, reports): (Vec<EventId>, Vec<v1::CoverageReport>) = self.run(read).await?;
        if ids.is_empty() {
            return Ok(None);
        }
        self.batches += 1;
        self.under_way = Some(UnderWay { sent_at: Instant::now(), reports: ids });
        Ok(Some(v1::CoverageBatch { sequence: self.batches, reports }))
    }

    /// Lets go of what the region keeps; false when the acknowledgement is for something else.
    pub(super) async fn acknowledged(&mut self, ack: v1::CoverageAck) -> Result<bool, OutboxError> {
        let Some(batch) = self.under_way.take().filter(|_| ack.sequence == self.batches) else { return Ok(false) };
        for rejection in ack.rejections {
            let Some(&report) = batch.reports.get(rejection.index as usize) else { return Ok(false) };
            tracing::error!(%report, reason = %rejection.reason, "the region rejected a coverage report for good");
            self.run(move |outbox| outbox.set_aside(report, 1, &rejection.reason)).await?;
        }
        let stored: Vec<(EventId, u32)> = batch.reports.into_iter().map(|report| (report, 1)).collect();
        self.run(move |outbox| outbox.acknowledge(&stored)).await?;
        Ok(true)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Outbox) -> Result<T, OutboxError> + Send + 'static,
    ) -> Result<T, OutboxError> {
        let outbox = self.outbox.clone();
        self.threads.run(move || work(&outbox)).await.map_err(|_| OutboxError::Closed)?
    }
}

/// A report that was damaged on this disk is sent empty, and the region rejects it.
fn decode(pending: Pending) -> v1::CoverageReport {
    v1::CoverageReport::decode(pending.record.event).unwrap_or_default()
}
