//! Certificates taken back before their end. The list that the authority signed is all that there is: what stands in it is
//! revoked, and the next list is made from it. A crash leaves the one or the other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber};
use vigil_base::Timestamp;

use super::{Authority, AuthorityError, MAX_LIFETIME, asked, check_lifetime, date, issued};
use crate::certificate::Serial;
use crate::files::{self, Readers};
use crate::identity::Identity;
use crate::revocation::{ListFault, Reason, RevocationList, RevocationLists, Revoked};

/// The authority's list, in its folder.
pub const LIST_FILE: &str = "authority.crl";
/// Most certificates of one list: with their reasons they are some 700 KB, and a file of more than 1 MiB is not read.
const MAX_REVOKED: usize = 10_000;

/// A certificate that was revoked, and whose it was, where that was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokedHolder {
    /// What the list says.
    pub revoked: Revoked,
    /// Whose it is.
    pub holder: Option<Identity>,
}

impl Authority {
    /// Where its list is.
    pub fn list_path(&self) -> PathBuf {
        self.folder.join(LIST_FILE)
    }

    /// The list it signed last; none where it never did.
    ///
    /// # Errors
    /// The file cannot be read, or is not its own list.
    pub fn list(&self) -> Result<Option<RevocationList>, AuthorityError> {
        let path = self.list_path();
        let unfit = |fault| AuthorityError::List { path: path.clone(), fault };
        match files::read(&path) {
            Ok(pem) => {
                let lists = RevocationLists::read(&pem, std::slice::from_ref(&self.certificate)).map_err(unfit)?;
                Ok(Some(lists.lists().first().cloned().ok_or_else(|| unfit(ListFault::Empty))?))
            }
            Err(error) if error.is_missing() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The certificates of `identity` that have not ended, as far as they were issued since that is noted.
    ///
    /// # Errors
    /// The records cannot be read.
    pub fn issued_to(&self, identity: &Identity, now: Timestamp) -> Result<Vec<Serial>, AuthorityError> {
        issued::of(&self.folder, identity, now)
    }

    /// What is revoked, and whose it was, in the order of the revocations.
    ///
    /// # Errors
    /// List or records cannot be read.
    pub fn revoked(&self) -> Result<Vec<RevokedHolder>, AuthorityError> {
        let holders = issued::holders(&self.folder)?;
        let list = self.list()?;
        let revoked = list.iter().flat_map(RevocationList::revoked).cloned();
        let holder = |serial: &Serial| holders.get(serial).map(|(identity, _)| identity.clone());
        let mut all: Vec<_> =
            revoked.map(|revoked| RevokedHolder { holder: holder(&revoked.serial), revoked }).collect();
        all.sort_by(|a, b| (a.revoked.at, &a.revoked.serial).cmp(&(b.revoked.at, &b.revoked.serial)));
        Ok(all)
    }

    /// Signs a list with `serials` beside what was revoked before, in force at once and to be followed by another within
    /// `lifetime`. With none it is the same list, anew. Certificates that are known to have ended are left out.
    ///
    /// # Errors
    /// The list is full, or cannot be read or written.
    pub fn revoke(
        &self,
        serials: &[Serial],
        reason: Reason,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<RevocationList, AuthorityError> {
        check_lifetime(lifetime, MAX_LIFETIME)?;
        let _lock = files::lock(&self.folder.join("list.lock"))?;
        let before = self.list()?;
        let holders = issued::holders(&self.folder)?;
        let mut revoked: BTreeMap<Serial, Revoked> = before
            .iter()
            .flat_map(RevocationList::revoked)
            .filter(|one| holders.get(&one.serial).is_none_or(|(_, not_after)| *not_after > now))
            .map(|one| (one.serial.clone(), one.clone()))
            .collect();
        for serial in serials {
            let new = Revoked { serial: serial.clone(), at: now, reason };
            revoked.entry(serial.clone()).or_insert(new);
        }
        if revoked.len() > MAX_REVOKED {
            let problem = format!("would hold {} certificates; at most {MAX_REVOKED} fit", revoked.len());
            return Err(asked("the revocation list", problem));
        }
        let number = before.map(|list| list.number).unwrap_or_default().next();
        let until = (now + lifetime).min(self.info.not_after);
        let pem = self.sign_list(&number, revoked.into_values(), now, until)?;
        files::replace(&self.list_path(), pem.as_bytes(), Readers::All)?;
        self.list()?.ok_or(AuthorityError::List { path: self.list_path(), fault: ListFault::Empty })
    }

    fn sign_list(
        &self,
        number: &Serial,
        revoked: impl Iterator<Item = Revoked>,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<String, AuthorityError> {
        let entry = |one: Revoked| RevokedCertParams {
            serial_number: SerialNumber::from_slice(one.serial.as_bytes()),
            revocation_time: date(one.at),
            reason_code: reason_code(one.reason),
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date(now),
            next_update: date(until),
            crl_number: SerialNumber::from_slice(number.as_bytes()),
            issuing_distribution_point: None,
            revoked_certs: revoked.map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).map_err(AuthorityError::Signing)?;
        list.pem().map_err(AuthorityError::Signing)
    }
}

/// None where nobody said: RFC 5280 asks for that.
fn reason_code(reason: Reason) -> Option<RevocationReason> {
    match reason {
        Reason::Unspecified => None,
        Reason::KeyCompromise => Some(RevocationReason::KeyCompromise),
        Reason::AffiliationChanged => Some(RevocationReason::AffiliationChanged),
        Reason::Superseded => Some(RevocationReason::Superseded),
        Reason::CessationOfOperation => Some(RevocationReason::CessationOfOperation),
        Reason::PrivilegeWithdrawn => Some(RevocationReason::PrivilegeWithdrawn),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
    use rustls::server::WebPkiClientVerifier;
    use rustls::{CertificateError, RootCertStore};
    use vigil_base::{Clock, SystemClock};

    use super::*;
    use crate::suite;

    const DAY: Duration = Duration::from_hours(24);

    fn now() -> Timestamp {
        SystemClock::new().now()
    }

    fn authority(folder: &tempfile::TempDir) -> Authority {
        Authority::create(&folder.path().join("pki"), "Test", 30 * DAY, now()).unwrap()
    }

    /// A certificate of `who`, and its number.
    fn issue(authority: &Authority, who: &str, from: Timestamp) -> (CertificateDer<'static>, Serial) {
        let out = (authority.folder.as_path(), true);
        let (files, info) = authority.issue_files(&who.parse().unwrap(), &[], DAY, from, out).unwrap();
        (CertificateDer::from_pem_file(files.certificate).unwrap(), info.serial)
    }

    #[test]
    fn what_is_revoked_stays_so_until_it_ends_and_is_found_by_who_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let authority = authority(&folder);
        let begin = now();
        assert!(authority.list().unwrap().is_none() && authority.revoked().unwrap().is_empty());
        let (first, second) =
            (issue(&authority, "vigil://edge/box-7", begin), issue(&authority, "vigil://edge/box-7", begin));
        let (other, _) = issue(&authority, "vigil://edge/box-8", begin);
        let box_7: Identity = "vigil://edge/box-7".parse().unwrap();
        assert_eq!(authority.issued_to(&box_7, begin).unwrap(), [first.1.clone(), second.1.clone()]);
        let list = authority.revoke(std::slice::from_ref(&first.1), Reason::KeyCompromise, DAY, begin).unwrap();
        let list_again =
            authority.revoke(&[first.1.clone(), second.1.clone()], Reason::Superseded, DAY, begin + DAY / 2).unwrap();
        assert!(list.number < list_again.number);
        let told: Vec<_> = authority.revoked().unwrap();
        let reasons: Vec<_> = told.iter().map(|one| (one.revoked.serial.clone(), one.revoked.reason)).collect();
        assert_eq!(
            reasons,
            [(first.1.clone(), Reason::KeyCompromise), (second.1, Reason::Superseded)],
            "the first reason stays"
        );
        assert!(told.iter().all(|one| one.holder.as_ref() == Some(&box_7)));
        let pem = std::fs::read(authority.list_path()).unwrap();
        let lists = RevocationLists::read(&pem, std::slice::from_ref(&authority.certificate)).unwrap();
        assert!(lists.holds(&first.0) && lists.holds(&second.0) && !lists.holds(&other));
        assert!(authority.revoke(&[], Reason::Unspecified, DAY, begin + 2 * DAY).unwrap().revoked().next().is_none());
    }

    #[test]
    fn rustls_takes_the_list_and_refuses_by_it() {
        let folder = tempfile::tempdir().unwrap();
        let authority = authority(&folder);
        let ((revoked, serial), (other, _)) =
            (issue(&authority, "vigil://edge/box-7", now()), issue(&authority, "vigil://edge/box-8", now()));
        authority.revoke(&[serial], Reason::KeyCompromise, DAY, now()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate.clone()).unwrap();
        let list = CertificateRevocationListDer::from_pem_file(authority.list_path()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), suite::provider());
        let verifier = verifier.with_crls([list]).enforce_revocation_expiration().build().unwrap();
        let verify = |certificate| verifier.verify_client_cert(certificate, &[], suite::unix_time(now()));
        assert!(verify(&other).is_ok());
        let refused = verify(&revoked).unwrap_err();
        assert_eq!(refused, rustls::Error::InvalidCertificate(CertificateError::Revoked));
    }

    #[test]
    fn an_authority_of_the_same_name_is_another() {
        let (folder, others) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (other, authority) = (authority(&others), authority(&folder));
        let serial = issue(&authority, "vigil://edge/box-7", now()).1;
        authority.revoke(&[serial], Reason::Unspecified, DAY, now()).unwrap();
        let pem = std::fs::read(authority.list_path()).unwrap();
        let read = |authorities: &[CertificateDer<'static>]| RevocationLists::read(&pem, authorities);
        assert!(matches!(read(std::slice::from_ref(&other.certificate)), Err(ListFault::Foreign { .. })));
        let lists = read(&[other.certificate.clone(), authority.certificate.clone()]).unwrap();
        assert!(!lists.holds(&issue(&other, "vigil://edge/box-7", now()).0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// What is signed cannot change; around it, a signature may be written in more ways than one.
        #[test]
        fn a_damaged_list_is_refused_or_says_the_same(at in 0_usize..10_000, bit in 0_u8..8) {
            let folder = tempfile::tempdir().unwrap();
            let authority = authority(&folder);
            let serial = Serial::new(&[0x4f, 0x3a]);
            authority.revoke(std::slice::from_ref(&serial), Reason::KeyCompromise, DAY, now()).unwrap();
            let mut der = CertificateRevocationListDer::from_pem_file(authority.list_path()).unwrap().to_vec();
            let at = at % der.len();
            der[at] ^= 1 << bit;
            let pem = pem(&der);
            if let Ok(lists) = RevocationLists::read(pem.as_bytes(), std::slice::from_ref(&authority.certificate)) {
                prop_assert!(lists.lists()[0].holds(&serial));
            }
        }
    }

    fn pem(der: &[u8]) -> String {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN X509 CRL-----\n{text}\n-----END X509 CRL-----\n")
    }
}
