//! The detector, for commands that run it themselves.

use std::path::PathBuf;

use clap::Args;
use vigil_detect::{Model, ModelCatalogue, ModelConfig, Provider, Runtime};

/// Which model, and what runs it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Detector")]
pub struct DetectorArgs {
    /// Model manifest; the one that came with the product when absent.
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// Name of a model in the manifest; its default when absent.
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Execution providers in order of preference: tensorrt, cuda, cpu.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "cpu")]
    pub providers: Vec<Provider>,
}

impl DetectorArgs {
    /// Loads the model; what it really runs on is part of it.
    pub fn load(&self) -> anyhow::Result<Model> {
        let manifest = self.manifest.clone().map_or_else(vigil_edge::default_manifest, Ok)?;
        let catalogue = ModelCatalogue::load(&manifest)?;
        let entry = catalogue.entry(self.model.as_deref())?;
        let config = ModelConfig { providers: self.providers.clone(), ..ModelConfig::default() };
        Ok(Model::load(&Runtime::start(None)?, entry, &config)?)
    }
}
