//! A camera that is not seen says so, and why, within five seconds; the camera beside it does not notice.

#![allow(clippy::unwrap_used)] // The helpers are tests too.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Watched, chain_config, config, plaza, scheduler};
use parking_lot::Mutex;
use vigil_base::detection::ModelIdentity;
use vigil_base::{Clock, Detections, Frame, SystemClock};
use vigil_camsim::{Fault, Simulator};
use vigil_detect::{DetectError, Detector};
use vigil_runtime::{CameraChain, CameraState, ChainConfig};

/// From the fault to the camera's state.
const TOLD_WITHIN: Duration = Duration::from_secs(5);
/// Longer than it takes to notice.
const LASTS: Duration = Duration::from_secs(6);

/// Injects a fault, and returns the state's sentence once the camera is down; then waits until it is seen again.
fn told(simulator: &Simulator, camera: &Watched, fault: Fault) -> String {
    let clock = SystemClock::new();
    simulator.inject("cam", fault).unwrap();
    camera.until("trouble", |camera| camera.chain.health().state == CameraState::Down);
    let (took, why) = (clock.monotonic(), camera.chain.health().detail);
    assert!(took <= TOLD_WITHIN, "{fault:?} was told after {took:?}: {why}");
    camera.until("recovery", |camera| camera.chain.health().state == CameraState::Streaming);
    camera.sees(2);
    why
}

#[test]
fn every_fault_of_a_camera_is_told_in_time_and_disturbs_no_other() {
    let simulator = Simulator::start(config([plaza("cam"), plaza("beside")])).unwrap();
    let scheduler = scheduler("fixed-yolov8");
    let [camera, beside] = ["cam", "beside"].map(|name| Watched::start(&simulator.url(name), &scheduler));
    camera.sees(2);
    beside.sees(2);
    let (before, clock) = (beside.chain.health().counts, SystemClock::new());
    for (fault, words) in [
        (Fault::Close, ["ended the stream"].as_slice()),
        (Fault::Freeze(LASTS), &["stalled"]),
        (Fault::GarbageStream(LASTS), &["trying again in"]),
        // Which bits are hit decides whether the session breaks or goes on without a picture.
        (Fault::Damage { rate: 1.0, lasts: LASTS }, &["trying again in", "give no picture: the stream is damaged"]),
    ] {
        let why = told(&simulator, &camera, fault);
        assert!(words.iter().any(|words| why.contains(words)), "{fault:?}: {why}");
    }
    let (after, health) = (beside.chain.health().counts, beside.chain.health());
    let decoded = (after.decoded - before.decoded) as f64 / clock.monotonic().as_secs_f64();
    assert!((8.0..12.0).contains(&decoded), "{decoded} pictures a second beside the faults");
    assert_eq!((health.state, after.dropped()), (CameraState::Streaming, 0), "{health:?}");
    assert_eq!(simulator.stats("beside").unwrap().sessions, 1);
}

/// Fails while it is told to.
struct Failing(Arc<AtomicBool>);

impl Detector for Failing {
    fn model(&self) -> Arc<ModelIdentity> {
        let (name, classes) = ("failing".to_owned(), vec!["person".to_owned()]);
        Arc::new(ModelIdentity { name, fingerprint: "0".repeat(64), classes, ..ModelIdentity::default() })
    }

    fn detect(&mut self, frame: &Frame) -> Result<Detections, DetectError> {
        if self.0.load(Ordering::Relaxed) {
            return Err(DetectError::Panicked { model: "failing".to_owned() });
        }
        Ok(Detections {
            capture_time: frame.capture_time,
            time_source: frame.time_source,
            size: frame.size,
            items: Vec::new(),
            model: self.model(),
        })
    }
}

#[test]
fn a_model_that_fails_is_told_as_the_cameras_blindness_until_it_works_again() {
    let simulator = Simulator::start(config([plaza("cam")])).unwrap();
    let fails = Arc::new(AtomicBool::new(false));
    let told = Arc::new(Mutex::new(Vec::new()));
    let (failing, listener) = (fails.clone(), told.clone());
    let config = ChainConfig {
        on_sight: Arc::new(move |why| listener.lock().push(why.map(str::to_owned))),
        ..chain_config(&simulator.url("cam"), None, Arc::new(move || Box::new(Failing(failing.clone()))))
    };
    let chain = CameraChain::start(config, Arc::new(common::Ended::default()), SystemClock::shared()).unwrap();
    let camera = Watched { chain, shown: common::Shown::default(), said: Arc::default() };
    camera.sees(2);
    fails.store(true, Ordering::Relaxed);
    camera.until("trouble", |camera| camera.chain.health().state == CameraState::Down);
    assert!(camera.chain.health().detail.contains("model failing: a run panicked"), "{:?}", camera.chain.health());
    camera.until("several failures", |camera| camera.chain.health().counts.dropped() >= 3);
    fails.store(false, Ordering::Relaxed);
    camera.until("recovery", |camera| camera.chain.health().state == CameraState::Streaming);
    let told = told.lock();
    assert!(matches!(told.as_slice(), [Some(why), None] if why.contains("cannot be analysed")), "{told:?}");
}
