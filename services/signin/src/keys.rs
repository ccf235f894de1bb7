//! The issuer's public keys: found, kept, read again.
//!
//! They are read when the server starts, every ten minutes, and when a token names a key that is not known, which is how a
//! rotation at the issuer is noticed; the last at most once in a stated time, whatever tokens come. While the issuer cannot be
//! reached, the keys that are known go on for a stated time, counted from when they were last read.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use metrics::{Counter, counter};
use parking_lot::RwLock;
use serde::Deserialize;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use url::Url;
use vigil_base::SharedClock;
use vigil_base::error::chain;

use crate::config::{SignInConfig, check_address};
use crate::http::{self, HttpError};

/// Between two reads while all is well: a key that the issuer withdrew is believed that long at the most.
const REFRESH: Duration = Duration::from_mins(10);
/// Between two attempts while the issuer is away.
const RETRY: Duration = Duration::from_secs(10);
/// Most keys of an issuer: two or three are usual, Entra has some ten.
const MAX_KEYS: usize = 100;

/// A public key, and the algorithms it may be used with.
#[derive(Clone)]
struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    public: DecodingKey,
}

/// All keys of the issuer that may sign tokens for us.
#[derive(Clone, Default)]
pub(crate) struct KeySet(Vec<Key>);

impl KeySet {
    /// Those of a document that are public, for signatures, and of an allowed algorithm.
    fn of(document: Document, allowed: &[Algorithm]) -> Self {
        let keys = document.keys.into_iter().take(MAX_KEYS).filter_map(|key| {
            // A key of a kind that is not known is no reason to do without the others (RFC 7517, section 5).
            let jwk: &Jwk = &serde_json::from_value(key).ok()?;
            let algorithms: Vec<_> = fitting(jwk).into_iter().filter(|algorithm| allowed.contains(algorithm)).collect();
            let is_for_signatures = !matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption));
            if algorithms.is_empty() || !is_for_signatures {
                return None;
            }
            Some(Key { id: jwk.common.key_id.clone(), algorithms, public: DecodingKey::from_jwk(jwk).ok()? })
        });
        Self(keys.collect())
    }

    /// The key that a token names; the only one for its algorithm where it names none.
    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&DecodingKey> {
        let mut fitting = self.0.iter().filter(|key| key.algorithms.contains(&algorithm));
        match id {
            Some(id) => fitting.find(|key| key.id.as_deref() == Some(id)).map(|key| &key.public),
            None => fitting.next().filter(|_| fitting.next().is_none()).map(|key| &key.public),
        }
    }
}

/// What a key may be used with: what it says itself, else all that its kind allows. A shared secret fits nothing.
fn fitting(jwk: &Jwk) -> Vec<Algorithm> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let by_kind: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => &[ES256],
            EllipticCurve::P384 => &[ES384],
            _ => &[],
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[EdDSA],
        _ => &[],
    };
    let said = jwk.common.key_algorithm;
    by_kind.iter().copied().filter(|algorithm| said.is_none_or(|said| says(said, *algorithm))).collect()
}

fn says(said: KeyAlgorithm, algorithm: Algorithm) -> bool {
    format!("{said:?}") == format!("{algorithm:?}")
}

/// Why there is no key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoKey {
    /// The issuer has none of that name, as far as is known.
    Unknown,
    /// Nothing is known of the issuer's keys, or too old; why.
    Away(String),
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// A JWK set.
#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

/// What is known now.
#[derive(Clone, Default)]
struct Known {
    keys: Arc<KeySet>,
    /// Monotonic time at which they were read.
    read_at: Option<Duration>,
    /// Why the last attempt to read them failed.
    problem: Option<String>,
}

/// The issuer's keys, for all who verify tokens in this process.
pub(crate) struct IssuerKeys {
    issuer: String,
    allowed: Vec<Algorithm>,
    kept: Duration,
    refetch_after: Duration,
    client: reqwest::Client,
    clock: SharedClock,
    known: RwLock<Known>,
    /// Monotonic time of the last attempt. Held while one runs, so that there is one at a time.
    attempt: Mutex<Option<Duration>>,
    problems: watch::Sender<Option<String>>,
    reads: [Counter; 2],
}

impl IssuerKeys {
    pub(crate) fn new(config: &SignInConfig, clock: SharedClock) -> Result<Self, HttpError> {
        let reads = |outcome: &'static str| counter!("vigil_issuer_reads_total", "outcome" => outcome);
        Ok(Self {
            issuer: config.issuer.clone(),
            allowed: config.algorithms.clone(),
            kept: config.keys_kept,
            refetch_after: config.refetch_after,
            client: http::client(config.ca_file.as_deref())?,
            clock,
            known: RwLock::default(),
            attempt: Mutex::default(),
            problems: watch::Sender::new(None),
            reads: [reads("taken"), reads("failed")],
        })
    }

    /// What is wrong with the issuer, and each change of that.
    pub(crate) fn problems(&self) -> watch::Receiver<Option<String>> {
        self.problems.subscribe()
    }

    /// The key that a token names.
    pub(crate) async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<DecodingKey, NoKey> {
        if let Ok(key) = self.look_up(id, algorithm) {
            return Ok(key);
        }
        let mut attempt = self.attempt.lock().await;
        // Another token may have brought it while this one waited.
        let found = self.look_up(id, algorithm);
        let now = self.clock.monotonic();
        if found.is_ok() || attempt.is_some_and(|last| now.saturating_sub(last) < self.refetch_after) {
            return found;
        }
        *attempt = Some(now);
        self.read().await;
        self.look_up(id, algorithm)
    }

    fn look_up(&self, id: Option<&str>, algorithm: Algorithm) -> Result<DecodingKey, NoKey> {
        let known = self.known.read().clone();
        let age = known.read_at.map(|at| self.clock.monotonic().saturating_sub(at));
        if age.is_none_or(|age| age > self.kept) {
            let why = known.problem.unwrap_or_else(|| "they are being read".to_owned());
            return Err(NoKey::Away(why));
        }
        known.keys.find(id, algorithm).cloned().ok_or(NoKey::Unknown)
    }

    /// Reads the keys now and then until `shutdown`.
    pub(crate) async fn follow(&self, shutdown: CancellationToken) {
        let following = async {
            loop {
                let mut attempt = self.attempt.lock().await;
                *attempt = Some(self.clock.monotonic());
                let is_well = self.read().await;
                drop(attempt);
                tokio::time::sleep(if is_well { REFRESH } else { RETRY }).await;
            }
        };
        shutdown.run_until_cancelled(following).await;
    }

    /// One attempt; whether it went well.
    async fn read(&self) -> bool {
        let read = self.read_once().await;
        let is_well = read.is_ok();
        self.reads[usize::from(!is_well)].increment(1);
        let problem = match read {
            Ok(keys) => {
                *self.known.write() =
                    Known { keys: Arc::new(keys), read_at: Some(self.clock.monotonic()), problem: None };
                None
            }
            Err(error) => {
                let problem = format!("the issuer's keys cannot be read: {}", chain(&error));
                self.known.write().problem = Some(problem.clone());
                Some(problem)
            }
        };
        self.problems.send_if_modified(|before| {
            if *before == problem {
                return false;
            }
            if let Some(problem) = &problem {
                tracing::warn!(issuer = self.issuer, "{problem}");
            }
            *before = problem;
            true
        });
        is_well
    }

    async fn read_once(&self) -> Result<KeySet, HttpError> {
        let address = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let address = Url::parse(&address).map_err(|error| wrong(&self.issuer, &error))?;
        let found: Discovery = http::get(&self.client, &address).await?;
        if found.issuer != self.issuer {
            return Err(wrong(&address, &format!("that it is {:?} and not {:?}", found.issuer, self.issuer)));
        }
        let jwks = check_address(&found.jwks_uri).map_err(|problem| wrong(&address, &problem))?;
        let keys = KeySet::of(http::get(&self.client, &jwks).await?, &self.allowed);
        if keys.0.is_empty() {
            return Err(wrong(&jwks, &"no key for signatures of an algorithm that is taken here"));
        }
        Ok(keys)
    }
}

fn wrong(url: &impl ToString, problem: &impl ToString) -> HttpError {
    HttpError::Answer { url: url.to_string(), problem: problem.to_string() }
}
