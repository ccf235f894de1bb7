//! Names and patterns of names.

use std::collections::HashSet;

use regex::Regex;

use crate::file::GroupFile;
use crate::policy::Fault;

/// Most names of cameras, edges or subjects in one list: a large city's cameras.
pub(crate) const MAX_NAMES: usize = 10_000;
/// Of these, with a `*` or `?`: each is a part of one expression.
const MAX_WILDCARDS: usize = 500;
/// Longest name or pattern, in bytes: above the longest subject.
const MAX_PATTERN: usize = 300;

/// Names, some of them with `*` and `?`.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    exact: HashSet<String>,
    /// All those with wildcards, as one.
    wild: Option<Regex>,
}

impl Patterns {
    /// The names of a list; `key` is where it stands.
    pub(crate) fn new(key: &str, names: &[String]) -> Result<Self, Fault> {
        if names.len() > MAX_NAMES {
            return Err(Fault::new(key, format!("has {} entries; at most {MAX_NAMES} are taken", names.len())));
        }
        if let Some(at) = names.iter().position(|name| name.is_empty() || name.len() > MAX_PATTERN) {
            let problem = format!("is empty, or longer than {MAX_PATTERN} bytes");
            return Err(Fault::new(format!("{key}[{at}]"), problem));
        }
        let (wild, exact): (Vec<&String>, Vec<&String>) = names.iter().partition(|name| name.contains(['*', '?']));
        if wild.len() > MAX_WILDCARDS {
            let problem = format!("has {} entries with * or ?; at most {MAX_WILDCARDS} are taken", wild.len());
            return Err(Fault::new(key, problem));
        }
        Ok(Self { exact: exact.into_iter().cloned().collect(), wild: expression(key, &wild)? })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wild.is_none()
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        self.exact.contains(name) || self.wild.as_ref().is_some_and(|wild| wild.is_match(name))
    }
}

fn expression(key: &str, wild: &[&String]) -> Result<Option<Regex>, Fault> {
    if wild.is_empty() {
        return Ok(None);
    }
    // Names hold no line breaks, so that `.` is any character.
    let parts = wild.iter().map(|pattern| regex::escape(pattern).replace(r"\*", ".*").replace(r"\?", "."));
    let whole = format!("^(?:{})$", parts.collect::<Vec<_>>().join("|"));
    Regex::new(&whole).map(Some).map_err(|_| Fault::new(key, "has patterns that are too large together: use fewer"))
}

/// Cameras that rules name together.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) cameras: Patterns,
    pub(crate) edges: Patterns,
}

impl Group {
    pub(crate) fn resolve(raw: &GroupFile) -> Result<Self, Fault> {
        let (cameras, edges) = (Patterns::new("cameras", &raw.cameras)?, Patterns::new("edges", &raw.edges)?);
        if cameras.is_empty() && edges.is_empty() {
            return Err(Fault::new("cameras", "is empty, and so is edges: the group holds no camera"));
        }
        Ok(Self { cameras, edges })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(names: &[&str]) -> Patterns {
        Patterns::new("cameras", &names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_star_stands_for_any_characters_and_a_question_mark_for_one() {
        let these = patterns(&["gate", "station-*", "yard-?", "a.b*"]);
        for name in ["gate", "station-", "station-4-north", "yard-1", "a.b", "a.bc"] {
            assert!(these.matches(name), "{name}");
        }
        for name in ["gate-1", "Gate", "my-station-4", "yard-12", "yard-", "axb", ""] {
            assert!(!these.matches(name), "{name}");
        }
    }

    #[test]
    fn lists_are_bounded() {
        let many = |name: &str, count: usize| Patterns::new("edges", &vec![name.to_owned(); count]);
        assert!(many("x", MAX_NAMES + 1).is_err() && many("x*", MAX_WILDCARDS + 1).is_err());
        assert!(many("", 1).is_err() && many(&"x".repeat(MAX_PATTERN + 1), 1).is_err());
        assert!(many("x", MAX_NAMES).is_ok() && many(&"y*".repeat(20), MAX_WILDCARDS).is_ok());
    }
}
