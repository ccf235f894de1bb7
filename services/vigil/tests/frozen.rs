//! A region that hangs, its sockets open: nobody waits for it, nothing is lost. Then count.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tonic::transport::Channel;
use vigil_base::{Clock, SystemClock};
use vigil_proto::v1;
use vigil_proto::v1::event_query_service_client::EventQueryServiceClient;

use common::look::eventually;
use common::reader::Reader;
use common::{PATIENCE, Process, assert_found_once, free_address, run, ship_all, take_ids, vigil};

/// Events of each region made before, and while one hangs: more than its socket and an edge's window take.
const BEFORE: usize = 1_000;
const MEANWHILE: usize = 10_000;
const PAGE: i32 = 500;
/// What a question may take: its own deadline, and something for a busy machine.
const DEADLINE: Duration = Duration::from_secs(2);
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

async fn search(channel: &Channel, page_token: String, deadline: Duration) -> v1::SearchResponse {
    let mut queries = EventQueryServiceClient::new(channel.clone()).max_decoding_message_size(16 << 20);
    let mut request = tonic::Request::new(v1::SearchRequest { page_size: PAGE, page_token, ..Default::default() });
    request.set_timeout(deadline);
    queries.search(request).await.unwrap().into_inner()
}

/// The pages from this token on, once all regions answer: how often each id comes.
async fn pages(channel: &Channel, mut token: String) -> HashMap<String, u32> {
    let mut found = HashMap::new();
    while !token.is_empty() {
        let page = search(channel, token.clone(), PATIENCE).await;
        for event in page.events {
            *found.entry(event.event_id).or_default() += 1;
        }
        token = page.next_page_token;
    }
    found
}

fn answered(answer: &v1::SearchResponse) -> Vec<&str> {
    let is_there = |report: &&v1::RegionReport| report.outcome() == v1::RegionOutcome::Answered;
    answer.regions.iter().filter(is_there).map(|report| report.region_id.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_hangs_is_a_named_part_that_a_follow_up_brings_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let regions = [("north", free_address()), ("south", free_address())];
    let front = free_address();
    let [north, _south] = regions.map(|(id, address)| common::region(folder.path(), id, address));
    let _gateway = common::gateway(folder.path(), front, &regions);
    let mut sources = regions.map(|(id, address)| {
        let own = folder.path().join(format!("edge-{id}"));
        std::fs::create_dir_all(&own).unwrap();
        let command = common::event_source(&own, &format!("edge-{id}"), (id, address));
        Process::start_with_lines(command, &own.join("log"))
    });
    let mut told = [HashSet::new(), HashSet::new()];
    let mut take = |events| {
        for ((_, lines), told) in sources.iter().zip(&mut told) {
            take_ids(lines, events, told);
        }
    };
    take(BEFORE);
    let channel = common::connect(front).await;
    let both = async || (answered(&search(&channel, String::new(), DEADLINE).await).len() == 2).then_some(());
    eventually("both regions answer", both).await;
    let mut reader = Reader::default();
    reader.read_until(channel.clone(), |seen| seen.len() >= BEFORE).await;

    north.freeze();
    take(MEANWHILE);
    // The other is busy with what comes: it may be late once, and not have a whole page yet.
    let partial = eventually("the other region answers with a whole page", async || {
        let watch = SystemClock::new();
        let answer = search(&channel, String::new(), DEADLINE).await;
        let took = watch.monotonic();
        assert!(took < ANSWERED_WITHIN, "{took:?}");
        assert_eq!(answer.regions.len(), 2, "answered + failed = requested");
        (answered(&answer) == ["south"] && answer.events.len() == PAGE as usize).then_some(answer)
    })
    .await;
    let of_north = partial.regions.iter().find(|report| report.region_id == "north").unwrap();
    assert!(of_north.retryable && !of_north.detail.is_empty(), "{of_north:?}");
    assert!(partial.events.iter().all(|event| event.region_id == "south"));
    eventually("a person is told", async || {
        let (status, stdout, stderr) =
            run(vigil().args(["query", "--limit", "5", "--server", &format!("http://{front}")]));
        assert_eq!(status, Some(3), "{stderr}");
        stdout.contains("1 of 2 regions answered\n  north: ").then_some(())
    })
    .await;
    // A stream over both goes on with what the other brings.
    reader.read_until(channel.clone(), |seen| seen.len() >= 2 * BEFORE + MEANWHILE / 2).await;

    north.thaw();
    for ((source, lines), told) in sources.iter_mut().zip(&mut told) {
        ship_all(source, lines, told);
    }
    let [of_north, of_south] = &told;
    let followed = pages(&channel, partial.next_page_token).await;
    assert!(of_north.iter().all(|id| followed.get(id) == Some(&1)), "the pages that follow bring all of it");
    let told: HashSet<String> = of_north.union(of_south).cloned().collect();
    assert_eq!(assert_found_once(channel.clone(), &told).await, 0);
    reader.read_until(channel, |seen| seen.is_superset(&told)).await;
    assert_eq!(reader.gaps, []);
}
