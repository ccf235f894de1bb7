//! What was watched and what was not: the words of the coverage ledger.

use std::ops::{AddAssign, Sub};
use std::sync::Arc;
use std::time::Duration;

use crate::{CameraId, EventId, Timestamp};

/// The ledger's step.
pub const MINUTE: Duration = Duration::from_mins(1);
/// Cameras that one report may tell of.
pub const MAX_REPORTED_CAMERAS: usize = 1_000;

/// What became of packets and frames, from one moment to another.
///
/// A packet is decoded, or passed over by the gate before the decoder; those that a gate which wakes decodes after all count
/// as both. Of frames, decoded = not due + still + analysed + dropped + at most one that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameCounts {
    /// Packets that came from the camera.
    pub received: u64,
    /// Packets that were not decoded when they came, because nothing went on.
    pub gated: u64,
    /// Frames that came out of the decoder.
    pub decoded: u64,
    /// Passed over because the analysis rate did not ask for them.
    pub not_due: u64,
    /// Passed over by the motion gate: nothing moved and nothing was tracked.
    pub still: u64,
    /// Looked at by the detector.
    pub analysed: u64,
    /// Meant for analysis and dropped, because the machine did not get to them before the next.
    pub dropped_overload: u64,
    /// Meant for analysis and dropped, because the detector failed on them.
    pub dropped_detector: u64,
}

impl FrameCounts {
    /// Meant for analysis and dropped, for any cause.
    pub fn dropped(&self) -> u64 {
        self.dropped_overload + self.dropped_detector
    }

    fn with(self, other: Self, join: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            received: join(self.received, other.received),
            gated: join(self.gated, other.gated),
            decoded: join(self.decoded, other.decoded),
            not_due: join(self.not_due, other.not_due),
            still: join(self.still, other.still),
            analysed: join(self.analysed, other.analysed),
            dropped_overload: join(self.dropped_overload, other.dropped_overload),
            dropped_detector: join(self.dropped_detector, other.dropped_detector),
        }
    }
}

impl AddAssign for FrameCounts {
    fn add_assign(&mut self, more: Self) {
        *self = self.with(more, u64::saturating_add);
    }
}

impl Sub for FrameCounts {
    type Output = Self;

    /// What came after `before`.
    fn sub(self, before: Self) -> Self {
        self.with(before, u64::saturating_sub)
    }
}

/// What is known of one camera over some time. What is not accounted for is unknown, not unwatched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Time for which the edge ran and kept count.
    pub accounted: Duration,
    /// Of that, time in which the camera streamed and its pictures could be decoded and analysed.
    pub watched: Duration,
    /// What became of packets and frames.
    pub frames: FrameCounts,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, more: Self) {
        self.accounted += more.accounted;
        self.watched += more.watched;
        self.frames += more.frames;
    }
}

/// By what, and how often, pictures were to be analysed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Analysis {
    /// What the detector really ran on: cpu, cuda, tensorrt.
    pub provider: Arc<str>,
    /// The model's name.
    pub model: Arc<str>,
    /// SHA-256 of the model's file, lower-case hex.
    pub fingerprint: Arc<str>,
    /// Pictures a second that the configuration asks for.
    pub rate: f32,
}

/// What became of one camera in one minute.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraCoverage {
    /// The camera.
    pub camera: CameraId,
    /// The sums.
    pub tally: Tally,
    /// By what it was analysed.
    pub analysis: Analysis,
    /// Camera clock less edge clock, milliseconds; none when the camera tells no time.
    pub clock_offset_ms: Option<i64>,
}

/// What became of an edge's cameras in one minute. Reports of the same minute add up.
#[derive(Debug, Clone, PartialEq)]
pub struct CoverageReport {
    /// Made as an event's id is: the same report is counted once.
    pub id: EventId,
    /// Begin of the UTC minute, edge clock.
    pub minute: Timestamp,
    /// At most [`MAX_REPORTED_CAMERAS`].
    pub cameras: Vec<CameraCoverage>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_and_what_came_after_is_their_difference() {
        let before = FrameCounts { received: 7, decoded: 5, analysed: 3, dropped_overload: 1, ..Default::default() };
        let more = FrameCounts { received: 2, gated: 4, still: 1, dropped_detector: 2, ..Default::default() };
        let mut after = before;
        after += more;
        assert_eq!(after - before, more);
        assert_eq!(after.dropped(), 3);
        assert_eq!(before - after, FrameCounts::default(), "a count that began anew is no debt");
    }
}
