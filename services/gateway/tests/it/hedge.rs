//! Regions with a replica: one that is slow, frozen or gone is answered for, within bounds, and only where nothing is changed.

use std::time::Duration;

use tonic::Code;
use vigil_base::{Clock, SystemClock};
use vigil_proto::v1;
use vigil_proto::v1::RegionOutcome::{Answered, Denied, TimedOut};

use crate::support::{Behaviour, FakeRegion, Gateway, event, free_address, outcomes, seconds, until};

const SECONDS: [i64; 5] = [9, 5, 3, 2, 1];
/// What the regions of the gateway below have for an answer: the default deadline's share.
const REGIONS_TIME: Duration = Duration::from_millis(1_400);
/// Questions that the gateway's link asks of each server by itself.
const GREETING: usize = 1;

fn events(id: &str) -> Vec<v1::Event> {
    SECONDS.map(|second| event(id, second)).to_vec()
}

/// A region; metrics are the process's, so that tests which look at them have regions of their own.
async fn region(id: &str) -> FakeRegion {
    FakeRegion::start(id, events(id)).await
}

/// Another server with the same events, which says that it is a replica.
async fn replica(id: &str) -> FakeRegion {
    let replica = region(id).await;
    replica.set_report(|report| report.from_replica = true);
    replica
}

async fn gateway(north: (&str, std::net::SocketAddr), replica: &FakeRegion) -> Gateway {
    let address = format!("http://{}", replica.address);
    let replicated = |config: &mut vigil_gateway::GatewayConfig| {
        config.regions[0] = config.regions[0].clone().with_replicas(&[address]).unwrap();
    };
    let gateway = Gateway::start_with(&[north], replicated).await;
    until("the greeting", || async { replica.calls() }, |calls| *calls >= GREETING).await;
    gateway
}

#[tokio::test]
async fn a_frozen_region_is_answered_for_and_then_no_longer_asked() {
    let (north, replica) = (region("frozen").await, replica("frozen").await);
    let gateway = gateway(north.named(), &replica).await;
    north.behave(Behaviour::Frozen);
    let ask = || async {
        let watch = SystemClock::new();
        let answer = gateway.page(0, "").await;
        assert_eq!(seconds(&answer.events), SECONDS);
        assert_eq!(outcomes(&answer.regions), [("frozen", Answered)], "one report for one region");
        assert!(answer.regions[0].from_replica);
        assert!(watch.monotonic() < REGIONS_TIME, "{:?}", watch.monotonic());
        gateway.ops("/metrics").await
    };
    let is_open = |shown: &String| shown.contains("vigil_gateway_region_circuit_open{region=\"frozen\"} 1");
    let shown = until("an open circuit", ask, is_open).await;
    let won = "vigil_gateway_hedged_total{region=\"frozen\",outcome=\"won\"}";
    assert!(shown.lines().any(|line| line.starts_with(won) && !line.ends_with(" 0")), "{shown}");
    let asked = north.calls();
    ask().await;
    assert!(north.calls() <= asked + 1, "the replica at once, the region but for a probe");

    north.behave(Behaviour::Well);
    let own = |answer: &v1::SearchResponse| !answer.regions[0].from_replica;
    let answer = until("the region's own answer", || gateway.page(0, ""), own).await;
    assert_eq!(seconds(&answer.events), SECONDS);
}

#[tokio::test]
async fn a_region_that_refuses_the_connection_is_answered_for_at_once() {
    let (address, replica) = (free_address().await, replica("refusing").await);
    let gateway = gateway(("refusing", address), &replica).await;
    for _ in 0..5 {
        let answer = gateway.page(0, "").await;
        assert_eq!(
            (seconds(&answer.events).as_slice(), outcomes(&answer.regions)),
            (&SECONDS[..], vec![("refusing", Answered)])
        );
        assert!(answer.regions[0].from_replica);
    }
    let shown = gateway.ops("/metrics").await;
    assert!(shown.contains("vigil_gateway_hedged_total{region=\"refusing\",outcome=\"instead\"} 5"), "{shown}");
    assert!(shown.contains("vigil_gateway_hedged_total{region=\"refusing\",outcome=\"won\"} 0"), "{shown}");
}

#[tokio::test]
async fn the_replica_of_a_region_that_grew_slow_gets_a_bounded_share_of_its_questions() {
    const QUICK: usize = 40;
    const SLOW: usize = 60;
    let (north, replica) = (region("slow").await, replica("slow").await);
    let gateway = gateway(north.named(), &replica).await;
    for _ in 0..QUICK {
        gateway.page(1, "").await;
    }
    // All answers now come later than all before: each would be asked twice, were there no budget and no learning.
    north.behave(Behaviour::Slow(Duration::from_millis(40)));
    for _ in 0..SLOW {
        assert_eq!(outcomes(&gateway.page(1, "").await.regions), [("slow", Answered)]);
    }
    let hedges = replica.calls() - GREETING;
    assert!((1..=SLOW / 2).contains(&hedges), "{hedges} hedges");
    let shown = gateway.ops("/metrics").await;
    assert!(shown.contains("vigil_gateway_region_circuit_open{region=\"slow\"} 0"), "slow is not down: {shown}");
}

#[tokio::test]
async fn a_search_goes_on_at_the_replica_without_loss_or_doubling() {
    let (north, replica) = (region("north").await, replica("north").await);
    let gateway = gateway(north.named(), &replica).await;
    let first = gateway.page(2, "").await;
    assert!(!first.regions[0].from_replica);
    let dead = north.kill().await;
    let second = gateway.page(2, &first.next_page_token).await;
    assert!(second.regions[0].from_replica);
    let _north = dead.restart().await;
    let own = |page: &v1::SearchResponse| !page.regions[0].from_replica;
    let third = until("the region's own page", || gateway.page(2, &second.next_page_token), own).await;
    let all = [first, second, third].map(|page| seconds(&page.events)).concat();
    assert_eq!(all, SECONDS);
}

#[tokio::test]
async fn what_changes_something_is_asked_of_the_region_alone() {
    let (north, replica) = (region("north").await, replica("north").await);
    let gateway = gateway(north.named(), &replica).await;
    north.behave(Behaviour::Frozen);
    let asked = replica.calls();
    let camera = v1::Camera { camera_id: "gate".into(), region_id: "north".into(), ..Default::default() };
    let put = v1::PutCameraRequest { camera: Some(camera) };
    let delete = v1::DeleteCameraRequest { region_id: "north".into(), camera_id: "gate".into() };
    let mut codes = Vec::new();
    for _ in 0..2 {
        codes.push(gateway.cameras().put_camera(put.clone()).await.unwrap_err().code());
        codes.push(gateway.cameras().delete_camera(delete.clone()).await.unwrap_err().code());
    }
    assert_eq!(codes[..3], [Code::DeadlineExceeded; 3]);
    assert_eq!(codes[3], Code::Unavailable, "the circuit is open, and still nobody else is asked");
    assert_eq!(replica.calls(), asked);
}

#[tokio::test]
async fn a_refusal_is_an_answer_and_a_failure_of_both_is_the_regions() {
    let (north, replica) = (region("north").await, replica("north").await);
    let gateway = gateway(north.named(), &replica).await;
    north.behave(Behaviour::Failing(Code::PermissionDenied));
    let asked = replica.calls();
    assert_eq!(outcomes(&gateway.page(0, "").await.regions), [("north", Denied)]);
    assert_eq!(replica.calls(), asked, "what the region refuses is not asked of its replica");

    north.behave(Behaviour::Frozen);
    replica.behave(Behaviour::Failing(Code::Internal));
    let answer = gateway.page(0, "").await;
    assert_eq!(outcomes(&answer.regions), [("north", TimedOut)]);
    assert!(answer.events.is_empty() && !answer.next_page_token.is_empty(), "it is asked again for the next page");
}
