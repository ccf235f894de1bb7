//! The gateway over real sockets: regions that answer, fail, freeze, lie and come back.
#![allow(clippy::unwrap_used)] // A test that fails here has failed.

mod appearance;
mod audit;
mod bound_tokens;
mod cameras;
mod faults;
mod hedge;
mod insight;
mod limits;
mod policy;
mod query;
mod real_regions;
mod reload;
mod sign_in;
mod simulation;
mod stream;
mod support;
mod tokens;
mod trust;
