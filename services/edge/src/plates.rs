//! The models that read plates, shared by all cameras whose plates are read.

use std::sync::Arc;

use parking_lot::Mutex;
use vigil_detect::{ModelCatalogue, ModelConfig, PlateModels, Runtime};
use vigil_plates::PlateConfig;

use crate::config::{CameraConfig, EdgeConfig, plate_classes};
use crate::model::{ModelError, default_manifest};

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
        let manifest = config.plates.manifest.clone().map_or_else(default_manifest, Ok)?;
        let catalogue = ModelCatalogue::load(&manifest)?;
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
