//! One camera: what it plays, to whom, and what it was told to do wrong.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSrc;
use parking_lot::{Condvar, Mutex};
use vigil_base::{Codec, SharedClock, Size, Timestamp};

use crate::clip::Clip;
use crate::config::MountConfig;
use crate::fault::Fault;
use crate::player::{Due, Player};
use crate::wire::Wire;

/// Access units that may wait in a mount's pipeline: 2 s at 30 per second. Clients have queues of their own, so this fills
/// only when the whole pipeline hangs; then pictures are skipped up to a keyframe.
const MAX_QUEUED_UNITS: u64 = 60;
/// A picture that is due for longer is skipped, as a camera that was suspended would.
const MAX_LATENESS: Duration = Duration::from_secs(1);
/// Pictures whose sending is remembered for [`MountStats::recent`]: a minute at 10 per second.
const REMEMBERED_FRAMES: usize = 600;

/// A picture as it was sent.
#[derive(Debug, Clone)]
pub struct SentFrame {
    /// Its place in the clip, from 0.
    pub clip_index: usize,
    /// When the picture was taken, by this machine's clock: the truth that a receiver's capture time is compared with.
    /// It is due to be sent then, or where B frames change the order, up to a few pictures later.
    pub due_time: Timestamp,
    /// The same by the camera's clock, which [`Fault::TimeJump`] and [`Fault::NtpStep`] set wrong.
    pub camera_time: Timestamp,
    /// Decoding can start here.
    pub keyframe: bool,
    /// The access unit.
    pub data: Bytes,
}

/// What a mount has done so far.
#[derive(Debug, Clone)]
pub struct MountStats {
    /// Codec of what it sends.
    pub codec: Codec,
    /// Picture size now.
    pub size: Size,
    /// Frames per second.
    pub fps: f64,
    /// Pictures given to the server while at least one client was there.
    pub frames_sent: u64,
    /// Pictures that were due and not sent: frozen, late, or the pipeline was full.
    pub frames_skipped: u64,
    /// Clients that play it now.
    pub clients: usize,
    /// Plays since the start.
    pub sessions: u64,
    /// The last pictures sent, oldest first, at most 600.
    pub recent: Vec<SentFrame>,
}

pub(crate) struct Mount {
    pub config: MountConfig,
    pub wire: Arc<Wire>,
    clock: SharedClock,
    state: Mutex<State>,
    stopped: Condvar,
}

struct State {
    player: Player,
    outlet: Option<Outlet>,
    frozen_until: Duration,
    refused_until: Duration,
    stop: bool,
    clients: usize,
    sessions: u64,
    frames_sent: u64,
    frames_skipped: u64,
    recent: VecDeque<SentFrame>,
}

/// The way into the pipeline that all clients of a mount share; there is one while there are clients.
struct Outlet {
    source: AppSrc,
    /// Running time of the pipeline, minus monotonic time; known once the pipeline runs.
    epoch_ns: Option<i128>,
}

/// Running times of one picture.
#[derive(Clone, Copy)]
struct Times {
    sent: gst::ClockTime,
    shown: gst::ClockTime,
}

impl Mount {
    pub fn new(config: MountConfig, clip: Arc<Clip>, clock: SharedClock) -> Self {
        let state = State {
            player: Player::new(clip, config.start_offset),
            outlet: None,
            frozen_until: Duration::ZERO,
            refused_until: Duration::ZERO,
            stop: false,
            clients: 0,
            sessions: 0,
            frames_sent: 0,
            frames_skipped: 0,
            recent: VecDeque::with_capacity(REMEMBERED_FRAMES),
        };
        let wire = Arc::new(Wire::new(Arc::clone(&clock), config.sender_reports.is_some()));
        Self { config, wire, clock, state: Mutex::new(state), stopped: Condvar::new() }
    }

    /// A pipeline for new clients is there.
    pub fn open(&self, source: AppSrc) {
        source.set_max_buffers(MAX_QUEUED_UNITS);
        self.state.lock().outlet = Some(Outlet { source, epoch_ns: None });
    }

    /// The pipeline of `source` is gone; a newer one stays.
    pub fn close(&self, source: &AppSrc) {
        self.state.lock().outlet.take_if(|outlet| outlet.source == *source);
    }

    pub fn client_began(&self) {
        let mut state = self.state.lock();
        state.clients += 1;
        state.sessions += 1;
    }

    pub fn client_ended(&self) {
        let mut state = self.state.lock();
        state.clients = state.clients.saturating_sub(1);
    }

    pub fn refuses(&self) -> bool {
        self.clock.monotonic() < self.state.lock().refused_until
    }

    pub fn clip(&self) -> Arc<Clip> {
        Arc::clone(self.state.lock().player.clip())
    }

    pub fn change_to(&self, clip: Arc<Clip>) {
        self.state.lock().player.change_to(clip);
    }

    /// The faults that need nobody but the mount; the others are the server's and the simulator's.
    pub fn suffer(&self, fault: Fault) {
        let until = |lasts: Duration| self.clock.monotonic() + lasts;
        match fault {
            Fault::Freeze(lasts) => {
                self.state.lock().frozen_until = until(lasts);
                self.wire.mute(lasts);
            }
            Fault::Refuse(lasts) => self.state.lock().refused_until = until(lasts),
            Fault::TimeJump { by_ms } => self.wire.step_clock(by_ms, true),
            Fault::NtpStep { by_ms } => self.wire.step_clock(by_ms, false),
            Fault::Damage { rate, lasts } => self.wire.damage(rate, lasts),
            Fault::GarbageStream(lasts) => self.wire.garble(lasts),
            Fault::RepeatTimes(lasts) => self.wire.repeat_times(lasts),
            Fault::Close | Fault::Resize(_) => {}
        }
    }

    /// Ends a freeze early.
    pub fn thaw(&self) {
        self.state.lock().frozen_until = Duration::ZERO;
        self.wire.mute(Duration::ZERO);
    }

    pub fn stats(&self) -> MountStats {
        let state = self.state.lock();
        let clip = state.player.clip();
        MountStats {
            codec: clip.codec,
            size: clip.size,
            fps: clip.rate.fps(),
            frames_sent: state.frames_sent,
            frames_skipped: state.frames_skipped,
            clients: state.clients,
            sessions: state.sessions,
            recent: state.recent.iter().cloned().collect(),
        }
    }

    /// Makes [`Self::play`] return.
    pub fn stop(&self) {
        self.state.lock().stop = true;
        self.stopped.notify_all();
    }

    /// Sends one picture at each tick until stopped. Each deadline is counted from the start, so that nothing drifts.
    pub fn play(&self) {
        let (start, rate) = (self.clock.monotonic(), self.state.lock().player.clip().rate);
        let mut tick = 0;
        loop {
            let due = start + rate.time_of(tick);
            if self.stopped_before(due) {
                return;
            }
            self.send_next(due);
            tick += 1;
        }
    }

    fn stopped_before(&self, due: Duration) -> bool {
        let mut state = self.state.lock();
        while !state.stop {
            match due.checked_sub(self.clock.monotonic()) {
                Some(wait) if !wait.is_zero() => self.stopped.wait_for(&mut state, wait),
                _ => return false,
            };
        }
        true
    }

    fn send_next(&self, due: Duration) {
        let mut state = self.state.lock();
        let now = self.clock.monotonic();
        let State { player, outlet, .. } = &mut *state;
        let Some(outlet) = outlet else {
            player.tick();
            return;
        };
        let Some(pts) = outlet.running_time(now, due, player, self.config.starts_on_play) else { return };
        let full = outlet.source.current_level_buffers() >= MAX_QUEUED_UNITS;
        if now < state.frozen_until || now > due + MAX_LATENESS || full {
            state.player.hold();
            state.frames_skipped += 1;
            return;
        }
        let next = state.player.tick();
        let before = state.player.clip().rate.time_of(u64::from(next.unit.taken_before));
        let due_time = self.clock.now() - now.saturating_sub(due) - before;
        let shown = pts.saturating_sub(gst::ClockTime::from_nseconds(before.as_nanos() as u64));
        state.send(next, Times { sent: pts, shown }, due_time, self.wire.ntp_shift_ms());
    }
}

impl Outlet {
    /// The pipeline's running time when monotonic time is `due`; nothing until the pipeline runs.
    ///
    /// The first time there is one, a client has just come, and need not wait for a keyframe.
    fn running_time(
        &mut self,
        now: Duration,
        due: Duration,
        player: &mut Player,
        from_beginning: bool,
    ) -> Option<gst::ClockTime> {
        let epoch_ns = if let Some(epoch_ns) = self.epoch_ns {
            epoch_ns
        } else {
            // Before it plays, it may have a clock already and not yet the time its clock began.
            let plays = self.source.current_state() == gst::State::Playing;
            let running = self.source.current_running_time().filter(|_| plays)?;
            if from_beginning {
                player.rewind();
            } else {
                player.want_keyframe();
            }
            *self.epoch_ns.insert(i128::from(running.nseconds()) - now.as_nanos() as i128)
        };
        let nanos = (due.as_nanos() as i128 + epoch_ns).max(0);
        Some(gst::ClockTime::from_nseconds(nanos as u64))
    }
}

impl State {
    fn send(&mut self, next: Due, times: Times, due_time: Timestamp, ntp_shift_ms: i64) {
        let Some(outlet) = &self.outlet else { return };
        let mut buffer = gst::Buffer::from_slice(next.unit.data.clone());
        let fresh = buffer.get_mut().expect("nobody else has the buffer yet");
        fresh.set_pts(times.shown);
        fresh.set_dts(times.sent);
        if !next.unit.keyframe {
            fresh.set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        if outlet.source.push_buffer(buffer).is_err() {
            // The pipeline is being taken down; its end closes the outlet.
            self.frames_skipped += 1;
            return;
        }
        self.frames_sent += 1;
        if self.recent.len() == REMEMBERED_FRAMES {
            self.recent.pop_front();
        }
        self.recent.push_back(SentFrame {
            clip_index: next.index,
            due_time,
            camera_time: Timestamp::from_micros(due_time.as_micros().saturating_add(ntp_shift_ms * 1000)),
            keyframe: next.unit.keyframe,
            data: next.unit.data,
        });
    }
}
