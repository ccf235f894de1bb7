//! The closed list of service errors, mapped once to gRPC.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
pub use vigil_base::error::chain;
use vigil_proto::WireError;

/// `ErrorInfo.domain` of every error.
pub const ERROR_DOMAIN: &str = "vigil";

/// What went wrong, as clients may branch on it. The name is `ErrorInfo.reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// A field holds what it must not. Sending the same again fails again.
    InvalidField,
    /// A page token or cursor that is forged, damaged, of another server or of another question.
    InvalidToken,
    /// A page token that is too old: start the search again.
    ExpiredToken,
    /// The thing asked for is not there.
    NotFound,
    /// Something else has this name now.
    AlreadyExists,
    /// The caller's copy is out of date: read, merge, try again.
    Conflict,
    /// The request does not fit the server's state or configuration.
    FailedPrecondition,
    /// The request is for another region than the one that got it.
    WrongRegion,
    /// Who asks shows no certificate, or no token.
    Unauthenticated,
    /// Not for this caller, or not without saying why.
    Denied,
    /// The policy of the region that has it keeps it back from this caller.
    Withheld,
    /// A stated limit is reached.
    LimitReached,
    /// The deadline passed.
    DeadlineExceeded,
    /// Not now; trying again later helps.
    Unavailable,
    /// A fault of the server; its log says more.
    Internal,
}

impl ErrorCode {
    /// `ErrorInfo.reason`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::InvalidField => "INVALID_FIELD",
            Self::InvalidToken => "INVALID_TOKEN",
            Self::ExpiredToken => "EXPIRED_TOKEN",
            Self::NotFound => "NOT_FOUND",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::Conflict => "CONFLICT",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::WrongRegion => "WRONG_REGION",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Denied => "DENIED",
            Self::Withheld => "WITHHELD",
            Self::LimitReached => "LIMIT_REACHED",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }

    fn grpc(self) -> Code {
        match self {
            Self::InvalidField | Self::InvalidToken | Self::ExpiredToken => Code::InvalidArgument,
            Self::NotFound => Code::NotFound,
            Self::AlreadyExists => Code::AlreadyExists,
            Self::Conflict => Code::Aborted,
            Self::FailedPrecondition | Self::WrongRegion => Code::FailedPrecondition,
            Self::Unauthenticated => Code::Unauthenticated,
            Self::Denied | Self::Withheld => Code::PermissionDenied,
            Self::LimitReached => Code::ResourceExhausted,
            Self::DeadlineExceeded => Code::DeadlineExceeded,
            Self::Unavailable => Code::Unavailable,
            Self::Internal => Code::Internal,
        }
    }
}

/// An answer that is an error. Its message is shown to the caller: it names the thing and leaks no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ServiceError {
    /// What clients branch on.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// Path of the field at fault, for [`ErrorCode::InvalidField`].
    pub field: Option<String>,
    /// When trying again may help.
    pub retry_after: Option<Duration>,
}

impl ServiceError {
    /// An error without field or retry hint.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None, retry_after: None }
    }

    /// A field that holds what it must not.
    pub fn field(field: impl Into<String>, problem: impl std::fmt::Display) -> Self {
        let field = field.into();
        Self { message: format!("{field}: {problem}"), field: Some(field), ..Self::new(ErrorCode::InvalidField, "") }
    }

    /// Not now; try again after `retry_after`.
    pub fn unavailable(message: impl Into<String>, retry_after: Duration) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(ErrorCode::Unavailable, message) }
    }

    /// A fault of ours: logged with its cause here, shown to the caller without it.
    pub fn internal(doing: &str, cause: &dyn std::error::Error) -> Self {
        tracing::error!(error = %chain(cause), "{doing} failed");
        Self::new(ErrorCode::Internal, format!("{doing} failed; the server's log says why"))
    }
}

/// Whether a status of another server of ours is this error.
pub fn is(status: &Status, code: ErrorCode) -> bool {
    let details = status.get_error_details();
    details.error_info().is_some_and(|info| info.domain == ERROR_DOMAIN && info.reason == code.reason())
}

/// Whether a status of another server says that its policy withholds what was asked for.
pub fn is_withheld(status: &Status) -> bool {
    is(status, ErrorCode::Withheld)
}

impl From<WireError> for ServiceError {
    fn from(error: WireError) -> Self {
        Self::field(error.field, error.problem)
    }
}

impl From<ServiceError> for Status {
    fn from(error: ServiceError) -> Self {
        let mut details = ErrorDetails::new();
        details.set_error_info(error.code.reason(), ERROR_DOMAIN, std::collections::HashMap::new());
        if let Some(field) = &error.field {
            details.add_bad_request_violation(field, &error.message);
        }
        if error.retry_after.is_some() {
            details.set_retry_info(error.retry_after);
        }
        Self::with_error_details(error.code.grpc(), error.message, details)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_field_reaches_the_client_as_bad_request() {
        let status = Status::from(ServiceError::field("filter.plate", "must be letters and digits alone"));
        assert_eq!(status.code(), Code::InvalidArgument);
        let details = status.get_error_details();
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "filter.plate");
        assert_eq!(details.error_info().unwrap().reason, "INVALID_FIELD");
    }

    #[test]
    fn unavailable_says_when_to_come_back() {
        let status = Status::from(ServiceError::unavailable("the disk is full", Duration::from_secs(5)));
        assert_eq!(status.get_error_details().retry_info().unwrap().retry_delay, Some(Duration::from_secs(5)));
    }
}
