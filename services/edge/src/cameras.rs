//! The edge's cameras at work, and how they change while it runs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use vigil_base::coverage::{Analysis, FrameCounts};
use vigil_base::{CameraId, SharedClock};
use vigil_proto::v1;
use vigil_runtime::{CameraChain, CameraState, Openings, StartError, Unfit};
use vigil_serve::HealthBoard;

use crate::chain::chain_config;
use crate::config::{CameraConfig, EdgeConfig};
use crate::coverage::Sample;
use crate::memory::Memories;
use crate::model::{ModelError, SharedModel};
use crate::plates::SharedPlates;
use crate::sink::OutboxSink;
use crate::wire;

/// What all cameras of the edge share.
pub(crate) struct Common {
    pub model: Arc<SharedModel>,
    pub plates: SharedPlates,
    pub sink: Arc<OutboxSink>,
    pub clock: SharedClock,
    pub board: HealthBoard,
    /// What rules remember.
    pub memories: Memories,
    /// Whose turn it is to learn its scene.
    pub openings: Arc<Openings>,
}

/// The cameras that run.
pub(crate) struct Cameras {
    common: Common,
    running: Mutex<BTreeMap<CameraId, Running>>,
    /// What the region is told of them.
    announced: watch::Sender<Vec<v1::Camera>>,
}

struct Running {
    config: CameraConfig,
    chain: Arc<CameraChain>,
    /// What the coverage ledger was told so far.
    told: FrameCounts,
}

impl Running {
    /// What happened since the last sample.
    fn sample(&mut self, analysis: &Analysis) -> Sample {
        let health = self.chain.health();
        let frames = health.counts - self.told;
        self.told = health.counts;
        Sample {
            camera: health.camera,
            frames,
            watched: health.state == CameraState::Streaming,
            analysis: Analysis { rate: self.config.analysis.rate as f32, ..analysis.clone() },
            clock_offset_ms: health.clock_offset_ms,
        }
    }
}

/// What a changed configuration did to the cameras.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub added: usize,
    pub removed: usize,
    /// Set up anew: their stream or analysis changed.
    pub restarted: usize,
    /// Went on with other rules.
    pub rules: usize,
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { added, removed, restarted, rules } = self;
        write!(f, "cameras: {added} added, {removed} removed, {restarted} set up anew, {rules} with other rules")
    }
}

/// A camera's configuration does not fit what runs.
#[derive(Debug, thiserror::Error)]
#[error("camera {camera}")]
pub(crate) struct CameraUnfit {
    camera: CameraId,
    #[source]
    source: Unfit,
}

/// How a camera's new configuration differs from the one it runs with.
enum Difference {
    None,
    /// Only in what the region is told.
    Name,
    Rules,
    /// In what needs a new chain.
    Chain,
}

impl Cameras {
    /// Starts them all.
    pub fn start(config: &EdgeConfig, common: Common) -> Result<Self, StartError> {
        let announced = watch::Sender::new(announcement(config));
        let cameras = Self { common, running: Mutex::default(), announced };
        for camera in &config.cameras {
            cameras.start_one(config, camera)?;
        }
        Ok(cameras)
    }

    /// What the region is told of them, and each change of it.
    pub fn announced(&self) -> watch::Receiver<Vec<v1::Camera>> {
        self.announced.subscribe()
    }

    /// How they are.
    pub fn health(&self) -> Vec<v1::CameraHealth> {
        let health = |running: &Running| wire::camera_health(&running.chain.health(), &running.chain.rules());
        self.running.lock().values().map(health).collect()
    }

    /// What happened to each since the last call, for the coverage ledger.
    pub fn samples(&self) -> Vec<Sample> {
        let analysis = self.common.model.analysis();
        self.running.lock().values_mut().map(|running| running.sample(&analysis)).collect()
    }

    /// Whether each camera of `config` can run with the model there is.
    pub fn check(&self, config: &EdgeConfig) -> Result<(), CameraUnfit> {
        let identity = &self.common.model.identity();
        config.cameras.iter().try_for_each(|camera| {
            let fits = vigil_runtime::fits(&camera.analysis.classes, &camera.rules, identity);
            fits.map_err(|source| CameraUnfit { camera: camera.id.clone(), source })
        })
    }

    /// Loads the models that read plates, where a camera of `config` needs them and none did before.
    pub fn prepare_plates(&self, config: &EdgeConfig) -> Result<(), ModelError> {
        self.common.plates.prepare(config)
    }

    /// Makes the cameras what `config` says, which was checked. A camera whose configuration is as it was is not touched;
    /// one of which only the rules changed goes on. Waits for the last events of those that end.
    ///
    /// # Errors
    /// The machine refuses a thread: that camera does not run, the others do as the configuration says.
    pub fn change(&self, config: &EdgeConfig) -> Result<Changes, StartError> {
        let mut changes = Changes::default();
        let wanted: BTreeMap<&CameraId, &CameraConfig> = config.cameras.iter().map(|c| (&c.id, c)).collect();
        let gone: Vec<CameraId> = self.running.lock().keys().filter(|id| !wanted.contains_key(id)).cloned().collect();
        changes.removed = gone.len();
        for id in &gone {
            self.stop_one(id);
            self.common.memories.forget(id);
        }
        let mut failed = None;
        for camera in &config.cameras {
            match self.difference(camera) {
                Some(Difference::None) => {}
                Some(Difference::Name) => self.keep(camera),
                Some(Difference::Rules) => {
                    self.set_rules(camera);
                    changes.rules += 1;
                }
                Some(Difference::Chain) => {
                    self.stop_one(&camera.id);
                    failed = self.start_one(config, camera).err().or(failed);
                    changes.restarted += 1;
                }
                None => {
                    failed = self.start_one(config, camera).err().or(failed);
                    changes.added += 1;
                }
            }
        }
        self.announced.send_if_modified(|now| {
            let next = announcement(config);
            std::mem::replace(now, next.clone()) != next
        });
        failed.map_or(Ok(changes), Err)
    }

    /// Tells all to stop.
    pub fn stop(&self) {
        for running in self.running.lock().values() {
            running.chain.stop();
        }
    }

    /// Waits until the last events of all are with the sink. [`Cameras::stop`] them first.
    pub fn wait(&self) {
        let chains: Vec<_> = self.running.lock().values().map(|running| running.chain.clone()).collect();
        for chain in chains {
            chain.wait();
        }
    }

    fn start_one(&self, config: &EdgeConfig, camera: &CameraConfig) -> Result<(), StartError> {
        let Common { sink, clock, .. } = &self.common;
        let chain = chain_config(config, camera, &self.common);
        let chain = CameraChain::start(chain, sink.clone(), clock.clone())?;
        let running = Running { config: camera.clone(), chain: Arc::new(chain), told: FrameCounts::default() };
        self.running.lock().insert(camera.id.clone(), running);
        Ok(())
    }

    fn stop_one(&self, id: &CameraId) {
        let Some(running) = self.running.lock().remove(id) else { return };
        running.chain.stop();
        running.chain.wait();
        // Whatever was wrong with it is no more.
        let component = format!("camera/{id}");
        let about =
            |name: &str| name.strip_prefix(&component).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        for problem in self.common.board.problems().iter().filter(|problem| about(&problem.component)) {
            self.common.board.clear(&problem.component);
        }
    }

    fn set_rules(&self, camera: &CameraConfig) {
        if let Some(running) = self.running.lock().get_mut(&camera.id) {
            running.chain.set_rules(camera.rules.clone());
            running.config = camera.clone();
        }
    }

    fn keep(&self, camera: &CameraConfig) {
        if let Some(running) = self.running.lock().get_mut(&camera.id) {
            running.config = camera.clone();
        }
    }

    /// None where the camera does not run.
    fn difference(&self, camera: &CameraConfig) -> Option<Difference> {
        let running = self.running.lock();
        let now = &running.get(&camera.id)?.config;
        let named = CameraConfig { name: camera.name.clone(), ..now.clone() };
        let ruled = CameraConfig { rules: camera.rules.clone(), ..named.clone() };
        Some(match () {
            () if now == camera => Difference::None,
            () if named == *camera => Difference::Name,
            () if ruled == *camera => Difference::Rules,
            () => Difference::Chain,
        })
    }
}

fn announcement(config: &EdgeConfig) -> Vec<v1::Camera> {
    config.cameras.iter().map(|camera| wire::camera(config, camera)).collect()
}
