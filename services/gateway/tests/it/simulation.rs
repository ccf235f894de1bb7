//! A seeded storm over five regions, while one client pages through the past and another follows the present, dropping
//! its stream now and then. Afterwards both have each event exactly once.
//!
//! `VIGIL_SIM_SEED` runs one seed: the storm is the same again, the timing is that of the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tokio::sync::oneshot;
use tonic::Code;
use vigil_base::{Clock, SystemClock};
use vigil_proto::convert::time_to_wire;
use vigil_proto::v1;
use vigil_proto::v1::subscribe_response::Message;

use crate::support::{Behaviour, FakeRegion, Gateway, PATIENCE, nth_event};

const REGIONS: [&str; 5] = ["centre", "east", "north", "south", "west"];
const SEEDS: [u64; 3] = [1, 2, 3];
/// Faults and commits of one storm.
const STEPS: u64 = 60;
const STEP: Duration = Duration::from_millis(40);
const DEADLINE: Duration = Duration::from_millis(250);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_over_the_regions_loses_and_repeats_nothing() {
    let seeds = match std::env::var("VIGIL_SIM_SEED") {
        Ok(seed) => vec![seed.parse().expect("VIGIL_SIM_SEED is a number")],
        Err(_) => SEEDS.to_vec(),
    };
    for seed in seeds {
        storm(seed).await;
    }
}

async fn storm(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut regions = BTreeMap::new();
    let mut past = BTreeSet::new();
    for id in REGIONS {
        let events: Vec<_> = (0..60).map(|n| nth_event(id, rng.random_range(1_000..1_020), n)).collect();
        past.extend(events.iter().map(|event| event.event_id.clone()));
        regions.insert(id, FakeRegion::start(id, events).await);
    }
    let named: Vec<_> = regions.values().map(FakeRegion::named).collect();
    let gateway = Gateway::start_with(&named, |config| config.default_deadline = DEADLINE).await;
    let (calm, calmed) = oneshot::channel();
    let (ready, started) = oneshot::channel();
    let following = follow(&gateway, seed, ready, calmed);
    let weather = async {
        started.await.unwrap();
        let committed = blow(&mut regions, &mut rng).await;
        calm.send(committed.clone()).unwrap();
        committed
    };
    let (paged, followed, committed) = tokio::join!(page_through(&gateway), following, weather);
    let paged_past: Vec<_> = paged.iter().filter(|id| past.contains(*id)).collect();
    assert_eq!(paged_past.len(), past.len(), "seed {seed}: an event of the past came twice or never");
    assert_eq!(paged_past.into_iter().collect::<BTreeSet<_>>(), past.iter().collect(), "seed {seed}");
    let distinct: BTreeSet<_> = paged.iter().collect();
    assert_eq!(distinct.len(), paged.len(), "seed {seed}: an event came twice");
    assert_eq!(followed, committed, "seed {seed}: the stream");
}

/// Lets regions fail, die and come back, and commit meanwhile; in the end all are well. Gives what was committed.
async fn blow(regions: &mut BTreeMap<&'static str, FakeRegion>, rng: &mut StdRng) -> BTreeSet<String> {
    let mut committed = BTreeSet::new();
    for n in 0..STEPS {
        let id = *REGIONS.choose(rng).unwrap();
        let event = nth_event(id, rng.random_range(500..1_020), 1_000 + n);
        let event = v1::Event { receive_time: Some(time_to_wire(SystemClock::new().now())), ..event };
        committed.insert(event.event_id.clone());
        let region = &regions[id];
        region.commit(event);
        match rng.random_range(0..8) {
            0 => region.behave(Behaviour::Frozen),
            1 => region.behave(Behaviour::Slow(DEADLINE / 2)),
            2 => region.behave(Behaviour::Failing(Code::Unavailable)),
            3 => region.behave(Behaviour::OutOfOrder),
            4 => region.cut(),
            5 => {
                let dead = regions.remove(id).unwrap().kill().await;
                regions.insert(id, dead.restart().await);
            }
            _ => region.behave(Behaviour::Well),
        }
        tokio::time::sleep(STEP).await;
    }
    for region in regions.values() {
        region.behave(Behaviour::Well);
    }
    committed
}

/// Pages to the end, as a client that comes back a little later while regions are down.
async fn page_through(gateway: &Gateway) -> Vec<String> {
    let (mut ids, mut token) = (Vec::new(), String::new());
    let paging = async {
        loop {
            let page = gateway.page(7, &token).await;
            ids.extend(page.events.into_iter().map(|event| event.event_id));
            let failed = page.regions.iter().filter(|report| report.outcome() != v1::RegionOutcome::Answered).count();
            token = page.next_page_token;
            if token.is_empty() {
                assert_eq!(failed, 0, "no page is the last while a region has failed");
                break;
            }
            if failed > 0 {
                tokio::time::sleep(STEP).await;
            }
        }
    };
    tokio::time::timeout(PATIENCE * 2, paging).await.expect("the last page");
    ids
}

/// Follows the stream, breaking off at random and resuming from the last cursor it kept, until all that was committed is
/// here. What it had already is left out, as a subscriber does by (`event_id`, revision).
async fn follow(
    gateway: &Gateway,
    seed: u64,
    ready: oneshot::Sender<()>,
    mut calmed: oneshot::Receiver<BTreeSet<String>>,
) -> BTreeSet<String> {
    let mut rng = StdRng::seed_from_u64(!seed);
    let (mut ids, mut cursor, mut expected, mut ready) = (BTreeSet::new(), String::new(), None, Some(ready));
    let following = async {
        while expected.as_ref() != Some(&ids) {
            let request = v1::SubscribeRequest { cursor: cursor.clone(), ..Default::default() };
            let mut stream = gateway.stream().subscribe(request).await.unwrap().into_inner();
            let messages = rng.random_range(1..20);
            for _ in 0..messages {
                tokio::select! {
                    message = stream.message() => match message.unwrap().unwrap().message.unwrap() {
                        Message::Delivery(delivery) => {
                            ids.insert(delivery.event.unwrap().event_id);
                            cursor = delivery.cursor;
                        }
                        Message::Heartbeat(heartbeat) => {
                            cursor = heartbeat.cursor;
                            ready.take().map(|ready| ready.send(()));
                        }
                        Message::Gap(_) | Message::Region(_) => {}
                    },
                    all = &mut calmed, if expected.is_none() => expected = Some(all.unwrap()),
                }
                if expected.as_ref() == Some(&ids) {
                    break;
                }
            }
        }
    };
    let outcome = tokio::time::timeout(PATIENCE * 2, following).await;
    assert!(outcome.is_ok(), "seed {seed}: {} events came, of {:?}", ids.len(), expected.map(|all| all.len()));
    ids
}
