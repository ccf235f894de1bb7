//! Opaque tokens that only their maker can make: page tokens and stream cursors.
//!
//! A token is base64url of `version(1) | issued_at_us(8) | body | tag(16)`; the tag is HMAC-SHA-256 (RFC 2104, FIPS 180-4)
//! over the purpose and everything before it, cut to 128 bits (RFC 2104, section 5). Two servers that share a key take each other's tokens.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use vigil_base::Timestamp;

use crate::{ErrorCode, ServiceError};

const VERSION: u8 = 1;
const HEADER: usize = 1 + 8;
const TAG: usize = 16;
const KEY: usize = 32;
/// Longest token that is looked at: a gateway's token over 500 regions is below this.
pub const MAX_TOKEN_BYTES: usize = 128 * 1024;

/// The key that tokens are authenticated with.
#[derive(Clone)]
pub struct TokenKey([u8; KEY]);

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(***)")
    }
}

/// A token is not one of ours, or no longer good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token, damaged, forged, made for another purpose or with another key.
    #[error("is not a token of this server; start again without it")]
    Invalid,
    /// Older than it may be.
    #[error("has expired; start again without it")]
    Expired,
}

impl From<TokenError> for ServiceError {
    fn from(error: TokenError) -> Self {
        let code = match error {
            TokenError::Invalid => ErrorCode::InvalidToken,
            TokenError::Expired => ErrorCode::ExpiredToken,
        };
        Self::new(code, format!("the token {error}"))
    }
}

/// The key file cannot be read, made or used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("token key file {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file does not hold a key.
    #[error("token key file {} holds {found} bytes instead of {KEY}; delete it to have a new one made", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        found: usize,
    },
}

/// Of a token that does not get old. What points at a place for whoever comes back to it must not: a server whose clock was wrong
/// when it gave it, or is now, would turn its holder away.
pub const AGELESS: Duration = Duration::MAX;

impl TokenKey {
    /// A new random key.
    pub fn random() -> Self {
        // Version 4 UUIDs come from the operating system's generator: 122 random bits each, so 244 in the key.
        let mut key = [0; KEY];
        key[..16].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        key[16..].copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        Self(key)
    }

    /// The key in a file; a missing file is made, readable by its owner alone.
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        let io_error = |source| KeyError::Io { path: path.to_owned(), source };
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(mut file) => {
                let key = Self::random();
                file.write_all(&key.0).and_then(|()| file.sync_all()).map_err(io_error)?;
                Ok(key)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let bytes = fs::read(path).map_err(io_error)?;
                let found = bytes.len();
                bytes.try_into().map(Self).map_err(|_| KeyError::Length { path: path.to_owned(), found })
            }
            Err(error) => Err(io_error(error)),
        }
    }

    /// A token that carries `message` and is good for `purpose` alone.
    pub fn seal(&self, purpose: &str, message: &impl prost::Message, now: Timestamp) -> String {
        let mut bytes = Vec::with_capacity(HEADER + message.encoded_len() + TAG);
        bytes.push(VERSION);
        bytes.extend_from_slice(&now.as_micros().to_be_bytes());
        bytes.extend_from_slice(&message.encode_to_vec());
        let tag = self.mac(purpose, &bytes).finalize().into_bytes();
        bytes.extend_from_slice(&tag[..TAG]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What a token of ours carries, when it was made for `purpose` at most `max_age` ago.
    ///
    /// A token from the future is taken: clocks are set back.
    pub fn open<M: prost::Message + Default>(
        &self,
        purpose: &str,
        token: &str,
        max_age: Duration,
        now: Timestamp,
    ) -> Result<M, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Invalid);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| TokenError::Invalid)?;
        if bytes.len() < HEADER + TAG || bytes[0] != VERSION {
            return Err(TokenError::Invalid);
        }
        let (signed, tag) = bytes.split_at(bytes.len() - TAG);
        self.mac(purpose, signed).verify_truncated_left(tag).map_err(|_| TokenError::Invalid)?;
        let issued: [u8; 8] = signed[1..HEADER].try_into().map_err(|_| TokenError::Invalid)?;
        if now.since(Timestamp::from_micros(i64::from_be_bytes(issued))) > max_age {
            return Err(TokenError::Expired);
        }
        M::decode(&signed[HEADER..]).map_err(|_| TokenError::Invalid)
    }

    fn mac(&self, purpose: &str, bytes: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(&(purpose.len() as u64).to_be_bytes());
        mac.update(purpose.as_bytes());
        mac.update(bytes);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_token_comes_back_with_the_key_that_made_it_and_no_other() {
        let key = TokenKey::random();
        let token = key.seal("page", &"after 42".to_owned(), at(100));
        assert_eq!(key.open::<String>("page", &token, HOUR, at(200)).unwrap(), "after 42");
        assert_eq!(key.open::<String>("cursor", &token, HOUR, at(200)), Err(TokenError::Invalid));
        assert_eq!(TokenKey::random().open::<String>("page", &token, HOUR, at(200)), Err(TokenError::Invalid));
        assert_eq!(key.open::<String>("page", &token, HOUR, at(3_701)), Err(TokenError::Expired));
    }

    #[test]
    fn no_changed_byte_passes() {
        let key = TokenKey::random();
        let bytes = URL_SAFE_NO_PAD.decode(key.seal("page", &"after 42".to_owned(), at(0))).unwrap();
        for i in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[i] ^= 1;
            let token = URL_SAFE_NO_PAD.encode(changed);
            assert_eq!(key.open::<String>("page", &token, HOUR, at(0)), Err(TokenError::Invalid), "byte {i}");
        }
        for garbage in ["", "AA", "not base64!", &"A".repeat(MAX_TOKEN_BYTES + 1)] {
            assert_eq!(key.open::<String>("page", garbage, HOUR, at(0)), Err(TokenError::Invalid));
        }
    }

    #[test]
    fn a_key_file_is_made_once_and_a_damaged_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.key");
        let token = TokenKey::load_or_create(&path).unwrap().seal("page", &"x".to_owned(), at(0));
        assert!(TokenKey::load_or_create(&path).unwrap().open::<String>("page", &token, HOUR, at(0)).is_ok());
        fs::write(&path, b"short").unwrap();
        let err = TokenKey::load_or_create(&path).unwrap_err().to_string();
        assert!(err.contains("token.key") && err.contains("5 bytes"), "{err}");
    }
}
