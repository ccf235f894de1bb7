//! Verifying a bearer token: signature, algorithm, issuer, audience, times, client, binding; and what it then says.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Header, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use vigil_base::{SharedClock, Timestamp};
use vigil_trust::Fingerprint;
use vigil_trust::person::Role;

use crate::claims::{ClaimFault, Claims};
use crate::config::{SignInConfig, TokenKind};
use crate::http::HttpError;
use crate::keys::{IssuerKeys, NoKey};
use crate::provider::use_ring;

/// Longest token, in bytes: Entra's with many groups have 5,000; HTTP/2 headers are limited to 16 KiB as a whole.
pub const MAX_TOKEN: usize = 12 * 1024;
/// What certificates call people and processes; no issuer may.
const RESERVED: &str = "vigil:";

/// A token is not taken. The text is shown to whoever sent it, and holds nothing of the token but names of claims.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a signed token of the form that is meant.
    #[error("the token {0}")]
    Malformed(&'static str),
    /// Signed in a way that is not taken.
    #[error("the token is signed by an algorithm that is not taken here")]
    Algorithm,
    /// Signed by a key that the issuer does not have.
    #[error("the token is signed by a key that its issuer does not have: sign in again")]
    UnknownKey,
    /// Its signature does not hold.
    #[error("the token's signature does not hold")]
    Signature,
    /// Another issuer's.
    #[error("the token is of another issuer than the one that is believed here")]
    Issuer,
    /// For somebody else.
    #[error("the token is not for this audience ({0})")]
    Audience(String),
    /// Too old.
    #[error("the token has ended: sign in again")]
    Ended,
    /// Too young.
    #[error("the token has not begun: are the clocks of its issuer and of this server right?")]
    NotBegun,
    /// Of a program that is not listed.
    #[error("the token was given to a program that is not taken here (azp, client_id)")]
    Client,
    /// Bound to another certificate, or to one where none was shown.
    #[error("the token is bound to a client certificate (cnf), and this connection does not show that one")]
    Binding,
    /// Not bound, where it must be.
    #[error("the token is not bound to a client certificate, and others are not taken here")]
    Unbound,
    /// A claim is malformed or missing.
    #[error("the token is not taken: {0}")]
    Claim(#[from] ClaimFault),
    /// It names nobody.
    #[error("the token's claim for who it is ({0}) is missing, or names what only certificates may")]
    Nobody(String),
    /// Nothing can be verified now.
    #[error("no token can be verified now: {0}")]
    Away(String),
}

impl TokenError {
    /// Whether the token may be good, and trying again later helps.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Away(_))
    }
}

/// Somebody whose token holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    /// Who it is, at its issuer.
    pub subject: String,
    /// Those of its roles that are known here.
    pub roles: BTreeSet<Role>,
    /// Its department, where the token says it.
    pub department: Option<String>,
    /// Its region, where the token says it.
    pub home_region: Option<String>,
    /// When the token ends, the leeway included.
    pub ends_at: Timestamp,
}

/// Verifies tokens of one issuer. Shared by all calls.
pub struct Verifier {
    config: SignInConfig,
    keys: IssuerKeys,
    clock: SharedClock,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What a header says that the library does not look at.
#[derive(Deserialize)]
struct Marks {
    crit: Option<Value>,
}

impl Verifier {
    /// A verifier that knows no keys yet: see [`Self::follow`].
    ///
    /// # Errors
    /// Nobody can be believed to be the issuer's server.
    pub fn new(config: SignInConfig, clock: SharedClock) -> Result<Arc<Self>, HttpError> {
        use_ring();
        let keys = IssuerKeys::new(&config, Arc::clone(&clock))?;
        Ok(Arc::new(Self { config, keys, clock }))
    }

    /// Whom it believes.
    pub fn config(&self) -> &SignInConfig {
        &self.config
    }

    /// Reads the issuer's keys, now and again, until `shutdown`.
    pub async fn follow(&self, shutdown: CancellationToken) {
        self.keys.follow(shutdown).await;
    }

    /// What is wrong with the issuer, and each change of that.
    pub fn problems(&self) -> watch::Receiver<Option<String>> {
        self.keys.problems()
    }

    /// Verifies `token`; `shown` is the certificate that its sender has proved to hold.
    ///
    /// # Errors
    /// [`TokenError`] says why it is not taken.
    pub async fn verify(&self, token: &str, shown: Option<&Fingerprint>) -> Result<SignedIn, TokenError> {
        let header = self.header(token)?;
        let key = self.keys.find(header.kid.as_deref(), header.alg).await.map_err(|none| match none {
            NoKey::Unknown => TokenError::UnknownKey,
            NoKey::Away(why) => TokenError::Away(why),
        })?;
        // Times and the like are checked below: by the clock of the process, and strictly.
        let mut validation = Validation::new(header.alg);
        validation.required_spec_claims.clear();
        (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
        let payload = decode::<Map<String, Value>>(token, &key, &validation).map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat => {
                TokenError::Signature
            }
            _ => TokenError::Malformed("cannot be read"),
        })?;
        self.check(&Claims::new(payload.claims), &header, shown)
    }

    fn header(&self, token: &str) -> Result<Header, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Malformed("is too long"));
        }
        let first = token.split('.').next().unwrap_or_default();
        let first = URL_SAFE_NO_PAD.decode(first).ok();
        let marks: Option<Marks> = first.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let marks = marks.ok_or(TokenError::Malformed("is not a JSON Web Token"))?;
        // What it names is critical and not understood here (RFC 7515, section 4.1.11).
        if marks.crit.is_some() {
            return Err(TokenError::Malformed("asks for an extension that is not known here (crit)"));
        }
        // "none" is no algorithm to the library.
        let header = decode_header(token).map_err(|_| TokenError::Algorithm)?;
        if !self.config.algorithms.contains(&header.alg) {
            return Err(TokenError::Algorithm);
        }
        Ok(header)
    }

    fn check(&self, claims: &Claims, header: &Header, shown: Option<&Fingerprint>) -> Result<SignedIn, TokenError> {
        let config = &self.config;
        if claims.text("iss")?.as_deref() != Some(config.issuer.as_str()) {
            return Err(TokenError::Issuer);
        }
        let audiences = claims.audiences()?;
        if !audiences.contains(&config.audience) {
            return Err(TokenError::Audience(config.audience.clone()));
        }
        self.check_kind(claims, header)?;
        self.check_client(claims, audiences.len())?;
        let ends_at = self.check_times(claims)?;
        match (claims.bound_to()?, shown) {
            (Some(bound), Some(shown)) if bound == *shown => {}
            (Some(_), _) => return Err(TokenError::Binding),
            (None, _) if config.require_bound => return Err(TokenError::Unbound),
            (None, _) => {}
        }
        self.read(claims, ends_at)
    }

    /// A token of one kind must not be taken for another (RFC 8725, section 3.11).
    fn check_kind(&self, claims: &Claims, header: &Header) -> Result<(), TokenError> {
        let written = header.typ.as_deref().unwrap_or_default().to_ascii_lowercase();
        let is_access = written.strip_prefix("application/").unwrap_or(&written) == "at+jwt";
        // Keycloak tells the kinds of its tokens apart by a claim.
        let is_other = claims.text("typ")?.is_some_and(|kind| kind != "Bearer");
        match self.config.tokens {
            TokenKind::Access if !is_access => {
                Err(TokenError::Malformed("is no access token: its type (typ) is not at+jwt"))
            }
            TokenKind::UnmarkedAccess if is_other || !(is_access || matches!(written.as_str(), "" | "jwt")) => {
                Err(TokenError::Malformed("is no access token, by its type (typ)"))
            }
            TokenKind::Id if is_access => {
                Err(TokenError::Malformed("is an access token, and ID tokens are taken here"))
            }
            _ => Ok(()),
        }
    }

    fn check_client(&self, claims: &Claims, audiences: usize) -> Result<(), TokenError> {
        let client = match claims.text("azp")? {
            Some(client) => Some(client),
            None => claims.text("client_id")?,
        };
        // OpenID Connect Core 1.0, section 3.1.3.7: an ID token for several says to whom it was given.
        let needs_one = self.config.tokens == TokenKind::Id && audiences > 1;
        let listed = &self.config.clients;
        match client {
            None if needs_one || !listed.is_empty() => Err(TokenError::Client),
            Some(client) if !listed.is_empty() && !listed.contains(&client) => Err(TokenError::Client),
            _ => Ok(()),
        }
    }

    fn check_times(&self, claims: &Claims) -> Result<Timestamp, TokenError> {
        let (now, leeway) = (self.clock.now(), self.config.leeway);
        let ends_at = claims.time("exp")?.ok_or(TokenError::Malformed("never ends (exp)"))? + leeway;
        if now >= ends_at {
            return Err(TokenError::Ended);
        }
        for begin in ["nbf", "iat"] {
            if claims.time(begin)?.is_some_and(|begin| now + leeway < begin) {
                return Err(TokenError::NotBegun);
            }
        }
        Ok(ends_at)
    }

    fn read(&self, claims: &Claims, ends_at: Timestamp) -> Result<SignedIn, TokenError> {
        let names = &self.config.claims;
        let nobody = || TokenError::Nobody(names.subject.clone());
        let subject = claims.text(&names.subject)?.ok_or_else(nobody)?;
        if subject.to_ascii_lowercase().starts_with(RESERVED) {
            return Err(nobody());
        }
        let roles = claims.texts(&names.roles)?;
        let optional = |name: &Option<String>| name.as_deref().map_or(Ok(None), |name| claims.text(name));
        Ok(SignedIn {
            subject,
            roles: roles.iter().filter_map(|name| self.config.roles.get(name).copied()).collect(),
            department: optional(&names.department)?,
            home_region: optional(&names.region)?,
            ends_at,
        })
    }
}
