//! Search over regions: ask each from its own place, merge, hand out one page and the places it leaves.
//!
//! Order: newest first within a page, and over pages as long as every region answers. A region that failed keeps its
//! place; when it answers on a later page, its events come then, though they may be newer than those of pages before.
//! Over all pages each event comes exactly once. The regions are those of the first page: one that is configured later
//! joins the next search, one that is no longer configured is reported as failed and keeps its place.

mod merge;
#[cfg(test)]
mod model;
mod place;

use std::sync::Arc;
use std::time::Duration;

use vigil_base::RegionId;
use vigil_proto::convert::{Filter, filter_from_wire, filter_to_wire};
use vigil_proto::v1;
use vigil_proto::v1::event_query_service_client::EventQueryServiceClient;
use vigil_serve::ServiceError;
use vigil_serve::grpc::MAX_MESSAGE_BYTES;

use crate::deadline::Question;
use crate::federation::Context;
use crate::link::RegionLink;
use crate::report::{Failure, Freshness, other_region, report};
use crate::scatter::Scatter;
use merge::{Merge, RegionPage};
use place::{EventKey, Places};

/// Events on a page when the caller does not say.
const DEFAULT_PAGE: usize = 50;
/// Most events on a page.
const MAX_PAGE: usize = 1_000;
/// Events asked for at a time, over all regions: some 4 MB, of which all but a page are thrown away. Up to 40 regions, with
/// the usual page, each is asked for a whole page and never twice; beyond, each for its share, and those that run dry again.
const MAX_ASKED: usize = 2_000;
/// Least a region is asked for: among a hundred equally busy ones none has more of the 50 newest events.
const MIN_ASKED: usize = 20;
/// A region with no more events than this waiting is asked again together with one that ran dry: it would be next.
const SOON_DRY: usize = MIN_ASKED / 2;
/// Times that dry regions are asked again for one page; then the page is handed out shorter.
const MAX_REFILLS: usize = 3;
/// With less time than this left, a region is not asked again for this page.
const MIN_REFILL_TIME: Duration = Duration::from_millis(20);

/// What one region is asked for.
#[derive(Debug, Clone)]
struct Ask {
    region: RegionId,
    after: Option<EventKey>,
    count: usize,
}

/// A region's part of the first round: none when it failed.
type FirstPart = (RegionId, Option<EventKey>, Option<RegionPage>);

/// Answers a search.
pub(crate) async fn search(
    context: &Context,
    question: &Question,
    request: v1::SearchRequest,
) -> Result<v1::SearchResponse, ServiceError> {
    let filter = filter_from_wire(request.filter).map_err(|error| error.within("filter"))?;
    let page_size = page_size(request.page_size)?;
    let now = context.clock.now();
    let places = match (request.page_token.as_str(), &request.after) {
        ("", after) => begin(context, &filter, after.as_ref())?,
        (token, None) => Places::open(token, &filter, &context.key, now)?,
        (_, Some(_)) => return Err(ServiceError::field("after", "cannot be given together with page_token")),
    };
    let (first, regions) = first_round(context, question, &filter, places, page_size).await;
    let refill = |asks| ask_again(context, question, &filter, asks);
    let (events, places) = fill_page(first, page_size, refill).await;
    let next_page_token = places.seal(&filter, &context.key, now);
    Ok(v1::SearchResponse { events, next_page_token, regions, next_after: None })
}

fn begin(context: &Context, filter: &Filter, after: Option<&v1::SearchKey>) -> Result<Places, ServiceError> {
    let after = after.map(EventKey::from_wire).transpose().map_err(|error| error.within("after"))?;
    let links = context.federation.select(&filter.regions, "filter.region_ids")?;
    Ok(Places::begin(links.iter().map(|link| link.id().clone()), after))
}

fn page_size(asked: i32) -> Result<usize, ServiceError> {
    match usize::try_from(asked) {
        Ok(0) => Ok(DEFAULT_PAGE),
        Ok(size) => Ok(size.min(MAX_PAGE)),
        Err(_) => Err(ServiceError::field("page_size", format!("{asked} is negative"))),
    }
}

/// How much each of `regions` is asked for when `room` events are wanted in all.
fn ask_size(room: usize, regions: usize) -> usize {
    (MAX_ASKED / regions.max(1)).max(MIN_ASKED).min(room)
}

async fn first_round(
    context: &Context,
    question: &Question,
    filter: &Filter,
    places: Places,
    page_size: usize,
) -> (Vec<FirstPart>, Vec<v1::RegionReport>) {
    let count = ask_size(page_size, places.0.len());
    let (mut known, mut first, mut reports) = (Vec::new(), Vec::new(), Vec::new());
    for (region, after) in places.0 {
        if let Some(link) = context.federation.find(&region) {
            known.push((link, Ask { region, after, count }));
        } else {
            reports.push(report(&region, Err(&Failure::NotConfigured), Duration::ZERO));
            first.push((region, after, None));
        }
    }
    let asks: Vec<Ask> = known.iter().map(|(_, ask)| ask.clone()).collect();
    let links: Vec<_> = known.into_iter().map(|(link, _)| link).collect();
    for (part, ask) in scatter(context, question, filter, &links, &asks).all().await.into_iter().zip(asks) {
        reports.push(part.report(|(_, fresh)| fresh.clone()));
        first.push((ask.region, ask.after, part.result.ok().map(|(page, _)| page)));
    }
    reports.sort_by(|a, b| a.region_id.cmp(&b.region_id));
    (first, reports)
}

/// Asks dry regions for more; nothing where time is too short, or the region does not answer or is no longer configured.
async fn ask_again(context: &Context, question: &Question, filter: &Filter, asks: Vec<Ask>) -> Vec<Option<RegionPage>> {
    let mut pages: Vec<Option<RegionPage>> = asks.iter().map(|_| None).collect();
    if question.remaining(context.clock.monotonic()) < MIN_REFILL_TIME {
        return pages;
    }
    let found = asks.iter().enumerate().filter_map(|(i, ask)| Some((i, context.federation.find(&ask.region)?)));
    let (at, links): (Vec<_>, Vec<_>) = found.unzip();
    let sent: Vec<_> = at.iter().map(|&i| asks[i].clone()).collect();
    for (i, part) in at.into_iter().zip(scatter(context, question, filter, &links, &sent).all().await) {
        pages[i] = part.result.ok().map(|(page, _)| page);
    }
    pages
}

fn scatter(
    context: &Context,
    question: &Question,
    filter: &Filter,
    links: &[Arc<RegionLink>],
    asks: &[Ask],
) -> Scatter<(RegionPage, Freshness)> {
    Scatter::new(&context.clock, links, |i, link| {
        ask_region(link, question.clone(), region_request(filter, &asks[i]), asks[i].clone())
    })
}

/// The question as it goes to one region: in its name alone, so that another region at its address finds nothing.
fn region_request(filter: &Filter, ask: &Ask) -> v1::SearchRequest {
    let filter = Filter { regions: vec![ask.region.clone()], ..filter.clone() };
    v1::SearchRequest {
        filter: Some(filter_to_wire(&filter)),
        page_size: i32::try_from(ask.count).unwrap_or(i32::MAX),
        page_token: String::new(),
        after: ask.after.map(EventKey::to_wire),
    }
}

async fn ask_region(
    link: Arc<RegionLink>,
    question: Question,
    request: v1::SearchRequest,
    ask: Ask,
) -> Result<(RegionPage, Freshness), Failure> {
    let send = async |channel, request| {
        let mut client = EventQueryServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        client.search(request).await
    };
    link.read(&question, request, send, |answer| check(&ask, answer)).await
}

/// Takes a region's page when it is what the merge relies on: of that region, no longer than asked, strictly newest
/// first, after the place that was asked for, and further on than it even when it is empty.
fn check(ask: &Ask, answer: v1::SearchResponse) -> Result<(RegionPage, Freshness), Failure> {
    let fresh = Freshness::of(&ask.region, &answer.regions)?;
    if answer.events.len() > ask.count {
        return Err(Failure::Wrong(format!("answered {} events where {} were asked", answer.events.len(), ask.count)));
    }
    let mut last = ask.after;
    let mut events = Vec::with_capacity(answer.events.len());
    for event in answer.events {
        if event.region_id != ask.region.as_str() {
            return Err(other_region(&ask.region, &event.region_id));
        }
        let key = EventKey::of(&event).map_err(|error| Failure::Wrong(format!("answered an event whose {error}")))?;
        if last.is_some_and(|last| key >= last) {
            return Err(Failure::Wrong(format!("answered out of order at event {}", key.id)));
        }
        last = Some(key);
        events.push((key, event));
    }
    let end = match (answer.next_page_token.is_empty(), answer.next_after) {
        (true, _) => None,
        (false, Some(place)) => Some(end_of_page(ask, last, &place)?),
        (false, None) if events.is_empty() => {
            return Err(Failure::Wrong("answered an empty page, and there is more but not where".to_owned()));
        }
        (false, None) => last,
    };
    Ok((RegionPage { events, end }, fresh))
}

fn end_of_page(ask: &Ask, last: Option<EventKey>, place: &v1::SearchKey) -> Result<EventKey, Failure> {
    let end =
        EventKey::from_wire(place).map_err(|error| Failure::Wrong(format!("answered a next_after whose {error}")))?;
    // At the last event is far enough; at the place that was asked for is not.
    if last.is_some_and(|last| end > last) || ask.after.is_some_and(|after| end >= after) {
        return Err(Failure::Wrong("answered a page that goes on before its own end".to_owned()));
    }
    Ok(end)
}

/// Merges the first round and, while the page has room and regions run dry, what `refill` brings; then says where that
/// leaves each region. `refill` answers in the order of what it is asked.
async fn fill_page<R, F>(first: Vec<FirstPart>, page_size: usize, refill: R) -> (Vec<v1::Event>, Places)
where
    R: Fn(Vec<Ask>) -> F,
    F: Future<Output = Vec<Option<RegionPage>>>,
{
    let mut merge = Merge::new(page_size);
    for (region, place, page) in first {
        match page {
            Some(page) => merge.add(region, place, page),
            None => merge.add_failed(region, place),
        }
    }
    let mut complete = merge.advance();
    for _ in 0..MAX_REFILLS {
        if complete {
            break;
        }
        let short = merge.short(SOON_DRY);
        let count = ask_size(merge.room(), short.len());
        let asks =
            short.iter().map(|(_, region, after)| Ask { region: region.clone(), after: *after, count }).collect();
        for ((source, ..), page) in short.iter().zip(refill(asks).await) {
            if let Some(page) = page {
                merge.refill(*source, page);
            }
        }
        complete = merge.advance();
    }
    merge.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_regions_are_asked_for_a_whole_page_and_many_for_their_share() {
        assert_eq!(ask_size(50, 40), 50);
        assert_eq!(ask_size(1_000, 2), 1_000);
        assert_eq!(ask_size(1_000, 10), 200);
        assert_eq!(ask_size(50, 500), MIN_ASKED);
        assert_eq!(ask_size(3, 500), 3);
    }

    #[test]
    fn page_sizes_are_clamped_and_negative_ones_refused() {
        assert_eq!(page_size(0), Ok(DEFAULT_PAGE));
        assert_eq!(page_size(7), Ok(7));
        assert_eq!(page_size(i32::MAX), Ok(MAX_PAGE));
        assert_eq!(page_size(-1).unwrap_err().field.as_deref(), Some("page_size"));
    }

    mod checked {
        use vigil_base::{EventId, Timestamp};
        use vigil_proto::convert::time_to_wire;

        use super::*;

        fn event(region: &str, second: i64) -> v1::Event {
            let begin = Timestamp::from_micros(second * 1_000_000);
            v1::Event {
                event_id: EventId::at(begin).to_string(),
                region_id: region.into(),
                begin_time: Some(time_to_wire(begin)),
                ..v1::Event::default()
            }
        }

        fn answer(events: Vec<v1::Event>, token: &str) -> v1::SearchResponse {
            let own = v1::RegionReport { region_id: "north".into(), ..Default::default() };
            v1::SearchResponse { events, next_page_token: token.into(), regions: vec![own], next_after: None }
        }

        fn problem(answer: v1::SearchResponse, after: Option<&v1::Event>) -> String {
            let after = after.map(|event| EventKey::of(event).unwrap());
            let ask = Ask { region: RegionId::new("north").unwrap(), after, count: 2 };
            match check(&ask, answer) {
                Ok(_) => String::new(),
                Err(failure) => failure.detail(),
            }
        }

        #[test]
        fn what_the_merge_relies_on_is_checked() {
            let (newer, older) = (event("north", 9), event("north", 8));
            assert_eq!(problem(answer(vec![newer.clone(), older.clone()], "more"), None), "");
            assert_eq!(problem(answer(vec![], ""), None), "");
            let goes_on_at = |events, place: &v1::Event| {
                let key = EventKey::of(place).unwrap().to_wire();
                v1::SearchResponse { next_after: Some(key), ..answer(events, "more") }
            };
            assert_eq!(problem(goes_on_at(vec![newer.clone()], &newer), None), "");
            assert_eq!(problem(goes_on_at(vec![newer.clone()], &older), None), "");
            assert_eq!(problem(goes_on_at(vec![], &older), Some(&newer)), "");
            let cases = [
                (answer(vec![older.clone(), newer.clone()], ""), None, "out of order"),
                (answer(vec![newer.clone(), newer.clone()], ""), None, "out of order"),
                (answer(vec![newer.clone()], ""), Some(&newer), "out of order"),
                (answer(vec![newer.clone(), older.clone(), event("north", 7)], ""), None, "3 events where 2"),
                (answer(vec![], "more"), None, "empty page"),
                (goes_on_at(vec![older.clone()], &newer), None, "before its own end"),
                (goes_on_at(vec![], &newer), Some(&newer), "before its own end"),
                (answer(vec![event("south", 9)], ""), None, "\"south\""),
                (answer(vec![v1::Event { event_id: "x".into(), ..newer.clone() }], ""), None, "event_id"),
                (answer(vec![v1::Event { begin_time: None, ..newer.clone() }], ""), None, "begin_time"),
                (v1::SearchResponse { events: vec![newer.clone()], ..Default::default() }, None, "0 reports"),
            ];
            for (answer, after, expected) in cases {
                let shown = problem(answer, after);
                assert!(shown.contains(expected), "{expected}: {shown}");
            }
        }
    }
}
