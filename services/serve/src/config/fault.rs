//! Where a configuration file is wrong, and how, for people.
//!
//! The TOML reader's own message shows the line at fault, and serde's the value it found. Either may hold a camera's
//! password, so both are told anew here: line, path of the key, what is expected.

use std::fmt;

use serde_path_to_error::Path;

/// How alike two names must be for one to be taken for the other mistyped: Jaro-Winkler, 0..1. Below it suggestions
/// are further from what was meant than a look at the list.
const ALIKE: f64 = 0.8;

/// Where a configuration file is wrong, and how. Never holds a value of the file, but for the name of a choice that there
/// is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// From 1.
    line: usize,
    /// Path of the key, as `cameras[2].stream.user`; empty where there is none.
    key: String,
    problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.problem)
    }
}

impl Fault {
    /// The text is not TOML.
    pub(super) fn of_syntax(text: &str, error: &toml::de::Error) -> Self {
        let (key, problem) = match (error.message(), error.span().and_then(|span| text.get(span))) {
            ("duplicate key", Some(key)) => (key.to_owned(), "stands twice".to_owned()),
            (message, _) => (String::new(), format!("is not TOML: {message}")),
        };
        Self { line: line_of(text, error), key, problem }
    }

    /// A key or value is not what is expected at `path`.
    pub(super) fn of_value(text: &str, path: &Path, error: &toml::de::Error) -> Self {
        let path = path.to_string();
        let path = if path == "." { "" } else { &path };
        let (key, problem) = explain(path, error.message());
        Self { line: line_of(text, error), key, problem }
    }
}

fn line_of(text: &str, error: &toml::de::Error) -> usize {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    1 + before.matches('\n').count()
}

/// serde's words for what is wrong at `path`, as key and problem in ours.
fn explain(path: &str, message: &str) -> (String, String) {
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let (unknown, known) = rest.split_once(", ").unwrap_or((rest, ""));
        let unknown = unknown.trim_matches('`');
        return (child(path, unknown), no_such_key(unknown, &quoted(known)));
    }
    if let Some(missing) = message.strip_prefix("missing field ") {
        return (child(path, missing.trim_matches('`')), "is missing".to_owned());
    }
    let found = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    // The value itself may hold ", expected ": what is expected stands last.
    if let Some((found, expected)) = found.and_then(|text| text.rsplit_once(", expected ")) {
        let kind = found.split(['"', '`']).next().unwrap_or_default().trim_end();
        return (
            path.to_owned(),
            format!("is {}; {} is expected", with_article(plain(kind)), with_article(plain(expected))),
        );
    }
    (path.to_owned(), message.to_owned())
}

/// `path.name`, unless the path ends with that name already.
fn child(path: &str, name: &str) -> String {
    match path.strip_suffix(name) {
        Some(before) if before.is_empty() || before.ends_with('.') => path.to_owned(),
        _ if path.is_empty() => name.to_owned(),
        _ => format!("{path}.{name}"),
    }
}

fn no_such_key(unknown: &str, known: &[&str]) -> String {
    let alike = |name: &&str| strsim::jaro_winkler(unknown, name);
    let nearest = known.iter().copied().max_by(|a, b| alike(a).total_cmp(&alike(b)));
    match nearest {
        Some(nearest) if alike(&nearest) >= ALIKE => format!("no such key; did you mean {nearest}?"),
        Some(_) => format!("no such key; there are {}", known.join(", ")),
        None => "no such key".to_owned(),
    }
}

/// The names between backquotes: "expected one of `a`, `b`".
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The name of a type as people know it.
fn plain(noun: &str) -> &str {
    match noun {
        "f32" | "f64" | "floating point" => "number",
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" | "integer" => "whole number",
        "sequence" | "a sequence" => "list",
        "map" | "a map" => "table",
        "a duration" => "duration such as 5s",
        _ if noun.starts_with("struct ") => "table",
        _ => noun,
    }
}

fn with_article(noun: &str) -> String {
    let article = match noun.chars().next() {
        _ if noun.starts_with("a ") || noun.starts_with("an ") || noun.starts_with("one of ") => "",
        Some('a' | 'e' | 'i' | 'o' | 'u') => "an ",
        _ => "a ",
    };
    format!("{article}{noun}")
}
