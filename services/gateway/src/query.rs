//! `EventQueryService` over all regions.

use std::sync::Arc;
use std::time::Duration;

use tonic::{Code, Request, Response, Status};
use vigil_base::EventId;
use vigil_proto::v1;
use vigil_proto::v1::event_query_service_client::EventQueryServiceClient;
use vigil_proto::v1::event_query_service_server::EventQueryService;
use vigil_serve::error::is_withheld;
use vigil_serve::grpc::MAX_MESSAGE_BYTES;
use vigil_serve::{ErrorCode, ServiceError, Trail};

use crate::deadline::Question;
use crate::federation::Context;
use crate::link::RegionLink;
use crate::report::{Failure, Freshness, other_region};
use crate::scatter::{Part, Scatter};
use crate::{aggregate, search};

/// When an event that could not be looked for everywhere may be asked for again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Failed regions that an error message names.
const MAX_NAMED: usize = 10;
/// Longest thumbnail key that is passed on, bytes.
const MAX_THUMBNAIL_KEY: usize = 128;

/// Questions about the past.
pub(crate) struct Query {
    context: Context,
}

impl Query {
    pub(crate) fn new(context: Context) -> Self {
        Self { context }
    }

    async fn thumbnail(
        &self,
        question: Question,
        request: v1::GetThumbnailRequest,
    ) -> Result<v1::GetThumbnailResponse, Status> {
        let link = self.context.federation.route(&request.region_id, "region_id")?;
        if request.thumbnail_key.is_empty() || request.thumbnail_key.len() > MAX_THUMBNAIL_KEY {
            let problem = format!("must be 1 to {MAX_THUMBNAIL_KEY} bytes long");
            return Err(ServiceError::field("thumbnail_key", problem).into());
        }
        let send = async |channel, request| {
            let mut client = EventQueryServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
            client.get_thumbnail(request).await
        };
        link.read(&question, request, send, Ok).await.map_err(|failure| failure.into_status(link.id()))
    }
}

/// One event, from whichever region has it.
pub(crate) async fn find_event(
    context: &Context,
    question: &Question,
    request: v1::GetEventRequest,
) -> Result<v1::GetEventResponse, Status> {
    let id: EventId = request.event_id.parse().map_err(|error| ServiceError::field("event_id", error))?;
    let links = context.federation.route_or_all(&request.region_id, "region_id")?;
    let ask = |link| ask_event(link, question.clone(), id);
    let (event, regions) = first_found(context, &links, id, ask).await?;
    Ok(v1::GetEventResponse { event: Some(event), regions })
}

/// What one region has about an event; none when it says that it does not have the event.
type Found<T> = (Option<T>, Freshness);

/// What the first region says that has the event, and the reports of those that were heard until then.
pub(crate) async fn first_found<T, A, F>(
    context: &Context,
    links: &[Arc<RegionLink>],
    id: EventId,
    ask: A,
) -> Result<(T, Vec<v1::RegionReport>), Status>
where
    T: Send + 'static,
    A: Fn(Arc<RegionLink>) -> F,
    F: Future<Output = Result<Found<T>, Failure>> + Send + 'static,
{
    let mut asked = Scatter::new(&context.clock, links, |_, link| ask(link));
    let mut heard = Vec::with_capacity(links.len());
    while let Some((_, mut part)) = asked.next().await {
        let found = part.result.as_mut().ok().and_then(|(found, _)| found.take());
        heard.push(part);
        if let Some(found) = found {
            return Ok((found, reports(&heard)));
        }
    }
    Err(not_found(id, heard))
}

async fn ask_event(link: Arc<RegionLink>, question: Question, id: EventId) -> Result<Found<v1::Event>, Failure> {
    let request = v1::GetEventRequest { event_id: id.to_string(), region_id: link.id().to_string() };
    let send = async |channel, request| {
        let mut client = EventQueryServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        match client.get_event(request).await {
            // That it is not there is an answer.
            Err(status) if status.code() == Code::NotFound => Ok(Response::new(v1::GetEventResponse::default())),
            other => other,
        }
    };
    let accept = |answer: v1::GetEventResponse| {
        let Some(event) = answer.event else { return Ok((None, Freshness::default())) };
        let fresh = Freshness::of(link.id(), &answer.regions)?;
        if event.region_id != link.id().as_str() {
            return Err(other_region(link.id(), &event.region_id));
        }
        if event.event_id != id.to_string() {
            return Err(Failure::Wrong(format!("answered another event than {id}")));
        }
        Ok((Some(event), fresh))
    };
    link.read(&question, request, send, accept).await
}

fn reports<T>(heard: &[Part<Found<T>>]) -> Vec<v1::RegionReport> {
    let mut reports: Vec<_> = heard.iter().map(|part| part.report(|(_, fresh)| fresh.clone())).collect();
    reports.sort_by(|a, b| a.region_id.cmp(&b.region_id));
    reports
}

/// Not there, or not known: only when every region that was asked has answered may it be said that there is none.
fn not_found<T>(id: EventId, mut heard: Vec<Part<Found<T>>>) -> Status {
    if heard.iter().all(|part| part.result.is_ok()) {
        return ServiceError::new(ErrorCode::NotFound, format!("no region that was asked has event {id}")).into();
    }
    if heard.len() == 1
        && let Some(Part { link, result: Err(failure), .. }) = heard.pop()
    {
        return failure.into_status(link.id());
    }
    heard.sort_by(|a, b| a.link.id().cmp(b.link.id()));
    let withholds = |part: &Part<Found<T>>| matches!(&part.result, Err(Failure::Denied(status)) if is_withheld(status));
    if let Some(at) = heard.iter().position(withholds)
        && let Part { link, result: Err(failure), .. } = heard.swap_remove(at)
    {
        // It has the event, so that the others cannot.
        return failure.into_status(link.id());
    }
    let silent = heard.iter().filter_map(|part| Some((part.link.id(), part.result.as_ref().err()?)));
    let named: Vec<_> = silent.take(MAX_NAMED).map(|(id, failure)| format!("{id} {}", failure.detail())).collect();
    let failed = heard.iter().filter(|part| part.result.is_err()).count();
    let message = format!(
        "event {id} is in none of the {} regions that answered; {failed} did not: {}",
        heard.len() - failed,
        named.join("; ")
    );
    ServiceError::unavailable(message, RETRY_AFTER).into()
}

#[tonic::async_trait]
impl EventQueryService for Query {
    async fn search(&self, request: Request<v1::SearchRequest>) -> Result<Response<v1::SearchResponse>, Status> {
        let (question, trail) = (self.context.question(&request), Trail::of(request.extensions()));
        let work = async { Ok(search::search(&self.context, &question, request.into_inner()).await?) };
        self.context.admission.serve("Search", trail, work).await
    }

    async fn get_event(&self, request: Request<v1::GetEventRequest>) -> Result<Response<v1::GetEventResponse>, Status> {
        let (question, trail) = (self.context.question(&request), Trail::of(request.extensions()));
        let work = find_event(&self.context, &question, request.into_inner());
        self.context.admission.serve("GetEvent", trail, work).await
    }

    async fn aggregate(
        &self,
        request: Request<v1::AggregateRequest>,
    ) -> Result<Response<v1::AggregateResponse>, Status> {
        let (question, trail) = (self.context.question(&request), Trail::of(request.extensions()));
        let work = async { Ok(aggregate::aggregate(&self.context, &question, request.into_inner()).await?) };
        self.context.admission.serve("Aggregate", trail, work).await
    }

    async fn get_thumbnail(
        &self,
        request: Request<v1::GetThumbnailRequest>,
    ) -> Result<Response<v1::GetThumbnailResponse>, Status> {
        let (question, trail) = (self.context.question(&request), Trail::of(request.extensions()));
        let work = self.thumbnail(question, request.into_inner());
        self.context.admission.serve("GetThumbnail", trail, work).await
    }
}
