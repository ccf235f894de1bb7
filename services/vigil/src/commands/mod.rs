//! One file per command.

#[cfg(feature = "edge")]
pub mod analyze;
pub mod audit;
pub mod cameras;
#[cfg(feature = "edge")]
pub mod camsim;
pub mod config;
pub mod coverage;
#[cfg(all(feature = "edge", feature = "region", feature = "gateway"))]
pub mod demo;
#[cfg(feature = "edge")]
pub mod doctor;
pub mod issuer;
pub mod journeys;
pub mod look;
#[cfg(feature = "edge")]
pub mod model;
pub mod path;
pub mod pki;
pub mod pki_revoke;
pub mod presence;
pub mod query;
#[cfg(feature = "region")]
pub mod region;
#[cfg(feature = "region")]
pub mod region_policy;
pub mod serve;
pub mod sign_in;
pub mod status;
pub mod subscribe;
pub mod track;
