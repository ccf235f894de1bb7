//! One look at a camera: can it be reached, and what does it send?

use std::time::Duration;

use vigil_base::{Codec, SharedClock, Size};

use crate::config::Source;
use crate::error::CameraError;
use crate::rtsp::RtspOpener;
use crate::status::StreamInfo;
use crate::stream::{Opener, PacketStream, RawPacket, StreamEvent};
use crate::timeline::{Arrived, CameraClock, ClockPolicy, Timeline};

/// Pictures over which the frame rate is measured: two seconds of most cameras.
const RATE_PICTURES: usize = 50;
/// One wait for an event.
const POLL: Duration = Duration::from_millis(100);

/// What a camera sends.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeReport {
    /// Coding standard.
    pub codec: Codec,
    /// Picture size.
    pub size: Option<Size>,
    /// Frames per second: as the stream says, else as counted.
    pub fps: Option<f64>,
    /// From the first word to the camera until its first packet.
    pub time_to_first_packet: Duration,
    /// From the first word until decoding could start; nothing when no keyframe came in time.
    pub time_to_keyframe: Option<Duration>,
    /// How its clock compares with ours; unknown when it sent no NTP time while it was watched.
    pub camera_clock: CameraClock,
}

/// Connects once and watches until all is known or `timeout` is over, whichever comes first.
pub fn probe(source: &Source, clock: &SharedClock, timeout: Duration) -> Result<ProbeReport, CameraError> {
    let began = clock.monotonic();
    let mut stream = RtspOpener::new()?.open(source, clock)?;
    let mut watch = Watch::new();
    while clock.monotonic() < began + timeout && !watch.knows_all() {
        if let Err(reason) = watch.look(stream.as_mut(), began) {
            // A stream that ends after it has shown what it is still gets its report.
            return watch.report().ok_or(reason);
        }
    }
    watch.report().ok_or_else(|| CameraError::NoAnswer { address: source.address.to_string(), waited: timeout })
}

struct Watch {
    info: Option<StreamInfo>,
    timeline: Timeline,
    pts_us: Vec<i64>,
    first_packet: Option<Duration>,
    first_keyframe: Option<Duration>,
}

impl Watch {
    fn new() -> Self {
        Self {
            info: None,
            timeline: Timeline::new(ClockPolicy::Camera),
            pts_us: Vec::with_capacity(RATE_PICTURES),
            first_packet: None,
            first_keyframe: None,
        }
    }

    fn look(&mut self, stream: &mut dyn PacketStream, began: Duration) -> Result<(), CameraError> {
        match stream.next(POLL)? {
            Some(StreamEvent::Format(info)) => self.info = Some(info),
            Some(StreamEvent::Packet(raw)) => self.note(&raw, began),
            Some(StreamEvent::Overflow { .. }) | None => {}
        }
        Ok(())
    }

    fn note(&mut self, raw: &RawPacket, began: Duration) {
        let waited = raw.arrival_monotonic.saturating_sub(began);
        self.first_packet.get_or_insert(waited);
        if raw.keyframe {
            self.first_keyframe.get_or_insert(waited);
        }
        let stamp = self.timeline.stamp(&Arrived {
            pts_ns: raw.pts_ns,
            ntp: raw.ntp,
            arrival: raw.arrival,
            arrival_monotonic: raw.arrival_monotonic,
            keyframe: raw.keyframe,
        });
        if self.pts_us.len() < RATE_PICTURES {
            self.pts_us.push(stamp.pts_us);
        }
    }

    fn knows_all(&self) -> bool {
        let knows_rate = self.info.is_some_and(|info| info.fps.is_some()) || self.pts_us.len() == RATE_PICTURES;
        let knows_clock = self.timeline.camera_clock() != CameraClock::Unknown;
        knows_rate && knows_clock && self.first_keyframe.is_some()
    }

    fn report(&self) -> Option<ProbeReport> {
        let info = self.info?;
        Some(ProbeReport {
            codec: info.codec,
            size: info.size,
            fps: info.fps.or_else(|| self.counted_fps()),
            time_to_first_packet: self.first_packet?,
            time_to_keyframe: self.first_keyframe,
            camera_clock: self.timeline.camera_clock(),
        })
    }

    fn counted_fps(&self) -> Option<f64> {
        let span_us = self.pts_us.last()? - self.pts_us.first()?;
        (span_us > 0).then(|| (self.pts_us.len() - 1) as f64 * 1e6 / span_us as f64)
    }
}
