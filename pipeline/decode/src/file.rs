//! A video file as frames, each exactly once and in order.
//!
//! `filesrc ! decodebin ! videoconvert ! appsink`, software decoders only and one thread each, so that the same file gives
//! the same frames everywhere. The converter passes I420 through untouched, which is what nearly every file decodes to.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gst::prelude::*;
use gst_video::VideoInfo;
use gstreamer as gst;
use gstreamer_app::AppSink;
use gstreamer_video as gst_video;
use vigil_base::{Frame, Size, TimeSource, Timestamp};

use crate::damage::{DamageCount, FileDamage};
use crate::opening::{Built, Opening, build};
use crate::patience::{POLL, STALL_LIMIT, clock_time, error_on};
use crate::picture::{self, Label};
use crate::{DecodeError, MAX_SIDE, start_gstreamer};

/// A file counts as truncated when it ends this share, and [`TRUNCATION_SLACK`], before its declared length: containers
/// round lengths, and an audio track may outlast the picture.
const TRUNCATION_SHARE: f64 = 0.05;
const TRUNCATION_SLACK: Duration = Duration::from_secs(1);
/// "RIFF", the length of all that follows, "AVI " (Microsoft, Multimedia Programming Interface and Data Specifications 1.0).
const RIFF_HEAD: usize = 12;

/// Frames per second as a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRate {
    /// Frames in `denominator` seconds.
    pub numerator: u32,
    /// Seconds; never zero.
    pub denominator: u32,
}

impl FrameRate {
    /// Frames per second.
    pub fn per_second(self) -> f64 {
        f64::from(self.numerator) / f64::from(self.denominator)
    }

    /// When frame `index` is due, counted from frame 0.
    fn time_of(self, index: u64) -> Duration {
        let nanos = u128::from(index) * 1_000_000_000 * u128::from(self.denominator) / u128::from(self.numerator);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// What a file says of itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FileInfo {
    /// Size of its first frame.
    pub size: Size,
    /// Its nominal rate; none where it varies or is not told.
    pub frame_rate: Option<FrameRate>,
    /// Its declared length; none where it is not told.
    pub duration: Option<Duration>,
}

/// Reads a video file frame by frame.
pub struct FileDecoder {
    path: PathBuf,
    start: Timestamp,
    info: FileInfo,
    pipeline: gst::Pipeline,
    sink: AppSink,
    frames: u64,
    end_of_last: Duration,
    missing_bytes: u64,
    damage: Arc<DamageCount>,
    finished: bool,
}

impl FileDecoder {
    /// Opens `path`; frame times count from `start`, the capture time of the first frame.
    pub fn open(path: &Path, start: Timestamp) -> Result<Self, DecodeError> {
        let missing_bytes = check_file(path)?;
        start_gstreamer()?;
        let Built { pipeline, sink, no_video, damage } = build(path)?;
        let opened = Opening { path, pipeline: &pipeline, no_video: &no_video }.wait();
        let info = opened.and_then(|()| file_info(path, &pipeline, &sink));
        match info {
            Ok(info) => Ok(Self {
                path: path.to_owned(),
                start,
                info,
                pipeline,
                sink,
                frames: 0,
                end_of_last: Duration::ZERO,
                missing_bytes,
                damage,
                finished: false,
            }),
            Err(err) => {
                stop(&pipeline);
                Err(err)
            }
        }
    }

    /// What the file says of itself.
    pub fn info(&self) -> FileInfo {
        self.info
    }

    /// What was damaged of what was read so far.
    pub fn damage(&self) -> FileDamage {
        self.damage.so_far(self.finished)
    }

    /// The next frame, whose `sequence` is its index in the file, from 0; none at the end.
    ///
    /// [`DecodeError::Truncated`] comes after the last frame of a file that is cut short.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, DecodeError> {
        if self.finished {
            return Ok(None);
        }
        let next = self.pull();
        self.finished = !matches!(next, Ok(Some(_)));
        next
    }

    fn pull(&mut self) -> Result<Option<Frame>, DecodeError> {
        let mut waited = Duration::ZERO;
        loop {
            if let Some(sample) = self.sink.try_pull_sample(clock_time(POLL)) {
                return self.frame(&sample).map(Some);
            }
            if let Some(reason) = self.error() {
                return Err(DecodeError::Damaged { path: self.path.clone(), frames: self.frames, reason });
            }
            if self.sink.is_eos() {
                return self.end().map(|()| None);
            }
            waited += POLL;
            if waited >= STALL_LIMIT {
                return Err(DecodeError::Stalled { path: self.path.clone(), frames: self.frames, waited });
            }
        }
    }

    fn frame(&mut self, sample: &gst::Sample) -> Result<Frame, DecodeError> {
        let damaged = |reason: &str| DecodeError::Damaged {
            path: self.path.clone(),
            frames: self.frames,
            reason: reason.to_owned(),
        };
        let caps = sample.caps().ok_or_else(|| damaged("a frame without a format"))?;
        let video = VideoInfo::from_caps(caps).map_err(|_| damaged("a frame without a format"))?;
        check_size(&self.path, &video)?;
        let buffer = sample.buffer_owned().ok_or_else(|| damaged("an empty frame"))?;
        let at = self.time_of(sample, &buffer);
        let duration = buffer.duration().map_or(Duration::ZERO, Duration::from);
        let label =
            Label { sequence: self.frames, session: 0, capture_time: self.start + at, time_source: TimeSource::File };
        let frame = picture::frame(buffer, &video, label).ok_or_else(|| damaged("a frame of the wrong size"))?;
        self.frames += 1;
        self.end_of_last = at + duration;
        Ok(frame)
    }

    /// Position of a frame: its running time, which starts at 0 whatever the container's own times do.
    fn time_of(&self, sample: &gst::Sample, buffer: &gst::Buffer) -> Duration {
        let segment = sample.segment().and_then(|segment| segment.downcast_ref::<gst::ClockTime>());
        let running = segment.zip(buffer.pts()).and_then(|(segment, pts)| segment.to_running_time(pts));
        match (running, self.info.frame_rate) {
            (Some(time), _) => time.into(),
            (None, Some(rate)) => rate.time_of(self.frames),
            (None, None) => self.end_of_last,
        }
    }

    fn end(&self) -> Result<(), DecodeError> {
        let truncated =
            |reason: String| Err(DecodeError::Truncated { path: self.path.clone(), frames: self.frames, reason });
        if self.missing_bytes > 0 {
            return truncated(format!("it is {} bytes shorter than its header declares", self.missing_bytes));
        }
        let declared = self.info.duration.unwrap_or_default();
        let slack = declared.mul_f64(TRUNCATION_SHARE).max(TRUNCATION_SLACK);
        if self.end_of_last + slack < declared {
            return truncated(format!("it declares {declared:.1?} and ends after {:.1?}", self.end_of_last));
        }
        Ok(())
    }

    fn error(&self) -> Option<String> {
        error_on(&self.pipeline.bus()?)
    }
}

impl Iterator for FileDecoder {
    type Item = Result<Frame, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_frame().transpose()
    }
}

impl Drop for FileDecoder {
    fn drop(&mut self) {
        stop(&self.pipeline);
    }
}

impl std::fmt::Debug for FileDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileDecoder").field("path", &self.path).field("frames", &self.frames).finish_non_exhaustive()
    }
}

/// Refuses what cannot be a video file; returns how many bytes an AVI file is shorter than it declares.
fn check_file(path: &Path) -> Result<u64, DecodeError> {
    let failed = |source| DecodeError::Open { path: path.to_owned(), source };
    // Before it is opened: opening a named pipe waits for somebody to write into it.
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Err(DecodeError::Empty { path: path.to_owned() });
    }
    let mut file = File::open(path).map_err(failed)?;
    let mut head = [0; RIFF_HEAD];
    Ok(match file.read_exact(&mut head) {
        Ok(()) => riff_length(head).saturating_sub(metadata.len()),
        Err(_) => 0,
    })
}

/// The length that an AVI file's first chunk declares; zero for other files. GStreamer rebuilds the index of a cut AVI file
/// and then reports the shorter length as if nothing were missing.
fn riff_length(head: [u8; RIFF_HEAD]) -> u64 {
    let [b'R', b'I', b'F', b'F', a, b, c, d, b'A', b'V', b'I', b' '] = head else { return 0 };
    u64::from(u32::from_le_bytes([a, b, c, d])) + 8
}

fn check_size(path: &Path, video: &VideoInfo) -> Result<(), DecodeError> {
    let size = Size::new(video.width(), video.height());
    if size.width <= MAX_SIDE && size.height <= MAX_SIDE {
        return Ok(());
    }
    let reason = format!("its pictures of {size} are above the limit of {MAX_SIDE}x{MAX_SIDE}");
    Err(DecodeError::NotVideo { path: path.to_owned(), reason })
}

fn file_info(path: &Path, pipeline: &gst::Pipeline, sink: &AppSink) -> Result<FileInfo, DecodeError> {
    let caps = sink.static_pad("sink").and_then(|pad| pad.current_caps());
    let video = caps.and_then(|caps| VideoInfo::from_caps(&caps).ok()).ok_or_else(|| DecodeError::NotVideo {
        path: path.to_owned(),
        reason: "its first frame has no format".to_owned(),
    })?;
    check_size(path, &video)?;
    let rate = (u32::try_from(video.fps().numer()), u32::try_from(video.fps().denom()));
    let frame_rate = match rate {
        (Ok(numerator @ 1..), Ok(denominator @ 1..)) => Some(FrameRate { numerator, denominator }),
        _ => None,
    };
    Ok(FileInfo {
        size: Size::new(video.width(), video.height()),
        frame_rate,
        duration: pipeline.query_duration::<gst::ClockTime>().map(Duration::from),
    })
}

fn stop(pipeline: &gst::Pipeline) {
    // A pipeline that does not stop cannot be helped; it is let go of all the same.
    let _ = pipeline.set_state(gst::State::Null);
}
