//! `InsightService` over all regions.
//!
//! A plate that each of two regions has seen once is a journey of neither: regions tell their sightings, and the journeys are made
//! here. Where a region, or this gateway, looked at a part of the time only, the answer is about the part that all looked at.

use std::sync::Arc;

use tonic::{Code, Request, Response, Status};
use vigil_base::{EventId, RegionId, Timestamp};
use vigil_proto::convert::{
    Filter, JourneyQuestion, PresenceQuestion, Sighting, journey_question_from_wire, journey_question_to_wire,
    journeys, journeys_from_wire, journeys_to_wire, looked_from, presence_question_from_wire,
    presence_question_to_wire, time_from_wire, time_to_wire,
};
use vigil_proto::v1;
use vigil_proto::v1::insight_service_client::InsightServiceClient;
use vigil_proto::v1::insight_service_server::InsightService;
use vigil_serve::grpc::MAX_MESSAGE_BYTES;
use vigil_serve::{ServiceError, Trail};

use crate::deadline::Question;
use crate::federation::Context;
use crate::link::RegionLink;
use crate::query::first_found;
use crate::report::{Failure, Freshness, other_region};
use crate::scatter::Scatter;

/// Sightings of all regions together that one answer looks at: some 60 MiB while it is made.
const MAX_SIGHTINGS: usize = 200_000;

/// Questions whose answer is in no single event.
pub(crate) struct Insight {
    context: Context,
}

/// What one region saw, from when on if not all, and how complete it says it is.
type Seen = (Vec<Sighting>, Option<Timestamp>, Freshness);

impl Insight {
    pub(crate) fn new(context: Context) -> Self {
        Self { context }
    }

    async fn journeys(
        &self,
        question: Question,
        request: v1::FindJourneysRequest,
    ) -> Result<v1::FindJourneysResponse, Status> {
        let asked = journey_question_from_wire(request).map_err(ServiceError::from)?;
        let links = self.context.federation.select(&asked.filter.regions, "filter.region_ids")?;
        let ask = |_, link: Arc<RegionLink>| ask_sightings(link, question.clone(), asked.clone());
        let mut parts = Scatter::new(&self.context.clock, &links, ask).all().await;
        parts.sort_by(|a, b| a.link.id().cmp(b.link.id()));
        let regions = parts.iter().map(|part| part.report(|(_, _, fresh)| fresh.clone())).collect();
        let seen: Vec<Seen> = parts.into_iter().filter_map(|part| part.result.ok()).collect();
        // Sorting so many takes longer than the runtime's threads may be kept.
        let merged = tokio::task::spawn_blocking(move || merge(&asked, seen)).await;
        let merged = merged.map_err(|error| Status::internal(format!("merging sightings failed: {error}")))?;
        Ok(v1::FindJourneysResponse { regions, ..merged })
    }

    async fn track(&self, question: Question, request: v1::GetTrackRequest) -> Result<v1::GetTrackResponse, Status> {
        let id: EventId = request.event_id.parse().map_err(|error| ServiceError::field("event_id", error))?;
        let links = self.context.federation.route_or_all(&request.region_id, "region_id")?;
        let ask = |link: Arc<RegionLink>| ask_track(link, question.clone(), id);
        let (found, regions) = first_found(&self.context, &links, id, ask).await?;
        Ok(v1::GetTrackResponse { regions, ..found })
    }

    async fn presence(
        &self,
        question: Question,
        request: v1::GetPresenceRequest,
    ) -> Result<v1::GetPresenceResponse, Status> {
        let link = self.context.federation.route(&request.region_id, "region_id")?;
        let asked = presence_question_from_wire(request).map_err(ServiceError::from)?;
        let ask = |_, link: Arc<RegionLink>| ask_presence(link, question.clone(), asked.clone());
        let parts = Scatter::new(&self.context.clock, &[Arc::clone(&link)], ask).all().await;
        let regions = parts.iter().map(|part| part.report(|(_, fresh)| fresh.clone())).collect();
        match parts.into_iter().next().map(|part| part.result) {
            Some(Ok((answer, _))) => Ok(v1::GetPresenceResponse { regions, ..answer }),
            Some(Err(failure)) => Err(failure.into_status(link.id())),
            None => Err(Status::internal("the region was not asked")),
        }
    }
}

/// Journeys of what all regions saw.
fn merge(asked: &JourneyQuestion, seen: Vec<Seen>) -> v1::FindJourneysResponse {
    let regions_looked_from = seen.iter().filter_map(|(_, from, _)| *from).max();
    let mut sightings: Vec<Sighting> = seen.into_iter().flat_map(|(sightings, ..)| sightings).collect();
    sightings.sort_by_key(|sighting| std::cmp::Reverse((sighting.begin_time, sighting.event)));
    let from = looked_from(&sightings, MAX_SIGHTINGS).max(regions_looked_from);
    if let Some(from) = from {
        sightings.retain(|sighting| sighting.begin_time >= from);
    }
    let (journeys, truncated) = journeys_to_wire(asked, journeys(asked, sightings));
    v1::FindJourneysResponse { journeys, truncated, looked_from: from.map(time_to_wire), regions: Vec::new() }
}

async fn ask_sightings(link: Arc<RegionLink>, question: Question, asked: JourneyQuestion) -> Result<Seen, Failure> {
    let filter = Filter { regions: vec![link.id().clone()], ..asked.filter };
    let request = journey_question_to_wire(&JourneyQuestion { filter, sightings_alone: true, ..asked });
    let send = async |channel, request| {
        let mut client = InsightServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        client.find_journeys(request).await
    };
    let accept = |answer: v1::FindJourneysResponse| {
        let fresh = Freshness::of(link.id(), &answer.regions)?;
        let wrong = |error| Failure::Wrong(format!("answered with {error}"));
        let from = answer.looked_from.map(|at| time_from_wire("looked_from", at)).transpose().map_err(wrong)?;
        let sightings = journeys_from_wire(answer.journeys).map_err(wrong)?;
        match sightings.iter().find(|sighting| sighting.region != *link.id()) {
            Some(sighting) => Err(other_region(link.id(), sighting.region.as_str())),
            None => Ok((sightings, from, fresh)),
        }
    };
    link.read(&question, request, send, accept).await
}

async fn ask_track(
    link: Arc<RegionLink>,
    question: Question,
    id: EventId,
) -> Result<(Option<v1::GetTrackResponse>, Freshness), Failure> {
    let request = v1::GetTrackRequest { event_id: id.to_string(), region_id: link.id().to_string() };
    let send = async |channel, request| {
        let mut client = InsightServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        match client.get_track(request).await {
            // That it is not there is an answer.
            Err(status) if status.code() == Code::NotFound => Ok(Response::new(v1::GetTrackResponse::default())),
            other => other,
        }
    };
    let accept = |answer: v1::GetTrackResponse| {
        let events = || answer.object.iter().chain(&answer.findings);
        if events().next().is_none() {
            return Ok((None, Freshness::default()));
        }
        let fresh = Freshness::of(link.id(), &answer.regions)?;
        if let Some(event) = events().find(|event| event.region_id != link.id().as_str()) {
            return Err(other_region(link.id(), &event.region_id));
        }
        if events().all(|event| event.event_id != id.to_string()) {
            return Err(Failure::Wrong(format!("answered with another track than that of event {id}")));
        }
        Ok((Some(answer), fresh))
    };
    link.read(&question, request, send, accept).await
}

async fn ask_presence(
    link: Arc<RegionLink>,
    question: Question,
    asked: PresenceQuestion,
) -> Result<(v1::GetPresenceResponse, Freshness), Failure> {
    let region: &RegionId = link.id();
    let request = presence_question_to_wire(&asked, region);
    let send = async |channel, request| {
        let mut client = InsightServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        client.get_presence(request).await
    };
    let accept = |answer: v1::GetPresenceResponse| {
        let fresh = Freshness::of(region, &answer.regions)?;
        let cells = (asked.columns * asked.rows) as usize;
        if (answer.columns, answer.rows) != (asked.columns, asked.rows)
            || answer.classes.iter().any(|class| class.seconds.len() != cells)
        {
            return Err(Failure::Wrong("answered with another grid than was asked for".to_owned()));
        }
        Ok((answer, fresh))
    };
    link.read(&question, request, send, accept).await
}

#[tonic::async_trait]
impl InsightService for Insight {
    async fn find_journeys(
        &self,
        request: Request<v1::FindJourneysRequest>,
    ) -> Result<Response<v1::FindJourneysResponse>, Status> {
        let (question, trail) = (self.context.question(&request), Trail::of(request.extensions()));
        let work = self.journeys(question, request.into_inner());
        self.context.admission.serve("FindJourneys", trail, work).await
    }

    async fn get_track(&self, request: Request<v1::GetTrackRequest>) -> Result<Response<v1::GetTrackResponse>, Status> {
        let (question, trail) = (self.context.question(&request), Trail::of(request.extensions()));
        self.context.admission.serve("GetTrack", trail, self.track(question, request.into_inner())).await
    }

    async fn get_presence(
        &self,
        request: Request<v1::GetPresenceRequest>,
    ) -> Result<Response<v1::GetPresenceResponse>, Status> {
        let (question, trail) = (self.context.question(&request), Trail::of(request.extensions()));
        self.context.admission.serve("GetPresence", trail, self.presence(question, request.into_inner())).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vigil_base::CameraId;
    use vigil_proto::convert::PlatePattern;

    use super::*;

    fn sighting(region: &str, second: i64) -> Sighting {
        let begin_time = Timestamp::from_micros((1_700_000_000 + second) * 1_000_000);
        Sighting {
            event: EventId::at(begin_time),
            region: RegionId::new(region).unwrap(),
            camera: CameraId::new("gate").unwrap(),
            begin_time,
            end_time: begin_time,
            plate: "BAB12".to_owned(),
            confidence: 0.5,
            location: None,
        }
    }

    #[test]
    fn an_answer_is_about_the_time_that_all_looked_at() {
        let asked = JourneyQuestion {
            filter: Filter { plate: Some(PlatePattern::ANY), ..Filter::default() },
            span: Duration::from_secs(60),
            min_cameras: 2,
            max_journeys: 10,
            sightings_alone: false,
        };
        let north = || vec![sighting("north", 0), sighting("north", 500)];
        let south = || vec![sighting("south", 10), sighting("south", 520)];
        let whole = merge(&asked, vec![(north(), None, Freshness::default()), (south(), None, Freshness::default())]);
        assert_eq!((whole.journeys.len(), whole.looked_from), (2, None));
        assert_eq!(whole.journeys[0].sightings[1].region_id, "south");
        let cut = Some(sighting("north", 5).begin_time);
        let part = merge(&asked, vec![(north(), cut, Freshness::default()), (south(), None, Freshness::default())]);
        assert_eq!((part.journeys.len(), part.looked_from), (1, cut.map(time_to_wire)));
    }
}
