//! Rules tried on a clip: which they are, and what they counted.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};
use vigil_base::GroundPlane;
use vigil_edge::config::load_rules;
use vigil_rules::{DensityUnit, Reading, Readout, RuleSet};

use crate::output;

/// Which rules.
#[derive(Debug, Args)]
#[command(next_help_heading = "Rules")]
pub struct RulesArgs {
    /// Try the rules of this TOML file: what they find are events with the evidence, and the counts follow at the end.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
}

impl RulesArgs {
    /// Reads the rules; none where none are named. `ground` is what measures in metres need.
    pub fn load(&self, ground: Option<&Arc<GroundPlane>>) -> anyhow::Result<RuleSet> {
        let Some(path) = &self.rules else { return Ok(RuleSet::default()) };
        Ok(load_rules(path, ground)?)
    }
}

/// Prints what the rules have counted.
pub fn print_counts<'a>(mut readouts: impl Iterator<Item = Readout<'a>>) -> anyhow::Result<()> {
    readouts.try_for_each(|readout| {
        output::line(json!({
            "count_of_rule": readout.rule.as_str(), "kind": readout.kind.name(),
            "zone": readout.zone.map(vigil_base::ZoneId::as_str), "reading": reading(&readout.reading),
        }))
    })
}

fn reading(reading: &Reading) -> Value {
    match reading {
        Reading::Counts(counts) => json!({ "left": counts.left, "right": counts.right }),
        Reading::Occupancy { count, capacity } => json!({ "count": count, "capacity": capacity }),
        Reading::Density { count, density, unit } => {
            let unit = match unit {
                DensityUnit::PerSquareMetre => "per_square_metre",
                DensityUnit::PerPicture => "per_picture",
            };
            json!({ "count": count, "density": density, "unit": unit })
        }
    }
}
