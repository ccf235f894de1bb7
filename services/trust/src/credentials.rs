//! A process's own certificate and key, and the authorities it believes: read from files and checked.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, RootCertStore};
use serde::Deserialize;
use vigil_base::config::Secret;
use vigil_base::{SharedClock, Timestamp};

use crate::certificate::{self, CertificateFault, CertificateInfo};
use crate::files::{self, FileError};
use crate::keeper::Owner;
use crate::revocation::{ListFault, RevocationLists};
use crate::token::{EnrolToken, NotAToken};
use crate::{suite, verify};

/// The `[tls]` section of a configuration file as written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSection {
    /// This process's certificate (PEM), with what leads to the authority, if anything, behind it.
    pub certificate: PathBuf,
    /// Its private key (PEM, PKCS #8).
    pub key: PathBuf,
    /// The authorities whose certificates are believed (PEM, one or more).
    pub authority: PathBuf,
    /// The authorities' lists of what they have revoked (PEM); absent: none is looked at.
    pub revoked: Option<PathBuf>,
    /// For an edge without a certificate: the one-time token by which it gets its first.
    pub enrol_token: Option<Secret>,
    /// The same, in a file.
    pub enrol_token_file: Option<PathBuf>,
}

/// The files as meant: absolute, or relative to where the process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// See [`TlsSection`].
    pub certificate: PathBuf,
    /// See [`TlsSection`].
    pub key: PathBuf,
    /// See [`TlsSection`].
    pub authority: PathBuf,
    /// See [`TlsSection`].
    pub revoked: Option<PathBuf>,
}

impl TlsSection {
    /// The files that are meant in a configuration file in `folder`.
    pub fn resolve(self, folder: &Path) -> TlsFiles {
        TlsFiles {
            certificate: folder.join(self.certificate),
            key: folder.join(self.key),
            authority: folder.join(self.authority),
            revoked: self.revoked.map(|file| folder.join(file)),
        }
    }

    /// What is wrong in the section of a process that does not enrol.
    pub fn enrols(&self) -> Option<(&'static str, String)> {
        let key = match (&self.enrol_token, &self.enrol_token_file) {
            (None, None) => return None,
            (Some(_), _) => "tls.enrol_token",
            (None, Some(_)) => "tls.enrol_token_file",
        };
        Some((key, "only an edge enrols: issue this certificate with `vigil pki issue`".to_owned()))
    }

    /// The token, where there is one; `folder` is the configuration file's.
    ///
    /// # Errors
    /// The key at fault, and what is wrong with it.
    pub fn token(&self, folder: &Path) -> Result<Option<EnrolToken>, (&'static str, String)> {
        let (key, text) = match (&self.enrol_token, &self.enrol_token_file) {
            (Some(_), Some(_)) => {
                return Err(("tls.enrol_token_file", "stands beside tls.enrol_token: write one of the two".to_owned()));
            }
            (Some(token), None) => ("tls.enrol_token", token.reveal().to_owned()),
            (None, Some(file)) => {
                let key = "tls.enrol_token_file";
                let read = files::read(&folder.join(file)).map_err(|error| (key, vigil_base::error::chain(&error)))?;
                (key, String::from_utf8_lossy(&read).into_owned())
            }
            (None, None) => return Ok(None),
        };
        text.parse().map(Some).map_err(|error: NotAToken| (key, error.to_string()))
    }
}

/// Certificate, key or authority cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file does not hold certificates.
    #[error("{} {fault}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: CertificateFault,
    },
    /// A file does not hold a private key. Nothing of what it holds is told.
    #[error("{} holds no private key in PEM (PKCS #8) of a kind that is known", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// Key and certificate do not belong together.
    #[error("{} is not the key of {}: use the two that were made together", key.display(), certificate.display())]
    OtherKey {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// The certificate names nobody.
    #[error("{} is no certificate of Vigil: {problem}", path.display())]
    Nobody {
        /// The file.
        path: PathBuf,
        /// Why not.
        problem: String,
    },
    /// The certificate is somebody else's.
    #[error("{} is the certificate of {found}, but this is {owner}", path.display())]
    OtherOwner {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it must be.
        owner: Owner,
    },
    /// The certificate was not signed by the authority.
    #[error("{} was not signed by an authority in {}", certificate.display(), authority.display())]
    OtherAuthority {
        /// The certificate's file.
        certificate: PathBuf,
        /// The authority's file.
        authority: PathBuf,
    },
    /// The list of what was revoked cannot be used.
    #[error("{} {fault}: bring the authority's newest list here (vigil pki revoked --renew)", path.display())]
    Lists {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        fault: ListFault,
    },
    /// The certificate is over.
    #[error("{} ended at {not_after}: issue it anew", path.display())]
    Ended {
        /// The file.
        path: PathBuf,
        /// When.
        not_after: Timestamp,
    },
    /// The certificate is not good yet.
    #[error("{} begins only at {not_before}: is this machine's clock right?", path.display())]
    NotBegun {
        /// The file.
        path: PathBuf,
        /// When.
        not_before: Timestamp,
    },
}

/// The bytes of the files, to see whether they changed.
#[derive(PartialEq, Eq)]
pub(crate) struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authority: Vec<u8>,
    /// None where no lists are looked at; an error where they cannot be read, which must hold up nothing else.
    revoked: Option<Result<Vec<u8>, io::ErrorKind>>,
}

impl Contents {
    pub(crate) fn read(files: &TlsFiles) -> Result<Self, FileError> {
        Ok(Self {
            certificate: files::read(&files.certificate)?,
            key: files::read(&files.key)?,
            authority: files::read(&files.authority)?,
            revoked: files.revoked.as_deref().map(|path| files::read(path).map_err(|error| error.source.kind())),
        })
    }

    /// The lists, which may not be older than `before`.
    pub(crate) fn lists(
        &self,
        files: &TlsFiles,
        before: Option<&RevocationLists>,
    ) -> Result<Option<Arc<RevocationLists>>, CredentialsError> {
        let (Some(read), Some(path)) = (&self.revoked, &files.revoked) else { return Ok(None) };
        let pem = read.as_ref().map_err(|kind| FileError::new("read", path, (*kind).into()))?;
        let unfit = |fault| CredentialsError::Certificate { path: files.authority.clone(), fault };
        let authorities = certificate::from_pem(&self.authority).map_err(unfit)?;
        let read = || {
            let lists = RevocationLists::read(pem, &authorities)?;
            before.map_or(Ok(()), |before| lists.check_newer(before, &authorities))?;
            Ok(lists)
        };
        read().map(|lists| Some(Arc::new(lists))).map_err(|fault| CredentialsError::Lists { path: path.clone(), fault })
    }
}

/// Certificate, key and authorities that belong together.
pub struct Credentials {
    /// What the own certificate says.
    pub info: CertificateInfo,
    /// Whose it is.
    pub identity: crate::Identity,
    /// What the authorities' certificates say; at least one.
    pub authorities: Vec<CertificateInfo>,
    /// What the authorities have revoked, where that is looked at.
    pub lists: Option<Arc<RevocationLists>>,
    pub(crate) key: Arc<CertifiedKey>,
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) clients: Arc<dyn ClientCertVerifier>,
    pub(crate) clock: SharedClock,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, {})", self.identity, self.info.fingerprint)
    }
}

impl Credentials {
    /// Reads and checks the files, but for the own certificate's time: see [`Self::check_time`].
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub fn load(files: &TlsFiles, owner: &Owner, clock: SharedClock) -> Result<Self, CredentialsError> {
        let contents = Contents::read(files)?;
        let lists = contents.lists(files, None)?;
        Self::of(&contents, lists, files, owner, clock)
    }

    pub(crate) fn of(
        contents: &Contents,
        lists: Option<Arc<RevocationLists>>,
        files: &TlsFiles,
        owner: &Owner,
        clock: SharedClock,
    ) -> Result<Self, CredentialsError> {
        let (roots, authorities) = read_authorities(&contents.authority, &files.authority)?;
        let unfit = |fault| CredentialsError::Certificate { path: files.certificate.clone(), fault };
        let chain = certificate::from_pem(&contents.certificate).map_err(unfit)?;
        let info = CertificateInfo::of(&chain[0]).map_err(unfit)?;
        let identity = owned(&info, owner, &files.certificate)?;
        let no_key = || CredentialsError::NoKey { path: files.key.clone() };
        let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(|_| no_key())?;
        let key = suite::provider().key_provider.load_private_key(key).map_err(|_| no_key())?;
        let key = CertifiedKey::new(chain, key);
        if key.keys_match().is_err() {
            return Err(CredentialsError::OtherKey { key: files.key.clone(), certificate: files.certificate.clone() });
        }
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), suite::provider());
        let clients = clients.build().map_err(|_| CredentialsError::Certificate {
            path: files.authority.clone(),
            fault: CertificateFault::Empty,
        })?;
        let mut credentials = Self { info, identity, authorities, lists, key: Arc::new(key), roots, clients, clock };
        credentials.check_authority(files)?;
        if let Some(lists) = credentials.lists.clone() {
            // After the own one was checked: that it was revoked is told, and is for others to refuse.
            credentials.clients = Arc::new(verify::Callers { chain: credentials.clients, lists });
        }
        Ok(credentials)
    }

    /// Whether the own certificate is good now.
    ///
    /// # Errors
    /// It has ended, or has not begun.
    pub fn check_time(&self, files: &TlsFiles) -> Result<(), CredentialsError> {
        let now = self.clock.now();
        let path = files.certificate.clone();
        let CertificateInfo { not_before, not_after, .. } = self.info;
        if now >= not_after {
            return Err(CredentialsError::Ended { path, not_after });
        }
        if now < not_before {
            return Err(CredentialsError::NotBegun { path, not_before });
        }
        Ok(())
    }

    /// Whether the own certificate leads to an authority: by the rules for who calls where it may call, else for who
    /// answers. At a time when it is good, since time is another question.
    fn check_authority(&self, files: &TlsFiles) -> Result<(), CredentialsError> {
        let at = self.clock.now().clamp(self.info.not_before, self.info.not_after);
        let (own, between) = self.key.cert.split_first().expect("a chain that was read has a first certificate");
        let checked = if self.info.client_auth {
            self.clients.verify_client_cert(own, between, suite::unix_time(at)).map(|_| ())
        } else {
            verify::check_chain(own, between, &self.roots, suite::unix_time(at))
        };
        match checked {
            // The authority's own time is said where it is used, and by `Keeper::problem`.
            Ok(())
            | Err(rustls::Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            )) => Ok(()),
            Err(_) => Err(CredentialsError::OtherAuthority {
                certificate: files.certificate.clone(),
                authority: files.authority.clone(),
            }),
        }
    }

    /// Whether who calls with `chain`, its own certificate first, would be let in now.
    pub(crate) fn check_caller(&self, chain: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
        let (own, between) = chain.split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
        self.clients.verify_client_cert(own, between, suite::unix_time(self.clock.now())).map(|_| ())
    }

    /// Whether who answers with `chain` would be believed now.
    pub(crate) fn check_answerer(&self, chain: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
        let (own, between) = chain.split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
        verify::check_chain(own, between, &self.roots, suite::unix_time(self.clock.now()))?;
        verify::check_lists(own, between, self.lists.as_deref())
    }

    /// Whether the own certificate was revoked.
    pub fn is_revoked(&self) -> bool {
        self.lists.as_ref().is_some_and(|lists| self.key.cert.iter().any(|one| lists.holds(one)))
    }

    /// The certificate and key, as rustls asks for them.
    pub(crate) fn resolver(&self) -> Arc<SingleCertAndKey> {
        Arc::new(SingleCertAndKey::from(Arc::clone(&self.key)))
    }

    /// The same with the authority's certificate behind it, for peers that know only its fingerprint.
    pub(crate) fn resolver_with(&self, authority: &CertificateDer<'static>) -> Arc<SingleCertAndKey> {
        let mut chain = self.key.cert.clone();
        chain.push(authority.clone());
        Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, Arc::clone(&self.key.key))))
    }
}

type Authorities = (Arc<RootCertStore>, Vec<CertificateInfo>);

fn read_authorities(pem: &[u8], path: &Path) -> Result<Authorities, CredentialsError> {
    let unfit = |fault| CredentialsError::Certificate { path: path.to_owned(), fault };
    let mut roots = RootCertStore::empty();
    let mut infos = Vec::new();
    for authority in certificate::from_pem(pem).map_err(unfit)? {
        infos.push(CertificateInfo::of(&authority).map_err(unfit)?);
        roots.add(authority).map_err(|_| unfit(CertificateFault::Der))?;
    }
    Ok((Arc::new(roots), infos))
}

fn owned(info: &CertificateInfo, owner: &Owner, path: &Path) -> Result<crate::Identity, CredentialsError> {
    let identity = info.identity.clone().map_err(|problem| CredentialsError::Nobody {
        path: path.to_owned(),
        problem: vigil_base::error::chain(&problem),
    })?;
    if owner.is(&identity) {
        return Ok(identity);
    }
    let (path, found) = (path.to_owned(), identity.to_string());
    Err(CredentialsError::OtherOwner { path, found, owner: owner.clone() })
}
