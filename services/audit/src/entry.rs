//! What is written down.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use vigil_base::Timestamp;

use crate::line::Digest;

/// One call: who, from where, what, why, and what they were given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Who asked, as it was proved; "anonymous" where nobody had to prove anything.
    pub subject: String,
    /// For whom, where a gateway asks for somebody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// The address the call came from.
    pub peer: String,
    /// `Service/Method`.
    pub method: String,
    /// Why, in the asker's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// The case it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
    /// The request, in the JSON form of its message.
    pub question: serde_json::Value,
    /// What came of it.
    pub outcome: Outcome,
}

/// What the asker was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The name of the gRPC status.
    pub code: String,
    /// Why not, where it is an error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Events, cameras or other items that were handed out.
    #[serde(default)]
    pub items: u64,
    /// What was kept back of them.
    #[serde(default, skip_serializing_if = "Withheld::is_nothing")]
    pub withheld: Withheld,
}

impl Outcome {
    /// An answer that hands out so many items.
    pub fn ok(items: u64) -> Self {
        Self { code: "Ok".to_owned(), detail: None, items, withheld: Withheld::default() }
    }

    /// No answer, and why.
    pub fn failed(code: impl Into<String>, detail: impl Into<String>) -> Self {
        let detail = Some(detail.into()).filter(|detail| !detail.is_empty());
        Self { code: code.into(), detail, items: 0, withheld: Withheld::default() }
    }
}

/// What policies kept back of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withheld {
    /// In words of one: plate, thumbnail, events.
    pub what: BTreeSet<String>,
    /// Which policies, by the beginning of their SHA-256; none where items alone are marked.
    pub policies: BTreeSet<String>,
}

impl Withheld {
    /// Whether nothing was.
    pub fn is_nothing(&self) -> bool {
        self.what.is_empty() && self.policies.is_empty()
    }
}

/// An entry in its place in the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// 1 for the first.
    pub seq: u64,
    /// Hash of the record before it.
    pub prev: Digest,
    /// The writer's clock, UTC, RFC 3339 with milliseconds: for people.
    pub time: String,
    /// The same, microseconds since 1970.
    pub time_us: i64,
    /// What was written down.
    #[serde(flatten)]
    pub entry: Entry,
}

impl Record {
    pub(crate) fn new(seq: u64, prev: Digest, now: Timestamp, entry: Entry) -> Self {
        Self { seq, prev, time: now.to_string(), time_us: now.as_micros(), entry }
    }
}
