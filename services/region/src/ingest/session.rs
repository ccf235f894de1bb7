//! One edge's stream, from its hello to its end.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use vigil_base::{EdgeId, InstanceId};
use vigil_proto::convert::{bounded_text, time_to_wire};
use vigil_proto::v1::publish_request::Message as Incoming;
use vigil_proto::v1::publish_response::Message as Outgoing;
use vigil_proto::{WireError, v1};
use vigil_serve::{ErrorCode, ServiceError};
use vigil_trust::Identity;

use super::check::{CheckedBatch, CheckedCoverage, check_batch, check_coverage, check_heartbeat};
use super::marks::{self, checked_marks};
use crate::cameras::announced_cameras;
use crate::context::Context;
use crate::edges::{EdgeSession, Introduction};
use crate::error::from_commit;
use crate::index::{IndexError, StoreOutcome};

/// A peer that opens a stream and does not say who it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// When an edge may come back after the region shut down.
const RETRY_SHUTDOWN: Duration = Duration::from_secs(1);
/// Checked batches that wait for the one that is being committed: one, so that checking and committing overlap.
const BATCHES_WAITING: usize = 1;
/// Bytes of a batch that are not its records: lengths and field numbers, which an edge that counts records does not
/// count.
const ENVELOPE_BYTES: usize = 64 * 1024;
/// Most coverage reports of a batch: an hour of an edge.
const MAX_REPORTS: usize = 60;
/// Longest software version, in bytes.
const MAX_VERSION: usize = 64;

type Responses = mpsc::Sender<Result<v1::PublishResponse, Status>>;
type Ended = Result<(), ServiceError>;

/// Serves one stream, of who it is by its certificate where there is one, to its end.
pub(super) async fn run(
    context: Arc<Context>,
    (sender, mut requests): (Option<Identity>, Streaming<v1::PublishRequest>),
    responses: Responses,
    shutdown: CancellationToken,
) {
    let introduced = async {
        let hello = read_hello(&mut requests).await?;
        introduce(&context, sender.as_ref(), hello).await
    };
    let (introduction, session, lost_marks) = match introduced.await {
        Ok(introduced) => introduced,
        Err(error) => {
            // The peer may be gone already.
            let _ = responses.send(Err(error.into())).await;
            return;
        }
    };
    context.telemetry.edge_connected(&introduction.edge, &introduction.software_version);
    let stream =
        Stream { context: &context, edge: &introduction.edge, session: &session, responses: &responses, lost_marks };
    let ended = tokio::select! {
        ended = stream.serve(requests) => ended,
        () = session.superseded.cancelled() => Err(superseded()),
        () = shutdown.cancelled() => Err(ServiceError::unavailable("the region shuts down", RETRY_SHUTDOWN)),
    };
    let why = ended.as_ref().err().map_or_else(|| "ended by the edge".to_owned(), ToString::to_string);
    session.close().await;
    context.telemetry.edge_disconnected(&introduction.edge, &why);
    if let Err(error) = ended {
        let _ = responses.try_send(Err(error.into()));
    }
}

fn superseded() -> ServiceError {
    ServiceError::new(ErrorCode::AlreadyExists, "this edge has connected again; the older stream ends")
}

async fn read_hello(requests: &mut Streaming<v1::PublishRequest>) -> Result<v1::PublishHello, ServiceError> {
    let first = timeout(HELLO_TIMEOUT, requests.message()).await;
    let first = first.map_err(|_| ServiceError::field("hello", format!("did not come within {HELLO_TIMEOUT:?}")))?;
    match first.map_err(|status| unreadable(&status))?.and_then(|request| request.message) {
        Some(Incoming::Hello(hello)) => Ok(hello),
        _ => Err(ServiceError::field("hello", "must be the first message")),
    }
}

/// The transport's own error, as one of ours: what the peer sent cannot be read, or it is gone.
fn unreadable(status: &Status) -> ServiceError {
    let code = match status.code() {
        // tonic's code for a message above the limit.
        tonic::Code::OutOfRange | tonic::Code::ResourceExhausted => ErrorCode::LimitReached,
        tonic::Code::Unknown | tonic::Code::Cancelled | tonic::Code::Unavailable => ErrorCode::Unavailable,
        _ => ErrorCode::InvalidField,
    };
    ServiceError::new(code, status.message().to_owned())
}

/// Checks the hello, lets the edge in, and takes its cameras into the registry.
async fn introduce(
    context: &Context,
    sender: Option<&Identity>,
    hello: v1::PublishHello,
) -> Result<(Introduction, EdgeSession, u32), ServiceError> {
    let edge = EdgeId::new(&hello.edge_id).map_err(|e| ServiceError::field("hello.edge_id", e))?;
    check_sender(sender, &edge)?;
    let instance: InstanceId = hello.instance_id.parse().map_err(|e| ServiceError::field("hello.instance_id", e))?;
    if hello.region_id != context.region.as_str() {
        return Err(context.named_wrongly(&format!("edge {edge} is configured"), &hello.region_id));
    }
    let software_version = bounded_text("hello.software_version", hello.software_version, MAX_VERSION)?;
    let cameras = announced_cameras(&edge, hello.cameras).map_err(|e: WireError| e.within("hello"))?;
    let marks = checked_marks(&hello.marks)?;
    let introduction = Introduction { edge, instance: instance.to_string(), software_version };
    let session = context.edges.connect(&introduction, &context.telemetry).await?;
    context.guard.announce_cameras(cameras).await.map_err(|e| context.failure("taking in the edge's cameras", &e))?;
    let lost = marks::lost(context, &introduction.edge, &marks).await?;
    Ok((introduction, session, lost))
}

/// An edge publishes under its own name: where it showed a certificate, that is the certificate's.
fn check_sender(sender: Option<&Identity>, edge: &EdgeId) -> Result<(), ServiceError> {
    match sender {
        None => Ok(()),
        Some(Identity::Edge(own)) if own == edge => Ok(()),
        Some(other) => {
            let message = format!("hello.edge_id is {edge}, but the certificate is {other}'s: give the edge its own");
            Err(ServiceError::new(ErrorCode::Denied, message))
        }
    }
}

/// A stream after its hello.
struct Stream<'a> {
    context: &'a Context,
    edge: &'a EdgeId,
    session: &'a EdgeSession,
    responses: &'a Responses,
    lost_marks: u32,
}

impl Stream<'_> {
    async fn serve(&self, requests: Streaming<v1::PublishRequest>) -> Ended {
        let limits = &self.context.limits;
        let welcome = v1::PublishWelcome {
            region_id: self.context.region.to_string(),
            region_time: Some(time_to_wire(self.context.clock.now())),
            max_batch_records: limits.max_batch_records,
            max_batch_bytes: limits.max_batch_bytes,
            takes_coverage: true,
            lost_marks: self.lost_marks,
        };
        self.respond(Outgoing::Welcome(welcome)).await?;
        let (checked, batches) = mpsc::channel(BATCHES_WAITING);
        tokio::try_join!(self.read(requests, checked), self.commit_all(batches)).map(|_| ())
    }

    /// Reads and checks messages until the edge ends the stream or sends nothing for too long.
    async fn read(&self, mut requests: Streaming<v1::PublishRequest>, checked: mpsc::Sender<Work>) -> Ended {
        let patience = self.context.limits.edge_timeout;
        let mut last_sequence = None;
        loop {
            let message = timeout(patience, requests.message()).await.map_err(|_| silent(patience))?;
            let Some(request) = message.map_err(|status| unreadable(&status))? else { return Ok(()) };
            self.session.seen();
            let work;
            match request.message {
                Some(Incoming::Batch(batch)) => {
                    self.check_bounds(&batch, last_sequence)?;
                    last_sequence = Some(batch.sequence);
                    work = Work::Events(self.check(batch).await?);
                }
                Some(Incoming::Coverage(batch)) => {
                    check_coverage_bounds(&batch)?;
                    work = Work::Coverage(self.check_reports(batch).await?);
                }
                Some(Incoming::Heartbeat(heartbeat)) => {
                    let heartbeat = check_heartbeat(heartbeat).map_err(|e| e.within("heartbeat"))?;
                    self.session.heartbeat(heartbeat).await;
                    continue;
                }
                Some(Incoming::Hello(_)) => return Err(ServiceError::field("hello", "was sent already")),
                None => return Err(ServiceError::field("message", "is missing or of a kind that is not known")),
            }
            // A commit that hangs, or an edge that reads no acknowledgements.
            let handed_over = timeout(patience, checked.send(work)).await.map_err(|_| silent(patience))?;
            if handed_over.is_err() {
                return Ok(());
            }
        }
    }

    fn check_bounds(&self, batch: &v1::EventBatch, last_sequence: Option<u64>) -> Ended {
        let limits = &self.context.limits;
        let (records, bytes) = (batch.records.len(), batch.encoded_len());
        if records > limits.max_batch_records as usize || bytes > limits.max_batch_bytes as usize + ENVELOPE_BYTES {
            let message = format!(
                "batch {} has {records} records and {bytes} bytes; at most {} and {} are taken",
                batch.sequence, limits.max_batch_records, limits.max_batch_bytes
            );
            return Err(ServiceError::new(ErrorCode::LimitReached, message));
        }
        if last_sequence.is_some_and(|last| batch.sequence <= last) {
            return Err(ServiceError::field("batch.sequence", "must grow within a stream"));
        }
        Ok(())
    }

    /// Checking a full batch takes milliseconds: not on the async runtime's threads.
    async fn check(&self, batch: v1::EventBatch) -> Result<Timed, ServiceError> {
        let arrived = self.context.clock.monotonic();
        let (region, edge) = (self.context.region.clone(), self.edge.clone());
        let checked = self.context.threads.run(move || check_batch(batch, &region, &edge)).await;
        let batch = checked.map_err(|e| ServiceError::internal("checking a batch", &e))?;
        Ok(Timed { batch, arrived })
    }

    /// The same for an hour's reports of a large edge.
    async fn check_reports(&self, batch: v1::CoverageBatch) -> Result<CheckedCoverage, ServiceError> {
        let latest_now = self.context.edges.latest_now();
        let checked = self.context.threads.run(move || check_coverage(batch, latest_now)).await;
        checked.map_err(|e| ServiceError::internal("checking coverage", &e))
    }

    /// Commits batches and acknowledges each, in their order.
    async fn commit_all(&self, mut batches: mpsc::Receiver<Work>) -> Ended {
        while let Some(work) = batches.recv().await {
            match work {
                Work::Events(timed) => self.commit(timed).await?,
                Work::Coverage(checked) => self.store_coverage(checked).await?,
            }
        }
        Ok(())
    }

    async fn commit(&self, Timed { batch, arrived }: Timed) -> Ended {
        let CheckedBatch { sequence, revisions, places, rejections } = batch;
        let outcomes = self.context.guard.commit(revisions).await.map_err(|error| self.commit_failed(&error))?;
        self.context.index_works();
        let ack = acknowledgement(sequence, places, outcomes, rejections);
        let took = self.context.clock.monotonic().saturating_sub(arrived);
        self.context.telemetry.batch_acknowledged(self.edge, &ack, took);
        self.respond(Outgoing::Ack(ack)).await
    }

    async fn store_coverage(&self, checked: CheckedCoverage) -> Ended {
        let CheckedCoverage { sequence, reports, rejections } = checked;
        self.context.guard.unguarded().store_coverage(reports).await.map_err(|error| self.commit_failed(&error))?;
        self.context.index_works();
        self.respond(Outgoing::CoverageAck(v1::CoverageAck { sequence, rejections })).await
    }

    fn commit_failed(&self, error: &IndexError) -> ServiceError {
        self.context.telemetry.commit_failed(self.edge, error);
        self.context.index_failed(error);
        from_commit(error)
    }

    async fn respond(&self, message: Outgoing) -> Ended {
        let response = v1::PublishResponse { message: Some(message) };
        let gone = |_| ServiceError::new(ErrorCode::Unavailable, "the edge went away");
        self.responses.send(Ok(response)).await.map_err(gone)
    }
}

/// What is to be committed.
enum Work {
    Events(Timed),
    Coverage(CheckedCoverage),
}

/// A checked batch and when (monotonic) it arrived.
struct Timed {
    batch: CheckedBatch,
    arrived: Duration,
}

fn check_coverage_bounds(batch: &v1::CoverageBatch) -> Ended {
    let reports = batch.reports.len();
    if reports <= MAX_REPORTS {
        return Ok(());
    }
    let message = format!("coverage {} has {reports} reports; at most {MAX_REPORTS} are taken", batch.sequence);
    Err(ServiceError::new(ErrorCode::LimitReached, message))
}

fn silent(patience: Duration) -> ServiceError {
    ServiceError::unavailable(format!("nothing moved on the stream for {patience:?}; connect again"), RETRY_SHUTDOWN)
}

fn acknowledgement(
    sequence: u64,
    places: Vec<(u32, String)>,
    outcomes: Vec<StoreOutcome>,
    mut rejections: Vec<v1::Rejection>,
) -> v1::BatchAck {
    let (mut accepted, mut duplicates) = (0, 0);
    for ((index, event_id), outcome) in places.into_iter().zip(outcomes) {
        match outcome {
            StoreOutcome::Accepted(_) => accepted += 1,
            StoreOutcome::Duplicate => duplicates += 1,
            StoreOutcome::Rejected(reason) => rejections.push(v1::Rejection { index, event_id, reason }),
        }
    }
    rejections.sort_by_key(|rejection| rejection.index);
    v1::BatchAck { sequence, accepted, duplicates, rejections }
}
