//! An ingest node: runs the pipeline beside the cameras and ships its outbox to the region.
//!
//! [`run`] starts everything in the order of the data's way back: outbox, shipper, model, cameras; and ends it the other way
//! round, so that the last events of the cameras still reach the outbox and, where the region answers, the region.

mod clock_watch;
pub mod config;
mod model;
pub mod rollout;
pub mod ship;
mod sink;
mod wire;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use vigil_base::event::ModelRef;
use vigil_base::{SharedClock, SystemClock};
use vigil_camera::{CameraClock, CameraStatus};
use vigil_decode::DecoderConfig;
use vigil_event::{EventConfig, EventContext, EventIds};
use vigil_gate::{GateConfig, PacketGateConfig};
use vigil_outbox::{Outbox, OutboxConfig, OutboxError};
use vigil_runtime::{AnalyserConfig, CameraChain, ChainConfig, SightListener, StartError, StatusListener};
use vigil_serve::grpc::StartError as GrpcStartError;
use vigil_serve::{GrpcServer, HealthBoard, ops};
use vigil_track::TrackerConfig;

use config::{CameraConfig, EdgeConfig};
use model::SharedModel;
pub use model::{ModelError, default_manifest};
use ship::{Shipper, ShipperConfig};
pub use sink::{OutboxSink, close_open_events};

/// How long the cameras may take to hand over their last events when the edge stops; longer only when the disk is full.
const LAST_EVENTS: Duration = Duration::from_secs(5);

/// The edge cannot start.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// The gRPC address cannot be used.
    #[error("the gRPC server cannot start")]
    Grpc(#[from] GrpcStartError),
    /// The metrics and health address cannot be used.
    #[error("cannot listen on {address} for metrics and health: is it free, and is it an address of this machine?")]
    Ops {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The outbox cannot be opened or written; the source names the file.
    #[error("the outbox cannot be used")]
    Outbox(#[from] OutboxError),
    /// The detector cannot be loaded.
    #[error("the detector cannot be used")]
    Model(#[from] ModelError),
    /// A camera's chain cannot start.
    #[error(transparent)]
    Chain(#[from] StartError),
    /// A blocking step was cancelled.
    #[error("the edge was stopped while it started")]
    Stopped,
}

/// Runs an edge until `shutdown`.
///
/// # Errors
/// Something it cannot do without is missing at the start. Later trouble (a camera, the region, the disk) is reported on
/// `/healthz` and lived with.
pub async fn run(config: EdgeConfig, shutdown: CancellationToken) -> Result<(), EdgeError> {
    let clock = SystemClock::shared();
    let board = HealthBoard::new();
    let ops_error = |source| EdgeError::Ops { address: config.ops_listen, source };
    let ops = ops::serve_ops(config.ops_listen, board.clone(), shutdown.clone()).await.map_err(ops_error)?;
    let grpc = GrpcServer::bind(config.listen, board.clone()).await?;
    tracing::info!(edge = %config.edge, grpc = %grpc.address(), %ops, cameras = config.cameras.len(), "edge starts");

    let outbox = blocking({
        let (folder, max_bytes, clock, board) =
            (config.data_dir.join("outbox"), config.outbox_max_bytes, clock.clone(), board.clone());
        move || open_outbox(&folder, max_bytes, clock, &board)
    })
    .await??;
    let model = blocking({
        let (model, data_dir, clock, board) =
            (config.model.clone(), config.data_dir.clone(), clock.clone(), board.clone());
        move || SharedModel::load(&model, &data_dir, clock, &board)
    })
    .await??;
    let sink = Arc::new(OutboxSink::new(outbox.clone(), board.clone()));
    let chains = Arc::new(start_cameras(&config, &model, &sink, &clock, &board)?);
    let serving = grpc.spawn(shutdown.clone());
    let following = tokio::spawn(model.follow(shutdown.clone()));

    let stop_shipping = CancellationToken::new();
    let shipper = shipper(&config, outbox, &chains, clock, board);
    let shipping = tokio::spawn(ship::run(shipper, stop_shipping.clone()));
    shutdown.cancelled().await;

    stop_cameras(&chains, &sink).await;
    stop_shipping.cancel();
    for task in [shipping, serving, following] {
        if task.await.is_err() {
            tracing::error!("a task of the edge panicked");
        }
    }
    tracing::info!(edge = %config.edge, "edge ended");
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, EdgeError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| EdgeError::Stopped)
}

fn open_outbox(
    folder: &Path,
    max_bytes: u64,
    clock: SharedClock,
    board: &HealthBoard,
) -> Result<Arc<Outbox>, EdgeError> {
    let config = OutboxConfig { max_bytes, ..OutboxConfig::new(folder) };
    let outbox = Outbox::open(&config, clock)?;
    if let Some(aside) = outbox.quarantined() {
        let detail =
            format!("the outbox was damaged; it was moved to {} and its waiting events were not sent", aside.display());
        tracing::error!("{detail}");
        board.report("outbox-damage", detail, false);
    }
    let closed = close_open_events(&outbox)?;
    if closed > 0 {
        tracing::warn!(closed, "events that were in view when the edge died are ended");
    }
    Ok(Arc::new(outbox))
}

fn start_cameras(
    config: &EdgeConfig,
    model: &Arc<SharedModel>,
    sink: &Arc<OutboxSink>,
    clock: &SharedClock,
    board: &HealthBoard,
) -> Result<Vec<CameraChain>, EdgeError> {
    let start = |camera: &CameraConfig| {
        let chain = chain_config(config, camera, model, board);
        Ok(CameraChain::start(chain, sink.clone(), clock.clone())?)
    };
    config.cameras.iter().map(start).collect()
}

fn chain_config(
    config: &EdgeConfig,
    camera: &CameraConfig,
    model: &Arc<SharedModel>,
    board: &HealthBoard,
) -> ChainConfig {
    let analysis = &camera.analysis;
    let identity = model.identity();
    ChainConfig {
        camera: camera.id.clone(),
        source: camera.analysed.clone(),
        decoder: DecoderConfig::default(),
        rate: analysis.frames_per_second(),
        gate: (analysis.motion_gate && analysis.packet_gate).then(PacketGateConfig::default),
        analyser: AnalyserConfig {
            classes: analysis.classes.clone(),
            gate: analysis.motion_gate.then(GateConfig::default),
            attention: analysis.attention(),
            tracker: TrackerConfig::default(),
            events: EventConfig {
                update_interval: analysis.update_interval,
                thumbnails: analysis.thumbnails,
                ids: EventIds::Random,
            },
        },
        context: EventContext {
            region: config.region.clone(),
            edge: config.edge.clone(),
            camera: camera.id.clone(),
            location: camera.location,
            ground: None,
            model: ModelRef { name: identity.name.as_str().into(), fingerprint: identity.fingerprint.as_str().into() },
        },
        detector: model.detector_for(&camera.id, analysis.rate),
        on_status: on_status(camera, board),
        on_sight: on_sight(camera, board),
    }
}

/// Camera trouble goes to the board; the camera itself logs it, once for each reason.
fn on_status(camera: &CameraConfig, board: &HealthBoard) -> StatusListener {
    let (id, component, board) = (camera.id.clone(), format!("camera/{}", camera.id), board.clone());
    Arc::new(move |status, sentence| match status {
        CameraStatus::Connecting { .. } => tracing::debug!(camera = %id, "{sentence}"),
        CameraStatus::Streaming { camera_clock, .. } => {
            tracing::info!(camera = %id, "streaming {sentence}");
            board.clear(&component);
            match clock_trouble(*camera_clock) {
                Some(trouble) => board.report(&format!("{component}/clock"), trouble, false),
                None => board.clear(&format!("{component}/clock")),
            }
        }
        CameraStatus::Waiting { .. } | CameraStatus::Down { .. } => board.report(&component, sentence, false),
    })
}

/// A camera that streams and is not seen is as good as none; the camera's chain logs it.
fn on_sight(camera: &CameraConfig, board: &HealthBoard) -> SightListener {
    let (component, board) = (format!("camera/{}/pictures", camera.id), board.clone());
    Arc::new(move |trouble| match trouble {
        Some(why) => board.report(&component, why, false),
        None => board.clear(&component),
    })
}

/// What operators must know of a camera's clock: events that carry wrong times are found at the wrong time.
fn clock_trouble(clock: CameraClock) -> Option<String> {
    let (offset_ms, consequence) = match clock {
        CameraClock::Good { offset_ms } => (offset_ms, "its events carry these times"),
        CameraClock::Wrong { offset_ms } => (offset_ms, "times of arrival are used instead"),
        CameraClock::Unknown | CameraClock::Ignored { .. } => return None,
    };
    let off = clock_watch::off(offset_ms)?;
    Some(format!("the camera's clock is {off} this edge's: set it by NTP; {consequence}"))
}

fn shipper(
    config: &EdgeConfig,
    outbox: Arc<Outbox>,
    chains: &Arc<Vec<CameraChain>>,
    clock: SharedClock,
    board: HealthBoard,
) -> Shipper {
    let chains = chains.clone();
    Shipper {
        config: ShipperConfig {
            region_address: config.region_address.clone(),
            region: config.region.clone(),
            edge: config.edge.clone(),
            cameras: config.cameras.iter().map(|camera| wire::camera(config, camera)).collect(),
        },
        outbox,
        cameras: Arc::new(move || chains.iter().map(|chain| wire::camera_health(&chain.health())).collect()),
        clock,
        board,
    }
}

async fn stop_cameras(chains: &Arc<Vec<CameraChain>>, sink: &Arc<OutboxSink>) {
    for chain in chains.iter() {
        chain.stop();
    }
    let waiting = chains.clone();
    let mut ended = tokio::task::spawn_blocking(move || waiting.iter().for_each(CameraChain::wait));
    if tokio::time::timeout(LAST_EVENTS, &mut ended).await.is_err() {
        tracing::warn!("the cameras do not end: the outbox takes no more events");
        sink.stop();
        let _ = ended.await;
    }
}
