//! What is wrong with a set of rules, and where.

use std::fmt;

/// A set of rules cannot be used; nothing of it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct RuleError {
    /// Path of the key, as `rules[2].line_crossed.line`.
    pub key: String,
    /// The id of the rule it is in, where it is in one.
    pub rule: Option<String>,
    /// What is wrong and what to do.
    pub problem: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(rule) = &self.rule {
            write!(f, " (rule {rule})")?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// What is wrong with a value, told upwards until its whole path is known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    key: String,
    problem: String,
}

impl Fault {
    /// The value itself is wrong.
    pub(crate) fn new(problem: impl Into<String>) -> Self {
        Self { key: String::new(), problem: problem.into() }
    }

    /// The value at `key` is wrong.
    pub(crate) fn at(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into() }
    }

    /// The same, seen from one level above, where the value is at `key`.
    pub(crate) fn under(self, key: &str) -> Self {
        let dot = if self.key.is_empty() || self.key.starts_with('[') { "" } else { "." };
        Self { key: format!("{key}{dot}{}", self.key), problem: self.problem }
    }

    pub(crate) fn in_rule(self, id: &str) -> RuleError {
        RuleError { key: self.key, rule: Some(id.to_owned()), problem: self.problem }
    }

    pub(crate) fn in_no_rule(self) -> RuleError {
        RuleError { key: self.key, rule: None, problem: self.problem }
    }
}

/// Names for people, at most ten of them.
pub(crate) fn listed<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 10;
    if names.len() == 0 {
        return "none".to_owned();
    }
    let more = names.len().saturating_sub(SHOWN);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    names.take(SHOWN).collect::<Vec<_>>().join(", ") + &rest
}
