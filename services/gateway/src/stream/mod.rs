//! `EventStreamService` over all regions: one live stream out of many.
//!
//! Each region is read by a task of its own ([`reader`]), which joins again from its own place when its stream breaks.
//! All of them note into one bounded queue; the stream takes note by note, moves that region's place, and hands the
//! message on with a cursor that holds the places of all. So whatever cursor the subscriber kept, nothing that came after
//! it is lost, in whichever region and whatever broke meanwhile.
//!
//! Order: as committed within a region; over regions as they arrive.

mod cursor;
mod outlet;
mod reader;
mod sources;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use vigil_base::{RegionId, SharedClock};
use vigil_proto::convert::{filter_from_wire, time_from_wire, time_to_wire};
use vigil_proto::v1;
use vigil_proto::v1::event_stream_service_server::EventStreamService;
use vigil_proto::v1::subscribe_response::Message;
use vigil_serve::{ServiceError, TokenKey, Trail};

use crate::federation::Context;
use crate::report::{Failure, report};
use cursor::{Place, Places};
use outlet::{ClientStream, End, Outlet, Over};
use reader::{News, Note};
use sources::Sources;

/// Longest silence towards a subscriber.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Notes of all regions that wait for the stream: enough that no region waits for its turn, few enough to be small.
const NOTES: usize = 64;

/// Live streams.
pub(crate) struct Streams {
    context: Context,
    patience: Duration,
    shutdown: CancellationToken,
}

impl Streams {
    pub(crate) fn new(context: Context, patience: Duration, shutdown: CancellationToken) -> Self {
        Self { context, patience, shutdown }
    }

    fn open(&self, request: Request<v1::SubscribeRequest>) -> Result<ClientStream, Status> {
        let (question, trail) = (self.context.question(&request), Trail::of(request.extensions()));
        let request = request.into_inner();
        let permit = self.context.admission.stream()?;
        let now = self.context.clock.now();
        let start = request.start();
        let since = request.since.map(|at| time_from_wire("since", at)).transpose().map_err(ServiceError::from)?;
        let filter = filter_from_wire(request.filter).map_err(|error| ServiceError::from(error.within("filter")))?;
        let resumed = !request.cursor.is_empty();
        let mut places = if resumed {
            Places::open(&request.cursor, &filter, &self.context.key, now)?
        } else {
            Places::new(&filter)
        };
        let first = Place::of_start(start, since, now);
        let replacements = self.context.federation.replacements();
        let (sender, notes) = mpsc::channel(NOTES);
        let mut sources = Sources::new(self.context.clone(), filter, first, question.into_asker(), sender);
        let unheard = sources.follow(&mut places, !resumed && since.is_none())?.into_iter().collect();
        let (outlet, stream) = outlet::open(places.seal(&self.context.key, now), self.patience);
        let (key, clock) = (self.context.key.clone(), self.context.clock.clone());
        let subscription = Subscription { places, sources, unheard, started: false, key, clock, outlet, trail };
        tokio::spawn(serve(subscription, notes, replacements, self.shutdown.clone(), permit));
        Ok(stream)
    }
}

#[tonic::async_trait]
impl EventStreamService for Streams {
    type SubscribeStream = ClientStream;

    async fn subscribe(&self, request: Request<v1::SubscribeRequest>) -> Result<Response<ClientStream>, Status> {
        Ok(Response::new(self.open(request)?))
    }
}

/// One subscriber's stream, from its start to its end. The readers end with it.
async fn serve(
    mut subscription: Subscription,
    notes: mpsc::Receiver<Note>,
    replacements: watch::Receiver<()>,
    shutdown: CancellationToken,
    permit: OwnedSemaphorePermit,
) {
    let streams = metrics::gauge!("vigil_gateway_subscriptions");
    streams.increment(1.0);
    tokio::select! {
        Err(Over) = subscription.run(notes, replacements) => {}
        () = shutdown.cancelled() => subscription.outlet.finish(End::ShutDown),
    }
    streams.decrement(1.0);
    drop(permit);
}

/// One subscriber's stream.
struct Subscription {
    places: Places,
    sources: Sources,
    /// Regions that have neither joined nor failed yet. The first heartbeat comes when there are none: its cursor then holds
    /// every region's own, and what is committed from then on will be delivered.
    unheard: BTreeSet<RegionId>,
    started: bool,
    key: Arc<TokenKey>,
    clock: SharedClock,
    outlet: Outlet,
    trail: Trail,
}

impl Subscription {
    async fn run(
        &mut self,
        mut notes: mpsc::Receiver<Note>,
        mut replacements: watch::Receiver<()>,
    ) -> Result<Infallible, Over> {
        self.tell_strangers().await?;
        let delivered = metrics::counter!("vigil_gateway_subscription_events_total");
        let mut silence = tokio::time::interval(HEARTBEAT);
        silence.reset();
        loop {
            let message = tokio::select! {
                Some(note) = notes.recv() => self.take(note),
                Ok(()) = replacements.changed() => {
                    self.follow()?;
                    None
                }
                _ = silence.tick() => Some(self.heartbeat()),
                () = self.outlet.closed() => return Err(Over),
            };
            let Some(message) = message else { continue };
            delivered.increment(u64::from(matches!(message, Message::Delivery(_))));
            self.trail.streamed(&message);
            self.outlet.send(message).await?;
            if !self.started && self.unheard.is_empty() {
                self.started = true;
                let heartbeat = self.heartbeat();
                self.outlet.send(heartbeat).await?;
            }
            silence.reset();
        }
    }

    /// Regions in which the subscriber has a place and which this gateway does not have.
    async fn tell_strangers(&self) -> Result<(), Over> {
        for region in self.places.strangers(|id| self.sources.reads(id)) {
            self.outlet.send(Message::Region(report(&region, Err(&Failure::NotConfigured), Duration::ZERO))).await?;
        }
        Ok(())
    }

    /// The gateway has other regions now: joins those that are meant.
    fn follow(&mut self) -> Result<(), Over> {
        if let Err(error) = self.sources.follow(&mut self.places, false) {
            // What is meant can no longer be served in one stream: who asks again is told why.
            tracing::info!(%error, "a live stream ends with the change of regions");
            self.outlet.finish(End::OtherRegions);
            return Err(Over);
        }
        Ok(())
    }

    /// Moves the region's place; gives the message the subscriber is to have, if any.
    fn take(&mut self, Note { region, news }: Note) -> Option<Message> {
        match news {
            News::Delivery { event, cursor } => {
                self.places.advance(&region, cursor);
                Some(Message::Delivery(v1::EventDelivery { event: Some(*event), cursor: self.cursor() }))
            }
            News::Heartbeat { cursor, .. } => {
                self.places.advance(&region, cursor);
                None
            }
            News::Gap(gap) => Some(Message::Gap(gap)),
            News::Joined(freshness, elapsed) => {
                self.unheard.remove(&region);
                Some(Message::Region(report(&region, Ok(freshness), elapsed)))
            }
            News::Failed(failure, elapsed) => {
                self.unheard.remove(&region);
                Some(Message::Region(report(&region, Err(&failure), elapsed)))
            }
        }
    }

    fn heartbeat(&self) -> Message {
        let server_time = Some(time_to_wire(self.clock.now()));
        Message::Heartbeat(v1::StreamHeartbeat { cursor: self.cursor(), server_time, region: None })
    }

    fn cursor(&self) -> String {
        self.places.seal(&self.key, self.clock.now())
    }
}
