//! `edge.toml`, as it is written and as it is meant.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tonic::transport::Uri;
use vigil_base::config::Share;
use vigil_base::{CameraId, EdgeId, GeoPoint, RegionId};
use vigil_camera::{CameraSource, Source};
use vigil_detect::Provider;
use vigil_gate::AttentionConfig;
use vigil_serve::config::{self, ConfigError};
use vigil_serve::logs::LogFormat;

/// Most cameras of one edge: two threads each, and the machine's cores are long used up.
pub const MAX_CAMERAS: usize = 256;
/// Smallest bound of an outbox: below it a few events with thumbnails would fill it.
const MIN_OUTBOX_BYTES: u64 = 1024 * 1024;
/// Highest analysis rate; above it a tracker gains nothing.
const MAX_RATE: f64 = 60.0;

/// `edge.toml` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEdge {
    edge_id: EdgeId,
    region_id: RegionId,
    region_address: String,
    data_dir: PathBuf,
    #[serde(default = "default_listen")]
    listen: SocketAddr,
    #[serde(default = "default_ops_listen")]
    ops_listen: SocketAddr,
    #[serde(default)]
    log: LogFormat,
    #[serde(default)]
    model: RawModel,
    #[serde(default)]
    outbox: RawOutbox,
    #[serde(default)]
    analysis: AnalysisConfig,
    #[serde(default)]
    cameras: Vec<RawCamera>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawModel {
    manifest: Option<PathBuf>,
    name: Option<String>,
    providers: Option<Vec<Provider>>,
    required: Option<Provider>,
    workers: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOutbox {
    max_size: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCamera {
    id: CameraId,
    #[serde(default)]
    name: String,
    location: Option<GeoPoint>,
    stream: CameraSource,
    /// A second, smaller stream of the same camera, which the analysis then takes: it costs a third to decode.
    analysis_stream: Option<CameraSource>,
    /// Overrides the edge's `[analysis]` as a whole.
    analysis: Option<AnalysisConfig>,
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
#[derive(Debug, Clone, Deserialize)]
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

/// `edge.toml` as it is meant: every value checked.
#[derive(Debug)]
pub struct EdgeConfig {
    /// This edge.
    pub edge: EdgeId,
    /// Its region.
    pub region: RegionId,
    /// Where the region's gRPC server is.
    pub region_address: Uri,
    /// Outbox and locks.
    pub data_dir: PathBuf,
    /// gRPC health and reflection.
    pub listen: SocketAddr,
    /// `/metrics` and `/healthz`.
    pub ops_listen: SocketAddr,
    /// How log lines look.
    pub log: LogFormat,
    /// The detector.
    pub model: ModelConfig,
    /// Most bytes that wait on the disk.
    pub outbox_max_bytes: u64,
    /// The cameras.
    pub cameras: Vec<CameraConfig>,
}

/// Which detector, and what runs it.
#[derive(Debug, Clone)]
pub struct ModelConfig {
    /// The manifest; absent: the one that came with the product.
    pub manifest: Option<PathBuf>,
    /// A name in it; absent: its default.
    pub name: Option<String>,
    /// Execution providers in order of preference.
    pub providers: Vec<Provider>,
    /// Whether the CPU may stand in where none of them works.
    pub fallback: bool,
    /// Threads that run the model; absent: one per core.
    pub workers: Option<usize>,
}

/// One camera.
#[derive(Debug, Clone)]
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
}

fn default_listen() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 7201))
}

fn default_ops_listen() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 7202))
}

/// Reads and checks a configuration.
pub fn load(path: &Path) -> Result<EdgeConfig, ConfigError> {
    let raw: RawEdge = config::load(path)?;
    let invalid = |key: String, problem: String| ConfigError::invalid(path, key, problem);
    let region_address: Uri =
        raw.region_address.parse().map_err(|e| invalid("region_address".into(), format!("{e}")))?;
    if region_address.scheme_str() != Some("http") || region_address.authority().is_none() {
        let problem = format!("{:?} is not an address such as http://10.0.0.5:7100", raw.region_address);
        return Err(invalid("region_address".into(), problem));
    }
    if raw.cameras.is_empty() || raw.cameras.len() > MAX_CAMERAS {
        return Err(invalid(
            "cameras".into(),
            format!("has {} entries; 1 to {MAX_CAMERAS} are taken", raw.cameras.len()),
        ));
    }
    if raw.model.required.is_some() && raw.model.providers.is_some() {
        let problem = "stands beside model.required: write one of the two".to_owned();
        return Err(invalid("model.providers".into(), problem));
    }
    if raw.model.workers == Some(0) {
        return Err(invalid("model.workers".into(), "must be at least 1".into()));
    }
    let outbox_max_bytes =
        outbox_size(raw.outbox.max_size.as_deref()).map_err(|e| invalid("outbox.max_size".into(), e))?;
    let base = path.parent().unwrap_or(Path::new("."));
    let mut cameras: Vec<CameraConfig> = Vec::with_capacity(raw.cameras.len());
    for (index, camera) in raw.cameras.into_iter().enumerate() {
        let at = |key: &str| format!("cameras[{index}].{key}");
        if cameras.iter().any(|known| known.id == camera.id) {
            return Err(invalid(at("id"), format!("{} stands twice", camera.id)));
        }
        if let Some(point) = camera.location
            && GeoPoint::new(point.latitude, point.longitude).is_none()
        {
            return Err(invalid(at("location"), "is not on the earth: latitude -90..90, longitude -180..180".into()));
        }
        let analysis = camera.analysis.unwrap_or_else(|| raw.analysis.clone());
        check_analysis(&analysis).map_err(|(key, problem)| invalid(at(&format!("analysis.{key}")), problem))?;
        let main = resolve_source(camera.stream, base).map_err(|problem| invalid(at("stream"), problem))?;
        let second = camera.analysis_stream.map(|stream| resolve_source(stream, base)).transpose();
        let second = second.map_err(|problem| invalid(at("analysis_stream"), problem))?;
        let (analysed, stream) = (second.unwrap_or_else(|| main.clone()), main);
        cameras.push(CameraConfig {
            id: camera.id,
            name: camera.name,
            location: camera.location,
            stream,
            analysed,
            analysis,
        });
    }
    Ok(EdgeConfig {
        edge: raw.edge_id,
        region: raw.region_id,
        region_address,
        data_dir: base.join(raw.data_dir),
        listen: raw.listen,
        ops_listen: raw.ops_listen,
        log: raw.log,
        model: ModelConfig {
            manifest: raw.model.manifest.map(|manifest| base.join(manifest)),
            name: raw.model.name,
            fallback: raw.model.required.is_none(),
            providers: raw
                .model
                .required
                .map(|one| vec![one])
                .or(raw.model.providers)
                .unwrap_or_else(|| vec![Provider::Cpu]),
            workers: raw.model.workers,
        },
        outbox_max_bytes,
        cameras,
    })
}

fn outbox_size(text: Option<&str>) -> Result<u64, String> {
    let Some(text) = text else { return Ok(vigil_outbox::DEFAULT_MAX_BYTES) };
    let size: bytesize::ByteSize =
        text.parse().map_err(|_| format!("{text:?} is no size: write a number and a unit, as 4GiB"))?;
    if size.as_u64() < MIN_OUTBOX_BYTES {
        return Err(format!("{text:?} is below {}", bytesize::ByteSize(MIN_OUTBOX_BYTES)));
    }
    Ok(size.as_u64())
}

/// A password file is looked for beside the configuration.
fn resolve_source(mut stream: CameraSource, base: &Path) -> Result<Source, String> {
    stream.password_file = stream.password_file.map(|file| base.join(file));
    stream.resolve().map_err(|error| vigil_serve::error::chain(&error))
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
