//! What rules remember when the process that runs them ends and another one goes on.
//!
//! Kept are cool-downs and counts: both are about the rule. What is about tracks is not (who is inside, since when,
//! half a crossing): tracks get new numbers, and nobody watched in between.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use vigil_base::{RuleId, Timestamp};

use crate::config::Watch;
use crate::firing::Counts;

/// Hexadecimal digits of the digest that tell two rules apart: 64 bits.
const FINGERPRINT_DIGITS: usize = 16;

/// What a camera's rules remember; see [`crate::RuleEngine::memory`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesMemory {
    /// Capture time of the last frame that they saw.
    pub at: Option<Timestamp>,
    /// At most one for each rule; those with nothing to remember are absent.
    pub rules: Vec<RuleMemory>,
}

/// What one rule remembers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleMemory {
    /// Which.
    pub rule: RuleId,
    /// Of what it watches, hex: a rule that watches for something else begins anew.
    pub watch: String,
    /// What it holds.
    pub kept: Kept,
}

/// What a rule holds that is about no track.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// When it last fired, where it has a cool-down.
    pub fired: Option<Timestamp>,
    /// Firings that the cool-down has kept back since.
    pub suppressed: u32,
    /// What it counts.
    pub tally: Option<KeptTally>,
}

/// What a rule's kind counts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeptTally {
    /// Over a line.
    Line {
        /// Until now.
        counts: KeptCounts,
        /// When they were last reported.
        reported: KeptCounts,
        /// When the running interval between two reports began, where there are reports.
        interval_since: Option<Timestamp>,
    },
    /// In a room behind a line.
    Room {
        /// How many.
        inside: u32,
    },
}

/// [`Counts`] as they are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // As in `Counts`.
pub struct KeptCounts {
    pub left: u64,
    pub right: u64,
    pub since: Timestamp,
}

impl From<Counts> for KeptCounts {
    fn from(Counts { left, right, since }: Counts) -> Self {
        Self { left, right, since }
    }
}

impl From<KeptCounts> for Counts {
    fn from(KeptCounts { left, right, since }: KeptCounts) -> Self {
        Self { left, right, since }
    }
}

/// What would be forgotten if the process died now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unsaved {
    /// Nothing.
    Nothing,
    /// Counts, or how many firings were kept back.
    Counts,
    /// That a rule with a cool-down fired: it would fire again.
    Firing,
}

/// Tells what a rule watches from anything else that it might: the derived `Debug` names every field of it. Another
/// version of the program may write it otherwise; then rules begin anew, which is the safe side.
pub(crate) fn fingerprint(watch: &Watch) -> String {
    let mut hex = format!("{:x}", Sha256::digest(format!("{watch:?}")));
    hex.truncate(FINGERPRINT_DIGITS);
    hex
}
