//! Points in time as UTC microseconds, and where they came from.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A point in time: microseconds since 1970-01-01 UTC.
///
/// Which clock it was read from stands in the name of the field that holds it: `capture_time`, `receive_time`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

/// A text is not a point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an RFC 3339 time such as 2026-05-01T14:00:00Z or 2026-05-01T16:00:00+02:00")]
pub struct TimeError(String);

impl Timestamp {
    /// The latest time that RFC 3339 can write: 9999-12-31.
    pub const MAX: Self = Self(253_402_300_799_999_999);
    /// The earliest time that is accepted from outside: 1970-01-01.
    pub const MIN: Self = Self(0);

    /// From microseconds since 1970-01-01 UTC.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01 UTC.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Time passed since `earlier`; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Seconds from `earlier` to this time, negative when it is later.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        (self.0.saturating_sub(earlier.0)) as f64 / 1e6
    }

    /// The last multiple of `step` since 1970 that is not later: the begin of the UTC minute, hour or day.
    #[must_use]
    pub fn round_down(self, step: Duration) -> Self {
        let step_us = i64::try_from(step.as_micros()).unwrap_or(i64::MAX).max(1);
        Self(self.0.div_euclid(step_us).saturating_mul(step_us))
    }

    /// Parses RFC 3339, with any offset.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let parsed =
            OffsetDateTime::parse(text, &Rfc3339).map_err(|_| TimeError(text.chars().take(80).collect::<String>()))?;
        Ok(Self((parsed.unix_timestamp_nanos() / 1_000) as i64))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clamped = self.0.clamp(Self::MIN.0, Self::MAX.0);
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(clamped) * 1_000)
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (date, time) = (at.date(), at.time());
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            date.year(),
            u8::from(date.month()),
            date.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.millisecond()
        )
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(rhs.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(rhs.as_micros()).unwrap_or(i64::MAX)))
    }
}

/// Which clock capture times come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeSource {
    /// The camera's NTP time, from its RTCP sender reports (RFC 3550, section 6.4.1).
    Ntp,
    /// The edge's clock when the frame arrived.
    Arrival,
    /// The position in a file, counted from the time given for its first frame.
    File,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let at = Timestamp::parse("2026-05-01T16:00:00.25+02:00").unwrap();
        assert_eq!(at.to_string(), "2026-05-01T14:00:00.250Z");
        assert_eq!(Timestamp::parse(&at.to_string()).unwrap(), at);
        assert!(Timestamp::parse("yesterday").unwrap_err().to_string().contains("\"yesterday\""));
    }

    #[test]
    fn a_time_is_rounded_down_to_the_step_it_lies_in() {
        let at = |text| Timestamp::parse(text).unwrap();
        let minute = Duration::from_mins(1);
        assert_eq!(at("2026-05-01T14:03:59.999999Z").round_down(minute), at("2026-05-01T14:03:00Z"));
        assert_eq!(at("2026-05-01T14:04:00Z").round_down(minute), at("2026-05-01T14:04:00Z"));
        assert_eq!(at("2026-05-01T14:04:00Z").round_down(24 * 60 * minute), at("2026-05-01T00:00:00Z"));
    }

    #[test]
    fn differences_never_wrap() {
        let early = Timestamp::from_micros(i64::MIN);
        let late = Timestamp::from_micros(i64::MAX);
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(late + Duration::MAX, late);
        assert_eq!(Timestamp::from_micros(2_500_000).seconds_since(Timestamp::from_micros(500_000)), 2.0);
    }
}
