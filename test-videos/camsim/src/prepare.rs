//! From a mount's settings to a clip in memory: out of the cache, or encoded and put there.

use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use vigil_base::Codec;

use crate::cache;
use crate::clip::Clip;
use crate::config::{Coding, MountConfig, Quality};
use crate::error::SimError;
use crate::transcode::{Encoding, encode};

/// Part of the cache key: raise it when encoding changes.
const ENCODER_VERSION: u32 = 2;
/// Bytes read at once when a clip file is hashed.
const READ_CHUNK: usize = 1 << 16;

/// How far the encoding of one mount's clip has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// So many frames are encoded.
    Encoding {
        /// The mount it is for.
        mount: String,
        /// Frames so far.
        frames: usize,
    },
    /// The clip is in memory.
    Ready {
        /// The mount it is for.
        mount: String,
        /// Frames in all.
        frames: usize,
        /// It was encoded before and came from the cache.
        cached: bool,
    },
}

impl Encoding {
    /// What `mount` asks for.
    pub(crate) fn of(mount: &MountConfig) -> Self {
        Self {
            codec: mount.codec,
            size: mount.size,
            fps: mount.fps,
            gop: mount.gop,
            max_length: mount.max_length,
            quality: mount.quality,
            coding: mount.coding,
        }
    }

    /// The clip's digest and everything that changes the outcome.
    fn cache_key(&self, clip_digest: &[u8]) -> String {
        let mut hasher = Sha256::new();
        hasher.update(ENCODER_VERSION.to_le_bytes());
        hasher.update(clip_digest);
        hasher.update([match self.codec {
            Codec::H264 => 0,
            Codec::H265 => 1,
        }]);
        let (width, height) = self.size.map_or((0, 0), |size| (size.width, size.height));
        hasher.update(width.to_le_bytes());
        hasher.update(height.to_le_bytes());
        hasher.update(self.fps.unwrap_or(0.0).to_le_bytes());
        hasher.update(self.gop.as_nanos().to_le_bytes());
        hasher.update(self.max_length.map_or(0, |length| length.as_nanos()).to_le_bytes());
        let (kind, value) = match self.quality {
            Quality::Crf(crf) => (0u8, u32::from(crf)),
            Quality::Kbps(kbps) => (1, kbps),
            // 2 was coded at a constant rate.
            Quality::MeanKbps(kbps) => (3, kbps),
        };
        hasher.update([kind]);
        hasher.update(value.to_le_bytes());
        let Coding { b_frames, interlaced, wide_chroma } = self.coding;
        hasher.update([b_frames, u8::from(interlaced), u8::from(wide_chroma)]);
        hex(&hasher.finalize())
    }
}

/// The mount's clip, from the cache folder where it is there and whole.
pub(crate) fn prepare(
    folder: &Path,
    mount: &MountConfig,
    encoding: &Encoding,
    progress: &dyn Fn(Progress),
) -> Result<Arc<Clip>, SimError> {
    let digest = file_digest(&mount.clip).map_err(|source| SimError::Clip { path: mount.clip.clone(), source })?;
    let path = cached_path(folder, &encoding.cache_key(&digest));
    let (clip, cached) = match cache::load(&path) {
        Ok(clip) => (clip, true),
        Err(reason) => {
            if path.exists() {
                tracing::warn!(file = %path.display(), %reason, "cached clip is encoded again");
            }
            (encode_and_store(folder, &path, mount, encoding, progress)?, false)
        }
    };
    progress(Progress::Ready { mount: mount.name.clone(), frames: clip.access_units.len(), cached });
    Ok(Arc::new(clip))
}

fn encode_and_store(
    folder: &Path,
    path: &Path,
    mount: &MountConfig,
    encoding: &Encoding,
    progress: &dyn Fn(Progress),
) -> Result<Clip, SimError> {
    let on_frame = |frames| progress(Progress::Encoding { mount: mount.name.clone(), frames });
    let clip = encode(&mount.clip, encoding, &on_frame)?;
    cache::store(path, &clip).map_err(|source| SimError::Cache { path: folder.to_owned(), source })?;
    Ok(clip)
}

fn cached_path(folder: &Path, key: &str) -> PathBuf {
    folder.join(format!("{key}.clip"))
}

fn file_digest(path: &Path) -> std::io::Result<[u8; 32]> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; READ_CHUNK];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hasher.finalize().into()),
            read => hasher.update(&chunk[..read]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use vigil_base::Size;

    #[test]
    fn every_setting_that_changes_the_pictures_changes_the_cache_key() {
        let plain = Encoding::of(&MountConfig::new("a", "x"));
        let others = [
            Encoding { codec: Codec::H265, ..plain.clone() },
            Encoding { size: Some(Size::new(64, 64)), ..plain.clone() },
            Encoding { fps: Some(5.0), ..plain.clone() },
            Encoding { gop: Duration::from_secs(1), ..plain.clone() },
            Encoding { max_length: Some(Duration::from_secs(1)), ..plain.clone() },
            Encoding { quality: Quality::Crf(30), ..plain.clone() },
            Encoding { quality: Quality::Kbps(23), ..plain.clone() },
            Encoding { coding: Coding { b_frames: 1, ..Coding::default() }, ..plain.clone() },
            Encoding { coding: Coding { interlaced: true, ..Coding::default() }, ..plain.clone() },
            Encoding { coding: Coding { wide_chroma: true, ..Coding::default() }, ..plain.clone() },
        ];
        let mut keys: Vec<_> = others.iter().chain([&plain]).map(|encoding| encoding.cache_key(b"clip")).collect();
        keys.push(plain.cache_key(b"another clip"));
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }
}
