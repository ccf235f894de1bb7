//! Days of the week and times of day in a time zone.
//!
//! Local time decides: a window is open at an instant when the wall clock there shows a time within it. So when clocks
//! go forward, a window that lies in the missing hour does not open, and one that began before it closes at its end or
//! when the hour is skipped; when clocks go back, a window within the repeated hour is open twice. Rules of the time
//! zones are those of the IANA database that is compiled in, so a box needs no files for them.

use jiff::Timestamp as Instant;
use jiff::civil::{DateTime, Time, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use vigil_base::Timestamp;

use crate::config::{Fault, RawSchedule, RawWindow, RuleError};

/// Most windows of a schedule: one each morning and evening of a week, and a few more.
pub const MAX_WINDOWS: usize = 32;
/// Most times of day at which counts begin anew: every hour.
pub const MAX_RESETS: usize = 24;
const SECONDS_A_DAY: i32 = 86_400;

/// A time zone by its IANA name.
pub(crate) fn time_zone(name: &str) -> Result<TimeZone, Fault> {
    TimeZoneDatabase::bundled().get(name).map_err(|_| {
        Fault::new(format!("{name:?} is not an IANA time zone such as Europe/Berlin, America/New_York or UTC"))
    })
}

/// Windows of local time: when rules are on, or when a policy grants something.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    zone: TimeZone,
    windows: Vec<Window>,
}

/// Seconds of local days on which it opens.
#[derive(Debug, Clone, PartialEq)]
struct Window {
    /// By days from Monday.
    days: [bool; 7],
    from: i32,
    /// Above [`SECONDS_A_DAY`] where it closes on the next day.
    until: i32,
}

impl Schedule {
    /// A schedule on its own, in UTC where it names no time zone.
    pub fn new(raw: &RawSchedule) -> Result<Self, RuleError> {
        Self::resolve(raw, &TimeZone::UTC).map_err(Fault::in_no_rule)
    }

    pub(crate) fn resolve(raw: &RawSchedule, default_zone: &TimeZone) -> Result<Self, Fault> {
        let zone = match &raw.time_zone {
            Some(name) => time_zone(name).map_err(|fault| fault.under("time_zone"))?,
            None => default_zone.clone(),
        };
        if raw.windows.is_empty() || raw.windows.len() > MAX_WINDOWS {
            return Err(Fault::at("windows", format!("are {}; 1 to {MAX_WINDOWS} are taken", raw.windows.len())));
        }
        let window = |(index, raw)| Window::resolve(raw).map_err(|fault| fault.under(&format!("windows[{index}]")));
        Ok(Self { zone, windows: raw.windows.iter().enumerate().map(window).collect::<Result<_, _>>()? })
    }

    /// Whether a window is open.
    pub fn is_on(&self, at: Timestamp) -> bool {
        let local = self.zone.to_datetime(instant(at));
        self.windows.iter().any(|window| window.is_open(local))
    }
}

impl Window {
    fn resolve(raw: &RawWindow) -> Result<Self, Fault> {
        let mut days = [raw.days.is_none(); 7];
        for day in raw.days.iter().flatten() {
            days[*day as usize] = true;
        }
        if !days.contains(&true) {
            return Err(Fault::at("days", "is empty: the window would never open; leave it out for every day"));
        }
        let from = raw.from.as_deref().map_or(Ok(0), time_of_day).map_err(|fault| fault.under("from"))?;
        let until = match raw.until.as_deref() {
            None | Some("24:00") => SECONDS_A_DAY,
            Some(text) => time_of_day(text).map_err(|fault| fault.under("until"))?,
        };
        if from == until {
            return Err(Fault::at("until", "is the same as from; leave both out for the whole day"));
        }
        Ok(Self { days, from, until: if until < from { until + SECONDS_A_DAY } else { until } })
    }

    fn is_open(&self, local: DateTime) -> bool {
        let second = seconds(local.time());
        let today = days_from_monday(local.weekday());
        let within = |second: i32| (self.from..self.until).contains(&second);
        (self.days[today] && within(second)) || (self.days[(today + 6) % 7] && within(second + SECONDS_A_DAY))
    }
}

/// Local times of day, for counts that begin anew.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TimesOfDay {
    zone: TimeZone,
    times: Vec<Time>,
}

impl TimesOfDay {
    pub(crate) fn resolve(raw: &[String], zone: &TimeZone) -> Result<Self, Fault> {
        if raw.len() > MAX_RESETS {
            return Err(Fault::new(format!("are {}; at most {MAX_RESETS} are taken", raw.len())));
        }
        let mut times = Vec::with_capacity(raw.len());
        for (index, text) in raw.iter().enumerate() {
            let second = time_of_day(text).map_err(|fault| fault.under(&format!("[{index}]")))?;
            times.push(Time::MIN.saturating_add(jiff::SignedDuration::from_secs(second.into())));
        }
        Ok(Self { zone: zone.clone(), times })
    }

    /// The first of them after `at`; `None` where there are none. A time that clocks skip comes as much later as they
    /// skip; one that comes twice counts the first time.
    pub(crate) fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        let today = self.zone.to_datetime(instant(at)).date();
        let days = [today.yesterday(), Ok(today), today.tomorrow()];
        let civil =
            days.into_iter().flatten().flat_map(|day| self.times.iter().map(move |time| day.to_datetime(*time)));
        let instants = civil.filter_map(|civil| self.zone.to_timestamp(civil).ok());
        instants.map(|found| Timestamp::from_micros(found.as_microsecond())).filter(|found| *found > at).min()
    }
}

/// Seconds after midnight of `HH:MM` or `HH:MM:SS`.
fn time_of_day(text: &str) -> Result<i32, Fault> {
    let mut parts = text.split(':');
    let mut part = |below: i32| {
        let digits = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()))?;
        digits.parse::<i32>().ok().filter(|value| *value < below)
    };
    let hours_and_minutes = part(24).zip(part(60));
    let second = if text.len() > 5 { part(60) } else { Some(0) };
    match (hours_and_minutes, second, parts.next()) {
        (Some((hour, minute)), Some(second), None) => Ok((hour * 60 + minute) * 60 + second),
        _ => Err(Fault::new(format!(
            "{:?} is not a time of day such as 22:00",
            text.chars().take(20).collect::<String>()
        ))),
    }
}

fn days_from_monday(weekday: Weekday) -> usize {
    weekday.to_monday_zero_offset().unsigned_abs().into()
}

fn seconds(time: Time) -> i32 {
    (i32::from(time.hour()) * 60 + i32::from(time.minute())) * 60 + i32::from(time.second())
}

/// Times far outside of what a calendar has are taken for its ends.
fn instant(at: Timestamp) -> Instant {
    let micros = at.as_micros().clamp(Instant::MIN.as_microsecond(), Instant::MAX.as_microsecond());
    Instant::from_microsecond(micros).unwrap_or(Instant::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Day;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn schedule(zone: &str, days: Option<Vec<Day>>, from: &str, until: &str) -> Schedule {
        let window = RawWindow { days, from: Some(from.into()), until: Some(until.into()) };
        let raw = RawSchedule { id: "s".into(), time_zone: Some(zone.into()), windows: vec![window] };
        Schedule::resolve(&raw, &TimeZone::UTC).unwrap()
    }

    #[test]
    fn local_time_decides_in_summer_and_in_winter() {
        let office = schedule("Europe/Berlin", Some(vec![Day::Mon, Day::Fri]), "08:00", "17:30");
        for (text, on) in [
            // A Friday in winter, UTC+1; one in summer, UTC+2; a Saturday.
            ("2026-01-16T06:59:59Z", false),
            ("2026-01-16T07:00:00Z", true),
            ("2026-07-17T05:59:59Z", false),
            ("2026-07-17T06:00:00Z", true),
            ("2026-07-17T15:29:59Z", true),
            ("2026-07-17T15:30:00Z", false),
            ("2026-07-18T10:00:00Z", false),
        ] {
            assert_eq!(office.is_on(at(text)), on, "{text}");
        }
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_it_opens_on() {
        let night = schedule("UTC", Some(vec![Day::Sun]), "22:00", "06:00");
        for (text, on) in [
            ("2026-03-01T21:59:59Z", false),
            ("2026-03-01T22:00:00Z", true),
            ("2026-03-02T05:59:59Z", true),
            ("2026-03-02T06:00:00Z", false),
            // The night to that Sunday, and the one after it.
            ("2026-03-01T03:00:00Z", false),
            ("2026-03-02T23:00:00Z", false),
        ] {
            assert_eq!(night.is_on(at(text)), on, "{text}");
        }
    }

    #[test]
    fn when_clocks_go_forward_the_missing_hour_does_not_open() {
        // 2026-03-29, 02:00 becomes 03:00 in Berlin, at 01:00 UTC.
        let missing = schedule("Europe/Berlin", None, "02:15", "02:45");
        let over = schedule("Europe/Berlin", None, "01:30", "02:30");
        for minute in 0..180 {
            let instant = at("2026-03-29T00:00:00Z") + std::time::Duration::from_secs(minute * 60);
            assert!(!missing.is_on(instant), "{instant}");
            assert_eq!(over.is_on(instant), (30..60).contains(&minute), "{instant}");
        }
    }

    #[test]
    fn when_clocks_go_back_the_repeated_hour_opens_twice() {
        // 2026-10-25, 03:00 becomes 02:00 in Berlin, at 01:00 UTC.
        let repeated = schedule("Europe/Berlin", None, "02:15", "02:45");
        for minute in 0..180 {
            let instant = at("2026-10-25T00:00:00Z") + std::time::Duration::from_secs(minute * 60);
            let on = (15..45).contains(&minute) || (75..105).contains(&minute);
            assert_eq!(repeated.is_on(instant), on, "{instant}");
        }
    }

    #[test]
    fn the_next_reset_follows_the_wall_clock_through_both_changes() {
        let zone = time_zone("Europe/Berlin").unwrap();
        let resets = TimesOfDay::resolve(&["02:30".into(), "04:00".into()], &zone).unwrap();
        for (from, next) in [
            ("2026-03-28T12:00:00Z", "2026-03-29T01:30:00Z"), // 02:30 is skipped: 03:30 summer time.
            ("2026-03-29T01:30:00Z", "2026-03-29T02:00:00Z"),
            ("2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"), // The first of the two.
            ("2026-10-25T00:30:00Z", "2026-10-25T03:00:00Z"),
            ("2026-06-01T01:59:59Z", "2026-06-01T02:00:00Z"),
        ] {
            assert_eq!(resets.next_after(at(from)), Some(at(next)), "after {from}");
        }
        assert_eq!(TimesOfDay::resolve(&[], &zone).unwrap().next_after(at("2026-06-01T00:00:00Z")), None);
    }

    #[test]
    fn bad_times_days_and_zones_are_named() {
        for bad in ["", "8:00", "08:60", "24:00", "08:00:60", "08:00:00:00", "ab:cd", "+8:00", "08:00 "] {
            assert!(time_of_day(bad).is_err(), "{bad:?}");
        }
        let raw = |window| RawSchedule { id: "s".into(), time_zone: None, windows: vec![window] };
        let message = |window| Schedule::resolve(&raw(window), &TimeZone::UTC).unwrap_err().in_no_rule().to_string();
        let window =
            |from: &str, until: &str| RawWindow { days: None, from: Some(from.into()), until: Some(until.into()) };
        assert_eq!(message(window("25:00", "06:00")), "windows[0].from: \"25:00\" is not a time of day such as 22:00");
        assert!(message(window("06:00", "06:00")).starts_with("windows[0].until: is the same"));
        assert!(
            message(RawWindow { days: Some(vec![]), from: None, until: None }).starts_with("windows[0].days: is empty")
        );
        assert!(time_zone("Europe/Atlantis").unwrap_err().in_no_rule().to_string().contains("Europe/Atlantis"));
        assert!(time_zone("../../etc/passwd").is_err());
    }

    proptest! {
        /// An hour of local time is open for an hour on every day that has it once.
        #[test]
        fn a_window_is_open_for_as_long_as_it_lasts_on_a_common_day(
            day in 1i8..=28, month in 4i8..=9, from in 0i32..24,
        ) {
            let text = |hour: i32| format!("{:02}:00", hour % 24);
            let open = schedule("Europe/Berlin", None, &text(from), &text(from + 1));
            let midnight = at(&format!("2026-{month:02}-{day:02}T00:00:00+02:00"));
            let minutes = (0..1440).filter(|m| open.is_on(midnight + std::time::Duration::from_secs(m * 60))).count();
            prop_assert_eq!(minutes, 60);
        }

        #[test]
        fn any_time_and_any_text_are_answered(micros: i64, text in ".{0,12}") {
            schedule("America/St_Johns", None, "23:00", "01:00").is_on(Timestamp::from_micros(micros));
            let _ = time_of_day(&text);
            let _ = time_zone(&text);
            let zone = time_zone("Pacific/Apia").unwrap();
            let resets = TimesOfDay::resolve(&["12:00".into()], &zone).unwrap();
            if let Some(next) = resets.next_after(Timestamp::from_micros(micros)) {
                prop_assert!(next.as_micros() > micros);
            }
        }
    }
}
