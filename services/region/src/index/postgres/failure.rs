//! The server's errors in the terms of callers.

use std::sync::Arc;

use tokio_postgres::error::SqlState;

use crate::index::IndexError;

/// A question's own failures beside the server's.
#[derive(Debug)]
pub(super) enum Failure {
    Postgres(tokio_postgres::Error),
    Index(IndexError),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

impl From<IndexError> for Failure {
    fn from(error: IndexError) -> Self {
        Self::Index(error)
    }
}

impl Failure {
    /// For callers; `index` names schema and server.
    pub(super) fn told(self, index: &str, doing: &'static str) -> IndexError {
        match self {
            Self::Index(error) => error,
            Self::Postgres(error) => index_error(index, doing, error),
        }
    }
}

/// The end of statements that were sent together in a transaction: the first of them that fails makes the server refuse the
/// others, and is what is told.
///
/// # Errors
/// That failure; any of them, where each is a refusal.
pub(super) fn cause(ends: impl IntoIterator<Item = Result<(), Failure>>) -> Result<(), Failure> {
    let is_refusal = |failure: &Failure| matches!(failure, Failure::Postgres(error) if error.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
    let failures = ends.into_iter().filter_map(Result::err);
    failures.min_by_key(is_refusal).map_or(Ok(()), Err)
}

/// A row that this program did not write: damaged, or changed by hand.
pub(super) fn damaged(index: &str, what: impl std::error::Error + Send + Sync + 'static) -> Failure {
    IndexError::Corrupt { index: index.to_owned(), source: Arc::new(what) }.into()
}

/// See [`Failure::told`].
pub(super) fn index_error(index: &str, doing: &'static str, error: tokio_postgres::Error) -> IndexError {
    let index = index.to_owned();
    let kind = error.code().map_or_else(|| Kind::of_connection(&error), Kind::of_state);
    let source = Arc::new(error);
    match kind {
        Kind::DiskFull => IndexError::DiskFull { index, source },
        Kind::ReadOnly => IndexError::ReadOnly { index, source },
        Kind::Unreachable => IndexError::Unreachable { index, source },
        Kind::Refused => IndexError::Refused { index, source },
        Kind::Corrupt => IndexError::Corrupt { index, source },
        Kind::TimedOut => IndexError::TimedOut { index, doing },
        Kind::Busy => IndexError::Busy,
        Kind::Other => IndexError::Database { index, doing, source },
    }
}

/// What keeps a connection from being made; beside what the server says that is a certificate that nobody vouches for.
pub(super) fn connect_error(index: &str, error: tokio_postgres::Error) -> IndexError {
    if is_of_tls(&error) {
        return IndexError::Refused { index: index.to_owned(), source: Arc::new(error) };
    }
    match index_error(index, "connect", error) {
        IndexError::Database { index, source, .. } => IndexError::Refused { index, source },
        other => other,
    }
}

/// Whether the other side was reached, and its certificate or its TLS is why that was all.
fn is_of_tls(error: &tokio_postgres::Error) -> bool {
    use std::error::Error;
    let io = error.source().and_then(|cause| cause.downcast_ref::<std::io::Error>());
    let cause = io.and_then(|io| io.get_ref()?.downcast_ref::<rustls::Error>());
    cause.is_some()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    DiskFull,
    ReadOnly,
    Unreachable,
    Refused,
    Corrupt,
    TimedOut,
    Busy,
    Other,
}

impl Kind {
    /// What the server says, by its code (PostgreSQL 15, appendix A).
    fn of_state(state: &SqlState) -> Self {
        match state.code() {
            // disk_full; tables and logs share that disk more often than not.
            "53100" => Self::DiskFull,
            "25006" => Self::ReadOnly,
            // admin_shutdown, crash_shutdown, cannot_connect_now, too_many_connections
            "57P01" | "57P02" | "57P03" | "53300" => Self::Unreachable,
            // wrong password, no such role, no right to do it, no such database
            "28P01" | "28000" | "42501" | "3D000" => Self::Refused,
            "XX001" | "XX002" => Self::Corrupt,
            "57014" => Self::TimedOut,
            // lock_not_available; and serialization_failure, deadlock_detected: a standby's conflict with what it replays
            "55P03" | "40001" | "40P01" => Self::Busy,
            code if code.starts_with("08") => Self::Unreachable,
            _ => Self::Other,
        }
    }

    /// An error without a code is the connection's: it was never made, or ended. What was asked for in a way that the
    /// driver refuses is the exception.
    fn of_connection(error: &tokio_postgres::Error) -> Self {
        use std::error::Error;
        let is_io = matches!(error.source(), Some(cause) if cause.is::<std::io::Error>());
        if error.is_closed() || is_io { Self::Unreachable } else { Self::Other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_must_tell_apart_is_told_apart() {
        let kinds = [
            ("53100", Kind::DiskFull),
            ("25006", Kind::ReadOnly),
            ("57P03", Kind::Unreachable),
            ("08006", Kind::Unreachable),
            ("28P01", Kind::Refused),
            ("XX001", Kind::Corrupt),
            ("57014", Kind::TimedOut),
            ("40001", Kind::Busy),
            ("23505", Kind::Other),
        ];
        for (code, kind) in kinds {
            assert_eq!(Kind::of_state(&SqlState::from_code(code)), kind, "{code}");
        }
    }
}
