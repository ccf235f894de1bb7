//! Cameras that misbehave all the time, against a real edge and a real region: every fault is told in time, the camera beside
//! them goes on, nothing grows, and in the end every event is in the region once.
//!
//! Runs for a minute; `scripts/bench soak` sets `VIGIL_SOAK_SECONDS` to five minutes or to hours, and `VIGIL_SOAK_REPORT` to the
//! file for what was measured.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use common::edge::{EdgePlan, cache, camera, plaza};
use common::footprint::Footprint;
use common::look::{eventually, http_get};
use common::{Process, free_address};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use vigil_base::{Clock, Codec, Size, SystemClock};
use vigil_camsim::{Coding, Fault, MountConfig, SimConfig, Simulator};

/// How long the cameras misbehave, unless `VIGIL_SOAK_SECONDS` says so.
const DEFAULT_SECONDS: u64 = 50;
/// The same faults in every run.
const SEED: u64 = 20_261;
/// From a fault to the camera's state on `/healthz`.
const TOLD_WITHIN: Duration = Duration::from_secs(5);
/// Longer than it takes to notice.
const LASTS: Duration = Duration::from_secs(6);
/// Between two looks at `/healthz`: shorter than the shortest time a camera is down.
const LOOK: Duration = Duration::from_millis(100);
/// The camera that nobody touches.
const STEADY: &str = "steady";
/// Those that misbehave.
const FAULTY: [&str; 3] = ["plain", "h265", "b-frames"];
/// Pictures a second of every camera.
const FPS: f64 = 10.0;
/// Share of its pictures that the steady camera must at least bring while the others misbehave.
const STEADY_SHARE: f64 = 0.85;
/// Memory may be above what it was after the first rounds by this share, and by what the allocator keeps of one camera.
const MEMORY_SHARE: f64 = 1.1;
const MEMORY_SLACK_MB: u64 = 24;
/// Rounds before the footprint counts as settled: each decoder has then been made anew.
const SETTLING_ROUNDS: usize = 2;

/// Every fault once, in some order, and whether the camera is to be seen as down because of it.
fn shuffled_faults(rng: &mut StdRng) -> Vec<(Fault, bool)> {
    let mut by_ms = || rng.random_range(5_000..60_000) * if rng.random() { 1 } else { -1 };
    let mut faults = vec![
        (Fault::Close, true),
        (Fault::Freeze(LASTS), true),
        (Fault::GarbageStream(LASTS), true),
        (Fault::Damage { rate: 0.1, lasts: LASTS }, false),
        (Fault::RepeatTimes(LASTS), false),
        (Fault::TimeJump { by_ms: by_ms() }, false),
        (Fault::NtpStep { by_ms: by_ms() }, false),
        (Fault::Resize(Size::new(160, 120)), false),
        (Fault::Resize(Size::new(192, 144)), false),
    ];
    faults.shuffle(rng);
    faults
}

fn mount(name: &str) -> MountConfig {
    let small = MountConfig { size: Some(Size::new(192, 144)), gop: Duration::from_secs(1), ..plaza(name) };
    match name {
        "h265" => MountConfig { codec: Codec::H265, ..small },
        "b-frames" => MountConfig { coding: Coding { b_frames: 2, ..Coding::default() }, ..small },
        _ => small,
    }
}

fn simulator() -> Simulator {
    let config = SimConfig::new(cache().join("camsim"));
    let names = FAULTY.into_iter().chain([STEADY]);
    let config = names.fold(config, |config, name| config.with_mount(mount(name)));
    tokio::task::block_in_place(|| Simulator::start(config)).unwrap()
}

/// Everything that runs, and what was measured of it.
struct Soak {
    simulator: Simulator,
    edge: Process,
    ops: SocketAddr,
    clock: SystemClock,
    rng: StdRng,
    /// What comes next.
    next: Vec<(Fault, bool)>,
    /// Longest time from a fault to its being told.
    slowest: Duration,
    /// By the fault's name, how often it was injected.
    faults: BTreeMap<String, u64>,
}

impl Soak {
    fn metric(&self, series: &str) -> f64 {
        let shown = http_get(self.ops, "/metrics").unwrap_or_default();
        let values =
            shown.lines().filter_map(|line| line.strip_prefix(series)?.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum()
    }

    fn decoded(&self, camera: &str) -> f64 {
        self.metric(&format!("vigil_frames_decoded_total{{camera=\"{camera}\"}}"))
    }

    /// What `/healthz` says of a camera's stream and its pictures; its clock is another matter.
    fn trouble(&self, camera: &str) -> Option<String> {
        let health: Value = serde_json::from_str(&http_get(self.ops, "/healthz")?).ok()?;
        let mut problems = health["problems"].as_array()?.iter();
        let streams = [format!("camera/{camera}"), format!("camera/{camera}/pictures")];
        let found = problems.find(|problem| streams.iter().any(|stream| problem["component"] == stream.as_str()))?;
        found["detail"].as_str().map(str::to_owned)
    }

    fn inject(&mut self, camera: &str, fault: Fault) {
        tokio::task::block_in_place(|| self.simulator.inject(camera, fault)).unwrap();
        let line = format!("{fault:?}");
        let name = line.split(['(', ' ']).next().unwrap_or_default();
        *self.faults.entry(name.to_owned()).or_default() += 1;
    }

    /// All faulty cameras misbehave at once; returns when all are seen again.
    async fn round(&mut self) {
        let began = self.clock.monotonic();
        let mut untold = Vec::new();
        let before = FAULTY.map(|camera| self.decoded(camera));
        for camera in FAULTY {
            if self.next.is_empty() {
                self.next = shuffled_faults(&mut self.rng);
            }
            let (fault, blinds) = self.next.pop().expect("it was filled just above");
            self.inject(camera, fault);
            if blinds {
                untold.push((camera, fault, self.clock.monotonic()));
            }
        }
        while !untold.is_empty() {
            let now = self.clock.monotonic();
            untold.retain(|(camera, fault, since)| {
                let (told, took) = (self.trouble(camera), now.saturating_sub(*since));
                assert!(told.is_some() || took <= TOLD_WITHIN, "{fault:?} of {camera} is not told after {took:?}");
                self.slowest = self.slowest.max(if told.is_some() { took } else { Duration::ZERO });
                told.is_none()
            });
            tokio::time::sleep(LOOK).await;
        }
        let over = began + LASTS;
        tokio::time::sleep(over.saturating_sub(self.clock.monotonic())).await;
        self.all_seen(before).await;
    }

    /// Until each faulty camera has brought a second of pictures since it had brought `before`.
    async fn all_seen(&self, before: [f64; 3]) {
        for (camera, before) in FAULTY.into_iter().zip(before) {
            let sees = async || (self.trouble(camera).is_none() && self.decoded(camera) > before + FPS).then_some(());
            eventually(&format!("{camera} seen again: {:?}", self.trouble(camera)), sees).await;
        }
    }

    /// Many short connections, one after the other.
    async fn reconnect_storm(&mut self) {
        for _ in 0..5 {
            for camera in FAULTY {
                self.inject(camera, Fault::Close);
            }
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        self.all_seen(FAULTY.map(|camera| self.decoded(camera))).await;
    }
}

async fn start(folder: &Path, region: SocketAddr) -> (Soak, EdgePlan) {
    let simulator = simulator();
    let stream = |name: &str| format!("address = \"{}\", reconnect_max = \"1s\"", simulator.url(name));
    let cameras: String = FAULTY.into_iter().chain([STEADY]).map(|name| camera(name, &stream(name))).collect();
    // Every picture is decoded, so that what is missing is seen; analysed seldom, so that a small machine can follow.
    let analysis = "[analysis]\nrate = 2.0\npacket_gate = false\n";
    let plan = EdgePlan::write(folder, "edge-1", ("north", region), &format!("{analysis}{cameras}"));
    let edge = plan.start();
    let (clock, rng) = (SystemClock::new(), StdRng::seed_from_u64(SEED));
    let soak = Soak {
        simulator,
        edge,
        ops: plan.ops,
        clock,
        rng,
        next: Vec::new(),
        slowest: Duration::ZERO,
        faults: BTreeMap::new(),
    };
    for camera in FAULTY.into_iter().chain([STEADY]) {
        eventually(&format!("pictures of {camera}"), async || (soak.decoded(camera) > FPS).then_some(())).await;
    }
    (soak, plan)
}

/// Until every event has ended and is with the region; returns how many there were.
async fn settle(soak: &Soak) -> u64 {
    soak.simulator.execute(&"refuse all 1h".parse().unwrap()).unwrap();
    let over = async || {
        let (begun, ended) = (soak.metric("vigil_events_begun_total"), soak.metric("vigil_events_ended_total"));
        let waiting = soak.metric("vigil_outbox_pending_records");
        let resumed = soak.metric("vigil_events_resumed_total");
        (begun > 0.0 && begun + resumed == ended && waiting == 0.0).then_some(begun as u64)
    };
    eventually("every event to end and to be with the region", over).await
}

#[tokio::test(flavor = "multi_thread")]
async fn cameras_that_misbehave_all_the_time_are_told_of_and_nothing_grows_or_is_lost() {
    let seconds = std::env::var("VIGIL_SOAK_SECONDS").map_or(DEFAULT_SECONDS, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let mut region = common::region(folder.path(), "north", address);
    let (mut soak, plan) = start(folder.path(), address).await;

    let (began, steady) = (soak.clock.monotonic(), soak.decoded(STEADY));
    let (mut rounds, mut settled, mut peak) = (0, Footprint::of(soak.edge.id()), None);
    while soak.clock.monotonic().saturating_sub(began) < Duration::from_secs(seconds) {
        soak.round().await;
        rounds += 1;
        if rounds % 2 == 0 {
            soak.reconnect_storm().await;
        }
        if rounds % 3 == 0 {
            region.kill();
            region = common::region(folder.path(), "north", address);
        }
        let now = Footprint::of(soak.edge.id());
        if rounds <= SETTLING_ROUNDS {
            settled = settled.peak(now);
        } else {
            peak = Some(peak.map_or(now, |peak: Footprint| peak.peak(now)));
        }
    }
    let passed = soak.clock.monotonic().saturating_sub(began).as_secs_f64();
    let share = (soak.decoded(STEADY) - steady) / passed / FPS;
    let panics = soak.metric("vigil_analysis_panics_total");
    let steady_reconnects = soak.metric(&format!("vigil_camera_reconnects_total{{camera=\"{STEADY}\""));
    let events = settle(&soak).await;
    let peak = peak.expect("more rounds than it takes to settle");
    let report = json!({
        "bench": "soak", "seconds": passed.round(), "rounds": rounds, "faults": soak.faults,
        "slowest_told_s": soak.slowest.as_secs_f64(), "steady_share": share, "events": events,
        "settled_mb": settled.memory_mb, "peak_mb": peak.memory_mb, "settled_threads": settled.threads,
        "peak_threads": peak.threads, "settled_files": settled.files, "peak_files": peak.files,
    });
    if let Some(path) = std::env::var_os("VIGIL_SOAK_REPORT") {
        std::fs::write(path, format!("{report}\n")).unwrap();
    }

    assert!(share >= STEADY_SHARE, "the steady camera was disturbed: {report}");
    assert_eq!(steady_reconnects, 0.0, "{report}");
    let most = (settled.memory_mb as f64 * MEMORY_SHARE) as u64 + MEMORY_SLACK_MB;
    assert!(peak.memory_mb <= most, "memory grows: {report}");
    assert!(peak.threads <= settled.threads + 2 && peak.files <= settled.files + 8, "something leaks: {report}");
    assert_eq!(panics, 0.0);
    let found = common::all_events(common::connect(address).await).await;
    assert!(found.values().all(|times| *times == 1) && found.len() as u64 == events, "{} of {events}", found.len());
    assert_eq!(soak.edge.terminate().code(), Some(0));
    let log = std::fs::read_to_string(&plan.log).unwrap();
    assert!(!log.contains("panicked"), "{}", plan.log.display());
}
