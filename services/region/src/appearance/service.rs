//! `AppearanceService` of a region.

use std::sync::Arc;
use std::time::Duration;

use tonic::{Request, Response, Status, async_trait};
use vigil_appearance::of_picture;
use vigil_base::event::Appearance;
use vigil_proto::convert::{
    AppearanceQuestion, Example, appearance_question_from_wire, appearance_to_wire, event_from_wire,
    follow_question_from_wire, method_to_wire, ways,
};
use vigil_proto::v1;
use vigil_proto::v1::appearance_service_server::{AppearanceService, AppearanceServiceServer};
use vigil_serve::grpc::MAX_MESSAGE_BYTES;
use vigil_serve::{ErrorCode, ServiceError, Trail};

use super::answer::{Asked, Hits, find};
use crate::context::Context;
use crate::guard::{Found, Guard, Guest, Pass, Question};

/// The service.
pub(crate) struct LooksService {
    context: Arc<Context>,
}

impl LooksService {
    pub(crate) fn server(context: Arc<Context>) -> AppearanceServiceServer<Self> {
        AppearanceServiceServer::new(Self { context })
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    fn pass<T>(&self, request: &Request<T>) -> Pass {
        self.context.guard.admit(&Guest::of(request.extensions()))
    }

    async fn search(
        &self,
        pass: &Pass,
        question: AppearanceQuestion,
    ) -> Result<v1::SearchByAppearanceResponse, ServiceError> {
        let started = self.context.clock.monotonic();
        let appearance = self.appearance(pass, question.example).await?;
        let asked = Some(appearance_to_wire(&appearance));
        if !self.context.is_asked(&question.filter) {
            let regions = vec![self.context.report(started)];
            return Ok(v1::SearchByAppearanceResponse { asked, regions, ..Default::default() });
        }
        let (filter, min_similarity) = (question.filter, question.min_similarity);
        let within = Asked { appearance, filter: filter.clone(), limit: question.limit, min_similarity };
        let found = find(&self.context, pass, within).await;
        let found = found.map_err(|e| self.context.failure("comparing appearances", &e))?;
        Ok(self.answer(started, asked, found, (pass, &filter)))
    }

    fn answer(
        &self,
        started: Duration,
        asked: Option<v1::Appearance>,
        found: Hits,
        (pass, filter): (&Pass, &vigil_proto::convert::Filter),
    ) -> v1::SearchByAppearanceResponse {
        let region = self.context.region.to_string();
        let mut report = self.context.report_about(started, filter, pass, &Question::alike(filter));
        let missing = std::mem::take(&mut report.missing);
        let lacks = std::iter::once(missing).filter(|text| !text.is_empty()).chain(found.missing);
        report.missing = lacks.collect::<Vec<_>>().join("; ");
        let hit = |(event, similarity)| v1::AppearanceHit { event: Some(event), similarity };
        let other = |(method, events): (_, u64)| v1::NotComparable {
            region_id: region.clone(),
            method: Some(method_to_wire(&method)),
            events,
        };
        v1::SearchByAppearanceResponse {
            hits: found.events.into_iter().map(hit).collect(),
            regions: vec![report],
            asked,
            compared: found.compared,
            not_comparable: found.not_comparable.into_iter().map(other).collect(),
        }
    }

    /// What to look for, as a vector.
    async fn appearance(&self, pass: &Pass, example: Example) -> Result<Appearance, ServiceError> {
        match example {
            Example::Appearance(appearance) => Ok(appearance),
            Example::Picture { image, bbox } => {
                let seen = tokio::task::spawn_blocking(move || of_picture(&image, bbox)).await;
                let seen = seen.map_err(|error| ServiceError::internal("looking at a picture", &error))?;
                seen.map_err(|error| ServiceError::field("example.picture.image", vigil_serve::error::chain(&error)))
            }
            Example::Event { id, region } => {
                self.context.check_named(region.as_ref().map_or("", |id| id.as_str()))?;
                let found = self.context.guard.event(pass, id).await;
                let event = match found.map_err(|e| self.context.failure("reading an event", &e))? {
                    Found::Given(event) => event,
                    Found::Withheld => return Err(Guard::withheld(pass, &format!("event {id}"))),
                    Found::Missing => {
                        let message = format!("region {} has no event {id}", self.context.region);
                        return Err(ServiceError::new(ErrorCode::NotFound, message));
                    }
                };
                if event.withheld().any(|mark| mark == v1::Withheld::Appearance) {
                    return Err(Guard::withheld(pass, &format!("what the object of event {id} looked like")));
                }
                let seen = event_from_wire(event).ok().and_then(|event| event.appearance);
                seen.ok_or_else(|| no_appearance(&id.to_string()))
            }
        }
    }
}

fn no_appearance(event: &str) -> ServiceError {
    let message = format!(
        "event {event} has no appearance: its object was not seen well enough, or is none; give a picture of it instead"
    );
    ServiceError::new(ErrorCode::FailedPrecondition, message)
}

#[async_trait]
impl AppearanceService for LooksService {
    async fn search_by_appearance(
        &self,
        request: Request<v1::SearchByAppearanceRequest>,
    ) -> Result<Response<v1::SearchByAppearanceResponse>, Status> {
        let (trail, pass) = (Trail::of(request.extensions()), self.pass(&request));
        let question = appearance_question_from_wire(request.into_inner()).map_err(ServiceError::from)?;
        Ok(trail.hand_out(self.search(&pass, question).await?))
    }

    async fn follow_appearance(
        &self,
        request: Request<v1::FollowAppearanceRequest>,
    ) -> Result<Response<v1::FollowAppearanceResponse>, Status> {
        let (trail, pass) = (Trail::of(request.extensions()), self.pass(&request));
        let question = follow_question_from_wire(request.into_inner()).map_err(ServiceError::from)?;
        let (span, min_cameras) = (question.span, question.min_cameras);
        Ok(trail.hand_out(ways(self.search(&pass, question.sightings).await?, span, min_cameras)))
    }
}
