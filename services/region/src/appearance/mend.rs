//! What a start makes of the files that it finds.

use std::io;
use std::path::Path;

use super::catalogue::Catalogue;
use super::file::{AppearanceFile, Extent};

/// Bytes that are checked at a start, the newest files first: a second or two. `vigil region reindex` makes all anew.
const CHECKED_AT_START: u64 = 256 * 1024 * 1024;

/// Mends the files that were in use, and looks into the newest of the others; false when one is missing or damaged, which is
/// then no longer in the catalogue.
pub(super) fn check(folder: &Path, catalogue: &mut Catalogue) -> bool {
    let (mut left, before) = (CHECKED_AT_START, catalogue.files.len());
    let methods = catalogue.methods.clone();
    catalogue.files.sort_by_key(|entry| std::cmp::Reverse(entry.time));
    catalogue.files.retain_mut(|entry| {
        let path = folder.join(&*entry.name);
        let extent = if entry.in_use { Extent::EMPTY } else { entry.extent() };
        if !path.exists() {
            // Where nothing was written yet there is nothing to miss, unless it was.
            return entry.in_use && entry.places == 0;
        }
        let sound = AppearanceFile::open(&path, methods[entry.method].values, extent).and_then(|file| {
            if entry.in_use {
                let torn = file.mend()?;
                let mended = file.extent();
                // What is torn may be older than the catalogue: nobody can tell a write that was cut off from damage.
                let lost = torn > 0 || mended.places < entry.places;
                (entry.places, entry.last_end_us, entry.in_use) = (mended.places, mended.last_end_us, false);
                return Ok(!lost);
            }
            let bytes = path.metadata()?.len();
            let Some(rest) = left.checked_sub(bytes) else { return Ok(true) };
            left = rest;
            Ok(file.damaged()? == 0)
        });
        let sound = sound.unwrap_or(false);
        if !sound {
            tracing::warn!(file = %path.display(), "a file of appearances is damaged; they are derived anew");
        }
        sound
    });
    catalogue.files.len() == before
}

/// Removes what the catalogue does not know: a file that was being made, or one that is no longer good.
pub(super) fn remove_unknown(folder: &Path, catalogue: &Catalogue) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let known = name == super::catalogue::CATALOGUE || catalogue.files.iter().any(|file| *name == *file.name);
        if !known {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
