//! One connection with the region.

use std::collections::VecDeque;
use std::time::Duration;

use prost::Message;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use vigil_base::EventId;
use vigil_outbox::{Mark, OutboxError, Record};
use vigil_proto::convert::time_to_wire;
use vigil_proto::v1;
use vigil_proto::v1::publish_request::Message as Outgoing;
use vigil_proto::v1::publish_response::Message as Incoming;
use vigil_serve::error::chain;
use vigil_trust::Dialer;

use super::again::{self, Again};
use super::coverage::CoverageShipment;
use super::error::{ShipError, refused};
use super::opening::{Limits, Opened, hello, open};
use super::telemetry::Telemetry;
use super::{COMPONENT, Shipper};
use crate::clock_watch::ClockWatch;

pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
pub(super) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
pub(super) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// A region that takes longer to acknowledge a batch hangs: connect anew.
const ACK_TIMEOUT: Duration = Duration::from_secs(30);
/// How often the region hears how far it is complete; operators see this as freshness.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Batches under way: enough that the region's fsync and the network's delay overlap.
const WINDOW: usize = 4;
/// Messages on their way to the socket: a full window, a heartbeat and the hello.
const OUTGOING: usize = WINDOW + 2;
/// How long the reason of a stream that the region ended may take: it was sent before the end.
const PARTING: Duration = Duration::from_secs(1);
/// At an orderly end, how long acknowledgements that are under way are waited for.
const LINGER: Duration = Duration::from_secs(3);

/// Connects, says hello, and ships until the connection breaks (`Err`), or until `shutdown` or the edge's cameras are
/// others than were announced (`Ok`).
pub(super) async fn run_once(
    shipper: &Shipper,
    dialer: &Dialer,
    telemetry: &Telemetry,
    shutdown: &CancellationToken,
) -> Result<(), ShipError> {
    let (outgoing, receiver) = mpsc::channel(OUTGOING);
    let mut announced = shipper.announced.clone();
    let cameras = announced.borrow_and_update().clone();
    let marks = marks(shipper).await?;
    let opened = async {
        send(shipper, &outgoing, hello(shipper, cameras, again::on_wire(&marks))).await?;
        open(shipper, dialer, receiver).await
    };
    let Some(opened) = shutdown.run_until_cancelled(opened).await else { return Ok(()) };
    let Opened { incoming, limits, clock, takes_coverage, lost_marks } = opened?;
    telemetry.connected();
    shipper.board.clear(COMPONENT);
    tracing::info!(region = %shipper.config.region, backlog = shipper.outbox.backlog().records, "connected to the region");
    let under_way = VecDeque::new();
    let coverage =
        takes_coverage.then(|| CoverageShipment::new(shipper.coverage.clone(), shipper.surroundings.threads));
    let again = Again::new(shipper, &marks, lost_marks).await?;
    Session { shipper, telemetry, outgoing, incoming, limits, clock, under_way, coverage, again, sent: 0, batches: 0 }
        .ship(announced, shutdown)
        .await
}

/// A batch that is not acknowledged yet.
struct UnderWay {
    batch: u64,
    sent_at: Instant,
    records: Vec<Record>,
    /// They had been acknowledged before.
    again: bool,
}

struct Session<'a> {
    shipper: &'a Shipper,
    telemetry: &'a Telemetry,
    outgoing: mpsc::Sender<v1::PublishRequest>,
    incoming: Streaming<v1::PublishResponse>,
    limits: Limits,
    clock: Option<ClockWatch>,
    /// In the order they were sent, at most [`WINDOW`].
    under_way: VecDeque<UnderWay>,
    /// None where the region takes no coverage.
    coverage: Option<CoverageShipment>,
    /// What is sent first.
    again: Again,
    /// The outbox's sequence of the last record that was sent.
    sent: u64,
    batches: u64,
}

impl Session<'_> {
    async fn ship(
        mut self,
        announced: watch::Receiver<Vec<v1::Camera>>,
        shutdown: &CancellationToken,
    ) -> Result<(), ShipError> {
        let ended = self.ship_until(announced, shutdown).await;
        let is_closed = self.outgoing.is_closed() && matches!(ended, Err(ShipError::Protocol { .. }));
        // Nothing can be sent any more; what the region said about it may wait to be read.
        if is_closed && let Some(said) = self.parting_word().await {
            return Err(said);
        }
        ended
    }

    /// The status with which the region ended the stream, where one comes.
    async fn parting_word(&mut self) -> Option<ShipError> {
        let reading = async {
            loop {
                match self.incoming.message().await {
                    Ok(Some(_)) => {}
                    Ok(None) => return None,
                    Err(status) => return Some(refused(self.shipper, status)),
                }
            }
        };
        tokio::time::timeout(PARTING, reading).await.unwrap_or_default()
    }

    async fn ship_until(
        &mut self,
        mut announced: watch::Receiver<Vec<v1::Camera>>,
        shutdown: &CancellationToken,
    ) -> Result<(), ShipError> {
        let mut newest = self.shipper.outbox.newest_sequence();
        let mut newest_coverage = self.shipper.coverage.newest_sequence();
        let mut heartbeats = tokio::time::interval(HEARTBEAT);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !shutdown.is_cancelled() {
            let behind = self.again.is_due() || *newest.borrow_and_update() > self.sent;
            if behind && self.under_way.len() < WINDOW && self.send_batch().await? {
                continue;
            }
            newest_coverage.mark_unchanged();
            self.send_coverage().await?;
            let deadline = self.ack_deadline();
            tokio::select! {
                () = shutdown.cancelled() => {}
                Ok(()) = announced.changed() => break,
                changed = newest.changed() => if changed.is_err() { return Ok(()) },
                // Its outbox lives as long as the events'.
                Ok(()) = newest_coverage.changed() => {}
                _ = heartbeats.tick() => self.send_heartbeat().await?,
                answer = self.incoming.message() => self.take(answer).await?,
                () = tokio::time::sleep_until(deadline) => {
                    return Err(self.protocol(format!("acknowledged nothing for {ACK_TIMEOUT:?}")));
                }
            }
        }
        self.linger().await
    }

    fn ack_deadline(&self) -> Instant {
        let events = self.under_way.front().map(|batch| batch.sent_at);
        let coverage = self.coverage.as_ref().and_then(CoverageShipment::sent_at);
        let oldest = events.into_iter().chain(coverage).min();
        // Nothing under way: far enough that something else happens first.
        oldest.map_or_else(|| Instant::now() + 2 * ACK_TIMEOUT, |sent_at| sent_at + ACK_TIMEOUT)
    }

    /// Sends the reports that wait, where the region takes them and none are under way.
    async fn send_coverage(&mut self) -> Result<bool, ShipError> {
        let Some(coverage) = &mut self.coverage else { return Ok(false) };
        let Some(batch) = coverage.next().await? else { return Ok(false) };
        send(self.shipper, &self.outgoing, Outgoing::Coverage(batch)).await?;
        Ok(true)
    }

    /// Sends the next records after those that were sent; says whether there were any.
    async fn send_batch(&mut self) -> Result<bool, ShipError> {
        if self.again.is_due() {
            let records = self.again.next(self.limits).await?;
            if !records.is_empty() {
                self.send_records(records, true).await?;
                return Ok(true);
            }
        }
        let (outbox, sent, limits) = (self.shipper.outbox.clone(), self.sent, self.limits);
        let read = move || outbox.next_batch_after(sent, limits.records, limits.bytes);
        let pending = self.shipper.surroundings.threads.run(read).await.map_err(|_| OutboxError::Closed)??;
        let Some(last) = pending.last() else {
            // All up to the newest sequence were acknowledged or replaced.
            self.sent = self.sent.max(self.shipper.outbox.backlog().next_sequence.saturating_sub(1));
            return Ok(false);
        };
        self.sent = last.sequence;
        self.send_records(pending.into_iter().map(|pending| pending.record).collect(), false).await?;
        Ok(true)
    }

    async fn send_records(&mut self, records: Vec<Record>, again: bool) -> Result<(), ShipError> {
        self.batches += 1;
        let batch = v1::EventBatch { sequence: self.batches, records: self.decode(&records).await? };
        send(self.shipper, &self.outgoing, Outgoing::Batch(batch)).await?;
        self.under_way.push_back(UnderWay { batch: self.batches, sent_at: Instant::now(), records, again });
        Ok(())
    }

    /// Records as messages. One that cannot be decoded was damaged on this disk: it is set aside, and an empty event takes its
    /// place in the batch, so that positions still agree.
    async fn decode(&self, stored: &[Record]) -> Result<Vec<v1::EventRecord>, ShipError> {
        let mut records = Vec::with_capacity(stored.len());
        for record in stored {
            let event = match v1::Event::decode(record.event.clone()) {
                Ok(event) => Some(event),
                Err(error) => {
                    let reason = format!("the stored event is damaged: {error}");
                    self.set_aside(record.event_id, record.revision, reason).await?;
                    None
                }
            };
            records.push(v1::EventRecord { event, thumbnail_jpeg: record.thumbnail.clone() });
        }
        Ok(records)
    }

    async fn send_heartbeat(&mut self) -> Result<(), ShipError> {
        if let Some(watch) = &mut self.clock {
            watch.look(&*self.shipper.surroundings.clock, &self.shipper.board);
        }
        let now = self.shipper.surroundings.clock.now();
        let outbox = self.shipper.outbox.clone();
        let oldest = self.shipper.surroundings.threads.run(move || outbox.oldest_pending()).await;
        let oldest = oldest.map_err(|_| OutboxError::Closed)??;
        let heartbeat = v1::PublishHeartbeat {
            edge_time: Some(time_to_wire(now)),
            // While it gets again what it has lost, nobody knows how far the region is complete.
            complete_until: (!self.is_repeating()).then(|| time_to_wire(oldest.map_or(now, |oldest| oldest.min(now)))),
            backlog: self.shipper.outbox.backlog().records,
            cameras: (self.shipper.cameras)(),
        };
        send(self.shipper, &self.outgoing, Outgoing::Heartbeat(heartbeat)).await
    }

    async fn take(&mut self, answer: Result<Option<v1::PublishResponse>, Status>) -> Result<(), ShipError> {
        let answer = answer.map_err(|status| refused(self.shipper, status))?;
        let answer = answer.ok_or_else(|| self.protocol("ended the stream".to_owned()))?;
        match answer.message {
            Some(Incoming::Ack(ack)) => self.acknowledged(ack).await,
            Some(Incoming::CoverageAck(ack)) => self.coverage_acknowledged(ack).await,
            Some(Incoming::Welcome(_)) => Err(self.protocol("said welcome twice".to_owned())),
            // A message of a later version of the contract.
            None => Ok(()),
        }
    }

    async fn acknowledged(&mut self, ack: v1::BatchAck) -> Result<(), ShipError> {
        let batch = match self.under_way.pop_front() {
            Some(batch) if batch.batch == ack.sequence => batch,
            _ => return Err(self.protocol(format!("acknowledged batch {}, which is not the oldest", ack.sequence))),
        };
        self.telemetry.acknowledged(&ack, batch.sent_at.elapsed());
        let rejected: Vec<usize> = ack.rejections.iter().map(|rejection| rejection.index as usize).collect();
        for rejection in ack.rejections {
            let Some(&Record { event_id, revision, .. }) = batch.records.get(rejection.index as usize) else {
                return Err(self.protocol(format!("rejected record {} of a batch that has fewer", rejection.index)));
            };
            tracing::error!(event = %event_id, revision, reason = %rejection.reason, "the region rejected an event for good");
            self.set_aside(event_id, revision, rejection.reason).await?;
        }
        let kept = batch.records.into_iter().enumerate().filter(|(index, _)| !rejected.contains(index));
        let stored: Vec<_> = kept.map(|(_, record)| record).collect();
        if batch.again {
            self.telemetry.sent_again(stored.len());
            return Ok(());
        }
        let (outbox, kept) = (self.shipper.outbox.clone(), self.shipper.kept.clone());
        let now = self.shipper.surroundings.clock.now();
        let let_go = move || {
            kept.keep(&stored, now);
            let acknowledged: Vec<_> = stored.iter().map(|record| (record.event_id, record.revision)).collect();
            outbox.acknowledge(&acknowledged)
        };
        Ok(self.shipper.surroundings.threads.run(let_go).await.map_err(|_| OutboxError::Closed)??)
    }

    /// Whether the region still lacks something of what it had acknowledged.
    fn is_repeating(&self) -> bool {
        self.again.is_due() || self.under_way.iter().any(|batch| batch.again)
    }

    async fn coverage_acknowledged(&mut self, ack: v1::CoverageAck) -> Result<(), ShipError> {
        let sequence = ack.sequence;
        let acknowledged = match &mut self.coverage {
            Some(coverage) => coverage.acknowledged(ack).await?,
            None => false,
        };
        if acknowledged {
            return Ok(());
        }
        Err(self.protocol(format!("acknowledged coverage {sequence}, which is not under way")))
    }

    async fn set_aside(&self, event_id: EventId, revision: u32, reason: String) -> Result<(), ShipError> {
        let outbox = self.shipper.outbox.clone();
        let done = self.shipper.surroundings.threads.run(move || outbox.set_aside(event_id, revision, &reason)).await;
        Ok(done.map_err(|_| OutboxError::Closed)??)
    }

    /// An orderly end: what is in the outbox is sent and acknowledged, for as long as [`LINGER`].
    async fn linger(&mut self) -> Result<(), ShipError> {
        let last = async {
            while self.send_batch().await? || self.send_coverage().await? || self.is_waiting() {
                let answer = self.incoming.message().await;
                self.take(answer).await?;
            }
            self.send_heartbeat().await
        };
        match tokio::time::timeout(LINGER, last).await {
            Ok(Err(error)) => tracing::info!(%error, "the last events stay in the outbox"),
            Err(_) => tracing::info!("the region did not acknowledge the last events in time: they stay in the outbox"),
            Ok(Ok(())) => {}
        }
        Ok(())
    }

    fn is_waiting(&self) -> bool {
        !self.under_way.is_empty() || self.coverage.as_ref().is_some_and(|coverage| coverage.sent_at().is_some())
    }

    fn protocol(&self, problem: String) -> ShipError {
        ShipError::Protocol { region: self.shipper.config.region.clone(), problem }
    }
}

/// What the hello names of what was acknowledged. A file that cannot be read does not keep an edge from its region.
async fn marks(shipper: &Shipper) -> Result<Vec<Mark>, ShipError> {
    let kept = shipper.kept.clone();
    let marks = shipper.surroundings.threads.run(move || kept.marks()).await.map_err(|_| OutboxError::Closed)?;
    Ok(marks.unwrap_or_else(|error| {
        tracing::warn!(error = %chain(&error), "what the region has acknowledged cannot be read");
        Vec::new()
    }))
}

async fn send(
    shipper: &Shipper,
    outgoing: &mpsc::Sender<v1::PublishRequest>,
    message: Outgoing,
) -> Result<(), ShipError> {
    outgoing.send(v1::PublishRequest { message: Some(message) }).await.map_err(|_| ShipError::Protocol {
        region: shipper.config.region.clone(),
        problem: "closed the connection".to_owned(),
    })
}
