//! Operators sign in: who asks, in which role, and about which cameras.
//!
//! ```text
//! token ─▶ verify: signature by a key of the issuer, algorithm, issuer, audience, times, client, binding ─▶ SignedIn
//! SignedIn, [[rights]] ─▶ CameraScope: the regions, sites and cameras it may ask about; none where no row is its own
//! ```
//!
//! - [`config`]: the `[sign_in]` section and the `[[rights]]` list.
//! - [`verify`]: a bearer token (RFC 6750) that is a JWT (RFC 7519): an access token (RFC 9068) or an ID token (`OpenID` Connect Core
//!   1.0, section 2).
//! - [`keys`]: the issuer's public keys (RFC 7517), found by `OpenID` Connect Discovery 1.0, kept while the issuer is away.
//! - [`claims`]: what a token says, read strictly.
//! - [`scope`]: which cameras somebody may ask about.
//! - [`http`]: the only way out: bounded in time and size, over TLS, following no redirects.
//!
//! Invariants:
//! - The algorithm is one that the configuration allows and the key is for; `none` and shared secrets (HMAC) are never taken.
//! - A token is taken for nobody's word: it is verified by each gateway and by each region that it comes to.
//! - Tokens stand in no log, no error and no `Debug`.

pub mod claims;
pub mod config;
pub mod http;
pub mod keys;
mod provider;
pub mod scope;
pub mod verify;

pub use config::{RightsRow, SignInConfig, SignInSection};
pub use provider::use_ring;
pub use scope::{CameraScope, Rights};
pub use verify::{SignedIn, TokenError, Verifier};
