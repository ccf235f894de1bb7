//! `EventQueryService`: questions about the past, answered from the index.

use std::sync::Arc;
use std::time::Duration;

use tonic::{Request, Response, Status, async_trait};
use vigil_base::{EventId, Timestamp};
use vigil_proto::convert::{Filter, filter_from_wire, required_time, time_to_wire};
use vigil_proto::v1;
use vigil_proto::v1::event_query_service_server::{EventQueryService, EventQueryServiceServer};
use vigil_serve::grpc::MAX_MESSAGE_BYTES;
use vigil_serve::{ErrorCode, ServiceError, Trail};

use crate::context::Context;
use crate::guard::{Found, Guard, Guest, Pass, Question};
use crate::index::types::{begin_range, event_of_thumbnail};
use crate::index::{CountGroup, CountQuery, GroupKey, Position, SearchQuery, UnreadablePart};
use crate::tokens::FilterHash;

/// Events on a page when the request does not say.
const DEFAULT_PAGE: usize = 50;
/// Most events on a page.
const MAX_PAGE: usize = 1_000;
/// Longest time of a count.
const MAX_COUNT_SPAN: Duration = Duration::from_hours(366 * 24);
/// When an event may be asked for again that lies in a part of the index which cannot be read: people have to act first.
const RETRY_UNREADABLE: Duration = Duration::from_mins(1);
/// When an event may be asked for again that a replica does not have: its copy follows within a second or two.
const RETRY_REPLICA: Duration = Duration::from_secs(2);
/// Most groups in an answer.
const MAX_GROUPS: usize = 100_000;

/// The service.
pub(crate) struct QueryService {
    context: Arc<Context>,
}

impl QueryService {
    pub(crate) fn server(context: Arc<Context>) -> EventQueryServiceServer<Self> {
        EventQueryServiceServer::new(Self { context })
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }
}

#[async_trait]
impl EventQueryService for QueryService {
    async fn search(&self, request: Request<v1::SearchRequest>) -> Result<Response<v1::SearchResponse>, Status> {
        let (trail, pass) = (Trail::of(request.extensions()), self.pass(&request));
        Ok(trail.hand_out(self.search(&pass, request.into_inner()).await?))
    }

    async fn get_event(&self, request: Request<v1::GetEventRequest>) -> Result<Response<v1::GetEventResponse>, Status> {
        let (trail, pass) = (Trail::of(request.extensions()), self.pass(&request));
        Ok(trail.hand_out(self.event(&pass, request.into_inner()).await?))
    }

    async fn aggregate(
        &self,
        request: Request<v1::AggregateRequest>,
    ) -> Result<Response<v1::AggregateResponse>, Status> {
        let (trail, pass) = (Trail::of(request.extensions()), self.pass(&request));
        Ok(trail.hand_out(self.aggregate(&pass, request.into_inner()).await?))
    }

    async fn get_thumbnail(
        &self,
        request: Request<v1::GetThumbnailRequest>,
    ) -> Result<Response<v1::GetThumbnailResponse>, Status> {
        let (trail, pass) = (Trail::of(request.extensions()), self.pass(&request));
        Ok(trail.hand_out(self.thumbnail(&pass, request.into_inner()).await?))
    }
}

impl QueryService {
    fn pass<T>(&self, request: &Request<T>) -> Pass {
        self.context.guard.admit(&Guest::of(request.extensions()))
    }

    async fn search(&self, pass: &Pass, request: v1::SearchRequest) -> Result<v1::SearchResponse, ServiceError> {
        let started = self.context.clock.monotonic();
        let filter = checked_filter(request.filter.clone())?;
        let max_events = page_size(request.page_size, DEFAULT_PAGE, MAX_PAGE)?;
        let hash = FilterHash::of(&filter);
        let after = self.start(&request, &hash)?;
        if !self.context.is_asked(&filter) {
            return Ok(v1::SearchResponse { regions: vec![self.context.report(started)], ..Default::default() });
        }
        let query = SearchQuery { filter: filter.clone(), after, max_events };
        let page = self.context.guard.search(pass, query).await.map_err(|e| self.context.failure("searching", &e))?;
        let report = self.context.report_about(started, &filter, pass, &Question::search(&filter));
        self.context.telemetry.searched(self.context.clock.monotonic().saturating_sub(started));
        Ok(v1::SearchResponse {
            events: page.events,
            next_page_token: page.next.map(|next| self.context.tokens.search_page(&hash, next)).unwrap_or_default(),
            next_after: page.next.map(position_to_wire),
            regions: vec![report],
        })
    }

    /// Where the search begins: at the place of a token or at a named place, not both.
    fn start(&self, request: &v1::SearchRequest, hash: &FilterHash) -> Result<Option<Position>, ServiceError> {
        match &request.after {
            None => self.context.tokens.open_search_page(&request.page_token, hash),
            Some(after) if request.page_token.is_empty() => Ok(Some(position_from_wire(after)?)),
            Some(_) => Err(ServiceError::field("after", "must not be given together with page_token")),
        }
    }

    async fn event(&self, pass: &Pass, request: v1::GetEventRequest) -> Result<v1::GetEventResponse, ServiceError> {
        let started = self.context.clock.monotonic();
        self.context.check_named(&request.region_id)?;
        let id: EventId = request.event_id.parse().map_err(|e| ServiceError::field("event_id", e))?;
        let found = self.context.guard.event(pass, id).await;
        match found.map_err(|e| self.context.failure("reading an event", &e))? {
            Found::Given(event) => {
                Ok(v1::GetEventResponse { event: Some(event), regions: vec![self.context.report(started)] })
            }
            Found::Withheld => Err(Guard::withheld(pass, &format!("event {id}"))),
            Found::Missing => Err(not_found(&self.context, id)),
        }
    }

    async fn aggregate(
        &self,
        pass: &Pass,
        request: v1::AggregateRequest,
    ) -> Result<v1::AggregateResponse, ServiceError> {
        let started = self.context.clock.monotonic();
        let group_by = group_keys(&request.group_by)?;
        let filter = checked_filter(request.filter)?;
        check_count_span(&filter)?;
        if !self.context.is_asked(&filter) {
            return Ok(v1::AggregateResponse { regions: vec![self.context.report(started)], ..Default::default() });
        }
        let by_region = group_by.contains(&v1::GroupBy::Region);
        let keys = group_by.into_iter().filter_map(index_key).collect();
        let query = CountQuery { filter: filter.clone(), group_by: keys, max_groups: MAX_GROUPS };
        let counts = self.context.guard.count(pass, query).await;
        let counts = counts.map_err(|e| self.context.failure("counting events", &e))?;
        self.context.telemetry.counted(self.context.clock.monotonic().saturating_sub(started));
        let region = if by_region { self.context.region.as_str() } else { "" };
        Ok(v1::AggregateResponse {
            groups: counts.groups.into_iter().map(|group| group_to_wire(group, region)).collect(),
            truncated: counts.truncated,
            regions: vec![self.context.report_about(started, &filter, pass, &Question::count(&filter))],
        })
    }

    async fn thumbnail(
        &self,
        pass: &Pass,
        request: v1::GetThumbnailRequest,
    ) -> Result<v1::GetThumbnailResponse, ServiceError> {
        self.context.check_named(&request.region_id)?;
        let id = event_of_thumbnail(&request.thumbnail_key)
            .ok_or_else(|| ServiceError::field("thumbnail_key", "is not a key of this region"))?;
        let jpeg = self.context.guard.thumbnail(pass, id).await;
        match jpeg.map_err(|e| self.context.failure("reading a thumbnail", &e))? {
            Found::Given(jpeg) => Ok(v1::GetThumbnailResponse { jpeg }),
            Found::Withheld => Err(Guard::withheld(pass, &format!("the thumbnail of event {id}"))),
            Found::Missing => Err(ServiceError::new(ErrorCode::NotFound, format!("event {id} has no thumbnail here"))),
        }
    }
}

/// The index does not have the event, as far as it can be read.
pub(crate) fn not_found(context: &Context, id: EventId) -> ServiceError {
    let region = &context.region;
    let begin = Timestamp::from_micros(begin_range(id).0);
    let holds = |part: &UnreadablePart| (part.from..part.until).contains(&begin);
    match context.guard.unreadable().into_iter().find(holds) {
        Some(part) => ServiceError::unavailable(
            format!("region {region} cannot read the part of its index that would hold event {id}: {}", part.problem),
            RETRY_UNREADABLE,
        ),
        // Its copy may be behind: only the region can say that there is none.
        None if context.is_replica => ServiceError::unavailable(
            format!("this replica of region {region} does not have event {id}; ask the region itself"),
            RETRY_REPLICA,
        ),
        None => ServiceError::new(ErrorCode::NotFound, format!("region {region} has no event {id}")),
    }
}

/// The filter of a request, with its path in errors.
pub(crate) fn checked_filter(wire: Option<v1::EventFilter>) -> Result<Filter, ServiceError> {
    Ok(filter_from_wire(wire).map_err(|error| error.within("filter"))?)
}

/// The size of a page: 0 is the default, above the maximum is the maximum.
pub(crate) fn page_size(asked: i32, default: usize, most: usize) -> Result<usize, ServiceError> {
    match usize::try_from(asked) {
        Err(_) => Err(ServiceError::field("page_size", format!("is {asked}; must not be negative"))),
        Ok(0) => Ok(default),
        Ok(size) => Ok(size.min(most)),
    }
}

fn position_from_wire(key: &v1::SearchKey) -> Result<Position, ServiceError> {
    let begin_time = required_time("after.begin_time", key.begin_time)?;
    let event_id = uuid::Uuid::try_parse(&key.event_id);
    let event_id = event_id.map_err(|_| ServiceError::field("after.event_id", "is not a UUID"))?;
    Ok(Position { begin_time, event_id: event_id.into_bytes() })
}

fn position_to_wire(position: Position) -> v1::SearchKey {
    let event_id = uuid::Uuid::from_bytes(position.event_id).to_string();
    v1::SearchKey { begin_time: Some(time_to_wire(position.begin_time)), event_id }
}

fn group_keys(wire: &[i32]) -> Result<Vec<v1::GroupBy>, ServiceError> {
    if wire.is_empty() {
        return Err(ServiceError::field("group_by", "needs at least one field"));
    }
    let mut keys = Vec::new();
    for number in wire {
        match v1::GroupBy::try_from(*number) {
            Err(_) | Ok(v1::GroupBy::Unspecified) => {
                return Err(ServiceError::field("group_by", format!("{number} is not a field to group by")));
            }
            Ok(key) if keys.contains(&key) => {}
            Ok(key) => keys.push(key),
        }
    }
    Ok(keys)
}

/// What the index groups by; the region is the same for all it has.
fn index_key(key: v1::GroupBy) -> Option<GroupKey> {
    match key {
        v1::GroupBy::Hour => Some(GroupKey::Hour),
        v1::GroupBy::Class => Some(GroupKey::Class),
        v1::GroupBy::Camera => Some(GroupKey::Camera),
        v1::GroupBy::Zone => Some(GroupKey::Zone),
        v1::GroupBy::Region | v1::GroupBy::Unspecified => None,
    }
}

fn check_count_span(filter: &Filter) -> Result<(), ServiceError> {
    let from = filter.from.ok_or_else(|| ServiceError::field("filter.from", "is required"))?;
    let until = filter.until.ok_or_else(|| ServiceError::field("filter.until", "is required"))?;
    if until.since(from) > MAX_COUNT_SPAN {
        return Err(ServiceError::field("filter.until", "must be at most 366 days after filter.from"));
    }
    Ok(())
}

fn group_to_wire(group: CountGroup, region: &str) -> v1::AggregateGroup {
    v1::AggregateGroup {
        hour: group.hour.map(time_to_wire),
        object_class: group.class.unwrap_or_default(),
        camera_id: group.camera.unwrap_or_default(),
        zone_id: group.zone.unwrap_or_default(),
        region_id: region.to_owned(),
        count: group.events,
    }
}
