//! A span of coverage as people read it: how much was watched, what was not, and what nobody knows.

use std::time::Duration;

use serde_json::{Value, json};
use vigil_base::Timestamp;
use vigil_proto::convert::time_from_wire;
use vigil_proto::v1;

/// One camera in one span.
pub struct Watched {
    /// As the server told it.
    pub span: v1::CoverageSpan,
    /// Its times; an hour that a broken server leaves out is 1970.
    pub begin: Timestamp,
    pub end: Timestamp,
    pub tally: v1::CoverageTally,
}

impl Watched {
    pub fn new(span: v1::CoverageSpan) -> Self {
        let time = |at: Option<prost_types::Timestamp>| at.and_then(|at| time_from_wire("time", at).ok());
        let (begin, end) = (time(span.begin_time).unwrap_or_default(), time(span.end_time).unwrap_or_default());
        Self { begin, end, tally: span.tally.unwrap_or_default(), span }
    }

    /// Watched part of the span, 0..1.
    pub fn ratio(&self) -> f64 {
        let length = self.length().as_secs_f64().max(1e-3);
        (self.watched().as_secs_f64() / length).min(1.0)
    }

    pub fn watched(&self) -> Duration {
        Duration::from_millis(self.tally.watched_ms)
    }

    /// The edge ran, and the camera was not seen.
    pub fn blind(&self) -> Duration {
        Duration::from_millis(self.tally.accounted_ms.saturating_sub(self.tally.watched_ms))
    }

    /// The edge was off, or has not told yet.
    pub fn unknown(&self) -> Duration {
        self.length().saturating_sub(Duration::from_millis(self.tally.accounted_ms))
    }

    /// Pictures analysed in a second of watched time.
    pub fn analysed_per_second(&self) -> f64 {
        self.tally.frames_analysed as f64 / self.watched().as_secs_f64().max(1.0)
    }

    /// Dropped pictures with their causes; empty when there are none.
    pub fn dropped(&self) -> String {
        let causes =
            [(self.tally.frames_dropped_overload, "overload"), (self.tally.frames_dropped_detector, "detector failed")];
        let told = causes.iter().filter(|(count, _)| *count > 0).map(|(count, cause)| format!("{count} {cause}"));
        told.collect::<Vec<_>>().join(", ")
    }

    /// What analysed, without what would repeat itself: `yolox-tiny on cpu`.
    pub fn analysed_by(&self) -> String {
        let mut told: Vec<String> = Vec::new();
        for analysis in &self.span.analyses {
            let text = format!("{} on {}", analysis.model, analysis.execution_provider);
            if !told.contains(&text) {
                told.push(text);
            }
        }
        told.join(", ")
    }

    /// The camera's clock against its edge's: `+12 ms`; empty when it tells none.
    pub fn clock(&self) -> String {
        self.span.camera_clock_offset_ms.map(|offset_ms| format!("{offset_ms:+} ms")).unwrap_or_default()
    }

    pub fn as_json(&self) -> Value {
        let tally = &self.tally;
        json!({
            "region": self.span.region_id,
            "camera": self.span.camera_id,
            "begin_time": self.begin.to_string(),
            "end_time": self.end.to_string(),
            "watched_ratio": self.ratio(),
            "watched_ms": tally.watched_ms,
            "blind_ms": self.blind().as_millis() as u64,
            "unknown_ms": self.unknown().as_millis() as u64,
            "packets_received": tally.packets_received,
            "packets_gated": tally.packets_gated,
            "frames_decoded": tally.frames_decoded,
            "frames_not_due": tally.frames_not_due,
            "frames_still": tally.frames_still,
            "frames_analysed": tally.frames_analysed,
            "frames_dropped": { "overload": tally.frames_dropped_overload, "detector_failed": tally.frames_dropped_detector },
            "analyses": self.span.analyses.iter().map(|analysis| json!({
                "execution_provider": analysis.execution_provider,
                "model": analysis.model,
                "model_fingerprint": analysis.model_fingerprint,
                "frames_per_second": analysis.frames_per_second,
            })).collect::<Vec<_>>(),
            "camera_clock_offset_ms": self.span.camera_clock_offset_ms,
        })
    }

    fn length(&self) -> Duration {
        self.end.since(self.begin)
    }
}

/// A duration in whole seconds: `1h 3m 20s`; empty for less than one.
pub fn seconds(time: Duration) -> String {
    match Duration::from_secs(time.as_secs()) {
        Duration::ZERO => String::new(),
        time => humantime::format_duration(time).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use vigil_proto::convert::time_to_wire;

    use super::*;

    #[test]
    fn what_was_not_watched_is_blind_or_unknown() {
        let begin = Timestamp::parse("2026-05-01T12:00:00Z").unwrap();
        let tally = v1::CoverageTally {
            accounted_ms: 45_000,
            watched_ms: 30_000,
            frames_analysed: 150,
            frames_dropped_overload: 2,
            ..Default::default()
        };
        let watched = Watched::new(v1::CoverageSpan {
            begin_time: Some(time_to_wire(begin)),
            end_time: Some(time_to_wire(begin + Duration::from_mins(1))),
            tally: Some(tally),
            ..Default::default()
        });
        assert_eq!(watched.ratio(), 0.5);
        assert_eq!((seconds(watched.blind()), seconds(watched.unknown())), ("15s".to_owned(), "15s".to_owned()));
        assert_eq!(watched.analysed_per_second(), 5.0);
        assert_eq!(watched.dropped(), "2 overload");
        assert_eq!(watched.clock(), "");
    }
}
