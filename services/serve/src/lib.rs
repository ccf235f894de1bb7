//! What every Vigil server process shares, so that a region, a gateway and an edge look alike from outside.
//!
//! - [`access`]: why somebody asks: purpose and case number.
//! - [`audit_search`]: the audit log over gRPC, for auditors alone.
//! - [`audited`]: every question into the audit log, before its answer leaves.
//! - [`door`]: who asks is found out: certificates, tokens, roles, how much one may ask.
//! - [`grpc`]: a gRPC server with health, reflection, keepalive, limits and an orderly end.
//! - [`ops`]: the HTTP side for operators: `/metrics` (Prometheus), `/healthz` (what is wrong), `/livez`.
//! - [`health`]: one board per process where each component says what is wrong with it.
//! - [`error`]: the closed list of service errors, mapped once to gRPC.
//! - [`requester`]: who asks, as far as it was proved; in each request.
//! - [`surroundings`]: clock, network and threads, which a server is given.
//! - [`token`]: opaque, authenticated tokens (page tokens, stream cursors).
//! - [`config`]: loading a TOML file with errors that name file, line and key.
//! - [`logs`]: structured logs on standard error.
//! - [`reload`]: the configuration, read again while a process runs.
//! - [`trail`]: what is handed out in answer to a call, and what is kept back, for the audit log.
//! - [`tls`]: certificates that are followed while a process runs, and what is wrong with them.

pub mod access;
mod around;
pub mod audit_search;
pub mod audited;
pub mod config;
mod connections;
pub mod door;
pub mod error;
pub mod grpc;
pub mod health;
pub mod logs;
pub mod ops;
pub mod reload;
pub mod requester;
pub mod surroundings;
pub mod tls;
pub mod token;
pub mod trail;

pub use access::Access;
pub use audited::AuditLayer;
pub use door::{Bearer, Door, DoorConfig, DoorSections, SubjectLimits};
pub use error::{ErrorCode, ServiceError};
pub use grpc::GrpcServer;
pub use health::{HealthBoard, Problem};
pub use reload::Reloads;
pub use requester::Requester;
pub use surroundings::{Surroundings, Threads};
pub use token::{AGELESS, TokenError, TokenKey};
pub use trail::{Answer, Trail};
pub use vigil_signin::CameraScope;
pub use vigil_trust::person::Role;
