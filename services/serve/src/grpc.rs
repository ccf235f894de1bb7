//! A gRPC server with health, reflection, keepalive, limits, checked peers and an orderly end.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic::service::interceptor::InterceptedService;
use tonic::service::{Interceptor, Routes, RoutesBuilder};
use tonic::transport::Server;
use tonic::{Request, Status};
use tonic_health::ServingStatus;
use vigil_base::SystemClock;
use vigil_trust::accept;
use vigil_trust::network::Listener;
use vigil_trust::{Identity, Network, PeerInfo, Right, Security};

use crate::audited::AuditLayer;
use crate::connections;
use crate::door::{self, Door};
use crate::health::HealthBoard;
use crate::{ErrorCode, ServiceError};

/// Largest message taken. Above the largest batch of an edge; also set on each service, whose own default is 4 MiB.
pub const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
/// Streams one connection may have open at a time.
const MAX_STREAMS_PER_CONNECTION: u32 = 256;
/// A peer that answers no ping for [`KEEPALIVE_TIMEOUT`] is gone: its connection is closed.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long calls that are open at shutdown may take to end.
pub const DRAIN: Duration = Duration::from_secs(5);

/// The server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: is it free, and is it an address of this machine?")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A gRPC server in the making.
#[derive(Debug)]
pub struct GrpcServer {
    listener: Listener,
    address: SocketAddr,
    security: Security,
    routes: RoutesBuilder,
    services: Vec<&'static str>,
    board: HealthBoard,
    audit: Option<AuditLayer>,
    door: Door,
}

impl GrpcServer {
    /// Binds `listen` (port 0 takes a free one).
    pub async fn bind(listen: SocketAddr, security: Security, board: HealthBoard) -> Result<Self, StartError> {
        Self::bind_on(&Network::System, listen, security, board).await
    }

    /// The same on a network that may be another than the operating system's.
    pub async fn bind_on(
        network: &Network,
        listen: SocketAddr,
        security: Security,
        board: HealthBoard,
    ) -> Result<Self, StartError> {
        let bind_error = |source| StartError::Bind { address: listen, source };
        let listener = network.listen(listen).await.map_err(bind_error)?;
        let address = listener.local_address().map_err(bind_error)?;
        let door = Door::open(SystemClock::shared());
        let (routes, services) = (Routes::builder(), Vec::new());
        Ok(Self { listener, address, security, routes, services, board, audit: None, door })
    }

    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Adds a service for those who have `right`; on a server without TLS, for all who reach it. Set its message limits to
    /// [`MAX_MESSAGE_BYTES`] first.
    #[must_use]
    pub fn add_service<S>(self, right: Right, service: S) -> Self
    where
        S: tower_service::Service<
                http::Request<tonic::body::Body>,
                Response = http::Response<tonic::body::Body>,
                Error = std::convert::Infallible,
                Future: Send,
            > + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
    {
        let guard = Guard { right: self.security.names_peers().then_some(right) };
        self.add(InterceptedService::new(service, guard))
    }

    /// Adds a service that asks each caller for something else than a certificate: a token, say.
    #[must_use]
    pub fn add_open_service<S>(self, service: S) -> Self
    where
        S: tower_service::Service<
                http::Request<tonic::body::Body>,
                Response = http::Response<tonic::body::Body>,
                Error = std::convert::Infallible,
                Future: Send,
            > + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
    {
        self.add(InterceptedService::new(service, Guard { right: None }))
    }

    fn add<S>(mut self, service: InterceptedService<S, Guard>) -> Self
    where
        S: tower_service::Service<
                http::Request<tonic::body::Body>,
                Response = http::Response<tonic::body::Body>,
                Error = std::convert::Infallible,
                Future: Send,
            > + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
    {
        self.services.push(S::NAME);
        self.routes.add_service(service);
        self
    }

    /// Has calls written into the audit log before they are answered.
    #[must_use]
    pub fn audited(mut self, layer: AuditLayer) -> Self {
        self.audit = Some(layer);
        self
    }

    /// Has callers let in by this door.
    #[must_use]
    pub fn behind(mut self, door: Door) -> Self {
        self.door = door;
        self
    }

    /// Serves until `shutdown`, then refuses new calls (GOAWAY) and lets open ones end within [`DRAIN`]. One connection ends
    /// so when the certificate by which it was taken is over ([`vigil_trust::ending`]).
    ///
    /// gRPC health of the server (the empty name) and of each service follows the board.
    pub fn spawn(mut self, shutdown: CancellationToken) -> JoinHandle<()> {
        let (reporter, health) = tonic_health::server::health_reporter();
        self.routes.add_service(health);
        let (v1, v1alpha) = reflection_services();
        self.routes.add_service(v1).add_service(v1alpha);
        tokio::spawn(follow_board(reporter, self.services, self.board, shutdown.clone()));
        let mut routes = self.routes.routes().into_axum_router();
        if let Some(audit) = self.audit {
            routes = routes.layer(audit);
        }
        // Around all others: it is known who asks before anything is done about it.
        let routes = Routes::from(routes.layer(self.door));
        let server = Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .max_concurrent_streams(Some(MAX_STREAMS_PER_CONNECTION));
        let address = self.address;
        let connections = accept::serve(self.listener, self.security, shutdown.clone());
        tokio::spawn(async move {
            let serving = connections::serve(server, routes, connections, shutdown.clone());
            let drained = async {
                shutdown.cancelled().await;
                tokio::time::sleep(DRAIN).await;
            };
            tokio::select! {
                () = serving => tracing::debug!(%address, "gRPC server ended"),
                () = drained => tracing::warn!(%address, "calls still open after {DRAIN:?} were cut off"),
            }
        })
    }
}

/// Who sent a request, by its certificate; none where no certificate was asked for.
pub fn sender<T>(request: &Request<T>) -> Option<&Identity> {
    request.extensions().get::<PeerInfo>()?.peer.as_deref().map(|peer| &peer.identity)
}

/// Lets calls of those through who may make them.
#[derive(Debug, Clone, Copy)]
struct Guard {
    /// None: everybody.
    right: Option<Right>,
}

impl Interceptor for Guard {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        door::refusal(request.extensions())?;
        let Some(right) = self.right else { return Ok(request) };
        // Not reached: TLS lets in nobody who shows no certificate.
        let nobody =
            || ServiceError::new(ErrorCode::Unauthenticated, "a certificate of this server's authority is needed");
        let sender = sender(&request).ok_or_else(nobody)?;
        sender.may(right).map_err(|forbidden| ServiceError::new(ErrorCode::Denied, forbidden.to_string()))?;
        Ok(request)
    }
}

/// Server reflection in the version clients should use and the one many still do.
fn reflection_services() -> (
    tonic_reflection::server::v1::ServerReflectionServer<impl tonic_reflection::server::v1::ServerReflection>,
    tonic_reflection::server::v1alpha::ServerReflectionServer<impl tonic_reflection::server::v1alpha::ServerReflection>,
) {
    const COMPILED_IN: &str = "the descriptor sets are compiled in";
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(vigil_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    (builder().build_v1().expect(COMPILED_IN), builder().build_v1alpha().expect(COMPILED_IN))
}

async fn follow_board(
    reporter: tonic_health::server::HealthReporter,
    services: Vec<&'static str>,
    board: HealthBoard,
    shutdown: CancellationToken,
) {
    let mut ready = board.watch_ready();
    loop {
        let serving = *ready.borrow_and_update() && !shutdown.is_cancelled();
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in std::iter::once(&"").chain(&services) {
            reporter.set_service_status(*service, status).await;
        }
        if shutdown.is_cancelled() {
            return;
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            changed = ready.changed() => if changed.is_err() { return },
        }
    }
}
