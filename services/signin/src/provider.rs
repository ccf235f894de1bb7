//! The signatures of JSON Web Tokens by ring, the one provider of cryptography of the house.
//!
//! Signatures of public keys alone (RFC 7518, section 3.1; RFC 8037): a verifier for HMAC does not exist here, so a token that
//! was "signed" with a public key as the secret cannot be taken by any configuration.

use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, JwkUtils, JwtSigner, JwtVerifier};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{Error as SignatureError, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::rand::SystemRandom;
use ring::signature as sign;

static PROVIDER: CryptoProvider =
    CryptoProvider { signer_factory: signer, verifier_factory: verifier, jwk_utils: JwkUtils::new_unimplemented() };

/// Has tokens signed and verified by ring in this process. May be called any number of times.
pub fn use_ring() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if PROVIDER.install_default().is_err() {
            tracing::error!("tokens are verified by another provider of cryptography, which was there before");
        }
    });
}

fn unfit(kind: ErrorKind) -> Error {
    kind.into()
}

/// A public key and how it is used.
struct PublicKey {
    algorithm: Algorithm,
    key: Key,
}

enum Key {
    Rsa { n: Vec<u8>, e: Vec<u8>, how: &'static sign::RsaParameters },
    Point { bytes: Vec<u8>, how: &'static dyn sign::VerificationAlgorithm },
}

#[allow(clippy::trivially_copy_pass_by_ref)] // The library's form.
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    if key.family() != algorithm.family() {
        return Err(unfit(ErrorKind::InvalidKeyFormat));
    }
    let key = match (rsa(*algorithm), point(*algorithm), key.kind()) {
        (Some(how), _, DecodingKeyKind::RsaModulusExponent { n, e }) => {
            // ring takes numbers without leading zeros; some issuers write one.
            let trimmed = |bytes: &[u8]| bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
            Key::Rsa { n: trimmed(n), e: trimmed(e), how }
        }
        (_, Some(how), DecodingKeyKind::SecretOrDer(bytes)) => Key::Point { bytes: bytes.clone(), how },
        _ => return Err(unfit(ErrorKind::InvalidAlgorithm)),
    };
    Ok(Box::new(PublicKey { algorithm: *algorithm, key }))
}

/// How RSA is meant; none where it is not. Keys below 2,048 bits are refused by all of these.
fn rsa(algorithm: Algorithm) -> Option<&'static sign::RsaParameters> {
    match algorithm {
        Algorithm::RS256 => Some(&sign::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Some(&sign::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Some(&sign::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Some(&sign::RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Some(&sign::RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Some(&sign::RSA_PSS_2048_8192_SHA512),
        _ => None,
    }
}

/// How a point on a curve is meant; none where it is not.
fn point(algorithm: Algorithm) -> Option<&'static dyn sign::VerificationAlgorithm> {
    match algorithm {
        Algorithm::ES256 => Some(&sign::ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Some(&sign::ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => Some(&sign::ED25519),
        _ => None,
    }
}

impl Verifier<Vec<u8>> for PublicKey {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        let verified = match &self.key {
            Key::Rsa { n, e, how } => sign::RsaPublicKeyComponents { n, e }.verify(how, message, signature),
            Key::Point { bytes, how } => sign::UnparsedPublicKey::new(*how, bytes).verify(message, signature),
        };
        verified.map_err(|_| SignatureError::new())
    }
}

impl JwtVerifier for PublicKey {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

/// A private key, for an issuer of one's own.
enum PrivateKey {
    Ecdsa(sign::EcdsaKeyPair),
    Ed25519(sign::Ed25519KeyPair),
}

#[allow(clippy::trivially_copy_pass_by_ref)] // The library's form.
fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    let pair = match (algorithm, key.family()) {
        (Algorithm::ES256, AlgorithmFamily::Ec) => {
            let how = &sign::ECDSA_P256_SHA256_FIXED_SIGNING;
            let pair = sign::EcdsaKeyPair::from_pkcs8(how, key.inner(), &SystemRandom::new());
            PrivateKey::Ecdsa(pair.map_err(|_| unfit(ErrorKind::InvalidEcdsaKey))?)
        }
        (Algorithm::EdDSA, AlgorithmFamily::Ed) => {
            let pair = sign::Ed25519KeyPair::from_pkcs8(key.inner());
            PrivateKey::Ed25519(pair.map_err(|_| unfit(ErrorKind::InvalidEddsaKey))?)
        }
        _ => return Err(unfit(ErrorKind::InvalidAlgorithm)),
    };
    Ok(Box::new(pair))
}

impl Signer<Vec<u8>> for PrivateKey {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        match self {
            Self::Ecdsa(pair) => {
                let signed = pair.sign(&SystemRandom::new(), message).map_err(|_| SignatureError::new())?;
                Ok(signed.as_ref().to_vec())
            }
            Self::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

impl JwtSigner for PrivateKey {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ecdsa(_) => Algorithm::ES256,
            Self::Ed25519(_) => Algorithm::EdDSA,
        }
    }
}
