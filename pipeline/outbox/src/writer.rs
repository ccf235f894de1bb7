//! The thread that owns the writing connection, and group commit.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use vigil_base::{Clock, SharedClock};

use crate::call::{Call, CallResult};
use crate::store::Store;
use crate::telemetry::Telemetry;
use crate::{Backlog, OutboxError};

/// Calls that may wait for the writer: one full group. Beyond it callers wait to hand theirs over.
const QUEUE_CALLS: usize = 256;
/// Most calls in one transaction: bounds how long the first of them waits.
const MAX_GROUP_CALLS: usize = 256;
/// Most bytes in one transaction: bounds the write-ahead log.
const MAX_GROUP_BYTES: usize = 8 * 1024 * 1024;

/// A call and where its answer goes.
pub(crate) struct Request {
    pub(crate) call: Call,
    pub(crate) reply: oneshot::Sender<CallResult>,
}

/// What the writer tells everybody after each commit.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) backlog: Arc<Mutex<Backlog>>,
    /// The newest sequence that waits; moves with each put.
    pub(crate) newest: watch::Sender<u64>,
}

/// The thread's handle: closing the queue ends it once all that waits is done.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Option<Sender<Request>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(
        store: Store,
        shared: Shared,
        telemetry: Telemetry,
        clock: SharedClock,
    ) -> std::io::Result<Self> {
        let (queue, requests) = bounded(QUEUE_CALLS);
        let work = move || run(store, &requests, &shared, &telemetry, &*clock);
        let thread = std::thread::Builder::new().name("outbox-writer".to_owned()).spawn(work)?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Hands a call over; waits while the queue is full.
    pub(crate) fn send(&self, request: Request) -> Result<(), OutboxError> {
        self.queue.as_ref().ok_or(OutboxError::Closed)?.send(request).map_err(|_| OutboxError::Closed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the outbox's writer thread panicked");
        }
    }
}

fn run(mut store: Store, requests: &Receiver<Request>, shared: &Shared, telemetry: &Telemetry, clock: &dyn Clock) {
    telemetry.backlog(&store.backlog());
    while let Ok(first) = requests.recv() {
        let (calls, replies) = collect(first, requests);
        let started = clock.monotonic();
        let results = store.apply(&calls, clock.now());
        telemetry.committed(&calls, &results, clock.monotonic().saturating_sub(started));
        publish(&store, shared, telemetry);
        for (reply, result) in replies.into_iter().zip(results) {
            // A caller that no longer listens has its record all the same.
            let _ = reply.send(result);
        }
    }
}

/// The first call and all that wait behind it, up to the bounds of a group.
fn collect(first: Request, requests: &Receiver<Request>) -> (Vec<Call>, Vec<oneshot::Sender<CallResult>>) {
    let mut bytes = first.call.len();
    let (mut calls, mut replies) = (vec![first.call], vec![first.reply]);
    while calls.len() < MAX_GROUP_CALLS && bytes < MAX_GROUP_BYTES {
        let Ok(next) = requests.try_recv() else { break };
        bytes += next.call.len();
        calls.push(next.call);
        replies.push(next.reply);
    }
    (calls, replies)
}

fn publish(store: &Store, shared: &Shared, telemetry: &Telemetry) {
    let backlog = store.backlog();
    *shared.backlog.lock() = backlog;
    telemetry.backlog(&backlog);
    let newest = backlog.next_sequence - 1;
    shared.newest.send_if_modified(|seen| std::mem::replace(seen, newest) != newest);
}
