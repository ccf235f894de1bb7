//! What page tokens and cursors have in common: bound to a filter, refused by the name of their field.

use std::time::Duration;

use prost::Message;
use sha2::{Digest, Sha256};
use vigil_base::Timestamp;
use vigil_proto::convert::{Filter, filter_to_wire};
use vigil_serve::{ErrorCode, ServiceError, TokenKey};

/// Of SHA-256: more than enough against accidents, and tokens are authenticated as a whole.
const FINGERPRINT: usize = 16;

/// Tells one filter from another. The page size is no part of it and may change from page to page.
pub(crate) fn fingerprint(filter: &Filter) -> Vec<u8> {
    Sha256::digest(filter_to_wire(filter).encode_to_vec())[..FINGERPRINT].to_vec()
}

/// What the token in `field` carries.
pub(crate) fn open<M: Message + Default>(
    key: &TokenKey,
    purpose: &str,
    field: &str,
    token: &str,
    max_age: Duration,
    now: Timestamp,
) -> Result<M, ServiceError> {
    key.open(purpose, token, max_age, now).map_err(|error| {
        let code = ServiceError::from(error).code;
        ServiceError { code, ..ServiceError::field(field, error) }
    })
}

/// A token that is genuine but of no use here.
pub(crate) fn refused(field: &str, problem: &str) -> ServiceError {
    ServiceError { code: ErrorCode::InvalidToken, ..ServiceError::field(field, problem) }
}
