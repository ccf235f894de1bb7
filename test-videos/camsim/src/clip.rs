//! A clip as a camera would send it: access units in memory.

use std::time::Duration;

use bytes::Bytes;
use vigil_base::{Codec, Size};

/// An encoded clip, ready to be looped: the first access unit is a keyframe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clip {
    /// Coding standard.
    pub codec: Codec,
    /// Picture size.
    pub size: Size,
    /// Fixed.
    pub rate: FrameRate,
    /// In decoding order, in which they are sent.
    pub access_units: Vec<AccessUnit>,
}

/// All slices of one picture in Annex B byte-stream form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessUnit {
    /// An instantaneous refresh (IDR) with its parameter sets: decoding can start here.
    pub keyframe: bool,
    /// Pictures by which it was taken before it is sent: above 0 where B frames change the order.
    pub taken_before: u8,
    /// The bytes.
    pub data: Bytes,
}

/// Frames per second as a fraction, so that hours of frames do not drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRate {
    /// Frames in `per` seconds, above 0.
    pub frames: u32,
    /// Seconds, above 0.
    pub per: u32,
}

impl FrameRate {
    /// Time from frame 0 to frame `index`.
    pub fn time_of(self, index: u64) -> Duration {
        let nanos = u128::from(index) * u128::from(self.per) * 1_000_000_000 / u128::from(self.frames);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The last frame at or before `time`.
    pub fn frame_at(self, time: Duration) -> u64 {
        let frames = time.as_nanos() * u128::from(self.frames) / (u128::from(self.per) * 1_000_000_000);
        u64::try_from(frames).unwrap_or(u64::MAX)
    }

    /// Frames per second.
    pub fn fps(self) -> f64 {
        f64::from(self.frames) / f64::from(self.per)
    }
}

impl Clip {
    /// Once around.
    pub fn length(&self) -> Duration {
        self.rate.time_of(self.access_units.len() as u64)
    }

    /// Index of the first keyframe at or after `index`, going around the end.
    pub fn keyframe_from(&self, index: usize) -> usize {
        let from = index.min(self.access_units.len());
        self.access_units[from..].iter().position(|unit| unit.keyframe).map_or(0, |ahead| from + ahead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn clip(keyframes: &[bool]) -> Clip {
        let unit = |&keyframe: &bool| AccessUnit { keyframe, taken_before: 0, data: Bytes::new() };
        Clip {
            codec: Codec::H264,
            size: Size::new(64, 64),
            rate: FrameRate { frames: 10, per: 1 },
            access_units: keyframes.iter().map(unit).collect(),
        }
    }

    #[test]
    fn the_next_keyframe_is_found_around_the_end() {
        let clip = clip(&[true, false, false, true, false]);
        assert_eq!([0, 1, 3, 4, 5, 99].map(|from| clip.keyframe_from(from)), [0, 3, 3, 0, 0, 0]);
    }

    #[test]
    fn ten_hours_of_ntsc_do_not_drift() {
        let rate = FrameRate { frames: 30_000, per: 1001 };
        assert_eq!(rate.time_of(30_000 * 36), Duration::from_secs(1001 * 36));
    }

    proptest! {
        #[test]
        fn a_frames_own_time_finds_it_again(frames in 1u32..100_000, per in 1u32..2_000, index in 0u64..1_000_000) {
            let rate = FrameRate { frames, per };
            let found = rate.frame_at(rate.time_of(index) + Duration::from_nanos(1));
            prop_assert_eq!(found, index);
        }
    }
}
