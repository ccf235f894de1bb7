//! Whether the camera's packets still lie behind the present after the gate woke.

use std::time::Duration;

use vigil_base::EncodedPacket;

/// Packets come so much late on their own.
const SLACK: Duration = Duration::from_millis(150);
/// After so long it is no backlog that goes away: the machine cannot keep up.
const LONGEST: Duration = Duration::from_secs(5);

/// While kept packets are decoded, the camera's next ones wait. They come in a burst afterwards, and nothing of it need be
/// dropped: as the kept ones, it is worked off faster than real time.
#[derive(Debug, Default)]
pub(crate) struct Behind {
    since: Option<Moment>,
}

/// A packet that came on time.
#[derive(Debug, Clone, Copy)]
struct Moment {
    session: u32,
    pts_ns: u64,
    /// Monotonic.
    came: Duration,
}

impl Behind {
    /// A packet came just now, and those after it will have to wait.
    pub fn begin(&mut self, session: u32, pts_ns: u64, now: Duration) {
        self.since = Some(Moment { session, pts_ns, came: now });
    }

    /// Whether the packet had to wait. Once one had not, none has until the next [`Behind::begin`].
    pub fn waited(&mut self, packet: &EncodedPacket, now: Duration) -> bool {
        let waited = self.since.is_some_and(|since| since.is_overdue(packet, now));
        if !waited {
            self.since = None;
        }
        waited
    }
}

impl Moment {
    fn is_overdue(&self, packet: &EncodedPacket, now: Duration) -> bool {
        let due = self.came + Duration::from_nanos(packet.pts_ns.saturating_sub(self.pts_ns));
        packet.session == self.session && now > due + SLACK && now.saturating_sub(self.came) <= LONGEST
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use vigil_base::{Codec, TimeSource, Timestamp};

    use super::*;

    fn packet(session: u32, ms: u64) -> EncodedPacket {
        EncodedPacket {
            codec: Codec::H264,
            session,
            pts_ns: ms * 1_000_000,
            capture_time: Timestamp::default(),
            time_source: TimeSource::Arrival,
            keyframe: false,
            discontinuity: false,
            data: Bytes::new(),
        }
    }

    fn begun() -> Behind {
        let mut behind = Behind::default();
        behind.begin(1, 10_000_000_000, Duration::from_secs(100));
        behind
    }

    #[test]
    fn a_burst_is_behind_until_it_is_worked_off() {
        let mut behind = begun();
        let mut waited = |pts, now| behind.waited(&packet(1, pts), Duration::from_millis(now));
        assert!(waited(10_100, 101_000), "came 0.9 s late");
        assert!(waited(10_700, 101_100));
        assert!(!waited(11_200, 101_300), "0.1 s is nothing");
        assert!(!waited(11_300, 105_000), "what is late afterwards is so for another reason");
    }

    #[test]
    fn a_load_that_stays_and_another_connection_end_it() {
        assert!(!begun().waited(&packet(1, 10_500), Duration::from_millis(105_100)));
        assert!(!begun().waited(&packet(2, 10_500), Duration::from_millis(101_000)));
        assert!(!Behind::default().waited(&packet(1, 0), Duration::from_secs(1)));
    }
}
