//! The gate before the decoder: which packets need decoding at all.
//!
//! ```text
//!           a keyframe shows nothing, and the next is near
//!   awake ────────────────────────────────────────────────▶ resting
//!   all is   ◀────────────────────────────────────────────  only keyframes are decoded, as sentinels;
//!   decoded   a sentinel shows motion, packets outgrow       the packets since the last but one are kept
//!             their baseline, no sentinel comes in time
//! ```
//!
//! It begins at rest, too: whoever runs many cameras lets some of them learn their scene at a time ([`PacketGate::open`]), and none
//! of the others is decoded in full but for a reason. How far apart keyframes are is not known then: all is kept for as long as
//! nobody may be unseen, and decoded then if no other keyframe has come.
//!
//! A stream that was cut is no reason to wake: its first keyframe is a sentinel, too, and shows whether the scene is as it was. Else a machine
//! that cannot keep up, and so cuts its cameras' streams, would decode all the more.
//!
//! A sentinel that shows something says that it came since the sentinel before, or a little earlier: who has one foot in the
//! picture, or is far away and dark, may not show on one sentinel and on the next. So everything since the sentinel before the
//! last one is decoded after all, from the packets that were kept, and nothing of its beginning is lost. Packet sizes wake the gate sooner, for what is
//! large; one far person does not show in them (a walker of 62 x 131 pixels moves the mean packet of a noisy 1080p scene by
//! a third of its deviation), which is why keyframes are looked at whatever the sizes say. The idea of working on the
//! compressed stream is that of `CoVA` (Hwang et al., USENIX ATC 2022); that of keyframes as sentinels is older than both.
//!
//! Nobody is unseen for longer than [`PacketGateConfig::longest_gap`], whatever the camera's groups of pictures: where they are
//! longer, each is decoded from its keyframe on until what is left of it is no longer than that, and only the rest is passed
//! over. A group of 2 s costs its keyframe, one of 10 s six tenths of all decoding. A picture can be had in no other way
//! than by decoding all that it refers to.

use std::time::Duration;

use vigil_base::{EncodedPacket, Timestamp};

use crate::sizes::SizeBaseline;

/// Packets that may be kept: two groups of pictures of a camera with 50 pictures a second, and some more.
const MAX_KEPT: usize = 512;
/// Bytes that may be kept: 5 s of a stream of 25 Mbit/s.
const MAX_KEPT_BYTES: usize = 16 << 20;
/// Keyframes come so much earlier or later than their distance before says: a picture or two.
const GROUP_JITTER: Duration = Duration::from_millis(100);
/// Pictures that are shown before their group's keyframe follow it (open groups); they are no sign of a clock set back.
const LEADING: Duration = Duration::from_secs(1);

/// How a packet gate decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketGateConfig {
    /// Longest time for which nothing is decoded.
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
    /// The stream was cut, and does not begin again with a keyframe.
    Cut,
    /// No keyframe came in time, or more was kept than there is room for.
    NoSentinel,
    /// It is new: it has its turn to learn the scene, or something moves on its first keyframes.
    New,
}

/// Watches the packets of one camera.
#[derive(Debug)]
pub struct PacketGate {
    config: PacketGateConfig,
    state: State,
    /// At rest, all since the last sentinel but one; awake, all since the last keyframe, unless something goes on.
    kept: Vec<EncodedPacket>,
    kept_bytes: usize,
    /// Where in `kept` the last sentinel is.
    sentinel: usize,
    /// At rest: what was taken up to then was decoded, or is shown by a sentinel to be nothing.
    seen_until: Timestamp,
    session: Option<u32>,
    /// It has never been awake.
    new: bool,
    groups: Groups,
    sizes: SizeBaseline,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Awake {
        since: Option<Timestamp>,
        /// The last keyframe shows nothing, and nothing has gone on since.
        calm: bool,
    },
    Resting,
    /// A sentinel is being looked at.
    Looking,
}

/// How far apart a camera's keyframes are.
#[derive(Debug, Default)]
struct Groups {
    keyframe: Option<Timestamp>,
    length: Option<Duration>,
}

impl Groups {
    fn follow(&mut self, packet: &EncodedPacket) {
        if packet.discontinuity {
            self.keyframe = None;
        }
        if packet.keyframe {
            self.length = self.keyframe.map(|before| packet.capture_time.since(before)).or(self.length);
            self.keyframe = Some(packet.capture_time);
        }
    }

    /// Time from then to the next keyframe, as far as the last distance tells; none before there was one.
    fn left(&self, from: Timestamp) -> Option<Duration> {
        Some(self.length?.saturating_sub(from.since(self.keyframe?)))
    }
}

impl PacketGate {
    /// A gate at rest, which has seen nothing yet.
    pub fn new(config: PacketGateConfig) -> Self {
        Self {
            config,
            state: State::Resting,
            kept: Vec::new(),
            kept_bytes: 0,
            sentinel: 0,
            seen_until: Timestamp::default(),
            session: None,
            new: true,
            groups: Groups::default(),
            sizes: SizeBaseline::default(),
        }
    }

    /// Whether only sentinels are decoded now.
    pub fn is_resting(&self) -> bool {
        !matches!(self.state, State::Awake { .. })
    }

    /// Whether it rests and has never been awake.
    pub fn is_new(&self) -> bool {
        self.new && self.is_resting()
    }

    /// Wakes a new gate. Returns what is to be decoded now, in order.
    pub fn open(&mut self) -> Vec<EncodedPacket> {
        self.wake()
    }

    /// Takes the next packet in order of decoding. After [`Step::Look`], [`PacketGate::looked`] must come first.
    pub fn take(&mut self, packet: EncodedPacket) -> Step {
        if self.session.replace(packet.session).is_some_and(|before| before != packet.session) {
            // Another connection, which may bring another stream.
            (self.sizes, self.groups) = (SizeBaseline::default(), Groups::default());
        }
        let outgrown = self.sizes.observe(packet.data.len(), packet.keyframe);
        self.groups.follow(&packet);
        let (cut, keyframe) = (packet.discontinuity, packet.keyframe);
        if cut {
            // Nothing kept before the cut belongs to what comes.
            self.forget(self.kept.len());
        }
        if let State::Awake { since, calm } = &mut self.state {
            since.get_or_insert(packet.capture_time);
            *calm &= !keyframe;
            self.keep_group(&packet);
            return Step::Decode(packet);
        }
        let waited = packet.capture_time.since(self.seen_until);
        let late = waited > self.config.longest_gap || packet.capture_time + LEADING < self.seen_until;
        self.keep(&packet);
        if self.is_full() {
            self.forget(self.sentinel);
        }
        let full = self.is_full();
        let cause = match (cut && !keyframe, full || (late && !keyframe), outgrown) {
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

    /// What the last sentinel showed. Returns what is to be decoded now, in order: all that may show how it came, where it
    /// showed motion; the sentinel, where its group is too long to be passed over as a whole.
    pub fn looked(&mut self, moved: bool) -> Vec<EncodedPacket> {
        let Some(sentinel) = self.kept.last().filter(|_| !moved).cloned() else { return self.wake() };
        let since = sentinel.capture_time;
        if self.is_near_keyframe(since) {
            self.state = State::Resting;
            self.seen_until = since;
            // Only what follows the sentinel before this one may be needed from here on.
            self.forget(self.sentinel);
            self.sentinel = self.kept.len() - 1;
            return Vec::new();
        }
        self.forget(self.kept.len() - 1);
        self.state = State::Awake { since: Some(since), calm: true };
        vec![sentinel]
    }

    /// Told while awake that the last keyframe's picture shows nothing, and that nothing else goes on.
    pub fn calm(&mut self) {
        let keyframe = self.kept.first().map(|keyframe| keyframe.capture_time);
        if let (State::Awake { since: Some(since), calm }, Some(at)) = (&mut self.state, keyframe) {
            *calm |= at.since(*since) >= self.config.least_awake && self.sizes.is_settled();
        }
    }

    /// Asked while awake, after the packet of that time was decoded: whether it rests from here on.
    pub fn rests(&mut self, at: Timestamp) -> bool {
        if !matches!(self.state, State::Awake { calm: true, .. }) || self.kept.is_empty() || !self.is_near_keyframe(at)
        {
            return false;
        }
        self.state = State::Resting;
        (self.seen_until, self.sentinel) = (at, 0);
        true
    }

    /// Told while awake that something goes on: the time it must stay awake begins anew.
    pub fn busy(&mut self, at: Timestamp) {
        if let State::Awake { since, calm } = &mut self.state {
            (*since, *calm) = (Some(at), false);
            self.forget(self.kept.len());
        }
    }

    /// Whether all from then to the next keyframe may be passed over, as far as is known.
    fn is_near_keyframe(&self, at: Timestamp) -> bool {
        self.groups.left(at).is_none_or(|left| left + GROUP_JITTER <= self.config.longest_gap)
    }

    fn is_full(&self) -> bool {
        self.kept.len() > MAX_KEPT || self.kept_bytes > MAX_KEPT_BYTES
    }

    fn keep(&mut self, packet: &EncodedPacket) {
        self.kept_bytes += packet.data.len();
        self.kept.push(packet.clone());
    }

    /// While awake: keeps what will be needed if it rests before the next keyframe.
    fn keep_group(&mut self, packet: &EncodedPacket) {
        if packet.keyframe {
            self.forget(self.kept.len());
        }
        if packet.keyframe || !self.kept.is_empty() {
            self.keep(packet);
        }
        if self.is_full() {
            self.forget(self.kept.len());
        }
    }

    /// Drops the oldest packets, so many.
    fn forget(&mut self, count: usize) {
        self.kept_bytes -= self.kept.drain(..count).map(|packet| packet.data.len()).sum::<usize>();
        self.sentinel = self.sentinel.saturating_sub(count);
    }

    fn wake(&mut self) -> Vec<EncodedPacket> {
        let since = self.kept.last().map(|packet| packet.capture_time);
        (self.state, self.new) = (State::Awake { since, calm: false }, false);
        (self.kept_bytes, self.sentinel) = (0, 0);
        std::mem::take(&mut self.kept)
    }
}

#[cfg(test)]
#[path = "packets_tests.rs"]
mod tests;
