//! Times as people type and read them: their own zone, with the offset.

use anyhow::bail;
use jiff::tz::TimeZone;
use vigil_base::Timestamp;

/// Reads `2026-05-01T14:00:00Z`, `2026-05-01 14:00` (this machine's zone), `14:00` (today), `now`, or `15m` (ago).
pub fn parse(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    if text == "now" {
        return Ok(now);
    }
    if let Ok(at) = Timestamp::parse(text) {
        return Ok(at);
    }
    let ago = text.trim_start_matches('-');
    if let Ok(ago) = humantime::parse_duration(ago) {
        return Ok(now - ago);
    }
    let today = zoned(now).date();
    let local = text
        .parse::<jiff::civil::DateTime>()
        .or_else(|_| text.parse::<jiff::civil::Time>().map(|time| today.to_datetime(time)));
    match local.and_then(|local| local.to_zoned(TimeZone::system())) {
        Ok(zoned) => Ok(Timestamp::from_micros(zoned.timestamp().as_microsecond())),
        Err(_) => {
            bail!("{text:?} is no time: write 2026-05-01T14:00:00Z, \"2026-05-01 14:00\", 14:00, now, or 15m (ago)")
        }
    }
}

/// The time in this machine's zone, with the offset: `2026-05-01 16:00:00.250 +02:00`.
pub fn show(at: Timestamp) -> String {
    zoned(at).strftime("%Y-%m-%d %H:%M:%S%.3f %:z").to_string()
}

/// The same to the minute.
pub fn show_minute(at: Timestamp) -> String {
    zoned(at).strftime("%Y-%m-%d %H:%M %:z").to_string()
}

fn zoned(at: Timestamp) -> jiff::Zoned {
    let micros = at.as_micros().clamp(Timestamp::MIN.as_micros(), Timestamp::MAX.as_micros());
    jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_zoned(TimeZone::system())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_of_a_time() {
        let now = Timestamp::parse("2026-05-01T14:00:00Z").unwrap();
        assert_eq!(parse("now", now).unwrap(), now);
        assert_eq!(parse("15m", now).unwrap(), Timestamp::parse("2026-05-01T13:45:00Z").unwrap());
        assert_eq!(parse("-1h", now).unwrap(), Timestamp::parse("2026-05-01T13:00:00Z").unwrap());
        assert_eq!(parse("2026-05-01T16:00:00+02:00", now).unwrap(), now);
        let local = parse("2026-05-01 14:00", now).unwrap();
        assert!(show(local).starts_with("2026-05-01 14:00:00.000 "), "{}", show(local));
        assert!(parse("teatime", now).unwrap_err().to_string().contains("\"teatime\""));
    }
}
