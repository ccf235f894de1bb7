//! Keys that sign tokens, and how they are published.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use ring::error::Unspecified;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// The system gives no random numbers, or a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("no key can be made: the system gives no random numbers")]
pub struct KeyError;

impl From<Unspecified> for KeyError {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

impl From<ring::error::KeyRejected> for KeyError {
    fn from(_: ring::error::KeyRejected) -> Self {
        Self
    }
}

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// ECDSA on P-256 with SHA-256: what most issuers and clients speak.
    Es256,
    /// Ed25519.
    EdDsa,
}

/// A key. `Debug` shows its name alone.
#[derive(Clone)]
pub struct SigningKey {
    id: String,
    algorithm: SigningAlgorithm,
    private: EncodingKey,
    public: Vec<u8>,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SigningKey").field(&self.id).finish()
    }
}

impl SigningKey {
    /// A new key, of a name of its own.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn generate(algorithm: SigningAlgorithm) -> Result<Self, KeyError> {
        vigil_signin::use_ring();
        let random = SystemRandom::new();
        let (private, public) = match algorithm {
            SigningAlgorithm::Es256 => {
                let how = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let document = EcdsaKeyPair::generate_pkcs8(how, &random)?;
                let pair = EcdsaKeyPair::from_pkcs8(how, document.as_ref(), &random)?;
                (EncodingKey::from_ec_der(document.as_ref()), pair.public_key().as_ref().to_vec())
            }
            SigningAlgorithm::EdDsa => {
                let document = Ed25519KeyPair::generate_pkcs8(&random)?;
                let pair = Ed25519KeyPair::from_pkcs8(document.as_ref())?;
                (EncodingKey::from_ed_der(document.as_ref()), pair.public_key().as_ref().to_vec())
            }
        };
        Ok(Self { id: Uuid::new_v4().to_string(), algorithm, private, public })
    }

    /// This key under another's name: what a forger would have.
    #[must_use]
    pub fn under_the_name_of(self, other: &Self) -> Self {
        Self { id: other.id.clone(), ..self }
    }

    /// Its name (`kid`).
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The public half: a point of P-256 in its long form, or one of Ed25519.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// A token of this type (`at+jwt`, `JWT`) with these claims.
    pub fn sign(&self, kind: &str, claims: &impl Serialize) -> Result<String, jsonwebtoken::errors::Error> {
        let algorithm = match self.algorithm {
            SigningAlgorithm::Es256 => Algorithm::ES256,
            SigningAlgorithm::EdDsa => Algorithm::EdDSA,
        };
        let header = Header { typ: Some(kind.to_owned()), kid: Some(self.id.clone()), ..Header::new(algorithm) };
        encode(&header, claims, &self.private)
    }

    /// As it is published (RFC 7517; RFC 8037 for Ed25519).
    pub fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self.algorithm {
            SigningAlgorithm::Es256 => {
                // After the byte that says that both coordinates follow (SEC 1, section 2.3.3).
                let (x, y) = self.public[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.id, "x": text(x), "y": text(y) })
            }
            SigningAlgorithm::EdDsa => json!({
                "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.id, "x": text(&self.public)
            }),
        }
    }
}
