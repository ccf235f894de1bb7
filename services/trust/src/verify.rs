//! Whether a certificate leads to an authority, one of ours or one of which only the fingerprint is known, and was not revoked.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as TlsError, RootCertStore, SignatureScheme,
};

use crate::certificate::{CertificateInfo, Fingerprint};
use crate::revocation::RevocationLists;
use crate::suite;

/// What a certificate must lead to.
#[derive(Debug)]
pub(crate) enum Anchors {
    /// One of these, and must not stand in one of their lists.
    Roots(Arc<RootCertStore>, Option<Arc<RevocationLists>>),
    /// The authority comes with the server's certificate and must have this fingerprint.
    Pinned(Fingerprint),
}

/// Checks that a server's certificate leads to an authority and is made for answering. Whose it is comes after.
#[derive(Debug)]
pub(crate) struct Verifier {
    pub(crate) anchors: Anchors,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        match &self.anchors {
            Anchors::Roots(roots, lists) => {
                check_chain(own, between, roots, now)?;
                check_lists(own, between, lists.as_deref())?;
            }
            Anchors::Pinned(fingerprint) => {
                let pinned = between.iter().find(|one| Fingerprint::of(one) == *fingerprint);
                let pinned = pinned.ok_or(TlsError::InvalidCertificate(CertificateError::UnknownIssuer))?;
                let mut roots = RootCertStore::empty();
                roots.add(pinned.clone().into_owned())?;
                check_chain(own, &[], &roots, now)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        Err(TlsError::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = suite::provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        suite::provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Checks who calls as rustls does, and that the certificate stands in no list.
#[derive(Debug)]
pub(crate) struct Callers {
    pub(crate) chain: Arc<dyn ClientCertVerifier>,
    pub(crate) lists: Arc<RevocationLists>,
}

impl ClientCertVerifier for Callers {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        let verified = self.chain.verify_client_cert(own, between, now)?;
        check_lists(own, between, Some(&self.lists))?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.chain.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.chain.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Who shows a revoked certificate is named here: the handshake ends before anybody else knows who it was.
pub(crate) fn check_lists(
    own: &CertificateDer<'_>,
    between: &[CertificateDer<'_>],
    lists: Option<&RevocationLists>,
) -> Result<(), TlsError> {
    let Some(lists) = lists else { return Ok(()) };
    if !lists.holds(own) && !between.iter().any(|one| lists.holds(one)) {
        return Ok(());
    }
    if let Ok(info) = CertificateInfo::of(own) {
        let who = info.identity.map_or(info.subject, |identity| identity.to_string());
        tracing::warn!(who, serial = %info.serial, "a certificate that was revoked is shown");
    }
    Err(TlsError::InvalidCertificate(CertificateError::Revoked))
}

/// Whether a certificate for answering leads to one of `roots` at `now`.
pub(crate) fn check_chain(
    own: &CertificateDer<'_>,
    between: &[CertificateDer<'_>],
    roots: &RootCertStore,
    now: UnixTime,
) -> Result<(), TlsError> {
    let algorithms = suite::provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&ParsedCertificate::try_from(own)?, roots, between, now, algorithms)
}
