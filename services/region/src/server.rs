//! Starting and stopping a region.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vigil_audit::AuditLog;
use vigil_base::{SharedClock, SystemClock};
use vigil_proto::v1::audit_service_server::AuditServiceServer;
use vigil_serve::audit_search::AuditSearch;
use vigil_serve::audited::Required;
use vigil_serve::ops::serve_ops_on;
use vigil_serve::{AuditLayer, Door, GrpcServer, HealthBoard, Reloads, Surroundings, Threads, TokenKey, tls};
use vigil_trust::accept::Protocol;
use vigil_trust::{Identity, Keeper, Owner, Right, Security};

use crate::appearance::{self, AppearanceStore, LooksService};
use crate::cameras::RegistryService;
use crate::config::{IndexConfig, RegionConfig};
use crate::context::Context;
use crate::coverage::LedgerService;
use crate::edges::Edges;
use crate::enrolment::Enrolment;
use crate::error::RegionError;
use crate::guard::{Guard, load_policy};
use crate::index::postgres::PostgresIndex;
use crate::index::sqlite::{ReindexedSlice, SqliteConfig, SqliteIndex};
use crate::index::{Index, IndexError};
use crate::ingest::IngestService;
use crate::insight::InsightService;
use crate::query::QueryService;
use crate::retention::Horizon;
use crate::status::{SOFTWARE_VERSION, StatusService};
use crate::stream::StreamService;
use crate::telemetry::Telemetry;
use crate::tokens::Tokens;
use crate::{figures, reload, replica, retention};

/// File of the key for page tokens and cursors, in the data folder: they stay good over a restart.
const TOKEN_KEY: &str = "token.key";

/// A region that serves.
pub struct RegionServer {
    index: Arc<dyn Index>,
    context: Arc<Context>,
    grpc_address: SocketAddr,
    ops_address: SocketAddr,
    enrolment_address: Option<SocketAddr>,
    shutdown: CancellationToken,
    fatal: watch::Receiver<Option<IndexError>>,
    serving: JoinHandle<()>,
    background: Vec<JoinHandle<()>>,
}

/// Serves a region until `shutdown`, or until its index is found damaged; its policy becomes what `reloads` says while it runs.
pub async fn run(config: RegionConfig, reloads: Reloads, shutdown: CancellationToken) -> Result<(), RegionError> {
    let mut server = RegionServer::start(config.clone()).await?;
    server.follow(config, reloads);
    tokio::select! {
        () = shutdown.cancelled() => {
            server.stop().await;
            Ok(())
        }
        error = server.failed() => {
            server.stop().await;
            Err(error)
        }
    }
}

impl RegionServer {
    /// Opens the index and begins to serve, by the machine's clock.
    ///
    /// # Errors
    /// [`RegionError`] says which of index, key and addresses cannot be used, and why.
    pub async fn start(config: RegionConfig) -> Result<Self, RegionError> {
        Self::start_at(config, SystemClock::shared()).await
    }

    /// As [`Self::start`], by a clock of the caller's.
    pub async fn start_at(config: RegionConfig, clock: SharedClock) -> Result<Self, RegionError> {
        Self::start_in(config, Surroundings::by(clock), open_index).await
    }

    /// As [`Self::start`], in surroundings of the caller's, over the index that `open` opens; see [`open_index`].
    pub async fn start_in(
        config: RegionConfig,
        surroundings: Surroundings,
        open: impl FnOnce(&RegionConfig, SharedClock) -> Result<Arc<dyn Index>, IndexError> + Send + 'static,
    ) -> Result<Self, RegionError> {
        let Surroundings { clock, network, threads } = surroundings;
        let keeper = keeper(&config, &clock)?;
        let enrolment = Enrolment::open(&config, keeper.as_ref(), &clock).await?;
        let Opened { index, appearances, key, audit } = open_all(&config, &clock, threads, open).await?;
        let guard = guard(&config, &index, &clock).await?;
        let required = Required { purpose: config.access.require_purpose, case: config.access.require_case };
        let shutdown = CancellationToken::new();
        let board = HealthBoard::new();
        let is_replica = config.index.is_replica();
        let edges = Edges::load(Arc::clone(&index), config.limits.max_edges, Arc::clone(&clock), is_replica).await?;
        let door = Door::new(&config.door, Some(config.region_id.clone()), Arc::clone(&clock))?;
        // Bound before anything is spawned: an address in use leaves nothing behind.
        let security = Security::of(keeper.as_ref(), Right::Connect, Protocol::Grpc);
        let grpc = GrpcServer::bind_on(&network, config.listen, security, board.clone()).await?;
        let ops_error = |source| RegionError::Ops { address: config.ops_listen, source };
        let ops = serve_ops_on(&network, config.ops_listen, keeper.as_ref(), board.clone(), shutdown.clone()).await;
        let ops_address = ops.map_err(ops_error)?;
        let (fatal_sender, fatal) = watch::channel(None);
        let context = Arc::new(Context {
            tokens: Tokens::new(key.clone(), config.region_id.clone(), index.index_id(), Arc::clone(&clock)),
            telemetry: Telemetry::new(&config.region_id),
            limits: config.limits.clone(),
            horizon: Horizon::new(config.retention),
            region: config.region_id.clone(),
            guard,
            is_replica,
            appearances: Arc::new(appearances),
            edges,
            board,
            clock,
            threads,
            index_is_down: AtomicBool::new(false),
            fatal: fatal_sender,
        });
        let grpc_address = grpc.address();
        let grpc = grpc.audited(AuditLayer::new(Arc::new(audit), required).waiting(threads)).behind(door.clone());
        let folder = config.audit_dir.clone();
        let search = AuditSearch::new(folder, key, Arc::clone(&context.clock), Some(config.region_id.clone()));
        let grpc = add_services(grpc, &context, search, &shutdown);
        let (grpc, enrolment) = match enrolment {
            Some(enrolment) => {
                (enrolment.add_renewals(grpc), Some(enrolment.serve(&network, &context.board, &shutdown).await?))
            }
            None => (grpc, None),
        };
        let enrolment_address = enrolment.as_ref().map(|(address, _)| *address);
        let serving = grpc.spawn(shutdown.clone());
        let mut background = vec![
            tokio::spawn(retention::run(Arc::clone(&context), shutdown.clone())),
            tokio::spawn(figures::run(Arc::clone(&context), shutdown.clone())),
            tokio::spawn(appearance::run(Arc::clone(&context), shutdown.clone())),
        ];
        if is_replica {
            background.push(tokio::spawn(replica::run(Arc::clone(&context), shutdown.clone())));
        }
        background.push(tokio::spawn(door.follow(context.board.clone(), shutdown.clone())));
        background.extend(enrolment.map(|(_, task)| task));
        background
            .extend(keeper.map(|keeper| tokio::spawn(tls::follow(keeper, context.board.clone(), shutdown.clone()))));
        tracing::info!(
            region = %config.region_id,
            name = config.display_name,
            is_replica,
            version = SOFTWARE_VERSION,
            grpc = %grpc_address,
            ops = %ops_address,
            data_dir = %config.data_dir.display(),
            policy = context.guard.policy().borrow().as_ref().map_or("none: whoever may ask is given everything", |p| p.version()),
            "region serves"
        );
        Ok(Self { index, context, grpc_address, ops_address, enrolment_address, shutdown, fatal, serving, background })
    }

    /// Reads the configuration again whenever `reloads` asks for it: another policy is followed at once. `running` is what the server
    /// was started with.
    pub fn follow(&mut self, running: RegionConfig, reloads: Reloads) {
        let following = reload::serve(reloads, running, Arc::clone(&self.context), self.shutdown.clone());
        self.background.push(tokio::spawn(following));
    }

    /// Where the gRPC server listens.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc_address
    }

    /// Where metrics and health are served.
    pub fn ops_address(&self) -> SocketAddr {
        self.ops_address
    }

    /// Where edges enrol, if here.
    pub fn enrolment_address(&self) -> Option<SocketAddr> {
        self.enrolment_address
    }

    /// Waits for a failure after which the region must not go on.
    pub async fn failed(&mut self) -> RegionError {
        match self.fatal.wait_for(Option::is_some).await.map(|error| error.clone()) {
            Ok(Some(error)) => error.into(),
            // All services are gone, so none can fail any more.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Ends in order: streams are told to resume, open calls end, the index is closed.
    pub async fn stop(self) {
        self.shutdown.cancel();
        for task in self.background.into_iter().chain([self.serving]) {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the region panicked");
            }
        }
        // Connections that did not end in time may still hold the index; they get errors from now on.
        let (index, threads) = (self.index, self.context.threads);
        drop(self.context);
        if threads.run(move || index.close()).await.is_err() {
            tracing::error!("closing the index panicked");
        }
    }
}

/// The region's certificate must name this region: gateways and edges look for it.
fn keeper(config: &RegionConfig, clock: &SharedClock) -> Result<Option<Arc<Keeper>>, RegionError> {
    let Some(files) = config.tls.clone() else { return Ok(None) };
    let owner = Owner::Exactly(Identity::Region(config.region_id.clone()));
    Ok(Some(Keeper::open(files, owner, Arc::clone(clock))?))
}

/// What lies on the disk.
struct Opened {
    index: Arc<dyn Index>,
    appearances: AppearanceStore,
    key: TokenKey,
    audit: AuditLog,
}

/// Opening may migrate, which takes long: not on the async runtime's threads.
async fn open_all(
    config: &RegionConfig,
    clock: &SharedClock,
    threads: Threads,
    open: impl FnOnce(&RegionConfig, SharedClock) -> Result<Arc<dyn Index>, IndexError> + Send + 'static,
) -> Result<Opened, RegionError> {
    let (config, clock) = (config.clone(), Arc::clone(clock));
    let opening = threads.run(move || {
        let index = open(&config, clock.clone())?;
        let newest = *index.latest().borrow();
        let appearances =
            AppearanceStore::open(&config.data_dir, config.slice, index.index_id(), newest, &index.lineage())?;
        let key = token_key(&config)?;
        let audit = AuditLog::open(&config.audit_dir, clock)?;
        Ok(Opened { index, appearances, key, audit })
    });
    opening.await.unwrap_or(Err(RegionError::Index(IndexError::Closed)))
}

/// A replica takes the tokens of its region, and the region its replica's: it makes no key of its own.
fn token_key(config: &RegionConfig) -> Result<TokenKey, RegionError> {
    let path = config.data_dir.join(TOKEN_KEY);
    if config.index.is_replica() && !path.exists() {
        return Err(RegionError::ReplicaKey { path });
    }
    Ok(TokenKey::load_or_create(&path)?)
}

/// Who stands before the index.
async fn guard(config: &RegionConfig, index: &Arc<dyn Index>, clock: &SharedClock) -> Result<Guard, RegionError> {
    let policy = config.policy.as_deref().map(load_policy).transpose()?;
    Ok(Guard::new(config.region_id.clone(), Arc::clone(index), policy, Arc::clone(clock)).await?)
}

/// Opens the index that the configuration names. Blocks, and may migrate it.
///
/// # Errors
/// As the engine's when it is opened.
pub fn open_index(config: &RegionConfig, clock: SharedClock) -> Result<Arc<dyn Index>, IndexError> {
    match &config.index {
        IndexConfig::Sqlite => Ok(Arc::new(SqliteIndex::open(&embedded(config), clock)?)),
        IndexConfig::Postgres(postgres) => {
            make_data_dir(config)?;
            Ok(Arc::new(PostgresIndex::open(postgres, clock)?))
        }
        IndexConfig::Replica(postgres) => {
            make_data_dir(config)?;
            Ok(Arc::new(PostgresIndex::open_replica(postgres)?))
        }
    }
}

/// The embedded engine makes the folder itself; with others only the key for tokens, and what is derived, lies in it.
fn make_data_dir(config: &RegionConfig) -> Result<(), IndexError> {
    let made = std::fs::create_dir_all(&config.data_dir);
    made.map_err(|e| IndexError::io(&config.data_dir, "make data folder", e))
}

/// Where the embedded index lies, and how it is used.
pub(crate) fn embedded(config: &RegionConfig) -> SqliteConfig {
    SqliteConfig {
        data_dir: config.data_dir.clone(),
        region: config.region_id.clone(),
        reader_threads: config.limits.reader_threads,
        slice: config.slice,
    }
}

/// Builds anew what the embedded index derives from its events, while the region does not run; tells of each slice. Blocks for
/// as long as that takes. Appearances are derived anew when the region starts. False: the index is PostgreSQL's, which has the rest
/// from its own REINDEX.
///
/// # Errors
/// As the engine's when it is opened, and those of `tell`.
pub fn reindex(
    config: &RegionConfig,
    tell: &mut dyn FnMut(ReindexedSlice) -> Result<(), IndexError>,
) -> Result<bool, IndexError> {
    match &config.index {
        IndexConfig::Sqlite => {
            SqliteIndex::reindex(&embedded(config), tell)?;
            AppearanceStore::forget(&config.data_dir).map(|()| true)
        }
        IndexConfig::Postgres(_) | IndexConfig::Replica(_) => AppearanceStore::forget(&config.data_dir).map(|()| false),
    }
}

/// Brings the tables of a region's index to this program's version, while the region does not run. Blocks for as long as that
/// takes.
///
/// # Errors
/// As the engine's when it is opened.
pub fn migrate(config: &RegionConfig) -> Result<(), IndexError> {
    let clock = SystemClock::shared();
    match &config.index {
        // Opening is what migrates it.
        IndexConfig::Sqlite => open_index(config, clock).map(|index| index.close()),
        IndexConfig::Postgres(postgres) => crate::index::postgres::migrate(postgres, &clock),
        IndexConfig::Replica(postgres) => Err(IndexError::Replica { index: postgres.schema.clone() }),
    }
}

fn add_services(
    grpc: GrpcServer,
    context: &Arc<Context>,
    search: AuditSearch,
    shutdown: &CancellationToken,
) -> GrpcServer {
    let shared = || Arc::clone(context);
    grpc.add_service(Right::Publish, IngestService::server(shared(), shutdown.clone()))
        .add_service(Right::AskRegion, QueryService::server(shared()))
        .add_service(Right::AskRegion, InsightService::server(shared()))
        .add_service(Right::AskRegion, StreamService::server(shared(), shutdown.clone()))
        .add_service(Right::AskRegion, RegistryService::server(shared()))
        .add_service(Right::AskRegion, LedgerService::server(shared()))
        .add_service(Right::AskRegion, LooksService::server(shared()))
        .add_service(Right::AskRegion, StatusService::server(shared()))
        .add_service(Right::AskRegion, AuditServiceServer::new(search))
}
