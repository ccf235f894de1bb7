//! Where the two services are served: renewals beside ingest, enrolment on an address of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vigil_base::SharedClock;
use vigil_serve::{GrpcServer, HealthBoard};
use vigil_trust::{Keeper, Network, Right, Security};

use super::{Enrolments, Renewals, Signer};
use crate::config::RegionConfig;
use crate::error::RegionError;
use crate::index::IndexError;

/// What gives edges their certificates, on the region that holds the authority.
pub(crate) struct Enrolment {
    signer: Arc<Signer>,
    listen: SocketAddr,
    keeper: Arc<Keeper>,
}

impl Enrolment {
    pub(crate) async fn open(
        config: &RegionConfig,
        keeper: Option<&Arc<Keeper>>,
        clock: &SharedClock,
    ) -> Result<Option<Self>, RegionError> {
        let (Some(enrolment), Some(keeper)) = (config.enrolment.clone(), keeper.cloned()) else { return Ok(None) };
        let (listen, clock) = (enrolment.listen, Arc::clone(clock));
        let opened = tokio::task::spawn_blocking(move || Signer::open(&enrolment, clock)).await;
        let signer = opened.unwrap_or(Err(RegionError::Index(IndexError::Closed)))?;
        Ok(Some(Self { signer, listen, keeper }))
    }

    pub(crate) fn add_renewals(&self, grpc: GrpcServer) -> GrpcServer {
        grpc.add_service(Right::Renew, Renewals::server(Arc::clone(&self.signer)))
    }

    /// On an address of its own: everywhere else a certificate is asked for before anything is read.
    pub(crate) async fn serve(
        self,
        network: &Network,
        board: &HealthBoard,
        shutdown: &CancellationToken,
    ) -> Result<(SocketAddr, JoinHandle<()>), RegionError> {
        let authority = self.signer.authority().certificate().clone();
        let security = Security::Pinned { keeper: self.keeper, authority };
        let grpc = GrpcServer::bind_on(network, self.listen, security, board.clone()).await?;
        let address = grpc.address();
        let serving = grpc.add_open_service(Enrolments::server(self.signer)).spawn(shutdown.clone());
        tracing::info!(%address, "edges enrol here");
        Ok((address, serving))
    }
}
