//! Loading a TOML file with errors that name file, line and key.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Largest configuration file that is read.
const MAX_CONFIG_BYTES: u64 = 4 * 1024 * 1024;

/// A configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is too large to be a configuration.
    #[error("configuration file {} is larger than {MAX_CONFIG_BYTES} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file is not TOML, or holds a key or value that is not known; the source shows the line.
    #[error("configuration file {}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The values do not fit together.
    #[error("configuration file {}: {key}: {problem}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Path of the key, as `cameras[2].address`.
        key: String,
        /// What is wrong and what to do.
        problem: String,
    },
}

impl ConfigError {
    /// A value that does not fit.
    pub fn invalid(path: &Path, key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid { path: path.to_owned(), key: key.into(), problem: problem.into() }
    }
}

/// Reads a configuration as it is written; checking what it means is the caller's next step.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let read_error = |source| ConfigError::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(read_error)?;
    let mut text = String::new();
    file.take(MAX_CONFIG_BYTES + 1).read_to_string(&mut text).map_err(read_error)?;
    if text.len() as u64 > MAX_CONFIG_BYTES {
        return Err(ConfigError::TooLarge { path: path.to_owned() });
    }
    toml::from_str(&text).map_err(|source| ConfigError::Parse { path: path.to_owned(), source: Box::new(source) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)] // Only parsed.
    struct Sample {
        listen: std::net::SocketAddr,
    }

    #[test]
    fn errors_name_file_line_and_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge.toml");
        assert!(load::<Sample>(&path).unwrap_err().to_string().contains("edge.toml"));
        std::fs::write(&path, "listen = \"127.0.0.1:1\"\nlisten_on = 3\n").unwrap();
        let shown = crate::error::chain(&load::<Sample>(&path).unwrap_err());
        assert!(shown.contains("edge.toml") && shown.contains("line 2") && shown.contains("listen_on"), "{shown}");
    }
}
