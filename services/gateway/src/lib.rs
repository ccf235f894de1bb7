//! All regions at once: federated query and streams with a report per region.
//!
//! A gateway serves the services of a region over all the regions it is configured for. It keeps nothing: what a page or a
//! stream needs to go on is inside the token it handed out, so that any gateway with the same key file can go on with it.
//!
//! - [`config`]: which regions, which limits.
//! - `link`: one region as the gateway sees it: its connections, its circuit breaker, what its failures mean.
//! - `scatter`: one question to many regions within one deadline; a part per region, whatever happens.
//! - `search`, `aggregate`, `cameras`, `status`: how the parts become one answer.
//! - `reload`: another set of regions without a restart.
//! - `stream`: one live stream out of many, with a place per region inside one cursor.
//!
//! Invariants:
//! - Each region that was asked has one report in the answer: answered + failed = requested.
//! - No region, however slow or broken, holds an answer back beyond its deadline.
//! - What the merge relies on (order, region, count) is checked in each region's answer; a region that breaks it has failed.
//!
//! Limits that grow with the regions:
//! - A question goes to at most 1,000 regions at a time, a live stream to 250; more must be named in the filter, by parts.
//! - A page token holds the place in each region that has more: the ids, where all stand at one place, some 100 bytes each
//!   where none do. A stream's cursor holds each region's own, some 200 bytes each. Neither exceeds 128 KiB
//!   ([`vigil_serve::token::MAX_TOKEN_BYTES`]) with the longest ids, and requests of 1 MiB are taken.
//! - Each delivery of a stream carries the whole cursor: 17 KB over 100 regions. Who follows many regions at a high rate takes
//!   several streams.

mod admission;
mod aggregate;
mod appearance;
mod audit;
mod cameras;
pub mod config;
mod coverage;
mod deadline;
mod federation;
mod insight;
mod link;
mod query;
mod reload;
mod report;
mod scatter;
mod search;
mod server;
mod status;
mod stream;
mod tokens;

pub use config::{GatewayConfig, RegionEndpoint};
pub use server::{GatewayServer, StartError, run};
