//! A gateway: the real server over all regions of the simulation.

use std::path::PathBuf;
use std::sync::Arc;

use vigil_base::RegionId;
use vigil_gateway::{GatewayConfig, GatewayServer, RegionEndpoint};
use vigil_serve::{Surroundings, Threads};

use crate::clock::HostClock;
use crate::disk::Disk;
use crate::network;
use crate::region::{PORT, listeners};
use crate::truth::Truth;

/// What outlives a gateway's process.
pub(crate) struct Gateway {
    pub(crate) name: String,
    pub(crate) regions: Vec<String>,
    pub(crate) clock: Arc<HostClock>,
    pub(crate) disk: Disk,
    /// The same for all gateways, which so take each other's tokens.
    pub(crate) token_key: PathBuf,
    pub(crate) truth: Arc<Truth>,
}

impl Gateway {
    /// Its process, until it is killed.
    pub(crate) async fn run(self: Arc<Self>) -> turmoil::Result {
        let regions = self.regions.iter().map(|region| {
            RegionEndpoint::new(RegionId::new(region).map_err(|e| e.to_string())?, &format!("http://{region}:{PORT}"))
        });
        let mut config = GatewayConfig::local(self.token_key.clone(), regions.collect::<Result<_, _>>()?);
        (config.listen, config.ops_listen) = listeners();
        config.audit_dir = self.disk.folder().join("audit");
        let surroundings =
            Surroundings { clock: self.clock.clone(), network: network::simulated(), threads: Threads::InPlace };
        let _server = GatewayServer::start_in(config, None, surroundings).await?;
        self.truth.note("up", &self.name);
        std::future::pending().await
    }
}
