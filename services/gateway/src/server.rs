//! A running gateway.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vigil_audit::{AuditError, AuditLog};
use vigil_base::SharedClock;
use vigil_proto::v1::appearance_service_server::AppearanceServiceServer;
use vigil_proto::v1::audit_service_server::AuditServiceServer;
use vigil_proto::v1::camera_service_server::CameraServiceServer;
use vigil_proto::v1::coverage_service_server::CoverageServiceServer;
use vigil_proto::v1::event_query_service_server::EventQueryServiceServer;
use vigil_proto::v1::event_stream_service_server::EventStreamServiceServer;
use vigil_proto::v1::insight_service_server::InsightServiceServer;
use vigil_proto::v1::region_service_server::RegionServiceServer;
use vigil_serve::audit_search::AuditSearch;
use vigil_serve::token::KeyError;
use vigil_serve::{
    AuditLayer, Door, GrpcServer, HealthBoard, Reloads, Surroundings, Threads, TokenKey, grpc, ops, tls,
};
use vigil_signin::http::HttpError;
use vigil_trust::accept::Protocol;
use vigil_trust::{CredentialsError, Keeper, Network, Owner, Right, Role, Security};

use crate::admission::Admission;
use crate::appearance::Appearances;
use crate::audit::Audit;
use crate::cameras::Cameras;
use crate::config::GatewayConfig;
use crate::coverage::Coverage;
use crate::federation::{Context, Federation};
use crate::insight::Insight;
use crate::query::Query;
use crate::reload;
use crate::status::RegionsStatus;
use crate::stream::Streams;

/// Largest question taken: the longest page token and the largest filter fit in many times over.
const MAX_REQUEST_BYTES: usize = 1024 * 1024;

/// The gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The gRPC address cannot be listened on.
    #[error("gRPC server")]
    Grpc(#[from] grpc::StartError),
    /// The address for metrics and health cannot be listened on.
    #[error("cannot listen on {address} for metrics and health: is it free, and is it an address of this machine?")]
    Ops {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Its certificates cannot be used.
    #[error("the [tls] section")]
    Tls(#[from] CredentialsError),
    /// The issuer that people sign in with cannot be asked.
    #[error("the [sign_in] section")]
    SignIn(#[from] HttpError),
    /// The key of page tokens and cursors cannot be had.
    #[error("token key")]
    Key(#[from] KeyError),
    /// The audit log cannot be opened: without one no answers are given.
    #[error("the audit log cannot be used")]
    Audit(#[from] AuditError),
}

/// A gateway that serves until it is stopped. Dropping it leaves it running.
#[derive(Debug)]
pub struct GatewayServer {
    address: SocketAddr,
    ops_address: SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

impl GatewayServer {
    /// Binds both addresses and serves. Regions need not be there: what they are is in each answer. With `reloads`, its
    /// regions become what the file says whenever it is asked to read it again.
    pub async fn start(config: GatewayConfig, reloads: Option<Reloads>) -> Result<Self, StartError> {
        Self::start_in(config, reloads, Surroundings::system()).await
    }

    /// As [`Self::start`], in surroundings of the caller's.
    pub async fn start_in(
        config: GatewayConfig,
        reloads: Option<Reloads>,
        surroundings: Surroundings,
    ) -> Result<Self, StartError> {
        let Surroundings { clock, network, threads } = surroundings;
        let shutdown = CancellationToken::new();
        let board = HealthBoard::new();
        // Both before the first handle is taken: handles taken without a recorder count into nothing.
        ops::install_metrics();
        let key = Arc::new(TokenKey::load_or_create(&config.token_key_file)?);
        let audit = AuditLayer::new(Arc::new(open_audit(&config, clock.clone(), threads).await?), config.required);
        let tls = config.tls.clone().map(|files| Keeper::open(files, Owner::Any(Role::Gateway), clock.clone()));
        let keeper = tls.transpose()?;
        let security = Security::of(keeper.as_ref(), Right::Connect, Protocol::Grpc);
        let server = GrpcServer::bind_on(&network, config.listen, security, board.clone()).await?;
        let server = server.audited(audit.waiting(threads));
        let door = Door::new(&config.door, None, clock.clone())?;
        let server = server.behind(door.clone());
        let ops_error = |source| StartError::Ops { address: config.ops_listen, source };
        let ops =
            ops::serve_ops_on(&network, config.ops_listen, keeper.as_ref(), board.clone(), shutdown.clone()).await;
        let ops_address = ops.map_err(ops_error)?;
        if let Some(keeper) = keeper.clone() {
            tokio::spawn(tls::follow(keeper, board.clone(), shutdown.clone()));
        }
        tokio::spawn(door.follow(board.clone(), shutdown.clone()));
        let context = context(&config, (keeper, network), (key, clock), &board, &shutdown);
        let address = server.address();
        tracing::info!(%address, %ops_address, regions = config.regions.len(), "gateway serves");
        let grpc = add_services(server, &context, &config, &shutdown).spawn(shutdown.clone());
        let (federation, until) = (context.federation.clone(), shutdown.clone());
        let serving = tokio::spawn(async move {
            if let Some(reloads) = reloads {
                reload::serve(reloads, config, &federation, &board, &until).await;
            }
            if let Err(error) = grpc.await {
                tracing::error!(%error, "the gRPC server's task failed");
            }
            federation.ended().await;
        });
        Ok(Self { address, ops_address, shutdown, serving })
    }

    /// Where gRPC is served.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics and health are served.
    pub fn ops_address(&self) -> SocketAddr {
        self.ops_address
    }

    /// Ends live streams with their cursors, lets questions under way end, and returns when all is over.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.ended().await;
    }

    async fn ended(self) {
        if let Err(error) = self.serving.await {
            tracing::error!(%error, "the gateway's task failed");
        }
    }
}

/// Runs a gateway until `shutdown`; its regions become what `reloads` says while it runs.
pub async fn run(config: GatewayConfig, reloads: Reloads, shutdown: CancellationToken) -> Result<(), StartError> {
    let server = GatewayServer::start(config, Some(reloads)).await?;
    shutdown.cancelled().await;
    server.stop().await;
    Ok(())
}

/// Checks the newest part of the log: not on the async runtime's threads.
async fn open_audit(config: &GatewayConfig, clock: SharedClock, threads: Threads) -> Result<AuditLog, AuditError> {
    let folder = config.audit_dir.clone();
    threads.run(move || AuditLog::open(&folder, clock)).await.unwrap_or(Err(AuditError::Closed))
}

fn context(
    config: &GatewayConfig,
    (keeper, network): (Option<Arc<Keeper>>, Network),
    (key, clock): (Arc<TokenKey>, SharedClock),
    board: &HealthBoard,
    shutdown: &CancellationToken,
) -> Context {
    Context {
        federation: Arc::new(Federation::new(config, (keeper, network), &clock, board, shutdown)),
        admission: Admission::new(config, clock.clone()),
        clock,
        key,
        default_deadline: config.default_deadline,
        region_share: config.region_share,
    }
}

fn add_services(
    server: GrpcServer,
    context: &Context,
    config: &GatewayConfig,
    shutdown: &CancellationToken,
) -> GrpcServer {
    let streams = Streams::new(context.clone(), config.subscriber_patience, shutdown.clone());
    let queries = EventQueryServiceServer::new(Query::new(context.clone()));
    let cameras = CameraServiceServer::new(Cameras::new(context.clone()));
    let coverage = CoverageServiceServer::new(Coverage::new(context.clone()));
    let insight = InsightServiceServer::new(Insight::new(context.clone()));
    let regions = RegionServiceServer::new(RegionsStatus::new(context.clone()));
    let key = TokenKey::clone(&context.key);
    let own = AuditSearch::new(config.audit_dir.clone(), key, context.clock.clone(), None);
    let audit = AuditServiceServer::new(Audit::new(context.clone(), own));
    let appearances = AppearanceServiceServer::new(Appearances::new(context.clone()));
    let right = Right::AskGateway;
    server
        .add_service(right, queries.max_decoding_message_size(MAX_REQUEST_BYTES))
        .add_service(right, EventStreamServiceServer::new(streams).max_decoding_message_size(MAX_REQUEST_BYTES))
        .add_service(right, cameras.max_decoding_message_size(MAX_REQUEST_BYTES))
        .add_service(right, insight.max_decoding_message_size(MAX_REQUEST_BYTES))
        .add_service(right, appearances.max_decoding_message_size(MAX_REQUEST_BYTES))
        .add_service(right, coverage.max_decoding_message_size(MAX_REQUEST_BYTES))
        .add_service(right, audit.max_decoding_message_size(MAX_REQUEST_BYTES))
        .add_service(right, regions.max_decoding_message_size(MAX_REQUEST_BYTES))
}
