//! A region whose clock is wrong deletes nothing for it, and says so.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::time::Duration;

use vigil_base::SimClock;
use vigil_base::coverage::MINUTE;
use vigil_proto::v1::EventFilter;
use vigil_region::RegionConfig;

use common::server::{TestRegion, eventually, heartbeat, watched};
use common::{at, event, region, secs};

const DAY: Duration = Duration::from_hours(24);

#[tokio::test]
async fn a_region_whose_clock_is_years_ahead_keeps_its_events_and_names_what_is_wrong() {
    let temp = tempfile::tempdir().unwrap();
    let config = || RegionConfig { retention: 3 * DAY, ..RegionConfig::local(region(), temp.path()) };
    let clock = SimClock::new(at(DAY * 2));
    let server = TestRegion::start_with(config(), clock.clone()).await;
    let events: Vec<_> = (0..20).map(|hour| event(secs(hour * 3_600))).collect();
    server.edge("edge-1").await.publish(&events).await;
    server.stop().await;

    clock.jump_to(at(DAY * 800));
    for _ in 0..3 {
        let server = TestRegion::start_with(config(), clock.clone()).await;
        let said = async || Some(server.health().await).filter(|health| health.contains("no edge is connected"));
        let health = eventually("the clock is doubted", said).await;
        assert!(health.contains("\"ready\":true") && health.contains("2years 2months"), "{health}");
        assert_eq!(server.search_all(EventFilter::default(), 100).await.len(), events.len());
        server.stop().await;
    }

    // As soon as an edge says what time it is, that counts: the next start finds nothing wrong, and what is old goes.
    clock.jump_to(at(DAY * 6));
    let server = TestRegion::start_with(config(), clock.clone()).await;
    assert_eq!(
        server.search_all(EventFilter::default(), 100).await.len(),
        events.len(),
        "as far as it knows, it was off"
    );
    let mut edge = server.edge("edge-1").await;
    edge.heartbeat(heartbeat(at(DAY * 6), at(DAY * 6))).await;
    let gone = async || server.search_all(EventFilter::default(), 100).await.is_empty().then_some(());
    eventually("what is old is removed", gone).await;
    assert!(!server.health().await.contains("retention"));
}

#[tokio::test]
async fn what_was_watched_is_kept_while_the_regions_clock_is_days_behind_that_of_its_edges() {
    let temp = tempfile::tempdir().unwrap();
    let now = at(DAY * 5);
    let server =
        TestRegion::start_with(RegionConfig::local(region(), temp.path()), SimClock::new(at(Duration::ZERO))).await;
    let mut edges = Vec::new();
    for edge in ["edge-1", "edge-2", "edge-3"] {
        let mut edge = server.edge(edge).await;
        let minute = || watched(now.round_down(MINUTE), ["gate-7"]);
        let ack = edge.report(vec![minute()]).await;
        assert!(ack.rejections.len() == 1 && ack.rejections[0].reason.contains("most edges"), "{ack:?}");
        edge.heartbeat(heartbeat(now, now)).await;
        // What is acknowledged was read after the heartbeat.
        edge.report(Vec::new()).await;
        edges.push((edge, minute()));
    }
    for (edge, minute) in &mut edges {
        let ack = edge.report(vec![minute.clone()]).await;
        assert_eq!(ack.rejections, []);
    }
}
