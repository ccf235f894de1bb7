//! An operator who searches all regions, page by page, while the storm goes on; and the searches by which the end is counted.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::SmallRng;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use vigil_base::EventId;
use vigil_proto::convert::{required_time, time_to_wire};
use vigil_proto::v1;
use vigil_proto::v1::event_query_service_client::EventQueryServiceClient;

use crate::client;
use crate::clock::EPOCH;
use crate::edge::CLASSES;
use crate::truth::Truth;

/// How long one answer is waited for; a gateway takes two seconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// Wait before a page is asked for again, as one that lacked a region is.
const RETRY: Duration = Duration::from_millis(800);
/// Pages after which a search is given up: regions are away for long.
const MAX_PAGES: u32 = 200;
/// Events of a page when the end is counted: all there are fit into those pages, many times over.
const COUNTED_PAGE: i32 = 50;
/// Longest wait between two searches.
const MAX_PAUSE_MS: u64 = 4_000;
/// After a region was put back, its answers may still be about what it had before, for so many seconds.
const OLD_HISTORY: f64 = 30.0;

/// More than any storm lasts, and any clock is wrong.
const A_DAY: Duration = Duration::from_hours(24);
/// No answer that arrives was given longer ago, in seconds.
const UNDER_WAY: f64 = 10.0;

/// What an operator works with.
pub(crate) struct Operator {
    pub(crate) name: String,
    pub(crate) gateways: Vec<String>,
    pub(crate) regions: Vec<String>,
    pub(crate) truth: Arc<Truth>,
    pub(crate) rng: Mutex<SmallRng>,
    /// From now on the end is counted, and no search is begun any more.
    pub(crate) calm: CancellationToken,
    /// The end was counted.
    pub(crate) done: CancellationToken,
}

impl Operator {
    /// Searches until it is calm; then, when all has arrived, counts.
    pub(crate) async fn run(self: Arc<Self>) -> turmoil::Result {
        while !self.calm.is_cancelled() {
            let pause = self.rng.lock().random_range(0..MAX_PAUSE_MS);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            self.search_in_the_storm().await;
        }
        for servers in [self.gateways.clone()].into_iter().chain(self.regions.iter().map(|region| vec![region.clone()]))
        {
            self.count(&servers).await;
        }
        self.done.cancel();
        std::future::pending().await
    }

    /// A search that comes to its end holds all that the indexes held when it began.
    async fn search_in_the_storm(&self) {
        let class = self.rng.lock().random_bool(0.3).then_some(CLASSES[0]);
        let page_size = self.rng.lock().random_range(3..60);
        let (before, restores) = (self.truth.held(class), self.truth.all_restores());
        let Some(found) = self.pages(&self.gateways, &self.regions, class, page_size).await else {
            return self.truth.note("search-given-up", &self.name);
        };
        self.truth.note("searched", format_args!("{} {}", self.name, found.len()));
        if self.truth.all_restores() > restores || self.regions.iter().any(|r| self.truth.restores(r, OLD_HISTORY).1) {
            return;
        }
        if let Some(lost) = before.iter().find(|id| !found.contains_key(id)) {
            self.truth
                .violated(format_args!("a search that came to its end lacks {lost}, which was there before it began"));
        }
    }

    /// All is well: each event that was made is found once, at its newest revision, and nothing else.
    async fn count(&self, servers: &[String]) {
        let expected: BTreeMap<EventId, u32> = {
            let all = self.truth.all();
            let is_here = |region: &String| servers.contains(region) || servers == self.gateways;
            all.into_iter().filter(|(_, made)| is_here(&made.region)).map(|(id, made)| (id, made.newest())).collect()
        };
        let reports: &[String] = if servers == self.gateways { &self.regions } else { servers };
        let Some(found) = self.pages(servers, reports, None, COUNTED_PAGE).await else {
            return self.truth.violated(format_args!("no search of {servers:?} came to its end in calm weather"));
        };
        for (id, revision) in &expected {
            match found.get(id) {
                Some(newest) if newest == revision => {}
                Some(old) => self.truth.violated(format_args!("{servers:?} found {id} at {old}, not at {revision}")),
                None => self.truth.violated(format_args!("{servers:?} lost {id} {revision}")),
            }
        }
        if let Some(extra) = found.keys().find(|id| !expected.contains_key(id)) {
            self.truth.violated(format_args!("{servers:?} found {extra}, which was never made there"));
        }
        self.truth.note("counted", format_args!("{servers:?} {}", found.len()));
        self.count_at_once(&servers[0], found.len() as u64).await;
    }

    /// The regions' own counts, over all of the time.
    async fn count_at_once(&self, server: &str, expected: u64) {
        let (from, until) = (Some(time_to_wire(EPOCH - A_DAY)), Some(time_to_wire(EPOCH + A_DAY)));
        let filter = Some(v1::EventFilter { from, until, ..v1::EventFilter::default() });
        let request = v1::AggregateRequest { filter, group_by: vec![v1::GroupBy::Region.into()] };
        let asking = async {
            let channel = client::connect(server).await.map_err(|error| Status::unavailable(error.to_string()))?;
            EventQueryServiceClient::new(channel).aggregate(request).await
        };
        match asking.await.map(tonic::Response::into_inner) {
            Ok(counts) => {
                let sum: u64 = counts.groups.iter().map(|group| group.count).sum();
                if sum != expected {
                    self.truth.violated(format_args!("{server} counts {sum} events, and has {expected}"));
                }
            }
            Err(status) => self.truth.violated(format_args!("{server} does not count in calm weather: {status:?}")),
        }
    }

    /// All pages, from whichever of the servers; none when it takes too many.
    async fn pages(
        &self,
        servers: &[String],
        reports: &[String],
        class: Option<&str>,
        page_size: i32,
    ) -> Option<BTreeMap<EventId, u32>> {
        let object_classes = class.iter().map(ToString::to_string).collect();
        let filter = v1::EventFilter { object_classes, ..v1::EventFilter::default() };
        let (mut found, mut token) = (BTreeMap::new(), String::new());
        for _ in 0..MAX_PAGES {
            let server = servers[self.rng.lock().random_range(0..servers.len())].clone();
            let page = match self.page(&server, &filter, page_size, &token).await {
                Ok(page) => page,
                Err(status) => {
                    self.judge(&status);
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            };
            let is_partial = self.check_reports(&page, reports, token.is_empty());
            for event in page.events {
                self.check_event(&event, &mut found);
            }
            token = page.next_page_token;
            if token.is_empty() {
                if is_partial {
                    self.truth
                        .violated(format_args!("{server} said that a search was over while a region was missing"));
                }
                return Some(found);
            }
            if is_partial {
                tokio::time::sleep(RETRY).await;
            }
        }
        None
    }

    async fn page(
        &self,
        server: &str,
        filter: &v1::EventFilter,
        page_size: i32,
        token: &str,
    ) -> Result<v1::SearchResponse, Status> {
        let asking = async {
            let channel = client::connect(server).await.map_err(|error| Status::unavailable(error.to_string()))?;
            let (filter, page_token) = (Some(filter.clone()), token.to_owned());
            let request = v1::SearchRequest { filter, page_size, page_token, after: None };
            EventQueryServiceClient::new(channel).search(request).await
        };
        let answer = tokio::time::timeout(PATIENCE, asking).await;
        answer.map_err(|_| Status::deadline_exceeded("no answer")).flatten().map(tonic::Response::into_inner)
    }

    /// Answered + failed = requested, and nobody claims more than it has. Whether a region is missing.
    fn check_reports(&self, page: &v1::SearchResponse, reports: &[String], is_first: bool) -> bool {
        let named: BTreeSet<_> = page.regions.iter().map(|report| report.region_id.as_str()).collect();
        let all: BTreeSet<_> = reports.iter().map(String::as_str).collect();
        // Later pages ask those that have more.
        let is_whole = if is_first { named == all } else { named.is_subset(&all) };
        if named.len() != page.regions.len() || !is_whole {
            self.truth.violated(format_args!("reports of {named:?} for a question to {reports:?}"));
        }
        for report in &page.regions {
            self.check_claim(report);
            let outcome = report.outcome().as_str_name();
            self.truth.note("report", format_args!("{} {} {outcome}", self.name, report.region_id));
        }
        page.regions.iter().any(|report| report.outcome() != v1::RegionOutcome::Answered)
    }

    fn check_claim(&self, report: &v1::RegionReport) {
        if !report.missing.is_empty() {
            self.truth.violated(format_args!("{} says that it lacks {:?}", report.region_id, report.missing));
        }
        let Ok(until) = required_time("complete_until", report.complete_until) else { return };
        let is_certain = report.edges_offline == 0 && !self.truth.restores(&report.region_id, OLD_HISTORY).1;
        if !is_certain {
            return;
        }
        self.truth.note("claim", format_args!("{} {until}", report.region_id));
        if let Some(lost) = self.truth.missing_before(&report.region_id, until, UNDER_WAY).first() {
            self.truth.violated(format_args!("{} claims all until {until} and lacks {lost}", report.region_id));
        }
    }

    fn check_event(&self, event: &v1::Event, found: &mut BTreeMap<EventId, u32>) {
        let Ok(id) = event.event_id.parse::<EventId>() else {
            return self.truth.violated(format_args!("{:?} was found as an event", event.event_id));
        };
        if self.truth.event(id).is_none_or(|made| made.newest() < event.revision || made.region != event.region_id) {
            self.truth.violated(format_args!("{id} {} was found, which was never made", event.revision));
        }
        if found.insert(id, event.revision).is_some() {
            self.truth.violated(format_args!("{id} came twice in one search"));
        }
    }

    /// Whether what a server said is fit for a storm.
    fn judge(&self, status: &Status) {
        self.truth.note("refused", format_args!("{} {:?}", self.name, status.code()));
        let is_weather = matches!(
            status.code(),
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown | Code::Internal
        );
        if !is_weather {
            self.truth.violated(format_args!("{} was told {status:?}", self.name));
        }
    }
}
