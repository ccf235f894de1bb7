//! The HTTP side for operators: `/metrics`, `/healthz`, `/livez`.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json};
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use vigil_trust::accept::{self, Protocol};
use vigil_trust::exposure::is_exposed;
use vigil_trust::{Connection, Keeper, Network, Right, Security};

use crate::health::{HealthBoard, Problem};

/// Upper bounds of every `_seconds` histogram.
const SECONDS_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
/// How often samples are folded into the buckets, so that they do not pile up between scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

/// Installs the process's metrics recorder once, however often it is called.
pub fn install_metrics() -> PrometheusHandle {
    RECORDER
        .get_or_init(|| {
            let builder = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS_BUCKETS)
                .expect("the list of buckets is not empty");
            let recorder = builder.build_recorder();
            let handle = recorder.handle();
            if metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!("another metrics recorder is installed; /metrics will be empty");
            }
            handle
        })
        .clone()
}

#[derive(Clone)]
struct OpsState {
    metrics: PrometheusHandle,
    board: HealthBoard,
}

#[derive(Serialize)]
struct HealthReport {
    ready: bool,
    problems: Vec<Problem>,
}

/// Serves `/metrics`, `/healthz` (503 while a critical problem lasts; names all problems) and `/livez` until `shutdown`.
///
/// Where other machines reach `listen` and there are credentials, over mutual TLS to those who may [`Right::Observe`]; on
/// the loopback address always in the clear, for the probes of the machine itself.
///
/// Returns the bound address; the server runs in a task of its own.
pub async fn serve_ops(
    listen: SocketAddr,
    keeper: Option<&Arc<Keeper>>,
    board: HealthBoard,
    shutdown: CancellationToken,
) -> std::io::Result<SocketAddr> {
    serve_ops_on(&Network::System, listen, keeper, board, shutdown).await
}

/// The same on a network that may be another than the operating system's.
///
/// # Errors
/// As [`serve_ops`].
pub async fn serve_ops_on(
    network: &Network,
    listen: SocketAddr,
    keeper: Option<&Arc<Keeper>>,
    board: HealthBoard,
    shutdown: CancellationToken,
) -> std::io::Result<SocketAddr> {
    // Before the first handle is taken.
    let metrics = install_metrics();
    let listener = network.listen(listen).await?;
    let address = listener.local_address()?;
    let security = Security::of(keeper.filter(|_| is_exposed(address)), Right::Observe, Protocol::Http);
    let listener = Taken { connections: accept::serve(listener, security, shutdown.clone()), address };
    tokio::spawn(upkeep(metrics.clone(), shutdown.clone()));
    let app = Router::new()
        .route("/metrics", get(render_metrics))
        .route("/healthz", get(render_health))
        .route("/livez", get(|| async { "alive\n" }))
        .with_state(OpsState { metrics, board });
    tokio::spawn(async move {
        let served = axum::serve(listener, app).with_graceful_shutdown(shutdown.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "the metrics and health endpoint stopped");
        }
    });
    Ok(address)
}

/// Connections as axum asks for them.
struct Taken {
    connections: mpsc::Receiver<Connection>,
    address: SocketAddr,
}

impl axum::serve::Listener for Taken {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        match self.connections.recv().await {
            Some(connection) => (connection, self.address),
            // The process shuts down.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address)
    }
}

async fn upkeep(metrics: PrometheusHandle, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(UPKEEP);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        metrics.run_upkeep();
    }
}

async fn render_metrics(State(state): State<OpsState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], state.metrics.render())
}

async fn render_health(State(state): State<OpsState>) -> impl IntoResponse {
    let problems = state.board.problems();
    let ready = !problems.iter().any(|p| p.critical);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(HealthReport { ready, problems }))
}
