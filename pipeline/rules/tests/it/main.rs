//! Rules seen from outside: tracks in, firings out.

#![allow(clippy::unwrap_used)] // Tests, and what they share.

mod config;
mod golden;
mod lines;
mod memory;
mod plates;
mod properties;
mod settings;
mod stage;
mod tamper;
mod things;
mod time;
mod vehicles;
mod zones;
