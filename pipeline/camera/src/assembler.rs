//! From what a connection brings to the packets of a session: numbered, dated, starting at a keyframe.

use vigil_base::{Codec, EncodedPacket, TimeSource};

use crate::stream::RawPacket;
use crate::timeline::{Arrived, CameraClock, ClockPolicy, Timeline};

/// The packets of one connection.
pub(crate) struct Assembler {
    timeline: Timeline,
    /// The newest session's number, whether of this connection or of one before it.
    session: u32,
    time_source: TimeSource,
    session_start_us: i64,
    waits_for_keyframe: bool,
    /// Something is missing before the next packet.
    cut: bool,
    /// Jumps of clocks and time stamps so far.
    steps: u64,
}

/// Nothing, when the packet cannot be used.
#[derive(Debug)]
pub(crate) enum Assembled {
    Packet(EncodedPacket),
    /// The connection has not brought a keyframe yet.
    BeforeKeyframe,
}

impl Assembler {
    /// `session` is the number of the last session of the connection before.
    pub fn new(policy: ClockPolicy, session: u32) -> Self {
        Self {
            timeline: Timeline::new(policy),
            session,
            time_source: TimeSource::Arrival,
            session_start_us: 0,
            waits_for_keyframe: true,
            cut: false,
            steps: 0,
        }
    }

    pub fn session(&self) -> u32 {
        self.session
    }

    pub fn time_source(&self) -> TimeSource {
        self.time_source
    }

    pub fn camera_clock(&self) -> CameraClock {
        self.timeline.camera_clock()
    }

    /// Jumps of clocks and of time stamps in this connection.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Packets before the next one were thrown away.
    pub fn mark_cut(&mut self) {
        self.cut = true;
    }

    pub fn accept(&mut self, codec: Codec, raw: RawPacket) -> Assembled {
        // Those before the keyframe are dated too: the timeline learns from them.
        let stamp = self.timeline.stamp(&Arrived {
            pts_ns: raw.pts_ns,
            ntp: raw.ntp,
            arrival: raw.arrival,
            arrival_monotonic: raw.arrival_monotonic,
            keyframe: raw.keyframe,
        });
        self.time_source = stamp.time_source;
        self.steps += u64::from(stamp.pts_jumped) + u64::from(stamp.new_session);
        if self.waits_for_keyframe && !raw.keyframe {
            return Assembled::BeforeKeyframe;
        }
        let new_session = self.waits_for_keyframe || stamp.new_session;
        if new_session {
            self.session += 1;
            self.session_start_us = stamp.pts_us;
            self.waits_for_keyframe = false;
        }
        let cut = std::mem::take(&mut self.cut);
        Assembled::Packet(EncodedPacket {
            codec,
            session: self.session,
            pts_ns: u64::try_from(stamp.pts_us - self.session_start_us).unwrap_or(0) * 1000,
            capture_time: stamp.capture_time,
            time_source: stamp.time_source,
            keyframe: raw.keyframe,
            discontinuity: new_session || stamp.pts_jumped || cut || raw.discontinuity,
            data: raw.data,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use bytes::Bytes;
    use vigil_base::Timestamp;

    fn raw(n: u64, keyframe: bool) -> RawPacket {
        RawPacket {
            pts_ns: 5_000_000_000 + n * 100_000_000,
            ntp: None,
            arrival: Timestamp::from_micros(1_750_000_000_000_000) + Duration::from_millis(100 * n),
            arrival_monotonic: Duration::from_secs(9) + Duration::from_millis(100 * n),
            keyframe,
            discontinuity: false,
            data: Bytes::from_static(b"unit"),
        }
    }

    fn packet(assembler: &mut Assembler, raw: RawPacket) -> EncodedPacket {
        match assembler.accept(Codec::H264, raw) {
            Assembled::Packet(packet) => packet,
            Assembled::BeforeKeyframe => panic!("no packet"),
        }
    }

    #[test]
    fn a_session_starts_at_its_first_keyframe_at_time_zero() {
        let mut assembler = Assembler::new(ClockPolicy::Camera, 6);
        assert!(matches!(assembler.accept(Codec::H264, raw(0, false)), Assembled::BeforeKeyframe));
        assert_eq!(assembler.session(), 6);
        let first = packet(&mut assembler, raw(1, true));
        assert_eq!((first.session, first.pts_ns, first.keyframe, first.discontinuity), (7, 0, true, true));
        let second = packet(&mut assembler, raw(2, false));
        assert_eq!((second.session, second.pts_ns, second.discontinuity), (7, 100_000_000, false));
    }

    #[test]
    fn a_loss_is_marked_on_the_packet_after_it() {
        let mut assembler = Assembler::new(ClockPolicy::Camera, 0);
        packet(&mut assembler, raw(0, true));
        assembler.mark_cut();
        assert!(packet(&mut assembler, raw(3, true)).discontinuity);
        assert!(!packet(&mut assembler, raw(4, false)).discontinuity);
        assert!(packet(&mut assembler, RawPacket { discontinuity: true, ..raw(5, false) }).discontinuity);
    }

    #[test]
    fn a_clock_that_was_set_starts_a_session_with_times_of_its_own() {
        let mut assembler = Assembler::new(ClockPolicy::Camera, 0);
        let with_clock = |n, keyframe, ahead: u64| {
            let raw = raw(n, keyframe);
            RawPacket { ntp: Some(raw.arrival + Duration::from_secs(ahead)), ..raw }
        };
        packet(&mut assembler, with_clock(0, true, 0));
        let before = packet(&mut assembler, with_clock(1, false, 60));
        assert_eq!((before.session, before.discontinuity), (1, false));
        let after = packet(&mut assembler, with_clock(2, true, 60));
        assert_eq!((after.session, after.pts_ns, after.discontinuity), (2, 0, true));
        assert_eq!(assembler.steps(), 1);
        assert_eq!(after.capture_time, raw(2, true).arrival + Duration::from_mins(1));
    }
}
