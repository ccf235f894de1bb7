//! Which packet a picture came from: what a decoder does not carry through.
//!
//! A decoder reorders pictures (B-frames) and swallows damaged ones, but keeps each one's presentation time. So capture time
//! is looked up by it.

use std::collections::VecDeque;
use std::time::Duration;

use vigil_base::{EncodedPacket, TimeSource, Timestamp};

/// Packets whose pictures may still be inside the decoder. H.264 and H.265 hold back at most 16 pictures; twice that
/// leaves room for hardware pipelines.
const MAX_PENDING: usize = 32;

/// When a picture was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    pub pts_ns: u64,
    pub capture_time: Timestamp,
    pub time_source: TimeSource,
}

/// The packets given to a decoder and not yet seen again as pictures.
#[derive(Debug, Default)]
pub(crate) struct Timing {
    pending: VecDeque<Taken>,
    last: Option<Taken>,
}

impl Timing {
    /// Notes a packet on its way in. Returns how many older ones were given up.
    pub fn packet_in(&mut self, packet: &EncodedPacket) -> u64 {
        let given_up = u64::from(self.pending.len() == MAX_PENDING);
        if given_up == 1 {
            self.pending.pop_front();
        }
        self.pending.push_back(Taken {
            pts_ns: packet.pts_ns,
            capture_time: packet.capture_time,
            time_source: packet.time_source,
        });
        given_up
    }

    /// Finds the packet of a picture that came out with presentation time `pts_ns`; also returns how many packets before it
    /// gave no picture (pictures come out in order of presentation, so theirs will not come).
    ///
    /// A time that no packet had (a decoder interpolated it) is reckoned from the picture before.
    pub fn picture_out(&mut self, pts_ns: Option<u64>) -> (Option<Taken>, u64) {
        let Some(pts_ns) = pts_ns else { return (self.last, 0) };
        let exact = self.pending.iter().find(|taken| taken.pts_ns == pts_ns).copied();
        let before = self.pending.len();
        self.pending.retain(|taken| taken.pts_ns > pts_ns);
        let lost = before - self.pending.len() - usize::from(exact.is_some());
        let found = exact.or_else(|| self.last.map(|last| reckon(last, pts_ns))).map(|found| self.after_last(found));
        self.last = found.or(self.last);
        (found, lost as u64)
    }

    /// A sender whose time stamps run backwards for a moment does not make time do so.
    fn after_last(&self, found: Taken) -> Taken {
        let earliest = self.last.map(|last| last.capture_time + Duration::from_micros(1));
        Taken {
            capture_time: earliest.map_or(found.capture_time, |earliest| earliest.max(found.capture_time)),
            ..found
        }
    }

    /// Forgets everything: the decoder was emptied. Returns how many packets gave no picture.
    pub fn clear(&mut self) -> u64 {
        self.last = None;
        let lost = self.pending.len() as u64;
        self.pending.clear();
        lost
    }
}

fn reckon(last: Taken, pts_ns: u64) -> Taken {
    let later = Duration::from_nanos(pts_ns.saturating_sub(last.pts_ns));
    let earlier = Duration::from_nanos(last.pts_ns.saturating_sub(pts_ns));
    Taken { pts_ns, capture_time: last.capture_time + later - earlier, time_source: last.time_source }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use vigil_base::Codec;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn packet(pts_ns: u64) -> EncodedPacket {
        EncodedPacket {
            codec: Codec::H264,
            session: 0,
            pts_ns,
            capture_time: Timestamp::from_micros(5_000_000 + (pts_ns / 1_000) as i64),
            time_source: TimeSource::Ntp,
            keyframe: false,
            discontinuity: false,
            data: Bytes::new(),
        }
    }

    #[test]
    fn reordered_pictures_find_their_own_capture_times() {
        let mut timing = Timing::default();
        for pts in [0, 3, 1, 2] {
            timing.packet_in(&packet(pts * SECOND));
        }
        for pts in 0..4u64 {
            let (taken, lost) = timing.picture_out(Some(pts * SECOND));
            assert_eq!(taken.unwrap().capture_time, Timestamp::from_micros(5_000_000 + pts as i64 * 1_000_000));
            assert_eq!(lost, 0);
        }
    }

    #[test]
    fn swallowed_packets_are_counted() {
        let mut timing = Timing::default();
        for pts in 0..5 {
            timing.packet_in(&packet(pts * SECOND));
        }
        assert_eq!(timing.picture_out(Some(0)).1, 0);
        assert_eq!(timing.picture_out(Some(3 * SECOND)).1, 2);
        assert_eq!(timing.clear(), 1);
    }

    #[test]
    fn an_interpolated_time_is_reckoned_from_the_picture_before() {
        let mut timing = Timing::default();
        timing.packet_in(&packet(SECOND));
        timing.picture_out(Some(SECOND));
        let (taken, _) = timing.picture_out(Some(SECOND + 40_000_000));
        assert_eq!(taken.unwrap().capture_time, Timestamp::from_micros(6_040_000));
    }

    #[test]
    fn capture_times_of_pictures_never_step_back() {
        let mut timing = Timing::default();
        for pts in [0, 3, 2] {
            timing.packet_in(&packet(pts * SECOND));
            timing.picture_out(Some(pts * SECOND));
        }
        assert_eq!(timing.last.unwrap().capture_time, Timestamp::from_micros(8_000_001));
    }

    #[test]
    fn a_decoder_that_swallows_everything_does_not_make_the_list_grow() {
        let mut timing = Timing::default();
        let given_up: u64 = (0..1000).map(|pts| timing.packet_in(&packet(pts))).sum();
        assert_eq!(timing.pending.len(), MAX_PENDING);
        assert_eq!(given_up + timing.clear(), 1000);
    }
}
