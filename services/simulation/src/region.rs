//! A region: the real server over its real index, on a disk of the simulation's.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rand::rngs::SmallRng;
use vigil_base::RegionId;
use vigil_region::{RegionConfig, RegionServer, open_index};
use vigil_serve::{Surroundings, Threads};

use crate::clock::HostClock;
use crate::disk::Disk;
use crate::index::{Fate, SimulatedDisk};
use crate::network;
use crate::truth::Truth;

/// Where servers listen for gRPC, and for operators.
pub(crate) const PORT: u16 = 7_410;
const OPS_PORT: u16 = 7_411;

/// Address of a port on all of a host's own addresses.
pub(crate) fn everywhere(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))
}

/// Addresses for gRPC and for operators of a server on a host of its own.
pub(crate) fn listeners() -> (SocketAddr, SocketAddr) {
    (everywhere(PORT), everywhere(OPS_PORT))
}

/// What outlives a region's process.
pub(crate) struct Region {
    pub(crate) name: String,
    pub(crate) clock: Arc<HostClock>,
    pub(crate) disk: Disk,
    pub(crate) fate: Arc<Fate>,
    pub(crate) truth: Arc<Truth>,
}

impl Region {
    pub(crate) fn new(name: String, disk: Disk, rng: SmallRng, truth: &Arc<Truth>) -> Self {
        let (clock, fate) = (HostClock::wrong_by(0), Arc::new(Fate::new(rng)));
        Self { name, clock, disk, fate, truth: truth.clone() }
    }

    /// Its process, until it is killed or its index is found damaged.
    pub(crate) async fn run(self: Arc<Self>) -> turmoil::Result {
        let mut config = RegionConfig::local(RegionId::new(&self.name)?, self.disk.folder());
        (config.listen, config.ops_listen) = listeners();
        // With more, chance would decide which of them answers.
        config.limits.reader_threads = 1;
        let surroundings =
            Surroundings { clock: self.clock.clone(), network: network::simulated(), threads: Threads::InPlace };
        let (name, fate, truth) = (self.name.clone(), self.fate.clone(), self.truth.clone());
        let mut server = RegionServer::start_in(config, surroundings, move |config, clock| {
            let index = open_index(config, clock)?;
            Ok(Arc::new(SimulatedDisk { region: name, index, fate, truth }))
        })
        .await?;
        self.truth.note("up", &self.name);
        Err(server.failed().await.into())
    }
}
