//! Where the product keeps what it fetched and built.

use std::path::PathBuf;

use anyhow::ensure;

/// `$VIGIL_CACHE`, else `$XDG_CACHE_HOME/vigil`, else `~/.cache/vigil`: filled by `scripts/setup`.
pub fn cache() -> PathBuf {
    if let Some(cache) = std::env::var_os("VIGIL_CACHE") {
        return cache.into();
    }
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || {
        std::env::var_os("HOME").map_or_else(|| PathBuf::from("/var/cache"), |home| PathBuf::from(home).join(".cache"))
    };
    base.unwrap_or_else(home).join("vigil")
}

/// A test clip by its file name.
pub fn clip(name: &str) -> anyhow::Result<PathBuf> {
    let path = cache().join("clips").join(name);
    ensure!(path.is_file(), "clip {} is not there: run scripts/setup", path.display());
    Ok(path)
}
