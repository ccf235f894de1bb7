//! What the region had acknowledged and has lost, as when its index was put back from a backup, is sent again.
//!
//! The hello names some of what was acknowledged last; the welcome says how many of these the region no longer has. All that
//! was acknowledged since the newest that it has is sent before anything else, so that a connection that breaks in between
//! leaves no hole behind what the region has by then.

use std::sync::Arc;

use vigil_outbox::{Kept, Mark, OutboxError, Record};
use vigil_proto::v1;
use vigil_serve::Threads;

use super::Shipper;
use super::opening::Limits;

/// The records of one connection that are to be sent again.
pub(super) struct Again {
    kept: Arc<Kept>,
    threads: Threads,
    /// All up to there were sent, or need not be; none once the region has all.
    place: Option<u64>,
}

impl Again {
    /// From what the hello named, newest first, and how many of these the region has lost.
    pub(super) async fn new(shipper: &Shipper, marks: &[Mark], lost: u32) -> Result<Self, OutboxError> {
        let (kept, threads, region) = (shipper.kept.clone(), shipper.surroundings.threads, &shipper.config.region);
        if lost == 0 || marks.is_empty() {
            return Ok(Self { kept, threads, place: None });
        }
        let place = marks.get(lost as usize).map_or(0, |held| held.place);
        let again = Self { kept, threads, place: Some(place) };
        let records = again.run(move |kept| kept.count_after(place)).await?;
        tracing::warn!(%region, records, "the region has lost what it had acknowledged; it is sent again");
        if place == 0 {
            tracing::warn!(%region, "the region may lack events that are no longer kept here: it is older than all that is");
        }
        Ok(again)
    }

    /// Whether something is still to be sent.
    pub(super) fn is_due(&self) -> bool {
        self.place.is_some()
    }

    /// The next records in order; none when all were sent.
    pub(super) async fn next(&mut self, limits: Limits) -> Result<Vec<Record>, OutboxError> {
        let Some(place) = self.place else { return Ok(Vec::new()) };
        let records = self.run(move |kept| kept.after(place, limits.records, limits.bytes)).await?;
        self.place = records.last().map(|(place, _)| *place);
        Ok(records.into_iter().map(|(_, record)| record).collect())
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Kept) -> Result<T, OutboxError> + Send + 'static,
    ) -> Result<T, OutboxError> {
        let kept = self.kept.clone();
        self.threads.run(move || work(&kept)).await.map_err(|_| OutboxError::Closed)?
    }
}

/// What the hello says of what was acknowledged.
pub(super) fn on_wire(marks: &[Mark]) -> Vec<v1::AcknowledgedMark> {
    let wire = |mark: &Mark| v1::AcknowledgedMark { event_id: mark.event_id.to_string(), revision: mark.revision };
    marks.iter().map(wire).collect()
}
