//! The ledger of enrolment tokens: a folder beside the authority's key, one file a token.
//!
//! ```text
//! tokens/lock           held while a token is used up
//! tokens/<id>.json      whose certificate it gives, until when, the hash of its secret; once used, by which key, and the certificate
//! ```
//!
//! A token is used up before its certificate leaves: the file that says so, with the certificate in it, is on the disk
//! first. Whoever is killed in between finds either a token that is unused, or the certificate that was made: the same key
//! gets it again, another key never. Files are replaced as a whole, so a power cut leaves the one or the other.
//!
//! The secret is 256 random bits, so a plain hash (SHA-256) is as good as a slow one: there is nothing to guess. Hashes are
//! compared in constant time.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use vigil_base::Timestamp;

use crate::authority::{AuthorityError, Issued};
use crate::files::{self, FileError, Readers};
use crate::identity::Identity;
use crate::request::RequestError;
use crate::token::EnrolToken;

/// The ledger's folder, in the authority's.
pub const FOLDER: &str = "tokens";
/// Most tokens of a ledger: all edges of the largest city at once.
const MAX_TOKENS: usize = 100_000;
/// Tokens are kept this long after their end, so that it can be seen what became of them.
const KEPT: Duration = Duration::from_hours(7 * 24);

/// A token is not redeemed.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError {
    /// No such token, or not its secret: which of the two is not told.
    #[error("the enrolment token is not known here: make one with `vigil pki token`")]
    Unknown,
    /// Too late.
    #[error("the enrolment token ended at {0}: make a new one")]
    Ended(Timestamp),
    /// It was used, with another key.
    #[error(
        "the enrolment token was used before, with another key: if that was not you, somebody else has a certificate of {0}"
    )]
    Used(Identity),
    /// The ledger cannot be read or written.
    #[error("the ledger of enrolment tokens")]
    Store(#[from] FileError),
    /// A file of the ledger is damaged.
    #[error("{} is damaged: remove it, and make a new token", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The ledger is full.
    #[error("there are {MAX_TOKENS} tokens in {} already", path.display())]
    Full {
        /// The folder.
        path: PathBuf,
    },
    /// What is asked for cannot be had with this token.
    #[error("the certificate request")]
    Request(#[from] RequestError),
    /// The authority does not sign.
    #[error("the authority")]
    Authority(#[from] AuthorityError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    identity: String,
    secret_sha256: String,
    not_after_us: i64,
    used: Option<Used>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Used {
    public_key_sha256: String,
    certificate: String,
    at_us: i64,
}

/// The tokens of one authority.
#[derive(Debug, Clone)]
pub struct Ledger {
    folder: PathBuf,
}

impl Ledger {
    /// The ledger of the authority in `folder`; made when missing.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(authority: &Path) -> Result<Self, RedeemError> {
        let folder = authority.join(FOLDER);
        files::make_folder(&folder)?;
        Ok(Self { folder })
    }

    /// Enters a token that is good until `not_after`, and forgets those that ended long ago.
    ///
    /// # Errors
    /// The ledger is full or cannot be written.
    pub fn add(&self, token: &EnrolToken, not_after: Timestamp, now: Timestamp) -> Result<(), RedeemError> {
        let _lock = self.lock()?;
        if self.forget_old(now)? >= MAX_TOKENS {
            return Err(RedeemError::Full { path: self.folder.clone() });
        }
        let entry = Entry {
            identity: token.identity.to_string(),
            secret_sha256: hash(&token.secret),
            not_after_us: not_after.as_micros(),
            used: None,
        };
        Ok(files::create(&self.path(&token.id), &json(&entry), Readers::Owner)?)
    }

    /// Uses up a token for the key `public_key` (`SubjectPublicKeyInfo` in DER): `sign` makes the certificate of the identity
    /// it is given, which is on the disk before it is returned. The same key gets the same certificate again.
    ///
    /// # Errors
    /// The token is not good, or was used with another key; or nothing could be written, and it is as it was.
    pub fn redeem(
        &self,
        (id, secret): (&[u8; 16], &[u8]),
        public_key: &[u8],
        now: Timestamp,
        sign: impl FnOnce(&Identity) -> Result<Issued, RedeemError>,
    ) -> Result<String, RedeemError> {
        let _lock = self.lock()?;
        let path = self.path(id);
        let mut entry = match files::read(&path) {
            Ok(bytes) => parse(&bytes, &path)?,
            Err(error) if error.is_missing() => return Err(RedeemError::Unknown),
            Err(error) => return Err(error.into()),
        };
        if !same(&entry.secret_sha256, &hash(secret)) {
            return Err(RedeemError::Unknown);
        }
        let identity = entry.identity.parse().map_err(|_| RedeemError::Damaged { path: path.clone() })?;
        if let Some(used) = entry.used {
            let is_same_key = same(&used.public_key_sha256, &hash(public_key));
            return if is_same_key { Ok(used.certificate) } else { Err(RedeemError::Used(identity)) };
        }
        let not_after = Timestamp::from_micros(entry.not_after_us);
        if now >= not_after {
            return Err(RedeemError::Ended(not_after));
        }
        let certificate = sign(&identity)?.certificate;
        let at_us = now.as_micros();
        entry.used = Some(Used { public_key_sha256: hash(public_key), certificate: certificate.clone(), at_us });
        files::replace(&path, &json(&entry), Readers::Owner)?;
        Ok(certificate)
    }

    /// Takes back the tokens of `identity` that nobody has used, and says how many there were.
    ///
    /// # Errors
    /// The ledger cannot be read or written.
    pub fn withdraw(&self, identity: &Identity) -> Result<usize, RedeemError> {
        let _lock = self.lock()?;
        let mut withdrawn = 0;
        for path in self.paths()? {
            let entry = parse(&files::read(&path)?, &path)?;
            if entry.used.is_none() && entry.identity == identity.to_string() {
                fs::remove_file(&path).map_err(|source| FileError::new("remove", &path, source))?;
                withdrawn += 1;
            }
        }
        Ok(withdrawn)
    }

    fn path(&self, id: &[u8; 16]) -> PathBuf {
        self.folder.join(format!("{}.json", hex(id)))
    }

    fn lock(&self) -> Result<fs::File, FileError> {
        files::lock(&self.folder.join("lock"))
    }

    /// How many tokens are left.
    fn forget_old(&self, now: Timestamp) -> Result<usize, RedeemError> {
        let mut left = 0;
        for path in self.paths()? {
            let entry = files::read(&path).ok().and_then(|bytes| parse(&bytes, &path).ok());
            let is_old = entry.is_some_and(|entry| now.since(Timestamp::from_micros(entry.not_after_us)) > KEPT);
            if is_old && fs::remove_file(&path).is_ok() {
                continue;
            }
            left += 1;
        }
        Ok(left)
    }

    /// The files of all tokens.
    fn paths(&self) -> Result<Vec<PathBuf>, FileError> {
        let read_error = |source| FileError::new("read", &self.folder, source);
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(read_error)? {
            let path = entry.map_err(read_error)?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                paths.push(path);
            }
        }
        Ok(paths)
    }
}

fn json(entry: &Entry) -> Vec<u8> {
    serde_json::to_vec_pretty(entry).expect("texts and numbers are JSON")
}

fn parse(bytes: &[u8], path: &Path) -> Result<Entry, RedeemError> {
    serde_json::from_slice(bytes).map_err(|_| RedeemError::Damaged { path: path.to_owned() })
}

fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
