//! Asks the gateway while the cameras run, and takes the times.
//!
//! The time of an event is from the capture of the frame that confirmed its track to the moment a search at the gateway
//! found it. Camera, edge and this program share one machine's clock, so no clock offset is in it.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use vigil_base::{Clock, Event, EventId, SystemClock, Timestamp};
use vigil_proto::convert::{event_from_wire, time_to_wire};
use vigil_proto::v1;
use vigil_proto::v1::event_query_service_client::EventQueryServiceClient;

use super::plan::{Plan, REGIONS};
use crate::client::{self, ServerArgs};

/// Between two searches: the resolution of the times, and part of them.
const POLL: Duration = Duration::from_millis(50);
/// Tracks that began longer ago than this are found already.
const LOOK_BACK: Duration = Duration::from_secs(60);
/// Most events a search brings; more than the demo's cameras begin within [`LOOK_BACK`].
const PAGE: i32 = 1000;
/// A search's deadline.
const DEADLINE: Duration = Duration::from_secs(2);

/// What is known so far.
pub struct Measurement {
    clock: SystemClock,
    gateway: ServerArgs,
    queries: EventQueryServiceClient<Channel>,
    channel: Channel,
    started: Timestamp,
    seen: HashSet<EventId>,
    /// Milliseconds from capture to found, by region.
    waits: BTreeMap<String, Vec<f64>>,
    searches: u64,
    partial: u64,
}

/// One region's part of the outcome.
#[derive(Debug)]
pub struct RegionSummary {
    /// The region.
    pub region: String,
    /// Whether it answered the last question.
    pub answered: bool,
    /// Its cameras and their frames, as their edges told.
    pub cameras: Vec<v1::CameraHealth>,
    /// Events found.
    pub events: usize,
    /// Milliseconds from capture to found: median and 99th percentile; absent without events.
    pub wait_ms: Option<(f64, f64)>,
}

/// The outcome.
#[derive(Debug)]
pub struct Summary {
    /// One for each region.
    pub regions: Vec<RegionSummary>,
    /// Questions asked of the gateway.
    pub searches: u64,
    /// Those that some region did not answer.
    pub partial: u64,
}

impl Summary {
    /// Both regions answered with events.
    pub fn succeeded(&self) -> bool {
        self.regions.iter().all(|region| region.answered && region.events > 0)
    }
}

impl Measurement {
    /// Connects to the gateway.
    pub async fn new(plan: &Plan) -> anyhow::Result<Self> {
        let gateway = ServerArgs::to(&plan.gateway_url(), DEADLINE, "vigil demo");
        let channel = gateway.connect().await?;
        let clock = SystemClock::new();
        Ok(Self {
            started: clock.now(),
            clock,
            gateway,
            queries: client::queries(channel.clone()),
            channel,
            seen: HashSet::new(),
            waits: REGIONS.iter().map(|(region, _)| ((*region).to_owned(), Vec::new())).collect(),
            searches: 0,
            partial: 0,
        })
    }

    /// Searches until `duration` has passed or `shutdown`; `on_event` is told each event when it is found first.
    pub async fn run(
        &mut self,
        duration: Duration,
        shutdown: &CancellationToken,
        mut on_event: impl FnMut(&Event),
    ) -> anyhow::Result<()> {
        let end = self.clock.monotonic() + duration;
        let mut ticks = tokio::time::interval(POLL);
        while self.clock.monotonic() < end && shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
            self.search(&mut on_event).await?;
        }
        Ok(())
    }

    async fn search(&mut self, on_event: &mut impl FnMut(&Event)) -> anyhow::Result<()> {
        let from = (self.clock.now() - LOOK_BACK).max(self.started);
        let filter = v1::EventFilter { from: Some(time_to_wire(from)), ..v1::EventFilter::default() };
        let request = v1::SearchRequest { filter: Some(filter), page_size: PAGE, ..Default::default() };
        let answer = self.queries.search(self.gateway.request(request)).await;
        let answer = answer.map_err(|e| self.gateway.explain(&e))?.into_inner();
        let found_at = self.clock.now();
        self.searches += 1;
        self.partial += u64::from(!client::complete(&answer.regions));
        for wire in answer.events {
            let event = event_from_wire(wire).context("the gateway sent an event that breaks the contract")?;
            if self.seen.insert(event.id) {
                let wait_ms = found_at.seconds_since(event.confirm_time) * 1e3;
                self.waits.entry(event.region.to_string()).or_default().push(wait_ms);
                on_event(&event);
            }
        }
        Ok(())
    }

    /// Asks all regions how they are and sums up.
    pub async fn summary(&mut self) -> anyhow::Result<Summary> {
        let request = self.gateway.request(v1::GetStatusRequest::default());
        let status = client::regions(self.channel.clone()).get_status(request).await;
        let status = status.map_err(|e| self.gateway.explain(&e))?.into_inner();
        let regions = self.waits.iter_mut().map(|(region, waits)| {
            let of_region = status.statuses.iter().find(|status| status.region_id == *region);
            RegionSummary {
                region: region.clone(),
                answered: of_region.is_some(),
                cameras: of_region.iter().flat_map(|s| &s.edges).flat_map(|edge| edge.cameras.clone()).collect(),
                events: waits.len(),
                wait_ms: percentiles(waits),
            }
        });
        Ok(Summary { regions: regions.collect(), searches: self.searches, partial: self.partial })
    }
}

/// Median and 99th percentile (nearest rank).
fn percentiles(values: &mut [f64]) -> Option<(f64, f64)> {
    values.sort_by(f64::total_cmp);
    let rank = |share: f64| values.get(((values.len() as f64 * share).ceil() as usize).saturating_sub(1)).copied();
    Some((rank(0.5)?, rank(0.99)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_by_nearest_rank() {
        assert_eq!(percentiles(&mut []), None);
        assert_eq!(percentiles(&mut [7.0]), Some((7.0, 7.0)));
        let mut hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentiles(&mut hundred), Some((50.0, 99.0)));
    }
}
