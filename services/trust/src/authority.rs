//! A private authority: one root that signs the certificates of a city's processes and people.
//!
//! It is a folder of two files, `authority.pem` (its certificate, for everybody) and `authority.key` (its key, for its
//! owner alone), and beside them what it signed and its revocation list. Keys are ECDSA on P-256 (FIPS 186-5), which every TLS library takes. Serial numbers are 127 random bits
//! (RFC 5280, section 4.1.2.2 asks for at most 160 and positive).

mod issued;
mod revoking;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::TryRngCore;
use rand::rngs::OsRng;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls::pki_types::{CertificateDer, ServerName};
use time::OffsetDateTime;
use vigil_base::Timestamp;

use crate::TlsFiles;
use crate::certificate::{self, CertificateFault, CertificateInfo, Fingerprint};
use crate::files::{self, FileError, Readers};
use crate::identity::{Identity, Role};
use crate::revocation::ListFault;

pub use revoking::{LIST_FILE, RevokedHolder};

/// The authority's certificate, in its folder.
pub const CERTIFICATE_FILE: &str = "authority.pem";
/// The authority's key, in its folder.
pub const KEY_FILE: &str = "authority.key";
/// Longest life of an authority: 30 years.
pub const MAX_AUTHORITY_LIFETIME: Duration = days(30 * 365);
/// Longest life of what it signs by hand: 825 days, what browsers took at the most before they asked for less.
pub const MAX_LIFETIME: Duration = days(825);
/// Certificates begin this long before they are made, for machines whose clocks are behind.
pub(crate) const BACKDATE: Duration = Duration::from_hours(1);
/// Hosts of a server's certificate that was given none: this machine.
pub const OWN_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// Longest name of an authority, in characters (RFC 5280, ub-common-name).
const MAX_NAME: usize = 64;
/// Most host names of one certificate.
const MAX_HOSTS: usize = 32;

const fn days(n: u64) -> Duration {
    Duration::from_hours(24 * n)
}

/// The authority cannot be made or used, or does not sign.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Its files cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// There is one already.
    #[error("{} is there already: an authority is made once, and all it signed would be worth nothing with another", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Its certificate cannot be used.
    #[error("{} {fault}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: CertificateFault,
    },
    /// Its key cannot be used.
    #[error("{} is not the key of {CERTIFICATE_FILE} beside it: put back the two that were made together", path.display())]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// A file holds no private key.
    #[error("{} holds no private key in PEM (PKCS #8)", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// It is over.
    #[error("the authority in {} ended at {not_after}: make a new one", path.display())]
    Ended {
        /// Its folder.
        path: PathBuf,
        /// When.
        not_after: Timestamp,
    },
    /// What is asked for cannot be signed.
    #[error("{what}: {problem}")]
    Asked {
        /// What it is about.
        what: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// Its revocation list cannot be used.
    #[error("{} {fault}: put back a copy of the authority's last list", path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: ListFault,
    },
    /// A record of what it issued is damaged.
    #[error("{} is damaged: remove it, and revoke what it told of by certificate or serial number", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The cryptography failed.
    #[error("cannot sign")]
    Signing(#[source] rcgen::Error),
}

/// What was signed.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate in PEM.
    pub certificate: String,
    /// What it says.
    pub info: CertificateInfo,
}

/// An authority that can sign.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    info: CertificateInfo,
    folder: PathBuf,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authority({})", self.folder.display())
    }
}

impl Authority {
    /// Makes an authority in `folder`, which is made when missing.
    ///
    /// # Errors
    /// There is one already, or the folder cannot be written.
    pub fn create(folder: &Path, name: &str, lifetime: Duration, now: Timestamp) -> Result<Self, AuthorityError> {
        if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(asked("the authority's name", format!("must be 1 to {MAX_NAME} printable characters")));
        }
        check_lifetime(lifetime, MAX_AUTHORITY_LIFETIME)?;
        files::make_folder(folder)?;
        let (certificate_path, key_path) = (folder.join(CERTIFICATE_FILE), folder.join(KEY_FILE));
        if let Some(path) = [&certificate_path, &key_path].into_iter().find(|path| path.exists()) {
            return Err(AuthorityError::Exists { path: path.clone() });
        }
        let key = KeyPair::generate().map_err(AuthorityError::Signing)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(serial());
        params.not_before = date(now - BACKDATE);
        params.not_after = date(now + lifetime);
        let certificate = params.self_signed(&key).map_err(AuthorityError::Signing)?;
        // The key first: an authority whose key was lost must not look whole.
        files::create(&key_path, key.serialize_pem().as_bytes(), Readers::Owner)?;
        files::create(&certificate_path, certificate.pem().as_bytes(), Readers::All)?;
        Self::load(folder)
    }

    /// The authority in `folder`.
    ///
    /// # Errors
    /// Its files cannot be read, or do not belong together.
    pub fn load(folder: &Path) -> Result<Self, AuthorityError> {
        let (certificate_path, key_path) = (folder.join(CERTIFICATE_FILE), folder.join(KEY_FILE));
        let unfit = |fault| AuthorityError::Certificate { path: certificate_path.clone(), fault };
        let certificate = certificate::from_pem(&files::read(&certificate_path)?).map_err(unfit)?.swap_remove(0);
        let info = CertificateInfo::of(&certificate).map_err(unfit)?;
        let not_the_key = || AuthorityError::Key { path: key_path.clone() };
        let pem = String::from_utf8(files::read(&key_path)?).map_err(|_| not_the_key())?;
        let key = KeyPair::from_pem(&pem).map_err(|_| not_the_key())?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(&certificate).map_err(|_| unfit(CertificateFault::Der))?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(not_the_key());
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(AuthorityError::Signing)?;
        Ok(Self { issuer, certificate: certificate.clone(), info, folder: folder.to_owned() })
    }

    /// What its certificate says.
    pub fn info(&self) -> &CertificateInfo {
        &self.info
    }

    /// Its certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Its certificate's fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        self.info.fingerprint
    }

    /// Its certificate in PEM.
    ///
    /// # Errors
    /// The file is gone.
    pub fn pem(&self) -> Result<String, AuthorityError> {
        Ok(String::from_utf8_lossy(&files::read(&self.folder.join(CERTIFICATE_FILE))?).into_owned())
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Signs a certificate for `identity`, whose public key is `public_key` (`SubjectPublicKeyInfo` in DER), good for
    /// `hosts` and for `lifetime`, but never longer than the authority itself. It is noted in the authority's folder first; blocks
    /// on the disk.
    ///
    /// # Errors
    /// A host is neither name nor address, the key is of a kind that nobody here uses, the authority is over, or what it signed
    /// cannot be noted.
    pub fn issue(
        &self,
        identity: &Identity,
        hosts: &[String],
        public_key: &[u8],
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Issued, AuthorityError> {
        check_lifetime(lifetime, MAX_LIFETIME)?;
        if self.info.not_after <= now {
            return Err(AuthorityError::Ended { path: self.folder.clone(), not_after: self.info.not_after });
        }
        let params = leaf(identity, hosts, now, (now + lifetime).min(self.info.not_after))?;
        let unknown =
            |_| asked("the public key", "is of a kind that is not known: make one with ECDSA on P-256".to_owned());
        let public_key = SubjectPublicKeyInfo::from_der(public_key).map_err(unknown)?;
        let certificate = params.signed_by(&public_key, &self.issuer).map_err(AuthorityError::Signing)?;
        let own_words = |fault| AuthorityError::Certificate { path: self.folder.join(CERTIFICATE_FILE), fault };
        let info = CertificateInfo::of(certificate.der()).map_err(own_words)?;
        // Before it leaves: what nobody knows of could only be revoked by whoever has it.
        issued::note(&self.folder, identity, &info, now)?;
        Ok(Issued { certificate: certificate.pem(), info })
    }

    /// Makes a key and signs its certificate, as files in `folder`: `ROLE-NAME.key` and `ROLE-NAME.pem`. Files that are there
    /// are replaced only where that is asked for.
    ///
    /// # Errors
    /// As [`Self::issue`], or the files cannot be written.
    pub fn issue_files(
        &self,
        identity: &Identity,
        hosts: &[String],
        lifetime: Duration,
        now: Timestamp,
        (folder, replace): (&Path, bool),
    ) -> Result<(TlsFiles, CertificateInfo), AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::Signing)?;
        let issued = self.issue(identity, hosts, &key.subject_public_key_info(), lifetime, now)?;
        files::make_folder(folder)?;
        let file = |ending: &str| folder.join(format!("{}-{}.{ending}", identity.role(), identity.name()));
        let (certificate_path, key_path) = (file("pem"), file("key"));
        if let Some(path) = [&certificate_path, &key_path].into_iter().find(|path| !replace && path.exists()) {
            return Err(asked(
                "the certificate",
                format!("{} is there already; --replace makes it anew", path.display()),
            ));
        }
        files::replace(&key_path, key.serialize_pem().as_bytes(), Readers::Owner)?;
        files::replace(&certificate_path, issued.certificate.as_bytes(), Readers::All)?;
        let authority = self.folder.join(CERTIFICATE_FILE);
        Ok((TlsFiles { certificate: certificate_path, key: key_path, authority, revoked: None }, issued.info))
    }
}

fn leaf(
    identity: &Identity,
    hosts: &[String],
    now: Timestamp,
    until: Timestamp,
) -> Result<CertificateParams, AuthorityError> {
    if hosts.len() > MAX_HOSTS {
        return Err(asked("the hosts", format!("are {}; at most {MAX_HOSTS} are taken", hosts.len())));
    }
    if let Some(bad) = hosts.iter().find(|host| ServerName::try_from(host.as_str()).is_err()) {
        return Err(asked("a host", format!("{bad:?} is neither a host's name nor an address")));
    }
    let mut params = CertificateParams::new(hosts).map_err(AuthorityError::Signing)?;
    let uri = identity.to_string().try_into().map_err(AuthorityError::Signing)?;
    params.subject_alt_names.push(SanType::URI(uri));
    // For people; nothing is decided by it.
    params.distinguished_name = common_name(identity.name());
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = purposes(identity.role());
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(serial());
    params.not_before = date(now - BACKDATE);
    params.not_after = date(until);
    Ok(params)
}

/// A region only answers and an operator only asks, so that neither can stand in for the other.
fn purposes(role: Role) -> Vec<ExtendedKeyUsagePurpose> {
    let (asks, answers) = (ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth);
    match role {
        Role::Edge | Role::Gateway => vec![asks, answers],
        Role::Region => vec![answers],
        Role::Operator => vec![asks],
    }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

fn serial() -> SerialNumber {
    let mut bytes = [0; 16];
    OsRng.try_fill_bytes(&mut bytes).expect("the operating system gives randomness, or nothing here is safe");
    // Positive, and never zero.
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    SerialNumber::from_slice(&bytes)
}

/// Whole seconds: certificates have no finer time.
fn date(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at.as_micros().div_euclid(1_000_000)).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn check_lifetime(lifetime: Duration, most: Duration) -> Result<(), AuthorityError> {
    if (Duration::from_secs(1)..=most).contains(&lifetime) {
        return Ok(());
    }
    let most_days = most.as_secs() / 86_400;
    Err(asked("the lifetime", format!("must be more than nothing and at most {most_days} days")))
}

fn asked(what: &str, problem: String) -> AuthorityError {
    AuthorityError::Asked { what: what.to_owned(), problem }
}
