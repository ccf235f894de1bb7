//! Places on the earth as people type them: latitude first, then longitude.

use anyhow::Context;
use vigil_base::GeoPoint;

/// Reads `52.5163,13.3777`.
pub fn parse(text: &str) -> anyhow::Result<GeoPoint> {
    let (latitude, longitude) = text
        .split_once(',')
        .with_context(|| format!("{text:?} is not latitude,longitude in degrees, as 52.5163,13.3777"))?;
    let degrees = |part: &str| part.trim().parse::<f64>().with_context(|| format!("{part:?} is not a number"));
    GeoPoint::new(degrees(latitude)?, degrees(longitude)?)
        .with_context(|| format!("{text:?} is not on the earth (latitude first, then longitude)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latitude_comes_first_and_errors_say_so() {
        assert_eq!(parse("52.5, 13.25").unwrap(), GeoPoint { latitude: 52.5, longitude: 13.25 });
        for (text, told) in
            [("52.5 13.3", "\"52.5 13.3\""), ("north,13", "\"north\""), ("152.5,13.3", "latitude first")]
        {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
