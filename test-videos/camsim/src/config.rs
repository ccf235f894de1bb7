//! What to serve, and how.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use vigil_base::{CameraId, Codec, Secret, Size};

use crate::SimError;

/// Distance between keyframes when none is given: what street cameras are usually set to.
const DEFAULT_GOP: Duration = Duration::from_secs(2);
/// Distance between sender reports when none is given. Real cameras take one to five seconds.
const DEFAULT_REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Longest clip, in access units: an hour at 30 per second. All of it stays in memory.
pub(crate) const MAX_ACCESS_UNITS: usize = 108_000;
/// Largest clip in bytes, all access units together. All of it stays in memory.
pub(crate) const MAX_CLIP_BYTES: usize = 1 << 30;
/// Frame rates beyond this are no camera's.
const MAX_FPS: f64 = 240.0;
/// Longest picture side: the largest that common cameras send.
const MAX_SIDE: u32 = 8192;
/// Most B frames in a row: the most that x264 and x265 make.
const MAX_B_FRAMES: u8 = 16;

/// A simulator: where it listens and what it serves.
#[derive(Debug, Clone)]
pub struct SimConfig {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Asked of every client when set: by Digest (RFC 2617), and who comes with Basic is let in too.
    pub credentials: Option<Credentials>,
    /// The cameras.
    pub mounts: Vec<MountConfig>,
    /// Folder for encoded clips; made when absent. Files there can be deleted at any time.
    pub cache: PathBuf,
}

/// A user and a password.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// User name.
    pub user: String,
    /// Password.
    pub password: Secret,
}

/// One simulated camera.
#[derive(Debug, Clone)]
pub struct MountConfig {
    /// Path on the server and name in commands; fit to be a camera id.
    pub name: String,
    /// The clip, any file GStreamer can decode.
    pub clip: PathBuf,
    /// What it is encoded to.
    pub codec: Codec,
    /// Picture size; the clip's own when absent.
    pub size: Option<Size>,
    /// Frames per second; the clip's own when absent.
    pub fps: Option<f64>,
    /// Distance between keyframes.
    pub gop: Duration,
    /// Where in the clip to start, so that several cameras of one clip differ.
    pub start_offset: Duration,
    /// Plays the clip from its beginning each time somebody comes and nobody else watches, so that picture i of the stream
    /// is picture i of the clip: for measurements against a clip's truth. Cameras do not wait, so the default is no.
    pub starts_on_play: bool,
    /// Uses only this much of the clip's beginning.
    pub max_length: Option<Duration>,
    /// How good the pictures are.
    pub quality: Quality,
    /// How they are coded, where it is not as street cameras usually do.
    pub coding: Coding,
    /// Distance between RTCP sender reports, which carry the NTP time; `None` is a camera that sends none.
    pub sender_reports: Option<Duration>,
    /// Sends a tone (G.711) beside the pictures, as many cameras send sound.
    pub sound: bool,
}

/// How good the encoded pictures are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quality {
    /// Constant rate factor of x264 and x265: 0 is best, 50 worst, 23 usual.
    Crf(u8),
    /// Constant bit rate, kbit/s.
    Kbps(u32),
    /// Mean bit rate, kbit/s, from which single seconds may leave far.
    MeanKbps(u32),
}

/// What a coding standard allows and few cameras do. The default is what most do: no B frames, progressive, 4:2:0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Coding {
    /// B frames between two others: pictures are sent in another order than they are shown in.
    pub b_frames: u8,
    /// Two fields to a picture (H.264 only).
    pub interlaced: bool,
    /// Colour at half the width and full height (4:2:2), instead of half of both (4:2:0).
    pub wide_chroma: bool,
}

impl SimConfig {
    /// Listens on a free port of the loopback address, asks no password, serves nothing yet.
    pub fn new(cache: impl Into<PathBuf>) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            credentials: None,
            mounts: Vec::new(),
            cache: cache.into(),
        }
    }

    /// Adds a camera.
    #[must_use]
    pub fn with_mount(mut self, mount: MountConfig) -> Self {
        self.mounts.push(mount);
        self
    }

    /// Errors name the mount and the value.
    pub(crate) fn check(&self) -> Result<(), SimError> {
        for (index, mount) in self.mounts.iter().enumerate() {
            mount.check()?;
            if self.mounts[..index].iter().any(|other| other.name == mount.name) {
                return Err(mount.invalid("the name is given twice"));
            }
        }
        Ok(())
    }
}

impl MountConfig {
    /// The clip as H.264 in its own size and rate, a keyframe every 2 seconds, a sender report every second.
    pub fn new(name: impl Into<String>, clip: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            clip: clip.into(),
            codec: Codec::H264,
            size: None,
            fps: None,
            gop: DEFAULT_GOP,
            start_offset: Duration::ZERO,
            starts_on_play: false,
            max_length: None,
            quality: Quality::Crf(23),
            coding: Coding::default(),
            sender_reports: Some(DEFAULT_REPORT_INTERVAL),
            sound: false,
        }
    }

    fn check(&self) -> Result<(), SimError> {
        CameraId::new(&self.name).map_err(|source| SimError::MountName { source })?;
        if let Some(size) = self.size {
            check_size(size).map_err(|what| self.invalid(&what))?;
        }
        if let Some(fps) = self.fps
            && !(fps > 0.0 && fps <= MAX_FPS)
        {
            return Err(self.invalid(&format!("{fps} frames per second is not within 0 and {MAX_FPS}")));
        }
        if self.gop.is_zero() {
            return Err(self.invalid("the distance between keyframes must be above 0 s"));
        }
        if let Quality::Crf(crf) = self.quality
            && crf > 50
        {
            return Err(self.invalid(&format!("a rate factor of {crf} is not within 0 and 50")));
        }
        if self.coding.b_frames > MAX_B_FRAMES {
            return Err(self.invalid(&format!("{} B frames are above {MAX_B_FRAMES}", self.coding.b_frames)));
        }
        if self.coding.interlaced && self.codec == Codec::H265 {
            return Err(self.invalid("H.265 is not made interlaced"));
        }
        Ok(())
    }

    fn invalid(&self, what: &str) -> SimError {
        SimError::Mount { mount: self.name.clone(), what: what.to_owned() }
    }
}

/// Encoders of 4:2:0 pictures want even sides.
pub(crate) fn check_size(size: Size) -> Result<(), String> {
    let fits = |side: u32| (16..=MAX_SIDE).contains(&side) && side.is_multiple_of(2);
    if fits(size.width) && fits(size.height) {
        return Ok(());
    }
    Err(format!("size {size}: width and height must be even and within 16 and {MAX_SIDE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_mount_is_refused_with_its_name_and_the_value() {
        let good = || MountConfig::new("cam1", "clip.avi");
        let bad = [
            (MountConfig { fps: Some(0.0), ..good() }, "0 frames per second"),
            (MountConfig { fps: Some(f64::NAN), ..good() }, "NaN frames per second"),
            (MountConfig { size: Some(Size::new(641, 480)), ..good() }, "641x480"),
            (MountConfig { gop: Duration::ZERO, ..good() }, "keyframes"),
            (MountConfig { quality: Quality::Crf(51), ..good() }, "51"),
            (MountConfig { coding: Coding { b_frames: 17, ..Coding::default() }, ..good() }, "17 B frames"),
            (
                MountConfig { codec: Codec::H265, coding: Coding { interlaced: true, ..Coding::default() }, ..good() },
                "interlaced",
            ),
        ];
        for (mount, expected) in bad {
            let error = SimConfig::new("cache").with_mount(mount).check().unwrap_err().to_string();
            assert!(error.contains("cam1") && error.contains(expected), "{error}");
        }
        assert!(SimConfig::new("cache").with_mount(good()).check().is_ok());
    }

    #[test]
    fn two_mounts_of_one_name_are_refused() {
        let config =
            SimConfig::new("cache").with_mount(MountConfig::new("a", "x")).with_mount(MountConfig::new("a", "y"));
        assert!(config.check().unwrap_err().to_string().contains("twice"));
    }
}
