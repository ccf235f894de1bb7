//! Where a session is kept: one file of the user's state folder that nobody else may read.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use vigil_base::Timestamp;

/// Somebody who is signed in. `Debug` is not there: it would show tokens.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Where.
    pub issuer: String,
    /// As which program.
    pub client: String,
    /// Who vouches for the issuer's server, where that is not the machine's authorities.
    pub ca_file: Option<PathBuf>,
    /// What is shown to servers.
    pub access_token: String,
    /// What a new one is had for.
    pub refresh_token: Option<String>,
    /// When the access token ends, microseconds since 1970; absent where the issuer does not say.
    pub ends_at_us: Option<i64>,
}

impl Session {
    /// When the access token ends, where the issuer says so.
    pub fn ends_at(&self) -> Option<Timestamp> {
        self.ends_at_us.map(Timestamp::from_micros)
    }
}

/// The state folder.
pub struct Store(PathBuf);

impl Store {
    /// `$XDG_STATE_HOME/vigil`, else `~/.local/state/vigil`.
    pub fn of_user() -> Self {
        let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/".into())).join(".local/state");
        Self(std::env::var_os("XDG_STATE_HOME").map_or_else(home, PathBuf::from).join("vigil"))
    }

    fn file(&self) -> PathBuf {
        self.0.join("session.json")
    }

    /// The session, if there is one.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn load(&self) -> anyhow::Result<Option<Session>> {
        let path = self.file();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read the session {}", path.display())),
        };
        let session = serde_json::from_slice(&text);
        session.map(Some).map_err(|_| anyhow::anyhow!("{} is no session: vigil sign-out removes it", path.display()))
    }

    /// Keeps a session in place of the one before.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn save(&self, session: &Session) -> anyhow::Result<()> {
        self.make()?;
        let cannot = || format!("cannot keep the session in {}", self.0.display());
        // Such files are readable by their owner alone.
        let mut file = tempfile::NamedTempFile::new_in(&self.0).with_context(cannot)?;
        file.write_all(&serde_json::to_vec_pretty(session)?).with_context(cannot)?;
        file.as_file().sync_all().with_context(cannot)?;
        file.persist(self.file()).with_context(cannot)?;
        Ok(())
    }

    /// Removes the session; whether there was one.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self) -> anyhow::Result<bool> {
        match fs::remove_file(self.file()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).with_context(|| format!("cannot remove {}", self.file().display())),
        }
    }

    /// Keeps other processes from renewing the session until the file is dropped.
    pub(super) fn lock(&self) -> anyhow::Result<File> {
        self.make()?;
        let path = self.0.join("session.lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        fs4::FileExt::lock(&file).with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(file)
    }

    fn make(&self) -> anyhow::Result<()> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        made.with_context(|| format!("cannot make {}", self.0.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_session_is_kept_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store(folder.path().join("vigil"));
        assert!(store.load().unwrap().is_none() && !store.remove().unwrap());
        let session = Session {
            issuer: "https://id.example".into(),
            client: "vigil-cli".into(),
            ca_file: None,
            access_token: "a".into(),
            refresh_token: Some("r".into()),
            ends_at_us: Some(7),
        };
        store.save(&session).unwrap();
        let mode = fs::metadata(store.file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(store.load().unwrap().unwrap().refresh_token, session.refresh_token);
        assert!(store.remove().unwrap() && store.load().unwrap().is_none());
    }
}
