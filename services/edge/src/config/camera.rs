//! One camera of `edge.toml`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use vigil_base::config::Share;
use vigil_base::ground::RawMark;
use vigil_base::{CameraId, GeoPoint, GroundPlane};
use vigil_camera::{CameraSource, Source};
use vigil_gate::AttentionConfig;
use vigil_rules::{RawRules, RuleSet};
use vigil_serve::config::{self, ConfigError};
use vigil_serve::error::chain;

/// Highest analysis rate; above it a tracker gains nothing.
const MAX_RATE: f64 = 60.0;

/// One camera, as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCamera {
    id: CameraId,
    #[serde(default)]
    name: String,
    location: Option<GeoPoint>,
    stream: CameraSource,
    /// A second, smaller stream of the same camera, which the analysis then takes: it costs a third to decode.
    analysis_stream: Option<CameraSource>,
    /// Overrides the edge's `[analysis]` as a whole.
    analysis: Option<AnalysisConfig>,
    /// A file of its own.
    rules: Option<PathBuf>,
    /// Marks on the ground.
    ground: Option<Vec<RawMark>>,
    /// Read the number plates of vehicles. Personal data: off unless it is asked for, camera by camera.
    #[serde(default)]
    plates: bool,
}

/// Where a camera's picture is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LookAt {
    /// Where something moves or is tracked; at the whole picture every other second.
    Regions,
    /// The same, the parts as large as the cost of the whole picture allows, at most pixel for pixel. Use when objects are small
    /// in a large picture: they are found, and a look costs nearly as much as the whole.
    Detail,
    /// Always the whole picture.
    Whole,
}

/// How a camera's picture is analysed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnalysisConfig {
    /// Frames a second that are looked at; with `motion_gate`, at the most.
    pub rate: f64,
    /// With `motion_gate`, frames a second that are looked at at the least while something is tracked.
    pub min_rate: f64,
    /// Object classes that become events.
    pub classes: Vec<String>,
    /// Look when something moves or is tracked, as often as that asks for; else every frame at `rate`.
    pub motion_gate: bool,
    /// With `motion_gate`, where to look.
    pub look: LookAt,
    /// Decode only keyframes while nothing goes on, and decode what came since the last one when one shows motion.
    pub packet_gate: bool,
    /// Look at a still picture at least this often: something may stand in it that never moved.
    #[serde(with = "humantime_serde")]
    pub still_refresh: Duration,
    /// Least confidence of a detection that can begin a track; absent: the model's own.
    pub min_confidence: Option<Share>,
    /// A live event is sent again at most this often.
    #[serde(with = "humantime_serde")]
    pub update_interval: Duration,
    /// Send a picture of each object's best moment.
    pub thumbnails: bool,
}

impl AnalysisConfig {
    /// When and where a gated camera is looked at.
    pub fn attention(&self) -> AttentionConfig {
        AttentionConfig {
            max_rate: self.rate,
            min_rate: self.min_rate.min(self.rate),
            still_refresh: self.still_refresh,
            parts: self.look != LookAt::Whole,
            detail: self.look == LookAt::Detail,
            ..AttentionConfig::default()
        }
    }

    /// Frames a second that the analysis is given.
    pub fn frames_per_second(&self) -> f64 {
        if self.motion_gate { self.attention().frames_per_second() } else { self.rate }
    }
}

impl Default for AnalysisConfig {
    fn default() -> Self {
        Self {
            rate: 5.0,
            min_rate: AttentionConfig::default().min_rate,
            classes: ["person", "bicycle", "car", "motorcycle", "bus", "truck"].map(str::to_owned).to_vec(),
            motion_gate: true,
            look: LookAt::Regions,
            packet_gate: true,
            still_refresh: Duration::from_secs(10),
            min_confidence: None,
            update_interval: Duration::from_secs(2),
            thumbnails: true,
        }
    }
}

/// One camera, as it is meant.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraConfig {
    /// Its id, unique in the region.
    pub id: CameraId,
    /// For people.
    pub name: String,
    /// Where it stands.
    pub location: Option<GeoPoint>,
    /// Where its stream comes from.
    pub stream: Source,
    /// Where the stream that is analysed comes from: the same, or a smaller one.
    pub analysed: Source,
    /// How it is analysed.
    pub analysis: AnalysisConfig,
    /// What is watched for.
    pub rules: RuleSet,
    /// Where on the ground what it shows is; none where it is not calibrated.
    pub ground: Option<Arc<GroundPlane>>,
    /// Whether the number plates of vehicles are read.
    pub plates: bool,
}

impl RawCamera {
    pub(super) fn id(&self) -> &CameraId {
        &self.id
    }

    /// Checks it and reads its rules; `file` is the configuration it stands in, at `index`.
    pub(super) fn resolve(
        self,
        defaults: &AnalysisConfig,
        file: &Path,
        index: usize,
    ) -> Result<CameraConfig, ConfigError> {
        let invalid =
            |key: &str, problem: String| ConfigError::invalid(file, format!("cameras[{index}].{key}"), problem);
        let base = file.parent().unwrap_or(Path::new("."));
        if let Some(point) = self.location
            && GeoPoint::new(point.latitude, point.longitude).is_none()
        {
            let problem = "is not on the earth: latitude -90..90, longitude -180..180".into();
            return Err(invalid("location", problem));
        }
        let analysis = self.analysis.unwrap_or_else(|| defaults.clone());
        check_analysis(&analysis).map_err(|(key, problem)| invalid(&format!("analysis.{key}"), problem))?;
        let ground = self.ground.as_deref().map(GroundPlane::from_marks).transpose();
        let ground = ground.map_err(|error| invalid("ground", chain(&error)))?.map(Arc::new);
        let rules = self.rules.map(|rules| load_rules(&base.join(rules), ground.as_ref())).transpose()?;
        let stream = resolve_source(self.stream, base).map_err(|problem| invalid("stream", problem))?;
        let second = self.analysis_stream.map(|stream| resolve_source(stream, base)).transpose();
        let second = second.map_err(|problem| invalid("analysis_stream", problem))?;
        let rules = rules.unwrap_or_default();
        check_plates(self.plates, &analysis, &rules).map_err(|problem| invalid("plates", problem))?;
        Ok(CameraConfig {
            id: self.id,
            name: self.name,
            location: self.location,
            analysed: second.unwrap_or_else(|| stream.clone()),
            stream,
            analysis,
            rules,
            ground,
            plates: self.plates,
        })
    }
}

/// Reads a camera's rules; `ground` is what measures in metres need.
///
/// # Errors
/// The file cannot be read, or holds a rule that is wrong: the whole of it is refused.
pub fn load_rules(path: &Path, ground: Option<&Arc<GroundPlane>>) -> Result<RuleSet, ConfigError> {
    let raw: RawRules = config::load(path)?;
    RuleSet::resolve(&raw, ground).map_err(|error| ConfigError::unfit(path, chain(&error)))
}

/// A password file is looked for beside the configuration.
fn resolve_source(mut stream: CameraSource, base: &Path) -> Result<Source, String> {
    stream.password_file = stream.password_file.map(|file| base.join(file));
    stream.resolve().map_err(|error| chain(&error))
}

/// Class names whose objects carry number plates, as detectors trained on COCO have them.
pub fn plate_classes() -> Vec<String> {
    ["car", "motorcycle", "bus", "truck"].map(str::to_owned).to_vec()
}

fn check_plates(read: bool, analysis: &AnalysisConfig, rules: &RuleSet) -> Result<(), String> {
    if !read && rules.needs_plates() {
        return Err("is not true, and a rule of the camera looks for plates".into());
    }
    let carries = |class: &str| plate_classes().iter().any(|known| known == class);
    let mut watched = analysis.classes.iter().map(String::as_str).chain(rules.classes());
    if read && !watched.any(carries) {
        let known = plate_classes().join(", ");
        return Err(format!("is true, and no vehicles are watched: analysis.classes has none of {known}"));
    }
    Ok(())
}

fn check_analysis(analysis: &AnalysisConfig) -> Result<(), (&'static str, String)> {
    if !analysis.rate.is_finite() || analysis.rate <= 0.0 || analysis.rate > MAX_RATE {
        return Err(("rate", format!("{} is not within 0 and {MAX_RATE} frames a second", analysis.rate)));
    }
    if !analysis.min_rate.is_finite() || analysis.min_rate <= 0.0 {
        return Err(("min_rate", format!("{} is not above 0 frames a second", analysis.min_rate)));
    }
    if analysis.classes.is_empty() {
        return Err(("classes", "is empty: no object would ever become an event".into()));
    }
    if analysis.update_interval < Duration::from_millis(200) {
        return Err(("update_interval", "must be at least 200ms".into()));
    }
    Ok(())
}
