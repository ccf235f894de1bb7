//! Plates, for commands that read them themselves.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use vigil_detect::{ModelConfig, PlateModels, Runtime};
use vigil_edge::config::plate_classes;
use vigil_plates::PlateConfig;
use vigil_rules::RuleSet;

use crate::detector::DetectorArgs;
use crate::exit;

/// Whether plates are read, and by which models.
#[derive(Debug, Args)]
#[command(next_help_heading = "Plates")]
pub struct PlateArgs {
    /// Read the number plates of vehicles: personal data, which then stand in the output.
    #[arg(long)]
    plates: bool,
    /// Manifest with the plate models; when absent the detector's where it has any, else the one that came with the product.
    #[arg(long, value_name = "FILE", requires = "plates")]
    plate_manifest: Option<PathBuf>,
    /// Name of a pair of plate models in that manifest; its default when absent.
    #[arg(long, value_name = "NAME", requires = "plates")]
    plate_model: Option<String>,
}

impl PlateArgs {
    /// Loads the models, where plates are to be read.
    pub fn load(&self, detector: &DetectorArgs, rules: &RuleSet) -> anyhow::Result<Option<PlateConfig>> {
        if !self.plates {
            if rules.needs_plates() {
                return Err(exit::wrong_use(anyhow::anyhow!(
                    "a rule looks for plates, and none are read: add --plates"
                )));
            }
            return Ok(None);
        }
        let catalogue = vigil_edge::plate_catalogue(self.plate_manifest.as_deref(), detector.manifest.as_deref())?;
        let entry = catalogue.plates(self.plate_model.as_deref())?;
        let config = ModelConfig { providers: detector.providers.clone(), ..ModelConfig::default() };
        let reader = Arc::new(PlateModels::load(&Runtime::start(None)?, entry, &config)?);
        Ok(Some(PlateConfig { classes: plate_classes(), reader }))
    }
}
