//! Why a connection with the region ended.

use tonic::{Code, Status};
use vigil_base::RegionId;
use vigil_outbox::OutboxError;
use vigil_trust::dial;

use super::Shipper;

/// A connection with the region ended.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    /// Nobody answers.
    #[error("cannot reach region {region} at {address}")]
    Connect {
        /// The region.
        region: RegionId,
        /// Where it should be.
        address: String,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// What answers is no region.
    #[error("no region answers at {address}: is it the gRPC address of region {region}?")]
    NoRegion {
        /// The region.
        region: RegionId,
        /// Where it should be.
        address: String,
    },
    /// The region refused or the connection broke.
    #[error("region {region}: {}", said(.status))]
    Refused {
        /// The region.
        region: RegionId,
        /// What it said.
        status: Box<Status>,
    },
    /// The region does not take the edge's certificate.
    #[error("region {region}: {problem}")]
    Tls {
        /// The region.
        region: RegionId,
        /// Which certificate, and what it has against it.
        problem: String,
    },
    /// The region is silent or breaks the contract.
    #[error("region {region} {problem}")]
    Protocol {
        /// The region.
        region: RegionId,
        /// What it did.
        problem: String,
    },
    /// The outbox cannot be read or written.
    #[error("the outbox")]
    Outbox(#[from] OutboxError),
}

/// An error of the call, in the terms of who reads it.
pub(super) fn refused(shipper: &Shipper, status: Status) -> ShipError {
    let region = shipper.config.region.clone();
    if let Some(fault) = dial::fault_in(&status) {
        return ShipError::Tls { region, problem: fault.to_string() };
    }
    match status.code() {
        Code::Unimplemented => ShipError::NoRegion { region, address: shipper.config.region_address.to_string() },
        _ => ShipError::Refused { region, status: Box::new(status) },
    }
}

/// What the region or the transport said; never nothing.
fn said(status: &Status) -> &str {
    if status.message().is_empty() { status.code().description() } else { status.message() }
}
