//! One camera's chain: two threads and the places between them.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use vigil_base::error::chain;
use vigil_base::event::{EndReason, EventState};
use vigil_base::{CameraId, EncodedPacket, Frame, SharedClock};
use vigil_camera::{Camera, CameraError, CameraStatus};
use vigil_event::Revision;
use vigil_rules::RuleSet;

use crate::analyse::{Analyser, AnalyserConfig, Analysis, Unfit};
use crate::config::ChainConfig;
use crate::keeper::{self, Keeper};
use crate::ledger::DropCause;
use crate::reader::Reader;
use crate::readouts::{RuleReadout, RuleTelemetry};
use crate::shared::Shared;
use crate::sink::{EventSink, SinkClosed};
use crate::slot::{FrameSlot, Taken};
use crate::status::{CameraHealth, Stage};

/// A camera that brings no frame for so long has lost what it had in view; shorter cuts are bridged by the tracker.
const STREAM_LOST_AFTER: Duration = Duration::from_secs(10);
/// Wait before an analysis that panicked is set up anew: a poisonous stream must not eat the machine.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// A chain cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration asks for a class that the model does not find.
    #[error("camera {camera}")]
    Unfit {
        /// The camera.
        camera: CameraId,
        /// Which class.
        #[source]
        source: Unfit,
    },
    /// The machine cannot read cameras at all: GStreamer is not installed.
    #[error("camera {camera}")]
    Camera {
        /// The camera.
        camera: CameraId,
        /// Why.
        #[source]
        source: CameraError,
    },
    /// The machine refuses a thread.
    #[error("camera {camera}: cannot start a thread")]
    Thread {
        /// The camera.
        camera: CameraId,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A running camera chain. Dropping it stops it without waiting; [`CameraChain::wait`] waits.
pub struct CameraChain {
    camera: CameraId,
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl CameraChain {
    /// Starts a camera's threads. Trouble with the camera itself is no error here: the chain keeps trying.
    pub fn start(config: ChainConfig, sink: Arc<dyn EventSink>, clock: SharedClock) -> Result<Self, StartError> {
        let camera = config.camera.clone();
        let shared = Arc::new(Shared::new(&camera));
        let analyser = new_analyser(&config, None)?;
        let reader = Camera::rtsp(camera.clone(), config.source.clone(), clock.clone())
            .map_err(|source| StartError::Camera { camera: camera.clone(), source })?;
        let chain = Self { camera: camera.clone(), shared: shared.clone(), threads: Mutex::default() };
        let (analyse_config, analyse_shared) = (config.clone(), shared.clone());
        let keeper = Keeper::new(config.memory.clone(), clock.clone());
        chain.spawn("analyse", move || analyse(analyser, keeper, &analyse_config, &analyse_shared, &*sink))?;
        chain.spawn("camera", move || read(reader, &config, &shared, &clock))?;
        Ok(chain)
    }

    /// How the camera is now.
    pub fn health(&self) -> CameraHealth {
        self.shared.status.health(&self.camera, self.shared.ledger.counts())
    }

    /// How its rules are and what they count.
    pub fn rules(&self) -> Vec<RuleReadout> {
        self.shared.readouts.get()
    }

    /// Changes the rules, from the next frame on; what waits to be taken over is replaced. They must fit the model.
    pub fn set_rules(&self, rules: RuleSet) {
        self.shared.set_rules(rules);
    }

    /// Tells the chain to stop; its live events end with [`EndReason::EdgeStopped`].
    pub fn stop(&self) {
        self.shared.shutdown.trigger();
    }

    /// Waits until the chain has ended and its last events are with the sink. [`CameraChain::stop`] it first.
    pub fn wait(&self) {
        for thread in std::mem::take(&mut *self.threads.lock()) {
            if thread.join().is_err() {
                tracing::error!(camera = %self.camera, "a thread of the camera panicked");
            }
        }
    }

    fn spawn(&self, role: &str, run: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
        let thread = std::thread::Builder::new().name(format!("{role}-{}", self.camera)).spawn(run);
        let thread = thread.map_err(|source| StartError::Thread { camera: self.camera.clone(), source })?;
        self.threads.lock().push(thread);
        Ok(())
    }
}

impl Drop for CameraChain {
    fn drop(&mut self) {
        self.stop();
    }
}

fn new_analyser(config: &ChainConfig, rules: Option<RuleSet>) -> Result<Analyser, StartError> {
    let analyser = config.analyser.clone();
    let analyser = AnalyserConfig { rules: rules.unwrap_or_else(|| analyser.rules.clone()), ..analyser };
    let mut analyser = Analyser::new(analyser, config.context.clone(), (config.detector)())
        .map_err(|source| StartError::Unfit { camera: config.camera.clone(), source })?;
    if let Some(store) = &config.memory {
        keeper::recall(&mut analyser, &config.camera, &**store);
    }
    Ok(analyser)
}

/// Camera thread: packets in, frames that are to be analysed into the slot, until shutdown.
fn read(mut camera: Camera, config: &ChainConfig, shared: &Arc<Shared>, clock: &SharedClock) {
    // Whatever ends this thread, the analysing thread ends, too.
    let _close = CloseOnDrop(&shared.slot);
    let reader = RefCell::new(Reader::new(config, shared, clock));
    let take_packet = |packet: EncodedPacket| {
        reader.borrow_mut().take(packet);
        Ok(())
    };
    let on_status = |status: CameraStatus| {
        let sentence = shared.status.follow(&status);
        if !matches!(status, CameraStatus::Streaming { .. }) {
            shared.set_resting(false);
            reader.borrow_mut().interrupted();
            // What the connection says of itself counts; the next one may bring another stream.
            shared.sight(config, Stage::Decode, None);
        }
        (config.on_status)(&status, &sentence);
    };
    camera.run(&take_packet, &on_status, &shared.shutdown);
}

struct CloseOnDrop<'a>(&'a FrameSlot);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Analysing thread: frames out of the slot, events into the sink, until the slot is closed.
fn analyse(mut analyser: Analyser, mut keeper: Keeper, config: &ChainConfig, shared: &Shared, sink: &dyn EventSink) {
    loop {
        let ended = catch_unwind(AssertUnwindSafe(|| analyse_frames(&mut analyser, &mut keeper, config, shared, sink)));
        if ended.is_ok() {
            return;
        }
        tracing::error!(camera = %config.camera, "the analysis panicked and is set up anew");
        metrics::counter!("vigil_analysis_panics_total", "camera" => config.camera.to_string()).increment(1);
        // What was in view is closed as far as that still works, so that no event stays open for ever.
        let last = catch_unwind(AssertUnwindSafe(|| analyser.end_all(EndReason::StreamLost))).unwrap_or_default();
        let kept = keep(sink, shared, last);
        // What it remembers goes over to its successor as far as that still works.
        let _ = catch_unwind(AssertUnwindSafe(|| keeper.finish(&mut analyser)));
        if kept.is_err() || shared.shutdown.wait(RESTART_AFTER) {
            return;
        }
        analyser = match new_analyser(config, shared.rules()) {
            Ok(analyser) => analyser,
            Err(error) => {
                return tracing::error!(camera = %config.camera, error = %chain(&error), "the analysis cannot be set up");
            }
        };
    }
}

fn analyse_frames(
    analyser: &mut Analyser,
    keeper: &mut Keeper,
    config: &ChainConfig,
    shared: &Shared,
    sink: &dyn EventSink,
) {
    let mut telemetry = RuleTelemetry::new(config.camera.clone());
    loop {
        let kept = match shared.slot.take(STREAM_LOST_AFTER) {
            Taken::Frame(frame) => {
                let ended = take_rules(analyser, config, shared);
                keep(sink, shared, ended).and_then(|()| keep(sink, shared, look_at(analyser, &frame, config, shared)))
            }
            Taken::Nothing if shared.is_resting() => Ok(()),
            Taken::Nothing => keep(sink, shared, analyser.end_all(EndReason::StreamLost)),
            Taken::Closed => {
                let last = analyser.end_all(EndReason::EdgeStopped);
                if keep(sink, shared, last).is_err() {
                    tracing::warn!(camera = %config.camera, "the last events could not be kept");
                }
                keeper.finish(analyser);
                return;
            }
        };
        if kept.is_err() {
            return tracing::info!(camera = %config.camera, "the outbox is closed: the analysis ends");
        }
        // After the events: what is remembered of them must not be there before they are.
        keeper.look(analyser);
        telemetry.follow(analyser.rule_states(), &shared.readouts);
    }
}

/// Takes new rules where some are waiting; the events that ended with the old ones.
fn take_rules(analyser: &mut Analyser, config: &ChainConfig, shared: &Shared) -> Vec<Revision> {
    let Some(rules) = shared.take_new_rules() else { return Vec::new() };
    analyser.set_rules(rules).unwrap_or_else(|error| {
        // They were checked against the model before they were handed over.
        tracing::error!(camera = %config.camera, error = %chain(&error), "the new rules cannot be used; the old ones stay");
        Vec::new()
    })
}

fn look_at(analyser: &mut Analyser, frame: &Frame, config: &ChainConfig, shared: &Shared) -> Vec<Revision> {
    let analysis = analyser.analyse(frame);
    shared.set_busy(analyser.is_busy());
    match analysis {
        Ok(Analysis::Still { revisions }) => {
            shared.ledger.still();
            revisions
        }
        Ok(Analysis::NotDue) => {
            shared.ledger.not_due();
            Vec::new()
        }
        Ok(Analysis::Seen { revisions, .. }) => {
            shared.ledger.analysed();
            shared.sight(config, Stage::Detect, None);
            revisions
        }
        Err(error) => {
            shared.ledger.dropped(DropCause::DetectorFailed);
            let why = format!("its pictures cannot be analysed: {}", chain(&error));
            shared.sight(config, Stage::Detect, Some(&why));
            Vec::new()
        }
    }
}

/// Counts what is kept: with these counters of the edge, a region can be checked to the event.
fn keep(sink: &dyn EventSink, shared: &Shared, revisions: Vec<Revision>) -> Result<(), SinkClosed> {
    if revisions.is_empty() {
        return Ok(());
    }
    let events = revisions.iter().map(|revision| &revision.event);
    let begun = events.clone().filter(|event| event.revision == 1).count();
    let resumed = revisions.iter().filter(|revision| revision.resumes).count();
    let ended = events.filter(|event| matches!(event.state, EventState::Ended(_))).count();
    sink.put(revisions)?;
    shared.events_begun.increment(begun as u64);
    shared.events_resumed.increment(resumed as u64);
    shared.events_ended.increment(ended as u64);
    Ok(())
}
