//! What the gateway adds to a search over many regions: `cargo run --release -p vigil-gateway --example fan_out`.
//!
//! Regions are real ones with their indexes on disk, all in one process beside the gateway's. For each number of regions: the
//! time of a search through the gateway, the time of its slowest region as seen from the gateway (the rest is the merge and the
//! way to the client), the time and CPU of the same questions asked of all regions at once without a gateway, and the memory of
//! gateway and client. One JSON line each. Where one region is frozen, and for live streams, regions are servers over lists.
#![allow(clippy::print_stdout, clippy::unwrap_used)] // The lines are the measurement; what fails here ends it.

#[path = "../tests/it/support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use support::{Behaviour, FakeRegion, Gateway, Region, whole_event};
use tokio::task::JoinSet;
use tonic::transport::Channel;
use vigil_base::{Clock, SystemClock, Timestamp};
use vigil_proto::convert::time_to_wire;
use vigil_proto::v1;
use vigil_proto::v1::event_query_service_client::EventQueryServiceClient;
use vigil_proto::v1::subscribe_response::Message;

/// The first argument of the process that the regions run in.
const SERVE: &str = "serve-regions";
/// Seconds since 1970 of the first event.
const START: i64 = 1_700_000_000;
const QUESTIONS: usize = 400;
/// Events a region holds: more than a page, so that each answers a whole one.
const EVENTS: i64 = 60;
const PAGE: i32 = 50;
/// Events of one live stream, over all regions.
const STREAMED: i64 = 20_000;
/// Points of an event's path: half of the most.
const POINTS: i64 = 32;

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some(SERVE) {
        let count = args.next().and_then(|count| count.parse().ok()).expect("how many regions");
        return Regions::serve(count).await;
    }
    for regions in [2, 20, 100, 500] {
        measure(regions).await;
    }
    measure_frozen(100).await;
    for regions in [1, 20, 100] {
        measure_stream(regions).await;
    }
}

/// All events of all regions as one live stream.
async fn measure_stream(count: i64) {
    let mut regions = Vec::new();
    let each = STREAMED / count;
    for i in 0..count {
        let id = format!("district-{i:03}");
        let events = (0..each).map(|n| typical_event(&id, n)).collect();
        regions.push(FakeRegion::start_shared(&id, events).await);
    }
    let named: Vec<_> = regions.iter().map(FakeRegion::named).collect();
    let gateway = Gateway::start(&named).await;
    let watch = SystemClock::new();
    let request = v1::SubscribeRequest { start: v1::SubscribeStart::Oldest.into(), ..Default::default() };
    let mut stream = gateway.stream().subscribe(request).await.unwrap().into_inner();
    let (mut events, mut cursor) = (0, 0);
    while events < each * count {
        if let Some(Message::Delivery(delivery)) = stream.message().await.unwrap().unwrap().message {
            events += 1;
            cursor = delivery.cursor.len();
        }
    }
    let line = serde_json::json!({
        "stream_over_regions": count,
        "events": events,
        "events_per_second": (events as f64 / watch.monotonic().as_secs_f64()).round(),
        "cursor_bytes": cursor,
    });
    println!("{line}");
    gateway.server.stop().await;
}

/// Regions with their indexes on disk, in a process of their own, so that what the gateway costs is seen alone.
struct Regions {
    process: Child,
    named: Vec<(String, SocketAddr)>,
}

impl Regions {
    /// Starts so many, and waits until all hold their events.
    fn start(count: i64) -> Self {
        let program = std::env::current_exe().unwrap();
        let mut command = Command::new(program);
        let mut process =
            command.arg(SERVE).arg(count.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let named = lines.take(usize::try_from(count).unwrap()).map(|line| {
            let (id, address) = line.split_once(' ').unwrap();
            (id.to_owned(), address.parse().unwrap())
        });
        let named = named.collect();
        Self { process, named }
    }

    /// In the process of their own: serves until its input ends.
    async fn serve(count: i64) {
        let mut regions = Vec::new();
        for i in 0..count {
            let region = Region::start(&format!("district-{i:03}")).await;
            region.publish((0..EVENTS).map(|n| typical_event(&region.id, n * count + i)).collect()).await;
            println!("{} {}", region.id, region.address);
            regions.push(region);
        }
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        ended.await.unwrap().unwrap();
    }
}

impl Drop for Regions {
    fn drop(&mut self) {
        self.process.stdin.take();
        self.process.wait().unwrap();
    }
}

async fn measure(count: i64) {
    let regions = Regions::start(count);
    let named: Vec<_> = regions.named.iter().map(|(id, address)| (id.as_str(), *address)).collect();
    let gateway = Gateway::start(&named).await;
    let (direct, direct_cpu) = ask_directly(&named).await;
    let asked = ask(&gateway).await;
    let line = serde_json::json!({
        "regions": count,
        "page": PAGE,
        "questions": QUESTIONS,
        "gateway_ms": percentiles(asked.total),
        "slowest_region_ms": percentiles(asked.slowest),
        "added_ms": percentiles(asked.added),
        "without_gateway_ms": percentiles(direct),
        "cpu_ms": millis(asked.cpu),
        "cpu_without_gateway_ms": millis(direct_cpu),
        "gateway_cpu_per_region_us": (millis(asked.cpu) - millis(direct_cpu)) * 1e3 / count as f64,
        "resident_mb": resident_mb(),
    });
    println!("{line}");
    gateway.server.stop().await;
}

/// The same where one of the regions takes the question and never answers.
async fn measure_frozen(count: i64) {
    let mut regions = Vec::new();
    for i in 0..count {
        let id = format!("district-{i:03}");
        let events = (0..EVENTS).map(|n| typical_event(&id, n * count + i)).collect();
        regions.push(FakeRegion::start_shared(&id, events).await);
    }
    let named: Vec<_> = regions.iter().map(FakeRegion::named).collect();
    let gateway = Gateway::start(&named).await;
    regions[0].behave(Behaviour::Frozen);
    while !gateway.page(PAGE, "").await.regions[0].detail.contains("not asked") {}
    let asked = ask(&gateway).await;
    let line = serde_json::json!({
        "regions": count,
        "one_frozen": true,
        "gateway_ms": percentiles(asked.total),
        "slowest_region_ms": percentiles(asked.slowest),
        "added_ms": percentiles(asked.added),
    });
    println!("{line}");
    gateway.server.stop().await;
}

/// Times of the questions, and the CPU of one in this process: gateway and client.
struct Asked {
    total: Vec<Duration>,
    slowest: Vec<Duration>,
    added: Vec<Duration>,
    cpu: Duration,
}

async fn ask(gateway: &Gateway) -> Asked {
    let (mut total, mut slowest, mut added) = (Vec::new(), Vec::new(), Vec::new());
    let cpu = cpu_now();
    for _ in 0..QUESTIONS {
        let watch = SystemClock::new();
        let answer = gateway.page(PAGE, "").await;
        let took = watch.monotonic();
        let region = answer.regions.iter().filter_map(|report| report.elapsed).map(|e| e.nanos).max().unwrap_or(0);
        let region = Duration::from_nanos(region.unsigned_abs().into());
        total.push(took);
        slowest.push(region);
        added.push(took.saturating_sub(region));
    }
    Asked { total, slowest, added, cpu: cpu_now().saturating_sub(cpu) / QUESTIONS as u32 }
}

/// The same question to all regions at once, as a client without a gateway would ask.
async fn ask_directly(regions: &[(&str, SocketAddr)]) -> (Vec<Duration>, Duration) {
    let mut clients = Vec::new();
    for (id, address) in regions {
        let channel = Channel::from_shared(format!("http://{address}")).expect("an address").connect().await;
        let filter = Some(v1::EventFilter { region_ids: vec![(*id).to_owned()], ..Default::default() });
        let request = v1::SearchRequest { filter, page_size: PAGE, ..Default::default() };
        clients.push((EventQueryServiceClient::new(channel.expect("a region")), request));
    }
    let mut times = Vec::new();
    let cpu = cpu_now();
    for _ in 0..QUESTIONS {
        let watch = SystemClock::new();
        let mut asking = JoinSet::new();
        for (mut client, request) in clients.clone() {
            asking.spawn(async move { client.search(request).await.map(|answer| answer.into_inner().events.len()) });
        }
        while let Some(answer) = asking.join_next().await {
            answer.expect("no panic").expect("an answer");
        }
        times.push(watch.monotonic());
    }
    (times, cpu_now().saturating_sub(cpu) / QUESTIONS as u32)
}

/// An event with a path, as large as most.
fn typical_event(region: &str, second: i64) -> v1::Event {
    let event = whole_event(region, START + second);
    let point = |i: i64| v1::PathPoint {
        time: Some(time_to_wire(Timestamp::from_micros((START + second + i) * 1_000_000))),
        r#box: Some(v1::Box { left: 0.1, top: 0.2, width: 0.3, height: 0.4 }),
        confidence: 0.9,
    };
    let end_time = Some(time_to_wire(Timestamp::from_micros((START + second + POINTS) * 1_000_000)));
    v1::Event { path: (0..POINTS).map(point).collect(), end_time, ..event }
}

/// Resident memory of this process.
fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

fn cpu_now() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("getrusage of this process has no reason to fail");
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(micros.unsigned_abs())
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e5).round() / 1e2
}

fn percentiles(mut times: Vec<Duration>) -> serde_json::Value {
    times.sort();
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().map(millis);
    serde_json::json!({ "p50": at(0.50), "p99": at(0.99) })
}
