//! TOML files that a command is given.

use std::path::Path;

use anyhow::Context;

/// Largest file of rules or marks: the most rules that may be, each as long as it can be, stay below it.
const MAX_BYTES: u64 = 1024 * 1024;

/// Reads a file; an error names it.
pub fn read<T: serde::de::DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let shown = path.display();
    let size = std::fs::metadata(path).with_context(|| format!("cannot read {shown}"))?.len();
    anyhow::ensure!(size <= MAX_BYTES, "{shown} has {size} bytes; at most {MAX_BYTES} are read");
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
    toml::from_str(&text).with_context(|| shown.to_string())
}
