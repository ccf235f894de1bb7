//! The issuer over HTTP.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::response::Json;
use axum::routing::{get, post};
use parking_lot::{Mutex, RwLock};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vigil_base::{SharedClock, SystemClock};

use crate::grants::Grants;
use crate::keys::{KeyError, SigningAlgorithm, SigningKey};
use crate::pages;
use crate::users::{User, UsersFile};

/// Keys that stay published after a rotation: the one before, for tokens that it signed.
const KEPT: usize = 2;
/// Passwords that are checked at a time.
const HASHING: usize = 2;

/// The issuer cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It has no key.
    #[error("the issuer has no key")]
    Key(#[from] KeyError),
    /// It cannot listen.
    #[error("the issuer cannot listen on {address}: is it free?")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// An issuer that serves until it is stopped.
pub struct Issuer {
    state: Arc<Published>,
    address: SocketAddr,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

/// What all its pages share.
pub(crate) struct Published {
    pub(crate) url: String,
    pub(crate) audience: String,
    pub(crate) users: Vec<User>,
    pub(crate) grants: Mutex<Grants>,
    pub(crate) clock: SharedClock,
    /// Passwords that are checked now.
    pub(crate) hashing: Semaphore,
    /// Newest first.
    keys: RwLock<Vec<SigningKey>>,
    reads: AtomicU64,
}

impl Published {
    /// The key that signs now.
    pub(crate) fn newest(&self) -> SigningKey {
        self.keys.read()[0].clone()
    }
}

impl Issuer {
    /// An issuer without users on `port` of the loopback address; 0 takes a free one: for tests, which sign what they like.
    ///
    /// # Errors
    /// As [`Self::start_with`].
    pub async fn start(port: u16, algorithm: SigningAlgorithm) -> Result<Self, StartError> {
        let file = UsersFile { port, audience: "vigil".to_owned(), users: Vec::new() };
        Self::start_with(file, algorithm).await
    }

    /// An issuer for these users, on the loopback address.
    ///
    /// # Errors
    /// No key can be made, or the port is taken.
    pub async fn start_with(file: UsersFile, algorithm: SigningAlgorithm) -> Result<Self, StartError> {
        let asked = SocketAddr::from((Ipv4Addr::LOCALHOST, file.port));
        let bind_error = |source| StartError::Bind { address: asked, source };
        let listener = TcpListener::bind(asked).await.map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;
        let keys = RwLock::new(vec![SigningKey::generate(algorithm)?]);
        let state = Arc::new(Published {
            url: format!("http://{address}"),
            audience: file.audience,
            users: file.users,
            grants: Mutex::default(),
            clock: SystemClock::shared(),
            hashing: Semaphore::new(HASHING),
            keys,
            reads: AtomicU64::new(0),
        });
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks", get(jwks))
            .route("/authorize", get(pages::authorize_page).post(pages::authorize))
            .route("/token", post(pages::token))
            .route("/device_authorization", post(pages::device_authorization))
            .route("/device", get(pages::device_page).post(pages::device))
            .with_state(Arc::clone(&state));
        let shutdown = CancellationToken::new();
        let until = shutdown.clone().cancelled_owned();
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(until).await {
                tracing::error!(%error, "the issuer stopped");
            }
        });
        Ok(Self { state, address, shutdown, serving })
    }

    /// Its identifier, as it stands in tokens.
    pub fn url(&self) -> &str {
        &self.state.url
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The key that signs now.
    pub fn key(&self) -> SigningKey {
        self.state.newest()
    }

    /// Signs with a new key from now on; the one before stays published, older ones do not.
    ///
    /// # Errors
    /// No key can be made.
    pub fn rotate(&self, algorithm: SigningAlgorithm) -> Result<(), KeyError> {
        let key = SigningKey::generate(algorithm)?;
        let mut keys = self.state.keys.write();
        keys.insert(0, key);
        keys.truncate(KEPT);
        Ok(())
    }

    /// An access token (RFC 9068) with these claims.
    ///
    /// # Errors
    /// The claims are no JSON object.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, jsonwebtoken::errors::Error> {
        self.key().sign("at+jwt", claims)
    }

    /// Times that its keys were read.
    pub fn reads(&self) -> u64 {
        self.state.reads.load(Ordering::Relaxed)
    }

    /// Stops, and lets its port go.
    pub async fn stop(self) {
        self.shutdown.cancel();
        if let Err(error) = self.serving.await {
            tracing::error!(%error, "the issuer's task failed");
        }
    }
}

/// `OpenID` Connect Discovery 1.0, section 3.
async fn discovery(State(state): State<Arc<Published>>) -> Json<Value> {
    let url = &state.url;
    Json(json!({
        "issuer": url,
        "jwks_uri": format!("{url}/jwks"),
        "authorization_endpoint": format!("{url}/authorize"),
        "token_endpoint": format!("{url}/token"),
        "device_authorization_endpoint": format!("{url}/device_authorization"),
        "grant_types_supported": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"],
        "authorization_response_iss_parameter_supported": true,
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256", "EdDSA"],
    }))
}

async fn jwks(State(state): State<Arc<Published>>) -> Json<Value> {
    state.reads.fetch_add(1, Ordering::Relaxed);
    let keys: Vec<_> = state.keys.read().iter().map(SigningKey::jwk).collect();
    Json(json!({ "keys": keys }))
}
