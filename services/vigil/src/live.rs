//! A camera instead of a file: its packets by the edge's own room for cameras, decoded, each picture with its number.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use parking_lot::Mutex;
use vigil_base::{CameraId, EncodedPacket, Frame, Secret, SystemClock, Timestamp};
use vigil_camera::{Camera, CameraError, CameraSource, CameraStatus, Shutdown, SinkClosed, Source, StreamAddress};
use vigil_decode::{Decoder, DecoderConfig};

use crate::exit;

/// Who asks the camera, and for how long.
#[derive(Debug, Args)]
#[command(next_help_heading = "Camera (in place of a file)")]
pub struct LiveArgs {
    /// Take this much of the camera's stream, then end.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// The camera's user.
    #[arg(long)]
    user: Option<String>,
    /// File whose first line is the camera's password.
    #[arg(long, requires = "user", value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// A camera that is to be watched for a while.
pub struct LiveCamera {
    source: Source,
    duration: Duration,
}

impl LiveArgs {
    /// The camera, where `video` is an RTSP address and no file.
    ///
    /// # Errors
    /// It cannot be a camera's address, or nobody says when to end.
    pub fn camera(&self, video: &Path) -> anyhow::Result<Option<LiveCamera>> {
        let Some(address) = video.to_str().filter(|text| text.starts_with("rtsp://") || text.starts_with("rtsps://"))
        else {
            return Ok(None);
        };
        let address: StreamAddress = address.parse().map_err(exit::wrong_use)?;
        let duration = self.duration.context("a camera never ends: give --duration").map_err(exit::wrong_use)?;
        let source = source(address, self.user.as_deref(), self.password_file.as_deref())?;
        Ok(Some(LiveCamera { source, duration }))
    }
}

/// A camera's settings as they are typed on a command line.
pub fn source(address: StreamAddress, user: Option<&str>, password_file: Option<&Path>) -> anyhow::Result<Source> {
    let mut source = CameraSource::new(address);
    source.user = user.map(str::to_owned);
    if let Some(file) = password_file {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        source.password = Some(Secret::new(text.lines().next().unwrap_or_default()));
    }
    Ok(source.resolve()?)
}

impl LiveCamera {
    /// Hands every picture over, with its number: from 1, by its place in the stream's own time, so that a picture that was
    /// lost leaves a gap. Where the stream does not tell its rate, pictures are counted.
    ///
    /// Decoding and `on_frame` run in this thread. Meanwhile packets wait in the camera's own queue, which holds 8 s.
    ///
    /// # Errors
    /// The camera cannot be read, or its stream broke, or `on_frame` failed.
    pub fn watch(&self, on_frame: &mut dyn FnMut(u32, &Frame) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let mut camera = Camera::rtsp(CameraId::new("camera")?, self.source.clone(), SystemClock::shared())?;
        let (shutdown, fps, fault) = (Shutdown::default(), RefCell::new(None), RefCell::new(None));
        let watch = RefCell::new(Watch::new(self.duration, on_frame));
        let on_status = |status: CameraStatus| match status {
            CameraStatus::Streaming { info, .. } => *fps.borrow_mut() = info.fps,
            // Whoever tries something on a camera wants to hear of a fault; an edge would go on.
            CameraStatus::Down { reason, .. } => {
                *fault.borrow_mut() = Some(reason);
                shutdown.trigger();
            }
            CameraStatus::Connecting { .. } | CameraStatus::Waiting { .. } => {}
        };
        let sink = |packet: EncodedPacket| watch.borrow_mut().take(&packet, *fps.borrow());
        camera.run(&sink, &on_status, &shutdown);
        let fault: Option<Arc<CameraError>> = fault.into_inner();
        match (watch.into_inner().failure, fault) {
            (Some(failure), _) => Err(failure),
            (None, Some(fault)) => Err(anyhow!(fault).context(format!("camera {}", self.source.address))),
            (None, None) => Ok(()),
        }
    }
}

/// From packets to numbered pictures.
struct Watch<'a> {
    duration: Duration,
    on_frame: &'a mut dyn FnMut(u32, &Frame) -> anyhow::Result<()>,
    decoder: Option<Decoder>,
    decoded: Arc<Mutex<VecDeque<Frame>>>,
    /// Capture and presentation times of the packets whose pictures did not come yet.
    times: VecDeque<(Timestamp, Duration)>,
    last_number: u32,
    failure: Option<anyhow::Error>,
}

/// Pictures that a decoder may hold back at most: 16 of a stream with B-frames (H.264, A.3.1), twice.
const MAX_HELD_BACK: usize = 32;

impl<'a> Watch<'a> {
    fn new(duration: Duration, on_frame: &'a mut dyn FnMut(u32, &Frame) -> anyhow::Result<()>) -> Self {
        let (decoded, times) = (Arc::default(), VecDeque::with_capacity(MAX_HELD_BACK));
        Self { duration, on_frame, decoder: None, decoded, times, last_number: 0, failure: None }
    }

    fn take(&mut self, packet: &EncodedPacket, fps: Option<f64>) -> Result<(), SinkClosed> {
        match self.try_take(packet, fps) {
            Ok(true) => Ok(()),
            Ok(false) => Err(SinkClosed),
            Err(failure) => {
                self.failure = Some(failure);
                Err(SinkClosed)
            }
        }
    }

    /// Whether more is wanted.
    fn try_take(&mut self, packet: &EncodedPacket, fps: Option<f64>) -> anyhow::Result<bool> {
        if self.times.len() == MAX_HELD_BACK {
            self.times.pop_front();
        }
        self.times.push_back((packet.capture_time, Duration::from_nanos(packet.pts_ns)));
        self.decode(packet)?;
        loop {
            let Some(frame) = self.decoded.lock().pop_front() else { return Ok(true) };
            while self.times.front().is_some_and(|(time, _)| *time < frame.capture_time) {
                self.times.pop_front();
            }
            let Some((_, pts)) = self.times.pop_front() else { continue };
            let number = number(pts, fps).filter(|number| *number > self.last_number).unwrap_or(self.last_number + 1);
            let half = fps.map_or(Duration::ZERO, |fps| Duration::from_secs_f64(0.5 / fps));
            if pts + half >= self.duration {
                return Ok(false);
            }
            self.last_number = number;
            (self.on_frame)(number, &frame)?;
        }
    }

    fn decode(&mut self, packet: &EncodedPacket) -> anyhow::Result<()> {
        if let Some(decoder) = &mut self.decoder {
            return Ok(decoder.push(packet)?);
        }
        let decoded = Arc::clone(&self.decoded);
        let keep = Box::new(move |frame| decoded.lock().push_back(frame));
        let decoder = Decoder::new(packet.codec, DecoderConfig::default(), "camera", keep)?;
        Ok(self.decoder.insert(decoder).push(packet)?)
    }
}

/// Which picture of the stream it is, from 1.
fn number(pts: Duration, fps: Option<f64>) -> Option<u32> {
    fps.filter(|fps| *fps > 0.0).map(|fps| (pts.as_secs_f64() * fps).round() as u32 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_keeps_its_number_when_one_before_it_is_lost_and_its_time_is_rounded() {
        let at = |ms| number(Duration::from_micros(ms), Some(10.0));
        assert_eq!([at(0), at(99_989), at(200_011), at(79_400_000)], [1, 2, 3, 795].map(Some));
        assert_eq!(number(Duration::from_secs(1), None), None);
    }
}
