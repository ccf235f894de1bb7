//! Small files that are written as a whole, and read with a bound.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Largest file that is read: hundreds of certificates fit in.
const MAX_BYTES: u64 = 1024 * 1024;

/// Whom a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    /// Its owner alone: private keys, tokens.
    Owner,
    /// Everybody on the machine: certificates.
    All,
}

impl Readers {
    fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::All => 0o644,
        }
    }
}

/// A file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}", path.display())]
pub struct FileError {
    doing: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: io::Error,
}

impl FileError {
    pub(crate) fn new(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self { doing, path: path.to_owned(), source }
    }

    /// Whether the file is not there.
    pub fn is_missing(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }
}

/// The whole of a small file.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(io::Error::other(format!("it is larger than {MAX_BYTES} bytes")));
        }
        Ok(bytes)
    };
    read().map_err(|source| FileError::new("read", path, source))
}

/// Writes a new file; one that is there already stays and is an error.
pub fn create(path: &Path, bytes: &[u8], readers: Readers) -> Result<(), FileError> {
    let create = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(readers.mode()).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        sync_folder(path)
    };
    create().map_err(|source| FileError::new("write", path, source))
}

/// Replaces a file: whoever reads it, also after a power cut, finds the old one or the new one.
pub fn replace(path: &Path, bytes: &[u8], readers: Readers) -> Result<(), FileError> {
    let replace = || {
        let mut file = tempfile::NamedTempFile::new_in(folder(path))?;
        file.write_all(bytes)?;
        file.as_file().set_permissions(fs::Permissions::from_mode(readers.mode()))?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        sync_folder(path)
    };
    replace().map_err(|source| FileError::new("write", path, source))
}

/// Makes a folder that is its owner's alone, where there is none.
pub fn make_folder(path: &Path) -> Result<(), FileError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| FileError::new("make the folder", path, source))
}

/// Held until the file is closed, which the end of the process does too.
pub(crate) fn lock(path: &Path) -> Result<File, FileError> {
    let lock = || {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        file.lock()?;
        Ok(file)
    };
    lock().map_err(|source| FileError::new("lock", path, source))
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A name is durable once its folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}
