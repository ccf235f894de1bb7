//! The policy in a file.

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use vigil_policy::{Policy, PolicyFile};
use vigil_serve::config::{ConfigError, parse, read};

/// Characters of the SHA-256 that tell policies apart, as in `sha256sum policy.toml | cut -c1-12`.
const VERSION: usize = 12;

/// Reads and checks a policy file.
///
/// # Errors
/// The file, with line and key, and what is wrong there.
pub fn load_policy(path: &Path) -> Result<Arc<Policy>, ConfigError> {
    let text = read(path)?;
    let file: PolicyFile = parse(path, &text)?;
    let digest = format!("{:x}", Sha256::digest(text.as_bytes()));
    let policy = Policy::resolve(&file, &digest[..VERSION]);
    policy.map(Arc::new).map_err(|error| ConfigError::invalid(path, error.key, error.problem))
}
