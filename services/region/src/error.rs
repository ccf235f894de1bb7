//! Why a region does not start, and its index's failures in the terms of its callers.

use std::net::SocketAddr;
use std::time::Duration;

use vigil_audit::AuditError;
use vigil_serve::config::ConfigError;
use vigil_serve::grpc::StartError;
use vigil_serve::token::KeyError;
use vigil_serve::{ErrorCode, ServiceError};

use crate::index::IndexError;

/// When a caller may ask again after the index was busy.
const RETRY_BUSY: Duration = Duration::from_millis(500);
/// When a caller may ask again after the index could not write.
const RETRY_DISK: Duration = Duration::from_secs(5);

/// What a replica answers to whatever would change something.
pub(crate) fn only_reads() -> ServiceError {
    let message = "this is a replica, which only answers questions: send it to the region itself, at its own address";
    ServiceError::new(ErrorCode::FailedPrecondition, message)
}

/// A region cannot start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// Its index cannot be opened or used.
    #[error("the index cannot be used")]
    Index(#[from] IndexError),
    /// Its token key cannot be read or made.
    #[error("the key for page tokens and cursors cannot be used")]
    Key(#[from] KeyError),
    /// A replica has no token key: its own would not open the region's tokens.
    #[error("a replica needs the region's key for page tokens and cursors: copy token.key from the region's data_dir to {}", path.display())]
    ReplicaKey {
        /// Where it is looked for.
        path: std::path::PathBuf,
    },
    /// Its audit log cannot be opened: without one it gives no answers.
    #[error("the audit log cannot be used")]
    Audit(#[from] AuditError),
    /// Its policy cannot be used.
    #[error("the policy cannot be used")]
    Policy(#[from] ConfigError),
    /// Its certificates cannot be used.
    #[error("the [tls] section")]
    Tls(#[from] vigil_trust::CredentialsError),
    /// The issuer that people sign in with cannot be asked.
    #[error("the [sign_in] section")]
    SignIn(#[from] vigil_signin::http::HttpError),
    /// The authority that enrols edges cannot be used.
    #[error("the [enrolment] section: {problem}")]
    Enrolment {
        /// What is wrong, and with which file.
        problem: String,
    },
    /// It cannot listen for gRPC.
    #[error("the gRPC server cannot start")]
    Grpc(#[from] StartError),
    /// It cannot listen for metrics and health.
    #[error("cannot listen on {address} for metrics and health: is it free, and is it an address of this machine?")]
    Ops {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A question's failure, for who asked it.
pub(crate) fn from_index(doing: &str, error: &IndexError) -> ServiceError {
    match error {
        IndexError::Busy | IndexError::Closed => ServiceError::unavailable(error.to_string(), RETRY_BUSY),
        IndexError::DiskFull { .. } | IndexError::ReadOnly { .. } => unwritable(error),
        IndexError::Unreachable { .. }
        | IndexError::Refused { .. }
        | IndexError::Taken { .. }
        | IndexError::Unfit { .. } => unanswerable(error),
        IndexError::Replica { .. } => only_reads(),
        IndexError::TimedOut { .. } => ServiceError::new(ErrorCode::DeadlineExceeded, "the index took too long"),
        IndexError::TooMuchWork { .. } => ServiceError::new(ErrorCode::LimitReached, error.to_string()),
        IndexError::Cancelled => ServiceError::new(ErrorCode::DeadlineExceeded, error.to_string()),
        _ => ServiceError::internal(doing, error),
    }
}

/// A commit's failure, for the edge that published: whatever it is, keeping the batch and trying again is right.
pub(crate) fn from_commit(error: &IndexError) -> ServiceError {
    match error {
        IndexError::Busy | IndexError::Closed => ServiceError::unavailable(error.to_string(), RETRY_BUSY),
        _ => unwritable(error),
    }
}

/// A server of the region's own cannot be asked.
fn unanswerable(error: &IndexError) -> ServiceError {
    let problem = match error {
        IndexError::Unreachable { .. } => "its database cannot be reached",
        _ => "its log says why",
    };
    ServiceError::unavailable(format!("the region cannot answer now: {problem}"), RETRY_DISK)
}

/// Callers learn what is wrong, not where the files lie.
fn unwritable(error: &IndexError) -> ServiceError {
    let problem = match error {
        IndexError::DiskFull { .. } => "its disk is full",
        IndexError::ReadOnly { .. } => "its disk is read-only",
        IndexError::Corrupt { .. } => "its index is damaged",
        IndexError::Unreachable { .. } => "its database cannot be reached",
        _ => "its log says why",
    };
    ServiceError::unavailable(format!("the region cannot store now: {problem}"), RETRY_DISK)
}
