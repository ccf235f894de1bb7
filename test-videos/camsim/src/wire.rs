//! Faults of the network and of the camera's clock, put onto RTP and RTCP packets just before they leave.
//!
//! Packet layouts are those of RFC 3550: RTP header in section 5.1, sender report in section 6.4.1.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use vigil_base::SharedClock;

/// RTP clock of all video payloads used here (RFC 6184, RFC 7798), per millisecond.
const RTP_TICKS_PER_MS: i64 = 90;
/// Place of the time stamp in an RTP packet.
const RTP_TIME: Range<usize> = 4..8;
/// RTCP packet type of a sender report.
const SENDER_REPORT: u8 = 200;
/// The same damage in every run.
const SEED: u64 = 0x5eed;
/// Bytes altered in a packet that is damaged but not lost.
const ALTERED_BYTES: usize = 8;

/// What happens to the packets of one mount.
pub(crate) struct Wire {
    clock: SharedClock,
    /// Off: a camera that never tells the time.
    sends_reports: bool,
    state: Mutex<State>,
}

struct State {
    muted_until: Duration,
    garbage_until: Duration,
    damage_until: Duration,
    damage_rate: f64,
    repeat_until: Duration,
    /// The time stamp that is sent again and again.
    repeated: Option<[u8; 4]>,
    lose_next: bool,
    ntp_shift_ms: i64,
    rtp_shift_ms: i64,
    rng: StdRng,
}

/// What a packet belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Pictures.
    Rtp,
    /// Reports about the pictures.
    Rtcp,
    /// Sound and its reports: muted with the rest, otherwise left alone.
    Other,
}

impl Kind {
    /// By the pads of rtpbin, whose session 0 is the pictures'.
    fn of(pad: &gst::Pad) -> Self {
        match pad.name().as_str() {
            "send_rtp_src_0" => Self::Rtp,
            "send_rtcp_src_0" => Self::Rtcp,
            _ => Self::Other,
        }
    }
}

/// Whether a packet goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Sent,
    Lost,
}

impl Wire {
    pub(crate) fn new(clock: SharedClock, sends_reports: bool) -> Self {
        let state = State {
            muted_until: Duration::ZERO,
            garbage_until: Duration::ZERO,
            damage_until: Duration::ZERO,
            damage_rate: 0.0,
            repeat_until: Duration::ZERO,
            repeated: None,
            lose_next: true,
            ntp_shift_ms: 0,
            rtp_shift_ms: 0,
            rng: StdRng::seed_from_u64(SEED),
        };
        Self { clock, sends_reports, state: Mutex::new(state) }
    }

    /// Nothing leaves for so long.
    pub(crate) fn mute(&self, lasts: Duration) {
        self.state.lock().muted_until = self.clock.monotonic() + lasts;
    }

    pub(crate) fn garble(&self, lasts: Duration) {
        self.state.lock().garbage_until = self.clock.monotonic() + lasts;
    }

    pub(crate) fn damage(&self, rate: f64, lasts: Duration) {
        let mut state = self.state.lock();
        state.damage_rate = rate;
        state.damage_until = self.clock.monotonic() + lasts;
    }

    /// RTP time stamps stand still for so long.
    pub(crate) fn repeat_times(&self, lasts: Duration) {
        let mut state = self.state.lock();
        state.repeat_until = self.clock.monotonic() + lasts;
        state.repeated = None;
    }

    /// Steps NTP times, and RTP time stamps too where `with_rtp`.
    pub(crate) fn step_clock(&self, by_ms: i64, with_rtp: bool) {
        let mut state = self.state.lock();
        state.ntp_shift_ms = state.ntp_shift_ms.saturating_add(by_ms);
        if with_rtp {
            state.rtp_shift_ms = state.rtp_shift_ms.saturating_add(by_ms);
        }
    }

    /// Milliseconds by which the camera's clock is ahead of the machine's.
    pub(crate) fn ntp_shift_ms(&self) -> i64 {
        self.state.lock().ntp_shift_ms
    }

    /// Passes every packet that leaves through `pad` by the faults.
    pub(crate) fn watch(self: &Arc<Self>, pad: &gst::Pad) {
        let wire = Arc::clone(self);
        let kind = Kind::of(pad);
        pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, info| {
            match info.data.take() {
                Some(gst::PadProbeData::Buffer(buffer)) => {
                    info.data = wire.pass(buffer, kind).map(gst::PadProbeData::Buffer);
                }
                Some(gst::PadProbeData::BufferList(list)) => {
                    let kept: gst::BufferList =
                        list.iter_owned().filter_map(|buffer| wire.pass(buffer, kind)).collect();
                    info.data = (!kept.is_empty()).then_some(gst::PadProbeData::BufferList(kept));
                }
                other => info.data = other,
            }
            if info.data.is_some() { gst::PadProbeReturn::Ok } else { gst::PadProbeReturn::Drop }
        });
    }

    fn pass(&self, mut buffer: gst::Buffer, kind: Kind) -> Option<gst::Buffer> {
        let now = self.clock.monotonic();
        if kind == Kind::Rtcp && !self.sends_reports {
            return None;
        }
        let mut state = self.state.lock();
        if !state.touches(now) {
            return Some(buffer);
        }
        let fate = {
            let mut bytes = buffer.make_mut().map_writable().ok()?;
            match kind {
                Kind::Rtp => state.on_rtp(&mut bytes, now),
                Kind::Rtcp => state.on_rtcp(&mut bytes, now),
                Kind::Other if now < state.muted_until => Fate::Lost,
                Kind::Other => Fate::Sent,
            }
        };
        (fate == Fate::Sent).then_some(buffer)
    }
}

impl State {
    fn touches(&self, now: Duration) -> bool {
        let until = self.muted_until.max(self.garbage_until).max(self.damage_until).max(self.repeat_until);
        now < until || self.ntp_shift_ms != 0 || self.rtp_shift_ms != 0
    }

    fn on_rtp(&mut self, packet: &mut [u8], now: Duration) -> Fate {
        if now < self.muted_until {
            return Fate::Lost;
        }
        shift_rtp(packet, self.rtp_shift_ms);
        if now < self.repeat_until {
            self.repeat_time(packet);
        }
        let payload = payload_start(packet).min(packet.len());
        if now < self.garbage_until {
            self.rng.fill_bytes(&mut packet[payload..]);
        }
        if now < self.damage_until && self.rng.random_bool(self.damage_rate) {
            self.lose_next = !self.lose_next;
            if !self.lose_next {
                return Fate::Lost;
            }
            alter(&mut packet[payload..], &mut self.rng);
        }
        Fate::Sent
    }

    fn repeat_time(&mut self, packet: &mut [u8]) {
        let Some(time) = packet.get_mut(RTP_TIME) else { return };
        let first = *self.repeated.get_or_insert([time[0], time[1], time[2], time[3]]);
        time.copy_from_slice(&first);
    }

    fn on_rtcp(&mut self, packet: &mut [u8], now: Duration) -> Fate {
        if now < self.muted_until {
            return Fate::Lost;
        }
        shift_reports(packet, self.ntp_shift_ms, self.rtp_shift_ms);
        Fate::Sent
    }
}

fn alter(payload: &mut [u8], rng: &mut StdRng) {
    if payload.is_empty() {
        return;
    }
    for _ in 0..ALTERED_BYTES {
        let at = rng.random_range(0..payload.len());
        payload[at] ^= rng.random_range(1..=255u8);
    }
}

/// Length of the header with its contributing sources; extensions are not sent here.
fn payload_start(packet: &[u8]) -> usize {
    packet.first().map_or(0, |first| 12 + usize::from(first & 0x0f) * 4)
}

fn shift_rtp(packet: &mut [u8], by_ms: i64) {
    if let Some(time) = packet.get_mut(RTP_TIME) {
        shift_ticks(time, by_ms);
    }
}

/// Adds to the 32-bit RTP time stamp in `time`, which wraps.
fn shift_ticks(time: &mut [u8], by_ms: i64) {
    let Ok(bytes) = <[u8; 4]>::try_from(&*time) else { return };
    let ticks = by_ms.wrapping_mul(RTP_TICKS_PER_MS) as u32;
    time.copy_from_slice(&u32::from_be_bytes(bytes).wrapping_add(ticks).to_be_bytes());
}

/// Shifts every sender report of a compound packet.
fn shift_reports(compound: &mut [u8], ntp_ms: i64, rtp_ms: i64) {
    let mut rest = compound;
    while rest.len() >= 4 {
        let length = (usize::from(u16::from_be_bytes([rest[2], rest[3]])) + 1) * 4;
        let Some((report, tail)) = rest.split_at_mut_checked(length) else { return };
        if report[1] == SENDER_REPORT && report.len() >= 20 {
            shift_ntp(&mut report[8..16], ntp_ms);
            shift_ticks(&mut report[16..20], rtp_ms);
        }
        rest = tail;
    }
}

/// Adds to the NTP time in `time`: seconds since 1900 as 32.32 fixed point.
fn shift_ntp(time: &mut [u8], by_ms: i64) {
    let Ok(bytes) = <[u8; 8]>::try_from(&*time) else { return };
    let fixed = (i128::from(by_ms) << 32) / 1000;
    time.copy_from_slice(&u64::from_be_bytes(bytes).wrapping_add(fixed as u64).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use vigil_base::{Clock, SimClock, Timestamp};

    fn wire() -> (Arc<SimClock>, Wire) {
        let clock = SimClock::new(Timestamp::from_micros(0));
        (clock.clone(), Wire::new(clock, true))
    }

    fn rtp(payload: u8) -> Vec<u8> {
        let mut packet = vec![0x80, 96, 0, 1, 0, 0, 0, 100, 9, 9, 9, 9];
        packet.extend([payload; 40]);
        packet
    }

    #[test]
    fn a_muted_wire_lets_nothing_through_until_its_time_is_over() {
        let (clock, wire) = wire();
        wire.mute(Duration::from_secs(5));
        let sent = |now| wire.state.lock().on_rtp(&mut rtp(7), now);
        assert_eq!(sent(clock.monotonic()), Fate::Lost);
        clock.advance(Duration::from_secs(5));
        assert_eq!(sent(clock.monotonic()), Fate::Sent);
    }

    #[test]
    fn damage_hits_about_its_share_and_both_loses_and_alters() {
        let (clock, wire) = wire();
        wire.damage(0.2, Duration::from_secs(1));
        let (mut lost, mut altered) = (0, 0);
        for _ in 0..10_000 {
            let mut packet = rtp(7);
            match wire.state.lock().on_rtp(&mut packet, clock.monotonic()) {
                Fate::Lost => lost += 1,
                Fate::Sent if packet != rtp(7) => altered += 1,
                Fate::Sent => {}
            }
            assert_eq!(packet[..12], rtp(7)[..12], "headers stay whole");
        }
        assert!((800..1200).contains(&lost) && (800..1200).contains(&altered), "{lost} lost, {altered} altered");
    }

    #[test]
    fn garbage_keeps_the_header_and_nothing_else() {
        let (clock, wire) = wire();
        wire.garble(Duration::from_secs(1));
        let mut packet = rtp(7);
        wire.state.lock().on_rtp(&mut packet, clock.monotonic());
        assert_eq!(packet[..12], rtp(7)[..12]);
        assert!(packet[12..].windows(2).all(|pair| pair != [7, 7]), "nothing is left of the payload");
    }

    #[test]
    fn a_clock_step_moves_reports_and_rtp_times_together() {
        let (clock, wire) = wire();
        wire.step_clock(-2_500, true);
        let mut packet = rtp(7);
        wire.state.lock().on_rtp(&mut packet, clock.monotonic());
        assert_eq!(u32::from_be_bytes(packet[4..8].try_into().unwrap()), 100u32.wrapping_sub(225_000));

        let mut report = vec![0x80, SENDER_REPORT, 0, 6];
        report.extend([0; 4]);
        report.extend((10u64 << 32).to_be_bytes());
        report.extend([0; 12]);
        report.extend([0x80, 202, 0, 0]);
        wire.state.lock().on_rtcp(&mut report, clock.monotonic());
        let ntp = u64::from_be_bytes(report[8..16].try_into().unwrap());
        assert_eq!(ntp, (7 << 32) + (1 << 31));
        assert_eq!(u32::from_be_bytes(report[16..20].try_into().unwrap()), 0u32.wrapping_sub(225_000));
    }

    #[test]
    fn repeated_times_stand_still_and_then_go_on() {
        let (clock, wire) = wire();
        wire.repeat_times(Duration::from_secs(1));
        let sent = |time: u8, now| {
            let mut packet = rtp(7);
            packet[7] = time;
            wire.state.lock().on_rtp(&mut packet, now);
            packet[7]
        };
        assert_eq!([1, 2, 3].map(|time| sent(time, clock.monotonic())), [1, 1, 1]);
        clock.advance(Duration::from_secs(1));
        assert_eq!(sent(4, clock.monotonic()), 4);
    }

    #[test]
    fn a_cut_report_is_left_alone() {
        for length in 0..20 {
            let mut cut = vec![0x80, SENDER_REPORT, 0, 6].into_iter().chain([1; 16]).take(length).collect::<Vec<u8>>();
            let before = cut.clone();
            shift_reports(&mut cut, 1, 1);
            assert_eq!(cut, before);
        }
    }
}
