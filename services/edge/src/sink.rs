//! The pipeline's events go into the outbox.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use prost::Message;
use vigil_base::Event;
use vigil_base::event::{EndReason, EventState};
use vigil_event::Revision;
use vigil_outbox::{Outbox, OutboxError, Record};
use vigil_proto::convert::{event_from_wire, event_to_wire};
use vigil_proto::v1;
use vigil_runtime::{EventSink, SinkClosed};
use vigil_serve::HealthBoard;
use vigil_serve::error::chain;

/// Wait between two attempts while the outbox cannot take events.
const RETRY: Duration = Duration::from_secs(1);
/// The component's name on the health board.
const COMPONENT: &str = "outbox";

/// Keeps events in the outbox, and the pipeline waiting while it cannot.
pub struct OutboxSink {
    outbox: Arc<Outbox>,
    board: HealthBoard,
    /// What was logged last of the outbox's trouble: it is said once, not by each camera every second.
    told: Mutex<Option<String>>,
    stopped: Mutex<bool>,
    stop: Condvar,
}

impl OutboxSink {
    /// A sink into `outbox` that reports trouble on `board`.
    pub fn new(outbox: Arc<Outbox>, board: HealthBoard) -> Self {
        Self { outbox, board, told: Mutex::new(None), stopped: Mutex::new(false), stop: Condvar::new() }
    }

    fn works(&self) {
        if self.told.lock().take().is_some() {
            tracing::info!("events are kept again");
            self.board.clear(COMPONENT);
        }
    }

    fn is_stuck(&self, error: &OutboxError) {
        let detail = format!("{}; the cameras wait and frames are dropped until it works again", chain(error));
        self.board.report(COMPONENT, &detail, true);
        let mut told = self.told.lock();
        if told.as_ref() != Some(&detail) {
            tracing::error!("events cannot be kept: {detail}");
            *told = Some(detail);
        }
    }

    /// Ends waiting puts: the edge shuts down.
    pub fn stop(&self) {
        *self.stopped.lock() = true;
        self.stop.notify_all();
    }
}

impl EventSink for OutboxSink {
    fn put(&self, revisions: Vec<Revision>) -> Result<(), SinkClosed> {
        let records: Vec<Record> = revisions.iter().map(record).collect();
        loop {
            match self.outbox.put_many(records.clone()) {
                Ok(_) => {
                    self.works();
                    return Ok(());
                }
                Err(OutboxError::Closed) => return Err(SinkClosed),
                Err(error) => self.is_stuck(&error),
            }
            let mut stopped = self.stopped.lock();
            if !*stopped {
                self.stop.wait_for(&mut stopped, RETRY);
            }
            if *stopped {
                return Err(SinkClosed);
            }
        }
    }
}

fn record(revision: &Revision) -> Record {
    Record {
        event_id: revision.event.id,
        revision: revision.event.revision,
        is_final: matches!(revision.event.state, EventState::Ended(_)),
        event: event_to_wire(&revision.event).encode_to_vec().into(),
        thumbnail: revision.thumbnail.clone().unwrap_or_default(),
    }
}

/// Ends the events that were in view when the edge died. Returns them as they are now.
///
/// # Errors
/// The outbox cannot be read or written. An event that cannot be decoded is reported and left alone.
pub fn close_open_events(outbox: &Outbox) -> Result<Vec<Event>, OutboxError> {
    let mut closed = Vec::new();
    for open in outbox.open_events()? {
        let decoded = v1::Event::decode(open.event.clone()).map_err(|e| e.to_string());
        match decoded.and_then(|wire| event_from_wire(wire).map_err(|e| e.to_string())) {
            Ok(event) => closed.push(Revision { event: ended_by_restart(event), thumbnail: None, resumes: false }),
            Err(error) => {
                tracing::error!(event = %open.event_id, %error, "an open event in the outbox is damaged and stays open");
            }
        }
    }
    if !closed.is_empty() {
        outbox.put_many(closed.iter().map(record).collect())?;
    }
    Ok(closed.into_iter().map(|revision| revision.event).collect())
}

fn ended_by_restart(mut event: Event) -> Event {
    event.revision += 1;
    event.state = EventState::Ended(EndReason::EdgeRestarted);
    event
}
