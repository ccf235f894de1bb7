//! `vigil model`: a new model in the shadow of the old one, into use, and back.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use vigil_base::config::Share;
use vigil_detect::{Comparison, ModelCatalogue, ModelEntry};
use vigil_edge::config::EdgeConfig;
use vigil_edge::rollout::{DEFAULT_SHARE, LOOK_EVERY, Rollout, ShadowPlan, ShadowReport};

use crate::{exit, output};

/// Roll a model out on an edge: beside the old one first, then in its place. The edge follows within seconds, without a restart.
#[derive(Debug, Args)]
#[command(after_help = "Run it on the edge's machine, as who may write the edge's data folder.

Examples:
  vigil model shadow nanodet-2 --share 0.2 --config edge.toml
  vigil model status --config edge.toml
  vigil model promote --config edge.toml
  vigil model rollback --config edge.toml")]
pub struct ModelArgs {
    #[command(subcommand)]
    action: Action,
    /// The edge's configuration file.
    #[arg(long, global = true, default_value = "edge.toml", value_name = "FILE")]
    config: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// What is in use, what runs in its shadow, and what is different.
    Status {
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Let a model of the edge's manifest run in the shadow: on the same frames, with its differences counted and nothing else.
    Shadow {
        /// Its name in the manifest.
        #[arg(required_unless_present = "off")]
        name: Option<String>,
        /// Share of the analysed frames that it sees, 0 to 1: what it costs.
        #[arg(long, default_value_t = DEFAULT_SHARE)]
        share: f64,
        /// End the shadow.
        #[arg(long, conflicts_with_all = ["name", "share"])]
        off: bool,
    },
    /// Use the model that runs in the shadow; the old one is remembered.
    Promote {
        /// Also when the shadow has seen only few frames.
        #[arg(long)]
        anyway: bool,
    },
    /// Use the model again that was in use before the last promotion.
    Rollback,
}

/// Runs the command.
pub fn run(args: ModelArgs) -> anyhow::Result<ExitCode> {
    let config = vigil_edge::config::load(&args.config)?;
    let models = Models::of(&config)?;
    let decided = Rollout::load(&config.data_dir)?;
    let next = match args.action {
        Action::Status { json } => return models.show(&config, &decided, json),
        Action::Shadow { off: true, .. } => Rollout { shadow: None, ..decided },
        Action::Shadow { name, share, .. } => {
            let name = name.unwrap_or_default();
            models.check(&name, decided.active(&models.configured))?;
            let share = Share::new(share as f32).filter(|share| share.get() > 0.0);
            let share =
                share.ok_or_else(|| anyhow!("--share must be above 0 and at most 1")).map_err(exit::wrong_use)?;
            decided.shadow(ShadowPlan { name, share }, &models.configured)?
        }
        Action::Promote { anyway } => {
            let seen = models.report(&config, &decided)?.map_or(0, |report| report.comparison.frames);
            decided.promote(&models.configured, (!anyway).then_some(seen))?
        }
        Action::Rollback => {
            let next = decided.roll_back()?;
            models.check(next.active(&models.configured), &models.configured)?;
            next
        }
    };
    next.store(&config.data_dir)?;
    let active = next.active(&models.configured);
    let shadow = next.shadow.as_ref().map_or_else(String::new, |plan| format!(", {} in its shadow", plan.name));
    output::line(format!("in use: {active}{shadow}; a running edge follows within {} s", LOOK_EVERY.as_secs()))?;
    Ok(ExitCode::SUCCESS)
}

/// The edge's manifest.
struct Models {
    catalogue: ModelCatalogue,
    /// The name that edge.toml means.
    configured: String,
}

impl Models {
    fn of(config: &EdgeConfig) -> anyhow::Result<Self> {
        let manifest = config.model.manifest.clone().map_or_else(vigil_edge::default_manifest, Ok)?;
        let catalogue = ModelCatalogue::load(&manifest)?;
        let configured = catalogue.entry(config.model.name.as_deref())?.name.clone();
        Ok(Self { catalogue, configured })
    }

    fn entry(&self, name: &str) -> anyhow::Result<&ModelEntry> {
        Ok(self.catalogue.entry(Some(name))?)
    }

    /// Whether a model can take the place of the one in use while the edge runs.
    fn check(&self, name: &str, active: &str) -> anyhow::Result<()> {
        let (new, old) = (self.entry(name)?, self.entry(active)?);
        anyhow::ensure!(new.file.is_file(), "model {name}: {} is not there", new.file.display());
        let same = new.classes == old.classes;
        anyhow::ensure!(
            same,
            "model {name} finds other classes than {active}: set it in edge.toml and restart the edge"
        );
        Ok(())
    }

    /// What the shadow of now found, not that of one before.
    fn report(&self, config: &EdgeConfig, decided: &Rollout) -> anyhow::Result<Option<ShadowReport>> {
        let report = ShadowReport::load(&config.data_dir)?;
        let (active, shadow) = (decided.active(&self.configured), decided.shadow.as_ref().map(|plan| &plan.name));
        Ok(report.filter(|report| report.active == active && Some(&report.shadow) == shadow))
    }

    fn show(&self, config: &EdgeConfig, decided: &Rollout, json: bool) -> anyhow::Result<ExitCode> {
        let active = decided.active(&self.configured);
        let report = self.report(config, decided)?;
        if json {
            let fingerprint = self.entry(active)?.sha256.clone();
            let shown = serde_json::json!({
                "active": active, "fingerprint": fingerprint, "configured": self.configured,
                "previous": decided.previous, "shadow": decided.shadow,
                "comparison": report.map(|report| report.comparison),
            });
            output::line(shown)?;
            return Ok(ExitCode::SUCCESS);
        }
        let promoted = if active == self.configured { "" } else { ", promoted over edge.toml's" };
        let fingerprint: String = self.entry(active).context("the model in use")?.sha256.chars().take(12).collect();
        output::line(format!("in use   {active} ({fingerprint}){promoted}"))?;
        if let Some(previous) = &decided.previous {
            output::line(format!("before   {previous}"))?;
        }
        let Some(plan) = &decided.shadow else { return Ok(ExitCode::SUCCESS) };
        output::line(format!("shadow   {}, {} % of the frames", plan.name, plan.share.get() * 100.0))?;
        match report {
            Some(report) => output::line(differences(&report.comparison))?,
            None => output::line("         the edge has not reported yet: is it running?")?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn differences(comparison: &Comparison) -> String {
    let Comparison { frames, passed_over, failed, seconds, .. } = comparison;
    let each = 1000.0 * seconds / (frames + failed).max(1) as f64;
    let mut text = format!(
        "         {frames} frames at {each:.0} ms each; {passed_over} passed over for want of time, {failed} failed\n"
    );
    if let Some(failure) = &comparison.last_failure {
        let _ = writeln!(text, "         last failure: {failure}");
    }
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(["class", "both", "only old", "only new", "confidence"]);
    for (class, of) in &comparison.classes {
        let shift = of.confidence_shift().map_or(String::from("-"), |shift| format!("{shift:+.3}"));
        table.add_row([class.clone(), of.matched.to_string(), of.only_old.to_string(), of.only_new.to_string(), shift]);
    }
    text.push_str(&table.to_string());
    text
}
