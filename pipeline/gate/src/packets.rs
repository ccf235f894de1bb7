//! The gate before the decoder: which packets need decoding at all.
//!
//! ```text
//!           nothing goes on at a keyframe
//!   awake ─────────────────────────────────▶ resting
//!   all is   ◀─────────────────────────────  only keyframes are decoded, as sentinels;
//!   decoded   a sentinel shows motion,        the packets since the last but one are kept
//!             packets outgrow their baseline,
//!             the stream is cut, or no sentinel comes in time
//! ```
//!
//! A sentinel that shows something says that it came since the sentinel before, or a little earlier: who has one foot in the
//! picture, or is far away and dark, may not show on one sentinel and on the next. So everything since the sentinel before the
//! last one is decoded after all, from the packets that were kept, and nothing of its beginning is lost. Packet sizes wake the gate sooner, for what is
//! large; one far person does not show in them (a walker of 62 x 131 pixels moves the mean packet of a noisy 1080p scene by
//! a third of its deviation), which is why keyframes are looked at whatever the sizes say. The idea of working on the
//! compressed stream is that of `CoVA` (Hwang et al., USENIX ATC 2022); that of keyframes as sentinels is older than both.

use std::time::Duration;

use vigil_base::{EncodedPacket, Timestamp};

use crate::sizes::SizeBaseline;

/// Packets that may be kept: two groups of pictures of a camera with 50 pictures a second, and some more.
const MAX_KEPT: usize = 512;
/// Bytes that may be kept: 5 s of a stream of 25 Mbit/s.
const MAX_KEPT_BYTES: usize = 16 << 20;

/// How a packet gate decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketGateConfig {
    /// Longest time between two sentinels. A camera whose keyframes lie further apart is decoded in full.
    pub longest_gap: Duration,
    /// How long the gate stays awake at the least: what comes into view stands still now and then.
    pub least_awake: Duration,
}

impl Default for PacketGateConfig {
    fn default() -> Self {
        Self { longest_gap: Duration::from_millis(4200), least_awake: Duration::from_secs(6) }
    }
}

/// What to do with a packet.
#[derive(Debug)]
pub enum Step {
    /// Decode it.
    Decode(EncodedPacket),
    /// It is kept, in case it is needed later.
    Hold,
    /// Decode this keyframe alone, compare its picture, and tell [`PacketGate::looked`].
    Look(EncodedPacket),
    /// Decode all of these, faster than real time: the last is the packet that was given.
    Wake(Vec<EncodedPacket>, WakeCause),
}

/// Why the gate woke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeCause {
    /// A sentinel showed motion.
    Sentinel,
    /// Packets outgrew their baseline.
    Sizes,
    /// The stream was cut: what was known of it does not hold any more.
    Cut,
    /// No keyframe came in time, or more was kept than there is room for.
    NoSentinel,
}

/// Watches the packets of one camera.
#[derive(Debug)]
pub struct PacketGate {
    config: PacketGateConfig,
    state: State,
    /// Since the last sentinel but one that showed nothing, that one included; empty while awake.
    kept: Vec<EncodedPacket>,
    kept_bytes: usize,
    /// Where in `kept` the last sentinel is.
    sentinel: usize,
    sizes: SizeBaseline,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Awake {
        since: Option<Timestamp>,
    },
    Resting,
    /// A sentinel is being looked at.
    Looking,
}

impl PacketGate {
    /// A gate that is awake.
    pub fn new(config: PacketGateConfig) -> Self {
        let (kept, sizes) = (Vec::new(), SizeBaseline::default());
        Self { config, state: State::Awake { since: None }, kept, kept_bytes: 0, sentinel: 0, sizes }
    }

    /// Whether only sentinels are decoded now.
    pub fn is_resting(&self) -> bool {
        !matches!(self.state, State::Awake { .. })
    }

    /// Takes the next packet in order of decoding. After [`Step::Look`], [`PacketGate::looked`] must come first.
    pub fn take(&mut self, packet: EncodedPacket) -> Step {
        let outgrown = self.sizes.observe(packet.data.len(), packet.keyframe, packet.discontinuity);
        if let State::Awake { since } = &mut self.state {
            if packet.discontinuity {
                *since = None;
            }
            since.get_or_insert(packet.capture_time);
            return Step::Decode(packet);
        }
        let sentinel = self.kept.get(self.sentinel).map_or(packet.capture_time, |sentinel| sentinel.capture_time);
        let (cut, keyframe) = (packet.discontinuity, packet.keyframe);
        let waited = packet.capture_time.since(sentinel);
        let late = waited > self.config.longest_gap || packet.capture_time < sentinel;
        if cut {
            // Nothing kept before the cut belongs to what comes.
            self.forget(self.kept.len());
        }
        self.kept_bytes += packet.data.len();
        self.kept.push(packet.clone());
        if self.is_full() {
            self.forget(self.sentinel);
        }
        let full = self.is_full();
        let cause = match (cut, full || (late && !keyframe), outgrown) {
            (true, _, _) => WakeCause::Cut,
            (_, true, _) => WakeCause::NoSentinel,
            (_, _, true) => WakeCause::Sizes,
            _ if keyframe => {
                self.state = State::Looking;
                return Step::Look(packet);
            }
            _ => return Step::Hold,
        };
        Step::Wake(self.wake(), cause)
    }

    /// What the last sentinel showed. Where it showed motion, what is to be decoded now, in order.
    pub fn looked(&mut self, moved: bool) -> Vec<EncodedPacket> {
        if moved {
            return self.wake();
        }
        self.state = State::Resting;
        // Only what follows the sentinel before this one may be needed from here on.
        self.forget(self.sentinel);
        self.sentinel = self.kept.len().saturating_sub(1);
        Vec::new()
    }

    /// Told while awake, at a keyframe that was decoded and shows nothing: rests if it was awake for long enough. Returns
    /// whether it rests now.
    pub fn calm(&mut self, keyframe: &EncodedPacket) -> bool {
        let State::Awake { since: Some(since) } = self.state else { return false };
        if keyframe.capture_time.since(since) < self.config.least_awake || !self.sizes.is_settled() {
            return false;
        }
        self.state = State::Resting;
        self.forget(self.kept.len());
        self.kept_bytes = keyframe.data.len();
        self.kept.push(keyframe.clone());
        true
    }

    /// Told while awake that something goes on: the time it must stay awake begins anew.
    pub fn busy(&mut self, at: Timestamp) {
        if let State::Awake { since } = &mut self.state {
            *since = Some(at);
        }
    }

    fn is_full(&self) -> bool {
        self.kept.len() > MAX_KEPT || self.kept_bytes > MAX_KEPT_BYTES
    }

    /// Drops the oldest packets, so many.
    fn forget(&mut self, count: usize) {
        self.kept_bytes -= self.kept.drain(..count).map(|packet| packet.data.len()).sum::<usize>();
        self.sentinel = self.sentinel.saturating_sub(count);
    }

    fn wake(&mut self) -> Vec<EncodedPacket> {
        let since = self.kept.last().map(|packet| packet.capture_time);
        self.state = State::Awake { since };
        (self.kept_bytes, self.sentinel) = (0, 0);
        std::mem::take(&mut self.kept)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use vigil_base::{Codec, TimeSource};

    use super::*;

    const GOP: u64 = 50;

    fn packet(n: u64, keyframe: bool, bytes: usize) -> EncodedPacket {
        EncodedPacket {
            codec: Codec::H264,
            session: 1,
            pts_ns: n * 40_000_000,
            capture_time: Timestamp::from_micros(1_000_000_000 + n as i64 * 40_000),
            time_source: TimeSource::Ntp,
            keyframe,
            discontinuity: n == 0,
            data: Bytes::from(vec![0; bytes]),
        }
    }

    fn stream(n: u64) -> EncodedPacket {
        let keyframe = n.is_multiple_of(GOP);
        packet(n, keyframe, if keyframe { 60_000 } else { 2_000 + (n * 37 % 200) as usize })
    }

    /// Feeds a stream whose pictures show nothing; returns the gate at rest and the number of the next packet.
    fn at_rest() -> (PacketGate, u64) {
        let mut gate = PacketGate::new(PacketGateConfig::default());
        for n in 0.. {
            let packet = stream(n);
            assert!(matches!(gate.take(packet.clone()), Step::Decode(_)));
            if packet.keyframe && gate.calm(&packet) {
                return (gate, n + 1);
            }
            assert!(n < 20 * GOP, "it never rests");
        }
        unreachable!()
    }

    fn numbers(packets: &[EncodedPacket]) -> Vec<u64> {
        packets.iter().map(|packet| packet.pts_ns / 40_000_000).collect()
    }

    #[test]
    fn at_rest_only_keyframes_are_looked_at() {
        let (mut gate, next) = at_rest();
        for n in next..next + 10 * GOP {
            match gate.take(stream(n)) {
                Step::Hold => assert!(!n.is_multiple_of(GOP)),
                Step::Look(sentinel) => {
                    assert!(sentinel.keyframe);
                    assert!(gate.looked(false).is_empty());
                }
                step => panic!("{step:?} at {n}"),
            }
        }
    }

    #[test]
    fn motion_on_a_sentinel_brings_back_everything_since_the_one_before() {
        let (mut gate, next) = at_rest();
        for n in next..next + GOP - 1 {
            assert!(matches!(gate.take(stream(n)), Step::Hold));
        }
        let sentinel = next + GOP - 1;
        assert!(matches!(gate.take(stream(sentinel)), Step::Look(_)));
        assert_eq!(numbers(&gate.looked(true)), (next - 1..=sentinel).collect::<Vec<_>>());
        assert!(!gate.is_resting());
        assert!(matches!(gate.take(stream(sentinel + 1)), Step::Decode(_)));
    }

    #[test]
    fn what_shows_on_the_second_sentinel_only_is_brought_back_from_before_the_first() {
        let (mut gate, next) = at_rest();
        let mut taken = next..;
        let mut to_sentinel = |gate: &mut PacketGate| loop {
            let n = taken.next().unwrap();
            if matches!(gate.take(stream(n)), Step::Look(_)) {
                return n;
            }
        };
        for _ in 0..3 {
            to_sentinel(&mut gate);
            assert!(gate.looked(false).is_empty());
        }
        let sentinel = to_sentinel(&mut gate);
        assert_eq!(numbers(&gate.looked(true)), (sentinel - 2 * GOP..=sentinel).collect::<Vec<_>>());
    }

    #[test]
    fn where_two_groups_of_pictures_are_too_large_the_older_one_is_dropped() {
        let (mut gate, next) = at_rest();
        let large = |n: u64| {
            packet(n, n.is_multiple_of(GOP), if n.is_multiple_of(GOP) { MAX_KEPT_BYTES * 2 / 5 } else { 2_000 })
        };
        for n in next..next + 4 * GOP {
            match gate.take(large(n)) {
                Step::Hold => {}
                Step::Look(_) => assert!(gate.looked(false).is_empty()),
                _ => panic!("awake at {n}"),
            }
            assert!(gate.kept_bytes <= MAX_KEPT_BYTES);
        }
    }

    #[test]
    fn packets_that_outgrow_their_baseline_wake_before_the_next_sentinel() {
        let (mut gate, next) = at_rest();
        let woke = (next..next + GOP - 1).find_map(|n| match gate.take(packet(n, false, 6_000)) {
            Step::Wake(packets, cause) => Some((n, packets, cause)),
            _ => None,
        });
        let (n, packets, cause) = woke.expect("three times the size is seen");
        assert_eq!(cause, WakeCause::Sizes);
        assert!(n - next < 15, "only after {} packets", n - next);
        assert_eq!(numbers(&packets), (next - 1..=n).collect::<Vec<_>>());
    }

    #[test]
    fn a_cut_wakes_with_nothing_from_before_it() {
        let (mut gate, next) = at_rest();
        gate.take(stream(next));
        let after = EncodedPacket { discontinuity: true, ..packet(next + 30, true, 60_000) };
        match gate.take(after) {
            Step::Wake(packets, WakeCause::Cut) => assert_eq!(numbers(&packets), [next + 30]),
            step => panic!("{step:?}"),
        }
    }

    #[test]
    fn keyframes_that_stay_away_wake_it() {
        let (mut gate, next) = at_rest();
        let woke = (next..next + 20 * GOP)
            .find(|&n| matches!(gate.take(packet(n, false, 2_000)), Step::Wake(_, WakeCause::NoSentinel)));
        assert_eq!(woke.map(|n| (n - next) / 25), Some(4), "after the longest gap of 4.2 s");
    }

    #[test]
    fn it_does_not_rest_while_something_goes_on() {
        let mut gate = PacketGate::new(PacketGateConfig::default());
        for n in 0..20 * GOP {
            let packet = stream(n);
            gate.take(packet.clone());
            gate.busy(packet.capture_time);
            assert!(!packet.keyframe || !gate.calm(&packet));
        }
    }

    proptest! {
        /// Whatever happens: each packet is decoded in full once, or was passed over at rest, and those decoded are whole
        /// runs from a keyframe on. What is kept is bounded.
        #[test]
        fn what_is_decoded_is_decodable(
            gop in 5u64..200,
            moved in prop::collection::vec(any::<bool>(), 40),
            cuts in prop::collection::btree_set(0u64..2000, 0..4),
        ) {
            let mut gate = PacketGate::new(PacketGateConfig::default());
            let mut verdicts = moved.into_iter().cycle();
            let mut last: Option<u64> = None;
            let mut cut_from = 0;
            for n in 0..2000 {
                let cut = cuts.contains(&n);
                let keyframe = n.is_multiple_of(gop) || cut;
                if cut { cut_from = n; }
                let given = EncodedPacket { discontinuity: n == 0 || cut, ..packet(n, keyframe, 2_000) };
                let run = match gate.take(given.clone()) {
                    Step::Decode(packet) => vec![packet],
                    Step::Hold => continue,
                    Step::Look(_) => gate.looked(verdicts.next().unwrap_or(false)),
                    Step::Wake(packets, _) => packets,
                };
                for packet in &run {
                    let number = packet.pts_ns / 40_000_000;
                    prop_assert!(packet.keyframe || last == Some(number - 1), "{number} after {last:?}");
                    prop_assert!(number >= cut_from);
                    last = Some(number);
                }
                if !gate.is_resting() && keyframe {
                    gate.calm(&given);
                }
                prop_assert!(gate.kept.len() <= MAX_KEPT + 1);
                let bytes: usize = gate.kept.iter().map(|packet| packet.data.len()).sum();
                prop_assert_eq!(gate.kept_bytes, bytes);
            }
        }
    }
}
