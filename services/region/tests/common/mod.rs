//! Events and helpers that the tests of this crate share.
#![allow(dead_code, clippy::unwrap_used)] // Each test file uses a part; helpers of tests.

mod events;
pub mod policy;
pub mod postgres;
pub mod server;

pub use events::*;
