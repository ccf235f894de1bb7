//! From presentation times to capture times. Pure: no clock of its own, no sockets.
//!
//! A camera's pictures carry a presentation time (PTS), exact in its differences and meaningless in itself. Capture time is
//! PTS plus an offset, and this file is about that offset:
//!
//! - **Before the first sender report** it is taken from arrival: the smallest delay seen between PTS and the edge's
//!   monotonic clock, as in the clock filter of NTP (RFC 5905, section 10), since network and queues only ever add delay.
//!   The minimum leaks upwards slowly, so that the drift of two crystals is followed both ways.
//! - **After it** the camera's own NTP time counts (RFC 3550, section 6.4.1).
//! - **A small change of the offset is slewed**: capture time runs at half to one and a half times the speed of PTS until it
//!   has caught up, so that tracks see no jump.
//! - **A large one is a step** of a clock, the camera's or the edge's. It is followed at the next keyframe, which starts a
//!   new session: until there the old offset is kept, and no packet is lost.
//! - **A jump of PTS itself** is taken out: PTS goes on by the time that passed at arrival, and the packet is marked.
//! - **A PTS that stands still** while pictures come goes on by the time that passed at arrival until it moves again.
//! - **A camera whose clock is out by more than a day** was never set: its NTP time is not used, and the status says so.
//!
//! Within a session capture times increase strictly in the order of presentation. That is the order of delivery but for B
//! frames, which come after a picture that is shown later: those are dated between the two pictures they lie between.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vigil_base::{TimeSource, Timestamp};

/// Changes of the offset up to this are slewed, larger ones are steps. Two seconds are more than any network delay that is
/// still useful, and less than what a clock is usually set by.
pub const STEP_LIMIT: Duration = Duration::from_secs(2);
/// A camera further than this from the edge's clock has none that was set. Time zone mistakes stay below it.
pub const MAX_CLOCK_ERROR: Duration = Duration::from_hours(24);
/// A PTS this much before the one before it is not a B frame but a jump.
const REORDER_LIMIT_US: i64 = 1_000_000;
/// Microseconds of correction per microsecond of PTS, at most.
const MAX_SLEW: f64 = 0.5;
/// Leak of the smallest delay, microseconds per microsecond: above the drift of the worst crystals (100 ppm).
const DELAY_LEAK: f64 = 200e-6;
/// The offset counts as caught up when it is this near: a tenth of a picture at 25 per second.
const SETTLED_US: i64 = 4_000;

/// Which clock a camera's pictures are dated by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockPolicy {
    /// The camera's NTP time, once it sends one that is within a day of the edge's. Use when cameras are synchronised, as
    /// they should be: pictures of several cameras can then be compared to the millisecond.
    #[default]
    Camera,
    /// The edge's clock at arrival, whatever the camera says. Use when the camera's clock cannot be synchronised: pictures
    /// are then late by the network's delay, and not wrong by hours.
    Arrival,
}

/// How the camera's clock compares with the edge's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CameraClock {
    /// The camera has sent no NTP time (yet).
    Unknown,
    /// In use.
    Good {
        /// Camera minus edge, at arrival: includes the network's delay, with a minus.
        offset_ms: i64,
    },
    /// More than a day out, so arrival times are used: set the camera's clock, or its NTP server.
    Wrong {
        /// Camera minus edge.
        offset_ms: i64,
    },
    /// There is one, and it is not used because [`ClockPolicy::Arrival`] is configured.
    Ignored {
        /// Camera minus edge.
        offset_ms: i64,
    },
}

impl CameraClock {
    /// Camera minus edge, milliseconds, at arrival; none while the camera tells no time.
    pub fn offset_ms(self) -> Option<i64> {
        match self {
            Self::Unknown => None,
            Self::Good { offset_ms } | Self::Wrong { offset_ms } | Self::Ignored { offset_ms } => Some(offset_ms),
        }
    }
}

/// What is known of a packet when it arrives.
#[derive(Debug, Clone, Copy)]
pub struct Arrived {
    /// Presentation time in the stream, from any origin.
    pub pts_ns: u64,
    /// The camera's NTP time for it, where sender reports came.
    pub ntp: Option<Timestamp>,
    /// The edge's wall clock.
    pub arrival: Timestamp,
    /// The edge's monotonic clock.
    pub arrival_monotonic: Duration,
    /// Decoding can start here.
    pub keyframe: bool,
}

/// When the picture was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamped {
    /// Presentation time with the jumps taken out, microseconds from any origin.
    pub pts_us: i64,
    /// By the clock that `time_source` names.
    pub capture_time: Timestamp,
    /// The camera's clock counts as reached once slewing has caught up with it.
    pub time_source: TimeSource,
    /// PTS has jumped at this packet.
    pub pts_jumped: bool,
    /// A clock was set: this packet, a keyframe, starts a new session.
    pub new_session: bool,
}

/// The offset between presentation and capture time of one connection.
#[derive(Debug)]
pub struct Timeline {
    policy: ClockPolicy,
    camera_clock: CameraClock,
    /// Smallest of monotonic arrival minus PTS.
    delay_us: Option<i64>,
    /// NTP minus PTS, from the newest packet that had both.
    ntp_offset_us: Option<i64>,
    /// In use: capture time minus PTS.
    offset_us: Option<i64>,
    /// The newest packet in order of presentation.
    last: Option<Last>,
    /// The newest before that one: B frames lie between the two.
    anchor: Option<Last>,
    /// Takes the jumps out of PTS.
    pts_shift_us: i64,
    /// PTS of the packet before, as it came.
    last_raw_us: Option<i64>,
    time_source: TimeSource,
}

#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "the unit stands in the name")]
struct Last {
    pts_us: i64,
    arrival_us: i64,
    capture_us: i64,
}

impl Timeline {
    /// For a new connection.
    pub fn new(policy: ClockPolicy) -> Self {
        Self {
            policy,
            camera_clock: CameraClock::Unknown,
            delay_us: None,
            ntp_offset_us: None,
            offset_us: None,
            last: None,
            anchor: None,
            pts_shift_us: 0,
            last_raw_us: None,
            time_source: TimeSource::Arrival,
        }
    }

    /// How the camera's clock compares with the edge's, as of the last packet.
    pub fn camera_clock(&self) -> CameraClock {
        self.camera_clock
    }

    /// Dates a packet. To be called for each one, in order of arrival.
    pub fn stamp(&mut self, packet: &Arrived) -> Stamped {
        let arrival_us = packet.arrival_monotonic.as_micros() as i64;
        let raw_pts_us = (packet.pts_ns / 1000) as i64;
        let repeated = self.last_raw_us.replace(raw_pts_us) == Some(raw_pts_us);
        if let Some(last) = self.last.filter(|_| repeated) {
            return self.go_on(last, arrival_us);
        }
        let pts_jumped = self.is_jump(raw_pts_us + self.pts_shift_us, arrival_us);
        if pts_jumped {
            self.take_out_jump(raw_pts_us, arrival_us);
        }
        let pts_us = raw_pts_us + self.pts_shift_us;
        if let Some(capture_us) = self.between(pts_us) {
            return self.stamped(pts_us, capture_us);
        }
        let passed_us = self.last.map_or(0, |last| pts_us - last.pts_us);
        self.learn_delay(arrival_us - pts_us, passed_us);
        self.learn_ntp(packet, pts_us);
        let new_session = self.approach(self.target(packet, pts_us), passed_us, packet.keyframe);
        if new_session {
            self.last = None;
        }
        let capture_us = self.after_last(pts_us + self.offset_us.unwrap_or(0));
        self.advance(Last { pts_us, arrival_us, capture_us });
        Stamped { pts_jumped, new_session, ..self.stamped(pts_us, capture_us) }
    }

    /// PTS stands still: time goes on as at arrival, and nothing is learned from it.
    fn go_on(&mut self, last: Last, arrival_us: i64) -> Stamped {
        let passed_us = (arrival_us - last.arrival_us).max(1);
        let (pts_us, capture_us) = (last.pts_us + passed_us, last.capture_us + passed_us);
        self.advance(Last { pts_us, arrival_us, capture_us });
        self.stamped(pts_us, capture_us)
    }

    /// Capture time of a picture that is shown before the newest one, in proportion between its neighbours.
    fn between(&self, pts_us: i64) -> Option<i64> {
        let (before, after) = (self.anchor?, self.last?);
        let lies_between = before.pts_us < pts_us && pts_us < after.pts_us;
        let share = (pts_us - before.pts_us) as f64 / (after.pts_us - before.pts_us) as f64;
        lies_between.then(|| before.capture_us + (share * (after.capture_us - before.capture_us) as f64) as i64)
    }

    fn after_last(&self, capture_us: i64) -> i64 {
        capture_us.max(self.last.map_or(Timestamp::MIN.as_micros(), |last| last.capture_us + 1))
    }

    fn advance(&mut self, newest: Last) {
        self.anchor = self.last.replace(newest);
    }

    fn stamped(&self, pts_us: i64, capture_us: i64) -> Stamped {
        let (capture_time, time_source) = (Timestamp::from_micros(capture_us), self.time_source);
        Stamped { pts_us, capture_time, time_source, pts_jumped: false, new_session: false }
    }

    /// PTS went back further than reordering can, or arrived before the shortest delay allows: then it ran ahead.
    fn is_jump(&self, pts_us: i64, arrival_us: i64) -> bool {
        let (Some(last), Some(delay_us)) = (self.last, self.delay_us) else { return false };
        let went_back = last.pts_us - pts_us > REORDER_LIMIT_US;
        let gained_us = (pts_us - last.pts_us) - (arrival_us - last.arrival_us);
        let too_early = delay_us - (arrival_us - pts_us) > limit_us(STEP_LIMIT);
        went_back || (too_early && gained_us > limit_us(STEP_LIMIT))
    }

    /// Lets PTS go on by the time that really passed; the offsets that were learned from it are void.
    fn take_out_jump(&mut self, raw_pts_us: i64, arrival_us: i64) {
        if let Some(last) = self.last {
            let passed_us = (arrival_us - last.arrival_us).max(1);
            self.pts_shift_us = last.pts_us + passed_us - raw_pts_us;
        }
        self.delay_us = None;
        self.ntp_offset_us = None;
    }

    fn learn_delay(&mut self, delay_us: i64, passed_us: i64) {
        let leaked = |known: i64| known + (passed_us.max(0) as f64 * DELAY_LEAK) as i64;
        self.delay_us = Some(self.delay_us.map_or(delay_us, |known| leaked(known).min(delay_us)));
    }

    fn learn_ntp(&mut self, packet: &Arrived, pts_us: i64) {
        let Some(ntp) = packet.ntp else { return };
        let error_us = ntp.as_micros().saturating_sub(packet.arrival.as_micros());
        let offset_ms = error_us / 1000;
        let usable = error_us.unsigned_abs() <= limit_us(MAX_CLOCK_ERROR).unsigned_abs();
        self.camera_clock = match self.policy {
            ClockPolicy::Arrival => CameraClock::Ignored { offset_ms },
            ClockPolicy::Camera if usable => CameraClock::Good { offset_ms },
            ClockPolicy::Camera => CameraClock::Wrong { offset_ms },
        };
        let good = matches!(self.camera_clock, CameraClock::Good { .. });
        self.ntp_offset_us = good.then_some(ntp.as_micros() - pts_us);
    }

    /// The offset that would be right now.
    fn target(&self, packet: &Arrived, pts_us: i64) -> i64 {
        let arrival_us = packet.arrival_monotonic.as_micros() as i64;
        let wall_us = packet.arrival.as_micros() - arrival_us;
        let delay_us = self.delay_us.unwrap_or(arrival_us - pts_us);
        self.ntp_offset_us.unwrap_or(delay_us + wall_us)
    }

    /// Moves the offset towards `target_us`; true when that is a step, which only a keyframe may take.
    fn approach(&mut self, target_us: i64, passed_us: i64, keyframe: bool) -> bool {
        let Some(offset_us) = self.offset_us else {
            self.reach(target_us);
            return false;
        };
        let error_us = target_us.saturating_sub(offset_us);
        if error_us.unsigned_abs() > limit_us(STEP_LIMIT).unsigned_abs() {
            if keyframe {
                self.reach(target_us);
            }
            return keyframe;
        }
        let budget_us = (passed_us.unsigned_abs() as f64 * MAX_SLEW) as i64;
        self.offset_us = Some(offset_us + error_us.clamp(-budget_us, budget_us));
        let settled = target_us.abs_diff(offset_us) <= SETTLED_US.unsigned_abs();
        match self.ntp_offset_us {
            None => self.time_source = TimeSource::Arrival,
            Some(_) if settled => self.time_source = TimeSource::Ntp,
            Some(_) => {}
        }
        false
    }

    fn reach(&mut self, target_us: i64) {
        self.offset_us = Some(target_us);
        self.time_source = if self.ntp_offset_us.is_some() { TimeSource::Ntp } else { TimeSource::Arrival };
    }
}

fn limit_us(limit: Duration) -> i64 {
    i64::try_from(limit.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "timeline_tests.rs"]
mod tests;
