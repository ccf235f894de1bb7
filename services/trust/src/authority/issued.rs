//! What an authority signed, so that all certificates of somebody can be revoked, whoever holds them.
//!
//! ```text
//! issued/lock               held while one is noted
//! issued/<role>-<name>.json the certificates of one identity that have not ended: serial number, end
//! ```
//!
//! A certificate is noted on the disk before it leaves. Files are replaced as a whole; those that ended are forgotten when the
//! next is noted.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vigil_base::Timestamp;

use super::AuthorityError;
use crate::certificate::{CertificateInfo, Serial};
use crate::files::{self, FileError, Readers};
use crate::identity::Identity;

/// The records' folder, in the authority's.
const FOLDER: &str = "issued";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    identity: String,
    certificates: Vec<Certificate>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Certificate {
    serial: String,
    not_after_us: i64,
}

/// Notes a certificate that is about to leave.
pub(super) fn note(
    authority: &Path,
    identity: &Identity,
    info: &CertificateInfo,
    now: Timestamp,
) -> Result<(), AuthorityError> {
    let folder = authority.join(FOLDER);
    files::make_folder(&folder)?;
    let _lock = files::lock(&folder.join("lock"))?;
    let path = path(authority, identity);
    let mut certificates = read(&path)?.map(|record| record.certificates).unwrap_or_default();
    certificates.retain(|one| one.not_after_us > now.as_micros());
    certificates.push(Certificate { serial: info.serial.to_string(), not_after_us: info.not_after.as_micros() });
    let record = Record { identity: identity.to_string(), certificates };
    let json = serde_json::to_vec_pretty(&record).expect("texts and numbers are JSON");
    Ok(files::replace(&path, &json, Readers::Owner)?)
}

/// The certificates of one identity that have not ended: as many as were issued since this is noted.
pub(super) fn of(authority: &Path, identity: &Identity, now: Timestamp) -> Result<Vec<Serial>, AuthorityError> {
    let certificates = read(&path(authority, identity))?.map(|record| record.certificates).unwrap_or_default();
    let current = certificates.into_iter().filter(|one| one.not_after_us > now.as_micros());
    Ok(current.filter_map(|one| one.serial.parse().ok()).collect())
}

/// Whose each certificate is, and when it ends.
pub(super) fn holders(authority: &Path) -> Result<HashMap<Serial, (Identity, Timestamp)>, AuthorityError> {
    let folder = authority.join(FOLDER);
    let read_error = |source| FileError::new("read", &folder, source);
    let mut holders = HashMap::new();
    if !folder.exists() {
        return Ok(holders);
    }
    for entry in fs::read_dir(&folder).map_err(read_error)? {
        let path = entry.map_err(read_error)?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let Some(record) = read(&path)? else { continue };
        let identity: Identity = record.identity.parse().map_err(|_| damaged(&path))?;
        for one in record.certificates {
            let serial = one.serial.parse().map_err(|_| damaged(&path))?;
            holders.insert(serial, (identity.clone(), Timestamp::from_micros(one.not_after_us)));
        }
    }
    Ok(holders)
}

fn path(authority: &Path, identity: &Identity) -> PathBuf {
    authority.join(FOLDER).join(format!("{}-{}.json", identity.role(), identity.name()))
}

fn read(path: &Path) -> Result<Option<Record>, AuthorityError> {
    match files::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).map_err(|_| damaged(path))?)),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn damaged(path: &Path) -> AuthorityError {
    AuthorityError::Damaged { path: path.to_owned() }
}
