//! Certificate requests (PKCS #10, RFC 2986): a key's owner asks for a certificate, and proves that the key is its own.

use std::path::Path;

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::authority::AuthorityError;
use crate::files::{self, Readers};
use crate::identity::{Identity, SCHEME};

/// Largest request that is looked at: one with a key on P-256 and one name has some 300 bytes.
pub const MAX_REQUEST_BYTES: usize = 4 * 1024;

/// What came is no request that is signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Too large.
    #[error("has more than {MAX_REQUEST_BYTES} bytes")]
    TooLarge,
    /// Not PKCS #10.
    #[error("is no certificate request in DER (PKCS #10)")]
    Malformed,
    /// Another kind of key.
    #[error("is for a key that is not ECDSA on P-256")]
    Key,
    /// Whoever made it does not have the key.
    #[error("is not signed by the key that it is for")]
    Signature,
    /// It asks for a name that is not the sender's.
    #[error("asks for the name {asked}, but only {granted} may be had")]
    Name {
        /// What it asks for.
        asked: String,
        /// What the sender may have.
        granted: Identity,
    },
}

/// The private key of who asks, in a file.
pub struct OwnKey(KeyPair);

impl OwnKey {
    /// The key in the file; a missing one is made, and is on the disk before it is used: whoever asks again after a crash
    /// asks with the same key.
    ///
    /// # Errors
    /// The file cannot be read or written, or holds no key.
    pub fn load_or_make(path: &Path) -> Result<Self, AuthorityError> {
        match files::read(path) {
            Ok(pem) => {
                let not_a_key = || AuthorityError::NoKey { path: path.to_owned() };
                let pem = String::from_utf8(pem).map_err(|_| not_a_key())?;
                Ok(Self(KeyPair::from_pem(&pem).map_err(|_| not_a_key())?))
            }
            Err(error) if error.is_missing() => {
                let key = KeyPair::generate().map_err(AuthorityError::Signing)?;
                // Replaced, not created: a crash leaves the whole of it or none.
                files::replace(path, key.serialize_pem().as_bytes(), Readers::Owner)?;
                Ok(Self(key))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A request in DER for a certificate of `identity` with this key.
    ///
    /// # Errors
    /// The cryptography failed.
    pub fn request(&self, identity: &Identity) -> Result<Vec<u8>, AuthorityError> {
        make(&self.0, identity)
    }
}

fn make(key: &KeyPair, identity: &Identity) -> Result<Vec<u8>, AuthorityError> {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, identity.name());
    params.distinguished_name = subject;
    let uri = identity.to_string().try_into().map_err(AuthorityError::Signing)?;
    params.subject_alt_names = vec![SanType::URI(uri)];
    Ok(params.serialize_request(key).map_err(AuthorityError::Signing)?.der().to_vec())
}

/// The public key of a request that is well formed and signed by it, whatever it asks for.
///
/// # Errors
/// It is no request, or is not signed by its own key.
pub fn unchecked_key(request: &[u8]) -> Result<Vec<u8>, RequestError> {
    Ok(parse(request)?.certification_request_info.subject_pki.raw.to_vec())
}

/// The public key of a request (`SubjectPublicKeyInfo` in DER), whose sender may have a certificate of `granted`.
///
/// Of all that a request may ask for, nothing is granted: what stands in the certificate is the authority's to say. A name of
/// another is refused all the same, since whoever sent it expects what it will not get.
///
/// # Errors
/// It is no request, is not signed by its own key, or names another.
pub fn public_key(request: &[u8], granted: &Identity) -> Result<Vec<u8>, RequestError> {
    let parsed = parse(request)?;
    let own = granted.to_string();
    if let Some(asked) = names(&parsed).find(|name| *name != own) {
        let asked = asked.chars().take(120).collect();
        return Err(RequestError::Name { asked, granted: granted.clone() });
    }
    Ok(parsed.certification_request_info.subject_pki.raw.to_vec())
}

fn parse(request: &[u8]) -> Result<X509CertificationRequest<'_>, RequestError> {
    if request.len() > MAX_REQUEST_BYTES {
        return Err(RequestError::TooLarge);
    }
    let (rest, parsed) = X509CertificationRequest::from_der(request).map_err(|_| RequestError::Malformed)?;
    if !rest.is_empty() {
        return Err(RequestError::Malformed);
    }
    if !is_p256(&parsed.certification_request_info.subject_pki) {
        return Err(RequestError::Key);
    }
    parsed.verify_signature().map_err(|_| RequestError::Signature)?;
    Ok(parsed)
}

fn is_p256(key: &SubjectPublicKeyInfo<'_>) -> bool {
    let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    key.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY && curve.is_some_and(|curve| curve == OID_EC_P256)
}

/// The identities that a request names.
fn names<'a>(request: &'a X509CertificationRequest<'_>) -> impl Iterator<Item = &'a str> {
    let extensions = request.requested_extensions().into_iter().flatten();
    let names = extensions.filter_map(|extension| match extension {
        ParsedExtension::SubjectAlternativeName(names) => Some(names.general_names.iter()),
        _ => None,
    });
    names.flatten().filter_map(|name| match name {
        GeneralName::URI(uri) if uri.get(..SCHEME.len()).is_some_and(|s| s.eq_ignore_ascii_case(SCHEME)) => Some(*uri),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Role;

    fn edge(name: &str) -> Identity {
        Identity::new(Role::Edge, name).unwrap()
    }

    #[test]
    fn a_request_is_for_the_one_name_and_signed_by_its_key() {
        let key = KeyPair::generate().unwrap();
        let request = make(&key, &edge("box-7")).unwrap();
        assert!(public_key(&request, &edge("box-7")).is_ok());
        let told = public_key(&request, &edge("box-8")).unwrap_err().to_string();
        assert!(told.contains("box-7") && told.contains("box-8"), "{told}");
        let mut forged = request.clone();
        *forged.last_mut().unwrap() ^= 1;
        assert!(public_key(&forged, &edge("box-7")).is_err());
        let mut longer = request;
        longer.push(0);
        assert_eq!(public_key(&longer, &edge("box-7")), Err(RequestError::Malformed));
    }

    #[test]
    fn other_kinds_of_keys_are_refused() {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let request = make(&key, &edge("box-7")).unwrap();
        assert_eq!(public_key(&request, &edge("box-7")), Err(RequestError::Key));
    }

    proptest! {
        #[test]
        fn garbage_is_refused_and_nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..5_000)) {
            prop_assert!(public_key(&bytes, &edge("box-7")).is_err());
        }

        /// What is signed cannot change; around it, a signature may be written in more ways than one.
        #[test]
        fn a_damaged_request_is_refused_or_asks_for_the_same(at in 0_usize..10_000, bit in 0_u8..8) {
            let key = KeyPair::generate().unwrap();
            let mut request = make(&key, &edge("box-7")).unwrap();
            let signed = parse(&request).unwrap().certification_request_info.raw.to_vec();
            let at = at % request.len();
            request[at] ^= 1 << bit;
            if let Ok(taken) = parse(&request) {
                prop_assert_eq!(taken.certification_request_info.raw, &signed[..]);
            }
        }
    }
}
