//! A region whose index lies in PostgreSQL, its replica over a hot standby, and a gateway before both. The region hangs; then its
//! process and its database are lost for good, and the standby takes over. Then count.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;
#[allow(dead_code)] // The region's tests use the rest.
#[path = "../../region/tests/common/postgres.rs"]
mod postgres;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tonic::transport::Channel;
use vigil_base::RegionId;
use vigil_proto::v1;
use vigil_proto::v1::event_query_service_client::EventQueryServiceClient;
use vigil_region::index::postgres::PostgresConfig;

use common::look::eventually;
use common::{PATIENCE, Process, assert_found_once, free_address, ship_all, take_ids};
use postgres::PostgresServer;

const SCHEMA: &str = "vigil_north";
/// Events made before the region hangs, while it does, and after it is lost.
const EACH: usize = 1_500;
const PAGE: i32 = 400;

fn region() -> RegionId {
    RegionId::new("north").unwrap()
}

/// Starts the region, or its replica, in a folder of its own; `key` is the folder whose key for tokens it shares.
fn start(own: &Path, listen: SocketAddr, index: &PostgresConfig, replica: bool, key: Option<&Path>) -> Process {
    let command = common::region_command(own, "north", listen);
    let folder = own.join("north");
    let config = folder.join("region.toml");
    let url = index.url.reveal();
    let text = std::fs::read_to_string(&config).unwrap();
    let index =
        format!("[index]\nengine = \"postgres\"\nurl = \"{url}\"\nschema = \"{SCHEMA}\"\nreplica = {replica}\n");
    std::fs::write(&config, format!("{text}{index}")).unwrap();
    if let Some(of) = key {
        std::fs::copy(of.join("north/data/token.key"), folder.join("data/token.key")).unwrap();
    }
    Process::start(command, &folder.join("log"))
}

fn gateway(folder: &Path, listen: SocketAddr, region: SocketAddr, replica: SocketAddr) -> Process {
    let command = common::gateway_command(folder, listen, &[("north", region)]);
    let config = folder.join("gateway/gateway.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}replicas = [\"http://{replica}\"]\n")).unwrap();
    Process::start(command, &folder.join("gateway/log"))
}

async fn page(channel: &Channel, page_token: &str) -> v1::SearchResponse {
    let mut queries = EventQueryServiceClient::new(channel.clone()).max_decoding_message_size(16 << 20);
    let request = v1::SearchRequest { page_size: PAGE, page_token: page_token.to_owned(), ..Default::default() };
    let mut request = tonic::Request::new(request);
    request.set_timeout(Duration::from_secs(5));
    queries.search(request).await.unwrap().into_inner()
}

/// An answer of the region itself, or of its replica.
async fn answered_by(channel: &Channel, replica: bool) -> v1::SearchResponse {
    let asked = format!("an answer {} replica", if replica { "of the" } else { "without the" });
    eventually(&asked, async || {
        let answer = page(channel, "").await;
        let report = &answer.regions[0];
        (report.outcome() == v1::RegionOutcome::Answered && report.from_replica == replica).then_some(answer)
    })
    .await
}

/// The pages from this token on, which the replica answers: no event that was `seen` comes again, and none twice.
async fn read_on(channel: &Channel, mut token: String, seen: &mut HashSet<String>) {
    while !token.is_empty() {
        let next = page(channel, &token).await;
        let report = &next.regions[0];
        assert!(report.outcome() == v1::RegionOutcome::Answered && report.from_replica, "{report:?}");
        assert!(next.events.into_iter().all(|event| seen.insert(event.event_id)), "an event came twice");
        token = next.next_page_token;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_is_lost_with_its_database_is_answered_for_and_comes_back_with_all_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let own = ["first", "second", "replica"].map(|name| folder.path().join(name));
    let [address, replica_address, front] = [free_address(), free_address(), free_address()];
    let primary = PostgresServer::start(&[]);
    let standby = primary.standby();
    let index = primary.config_with(&standby, SCHEMA);
    let first = start(&own[0], address, &index, false, None);
    common::connect(address).await;
    let _replica = start(&own[2], replica_address, &standby.config(SCHEMA), true, Some(&own[0]));
    let _gateway = gateway(folder.path(), front, address, replica_address);
    let edge = folder.path().join("edge-1");
    std::fs::create_dir_all(&edge).unwrap();
    let source = common::event_source(&edge, "edge-1", ("north", address));
    let (mut source, lines) = Process::start_with_lines(source, &edge.join("log"));
    let mut told = HashSet::new();
    take_ids(&lines, EACH, &mut told);
    let channel = common::connect(front).await;
    let newest = eventually("the region has some pages", async || {
        let answer = answered_by(&channel, false).await;
        (answer.events.len() == PAGE as usize).then_some(answer)
    })
    .await;

    // The region hangs: its replica answers, and goes on with the region's own pages.
    first.freeze();
    let answer = answered_by(&channel, true).await;
    assert_eq!(answer.events.len(), PAGE as usize);
    let mut seen: HashSet<String> = newest.events.into_iter().map(|event| event.event_id).collect();
    read_on(&channel, newest.next_page_token, &mut seen).await;
    first.thaw();
    answered_by(&channel, false).await;
    take_ids(&lines, EACH, &mut told);

    // Region and database are gone, and nobody brings them back.
    first.kill();
    primary.crash();
    let answer = answered_by(&channel, true).await;
    assert_eq!(answer.events.len(), PAGE as usize);
    standby.promote();
    take_ids(&lines, EACH, &mut told);
    answered_by(&channel, true).await;

    // Another machine is the region now, with what the standby has, and what the edge still keeps.
    let _second = start(&own[1], address, &index, false, Some(&own[0]));
    answered_by(&channel, false).await;
    ship_all(&mut source, &lines, &mut told);
    assert_eq!(assert_found_once(channel.clone(), &told).await, 0);
    let replica = tokio::time::timeout(PATIENCE, common::connect(replica_address)).await.unwrap();
    assert_eq!(assert_found_once(replica, &told).await, 0, "the replica follows where its server went");
}
