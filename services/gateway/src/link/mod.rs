//! One region as the gateway sees it: its connections, its circuit breaker, its numbers.
//!
//! Two connections, made when first needed and remade when lost: one for questions, one for live streams. A subscriber
//! that does not read leaves its stream's flow-control window full; on a shared connection enough of those would stop the
//! questions too.
//!
//! A region's replicas are links of their own, which its link asks where [`hedge`] says so.

mod breaker;
mod hedge;
mod pace;
mod telemetry;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use vigil_base::{RegionId, SharedClock};
use vigil_proto::v1;
use vigil_proto::v1::region_service_client::RegionServiceClient;
use vigil_serve::HealthBoard;
use vigil_serve::grpc::MAX_MESSAGE_BYTES;
use vigil_trust::{Dialer, Expect, Identity, Keeper, Network};

pub(crate) use breaker::Refusal;
use breaker::{Breaker, Change};
use hedge::Hedge;
use telemetry::Telemetry;

use crate::config::RegionEndpoint;
use crate::deadline::Question;
use crate::report::{Failure, Freshness};

/// A host that does not take the connection within this time is not there; a question's own deadline may be shorter.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A region that answers no ping for [`KEEPALIVE_TIMEOUT`] is gone: its connection is made anew.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// What one live stream may have under way: a burst of some 100 events.
const STREAM_WINDOW: u32 = 256 * 1024;
/// What all live streams of a region may have under way: 64 that nobody reads, and the others still flow.
const STREAMS_CONNECTION_WINDOW: u32 = 64 * STREAM_WINDOW;
/// How long a probe of a region may take.
const PROBE_BUDGET: Duration = Duration::from_secs(2);

/// One region. Shared by all questions.
pub(crate) struct RegionLink {
    endpoint: RegionEndpoint,
    questions: Channel,
    streams: Channel,
    breaker: Mutex<Breaker>,
    opened: Notify,
    /// Replicas have overtaken it: it is to be probed.
    suspected: Notify,
    /// From then until it was probed.
    is_suspect: AtomicBool,
    /// None where it has no replica.
    hedge: Option<Hedge>,
    clock: SharedClock,
    telemetry: Telemetry,
    /// A question that had less time than this says nothing about the region when it runs out of it: else a client with a
    /// deadline of a millisecond could close a region to all others.
    telling_budget: Duration,
    gone: CancellationToken,
    /// It was taken out of the configuration.
    left: AtomicBool,
}

/// What links of one gateway share.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) keeper: Option<Arc<Keeper>>,
    pub(crate) network: Network,
    /// See [`RegionLink`].
    pub(crate) telling_budget: Duration,
    pub(crate) clock: SharedClock,
    pub(crate) board: HealthBoard,
}

impl RegionLink {
    /// Links to a region and its replicas that have sent nothing yet; `gone` ends what watches over them. Must be made within a tokio
    /// runtime.
    pub(crate) fn new(endpoint: &RegionEndpoint, setting: &Setting, gone: &CancellationToken) -> Arc<Self> {
        let region = &endpoint.region_id;
        let replica = |(i, address): (usize, &http::Uri)| {
            let at = RegionEndpoint { region_id: region.clone(), address: address.clone(), replicas: Vec::new() };
            Arc::new(Self::to(&at, &format!("{region}/replica-{}", i + 1), setting, gone))
        };
        let hedge = Hedge::over(region, endpoint.replicas.iter().enumerate().map(replica).collect());
        Arc::new(Self { hedge, ..Self::to(endpoint, region.as_str(), setting, gone) })
    }

    /// A link to one server, which metrics and log call `name`.
    fn to(endpoint: &RegionEndpoint, name: &str, setting: &Setting, gone: &CancellationToken) -> Self {
        let base = Endpoint::from(endpoint.address.clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        let streams = base
            .clone()
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(STREAMS_CONNECTION_WINDOW);
        // What answers there must be this region by its certificate, whatever the address leads to.
        let keeper = setting.keeper.as_ref().filter(|_| endpoint.address.scheme() == Some(&http::uri::Scheme::HTTPS));
        let region = Identity::Region(endpoint.region_id.clone());
        let dial = |base| {
            let dialer = Dialer::new(base, keeper.cloned(), Expect::Identity(region.clone()));
            dialer.over(setting.network.clone()).connect_lazy()
        };
        Self {
            endpoint: endpoint.clone(),
            questions: dial(base),
            streams: dial(streams),
            breaker: Mutex::new(Breaker::new()),
            opened: Notify::new(),
            suspected: Notify::new(),
            is_suspect: AtomicBool::new(false),
            hedge: None,
            clock: setting.clock.clone(),
            telemetry: Telemetry::new(name, setting.board.clone()),
            telling_budget: setting.telling_budget,
            gone: gone.clone(),
            left: AtomicBool::new(false),
        }
    }

    /// The links to its replicas.
    pub(crate) fn replicas(&self) -> &[Arc<Self>] {
        self.hedge.as_ref().map_or(&[], Hedge::replicas)
    }

    /// The region's id.
    pub(crate) fn id(&self) -> &RegionId {
        &self.endpoint.region_id
    }

    /// Which region this is, and where.
    pub(crate) fn endpoint(&self) -> &RegionEndpoint {
        &self.endpoint
    }

    /// This link is no longer used: the region is found elsewhere, or `left` for good. Questions under way end as they would
    /// have.
    pub(crate) fn retire(&self, left: bool) {
        self.left.store(left, Ordering::Release);
        self.gone.cancel();
        if left {
            [self]
                .into_iter()
                .chain(self.replicas().iter().map(AsRef::as_ref))
                .for_each(|link| link.telemetry.retired());
        }
    }

    /// Ready when the link is no longer used, or the gateway ends; true when the region is no longer configured.
    pub(crate) async fn gone(&self) -> bool {
        self.gone.cancelled().await;
        self.left.load(Ordering::Acquire)
    }

    /// The connection for live streams.
    pub(crate) fn streams(&self) -> Channel {
        self.streams.clone()
    }

    /// Asks the region, and its replica where that is needed ([`hedge`]); for questions whose answer changes nothing. As
    /// [`Self::ask`] otherwise.
    pub(crate) async fn read<M, R, F, T>(
        &self,
        question: &Question,
        message: M,
        send: impl Fn(Channel, Request<M>) -> F,
        accept: impl Fn(R) -> Result<T, Failure>,
    ) -> Result<T, Failure>
    where
        M: Clone,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        match &self.hedge {
            // On the heap: it holds three calls, which a region without a replica need not carry.
            Some(hedge) => Box::pin(hedge.read(self, question, message, send, accept)).await,
            None => self.ask(question, message, send, accept).await,
        }
    }

    /// A replica was quicker, and the region's answer is no longer waited for.
    fn overtaken(&self) {
        if self.breaker.lock().overtaken() {
            self.is_suspect.store(true, Ordering::Relaxed);
            self.suspected.notify_one();
        }
    }

    /// Asks the region itself, once: `send` makes the call, `accept` takes the answer or says what is wrong with it.
    ///
    /// Comes back within the question's remaining time, whatever the region does.
    pub(crate) async fn ask<M, R, F, T>(
        &self,
        question: &Question,
        message: M,
        send: impl FnOnce(Channel, Request<M>) -> F,
        accept: impl FnOnce(R) -> Result<T, Failure>,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        question.asker().may_ask(self.id())?;
        let now = self.clock.monotonic();
        // Bound to a name: a guard inside the match would be held over the call.
        let admitted = self.breaker.lock().admit(now);
        if let Err(refusal) = admitted {
            let failure = Failure::NotAsked(refusal);
            self.telemetry.settled(Err(&failure), Duration::ZERO);
            return Err(failure);
        }
        let budget = question.remaining(now);
        let request = question.request(message, now);
        let result = match tokio::time::timeout(budget, send(self.questions.clone(), request)).await {
            Err(_) => Err(Failure::TimedOut(budget)),
            Ok(Err(status)) => Err(Failure::of_status(status, budget)),
            Ok(Ok(answer)) => accept(answer.into_inner()),
        };
        self.settle(result.as_ref().map(|_| ()), budget, now);
        result
    }

    fn settle(&self, result: Result<(), &Failure>, budget: Duration, asked_at: Duration) {
        let now = self.clock.monotonic();
        self.telemetry.settled(result, now.saturating_sub(asked_at));
        let change = match result {
            Err(Failure::TimedOut(_)) if budget < self.telling_budget => Change::None,
            Err(failure) if failure.counts_against_region() => self.breaker.lock().failed(now, &failure.detail()),
            _ => self.breaker.lock().succeeded(),
        };
        match (change, result) {
            (Change::Opened, Err(failure)) => {
                self.telemetry.opened(failure);
                self.opened.notify_one();
            }
            (Change::Closed, _) => self.telemetry.closed(),
            _ => {}
        }
    }

    /// Makes the first connection, and probes the region whenever its circuit is open, until the region is gone.
    pub(crate) async fn watch(self: Arc<Self>) {
        let watching = async {
            // Whatever comes of it is settled like any other question.
            let question = Question::own(PROBE_BUDGET, self.clock.monotonic());
            let _ = self.ask(&question, self.status_request(), get_status, |answer| self.own_status(answer)).await;
            loop {
                tokio::select! {
                    () = self.opened.notified() => {}
                    () = self.suspected.notified() => self.check().await,
                }
                self.probe_until_closed().await;
            }
        };
        self.gone.run_until_cancelled(watching).await;
    }

    /// Finds out how a region is whose questions its replicas answer.
    async fn check(&self) {
        let result = self.probe().await;
        let change = match &result {
            Ok(()) => self.breaker.lock().succeeded(),
            Err(failure) => self.breaker.lock().check_failed(self.clock.monotonic(), &failure.detail()),
        };
        self.is_suspect.store(false, Ordering::Relaxed);
        match (change, result) {
            (Change::Opened, Err(failure)) => self.telemetry.opened(&failure),
            (Change::Closed, _) => self.telemetry.closed(),
            _ => {}
        }
    }

    async fn probe_until_closed(&self) {
        while let Some(wait) = self.probe_in() {
            // Spread, so that the regions behind one cut line are not all probed in the same moment.
            tokio::time::sleep(wait.mul_f32(rand::random_range(0.8..=1.0))).await;
            if self.probe_in().is_none() {
                return;
            }
            match self.probe().await {
                Ok(()) => {
                    self.breaker.lock().succeeded();
                    self.telemetry.closed();
                }
                Err(failure) => self.breaker.lock().probe_failed(self.clock.monotonic(), &failure.detail()),
            }
        }
    }

    fn probe_in(&self) -> Option<Duration> {
        self.breaker.lock().probe_in(self.clock.monotonic())
    }

    async fn probe(&self) -> Result<(), Failure> {
        let question = Question::own(PROBE_BUDGET, self.clock.monotonic());
        let request = question.request(self.status_request(), self.clock.monotonic());
        match tokio::time::timeout(PROBE_BUDGET, get_status(self.questions.clone(), request)).await {
            Err(_) => Err(Failure::TimedOut(PROBE_BUDGET)),
            // Any answer of the region's own shows that it is there, an error too.
            Ok(answer) => match answer.map_err(|status| Failure::of_status(status, PROBE_BUDGET)) {
                Err(failure) if failure.counts_against_region() => Err(failure),
                _ => Ok(()),
            },
        }
    }

    fn status_request(&self) -> v1::GetStatusRequest {
        v1::GetStatusRequest { region_id: self.id().to_string() }
    }

    /// The region's status, or its replica's.
    pub(crate) async fn status(&self, question: &Question) -> Result<RegionStatuses, Failure> {
        self.read(question, self.status_request(), get_status, |answer| self.own_status(answer)).await
    }

    fn own_status(&self, answer: v1::GetStatusResponse) -> Result<RegionStatuses, Failure> {
        let fresh = Freshness::of(self.id(), &answer.regions)?;
        match answer.statuses.iter().find(|status| status.region_id != self.id().as_str()) {
            Some(other) => Err(crate::report::other_region(self.id(), &other.region_id)),
            None => Ok((answer.statuses, fresh)),
        }
    }
}

/// What a region says of itself, and how complete it says it is.
type RegionStatuses = (Vec<v1::RegionStatus>, Freshness);

async fn get_status(
    channel: Channel,
    request: Request<v1::GetStatusRequest>,
) -> Result<Response<v1::GetStatusResponse>, Status> {
    RegionServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES).get_status(request).await
}
