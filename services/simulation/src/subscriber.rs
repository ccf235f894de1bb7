//! A subscriber, of one region or of all through a gateway, that goes away and comes back with its cursor.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::SmallRng;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use vigil_base::EventId;
use vigil_proto::v1;
use vigil_proto::v1::event_stream_service_client::EventStreamServiceClient;
use vigil_proto::v1::subscribe_response::Message;

use crate::client;
use crate::truth::{Made, Truth};

/// A stream says something every ten seconds; one that does not is dead.
const SILENCE: Duration = Duration::from_secs(25);
/// How long an answer to the question itself is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Wait after a server could not be reached, or ended the stream.
const RETRY: Duration = Duration::from_millis(700);
/// Longest absence.
const MAX_AWAY_MS: u64 = 15_000;
/// Messages after which it goes away, at most.
const MAX_MESSAGES: u32 = 60;
/// What it takes its time over a message for, now and then.
const MAX_PAUSE_MS: u64 = 300;
/// After a region was put back, what its last process sent is still under way for so many seconds.
const OLD_HISTORY: f64 = 30.0;

/// What a subscriber keeps.
pub(crate) struct Subscriber {
    pub(crate) name: String,
    /// Servers that it may ask: one region, or any gateway.
    pub(crate) servers: Vec<String>,
    /// The one region; none for a subscriber of all.
    pub(crate) region: Option<String>,
    /// The one class it wants.
    pub(crate) class: Option<&'static str>,
    pub(crate) truth: Arc<Truth>,
    pub(crate) rng: Mutex<SmallRng>,
    /// It stays from now on.
    pub(crate) calm: CancellationToken,
    /// Revisions that it was given: its idempotency keys.
    pub(crate) given: Mutex<BTreeSet<(EventId, u32)>>,
}

impl Subscriber {
    /// Follows the stream without end.
    pub(crate) async fn run(self: Arc<Self>) -> turmoil::Result {
        let mut cursor = String::new();
        loop {
            let server = self.servers[self.rng.lock().random_range(0..self.servers.len())].clone();
            match self.follow(&server, &mut cursor).await {
                Ok(()) => self.stay_away().await,
                Err(status) => {
                    self.judge(&status);
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Whether it is to have this event.
    pub(crate) fn wants(&self, made: &Made) -> bool {
        self.region.as_ref().is_none_or(|region| *region == made.region)
            && self.class.is_none_or(|class| made.class == class)
    }

    async fn stay_away(&self) {
        if !self.calm.is_cancelled() {
            let away = self.rng.lock().random_range(0..MAX_AWAY_MS);
            tokio::time::sleep(Duration::from_millis(away)).await;
        }
    }

    /// One stream, until it has had enough.
    async fn follow(&self, server: &str, cursor: &mut String) -> Result<(), Status> {
        let unreachable = |error: tonic::transport::Error| Status::unavailable(error.to_string());
        let connecting = tokio::time::timeout(PATIENCE, client::connect(server)).await;
        let channel = connecting.map_err(|_| Status::deadline_exceeded("no connection"))?.map_err(unreachable)?;
        let filter = v1::EventFilter {
            object_classes: self.class.iter().map(ToString::to_string).collect(),
            ..v1::EventFilter::default()
        };
        let request = v1::SubscribeRequest {
            filter: Some(filter),
            cursor: cursor.clone(),
            start: v1::SubscribeStart::Oldest.into(),
            since: None,
        };
        let mut client = EventStreamServiceClient::new(channel);
        let opening = tokio::time::timeout(PATIENCE, client.subscribe(request)).await;
        let mut stream = opening.map_err(|_| Status::deadline_exceeded("no answer"))??.into_inner();
        let most = self.rng.lock().random_range(1..MAX_MESSAGES);
        let mut order = Order::default();
        let mut messages = 0;
        while messages < most || self.calm.is_cancelled() {
            let message = tokio::time::timeout(SILENCE, stream.message()).await;
            let message = message.map_err(|_| Status::deadline_exceeded("silence"))??;
            let Some(message) = message.and_then(|response| response.message) else {
                return Err(Status::unavailable("the stream ended"));
            };
            self.take(message, cursor, &mut order);
            messages += 1;
            let pause = self.rng.lock().random_range(0..MAX_PAUSE_MS * 20).saturating_sub(MAX_PAUSE_MS * 19);
            if pause > 0 {
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        }
        Ok(())
    }

    fn take(&self, message: Message, cursor: &mut String, order: &mut Order) {
        match message {
            Message::Delivery(delivery) => {
                let Some(event) = delivery.event else {
                    return self.truth.violated(format_args!("{} was given a delivery without an event", self.name));
                };
                self.given(&event, order);
                *cursor = delivery.cursor;
            }
            Message::Heartbeat(heartbeat) => *cursor = heartbeat.cursor,
            Message::Gap(gap) if gap.reason() == v1::GapReason::Restored => {
                self.truth.note("gap", format_args!("{} {}", self.name, gap.region_id));
                order.forget(&gap.region_id);
                if self.truth.restores(&gap.region_id, OLD_HISTORY).0 == 0 {
                    self.truth.violated(format_args!("{} was told that {} was put back", self.name, gap.region_id));
                }
            }
            Message::Gap(gap) => {
                self.truth.violated(format_args!("{} was told of a gap of {:?}", self.name, gap.reason()));
            }
            Message::Region(_) => {}
        }
    }

    fn given(&self, event: &v1::Event, order: &mut Order) {
        let Ok(id) = event.event_id.parse::<EventId>() else {
            return self.truth.violated(format_args!("{} was given {:?} as an event", self.name, event.event_id));
        };
        let (revision, region) = (event.revision, &event.region_id);
        match self.truth.event(id) {
            Some(made) if self.wants(&made) && revision <= made.newest() => {}
            _ => self.truth.violated(format_args!("{} was given {id} {revision}, which is not for it", self.name)),
        }
        self.truth.note("delivered", format_args!("{} {id} {revision}", self.name));
        self.given.lock().insert((id, revision));
        let (restores, is_fresh) = self.truth.restores(region, OLD_HISTORY);
        let seq = self.truth.seq(region, id, revision).filter(|_| !is_fresh);
        if let Some((before, after)) = seq.and_then(|seq| order.breaks(region, restores, seq)) {
            self.truth.violated(format_args!("{} was given commit {after} of {region} after {before}", self.name));
        }
    }

    /// Whether what a server said is fit for a storm.
    fn judge(&self, status: &Status) {
        self.truth.note("parted", format_args!("{} {:?}", self.name, status.code()));
        let is_weather = matches!(
            status.code(),
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown | Code::Internal
        );
        if !is_weather {
            self.truth.violated(format_args!("{} was told {status:?}", self.name));
        }
    }
}

/// The last commit of each region on one stream, and how often the region had been put back by then.
#[derive(Debug, Default)]
struct Order(BTreeMap<String, (u32, u64)>);

impl Order {
    fn forget(&mut self, region: &str) {
        self.0.remove(region);
    }

    /// The two commits, if this one comes after a later one.
    fn breaks(&mut self, region: &str, restores: u32, seq: u64) -> Option<(u64, u64)> {
        let before = self.0.insert(region.to_owned(), (restores, seq));
        before.filter(|(then, last)| *then == restores && *last >= seq).map(|(_, last)| (last, seq))
    }
}
