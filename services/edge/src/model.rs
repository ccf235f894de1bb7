//! The detector that all cameras of the edge share.

use std::path::PathBuf;
use std::sync::Arc;

use vigil_base::detection::ModelIdentity;
use vigil_base::{CameraId, SharedClock};
use vigil_detect::{
    DetectError, Detector, ManifestError, Model, ModelCatalogue, ModelConfig as DetectorConfig, ProviderChoice,
    Runtime, RuntimeError, Scheduler, SchedulerConfig,
};
use vigil_runtime::DetectorSource;
use vigil_serve::HealthBoard;

use crate::config::ModelConfig;

/// Where the product's own manifest is looked for, in this order, unless `VIGIL_MANIFEST` names one.
const MANIFEST: &str = "models/manifest.toml";
/// The component's name on the health board.
const COMPONENT: &str = "detector";

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
}

/// The model manifest where none is named: `$VIGIL_MANIFEST`, else `models/manifest.toml` below the working folder.
pub fn default_manifest() -> Result<PathBuf, ModelError> {
    let named = std::env::var_os("VIGIL_MANIFEST").map(PathBuf::from);
    let found = named.or_else(|| Some(PathBuf::from(MANIFEST)).filter(|path| path.is_file()));
    found.ok_or(ModelError::NoManifest)
}

/// A loaded model and its scheduler.
pub(crate) struct SharedModel {
    scheduler: Arc<Scheduler>,
}

impl SharedModel {
    /// Loads the model that `config` names; a provider that was wanted and does not work goes to the board.
    pub(crate) fn load(config: &ModelConfig, clock: SharedClock, board: &HealthBoard) -> Result<Self, ModelError> {
        let manifest = config.manifest.clone().map_or_else(default_manifest, Ok)?;
        let catalogue = ModelCatalogue::load(&manifest)?;
        let entry = catalogue.entry(config.name.as_deref())?;
        let detector = DetectorConfig {
            providers: config.providers.clone(),
            fallback: config.fallback,
            ..DetectorConfig::default()
        };
        let model = Model::load(&Runtime::start(None)?, entry, &detector)?;
        report_provider(model.provider(), board);
        let workers = config.workers.unwrap_or(SchedulerConfig::default().workers);
        let scheduler = Scheduler::start(model, SchedulerConfig { workers, ..SchedulerConfig::default() }, clock)?;
        Ok(Self { scheduler: Arc::new(scheduler) })
    }

    /// Who detects.
    pub(crate) fn identity(&self) -> &Arc<ModelIdentity> {
        self.scheduler.model()
    }

    /// A camera's place at the model.
    pub(crate) fn detector_for(&self, camera: &CameraId, rate: f64) -> DetectorSource {
        let (scheduler, camera) = (self.scheduler.clone(), camera.clone());
        Arc::new(move || Box::new(scheduler.camera(&camera, rate)) as Box<dyn Detector>)
    }
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
