//! An ingest node: runs the pipeline beside the cameras and ships its outbox to the region.
//!
//! [`run`] starts everything in the order of the data's way back: outbox, shipper, model, cameras; and ends it the other way
//! round, so that the last events of the cameras still reach the outbox and, where the region answers, the region.

mod cameras;
mod chain;
mod clock_watch;
pub mod config;
mod coverage;
pub mod enrol;
mod files;
mod memory;
mod model;
mod plates;
mod reload;
pub mod rollout;
pub mod ship;
mod sink;
mod wire;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vigil_base::{Event, SharedClock, SystemClock};
use vigil_outbox::{Kept, KeptConfig, Outbox, OutboxConfig, OutboxError};
use vigil_runtime::{Openings, StartError};
use vigil_serve::grpc::StartError as GrpcStartError;
use vigil_serve::{GrpcServer, HealthBoard, Reloads, Surroundings, ops, tls};
use vigil_trust::accept::Protocol;
use vigil_trust::{CredentialsError, Identity, Keeper, Owner, Right, Security};

use cameras::{Cameras, Common};
use config::EdgeConfig;
use coverage::{CoverageLog, Journal};
use memory::Memories;
use model::SharedModel;
pub use model::{ModelError, default_manifest};
use plates::SharedPlates;
pub use plates::plate_catalogue;
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
    /// Its certificates cannot be used.
    #[error("the [tls] section")]
    Tls(#[from] CredentialsError),
    /// The outbox cannot be opened or written; the source names the file.
    #[error("the outbox cannot be used")]
    Outbox(#[from] OutboxError),
    /// The detector cannot be loaded.
    #[error("the detector cannot be used")]
    Model(#[source] ModelError),
    /// A camera's plates are to be read, and the models that read them cannot be loaded.
    #[error("the plate models, which cameras with plates = true need, cannot be used")]
    Plates(#[source] ModelError),
    /// A camera's chain cannot start.
    #[error(transparent)]
    Chain(#[from] StartError),
    /// A blocking step was cancelled.
    #[error("the edge was stopped while it started")]
    Stopped,
}

/// Runs an edge until `shutdown`; its cameras and rules become what `reloads` says while it runs.
///
/// # Errors
/// Something it cannot do without is missing at the start. Later trouble (a camera, the region, the disk) is reported on
/// `/healthz` and lived with.
pub async fn run(config: EdgeConfig, reloads: Reloads, shutdown: CancellationToken) -> Result<(), EdgeError> {
    let clock = SystemClock::shared();
    let board = HealthBoard::new();
    let keeper = keeper(&config, &clock)?;
    let ops_error = |source| EdgeError::Ops { address: config.ops_listen, source };
    let ops = ops::serve_ops(config.ops_listen, keeper.as_ref(), board.clone(), shutdown.clone()).await;
    let ops = ops.map_err(ops_error)?;
    let security = Security::of(keeper.as_ref(), Right::Connect, Protocol::Grpc);
    let grpc = GrpcServer::bind(config.listen, security, board.clone()).await?;
    tracing::info!(edge = %config.edge, grpc = %grpc.address(), %ops, cameras = config.cameras.len(), "edge starts");

    let (outbox, cut_off) = blocking({
        let (folder, max_bytes, clock, board) =
            (config.data_dir.join("outbox"), config.outbox_max_bytes, clock.clone(), board.clone());
        move || open_outbox(&folder, max_bytes, clock, &board)
    })
    .await??;
    let kept = open_kept(&config).await?;
    let model = blocking({
        let (model, data_dir, clock, board) =
            (config.model.clone(), config.data_dir.clone(), clock.clone(), board.clone());
        move || SharedModel::load(&model, &data_dir, clock, &board)
    })
    .await?
    .map_err(EdgeError::Model)?;
    let plates = plates_for(&config).await?;
    let journal = blocking({
        let (data_dir, clock, board) = (config.data_dir.clone(), clock.clone(), board.clone());
        move || Journal::open(&data_dir, clock, &board)
    })
    .await??;
    let journal = Arc::new(journal);
    let sink = Arc::new(OutboxSink::new(outbox.clone(), board.clone()));
    let memories = Memories::open(&config, cut_off);
    let (model_in_use, sink_in_use, clock_in_use) = (model.clone(), sink.clone(), clock.clone());
    let common = Common {
        model: model_in_use,
        plates,
        sink: sink_in_use,
        clock: clock_in_use,
        board: board.clone(),
        memories,
        openings: Openings::for_this_machine(),
    };
    let cameras = Arc::new(Cameras::start(&config, common)?);
    let grpc = grpc.add_service(Right::AskEdge, CoverageLog::server(journal.clone(), config.region.clone()));
    let serving = grpc.spawn(shutdown.clone());
    let recording = tokio::spawn({
        let (cameras, clock) = (cameras.clone(), clock.clone());
        coverage::run(move || cameras.samples(), journal.clone(), clock, shutdown.clone())
    });
    let following = tokio::spawn(model.follow(shutdown.clone()));

    let stop_shipping = CancellationToken::new();
    if let Some(keeper) = &keeper {
        tokio::spawn(tls::follow(keeper.clone(), board.clone(), shutdown.clone()));
        let enrolment = enrol::Enrolment {
            keeper: keeper.clone(),
            token: config.enrol_token.clone(),
            edge: config.edge.clone(),
            region: config.region.clone(),
            region_address: config.region_address.clone(),
            clock: clock.clone(),
            board: board.clone(),
        };
        tokio::spawn(enrol::run(enrolment, shutdown.clone()));
    }
    let shipper =
        Shipper { keeper, ..shipper(&config, (outbox, kept, journal.outbox()), &cameras, clock, board.clone()) };
    let shipping = tokio::spawn(ship::run(shipper, stop_shipping.clone()));
    let changing = reload::serve(reloads, config.clone(), cameras.clone(), board, shutdown).await;

    stop_cameras(&cameras, changing, &sink).await;
    // The last minute's report is to be shipped, too.
    let recorded = recording.await;
    stop_shipping.cancel();
    for ended in [recorded, shipping.await, serving.await, following.await] {
        if ended.is_err() {
            tracing::error!("a task of the edge panicked");
        }
    }
    tracing::info!(edge = %config.edge, "edge ended");
    Ok(())
}

/// The edge's certificate must name this edge: its region takes its events under that name alone.
fn keeper(config: &EdgeConfig, clock: &SharedClock) -> Result<Option<Arc<Keeper>>, EdgeError> {
    let Some(files) = config.tls.clone() else { return Ok(None) };
    let (owner, clock) = (Owner::Exactly(Identity::Edge(config.edge.clone())), clock.clone());
    // Cameras do not wait for a certificate: what they see is in the outbox until there is one.
    let opened = match config.enrol_token {
        Some(_) => Keeper::open_or_wait(files, owner, clock),
        None => Keeper::open(files, owner, clock),
    };
    Ok(Some(opened?))
}

/// What the region has acknowledged.
async fn open_kept(config: &EdgeConfig) -> Result<Arc<Kept>, EdgeError> {
    let kept = KeptConfig {
        path: config.data_dir.join("outbox/acknowledged.db"),
        keep: config.keep_acknowledged,
        max_bytes: config.keep_acknowledged_bytes,
    };
    blocking(move || Arc::new(Kept::open(kept))).await
}

/// The plate models, loaded where a camera needs them.
async fn plates_for(config: &EdgeConfig) -> Result<SharedPlates, EdgeError> {
    let (plates, config) = (SharedPlates::default(), config.clone());
    blocking(move || plates.prepare(&config).map(|()| plates)).await?.map_err(EdgeError::Plates)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, EdgeError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| EdgeError::Stopped)
}

/// The outbox, and the events that were in view when the edge died.
fn open_outbox(
    folder: &Path,
    max_bytes: u64,
    clock: SharedClock,
    board: &HealthBoard,
) -> Result<(Arc<Outbox>, Vec<Event>), EdgeError> {
    let config = OutboxConfig { max_bytes, metrics_label: "events".to_owned(), ..OutboxConfig::new(folder) };
    let outbox = Outbox::open(&config, clock)?;
    if let Some(aside) = outbox.quarantined() {
        let detail =
            format!("the outbox was damaged; it was moved to {} and its waiting events were not sent", aside.display());
        tracing::error!("{detail}");
        board.report("outbox-damage", detail, false);
    }
    let closed = close_open_events(&outbox)?;
    if !closed.is_empty() {
        tracing::warn!(closed = closed.len(), "events that were in view when the edge died are ended");
    }
    Ok((Arc::new(outbox), closed))
}

fn shipper(
    config: &EdgeConfig,
    (outbox, kept, coverage): (Arc<Outbox>, Arc<Kept>, Arc<Outbox>),
    cameras: &Arc<Cameras>,
    clock: SharedClock,
    board: HealthBoard,
) -> Shipper {
    let (announced, cameras) = (cameras.announced(), cameras.clone());
    Shipper {
        config: ShipperConfig {
            region_address: config.region_address.clone(),
            region: config.region.clone(),
            edge: config.edge.clone(),
        },
        outbox,
        kept,
        coverage,
        announced,
        cameras: Arc::new(move || cameras.health()),
        keeper: None,
        surroundings: Surroundings::by(clock),
        board,
    }
}

/// `changing` is a change of the cameras that is under way.
async fn stop_cameras(cameras: &Arc<Cameras>, changing: Option<JoinHandle<()>>, sink: &Arc<OutboxSink>) {
    let mut ended = tokio::spawn({
        let cameras = cameras.clone();
        async move {
            cameras.stop();
            if let Some(changing) = changing {
                let _ = changing.await;
            }
            // What the change started is told, too.
            cameras.stop();
            let _ = tokio::task::spawn_blocking(move || cameras.wait()).await;
        }
    });
    if tokio::time::timeout(LAST_EVENTS, &mut ended).await.is_err() {
        tracing::warn!("the cameras do not end: the outbox takes no more events");
        sink.stop();
        let _ = ended.await;
    }
}
