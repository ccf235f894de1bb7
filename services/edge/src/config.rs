//! `edge.toml`, as it is written and as it is meant.

mod camera;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tonic::transport::Uri;
use vigil_base::{EdgeId, RegionId};
use vigil_detect::Provider;
use vigil_serve::config::{self, ConfigError};
use vigil_serve::logs::LogFormat;
use vigil_trust::token::EnrolToken;
use vigil_trust::{Identity, TlsFiles, TlsSection, exposure};

use camera::RawCamera;
pub use camera::{AnalysisConfig, CameraConfig, LookAt, load_rules, plate_classes};

/// Most cameras of one edge: two threads each, and the machine's cores are long used up.
pub const MAX_CAMERAS: usize = 256;
/// Smallest bound of an outbox: below it a few events with thumbnails would fill it.
const MIN_OUTBOX_BYTES: u64 = 1024 * 1024;
/// How long acknowledged events are kept: a region backs its index up every night, and somebody must find time to put it back.
const DEFAULT_KEEP: Duration = Duration::from_hours(48);
/// How much of them: forty thousand events with a thumbnail.
const DEFAULT_KEEP_BYTES: u64 = 1024 * 1024 * 1024;

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
    tls: Option<TlsSection>,
    #[serde(default)]
    plaintext_beyond_loopback: bool,
    #[serde(default)]
    log: LogFormat,
    #[serde(default)]
    model: RawModel,
    #[serde(default)]
    plates: RawPlates,
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
struct RawPlates {
    manifest: Option<PathBuf>,
    model: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOutbox {
    max_size: Option<String>,
    #[serde(default = "default_keep", with = "humantime_serde")]
    keep_acknowledged: Duration,
    keep_acknowledged_size: Option<String>,
}

impl Default for RawOutbox {
    fn default() -> Self {
        Self { max_size: None, keep_acknowledged: DEFAULT_KEEP, keep_acknowledged_size: None }
    }
}

fn default_keep() -> Duration {
    DEFAULT_KEEP
}

/// `edge.toml` as it is meant: every value checked.
#[derive(Debug, Clone)]
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
    /// Certificates; where there are none, nobody has to show who it is.
    pub tls: Option<TlsFiles>,
    /// By what the first certificate is got, while there is none.
    pub enrol_token: Option<EnrolToken>,
    /// How log lines look.
    pub log: LogFormat,
    /// The detector.
    pub model: ModelConfig,
    /// The models that read plates, where a camera's are read.
    pub plates: PlateModelConfig,
    /// Most bytes that wait on the disk.
    pub outbox_max_bytes: u64,
    /// For how long what the region has acknowledged is kept; zero: not at all.
    pub keep_acknowledged: Duration,
    /// And at most how many bytes of it.
    pub keep_acknowledged_bytes: u64,
    /// The cameras.
    pub cameras: Vec<CameraConfig>,
}

/// Which models read plates; what runs the detector runs them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlateModelConfig {
    /// The manifest; absent: the detector's where it has plates, else the one that came with the product.
    pub manifest: Option<PathBuf>,
    /// A name in it; absent: its default.
    pub name: Option<String>,
}

/// Which detector, and what runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    let region_address =
        region_address(&raw.region_address, raw.tls.is_some()).map_err(|e| invalid("region_address".into(), e))?;
    let listeners = [("listen", raw.listen), ("ops_listen", raw.ops_listen)];
    if let Some((key, problem)) = exposure::problem(&listeners, raw.tls.is_some(), raw.plaintext_beyond_loopback) {
        return Err(invalid(key.into(), problem));
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
    let size = |key: &str, text: &Option<String>, default| {
        outbox_size(text.as_deref(), default).map_err(|problem| invalid(format!("outbox.{key}"), problem))
    };
    let outbox_max_bytes = size("max_size", &raw.outbox.max_size, vigil_outbox::DEFAULT_MAX_BYTES)?;
    let keep_acknowledged_bytes =
        size("keep_acknowledged_size", &raw.outbox.keep_acknowledged_size, DEFAULT_KEEP_BYTES)?;
    let base = path.parent().unwrap_or(Path::new("."));
    let enrol_token = enrol_token(&raw, base).map_err(|(key, problem)| invalid(key.into(), problem))?;
    let mut cameras: Vec<CameraConfig> = Vec::with_capacity(raw.cameras.len());
    for (index, camera) in raw.cameras.into_iter().enumerate() {
        if cameras.iter().any(|known| known.id == *camera.id()) {
            return Err(invalid(format!("cameras[{index}].id"), format!("{} stands twice", camera.id())));
        }
        cameras.push(camera.resolve(&raw.analysis, path, index)?);
    }
    Ok(EdgeConfig {
        edge: raw.edge_id,
        region: raw.region_id,
        region_address,
        data_dir: base.join(raw.data_dir),
        listen: raw.listen,
        ops_listen: raw.ops_listen,
        tls: raw.tls.map(|tls| tls.resolve(base)),
        enrol_token,
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
        plates: PlateModelConfig {
            manifest: raw.plates.manifest.map(|manifest| base.join(manifest)),
            name: raw.plates.model,
        },
        outbox_max_bytes,
        keep_acknowledged: raw.outbox.keep_acknowledged,
        keep_acknowledged_bytes,
        cameras,
    })
}

/// With certificates over TLS, without in the clear.
fn region_address(written: &str, has_tls: bool) -> Result<Uri, String> {
    let address: Uri = written.parse().map_err(|error| format!("{error}"))?;
    match (address.scheme_str(), has_tls) {
        _ if address.authority().is_none() => {}
        (Some("http"), false) | (Some("https"), true) => return Ok(address),
        (Some("http"), true) => {
            return Err("is reached in the clear, although there is a [tls] section: write https://".into());
        }
        (Some("https"), false) => {
            return Err(
                "is reached over TLS, and there is no [tls] section: name certificate, key and authority".into()
            );
        }
        _ => {}
    }
    Err(format!("{written:?} is not an address such as https://10.0.0.5:7100, or http:// without TLS"))
}

/// The token, for this edge and no other. Once there is a certificate, nobody looks at it any more: it may be gone.
fn enrol_token(raw: &RawEdge, base: &Path) -> Result<Option<EnrolToken>, (&'static str, String)> {
    let Some(tls) = raw.tls.as_ref().filter(|tls| !base.join(&tls.certificate).exists()) else { return Ok(None) };
    let Some(token) = tls.token(base)? else { return Ok(None) };
    let own = Identity::Edge(raw.edge_id.clone());
    if token.identity != own || token.region != raw.region_id {
        let problem = format!(
            "is for {} of region {}, but this is {own} of region {}: make one with `vigil pki token edge {} --region {}`",
            token.identity, token.region, raw.region_id, raw.edge_id, raw.region_id
        );
        return Err(("tls.enrol_token", problem));
    }
    Ok(Some(token))
}

fn outbox_size(text: Option<&str>, default: u64) -> Result<u64, String> {
    let Some(text) = text else { return Ok(default) };
    let size: bytesize::ByteSize =
        text.parse().map_err(|_| format!("{text:?} is no size: write a number and a unit, as 4GiB"))?;
    if size.as_u64() < MIN_OUTBOX_BYTES {
        return Err(format!("{text:?} is below {}", bytesize::ByteSize(MIN_OUTBOX_BYTES)));
    }
    Ok(size.as_u64())
}
