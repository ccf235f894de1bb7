//! The camera thread's work: from packets to the frames that are analysed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use vigil_base::error::chain;
use vigil_base::{EncodedPacket, Frame, SharedClock, Timestamp};
use vigil_decode::{DecodeError, Decoder};
use vigil_gate::{MotionGate, PacketGate, Reason, Step, WakeCause};

use crate::behind::Behind;
use crate::config::ChainConfig;
use crate::ledger::DropCause;
use crate::openings::Opening;
use crate::sampler::Sampler;
use crate::shared::Shared;
use crate::status::Stage;

/// Packets without a picture after which a stream counts as unreadable: decoders hold back a few where there are B frames.
const PACKETS_IN_VAIN: u32 = 4;
/// And for so long: a cut costs up to the next keyframe, which comes every second or two.
const PICTURE_PATIENCE: Duration = Duration::from_secs(3);
const NO_PICTURE: &str = "its packets give no picture: the stream is damaged, or its keyframes are seconds apart";

/// Decodes what must be decoded, and puts what must be analysed into the slot.
pub(crate) struct Reader<'a> {
    config: &'a ChainConfig,
    shared: &'a Arc<Shared>,
    /// Made when the first packet tells the codec.
    decoder: Option<Decoder>,
    decoded: Arc<Mutex<VecDeque<Frame>>>,
    sampler: Sampler,
    gate: Option<Gate>,
    /// Since the gate woke.
    behind: Behind,
    /// Capture time of the last frame that went into the slot.
    last_put: Option<Timestamp>,
    clock: &'a SharedClock,
    /// Packets given to the decoder since its last picture, and when the first of them came (monotonic).
    in_vain: Option<(u32, Duration)>,
}

/// The gate before the decoder, and what compares its sentinels.
///
/// Sentinels are keyframes and nothing else, also while the gate is awake: they are coded alike, so the background they make
/// knows only the scene's own noise.
struct Gate {
    packets: PacketGate,
    sentinels: MotionGate,
    /// Capture time of the last keyframe, while awake and until its picture comes: a decoder that puts pictures into order
    /// (B-frames) gives it a few packets later.
    awaited: Option<Timestamp>,
    /// Its turn, until it rests or has something to do.
    turn: Option<Opening>,
}

impl<'a> Reader<'a> {
    pub fn new(config: &'a ChainConfig, shared: &'a Arc<Shared>, clock: &'a SharedClock) -> Self {
        let gate = config.gate.map(|gate| Gate {
            packets: PacketGate::new(gate),
            sentinels: MotionGate::new(config.analyser.gate.unwrap_or_default()),
            awaited: None,
            turn: None,
        });
        let sampler = Sampler::new(config.rate);
        let decoded = Arc::default();
        let behind = Behind::default();
        Self { config, shared, decoder: None, decoded, sampler, gate, behind, last_put: None, clock, in_vain: None }
    }

    /// Takes the camera's next packet.
    pub fn take(&mut self, packet: EncodedPacket) {
        self.shared.ledger.received();
        let (session, pts_ns) = (packet.session, packet.pts_ns);
        if self.gate.as_ref().is_some_and(|gate| gate.packets.is_new()) && self.shared.is_busy() {
            // Something that is tracked moves from one of its first keyframes to the next.
            self.behind.begin(session, pts_ns, self.clock.monotonic());
            self.open();
        }
        let Some(gate) = &mut self.gate else { return self.decode(&packet) };
        let step = gate.packets.take(packet);
        if matches!(step, Step::Look(_) | Step::Wake(..)) {
            self.behind.begin(session, pts_ns, self.clock.monotonic());
        }
        match step {
            Step::Decode(packet) => self.watch(&packet),
            Step::Hold => self.shared.ledger.gated(),
            Step::Look(sentinel) => self.look(&sentinel),
            Step::Wake(packets, cause) => self.wake(&packets, cause),
        }
    }

    /// Awake: decodes a packet, and rests after a keyframe that shows nothing, while nothing moves that is tracked.
    fn watch(&mut self, packet: &EncodedPacket) {
        let waited = self.behind.waited(packet, self.clock.monotonic());
        self.push(packet);
        let Some(gate) = &mut self.gate else { return };
        if packet.keyframe {
            gate.awaited = Some(packet.capture_time);
        }
        let shown = gate.awaited.and_then(|at| {
            let decoded = self.decoded.lock();
            decoded.iter().find(|frame| frame.capture_time == at).cloned()
        });
        self.hand_out(waited);
        let Some(gate) = &mut self.gate else { return };
        let moved = shown.is_some_and(|keyframe| {
            gate.awaited = None;
            let moved = gate.sentinels.observe(&keyframe).moved;
            if !moved {
                gate.packets.calm();
            }
            moved
        });
        if moved || self.shared.is_busy() {
            gate.turn = None;
            gate.packets.busy(packet.capture_time);
        } else if gate.packets.rests(packet.capture_time) {
            gate.turn = None;
            self.rest();
        }
    }

    /// The connection is gone: whoever waits for a turn need not wait for this camera.
    pub fn interrupted(&mut self) {
        if let Some(gate) = &mut self.gate {
            gate.turn = None;
        }
    }

    /// Wakes the gate for the first time.
    fn open(&mut self) {
        let Some(gate) = &mut self.gate else { return };
        let packets = gate.packets.open();
        self.wake(&packets, WakeCause::New);
    }

    fn rest(&mut self) {
        // What the decoder holds back is wanted now: it will be given other keyframes, or the same one again.
        self.drain();
        self.hand_out(false);
        self.shared.set_resting(true);
        tracing::debug!(camera = %self.config.camera, "nothing goes on: only keyframes are decoded");
    }

    /// At rest: one keyframe.
    fn look(&mut self, sentinel: &EncodedPacket) {
        self.push_alone(sentinel);
        let frame = self.decoded.lock().drain(..).next_back();
        let Some(gate) = &mut self.gate else { return };
        // A sentinel that cannot be decoded shows nobody that nothing goes on.
        let moved = frame.as_ref().is_none_or(|frame| {
            let motion = gate.sentinels.observe(frame);
            // The very first has nothing to differ from.
            motion.moved && motion.reason != Reason::First
        });
        let packets = gate.packets.looked(moved);
        if moved {
            return self.wake(&packets, WakeCause::Sentinel);
        }
        if !packets.is_empty() {
            return self.catch_up(&packets);
        }
        let is_new = gate.packets.is_new();
        if is_new {
            gate.turn = self.config.openings.take();
            if gate.turn.is_some() {
                return self.open();
            }
        }
        self.shared.set_resting(true);
        let Some(frame) = frame else { return };
        self.shared.ledger.decoded();
        self.shared.status.frame_at(frame.capture_time);
        let since = self.last_put.map(|last| frame.capture_time.since(last));
        if is_new || since.is_none_or(|since| since >= self.config.analyser.attention.still_refresh) {
            self.put(frame, false);
        } else {
            self.shared.ledger.still();
        }
    }

    /// Decodes what was kept, faster than real time; none of it is dropped for want of time.
    fn wake(&mut self, packets: &[EncodedPacket], cause: WakeCause) {
        tracing::debug!(camera = %self.config.camera, ?cause, packets = packets.len(), "awake");
        self.shared.ledger.woke(cause);
        self.catch_up(packets);
    }

    fn catch_up(&mut self, packets: &[EncodedPacket]) {
        self.shared.set_resting(false);
        for packet in packets {
            self.push(packet);
            self.hand_out(true);
        }
    }

    fn decode(&mut self, packet: &EncodedPacket) {
        self.push(packet);
        self.hand_out(false);
    }

    fn push(&mut self, packet: &EncodedPacket) {
        let pushed = self.try_push(packet);
        self.note_sight(pushed);
    }

    /// Decodes a keyframe whose followers will not be decoded: whatever the decoder holds back is wanted now.
    fn push_alone(&mut self, packet: &EncodedPacket) {
        let pushed = self.try_push(packet);
        self.drain();
        self.note_sight(pushed);
    }

    fn drain(&mut self) {
        if let Some(decoder) = &mut self.decoder {
            decoder.drain();
        }
    }

    /// Tells when packets give no pictures, and when they do again.
    fn note_sight(&mut self, pushed: Result<(), DecodeError>) {
        if !self.decoded.lock().is_empty() {
            self.in_vain = None;
            return self.shared.sight(self.config, Stage::Decode, None);
        }
        let now = self.clock.monotonic();
        let (packets, since) = self.in_vain.map_or((1, now), |(packets, since)| (packets + 1, since));
        self.in_vain = Some((packets, since));
        if let Err(error) = pushed {
            let why = format!("its pictures cannot be decoded: {}", chain(&error));
            self.shared.sight(self.config, Stage::Decode, Some(&why));
        } else if packets >= PACKETS_IN_VAIN && now.saturating_sub(since) >= PICTURE_PATIENCE {
            self.shared.sight(self.config, Stage::Decode, Some(NO_PICTURE));
        }
    }

    fn try_push(&mut self, packet: &EncodedPacket) -> Result<(), DecodeError> {
        if let Some(decoder) = &mut self.decoder {
            return decoder.push(packet);
        }
        let decoded = Arc::clone(&self.decoded);
        let keep = Box::new(move |frame| decoded.lock().push_back(frame));
        let made = Decoder::new(packet.codec, self.config.decoder, self.config.camera.as_str(), keep)?;
        self.decoder.insert(made).push(packet)
    }

    /// Passes on the frames that the decoder gave since the last call.
    fn hand_out(&mut self, catching_up: bool) {
        loop {
            let Some(frame) = self.decoded.lock().pop_front() else { return };
            self.shared.ledger.decoded();
            self.shared.status.frame_at(frame.capture_time);
            // A sentinel that was analysed comes again when what is around it is decoded.
            let again = catching_up && self.last_put.is_some_and(|last| frame.capture_time <= last);
            if !again && self.sampler.takes(frame.capture_time) {
                self.put(frame, catching_up);
            } else {
                self.shared.ledger.not_due();
            }
        }
    }

    fn put(&mut self, frame: Frame, catching_up: bool) {
        self.last_put = Some(frame.capture_time);
        let slot = &self.shared.slot;
        let dropped = if catching_up { slot.put_after(frame) } else { slot.put(frame) };
        (0..dropped).for_each(|_| self.shared.ledger.dropped(DropCause::Overload));
    }
}
