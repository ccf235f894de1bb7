//! Loading a TOML file with errors that name file, line and key, and never show what stands there.

mod fault;

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

pub use fault::Fault;

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
    /// The file is not TOML, or holds a key or value that is not known.
    #[error("configuration file {}, {fault}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        fault: Fault,
    },
    /// What the file says as a whole cannot be.
    #[error("configuration file {}: {problem}", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its key, and what to do.
        problem: String,
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
    /// Something that does not fit, and says itself where.
    pub fn unfit(path: &Path, problem: impl Into<String>) -> Self {
        Self::Unfit { path: path.to_owned(), problem: problem.into() }
    }

    /// A value that does not fit.
    pub fn invalid(path: &Path, key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid { path: path.to_owned(), key: key.into(), problem: problem.into() }
    }
}

/// Reads a configuration as it is written; checking what it means is the caller's next step.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    parse(path, &read(path)?)
}

/// The text of a configuration file.
pub fn read(path: &Path) -> Result<String, ConfigError> {
    let read_error = |source| ConfigError::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(read_error)?;
    let mut text = String::new();
    file.take(MAX_CONFIG_BYTES + 1).read_to_string(&mut text).map_err(read_error)?;
    if text.len() as u64 > MAX_CONFIG_BYTES {
        return Err(ConfigError::TooLarge { path: path.to_owned() });
    }
    Ok(text)
}

/// A configuration as it is written in the text of the file at `path`.
pub fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    parse_text(text).map_err(|fault| ConfigError::Parse { path: path.to_owned(), fault })
}

fn parse_text<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    let document = toml::Deserializer::parse(text).map_err(|error| Fault::of_syntax(text, &error))?;
    serde_path_to_error::deserialize(document).map_err(|error| Fault::of_value(text, error.path(), error.inner()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)] // Only parsed.
    struct Sample {
        listen: std::net::SocketAddr,
        #[serde(default)]
        cameras: Vec<Camera>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)] // Only parsed.
    struct Camera {
        stream: Stream,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "snake_case")]
    #[allow(dead_code)] // Only parsed.
    struct Stream {
        password: String,
        transport: Option<Transport>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Transport {
        Tcp,
        Udp,
    }

    fn fault(text: &str) -> String {
        parse_text::<Sample>(text).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_file_line_and_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge.toml");
        assert!(load::<Sample>(&path).unwrap_err().to_string().contains("edge.toml"));
        std::fs::write(&path, "listen = \"127.0.0.1:1\"\nlisten_on = 3\n").unwrap();
        let shown = crate::error::chain(&load::<Sample>(&path).unwrap_err());
        assert!(shown.ends_with("edge.toml, line 2: listen_on: no such key; did you mean listen?"), "{shown}");
    }

    #[test]
    fn a_key_is_named_with_its_path_and_what_was_meant() {
        let listen = "listen = '127.0.0.1:1'\n";
        for (text, expected) in [
            (
                "[[cameras]]\nstream = { pasword = 'x' }",
                "line 3: cameras[0].stream.pasword: no such key; did you mean password?",
            ),
            ("frobnicate = 1", "line 2: frobnicate: no such key; there are listen, cameras"),
            ("[[cameras]]\nstream = {}", "line 3: cameras[0].stream.password: is missing"),
            (
                "[[cameras]]\nstream = { password = 'x', transport = 'tpc' }",
                "line 3: cameras[0].stream.transport: unknown variant `tpc`, expected `tcp` or `udp`",
            ),
            ("[[cameras]]\nstream = 'x'", "line 3: cameras[0].stream: is a string; a table is expected"),
            ("listen = '127.0.0.1:2'", "line 2: listen: stands twice"),
            ("cameras = 7", "line 2: cameras: is a whole number; a list is expected"),
        ] {
            assert_eq!(fault(&format!("{listen}{text}")), expected);
        }
        assert_eq!(fault(""), "line 1: listen: is missing");
        assert_eq!(fault("listen = 'here'"), "line 1: listen: invalid socket address syntax");
    }

    #[test]
    fn no_value_is_ever_shown() {
        for text in [
            "[[cameras]]\nstream = { pasword = 'hunter2' }",
            "[[cameras]]\nstream = 'rtsp://me:hunter2@cam'",
            "[[cameras]]\nstream = { password = 'hunter2', transport = 'x' }",
            "[[cameras]]\nstream = { password = 'hunter2 }",
            "[[cameras]]\nstream = { password = hunter2 }",
            "[[cameras]]\nstream = { password = \"hunter2\\q\" }",
            "[[cameras]]\nstream = { password = ['hunter2'] }",
            "[[cameras]]\nstream = { password = 'a', password = 'hunter2' }",
        ] {
            let shown = fault(&format!("listen = '127.0.0.1:1'\n{text}"));
            assert!(!shown.contains("hunter2") && shown.starts_with("line 3"), "{shown}");
        }
        let shown = fault("listen = '127.0.0.1:1'\n[[cameras]]\nstream = { password = 20252025 }");
        assert_eq!(shown, "line 3: cameras[0].stream.password: is a whole number; a string is expected");
    }
}
