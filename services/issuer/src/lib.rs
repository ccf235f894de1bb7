//! A small `OpenID` Connect issuer for demonstrations and tests. It listens on the loopback address alone, keeps its keys in memory
//! and is no product to run a city on: [docs/sign-in.md](../../../docs/sign-in.md) says how a real one is connected.
//!
//! - [`keys`]: keys that sign tokens, and how they are published.
//! - [`server`]: discovery and keys over HTTP; pages: the grants (authorization code with PKCE, device, refresh).
//! - [`users`]: who may sign in.

mod grants;
pub mod keys;
mod pages;
pub mod server;
pub mod users;

pub use keys::{SigningAlgorithm, SigningKey};
pub use server::{Issuer, StartError};
pub use users::{User, UsersFile};
