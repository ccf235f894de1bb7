//! A camera's chain behind the simulator, and what its detector and its sink were given.

#![allow(dead_code)] // Each test file uses its part.
#![allow(clippy::unwrap_used)] // The helpers are tests too.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use vigil_base::detection::ModelIdentity;
use vigil_base::event::{EventState, ModelRef};
use vigil_base::{CameraId, Clock, Detections, EdgeId, Frame, RegionId, Size, SystemClock, Timestamp};
use vigil_camera::CameraSource;
use vigil_camsim::{MountConfig, SimConfig};
use vigil_decode::DecoderConfig;
use vigil_detect::{DetectError, Detector, Model, ModelCatalogue, ModelConfig, Runtime, Scheduler, SchedulerConfig};
use vigil_event::{EventConfig, EventContext, EventIds, Revision};
use vigil_gate::{AttentionConfig, GateConfig, PacketGateConfig};
use vigil_rules::RuleSet;
use vigil_runtime::{AnalyserConfig, CameraChain, ChainConfig, DetectorSource, EventSink, Openings, SinkClosed};
use vigil_track::TrackerConfig;

/// How long a condition may take on a loaded machine. Only a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(20);
/// Frames a second that are analysed.
pub const RATE: f64 = 5.0;

/// A file below the cache; a clear failure where it is absent.
pub fn cached(path: &str) -> PathBuf {
    let home = || std::env::var("HOME").map(|home| format!("{home}/.cache/vigil"));
    let cache = std::env::var("VIGIL_CACHE").or_else(|_| home()).expect("HOME or VIGIL_CACHE is set");
    let path = PathBuf::from(cache).join(path);
    assert!(path.exists(), "{} is absent: run scripts/setup", path.display());
    path
}

/// The first two seconds of the plaza, small, with a keyframe every second.
pub fn plaza(name: &str) -> MountConfig {
    MountConfig {
        size: Some(Size::new(192, 144)),
        gop: Duration::from_secs(1),
        max_length: Some(Duration::from_secs(2)),
        sender_reports: Some(Duration::from_millis(500)),
        ..MountConfig::new(name, cached("clips/vtest.avi"))
    }
}

pub fn config(mounts: impl IntoIterator<Item = MountConfig>) -> SimConfig {
    let mut config = SimConfig::new(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("clips"));
    config.mounts.extend(mounts);
    config
}

/// One of the tiny models with known answers, shared as an edge shares its own.
pub fn scheduler(model: &str) -> Scheduler {
    let catalogue = ModelCatalogue::load(&cached("test-models/manifest.toml")).unwrap();
    let entry = catalogue.entry(Some(model)).unwrap();
    let model = Model::load(&Runtime::start(None).unwrap(), entry, &ModelConfig::default()).unwrap();
    Scheduler::start(model, SchedulerConfig { workers: 1, ..SchedulerConfig::default() }, SystemClock::shared())
        .unwrap()
}

/// What a detector was shown.
#[derive(Clone, Default)]
pub struct Shown(Arc<Frames>);

#[derive(Default)]
struct Frames {
    seen: Mutex<Vec<(Timestamp, Size)>>,
    changed: Condvar,
}

impl Shown {
    pub fn lock(&self) -> MutexGuard<'_, Vec<(Timestamp, Size)>> {
        self.0.seen.lock()
    }

    fn push(&self, frame: &Frame) {
        self.lock().push((frame.capture_time, frame.size));
        self.0.changed.notify_all();
    }

    /// Waits until more is shown; not long, since a camera's state may change without it.
    fn wait(&self) {
        self.0.changed.wait_for(&mut self.lock(), POLL);
    }
}

struct Noting {
    inner: Box<dyn Detector>,
    shown: Shown,
}

impl Detector for Noting {
    fn model(&self) -> Arc<ModelIdentity> {
        self.inner.model()
    }

    fn detect(&mut self, frame: &Frame) -> Result<Detections, DetectError> {
        self.shown.push(frame);
        self.inner.detect(frame)
    }
}

/// Begin and end of each event that has ended.
#[derive(Default)]
pub struct Ended {
    pub events: Mutex<Vec<(Timestamp, Timestamp)>>,
    changed: Condvar,
}

impl EventSink for Ended {
    fn put(&self, revisions: Vec<Revision>) -> Result<(), SinkClosed> {
        let ended = revisions.iter().map(|revision| &revision.event);
        let ended = ended.filter(|event| matches!(event.state, EventState::Ended(_)));
        self.events.lock().extend(ended.map(|event| (event.begin_time, event.end_time)));
        self.changed.notify_all();
        Ok(())
    }
}

impl Ended {
    pub fn first(&self) -> (Timestamp, Timestamp) {
        let mut events = self.events.lock();
        let timed_out = self.changed.wait_while_for(&mut events, |events| events.is_empty(), PATIENCE).timed_out();
        assert!(!timed_out, "nobody was seen");
        events[0]
    }
}

/// Quick to notice and to come back.
pub fn source(url: &str) -> CameraSource {
    CameraSource {
        reconnect_min: Some(Duration::from_millis(50)),
        reconnect_max: Some(Duration::from_millis(200)),
        ..CameraSource::new(url.parse().unwrap())
    }
}

/// An edge's chain for the stream at `url`, as the edge itself would set it up.
pub fn chain_config(url: &str, gate: Option<PacketGateConfig>, detector: DetectorSource) -> ChainConfig {
    let camera = CameraId::new(url.rsplit('/').next().unwrap()).unwrap();
    let model = detector().model();
    ChainConfig {
        camera: camera.clone(),
        source: source(url).resolve().unwrap(),
        decoder: DecoderConfig::default(),
        rate: RATE,
        gate,
        openings: Openings::new(1),
        analyser: AnalyserConfig {
            rules: RuleSet::default(),
            gate: gate.map(|_| GateConfig::default()),
            // At an even rate, so that a gap is a fault.
            attention: AttentionConfig { max_rate: RATE, min_rate: RATE, ..AttentionConfig::default() },
            tracker: TrackerConfig::default(),
            plates: None,
            events: EventConfig {
                classes: model.classes.clone(),
                update_interval: Duration::from_secs(2),
                thumbnails: false,
                ids: EventIds::Random,
            },
        },
        context: EventContext {
            region: RegionId::new("north").unwrap(),
            edge: EdgeId::new("edge-1").unwrap(),
            camera,
            location: None,
            ground: None,
            model: ModelRef { name: model.name.as_str().into(), fingerprint: model.fingerprint.as_str().into() },
        },
        detector,
        on_status: Arc::new(|_, _| {}),
        on_sight: Arc::new(|_| {}),
        memory: None,
    }
}

/// A running chain with a model, and what its detector was shown.
pub struct Watched {
    pub chain: CameraChain,
    pub shown: Shown,
    /// What the camera said of itself, in order.
    pub said: Arc<Mutex<Vec<String>>>,
}

impl Watched {
    pub fn start(url: &str, scheduler: &Scheduler) -> Self {
        let shown = Shown::default();
        let (scheduler, camera, seen) = (scheduler.clone(), CameraId::new("any").unwrap(), shown.clone());
        let detector: DetectorSource = Arc::new(move || {
            Box::new(Noting { inner: Box::new(scheduler.camera(&camera, RATE)), shown: seen.clone() })
        });
        let mut config = chain_config(url, Some(PacketGateConfig::default()), detector);
        let said = Arc::<Mutex<Vec<String>>>::default();
        let sentences = said.clone();
        config.on_status = Arc::new(move |_, sentence| sentences.lock().push(sentence.to_owned()));
        let chain = CameraChain::start(config, Arc::new(Ended::default()), SystemClock::shared()).unwrap();
        Self { chain, shown, said }
    }

    /// Waits until so many more frames are analysed; fails with the camera's state.
    pub fn sees(&self, more: u64) {
        let wanted = self.chain.health().counts.analysed + more;
        self.until("frames", |watched| watched.chain.health().counts.analysed >= wanted);
    }

    /// Waits until `condition` holds.
    pub fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let clock = SystemClock::new();
        while !condition(self) {
            assert!(clock.monotonic() < PATIENCE, "no {what}: {:?}", self.chain.health());
            self.shown.wait();
        }
    }

    pub fn times(&self) -> Vec<Timestamp> {
        self.shown.lock().iter().map(|(time, _)| *time).collect()
    }
}
