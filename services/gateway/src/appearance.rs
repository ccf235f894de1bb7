//! `AppearanceService` over all regions: the example becomes a vector here, all regions are asked with that, and their hits are
//! merged, most alike first.
//!
//! Pictures go no further than this: a region that need not see one is not sent one.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use vigil_appearance::of_picture;
use vigil_base::event::Appearance;
use vigil_proto::convert::{
    AppearanceQuestion, Example, Filter, appearance_question_from_wire, appearance_question_to_wire,
    appearance_to_wire, event_from_wire, follow_question_from_wire, ways,
};
use vigil_proto::v1;
use vigil_proto::v1::appearance_service_client::AppearanceServiceClient;
use vigil_proto::v1::appearance_service_server::AppearanceService;
use vigil_serve::error::chain;
use vigil_serve::grpc::MAX_MESSAGE_BYTES;
use vigil_serve::{ErrorCode, ServiceError, Trail};

use crate::deadline::Question;
use crate::federation::Context;
use crate::link::RegionLink;
use crate::query::find_event;
use crate::report::{Failure, Freshness, other_region};
use crate::scatter::Scatter;

/// Who looked like this.
pub(crate) struct Appearances {
    context: Context,
}

impl Appearances {
    pub(crate) fn new(context: Context) -> Self {
        Self { context }
    }

    async fn search(
        &self,
        question: Question,
        asked: AppearanceQuestion,
    ) -> Result<v1::SearchByAppearanceResponse, Status> {
        let links = self.context.federation.select(&asked.filter.regions, "filter.region_ids")?;
        let appearance = self.appearance(&question, asked.example).await?;
        let asked = AppearanceQuestion { example: Example::Appearance(appearance.clone()), ..asked };
        let ask = |_, link: Arc<RegionLink>| ask_region(link, question.clone(), asked.clone());
        let parts = Scatter::new(&self.context.clock, &links, ask).all().await;
        let regions = parts.iter().map(|part| part.report(|(_, fresh)| fresh.clone())).collect();
        let mut answer = v1::SearchByAppearanceResponse {
            asked: Some(appearance_to_wire(&appearance)),
            regions,
            ..v1::SearchByAppearanceResponse::default()
        };
        for (part, _) in parts.into_iter().filter_map(|part| part.result.ok()) {
            answer.hits.extend(part.hits);
            answer.compared += part.compared;
            answer.not_comparable.extend(part.not_comparable);
        }
        answer.hits.sort_by(most_alike_first);
        answer.hits.truncate(asked.limit);
        Ok(answer)
    }

    /// What to look for, as a vector.
    async fn appearance(&self, question: &Question, example: Example) -> Result<Appearance, Status> {
        match example {
            Example::Appearance(appearance) => Ok(appearance),
            Example::Picture { image, bbox } => {
                let seen = tokio::task::spawn_blocking(move || of_picture(&image, bbox)).await;
                let seen = seen.map_err(|error| ServiceError::internal("looking at a picture", &error))?;
                Ok(seen.map_err(|error| ServiceError::field("example.picture.image", chain(&error)))?)
            }
            Example::Event { id, region } => {
                let region_id = region.map(|id| id.to_string()).unwrap_or_default();
                let request = v1::GetEventRequest { event_id: id.to_string(), region_id };
                let event = find_event(&self.context, question, request).await?.event;
                let withheld = |event: &v1::Event| event.withheld().any(|mark| mark == v1::Withheld::Appearance);
                if event.as_ref().is_some_and(withheld) {
                    let message =
                        format!("the policy of its region withholds what the object of event {id} looked like");
                    return Err(ServiceError::new(ErrorCode::Withheld, message).into());
                }
                let seen = event.and_then(|event| event_from_wire(event).ok()).and_then(|event| event.appearance);
                let message = format!(
                    "event {id} has no appearance: its object was not seen well enough, or is none; give a picture of it \
                     instead"
                );
                Ok(seen.ok_or_else(|| ServiceError::new(ErrorCode::FailedPrecondition, message))?)
            }
        }
    }
}

/// As regions do: of two that are equally alike the newer one.
fn most_alike_first(a: &v1::AppearanceHit, b: &v1::AppearanceHit) -> std::cmp::Ordering {
    let order = |hit: &v1::AppearanceHit| {
        let event = hit.event.as_ref();
        let begin = event.and_then(|event| event.begin_time).unwrap_or_default();
        (begin.seconds, begin.nanos, event.map(|event| event.event_id.clone()).unwrap_or_default())
    };
    b.similarity.total_cmp(&a.similarity).then_with(|| order(b).cmp(&order(a)))
}

async fn ask_region(
    link: Arc<RegionLink>,
    question: Question,
    asked: AppearanceQuestion,
) -> Result<(v1::SearchByAppearanceResponse, Freshness), Failure> {
    let filter = Filter { regions: vec![link.id().clone()], ..asked.filter };
    let request = appearance_question_to_wire(&AppearanceQuestion { filter, ..asked });
    let send = async |channel, request| {
        let mut client = AppearanceServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        client.search_by_appearance(request).await
    };
    let accept = |answer: v1::SearchByAppearanceResponse| {
        let fresh = Freshness::of(link.id(), &answer.regions)?;
        let own = link.id().as_str();
        let of_hits = answer.hits.iter().map(|hit| hit.event.as_ref().map_or("", |event| event.region_id.as_str()));
        let of_others = answer.not_comparable.iter().map(|other| other.region_id.as_str());
        match of_hits.chain(of_others).find(|region| *region != own) {
            Some(region) => Err(other_region(link.id(), region)),
            None if answer.hits.iter().any(|hit| !hit.similarity.is_finite()) => {
                Err(Failure::Wrong("answered a similarity that is no number".to_owned()))
            }
            None => Ok((answer, fresh)),
        }
    };
    link.read(&question, request, send, accept).await
}

#[tonic::async_trait]
impl AppearanceService for Appearances {
    async fn search_by_appearance(
        &self,
        request: Request<v1::SearchByAppearanceRequest>,
    ) -> Result<Response<v1::SearchByAppearanceResponse>, Status> {
        let (question, trail) = (self.context.question(&request), Trail::of(request.extensions()));
        let work = async {
            let asked = appearance_question_from_wire(request.into_inner()).map_err(ServiceError::from)?;
            self.search(question, asked).await
        };
        self.context.admission.serve("SearchByAppearance", trail, work).await
    }

    async fn follow_appearance(
        &self,
        request: Request<v1::FollowAppearanceRequest>,
    ) -> Result<Response<v1::FollowAppearanceResponse>, Status> {
        let (question, trail) = (self.context.question(&request), Trail::of(request.extensions()));
        let work = async {
            let asked = follow_question_from_wire(request.into_inner()).map_err(ServiceError::from)?;
            let (span, min_cameras) = (asked.span, asked.min_cameras);
            Ok(ways(self.search(question, asked.sightings).await?, span, min_cameras))
        };
        self.context.admission.serve("FollowAppearance", trail, work).await
    }
}
