//! What a server's configuration says of its door.

use std::path::Path;

use serde::Deserialize;
use vigil_signin::config::Unfit;
use vigil_signin::{Rights, RightsRow, SignInConfig, SignInSection};

/// Questions a second of one requester at a gateway: a page of results with its fifty pictures.
const GATEWAY_RATE: u32 = 50;
/// Questions of one requester that a gateway answers at a time: a quarter of all that it answers.
const GATEWAY_OPEN: usize = 32;
/// Live streams of one requester at a gateway: a wall of screens.
const GATEWAY_STREAMS: usize = 16;
/// A gateway may ask a region up to four times for one question (a page that is filled up).
const REGION_SHARE: u32 = 4;
/// Largest rate: above it nothing is limited.
const MAX_RATE: u32 = 1_000_000;
/// Most open calls of one requester: as many as a server takes of all together.
const MAX_OPEN: usize = 10_000;

/// What one requester may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubjectLimits {
    /// Questions a second; twice as many at once.
    pub questions_per_second: u32,
    /// Questions at a time.
    pub concurrent_questions: usize,
    /// Live streams at a time.
    pub streams: usize,
}

impl SubjectLimits {
    /// At a gateway, unless told otherwise.
    pub fn of_gateway() -> Self {
        Self { questions_per_second: GATEWAY_RATE, concurrent_questions: GATEWAY_OPEN, streams: GATEWAY_STREAMS }
    }

    /// At a region, unless told otherwise.
    pub fn of_region() -> Self {
        let share = REGION_SHARE as usize;
        Self {
            questions_per_second: GATEWAY_RATE * REGION_SHARE,
            concurrent_questions: GATEWAY_OPEN * share,
            streams: GATEWAY_STREAMS * share,
        }
    }
}

/// The `[subject_limits]` section as written.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSection {
    questions_per_second: Option<u32>,
    concurrent_questions: Option<usize>,
    streams: Option<usize>,
}

impl LimitsSection {
    fn resolve(self, default: SubjectLimits) -> Result<SubjectLimits, Unfit> {
        let limits = SubjectLimits {
            questions_per_second: self.questions_per_second.unwrap_or(default.questions_per_second),
            concurrent_questions: self.concurrent_questions.unwrap_or(default.concurrent_questions),
            streams: self.streams.unwrap_or(default.streams),
        };
        let numbers = [
            ("questions_per_second", limits.questions_per_second as usize, MAX_RATE as usize),
            ("concurrent_questions", limits.concurrent_questions, MAX_OPEN),
            ("streams", limits.streams, MAX_OPEN),
        ];
        match numbers.into_iter().find(|(_, number, most)| !(1..=*most).contains(number)) {
            Some((key, _, most)) => Err((format!("subject_limits.{key}"), format!("must be within 1 and {most}"))),
            None => Ok(limits),
        }
    }
}

/// The sections of a configuration file about the door, as written: a server's file holds them at its top.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct DoorSections {
    /// Whom people sign in with.
    pub sign_in: Option<SignInSection>,
    /// What is open to whom.
    pub rights: Vec<RightsRow>,
    /// What one requester may ask.
    pub subject_limits: LimitsSection,
}

/// How callers are let in, as meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoorConfig {
    /// Whom people sign in with; where nobody does, certificates are all that is asked for.
    pub sign_in: Option<SignInConfig>,
    /// What is open to whom of those who sign in.
    pub rights: Vec<RightsRow>,
    /// What one requester may ask.
    pub limits: SubjectLimits,
}

impl DoorConfig {
    /// Nobody signs in.
    pub fn new(limits: SubjectLimits) -> Self {
        Self { sign_in: None, rights: Vec::new(), limits }
    }
}

impl DoorSections {
    /// Checks what was written; relative paths are seen from `folder`.
    ///
    /// # Errors
    /// The first value that cannot be meant: its key, and what is wrong.
    pub fn resolve(self, folder: &Path, default: SubjectLimits) -> Result<DoorConfig, Unfit> {
        if self.sign_in.is_none() && !self.rights.is_empty() {
            let problem = "need a [sign_in] section: without one nobody proves a role or a department";
            return Err(("rights".to_owned(), problem.to_owned()));
        }
        Rights::new(self.rights.clone())?;
        let sign_in = self.sign_in.map(|section| section.resolve(folder)).transpose()?;
        Ok(DoorConfig { sign_in, rights: self.rights, limits: self.subject_limits.resolve(default)? })
    }
}
