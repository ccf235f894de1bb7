//! All regions at once: federated query and streams with a report per region.
//!
//! A gateway serves the services of a region over all the regions it is configured for. It keeps nothing: what a page or a
//! stream needs to go on is inside the token it handed out, so that any gateway with the same key file can go on with it.
//!
//! - [`config`]: which regions, which limits.
//! - `link`: one region as the gateway sees it: its connections, its circuit breaker, what its failures mean.
//! - `scatter`: one question to many regions within one deadline; a part per region, whatever happens.
//! - `search`, `aggregate`, `cameras`, `status`: how the parts become one answer.
//! - `stream`: one live stream out of many, with a place per region inside one cursor.
//!
//! Invariants:
//! - Each region that was asked has one report in the answer: answered + failed = requested.
//! - No region, however slow or broken, holds an answer back beyond its deadline.
//! - What the merge relies on (order, region, count) is checked in each region's answer; a region that breaks it has failed.

mod admission;
mod aggregate;
mod cameras;
pub mod config;
mod deadline;
mod federation;
mod link;
mod query;
mod report;
mod scatter;
mod search;
mod server;
mod status;
mod stream;
mod tokens;

pub use config::{GatewayConfig, RegionEndpoint};
pub use server::{GatewayServer, StartError, run};
