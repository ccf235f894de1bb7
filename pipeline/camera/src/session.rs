//! A camera over time: session after session, until told to stop.

use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use vigil_base::{CameraId, EncodedPacket, SharedClock, TimeSource, Timestamp};

use crate::assembler::{Assembled, Assembler};
use crate::backoff::Backoff;
use crate::config::Source;
use crate::error::CameraError;
use crate::rtsp::RtspOpener;
use crate::shutdown::Shutdown;
use crate::status::{Awaited, CameraStatus, StreamInfo};
use crate::stream::{Opener, PacketStream, RawPacket, StreamEvent};
use crate::telemetry::Telemetry;
use crate::timeline::CameraClock;

/// How soon a thread that waits for packets hears of a shutdown.
const SHUTDOWN_POLL: Duration = Duration::from_millis(100);
/// Patience for a keyframe while other packets come: cameras that save bits send one in 10 to 20 s.
const KEYFRAME_PATIENCE: Duration = Duration::from_mins(1);
/// The camera's clock is told anew when it has moved by so much: more than a network's jitter, less than what makes an event
/// hard to find.
const CLOCK_STEP_MS: u64 = 250;
/// A connection that brings nothing to decode for so long is told of, though it is given time.
const WAITING_TOLD_AFTER: Duration = Duration::from_secs(4);
/// A session that lasted so long was a good one: the next wait is the shortest again.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// Takes the packets.
pub trait PacketSink {
    /// Takes one packet. May wait a while: the camera's own queue holds 8 s of packets, and what comes beyond is dropped up
    /// to a keyframe, counted, and marked as a discontinuity.
    fn accept(&self, packet: EncodedPacket) -> Result<(), SinkClosed>;
}

/// Nobody takes packets any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody takes packets any more")]
pub struct SinkClosed;

impl<F: Fn(EncodedPacket) -> Result<(), SinkClosed>> PacketSink for F {
    fn accept(&self, packet: EncodedPacket) -> Result<(), SinkClosed> {
        self(packet)
    }
}

/// One camera. Runs on a thread of its own.
pub struct Camera {
    id: CameraId,
    source: Source,
    clock: SharedClock,
    opener: Box<dyn Opener>,
    telemetry: Telemetry,
    /// Number of the last session.
    session: u32,
}

/// Where a camera's packets and its status go.
struct Outlets<'a> {
    sink: &'a dyn PacketSink,
    status: &'a dyn Fn(CameraStatus),
    shutdown: &'a Shutdown,
}

impl Camera {
    /// A camera that is reached by RTSP. Fails only where GStreamer is not installed.
    pub fn rtsp(id: CameraId, source: Source, clock: SharedClock) -> Result<Self, CameraError> {
        Ok(Self::with_opener(id, source, clock, Box::new(RtspOpener::new()?)))
    }

    /// A camera behind another way of making connections, for tests.
    pub fn with_opener(id: CameraId, source: Source, clock: SharedClock, opener: Box<dyn Opener>) -> Self {
        let telemetry = Telemetry::new(&id);
        Self { id, source, clock, opener, telemetry, session: 0 }
    }

    /// Connects, passes packets on, and connects again after every fault, until told to stop or until the sink is closed.
    ///
    /// `status` is called on this thread at each change and must not wait.
    pub fn run(&mut self, sink: &dyn PacketSink, status: &dyn Fn(CameraStatus), shutdown: &Shutdown) {
        let outlets = Outlets { sink, status, shutdown };
        let mut backoff = Backoff::new(self.source.reconnect_min, self.source.reconnect_max, SmallRng::from_os_rng());
        let mut down_since = self.clock.now();
        let mut attempt = 1;
        let mut told = None;
        while !shutdown.is_triggered() {
            status(CameraStatus::Connecting { attempt });
            let mut streamed = Streamed::default();
            let Err(reason) = self.run_once(&outlets, &mut streamed) else { return };
            if let Some(last) = streamed.last_arrival {
                (down_since, attempt, told) = (last, 0, None);
            }
            self.telemetry.session_ended(&reason, told == Some(reason.reason()));
            told = Some(reason.reason());
            if streamed.lasted() >= STABLE_AFTER {
                backoff.reset();
            }
            let retry_in = backoff.next();
            status(CameraStatus::Down { reason: Arc::new(reason), since: down_since, retry_in });
            attempt += 1;
            shutdown.wait(retry_in);
        }
    }

    /// One connection, from opening to its end. Without an error only when told to stop, or when the sink is closed.
    fn run_once(&mut self, outlets: &Outlets<'_>, streamed: &mut Streamed) -> Result<(), CameraError> {
        let mut stream = self.opener.open(&self.source, &self.clock)?;
        let mut passage = Passage {
            assembler: Assembler::new(self.source.clock, self.session),
            info: None,
            told: None,
            told_waiting: None,
            telemetry: &self.telemetry,
            outlets,
        };
        let ended = self.watch(stream.as_mut(), &mut passage, streamed);
        self.session = passage.assembler.session();
        ended
    }

    /// Passes packets on while they come; a camera that hangs says nothing, so progress is watched here.
    fn watch(
        &self,
        stream: &mut dyn PacketStream,
        passage: &mut Passage<'_>,
        streamed: &mut Streamed,
    ) -> Result<(), CameraError> {
        let mut patience = self.source.connect_timeout;
        let began = self.clock.monotonic();
        let mut progress = began;
        while !passage.outlets.shutdown.is_triggered() {
            match stream.next(SHUTDOWN_POLL.min(patience))? {
                Some(StreamEvent::Packet(raw)) => {
                    streamed.note(&raw);
                    if passage.pass(raw).is_err() {
                        return Ok(());
                    }
                    if passage.told.is_none() && streamed.lasted() > KEYFRAME_PATIENCE {
                        return Err(CameraError::NoKeyframe { waited: KEYFRAME_PATIENCE });
                    }
                    patience = self.source.stall_timeout;
                    progress = self.clock.monotonic();
                }
                Some(StreamEvent::Format(info)) => passage.info = Some(info),
                Some(StreamEvent::Overflow { dropped }) => passage.lost(dropped),
                None if self.clock.monotonic() >= progress + patience => return Err(self.gave_up(streamed)),
                None => {}
            }
            if self.clock.monotonic() >= began + WAITING_TOLD_AFTER {
                passage.tell_waiting(streamed);
            }
        }
        Ok(())
    }

    fn gave_up(&self, streamed: &Streamed) -> CameraError {
        match streamed.span {
            Some(_) => CameraError::Stalled { waited: self.source.stall_timeout },
            None => {
                CameraError::NoAnswer { address: self.source.address.to_string(), waited: self.source.connect_timeout }
            }
        }
    }

    /// Whose camera this is.
    pub fn id(&self) -> &CameraId {
        &self.id
    }
}

/// From when to when a connection brought packets.
#[derive(Default)]
struct Streamed {
    /// Monotonic time of the first and the last packet.
    span: Option<(Duration, Duration)>,
    last_arrival: Option<Timestamp>,
}

impl Streamed {
    fn note(&mut self, raw: &RawPacket) {
        let first = self.span.map_or(raw.arrival_monotonic, |(first, _)| first);
        self.span = Some((first, raw.arrival_monotonic));
        self.last_arrival = Some(raw.arrival);
    }

    fn lasted(&self) -> Duration {
        self.span.map_or(Duration::ZERO, |(first, last)| last.saturating_sub(first))
    }
}

/// The way of one connection's packets to the sink.
struct Passage<'a> {
    assembler: Assembler,
    info: Option<StreamInfo>,
    /// What the status said last.
    told: Option<Told>,
    /// What it said to be waiting for.
    told_waiting: Option<Awaited>,
    telemetry: &'a Telemetry,
    outlets: &'a Outlets<'a>,
}

/// What was told last.
#[derive(Clone, Copy)]
struct Told {
    info: StreamInfo,
    session: u32,
    time_source: TimeSource,
    camera_clock: CameraClock,
}

impl Told {
    /// Whether it is worth a new status: not every millisecond of the camera's clock is.
    fn differs(&self, before: &Self) -> bool {
        let plain =
            |told: &Self| (told.info, told.session, told.time_source, std::mem::discriminant(&told.camera_clock));
        let step = |now: i64, then: i64| now.abs_diff(then) >= CLOCK_STEP_MS;
        let stepped =
            self.camera_clock.offset_ms().zip(before.camera_clock.offset_ms()).is_some_and(|(a, b)| step(a, b));
        plain(self) != plain(before) || stepped
    }
}

impl Passage<'_> {
    fn lost(&mut self, dropped: u64) {
        self.telemetry.dropped_full.increment(dropped);
        self.assembler.mark_cut();
    }

    fn pass(&mut self, raw: RawPacket) -> Result<(), SinkClosed> {
        // A stream says what it is before its first packet.
        let Some(info) = self.info else { return Ok(()) };
        let (session, steps) = (self.assembler.session(), self.assembler.steps());
        let assembled = self.assembler.accept(info.codec, raw);
        self.telemetry.sessions.increment(u64::from(self.assembler.session() - session));
        self.telemetry.clock_steps.increment(self.assembler.steps() - steps);
        let Assembled::Packet(packet) = assembled else {
            self.telemetry.dropped_before_keyframe.increment(1);
            return Ok(());
        };
        self.telemetry.packets.increment(1);
        self.telemetry.bytes.increment(packet.data.len() as u64);
        self.tell(info);
        self.outlets.sink.accept(packet)
    }

    /// Says, once, what keeps a connection from streaming.
    fn tell_waiting(&mut self, streamed: &Streamed) {
        let awaited = if streamed.span.is_some() { Awaited::Keyframe } else { Awaited::FirstPacket };
        if self.told.is_none() && self.told_waiting != Some(awaited) {
            self.told_waiting = Some(awaited);
            (self.outlets.status)(CameraStatus::Waiting { awaited });
        }
    }

    fn tell(&mut self, info: StreamInfo) {
        let (session, time_source) = (self.assembler.session(), self.assembler.time_source());
        let camera_clock = self.assembler.camera_clock();
        let told = Told { info, session, time_source, camera_clock };
        if let Some(offset_ms) = camera_clock.offset_ms() {
            self.telemetry.clock_offset.set(offset_ms as f64 / 1e3);
        }
        if self.told.is_none_or(|before| told.differs(&before)) {
            self.telemetry.up.set(1.0);
            self.told = Some(told);
            (self.outlets.status)(CameraStatus::Streaming { info, session, time_source, camera_clock });
        }
    }
}

#[cfg(test)]
mod tests {
    use vigil_base::Codec;

    use super::*;

    #[test]
    fn a_clock_that_drifts_is_told_again_and_its_jitter_is_not() {
        let told = |camera_clock| Told {
            info: StreamInfo { codec: Codec::H264, size: None, fps: None },
            session: 1,
            time_source: TimeSource::Ntp,
            camera_clock,
        };
        let first = told(CameraClock::Good { offset_ms: -20 });
        assert!(!told(CameraClock::Good { offset_ms: 200 }).differs(&first));
        assert!(told(CameraClock::Good { offset_ms: 230 }).differs(&first));
        assert!(told(CameraClock::Wrong { offset_ms: -20 }).differs(&first));
        assert!(told(CameraClock::Unknown).differs(&first));
    }
}
