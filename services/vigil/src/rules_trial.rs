//! Rules tried on a clip: what they would have fired on, and what they counted.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use vigil_base::Frame;
use vigil_base::GroundPlane;
use vigil_base::detection::ModelIdentity;
use vigil_rules::{
    DensityUnit, Ending, Firing, FrameInput, Phase, RawRules, Reading, RuleEngine, RuleSet, SceneStatistics,
};
use vigil_track::TrackUpdate;

use crate::{output, toml_file};

/// Which rules.
#[derive(Debug, Args)]
#[command(next_help_heading = "Rules")]
pub struct RulesArgs {
    /// Try the rules of this TOML file: prints each firing as a JSON line with its evidence, and the counts at the end.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
}

/// Rules that watch a clip.
pub struct RulesTrial {
    engine: RuleEngine,
    model: Arc<ModelIdentity>,
    needs_scene: bool,
    classes: Vec<String>,
}

impl RulesArgs {
    /// Reads the rules, where there are any; `model` says which classes there are, `ground` where the ground is.
    pub fn load(
        &self,
        model: &Arc<ModelIdentity>,
        ground: Option<&Arc<GroundPlane>>,
    ) -> anyhow::Result<Option<RulesTrial>> {
        let Some(path) = &self.rules else { return Ok(None) };
        let raw: RawRules = toml_file::read(path)?;
        let rules = RuleSet::resolve(&raw, ground).with_context(|| path.display().to_string())?;
        rules.check_classes(model).with_context(|| path.display().to_string())?;
        let classes = rules.classes().unwrap_or_default().into_iter().map(str::to_owned).collect();
        let needs_scene = rules.needs_scene();
        Ok(Some(RulesTrial { engine: RuleEngine::new(rules), model: model.clone(), needs_scene, classes }))
    }
}

impl RulesTrial {
    /// Classes that the rules name.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Shows the rules one analysed frame, and prints what fires.
    pub fn observe(&mut self, update: &TrackUpdate, frame: &Frame) -> anyhow::Result<()> {
        let scene = self.needs_scene.then(|| SceneStatistics::measure(&frame.planes[0], 0.0));
        let input = FrameInput { update, model: &self.model, scene: scene.as_ref(), plates: &[] };
        let firings = self.engine.observe(&input);
        self.print(&firings)
    }

    /// The clip is over: prints what ends with it, and the counts.
    pub fn finish(mut self) -> anyhow::Result<()> {
        let last = self.engine.end_all();
        self.print(&last)?;
        self.engine.readouts().try_for_each(|readout| {
            output::line(json!({
                "count_of_rule": readout.rule.as_str(), "kind": readout.kind.name(),
                "zone": readout.zone.map(vigil_base::ZoneId::as_str), "reading": reading(&readout.reading),
            }))
        })
    }

    fn print(&self, firings: &[Firing]) -> anyhow::Result<()> {
        firings.iter().try_for_each(|firing| output::line(self.firing(firing)))
    }

    fn firing(&self, firing: &Firing) -> Value {
        let (phase, ending) = match firing.phase {
            Phase::Instant => ("instant", None),
            Phase::Begun => ("begun", None),
            Phase::Ended(ending) => ("ended", Some(ending_name(ending))),
        };
        json!({
            "firing": firing.number, "rule": firing.rule.as_str(), "kind": firing.kind.name(),
            "zone": firing.zone.as_ref().map(vigil_base::ZoneId::as_str),
            "track": firing.object.map(|(track, _)| track.0),
            "class": firing.object.map(|(_, class)| self.model.class_name(class)),
            "phase": phase, "ending": ending,
            "begin_time": firing.begin.to_string(), "time": firing.time.to_string(),
            "position": firing.position.map(|at| [at.x, at.y]),
            "evidence": firing.evidence.to_string(), "suppressed": firing.suppressed,
        })
    }
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

fn ending_name(ending: Ending) -> &'static str {
    match ending {
        Ending::Over => "over",
        Ending::Lost => "lost",
        Ending::Off => "off",
        Ending::Changed => "changed",
        Ending::Cut => "cut",
    }
}
