//! As many regions as are taken: tokens and cursors grow with them, and are still taken back.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tonic::Code;
use vigil_proto::v1;
use vigil_proto::v1::RegionOutcome::Answered;
use vigil_proto::v1::subscribe_response::Message;

use crate::support::{FakeRegion, Gateway, PATIENCE, event};

/// Regions that one live stream takes.
const MOST: usize = 250;
/// What the contract promises of tokens and cursors.
const MAX_TOKEN_BYTES: usize = 128 * 1024;

/// The longest ids there are.
fn id(number: usize) -> String {
    format!("{number:0>64}")
}

async fn many_regions() -> Vec<FakeRegion> {
    let mut regions = Vec::new();
    for number in 0..MOST {
        let events = [0, 1].map(|n| event(&id(number), (n * MOST + number) as i64)).to_vec();
        regions.push(FakeRegion::start_shared(&id(number), events).await);
    }
    regions
}

/// Each region's two connections have both their ends in this process.
fn allow_many_open_files() {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_and_a_stream_over_as_many_regions_as_a_stream_takes_go_on_from_their_tokens() {
    allow_many_open_files();
    let regions = many_regions().await;
    let named: Vec<_> = regions.iter().map(FakeRegion::named).collect();
    let gateway = Gateway::start_with(&named, |config| config.default_deadline = PATIENCE).await;

    let (mut found, mut token, mut longest) = (BTreeSet::new(), String::new(), 0);
    loop {
        let page = gateway.page(170, &token).await;
        assert!(page.regions.iter().all(|report| report.outcome() == Answered));
        found.extend(page.events.into_iter().map(|event| event.event_id));
        token = page.next_page_token;
        longest = longest.max(token.len());
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(found.len(), 2 * MOST);
    assert!(longest > 64 * MOST && longest <= MAX_TOKEN_BYTES, "{longest} bytes");

    let request = v1::SubscribeRequest { start: v1::SubscribeStart::Oldest.into(), ..Default::default() };
    let (streamed, cursor) = take(&gateway, request, 2 * MOST).await;
    assert_eq!(streamed, found);
    assert!(cursor.len() > 128 * MOST && cursor.len() <= MAX_TOKEN_BYTES, "{} bytes", cursor.len());
    let later = event(&id(77), 10_000);
    regions[77].commit(later.clone());
    let (rest, _) = take(&gateway, v1::SubscribeRequest { cursor, ..Default::default() }, 1).await;
    assert_eq!(rest, BTreeSet::from([later.event_id]));
}

/// The ids of the next events of a new stream, and the last cursor.
async fn take(gateway: &Gateway, request: v1::SubscribeRequest, count: usize) -> (BTreeSet<String>, String) {
    let mut stream = gateway.stream().subscribe(request).await.unwrap().into_inner();
    let (mut ids, mut cursor) = (BTreeSet::new(), String::new());
    let taking = async {
        while ids.len() < count {
            if let Some(Message::Delivery(delivery)) = stream.message().await.unwrap().unwrap().message {
                ids.insert(delivery.event.unwrap().event_id);
                cursor = delivery.cursor;
            }
        }
    };
    tokio::time::timeout(PATIENCE, taking).await.expect("the events in time");
    (ids, cursor)
}

#[tokio::test]
async fn a_stream_over_more_regions_is_refused_with_the_number_and_one_over_fewer_is_not() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let ids: Vec<String> = (0..=MOST).map(id).collect();
    let named: Vec<_> = ids.iter().map(|id| (id.as_str(), nobody)).collect();
    let gateway = Gateway::start_with(&named, |config| config.default_deadline = Duration::from_millis(100)).await;
    let status = gateway.stream().subscribe(v1::SubscribeRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.message().contains("251 regions") && status.message().contains("at most 250"), "{status}");
    let filter = Some(v1::EventFilter { region_ids: ids[..100].to_vec(), ..Default::default() });
    gateway.stream().subscribe(v1::SubscribeRequest { filter, ..Default::default() }).await.unwrap();
    assert_eq!(gateway.page(0, "").await.regions.len(), MOST + 1, "a search takes more");
}

#[tokio::test]
async fn a_cursor_that_is_carried_from_gateway_to_gateway_does_not_outgrow_what_is_taken() {
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let ids: Vec<String> = (0..MOST).map(id).collect();
    let named: Vec<_> = ids.iter().map(|id| (id.as_str(), nobody)).collect();
    let one = Gateway::start(&named).await;
    let key = one.key_file();
    let other = Gateway::start_with(&[("elsewhere", nobody)], |config| config.token_key_file = key).await;
    let mut stream = one.stream().subscribe(v1::SubscribeRequest::default()).await.unwrap().into_inner();
    let cursor = async {
        loop {
            if let Some(Message::Heartbeat(heartbeat)) = stream.message().await.unwrap().unwrap().message {
                return heartbeat.cursor;
            }
        }
    };
    let cursor = tokio::time::timeout(PATIENCE, cursor).await.expect("a heartbeat in time");
    let request = v1::SubscribeRequest { cursor, ..Default::default() };
    let status = other.stream().subscribe(request.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.message().contains("250 regions that this gateway does not have"), "{status}");
    one.stream().subscribe(request).await.unwrap();
}
