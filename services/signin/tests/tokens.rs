//! Which tokens are taken, against an issuer that is asked over HTTP.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use vigil_base::{Clock, SimClock, Timestamp};
use vigil_issuer::{Issuer, SigningAlgorithm, SigningKey};
use vigil_signin::config::TokenKind;
use vigil_signin::{SignInConfig, SignedIn, TokenError, Verifier};
use vigil_trust::Fingerprint;
use vigil_trust::person::Role;

const MINUTE: Duration = Duration::from_secs(60);
const SHOWN: [u8; 32] = [7; 32];

/// An issuer, a verifier of its tokens, and the clock that both go by.
struct Desk {
    issuer: Issuer,
    verifier: Arc<Verifier>,
    clock: Arc<SimClock>,
}

impl Desk {
    async fn open_with(algorithm: SigningAlgorithm, change: impl FnOnce(&mut SignInConfig)) -> Self {
        let issuer = Issuer::start(0, algorithm).await.unwrap();
        let clock = SimClock::new(Timestamp::from_micros(1_790_000_000_000_000));
        let mut config = SignInConfig::new(issuer.url(), "vigil").unwrap();
        config.claims.department = Some("department".to_owned());
        change(&mut config);
        let verifier = Verifier::new(config, clock.clone()).unwrap();
        Self { issuer, verifier, clock }
    }

    async fn open() -> Self {
        Self::open_with(SigningAlgorithm::Es256, |_| {}).await
    }

    fn now(&self) -> i64 {
        self.clock.now().as_micros() / 1_000_000
    }

    /// The claims of a good token, with those of `other` in their place or, where they are null, without them.
    fn claims(&self, other: &Value) -> Value {
        let now = self.now();
        let mut claims = json!({
            "iss": self.issuer.url(), "aud": "vigil", "sub": "alice", "iat": now, "exp": now + 300,
            "client_id": "vigil-cli", "roles": ["operator", "janitor"], "department": "traffic",
        });
        for (name, value) in other.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        claims
    }

    fn token(&self, other: &Value) -> String {
        self.issuer.sign(&self.claims(other)).unwrap()
    }

    async fn show(&self, token: &str) -> Result<SignedIn, TokenError> {
        self.verifier.verify(token, Some(&Fingerprint::from_bytes(SHOWN))).await
    }

    async fn refused(&self, other: Value) -> TokenError {
        self.show(&self.token(&other)).await.expect_err(&other.to_string())
    }
}

/// A token with this header and these claims, and whatever stands for its signature.
fn assembled(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| BASE64.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = BASE64.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

#[tokio::test]
async fn a_good_token_says_who_it_is_by_either_algorithm_and_roles_that_are_not_known_give_nothing() {
    for algorithm in [SigningAlgorithm::Es256, SigningAlgorithm::EdDsa] {
        let desk = Desk::open_with(algorithm, |_| {}).await;
        let alice = desk.show(&desk.token(&json!({}))).await.unwrap();
        assert_eq!((alice.subject.as_str(), alice.department.as_deref()), ("alice", Some("traffic")));
        assert_eq!(alice.roles, BTreeSet::from([Role::Operator]));
        let listed = json!({ "aud": ["other", "vigil"], "roles": "auditor operator" });
        assert_eq!(desk.show(&desk.token(&listed)).await.unwrap().roles.len(), 2);
        assert!(desk.show(&desk.token(&json!({ "roles": null }))).await.unwrap().roles.is_empty());
        assert_eq!(desk.issuer.reads(), 1, "its keys are kept");
    }
}

#[tokio::test]
async fn a_forged_signature_is_refused_whoever_made_it() {
    let desk = Desk::open().await;
    let good = desk.token(&json!({}));
    desk.show(&good).await.unwrap();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let mut bytes = BASE64.decode(signature).unwrap();
    bytes[10] ^= 1;
    assert_eq!(desk.show(&format!("{message}.{}", BASE64.encode(bytes))).await, Err(TokenError::Signature));
    let (header, _) = message.split_once('.').unwrap();
    let other = BASE64.encode(desk.claims(&json!({ "sub": "chief" })).to_string());
    assert_eq!(desk.show(&format!("{header}.{other}.{signature}")).await, Err(TokenError::Signature));

    let claims = desk.claims(&json!({}));
    let forger = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
    assert_eq!(desk.show(&forger.sign("at+jwt", &claims).unwrap()).await, Err(TokenError::UnknownKey));
    let forger = forger.under_the_name_of(&desk.issuer.key());
    assert_eq!(desk.show(&forger.sign("at+jwt", &claims).unwrap()).await, Err(TokenError::Signature));
}

#[tokio::test]
async fn no_algorithm_and_the_public_key_as_a_secret_are_refused() {
    let desk = Desk::open().await;
    desk.show(&desk.token(&json!({}))).await.unwrap();
    let claims = desk.claims(&json!({}));
    let kid = desk.issuer.key().id().to_owned();
    for alg in ["none", "None", "NONE", "", "HS1", "RS1"] {
        let header = json!({ "alg": alg, "typ": "at+jwt", "kid": kid });
        assert_eq!(desk.show(&assembled(&header, &claims, |_| Vec::new())).await, Err(TokenError::Algorithm), "{alg}");
    }
    let public = desk.issuer.key().public().to_vec();
    let header = json!({ "alg": "HS256", "typ": "at+jwt", "kid": kid });
    let hmac = |message: &[u8]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(&public).unwrap();
        mac.update(message);
        mac.finalize().into_bytes().to_vec()
    };
    assert_eq!(desk.show(&assembled(&header, &claims, hmac)).await, Err(TokenError::Algorithm));
    // An algorithm that is taken, and that this key is not for.
    let header = json!({ "alg": "RS256", "typ": "at+jwt", "kid": kid });
    assert!(desk.show(&assembled(&header, &claims, |_| vec![1; 256])).await.is_err());
    let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": kid, "crit": ["exp"], "exp": 1 });
    assert!(matches!(desk.show(&assembled(&header, &claims, |_| vec![1; 64])).await, Err(TokenError::Malformed(_))));
    for garbage in ["", ".", "..", "a.b.c", "e30.e30.", &"x".repeat(100_000)] {
        assert!(desk.show(garbage).await.is_err());
    }
}

#[tokio::test]
async fn another_audience_issuer_client_or_kind_is_refused() {
    let desk = Desk::open().await;
    for audience in [json!("other"), json!(["other"]), json!("vigil other"), json!(null), json!("Vigil")] {
        assert!(matches!(desk.refused(json!({ "aud": audience })).await, TokenError::Audience(_)));
    }
    assert_eq!(desk.refused(json!({ "iss": format!("{}/", desk.issuer.url()) })).await, TokenError::Issuer);
    assert!(matches!(desk.refused(json!({ "sub": null })).await, TokenError::Nobody(_)));
    assert!(matches!(desk.refused(json!({ "sub": "vigil://gateway/city" })).await, TokenError::Nobody(_)));
    let id_token = desk.issuer.key().sign("JWT", &desk.claims(&json!({}))).unwrap();
    assert!(matches!(desk.show(&id_token).await, Err(TokenError::Malformed(_))), "an ID token is no access token");

    let desk = Desk::open_with(SigningAlgorithm::Es256, |config| {
        config.clients = vec!["vigil-cli".to_owned()];
        config.tokens = TokenKind::UnmarkedAccess;
    });
    let desk = desk.await;
    let sign = |claims: Value| desk.issuer.key().sign("JWT", &claims).unwrap();
    desk.show(&sign(desk.claims(&json!({ "typ": "Bearer" })))).await.unwrap();
    assert_eq!(desk.show(&sign(desk.claims(&json!({ "azp": "game" })))).await, Err(TokenError::Client));
    assert_eq!(desk.show(&sign(desk.claims(&json!({ "client_id": null })))).await, Err(TokenError::Client));
    assert!(matches!(desk.show(&sign(desk.claims(&json!({ "typ": "ID" })))).await, Err(TokenError::Malformed(_))));
}

#[tokio::test]
async fn a_token_holds_between_its_begin_and_its_end_and_is_worth_nothing_when_it_is_replayed_later() {
    let desk = Desk::open().await;
    let token = desk.token(&json!({}));
    desk.show(&token).await.unwrap();
    desk.clock.advance(5 * MINUTE);
    desk.show(&token).await.expect("within the leeway of 30 s");
    desk.clock.advance(MINUTE / 2);
    assert_eq!(desk.show(&token).await, Err(TokenError::Ended));
    let now = desk.now();
    assert_eq!(desk.refused(json!({ "nbf": now + 40 })).await, TokenError::NotBegun);
    assert_eq!(desk.refused(json!({ "iat": now + 40 })).await, TokenError::NotBegun);
    assert!(matches!(desk.refused(json!({ "exp": null })).await, TokenError::Malformed(_)));
    for exp in [json!("9999999999"), json!(-1), json!(1e300), json!([1])] {
        let error = desk.refused(json!({ "exp": exp })).await;
        assert!(matches!(error, TokenError::Claim(_) | TokenError::Malformed(_)), "{error}: a number or nothing");
    }
    let error = desk.refused(json!({ "nbf": "0" })).await;
    assert!(matches!(error, TokenError::Claim(_) | TokenError::Malformed(_)), "{error}");
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_certificate_needs_that_one() {
    let desk = Desk::open().await;
    let bound = |bytes: &[u8]| json!({ "cnf": { "x5t#S256": BASE64.encode(bytes) } });
    desk.show(&desk.token(&bound(&SHOWN))).await.unwrap();
    assert_eq!(desk.refused(bound(&[8; 32])).await, TokenError::Binding);
    let without = desk.verifier.verify(&desk.token(&bound(&SHOWN)), None).await;
    assert_eq!(without, Err(TokenError::Binding), "no certificate was shown");
    for cnf in [json!({ "jkt": "x" }), json!({}), json!("x"), json!({ "x5t#S256": "x" })] {
        assert!(matches!(desk.refused(json!({ "cnf": cnf })).await, TokenError::Claim(_)));
    }
    let strict = Desk::open_with(SigningAlgorithm::Es256, |config| config.require_bound = true).await;
    assert_eq!(strict.refused(json!({})).await, TokenError::Unbound);
    strict.show(&strict.token(&bound(&SHOWN))).await.unwrap();
}

#[tokio::test]
async fn a_new_key_is_fetched_once_and_nobody_makes_the_verifier_ask_in_a_loop() {
    let desk = Desk::open().await;
    let old = desk.token(&json!({}));
    desk.show(&old).await.unwrap();
    desk.clock.advance(MINUTE);
    desk.issuer.rotate(SigningAlgorithm::EdDsa).unwrap();
    let new = desk.token(&json!({}));
    let (one, other) = tokio::join!(desk.show(&new), desk.show(&new));
    assert!(one.is_ok() && other.is_ok() && desk.show(&old).await.is_ok(), "the old key is still published");
    assert_eq!(desk.issuer.reads(), 2);
    let forger = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
    let forged = forger.sign("at+jwt", &desk.claims(&json!({}))).unwrap();
    for _ in 0..20 {
        assert_eq!(desk.show(&forged).await, Err(TokenError::UnknownKey));
        desk.clock.advance(Duration::from_secs(1));
    }
    assert!(desk.issuer.reads() <= 4, "read {} times in 20 s", desk.issuer.reads());

    desk.issuer.rotate(SigningAlgorithm::Es256).unwrap();
    desk.clock.advance(MINUTE);
    desk.show(&desk.token(&json!({}))).await.unwrap();
    assert_eq!(desk.show(&old).await, Err(TokenError::UnknownKey), "two rotations on, its key is withdrawn");
}

#[tokio::test]
async fn while_the_issuer_is_away_its_keys_go_on_for_the_stated_time() {
    let kept = 10 * MINUTE;
    let desk = Desk::open_with(SigningAlgorithm::Es256, |config| config.keys_kept = kept).await;
    let long = desk.token(&json!({ "exp": desk.now() + 86_400 }));
    desk.show(&long).await.unwrap();
    let Desk { issuer, verifier, clock } = desk;
    issuer.stop().await;
    clock.advance(9 * MINUTE);
    verifier.verify(&long, None).await.expect("its keys are known");
    clock.advance(2 * MINUTE);
    let error = verifier.verify(&long, None).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("does not answer"), "{error}");
}

#[tokio::test]
async fn an_issuer_that_was_never_reached_is_told_from_a_bad_token() {
    let issuer = Issuer::start(0, SigningAlgorithm::Es256).await.unwrap();
    let config = SignInConfig::new(issuer.url(), "vigil").unwrap();
    let token = issuer.sign(&json!({ "iss": issuer.url(), "aud": "vigil", "sub": "alice", "exp": 9_000_000_000_u64 }));
    issuer.stop().await;
    let verifier = Verifier::new(config, vigil_base::SystemClock::shared()).unwrap();
    assert!(matches!(verifier.verify(&token.unwrap(), None).await, Err(TokenError::Away(_))));
}

#[test]
fn an_issuer_beyond_this_machine_is_asked_over_tls_alone() {
    for good in ["https://id.example/realms/city", "http://127.0.0.1:8080", "http://[::1]:1/x"] {
        SignInConfig::new(good, "vigil").unwrap();
    }
    for bad in
        ["", "id.example", "http://id.example", "http://localhost:1", "ftp://id.example", "https://u:p@id.example"]
    {
        assert!(SignInConfig::new(bad, "vigil").is_err(), "{bad}");
    }
}
