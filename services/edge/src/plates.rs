//! The models that read plates, shared by all cameras whose plates are read.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use vigil_detect::{ModelCatalogue, ModelConfig, PlateModels, Runtime};
use vigil_plates::PlateConfig;

use crate::config::{CameraConfig, EdgeConfig, plate_classes};
use crate::model::{ModelError, default_manifest};

/// The manifest that tells of plate models: the one that is `named`, the detector's own where it has any, else the product's.
pub fn plate_catalogue(named: Option<&Path>, detectors: Option<&Path>) -> Result<ModelCatalogue, ModelError> {
    let load = |path: &Path| ModelCatalogue::load(path).map_err(ModelError::from);
    if let Some(named) = named {
        return load(named);
    }
    match detectors.map(load).transpose()? {
        Some(catalogue) if catalogue.has_plates() => Ok(catalogue),
        _ => load(&default_manifest()?),
    }
}

/// Loaded when the first camera needs them: an edge that reads no plates has no such models.
#[derive(Default)]
pub(crate) struct SharedPlates {
    loaded: Mutex<Option<PlateModels>>,
}

impl SharedPlates {
    /// Loads them, where a camera of `config` needs them and they are not there yet.
    pub fn prepare(&self, config: &EdgeConfig) -> Result<(), ModelError> {
        let mut loaded = self.loaded.lock();
        if loaded.is_some() || !config.cameras.iter().any(|camera| camera.plates) {
            return Ok(());
        }
        let catalogue = plate_catalogue(config.plates.manifest.as_deref(), config.model.manifest.as_deref())?;
        let entry = catalogue.plates(config.plates.name.as_deref())?;
        let (providers, fallback) = (config.model.providers.clone(), config.model.fallback);
        let how = ModelConfig { providers, fallback, ..ModelConfig::default() };
        *loaded = Some(PlateModels::load(&Runtime::start(None)?, entry, &how)?);
        Ok(())
    }

    /// How a camera's plates are read; none where they are not.
    pub fn of(&self, camera: &CameraConfig) -> Option<PlateConfig> {
        let loaded = self.loaded.lock().clone().filter(|_| camera.plates)?;
        Some(PlateConfig { classes: plate_classes(), reader: Arc::new(loaded) })
    }
}
