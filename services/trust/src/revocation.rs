//! Certificates that were taken back before their end: the lists that authorities sign (RFC 5280, section 5).
//!
//! A list is believed when it was signed by one of the authorities that the process believes, which is checked once, when it
//! is read. What is in a list and must be understood but is not (a critical extension: lists of differences, of parts, of
//! other authorities' certificates) makes it no list for us, as section 5.2 asks.
//!
//! Lists are held against certificates here and not by rustls: rustls looks into them for callers alone, not for servers
//! whose names are checked elsewhere; it picks a list by the authority's name, and two of one name stand side by side while
//! one takes over from the other; and it verifies the list's signature anew at each handshake.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use vigil_base::Timestamp;
use x509_parser::extensions::X509Extension;
use x509_parser::revocation_list::{CertificateRevocationList, RevokedCertificate};
use x509_parser::x509::ReasonCode;

use crate::certificate::{Fingerprint, Serial, seconds};

/// Most lists of one file: one for each authority that may be believed.
const MAX_LISTS: usize = 64;
/// From this part of its lifetime on, a list that nobody followed by a newer one is told of; as for certificates.
const LATE: f64 = 5.0 / 6.0;

/// Why a certificate was revoked (RFC 5280, section 5.3.1): those that an authority of people and boxes has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reason {
    /// Nobody said.
    #[default]
    Unspecified,
    /// Its key is in other hands: a box was stolen.
    KeyCompromise,
    /// Its holder has left, or has another place.
    AffiliationChanged,
    /// There is another in its place.
    Superseded,
    /// What it was for is no more.
    CessationOfOperation,
    /// Its holder may not do any more what it was for.
    PrivilegeWithdrawn,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 6] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::PrivilegeWithdrawn,
    ];

    /// As people write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "key-compromise",
            Self::AffiliationChanged => "affiliation-changed",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessation-of-operation",
            Self::PrivilegeWithdrawn => "privilege-withdrawn",
        }
    }

    fn of(entry: &RevokedCertificate<'_>) -> Self {
        match entry.reason_code().map(|(_, reason)| reason) {
            Some(ReasonCode::KeyCompromise) => Self::KeyCompromise,
            Some(ReasonCode::AffiliationChanged) => Self::AffiliationChanged,
            Some(ReasonCode::Superseded) => Self::Superseded,
            Some(ReasonCode::CessationOfOperation) => Self::CessationOfOperation,
            Some(ReasonCode::PrivilegeWithdrawn) => Self::PrivilegeWithdrawn,
            _ => Self::Unspecified,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Reason {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|reason| reason.as_str() == text);
        known.ok_or_else(|| format!("the reasons are {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}

/// A file is no revocation list of an authority of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListFault {
    /// Not PEM.
    #[error("is not PEM")]
    Pem,
    /// No list in it.
    #[error("holds no revocation list (X509 CRL)")]
    Empty,
    /// Too many in it.
    #[error("holds more than {MAX_LISTS} revocation lists")]
    TooMany,
    /// Not a list.
    #[error("holds something that is no revocation list")]
    Der,
    /// No authority of ours signed it.
    #[error("is a list by {issuer}, which was not signed by an authority of ours")]
    Foreign {
        /// Whose it says it is.
        issuer: String,
    },
    /// Something in it must be understood and is not.
    #[error("is a list of a kind that is not known (critical extension {oid})")]
    Critical {
        /// What.
        oid: String,
    },
    /// One that is known already is newer.
    #[error("is older than the list in force: number {number} of {issuer}, and {known} is known")]
    Older {
        /// Whose it is.
        issuer: String,
        /// Its number.
        number: Serial,
        /// The number of the newer one.
        known: Serial,
    },
    /// A list that is in force is missing.
    #[error("lacks the list by {issuer}, which is in force")]
    Missing {
        /// Whose.
        issuer: String,
    },
}

/// A certificate that was revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Its number, given by its authority.
    pub serial: Serial,
    /// When it was revoked.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// The list of one authority.
#[derive(Debug, Clone)]
pub struct RevocationList {
    /// The authority, by its own words.
    pub issuer: String,
    /// Grows from list to list; zero where there is none.
    pub number: Serial,
    /// When it was made.
    pub this_update: Timestamp,
    /// By when there is to be another.
    pub next_update: Option<Timestamp>,
    revoked: HashMap<Serial, Revoked>,
    /// The authority's name as it stands in certificates.
    issuer_der: Vec<u8>,
    authority: Fingerprint,
}

impl RevocationList {
    fn of(der: &[u8], authorities: &[CertificateDer<'_>]) -> Result<Self, ListFault> {
        let (rest, list) = x509_parser::parse_x509_crl(der).map_err(|_| ListFault::Der)?;
        if !rest.is_empty() {
            return Err(ListFault::Der);
        }
        let foreign = || ListFault::Foreign { issuer: list.issuer().to_string() };
        let authority = authorities.iter().find(|authority| has_signed(authority, &list)).ok_or_else(foreign)?;
        let entries = &list.tbs_cert_list.revoked_certificates;
        check_critical(entries.iter().flat_map(RevokedCertificate::extensions).chain(list.extensions()))?;
        let revoked = entries.iter().map(|entry| Revoked {
            serial: Serial::new(entry.raw_serial()),
            at: seconds(entry.revocation_date.timestamp()),
            reason: Reason::of(entry),
        });
        Ok(Self {
            issuer: list.issuer().to_string(),
            number: list.crl_number().map(|number| Serial::new(&number.to_bytes_be())).unwrap_or_default(),
            this_update: seconds(list.last_update().timestamp()),
            next_update: list.next_update().map(|at| seconds(at.timestamp())),
            revoked: revoked.map(|revoked| (revoked.serial.clone(), revoked)).collect(),
            issuer_der: list.issuer().as_raw().to_vec(),
            authority: Fingerprint::of(authority),
        })
    }

    /// What stands in it, in no order.
    pub fn revoked(&self) -> impl Iterator<Item = &Revoked> {
        self.revoked.values()
    }

    /// Whether this one of its authority's certificates stands in it.
    pub fn holds(&self, serial: &Serial) -> bool {
        self.revoked.contains_key(serial)
    }

    /// Whether it is past its time, or soon will be.
    pub fn is_late(&self, now: Timestamp) -> bool {
        let Some(next_update) = self.next_update else { return false };
        now.since(self.this_update) > next_update.since(self.this_update).mul_f64(LATE)
    }
}

fn has_signed(authority: &CertificateDer<'_>, list: &CertificateRevocationList<'_>) -> bool {
    let Ok((_, authority)) = x509_parser::parse_x509_certificate(authority) else { return false };
    let may_sign = authority.key_usage().is_ok_and(|usage| usage.is_none_or(|usage| usage.value.crl_sign()));
    let is_named = authority.subject().as_raw() == list.issuer().as_raw();
    is_named && may_sign && list.verify_signature(authority.public_key()).is_ok()
}

fn check_critical<'a, 'b: 'a>(extensions: impl Iterator<Item = &'a X509Extension<'b>>) -> Result<(), ListFault> {
    let mut critical = extensions.filter(|extension| extension.critical);
    match critical.next() {
        Some(extension) => Err(ListFault::Critical { oid: extension.oid.to_id_string() }),
        None => Ok(()),
    }
}

/// The lists that a process goes by: one of each authority that has one.
#[derive(Debug, Clone, Default)]
pub struct RevocationLists(Vec<RevocationList>);

impl RevocationLists {
    /// The lists of a PEM text, each signed by one of `authorities`.
    ///
    /// # Errors
    /// One of them is no list, or not of an authority of ours.
    pub fn read(pem: &[u8], authorities: &[CertificateDer<'_>]) -> Result<Self, ListFault> {
        let mut lists = Vec::new();
        for der in CertificateRevocationListDer::pem_slice_iter(pem) {
            lists.push(RevocationList::of(&der.map_err(|_| ListFault::Pem)?, authorities)?);
            if lists.len() > MAX_LISTS {
                return Err(ListFault::TooMany);
            }
        }
        if lists.is_empty() { Err(ListFault::Empty) } else { Ok(Self(lists)) }
    }

    /// Whether these may take the place of `before`, which was in force: nobody who was shut out may come in again since an old
    /// file was put back.
    pub(crate) fn check_newer(&self, before: &Self, authorities: &[CertificateDer<'_>]) -> Result<(), ListFault> {
        for known in &before.0 {
            if !authorities.iter().any(|authority| Fingerprint::of(authority) == known.authority) {
                continue;
            }
            let new = self.0.iter().find(|list| list.authority == known.authority);
            let new = new.ok_or_else(|| ListFault::Missing { issuer: known.issuer.clone() })?;
            if (&new.number, new.this_update) < (&known.number, known.this_update) {
                let (issuer, number, known) = (new.issuer.clone(), new.number.clone(), known.number.clone());
                return Err(ListFault::Older { issuer, number, known });
            }
        }
        Ok(())
    }

    /// All lists.
    pub fn lists(&self) -> &[RevocationList] {
        &self.0
    }

    /// Whether its authority has revoked a certificate.
    pub fn holds(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else { return false };
        let serial = Serial::new(parsed.raw_serial());
        let mut by_its_issuer = self.0.iter().filter(|list| list.issuer_der == parsed.issuer().as_raw());
        by_its_issuer.any(|list| list.holds(&serial))
    }
}
