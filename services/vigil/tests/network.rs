//! Edges, regions and a gateway on hosts of their own, with cables between them that are pulled: then count.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use common::look::{eventually, status_until};
use common::net::{Cable, Host};
use common::reader::Reader;
use common::{Process, assert_found_once, ship_all, take_ids};
use tonic::transport::Channel;
use vigil_base::{Clock, SystemClock};
use vigil_proto::v1;
use vigil_proto::v1::event_query_service_client::EventQueryServiceClient;

const PORT: u16 = 7443;
/// Events made before, and while the cable is pulled.
const BEFORE: usize = 1_000;
const WHILE_CUT: usize = 3_000;
/// What a question over the regions may take, of which one cannot be reached: its own deadline, and something for a busy
/// machine.
const DEADLINE: Duration = Duration::from_secs(2);
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

fn everywhere() -> SocketAddr {
    (Ipv4Addr::UNSPECIFIED, PORT).into()
}

fn here() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, PORT).into()
}

/// A region that other hosts may reach.
fn region(folder: &Path, id: &str, host: &Host) -> Process {
    let command = common::region_command(folder, id, everywhere());
    let file = folder.join(id).join("region.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(file, format!("plaintext_beyond_loopback = true\n{text}")).unwrap();
    Process::start(host.inside(&command), &folder.join(id).join("log"))
}

fn source(folder: &Path, id: &str, (region, address): (&str, SocketAddr), host: &Host) -> Source {
    let own = folder.join(id);
    std::fs::create_dir_all(&own).unwrap();
    let command = host.inside(&common::event_source(&own, id, (region, address)));
    let (process, lines) = Process::start_with_lines(command, &own.join("log"));
    Source { process, lines, told: HashSet::new() }
}

/// An edge, and the events it told of.
struct Source {
    process: Process,
    lines: std::sync::mpsc::Receiver<String>,
    told: HashSet<String>,
}

impl Source {
    fn take(&mut self, events: usize) {
        take_ids(&self.lines, events, &mut self.told);
    }

    /// Ends it once all is acknowledged; what it made.
    fn ship_all(mut self) -> HashSet<String> {
        ship_all(&mut self.process, &self.lines, &mut self.told);
        self.told
    }
}

#[test]
fn a_cable_pulled_between_edge_and_region_loses_nothing_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (street, centre) = (Host::new(), Host::new());
    let cable = Cable::new(&street, &centre);
    let _region = region(folder.path(), "north", &centre);
    let mut source = source(folder.path(), "edge-1", ("north", cable.to(PORT)), &street);
    source.take(BEFORE);
    let connected = |wanted: bool| {
        move |status: &v1::RegionStatus| status.edges.iter().any(|edge| edge.connected == wanted).then_some(())
    };
    let look = |what: &'static str, wanted| {
        centre.visit(async move || status_until(&common::connect(here()).await, what, connected(wanted)).await);
    };
    look("the edge is connected", true);

    cable.cut();
    source.take(WHILE_CUT);
    look("the region misses the edge", false);
    cable.heal();
    source.take(BEFORE);
    look("the edge is back", true);

    // The region takes what comes, and the edge never learns of it: all of it comes again.
    cable.silence();
    source.take(WHILE_CUT);
    look("the region misses the edge that cannot hear it", false);
    cable.hear();
    let told = source.ship_all();
    assert_eq!(centre.visit(async || { assert_found_once(common::connect(here()).await, &told).await }), 0);
}

/// One question over all regions.
async fn search_once(channel: &Channel) -> v1::SearchResponse {
    let mut queries = EventQueryServiceClient::new(channel.clone()).max_decoding_message_size(16 << 20);
    let mut request = tonic::Request::new(v1::SearchRequest { page_size: 10, ..Default::default() });
    request.set_timeout(DEADLINE);
    queries.search(request).await.unwrap().into_inner()
}

fn outcomes(answer: &v1::SearchResponse) -> HashMap<&str, v1::RegionOutcome> {
    answer.regions.iter().map(|report| (report.region_id.as_str(), report.outcome())).collect()
}

#[test]
fn a_cable_pulled_between_gateway_and_region_is_a_named_part_and_nothing_is_lost_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let [front, north_host, south_host] = [Host::new(), Host::new(), Host::new()];
    let (north, south) = (Cable::new(&front, &north_host), Cable::new(&front, &south_host));
    let _regions = [region(folder.path(), "north", &north_host), region(folder.path(), "south", &south_host)];
    let gateway =
        common::gateway_command(folder.path(), here(), &[("north", north.to(PORT)), ("south", south.to(PORT))]);
    let _gateway = Process::start(front.inside(&gateway), &folder.path().join("gateway/log"));
    let mut sources = [("north", &north_host), ("south", &south_host)]
        .map(|(id, host)| source(folder.path(), id, (id, here()), host));
    for source in &mut sources {
        source.take(BEFORE);
    }

    let mut reader = Reader::default();
    front.visit(async || {
        let channel = common::connect(here()).await;
        eventually("both regions answer", async || {
            let answer = search_once(&channel).await;
            answer.regions.iter().all(|report| report.outcome() == v1::RegionOutcome::Answered).then_some(())
        })
        .await;
        reader.read_until(channel, |seen| seen.len() >= BEFORE).await;
    });

    south.cut();
    for source in &mut sources {
        source.take(WHILE_CUT);
    }
    front.visit(async || {
        let channel = common::connect(here()).await;
        let watch = SystemClock::new();
        let answer = search_once(&channel).await;
        let took = watch.monotonic();
        assert!(took < ANSWERED_WITHIN, "{took:?}");
        let outcomes = outcomes(&answer);
        assert_eq!(outcomes.len(), 2, "answered + failed = requested: {outcomes:?}");
        assert_eq!(outcomes["north"], v1::RegionOutcome::Answered);
        assert_ne!(outcomes["south"], v1::RegionOutcome::Answered);
        assert!(answer.events.iter().all(|event| event.region_id == "north"));
        reader.read_until(channel, |seen| seen.len() >= 2 * BEFORE).await;
    });
    south.heal();
    let told: HashSet<String> = sources.into_iter().flat_map(Source::ship_all).collect();
    front.visit(async || {
        let channel = common::connect(here()).await;
        let back = async || {
            let answer = search_once(&channel).await;
            outcomes(&answer).values().all(|outcome| *outcome == v1::RegionOutcome::Answered).then_some(())
        };
        eventually("the region is back", back).await;
        assert_eq!(assert_found_once(channel.clone(), &told).await, 0);
        reader.read_until(channel, |seen| seen.is_superset(&told)).await;
    });
    assert_eq!(reader.gaps, []);
}
