//! The detector that all cameras of the edge share.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio_util::sync::CancellationToken;
use vigil_base::coverage::Analysis;
use vigil_base::detection::ModelIdentity;
use vigil_base::error::chain;
use vigil_base::{CameraId, Detections, Frame, SharedClock};
use vigil_detect::{
    CameraLane, DetectError, Detector, ManifestError, Model, ModelCatalogue, ModelConfig as DetectorConfig, Provider,
    ProviderChoice, Regions, Runtime, RuntimeError, Scheduler, SchedulerConfig, Shadow,
};
use vigil_runtime::DetectorSource;
use vigil_serve::HealthBoard;

use crate::config::ModelConfig;
use crate::rollout::{LOOK_EVERY, Rollout, ShadowPlan, ShadowReport};

/// Where the product's own manifest is looked for, in this order, unless `VIGIL_MANIFEST` names one.
const MANIFEST: &str = "models/manifest.toml";
/// The component's name on the health board.
const COMPONENT: &str = "detector";
/// The same, for what `vigil model` decided.
const ROLLOUT: &str = "model";

/// The detector cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No manifest was found.
    #[error(
        "no model manifest at {MANIFEST}: run in the product's folder, set VIGIL_MANIFEST, or name it (--manifest FILE; model.manifest in edge.toml)"
    )]
    NoManifest,
    /// The manifest cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// ONNX Runtime cannot be used.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The model cannot be used.
    #[error(transparent)]
    Model(#[from] DetectError),
    /// The edge cannot change to this model while it runs.
    #[error("model {new} finds other classes than {old}: restart the edge to use it")]
    OtherClasses {
        /// The one that was promoted.
        new: String,
        /// The one in use.
        old: String,
    },
}

/// The model manifest where none is named: `$VIGIL_MANIFEST`, else `models/manifest.toml` below the working folder.
pub fn default_manifest() -> Result<PathBuf, ModelError> {
    let named = std::env::var_os("VIGIL_MANIFEST").map(PathBuf::from);
    let found = named.or_else(|| Some(PathBuf::from(MANIFEST)).filter(|path| path.is_file()));
    found.ok_or(ModelError::NoManifest)
}

/// The model that all cameras share, and the one in its shadow; both follow what `vigil model` decides.
pub(crate) struct SharedModel {
    loader: Loader,
    data_dir: PathBuf,
    board: HealthBoard,
    /// Whoever detects looks at this number, and fetches what is new when it has changed.
    changes: AtomicU64,
    in_use: RwLock<InUse>,
    followed: Mutex<Rollout>,
}

/// What detects now.
#[derive(Clone)]
struct InUse {
    scheduler: Scheduler,
    /// What it really runs on.
    provider: Provider,
    /// Confidence from which the model's maker takes a box for real.
    cutoff: f32,
    shadow: Option<(Arc<Shadow>, f32)>,
}

/// Makes models of names.
struct Loader {
    config: ModelConfig,
    catalogue: ModelCatalogue,
    runtime: Runtime,
    clock: SharedClock,
}

impl Loader {
    fn new(config: &ModelConfig, clock: SharedClock) -> Result<Self, ModelError> {
        let manifest = config.manifest.clone().map_or_else(default_manifest, Ok)?;
        let catalogue = ModelCatalogue::load(&manifest)?;
        Ok(Self { config: config.clone(), catalogue, runtime: Runtime::start(None)?, clock })
    }

    /// The name that edge.toml means.
    fn configured(&self) -> Result<&str, ModelError> {
        Ok(&self.catalogue.entry(self.config.name.as_deref())?.name)
    }

    fn model(&self, name: &str, board: &HealthBoard) -> Result<Model, ModelError> {
        let entry = self.catalogue.entry(Some(name))?;
        let ModelConfig { providers, fallback, .. } = &self.config;
        let detector =
            DetectorConfig { providers: providers.clone(), fallback: *fallback, ..DetectorConfig::default() };
        let model = Model::load(&self.runtime, entry, &detector)?;
        report_provider(model.provider(), board);
        Ok(model)
    }

    fn in_use(&self, name: &str, board: &HealthBoard) -> Result<InUse, ModelError> {
        let model = self.model(name, board)?;
        let (cutoff, provider) = (model.thresholds().confidence, model.provider().active);
        let workers = self.config.workers.unwrap_or(SchedulerConfig::default().workers);
        let config = SchedulerConfig { workers, ..SchedulerConfig::default() };
        let scheduler = Scheduler::start(model, config, self.clock.clone())?;
        Ok(InUse { scheduler, provider, cutoff, shadow: None })
    }

    fn shadow(&self, plan: &ShadowPlan, cutoff: f32, board: &HealthBoard) -> Result<Shadow, ModelError> {
        Ok(Shadow::start(&self.model(&plan.name, board)?, cutoff, self.clock.clone())?)
    }
}

impl SharedModel {
    /// Loads the model that was promoted last, else the one that `config` names; what does not work goes to the board.
    pub(crate) fn load(
        config: &ModelConfig,
        data_dir: &Path,
        clock: SharedClock,
        board: &HealthBoard,
    ) -> Result<Arc<Self>, ModelError> {
        let loader = Loader::new(config, clock)?;
        let decided = Rollout::load(data_dir).unwrap_or_else(|error| {
            report(board, &error);
            Rollout::default()
        });
        let promoted = decided.active.as_deref().and_then(|name| match loader.in_use(name, board) {
            Ok(in_use) => Some(in_use),
            Err(error) => {
                report(board, &error);
                None
            }
        });
        let in_use = promoted.map_or_else(|| loader.in_use(loader.configured()?, board), Ok)?;
        let shared = Self {
            loader,
            data_dir: data_dir.to_owned(),
            board: board.clone(),
            changes: AtomicU64::new(0),
            in_use: RwLock::new(in_use),
            followed: Mutex::new(Rollout { shadow: None, ..decided }),
        };
        shared.look();
        Ok(Arc::new(shared))
    }

    /// Who detects.
    pub(crate) fn identity(&self) -> Arc<ModelIdentity> {
        self.in_use.read().scheduler.model().clone()
    }

    /// What analyses now, but for the camera's rate.
    pub(crate) fn analysis(&self) -> Analysis {
        let in_use = self.in_use.read();
        let model = in_use.scheduler.model();
        Analysis {
            provider: in_use.provider.to_string().into(),
            model: model.name.as_str().into(),
            fingerprint: model.fingerprint.as_str().into(),
            rate: 0.0,
        }
    }

    /// A camera's place at the model.
    pub(crate) fn detector_for(self: &Arc<Self>, camera: &CameraId, rate: f64) -> DetectorSource {
        let (models, camera) = (self.clone(), camera.clone());
        Arc::new(move || Box::new(FollowingLane::new(models.clone(), camera.clone(), rate)) as Box<dyn Detector>)
    }

    /// Looks at what was decided until `shutdown`.
    pub(crate) async fn follow(self: Arc<Self>, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            let models = self.clone();
            if tokio::task::spawn_blocking(move || models.look()).await.is_err() {
                tracing::error!("following the models panicked");
            }
        }
    }

    /// Does what was decided since the last look, and writes what the shadow found.
    fn look(&self) {
        let mut followed = self.followed.lock();
        match Rollout::load(&self.data_dir) {
            Ok(decided) if decided != *followed => {
                match self.change(&followed, &decided) {
                    Ok(()) => self.board.clear(ROLLOUT),
                    Err(error) => report(&self.board, &error),
                }
                *followed = decided;
            }
            Ok(_) => {}
            Err(error) => return report(&self.board, &error),
        }
        self.write_report();
    }

    fn change(&self, before: &Rollout, decided: &Rollout) -> Result<(), ModelError> {
        let mut next = self.in_use.read().clone();
        let wanted = decided.active(self.loader.configured()?);
        if next.scheduler.model().name != wanted {
            let fresh = self.loader.in_use(wanted, &self.board)?;
            check_classes(next.scheduler.model(), fresh.scheduler.model())?;
            next = fresh;
            tracing::info!(model = wanted, "another model is in use");
        }
        if decided.shadow != before.shadow || next.shadow.is_none() {
            let shadow = |plan: &ShadowPlan| self.loader.shadow(plan, next.cutoff, &self.board);
            let started =
                decided.shadow.as_ref().map(|plan| Ok::<_, ModelError>((Arc::new(shadow(plan)?), plan.share.get())));
            next.shadow = started.transpose()?;
        }
        *self.in_use.write() = next;
        self.changes.fetch_add(1, Ordering::Release);
        Ok(())
    }

    fn write_report(&self) {
        let in_use = self.in_use.read().clone();
        let Some((shadow, _)) = &in_use.shadow else { return };
        let comparison = shadow.comparison();
        if let (0, Some(failure)) = (comparison.frames, &comparison.last_failure) {
            self.board.report(ROLLOUT, format!("in the shadow: {failure}"), false);
        }
        let (active, shadow) = (in_use.scheduler.model().name.clone(), shadow.model().name.clone());
        if let Err(error) = (ShadowReport { active, shadow, comparison }).store(&self.data_dir) {
            report(&self.board, &error);
        }
    }
}

/// A camera's place at whatever model is in use.
struct FollowingLane {
    models: Arc<SharedModel>,
    camera: CameraId,
    rate: f64,
    changes: u64,
    lane: CameraLane,
    shadow: Option<(Arc<Shadow>, f32)>,
    /// Part of a frame that the shadow is owed.
    owed: f32,
}

impl FollowingLane {
    fn new(models: Arc<SharedModel>, camera: CameraId, rate: f64) -> Self {
        let changes = models.changes.load(Ordering::Acquire);
        let InUse { scheduler, shadow, .. } = models.in_use.read().clone();
        let lane = scheduler.camera(&camera, rate);
        Self { models, camera, rate, changes, lane, shadow, owed: 0.0 }
    }
}

impl Detector for FollowingLane {
    fn model(&self) -> Arc<ModelIdentity> {
        self.lane.model()
    }

    fn prefer(&mut self, preferred: bool) {
        self.lane.prefer(preferred);
    }

    fn detect(&mut self, frame: &Frame) -> Result<Detections, DetectError> {
        self.detect_within(frame, &Regions::WHOLE)
    }

    fn detect_within(&mut self, frame: &Frame, regions: &Regions) -> Result<Detections, DetectError> {
        if self.models.changes.load(Ordering::Acquire) != self.changes {
            *self = Self::new(self.models.clone(), self.camera.clone(), self.rate);
        }
        let found = self.lane.detect_within(frame, regions)?;
        if let Some((shadow, share)) = &self.shadow {
            self.owed += share;
            if self.owed >= 1.0 {
                self.owed -= 1.0;
                shadow.offer(frame, regions, &found);
            }
        }
        Ok(found)
    }
}

/// Cameras are set up for class numbers; a model with others needs a restart.
fn check_classes(old: &ModelIdentity, new: &ModelIdentity) -> Result<(), ModelError> {
    if old.classes == new.classes {
        return Ok(());
    }
    Err(ModelError::OtherClasses { new: new.name.clone(), old: old.name.clone() })
}

fn report(board: &HealthBoard, error: &dyn std::error::Error) {
    let detail = chain(error);
    tracing::error!("a model cannot be rolled out: {detail}");
    board.report(ROLLOUT, detail, false);
}

/// A GPU that silently fell back to the CPU is what operators complain about most: it is said aloud.
fn report_provider(choice: &ProviderChoice, board: &HealthBoard) {
    for refusal in &choice.refused {
        let detail = format!(
            "{} does not work here ({}); the detector runs on {}",
            refusal.provider, refusal.reason, choice.active
        );
        board.report(COMPONENT, detail, false);
    }
}
