//! Two real regions with policies of their own behind one gateway: each keeps back what it withholds, and says so.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tonic::Code;
use vigil_audit::{Outcome, Record, Search};
use vigil_base::SystemClock;
use vigil_proto::v1;
use vigil_proto::v1::subscribe_response::Message;
use vigil_region::{RegionConfig, RegionServer};
use vigil_serve::Reloads;
use vigil_serve::error::is_withheld;

use crate::support::{ANY, Gateway, PATIENCE, publish, until, whole_event};

/// Seconds since 1970 of the first event.
const START: i64 = 1_700_000_000;
const NO_PLATES: &str =
    "contact = 'desk north'\n[[rules]]\nid = 'x'\ngrants = ['events', 'live', 'counts', 'coverage']\n";
const COUNTS_ALONE: &str = "contact = 'desk south'\n[[rules]]\nid = 'x'\ngrants = ['counts']\n";
const EVERYTHING: &str = "[[rules]]\nid = 'x'\ngrants = ['everything']\n";

struct Region {
    id: &'static str,
    folder: TempDir,
    server: RegionServer,
    requests: tokio::sync::mpsc::Sender<()>,
}

impl Region {
    async fn start(id: &'static str, policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("region.toml");
        let text = format!(
            "region_id = '{id}'\nlisten = '{ANY}'\nops_listen = '{ANY}'\ndata_dir = 'data'\npolicy = 'policy.toml'\n"
        );
        std::fs::write(&file, text).unwrap();
        std::fs::write(folder.path().join("policy.toml"), policy).unwrap();
        let config = RegionConfig::load(&file).unwrap();
        // The events are some years old.
        let started = RegionConfig { retention: Duration::from_hours(24 * 365 * 100), ..config.clone() };
        let mut server = RegionServer::start_at(started, SystemClock::shared()).await.unwrap();
        let (requests, receiver) = tokio::sync::mpsc::channel(1);
        server.follow(config, Reloads { file, requests: receiver });
        let region = Self { id, folder, server, requests };
        let first = i64::from(id != "north");
        publish(region.named(), (0..3).map(|i| seen(id, first + 2 * i)).collect()).await;
        region
    }

    fn named(&self) -> (&str, SocketAddr) {
        (self.id, self.server.grpc_address())
    }

    fn audit_folder(&self) -> PathBuf {
        self.folder.path().join("data/audit")
    }

    async fn change(&self, policy: &str) {
        std::fs::write(self.folder.path().join("policy.toml"), policy).unwrap();
        self.requests.send(()).await.unwrap();
    }
}

/// An event with a plate, as an edge sends it.
fn seen(region: &str, second: i64) -> v1::Event {
    let plate = Some(v1::Plate { text: "BAB12".into(), confidence: 0.9, looks: 3, model: None });
    v1::Event { plate, ..whole_event(region, START + second) }
}

fn withheld(reports: &[v1::RegionReport], region: &str) -> v1::WithheldReport {
    let report = reports.iter().find(|report| report.region_id == region).expect("a report of that region");
    report.withheld.clone().unwrap_or_default()
}

async fn two_regions() -> (Region, Region, Gateway) {
    let (north, south) = (Region::start("north", NO_PLATES).await, Region::start("south", COUNTS_ALONE).await);
    let gateway = Gateway::start(&[north.named(), south.named()]).await;
    (north, south, gateway)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_region_keeps_back_what_its_own_policy_withholds_and_the_gateway_passes_that_on() {
    let (_north, _south, gateway) = two_regions().await;
    let page = gateway.page(10, "").await;
    assert_eq!(page.events.len(), 3, "south gives none");
    assert!(page.events.iter().all(|event| event.region_id == "north" && event.plate.is_none()));
    assert!(page.events[0].withheld().any(|mark| mark == v1::Withheld::Plate));
    let (of_north, of_south) = (withheld(&page.regions, "north"), withheld(&page.regions, "south"));
    assert!(of_north.what().any(|mark| mark == v1::Withheld::Plate) && of_north.cameras == 0, "{of_north:?}");
    assert_eq!((of_south.cameras, of_south.contact.as_str()), (1, "desk south"));
    assert!(of_south.what().any(|mark| mark == v1::Withheld::Events), "{of_south:?}");

    let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let filter = Some(v1::EventFilter { from: at(START), until: at(START + 100), ..Default::default() });
    let counts = v1::AggregateRequest { filter, group_by: vec![v1::GroupBy::Region.into()] };
    let counts = gateway.query().aggregate(counts).await.unwrap().into_inner();
    let told: Vec<_> = counts.groups.iter().map(|group| (group.region_id.as_str(), group.count)).collect();
    assert_eq!(told, [("north", 3), ("south", 3)], "both may be counted");

    let get =
        |region: &str, second| v1::GetEventRequest { event_id: seen(region, second).event_id, ..Default::default() };
    assert!(gateway.query().get_event(get("north", 0)).await.unwrap().into_inner().event.unwrap().plate.is_none());
    let refused = gateway.query().get_event(get("south", 1)).await.unwrap_err();
    assert!(refused.code() == Code::PermissionDenied && is_withheld(&refused), "{refused}");
    assert!(refused.message().contains("desk south"), "{refused}");
    let key = format!("{}.1", seen("north", 0).event_id);
    let thumbnail = v1::GetThumbnailRequest { thumbnail_key: key, region_id: "north".into() };
    assert!(is_withheld(&gateway.query().get_thumbnail(thumbnail).await.unwrap_err()));
    let list = gateway.cameras().list_cameras(v1::ListCamerasRequest::default()).await.unwrap().into_inner();
    assert_eq!(list.cameras.iter().map(|camera| camera.region_id.as_str()).collect::<Vec<_>>(), ["north"]);
    let told: Vec<_> = list.withheld.iter().map(|told| (told.region_id.as_str(), told.cameras)).collect();
    assert_eq!(told, [("south", 1)]);
}

/// Of each record: method, items, and what was withheld.
fn told_of(log: &Path) -> Vec<(String, u64, String)> {
    let records = vigil_audit::search(log, &Search { limit: 100, ..Search::default() }).unwrap().records;
    let told = |record: Record| {
        let Outcome { items, withheld, .. } = record.entry.outcome;
        assert!(withheld.what.iter().all(|what| what != "events") || !withheld.policies.is_empty(), "{withheld:?}");
        (record.entry.method, items, withheld.what.into_iter().collect::<Vec<_>>().join(" "))
    };
    records.into_iter().map(told).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_and_what_was_kept_back_is_in_the_logs_of_gateway_and_region() {
    let (north, south, gateway) = two_regions().await;
    gateway.page(10, "").await;
    gateway.cameras().list_cameras(v1::ListCamerasRequest::default()).await.unwrap();
    let request = v1::SubscribeRequest { start: v1::SubscribeStart::Oldest.into(), ..Default::default() };
    let mut stream = gateway.stream().subscribe(request).await.unwrap().into_inner();
    let (mut events, mut regions) = (0, 0);
    while events < 3 || regions < 2 {
        match stream.message().await.unwrap().unwrap().message.unwrap() {
            Message::Region(_) => regions += 1,
            Message::Delivery(_) => events += 1,
            _ => {}
        }
    }
    drop(stream);
    let record = |method: &str, items, withheld: &str| (method.to_owned(), items, withheld.to_owned());
    let ended =
        async |log: PathBuf| until("the stream's end in the log", async || told_of(&log), |all| all.len() == 4).await;
    let of_north = "appearance plate position thumbnail";
    assert_eq!(
        ended(gateway.audit_folder()).await,
        [
            record("EventQueryService/Search", 3, &format!("appearance events {}", &of_north["appearance ".len()..])),
            record("CameraService/ListCameras", 1, "coverage footage position"),
            record("EventStreamService/Subscribe", 0, ""),
            record(
                "EventStreamService/Subscribe ended",
                3,
                &format!("appearance live {}", &of_north["appearance ".len()..])
            ),
        ]
    );
    assert_eq!(
        ended(north.audit_folder()).await,
        [
            record("EventQueryService/Search", 3, of_north),
            record("CameraService/ListCameras", 1, "footage position"),
            record("EventStreamService/Subscribe", 0, ""),
            record("EventStreamService/Subscribe ended", 3, of_north),
        ]
    );
    assert_eq!(
        ended(south.audit_folder()).await,
        [
            record("EventQueryService/Search", 0, "events"),
            record("CameraService/ListCameras", 0, "coverage"),
            record("EventStreamService/Subscribe", 0, ""),
            record("EventStreamService/Subscribe ended", 0, "live"),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_over_both_is_told_when_a_region_begins_to_give_more() {
    let (_north, south, gateway) = two_regions().await;
    let request = v1::SubscribeRequest { start: v1::SubscribeStart::Oldest.into(), ..Default::default() };
    let mut stream = gateway.stream().subscribe(request).await.unwrap().into_inner();
    let follow = async {
        let (mut joined, mut events) = (Vec::new(), 0);
        while joined.len() < 2 || events < 3 {
            match stream.message().await.unwrap().unwrap().message.unwrap() {
                Message::Region(report) => joined.push((report.region_id.clone(), report.withheld.is_some())),
                Message::Delivery(delivery) => {
                    assert_eq!(delivery.event.unwrap().region_id, "north");
                    events += 1;
                }
                _ => {}
            }
        }
        joined.sort();
        assert_eq!(joined, [("north".to_owned(), true), ("south".to_owned(), true)]);
        south.change(EVERYTHING).await;
        let told = loop {
            if let Message::Region(report) = stream.message().await.unwrap().unwrap().message.unwrap() {
                break report;
            }
        };
        assert_eq!((told.region_id.as_str(), told.withheld), ("south", None));
        publish(south.named(), vec![seen("south", 9)]).await;
        loop {
            if let Message::Delivery(delivery) = stream.message().await.unwrap().unwrap().message.unwrap() {
                let event = delivery.event.unwrap();
                assert_eq!((event.region_id.as_str(), event.plate.is_some()), ("south", true));
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, follow).await.expect("all of it in time");
    let is_whole = |page: &v1::SearchResponse| page.events.len() == 7;
    until("south gives its events", || gateway.page(10, ""), is_whole).await;
}
