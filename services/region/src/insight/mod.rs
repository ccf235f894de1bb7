//! `InsightService`: questions whose answer is in no single event.
//!
//! They are answered by looking at events, newest first and a bounded number of them, through the same search for both engines;
//! the answers say from when on all was looked at.

mod pages;
mod presence;
mod sightings;
#[cfg(test)]
mod testing;
mod track;

use std::sync::Arc;

use tonic::{Request, Response, Status, async_trait};
use vigil_base::EventId;
use vigil_policy::Grant;
use vigil_proto::convert::{
    journey_question_from_wire, journeys, journeys_to_wire, presence_question_from_wire, time_to_wire,
};
use vigil_proto::v1;
use vigil_proto::v1::insight_service_server::{InsightService as Service, InsightServiceServer};
use vigil_serve::grpc::MAX_MESSAGE_BYTES;
use vigil_serve::{ServiceError, Trail};

pub use presence::presence;
pub use sightings::{MAX_SIGHTINGS, sightings};
pub use track::track;

use crate::context::Context;
use crate::guard::{Found, Guard, Guest, Pass, Question};
use crate::index::{EventSearch, Index, IndexError, SearchPage, SearchQuery};
use crate::query::not_found;

/// Where events are looked for: in an index, or in as much of it as somebody may see.
#[async_trait]
pub trait Events: Send + Sync {
    /// As [`EventSearch::search`].
    async fn search(&self, query: SearchQuery) -> Result<SearchPage, IndexError>;
}

#[async_trait]
impl Events for dyn Index {
    async fn search(&self, query: SearchQuery) -> Result<SearchPage, IndexError> {
        EventSearch::search(self, query).await
    }
}

/// What one requester may see of the index.
struct Visible<'g> {
    guard: &'g Guard,
    pass: &'g Pass,
}

#[async_trait]
impl Events for Visible<'_> {
    async fn search(&self, query: SearchQuery) -> Result<SearchPage, IndexError> {
        self.guard.search(self.pass, query).await
    }
}

/// The service.
pub(crate) struct InsightService {
    context: Arc<Context>,
}

impl InsightService {
    pub(crate) fn server(context: Arc<Context>) -> InsightServiceServer<Self> {
        InsightServiceServer::new(Self { context })
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    fn pass<T>(&self, request: &Request<T>) -> Pass {
        self.context.guard.admit(&Guest::of(request.extensions()))
    }

    fn visible<'g>(&'g self, pass: &'g Pass) -> Visible<'g> {
        Visible { guard: &self.context.guard, pass }
    }

    async fn journeys(
        &self,
        pass: &Pass,
        request: v1::FindJourneysRequest,
    ) -> Result<v1::FindJourneysResponse, ServiceError> {
        let started = self.context.clock.monotonic();
        let question = journey_question_from_wire(request)?;
        if !self.context.is_asked(&question.filter) {
            return Ok(v1::FindJourneysResponse { regions: vec![self.context.report(started)], ..Default::default() });
        }
        let seen = sightings(&self.visible(pass), &question, MAX_SIGHTINGS).await;
        let (seen, looked_from) = seen.map_err(|e| self.context.failure("looking for sightings", &e))?;
        let report = self.context.report_about(started, &question.filter, pass, &Question::search(&question.filter));
        let (journeys, truncated) = journeys_to_wire(&question, journeys(&question, seen));
        Ok(v1::FindJourneysResponse {
            journeys,
            truncated,
            looked_from: looked_from.map(time_to_wire),
            regions: vec![report],
        })
    }

    async fn track(&self, pass: &Pass, request: v1::GetTrackRequest) -> Result<v1::GetTrackResponse, ServiceError> {
        let started = self.context.clock.monotonic();
        self.context.check_named(&request.region_id)?;
        let id: EventId = request.event_id.parse().map_err(|e| ServiceError::field("event_id", e))?;
        let named = self.context.guard.event(pass, id).await;
        let named = match named.map_err(|e| self.context.failure("reading an event", &e))? {
            Found::Given(event) => event,
            Found::Withheld => return Err(Guard::withheld(pass, &format!("event {id}"))),
            Found::Missing => return Err(not_found(&self.context, id)),
        };
        // Of one camera and edge, so that of all its events the same is withheld.
        let withheld = named.withheld.clone();
        let found = track(&self.visible(pass), named).await;
        let mut found = found.map_err(|e| self.context.failure("reading a track", &e))?;
        for event in found.object.iter_mut().chain(&mut found.findings) {
            event.withheld.clone_from(&withheld);
        }
        Ok(v1::GetTrackResponse { regions: vec![self.context.report(started)], ..found })
    }

    async fn presence(
        &self,
        pass: &Pass,
        request: v1::GetPresenceRequest,
    ) -> Result<v1::GetPresenceResponse, ServiceError> {
        let started = self.context.clock.monotonic();
        self.context.check_named(&request.region_id)?;
        let question = presence_question_from_wire(request)?;
        let sums = presence(&self.visible(pass), &question).await;
        let (classes, looked_from) = sums.map_err(|e| self.context.failure("adding up presence", &e))?;
        let asked = Question::search(&question.filter).needing(Grant::Position);
        let report = self.context.report_about(started, &question.filter, pass, &asked);
        Ok(v1::GetPresenceResponse {
            columns: question.columns,
            rows: question.rows,
            classes,
            regions: vec![report],
            looked_from: looked_from.map(time_to_wire),
        })
    }
}

#[async_trait]
impl Service for InsightService {
    async fn find_journeys(
        &self,
        request: Request<v1::FindJourneysRequest>,
    ) -> Result<Response<v1::FindJourneysResponse>, Status> {
        let (trail, pass) = (Trail::of(request.extensions()), self.pass(&request));
        Ok(trail.hand_out(self.journeys(&pass, request.into_inner()).await?))
    }

    async fn get_track(&self, request: Request<v1::GetTrackRequest>) -> Result<Response<v1::GetTrackResponse>, Status> {
        let (trail, pass) = (Trail::of(request.extensions()), self.pass(&request));
        Ok(trail.hand_out(self.track(&pass, request.into_inner()).await?))
    }

    async fn get_presence(
        &self,
        request: Request<v1::GetPresenceRequest>,
    ) -> Result<Response<v1::GetPresenceResponse>, Status> {
        let (trail, pass) = (Trail::of(request.extensions()), self.pass(&request));
        Ok(trail.hand_out(self.presence(&pass, request.into_inner()).await?))
    }
}
