//! Encoded clips on disk, so that only the first start waits for the encoder.
//!
//! One file per clip and set of encoding parameters, named by their SHA-256. Little endian:
//!
//! ```text
//! magic 8 | codec u8 | width u32 | height u32 | frames u32 | per u32 | count u32
//! count times: keyframe u8 | taken before u8 | length u32
//! all access units, one after the other
//! SHA-256 of everything before, 32
//! ```
//!
//! Written to a temporary file in the same folder and renamed, so that a reader sees a whole file or none. A file that was
//! cut or altered fails its checksum and is made anew; it is never half used.

use std::io::{BufWriter, Write};
use std::path::Path;

use bytes::{Buf, Bytes};
use sha2::{Digest, Sha256};
use vigil_base::{Codec, Size};

use crate::clip::{AccessUnit, Clip, FrameRate};

/// Ends with the format's version: another version is another file.
const MAGIC: &[u8; 8] = b"VGLCLIP2";
const HEADER_LEN: usize = 8 + 1 + 5 * 4;
const UNIT_HEADER_LEN: usize = 1 + 1 + 4;
const CHECKSUM_LEN: usize = 32;

/// Why a cached clip is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    #[error("the file cannot be read")]
    Read(#[from] std::io::Error),
    #[error("the file is damaged: {0}")]
    Damaged(&'static str),
}

/// Reads a clip; its access units share the file's one buffer.
pub(crate) fn load(path: &Path) -> Result<Clip, CacheError> {
    decode(&Bytes::from(std::fs::read(path)?))
}

/// Writes a clip, whole or not at all.
pub(crate) fn store(path: &Path, clip: &Clip) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    write_with_checksum(&mut BufWriter::new(file.as_file_mut()), clip)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Passes bytes on and hashes them.
struct Hashing<W> {
    inner: W,
    hasher: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

fn write_with_checksum(out: &mut impl Write, clip: &Clip) -> std::io::Result<()> {
    let mut hashing = Hashing { inner: &mut *out, hasher: Sha256::new() };
    write_clip(&mut hashing, clip)?;
    let checksum = hashing.hasher.finalize();
    out.write_all(&checksum)?;
    out.flush()
}

fn write_clip(out: &mut impl Write, clip: &Clip) -> std::io::Result<()> {
    out.write_all(MAGIC)?;
    out.write_all(&[match clip.codec {
        Codec::H264 => 0,
        Codec::H265 => 1,
    }])?;
    let count = u32::try_from(clip.access_units.len()).map_err(std::io::Error::other)?;
    for number in [clip.size.width, clip.size.height, clip.rate.frames, clip.rate.per, count] {
        out.write_all(&number.to_le_bytes())?;
    }
    for unit in &clip.access_units {
        let length = u32::try_from(unit.data.len()).map_err(std::io::Error::other)?;
        out.write_all(&[u8::from(unit.keyframe), unit.taken_before])?;
        out.write_all(&length.to_le_bytes())?;
    }
    clip.access_units.iter().try_for_each(|unit| out.write_all(&unit.data))
}

fn decode(file: &Bytes) -> Result<Clip, CacheError> {
    let body_len = file.len().checked_sub(CHECKSUM_LEN).ok_or(CacheError::Damaged("too short"))?;
    if Sha256::digest(&file[..body_len])[..] != file[body_len..] {
        return Err(CacheError::Damaged("its checksum is wrong"));
    }
    let mut body = file.slice(..body_len);
    if body.len() < HEADER_LEN || &body.split_to(MAGIC.len())[..] != MAGIC {
        return Err(CacheError::Damaged("not a clip of this version"));
    }
    let codec = match body.get_u8() {
        0 => Codec::H264,
        1 => Codec::H265,
        _ => return Err(CacheError::Damaged("unknown codec")),
    };
    let size = Size::new(body.get_u32_le(), body.get_u32_le());
    let rate = FrameRate { frames: body.get_u32_le(), per: body.get_u32_le() };
    let count = body.get_u32_le() as usize;
    let access_units = split_units(&mut body, count).ok_or(CacheError::Damaged("its lengths do not add up"))?;
    if rate.frames == 0 || rate.per == 0 || !access_units.first().is_some_and(|first| first.keyframe) {
        return Err(CacheError::Damaged("not a clip that can be looped"));
    }
    Ok(Clip { codec, size, rate, access_units })
}

fn split_units(body: &mut Bytes, count: usize) -> Option<Vec<AccessUnit>> {
    let mut index = body.split_to_checked(count.checked_mul(UNIT_HEADER_LEN)?)?;
    let mut units = Vec::with_capacity(count);
    for _ in 0..count {
        let (keyframe, taken_before, length) = (index.get_u8() == 1, index.get_u8(), index.get_u32_le() as usize);
        units.push(AccessUnit { keyframe, taken_before, data: body.split_to_checked(length)? });
    }
    body.is_empty().then_some(units)
}

/// `Bytes::split_to`, which panics, as a question.
trait SplitChecked: Sized {
    fn split_to_checked(&mut self, at: usize) -> Option<Self>;
}

impl SplitChecked for Bytes {
    fn split_to_checked(&mut self, at: usize) -> Option<Self> {
        (at <= self.len()).then(|| self.split_to(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unit(keyframe: bool, data: Vec<u8>) -> AccessUnit {
        AccessUnit { keyframe, taken_before: data.len() as u8 % 4, data: data.into() }
    }

    fn clip(units: Vec<(bool, Vec<u8>)>) -> Clip {
        let mut access_units: Vec<_> = units.into_iter().map(|(keyframe, data)| unit(keyframe, data)).collect();
        access_units[0].keyframe = true;
        Clip { codec: Codec::H265, size: Size::new(64, 48), rate: FrameRate { frames: 25, per: 2 }, access_units }
    }

    fn any_units() -> impl Strategy<Value = Vec<(bool, Vec<u8>)>> {
        prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)), 1..20)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_was_stored_is_loaded(units in any_units()) {
            let folder = tempfile::tempdir().unwrap();
            let (path, clip) = (folder.path().join("clip"), clip(units));
            store(&path, &clip).unwrap();
            prop_assert_eq!(load(&path).unwrap(), clip);
        }

        #[test]
        fn a_cut_or_altered_file_is_refused(units in any_units(), at in any::<prop::sample::Index>(), cut: bool) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("clip");
            store(&path, &clip(units)).unwrap();
            let mut bytes = std::fs::read(&path).unwrap();
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= 0x10 }
            std::fs::write(&path, bytes).unwrap();
            prop_assert!(matches!(load(&path), Err(CacheError::Damaged(_))));
        }
    }
}
