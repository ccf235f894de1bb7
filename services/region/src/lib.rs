//! One region of Vigil: durable, idempotent ingest from its edges, the video index, and the answers it gives for
//! itself.
//!
//! [`RegionServer::start`] opens the index ([`index`]), then serves, over gRPC:
//! - `ingest`: edges publish batches; each is acknowledged after it is durable.
//! - `query`: search, one event, counts, thumbnails; every answer carries the region's report of itself.
//! - `stream`: events as they are committed, from a cursor.
//! - `cameras`: the camera registry.
//! - `enrolment`: certificates of edges, where the region holds the authority.
//! - [`appearance`]: who looked like this, beside the index.
//! - `status`: how the region is.
//!
//! Between them and the index stands the `guard`, which gives each requester what the region's policy grants it.
//!
//! Invariants:
//! - Acknowledged means durable and findable, exactly once, whatever is killed when.
//! - Answers claim no more than the index holds: `complete_until` is the least of what the connected edges have
//!   delivered, and edges that are not connected are counted.
//! - What arrives is checked once, at the border (`ingest`, `vigil_proto::convert`); one bad record never costs its
//!   batch.
//! - Tokens (pages, cursors) are authenticated, bound to region, index and filter, and never trusted before that is
//!   checked.

pub mod appearance;
mod cameras;
pub mod config;
mod context;
mod coverage;
mod edges;
mod enrolment;
mod error;
pub mod export;
mod figures;
mod guard;
pub mod index;
mod ingest;
pub mod insight;
mod query;
mod reload;
mod replica;
mod retention;
mod server;
mod status;
mod stream;
mod telemetry;
#[cfg(test)]
#[path = "../tests/common/events.rs"]
mod test_events;
mod tokens;

pub use config::{EnrolmentConfig, Limits, RegionConfig};
pub use error::RegionError;
pub use guard::load_policy;
pub use server::{RegionServer, migrate, open_index, reindex, run};
