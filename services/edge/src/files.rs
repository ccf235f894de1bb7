//! Small files that are replaced as a whole.

use std::io::Write;
use std::path::Path;

/// Replaces a file: whoever reads it, also after a power cut, finds the old one or the new one. Makes its folder.
///
/// # Errors
/// The folder or the file cannot be written; the old file stays.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all())?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}
