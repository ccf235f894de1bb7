//! Ships the outbox to the region: every record until it is acknowledged, in order, over one stream.
//!
//! What the region has acknowledged and lost is sent again, from what is kept beside the outbox.
//!
//! [`run`] never gives up; `session::run_once` is one connection, from hello to its end.

mod again;
mod coverage;
mod error;
mod opening;
mod session;
mod telemetry;

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Endpoint, Uri};
use vigil_base::{EdgeId, RegionId};
use vigil_outbox::{Kept, Outbox};
use vigil_proto::v1;
use vigil_serve::error::chain;
use vigil_serve::{HealthBoard, Surroundings};
use vigil_trust::{Dialer, Expect, Identity, Keeper};

pub use error::ShipError;

/// First and longest wait between two connections.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// A connection that lasted this long was good: the next wait is short again.
const GOOD_SESSION: Duration = Duration::from_secs(60);
/// The component's name on the health board.
const COMPONENT: &str = "region";

/// Where events go, and from whom.
#[derive(Debug, Clone)]
pub struct ShipperConfig {
    /// Address of the region's gRPC server.
    pub region_address: Uri,
    /// The region that must answer there.
    pub region: RegionId,
    /// This edge.
    pub edge: EdgeId,
}

/// The state of the edge's cameras, for heartbeats.
pub type CameraHealthSource = Arc<dyn Fn() -> Vec<v1::CameraHealth> + Send + Sync>;

/// What a shipper works with.
pub struct Shipper {
    /// Where to and from whom.
    pub config: ShipperConfig,
    /// What is shipped.
    pub outbox: Arc<Outbox>,
    /// What the region has acknowledged, in case it loses it.
    pub kept: Arc<Kept>,
    /// Reports of what was watched, shipped beside it to a region that takes them.
    pub coverage: Arc<Outbox>,
    /// The edge's cameras, announced with each connection. When they change, a new connection is made.
    pub announced: watch::Receiver<Vec<v1::Camera>>,
    /// Told in heartbeats.
    pub cameras: CameraHealthSource,
    /// Its certificate, where the region is reached over TLS.
    pub keeper: Option<Arc<Keeper>>,
    /// What time it is, over what it connects, which threads read the outbox.
    pub surroundings: Surroundings,
    /// Where trouble is reported.
    pub board: HealthBoard,
}

/// Ships until `shutdown`; what is not acknowledged by then stays in the outbox.
pub async fn run(shipper: Shipper, shutdown: CancellationToken) {
    let telemetry = telemetry::Telemetry::new();
    let endpoint = Endpoint::from(shipper.config.region_address.clone())
        .connect_timeout(session::CONNECT_TIMEOUT)
        .http2_keep_alive_interval(session::KEEPALIVE_INTERVAL)
        .keep_alive_timeout(session::KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    let region = Expect::Identity(Identity::Region(shipper.config.region.clone()));
    let dialer = Dialer::new(endpoint, shipper.keeper.clone(), region).over(shipper.surroundings.network.clone());
    let mut waits = waits();
    let mut told = String::new();
    while !shutdown.is_cancelled() {
        let began = shipper.surroundings.clock.monotonic();
        let ended = session::run_once(&shipper, &dialer, &telemetry, &shutdown).await;
        telemetry.disconnected();
        // It ended in order: the edge stops, or the cameras are to be announced anew.
        let Err(error) = ended else { continue };
        report(&shipper, &error, &mut told);
        if shipper.surroundings.clock.monotonic().saturating_sub(began) > GOOD_SESSION {
            waits = self::waits();
        }
        let wait = waits.next().unwrap_or(BACKOFF.1);
        let _ = shutdown.run_until_cancelled(tokio::time::sleep(wait)).await;
    }
}

fn waits() -> backon::ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(BACKOFF.0)
        .with_max_delay(BACKOFF.1)
        .with_jitter()
        .without_max_times()
        .build()
}

/// Each new reason is logged once, the backlog is on the board: an outage of days is one line, not one every half minute.
fn report(shipper: &Shipper, error: &ShipError, told: &mut String) {
    let backlog = shipper.outbox.backlog().records;
    let text = chain(error);
    if *told == text {
        tracing::debug!(region = %shipper.config.region, backlog, error = %text, "still not connected to the region");
    } else {
        tracing::warn!(region = %shipper.config.region, backlog, error = %text, "not connected to the region; it is tried again");
    }
    shipper.board.report(COMPONENT, format!("{text}; {backlog} records wait in the outbox and are kept"), false);
    *told = text;
}
