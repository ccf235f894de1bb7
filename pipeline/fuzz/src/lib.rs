//! Hostile input for everything that parses what comes from outside.
//!
//! A [`Target`] takes any bytes and must neither panic nor hang, whatever they are. Two things drive it: the tests of this room,
//! with some thousand inputs that are the same in every run, and `scripts/fuzz`, with libFuzzer for as long as wanted. Both
//! begin at [`Target::seeds`], good inputs that are damaged from there; inputs that once went wrong are kept in `corpus/`, one
//! folder a target, and come first.

mod mutate;
mod packets;
mod rtsp;
mod targets;

pub use mutate::Mutator;
pub use targets::{ALL, Target};
