//! Enrolment tokens: who holds one may have one certificate, of one name, once, within a time.
//!
//! A token is text to be carried by hand: `vigil-enrol-` and base64url of where to enrol, whose certificate it gives, which
//! authority must answer there, and 256 random bits that only the ledger's hash knows. Everything but those bits is there so
//! that an edge needs nothing else; the server believes none of it.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message;
use rand::TryRngCore;
use rand::rngs::OsRng;
use vigil_base::RegionId;

use crate::certificate::Fingerprint;
use crate::identity::Identity;

const PREFIX: &str = "vigil-enrol-";
/// Longest token that is looked at.
const MAX_TOKEN: usize = 1_024;

/// A text is no enrolment token. Nothing of it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not an enrolment token: one begins with {PREFIX} and is made by `vigil pki token`")]
pub struct NotAToken;

/// An enrolment token.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolToken {
    /// Names it in the ledger.
    pub id: [u8; 16],
    /// What makes it worth something.
    pub secret: [u8; 32],
    /// The authority that must stand behind the server.
    pub authority: Fingerprint,
    /// Whose certificate it gives.
    pub identity: Identity,
    /// The region that must answer.
    pub region: RegionId,
    /// Where: `https://host:port`.
    pub address: String,
}

impl fmt::Debug for EnrolToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnrolToken({}, ***)", self.identity)
    }
}

#[derive(Clone, PartialEq, Message)]
struct Wire {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    secret: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    authority: Vec<u8>,
    #[prost(string, tag = "4")]
    identity: String,
    #[prost(string, tag = "5")]
    region: String,
    #[prost(string, tag = "6")]
    address: String,
}

impl EnrolToken {
    /// A new token.
    pub fn random(identity: Identity, authority: Fingerprint, region: RegionId, address: String) -> Self {
        let (mut id, mut secret) = ([0; 16], [0; 32]);
        let filled = OsRng.try_fill_bytes(&mut id).and_then(|()| OsRng.try_fill_bytes(&mut secret));
        filled.expect("the operating system gives randomness, or nothing here is safe");
        Self { id, secret, authority, identity, region, address }
    }

    /// The text, for the one who carries it.
    pub fn reveal(&self) -> String {
        let wire = Wire {
            id: self.id.to_vec(),
            secret: self.secret.to_vec(),
            authority: self.authority.as_bytes().to_vec(),
            identity: self.identity.to_string(),
            region: self.region.to_string(),
            address: self.address.clone(),
        };
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(wire.encode_to_vec()))
    }
}

impl FromStr for EnrolToken {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let text = text.trim();
        let body = text.strip_prefix(PREFIX).filter(|body| body.len() <= MAX_TOKEN).ok_or(NotAToken)?;
        let bytes = URL_SAFE_NO_PAD.decode(body).map_err(|_| NotAToken)?;
        let wire = Wire::decode(bytes.as_slice()).map_err(|_| NotAToken)?;
        Ok(Self {
            id: wire.id.try_into().map_err(|_| NotAToken)?,
            secret: wire.secret.try_into().map_err(|_| NotAToken)?,
            authority: Fingerprint::from_bytes(wire.authority.try_into().map_err(|_| NotAToken)?),
            identity: wire.identity.parse().map_err(|_| NotAToken)?,
            region: wire.region.parse().map_err(|_| NotAToken)?,
            address: wire.address,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token() -> EnrolToken {
        let identity = "vigil://edge/box-7".parse().unwrap();
        EnrolToken::random(
            identity,
            Fingerprint::from_bytes([7; 32]),
            RegionId::new("north").unwrap(),
            "https://r:1".into(),
        )
    }

    #[test]
    fn text_and_back_and_no_two_alike() {
        let token = token();
        assert_eq!(format!(" {}\n", token.reveal()).parse::<EnrolToken>().unwrap(), token);
        assert_ne!(token.secret, self::token().secret);
        assert!(!format!("{token:?}").contains(&token.reveal()[20..40]));
    }

    proptest! {
        #[test]
        fn garbage_is_no_token_and_is_not_told(text in "(vigil-enrol-)?[A-Za-z0-9_=-]{0,200}") {
            if let Err(error) = text.parse::<EnrolToken>() {
                prop_assert!(text.len() < 16 || !error.to_string().contains(&text));
            }
        }
    }
}
