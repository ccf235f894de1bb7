//! From counts to a report for each minute.

use std::collections::BTreeMap;
use std::time::Duration;

use vigil_base::coverage::{
    Analysis, CameraCoverage, CoverageReport, FrameCounts, MAX_REPORTED_CAMERAS, MINUTE, Tally,
};
use vigil_base::{CameraId, EventId, Timestamp};

/// A longer time between two ticks is not accounted for: the process stood still, or the machine slept.
const LONGEST_TICK: Duration = Duration::from_secs(3);

/// One camera since the last tick.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub camera: CameraId,
    /// What happened since the last tick.
    pub frames: FrameCounts,
    /// It streams, and its pictures can be decoded and analysed.
    pub watched: bool,
    /// By what and how often it is to be analysed.
    pub analysis: Analysis,
    /// Camera clock less edge clock, milliseconds.
    pub clock_offset_ms: Option<i64>,
}

/// Adds up one minute after another.
#[derive(Debug)]
pub(crate) struct Recorder {
    /// The minute that is being added up.
    minute: Timestamp,
    /// Monotonic time of the last tick.
    ticked: Duration,
    cameras: BTreeMap<CameraId, CameraCoverage>,
}

impl Recorder {
    /// Begins at `now`, which is `monotonic` on the monotonic clock.
    pub fn new(now: Timestamp, monotonic: Duration) -> Self {
        Self { minute: now.round_down(MINUTE), ticked: monotonic, cameras: BTreeMap::new() }
    }

    /// Adds what happened since the last tick; the reports of a minute that is over, also of a part of it: when what analyses
    /// has changed, the rest of the minute has a report of its own.
    pub fn tick(&mut self, now: Timestamp, monotonic: Duration, samples: Vec<Sample>) -> Vec<CoverageReport> {
        let passed = monotonic.saturating_sub(self.ticked);
        let accounted = if passed > LONGEST_TICK { Duration::ZERO } else { passed };
        self.ticked = monotonic;
        let changed = samples.iter().any(|sample| self.is_analysed_otherwise(sample));
        let mut reports = if changed { self.finish() } else { Vec::new() };
        for sample in samples {
            self.add(sample, accounted);
        }
        let minute = now.round_down(MINUTE);
        if minute != self.minute {
            reports.extend(self.finish());
            self.minute = minute;
        }
        reports
    }

    /// The reports of what was added up so far.
    pub fn finish(&mut self) -> Vec<CoverageReport> {
        let cameras: Vec<_> = std::mem::take(&mut self.cameras).into_values().collect();
        let report = |cameras: &[CameraCoverage]| CoverageReport {
            id: EventId::at(self.minute),
            minute: self.minute,
            cameras: cameras.to_vec(),
        };
        cameras.chunks(MAX_REPORTED_CAMERAS).map(report).collect()
    }

    fn is_analysed_otherwise(&self, sample: &Sample) -> bool {
        self.cameras.get(&sample.camera).is_some_and(|known| known.analysis != sample.analysis)
    }

    fn add(&mut self, sample: Sample, accounted: Duration) {
        let Sample { camera, frames, watched, analysis, clock_offset_ms } = sample;
        let watched = if watched { accounted } else { Duration::ZERO };
        let entry = self.cameras.entry(camera.clone()).or_insert_with(|| CameraCoverage {
            camera,
            tally: Tally::default(),
            analysis,
            clock_offset_ms: None,
        });
        entry.tally += Tally { accounted, watched, frames };
        entry.clock_offset_ms = clock_offset_ms.or(entry.clock_offset_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn noon() -> Timestamp {
        Timestamp::parse("2026-05-01T12:00:00Z").unwrap()
    }

    fn sample(watched: bool, model: &str) -> Vec<Sample> {
        let frames = FrameCounts { received: 25, analysed: 5, ..FrameCounts::default() };
        let analysis = Analysis { model: model.into(), ..Analysis::default() };
        vec![Sample { camera: CameraId::new("gate").unwrap(), frames, watched, analysis, clock_offset_ms: Some(4) }]
    }

    /// Ticks once a second, from the second after noon plus `from` to noon plus `to`.
    fn run(recorder: &mut Recorder, from: u32, to: u32, watched: bool, model: &str) -> Vec<CoverageReport> {
        let tick = |second: u32| (noon() + SECOND * second, SECOND * second);
        (from + 1..=to)
            .flat_map(|second| {
                let (now, monotonic) = tick(second);
                recorder.tick(now, monotonic, sample(watched, model))
            })
            .collect()
    }

    #[test]
    fn a_minute_is_told_when_it_is_over_with_what_was_watched_of_it() {
        let mut recorder = Recorder::new(noon(), Duration::ZERO);
        assert_eq!(run(&mut recorder, 0, 40, true, "a"), []);
        let reports = run(&mut recorder, 40, 60, false, "a");
        let [report] = &reports[..] else { panic!("{reports:?}") };
        assert_eq!(report.minute, noon());
        let told = &report.cameras[0];
        assert_eq!((told.tally.accounted, told.tally.watched), (MINUTE, Duration::from_secs(40)));
        assert_eq!((told.tally.frames.received, told.tally.frames.analysed), (1_500, 300));
        assert_eq!(told.clock_offset_ms, Some(4));
        let next = run(&mut recorder, 60, 120, true, "a");
        assert_eq!(next[0].minute, noon() + MINUTE);
        assert_ne!(next[0].id, report.id);
    }

    #[test]
    fn another_model_within_a_minute_has_a_report_of_its_own() {
        let mut recorder = Recorder::new(noon(), Duration::ZERO);
        let mut reports = run(&mut recorder, 0, 30, true, "a");
        reports.extend(run(&mut recorder, 30, 60, true, "b"));
        let told: Vec<_> =
            reports.iter().map(|r| (&*r.cameras[0].analysis.model, r.cameras[0].tally.accounted)).collect();
        assert_eq!(told, [("a", Duration::from_secs(30)), ("b", Duration::from_secs(30))]);
        assert!(reports.iter().all(|report| report.minute == noon()));
    }

    #[test]
    fn time_in_which_the_process_stood_still_is_not_accounted_for() {
        let mut recorder = Recorder::new(noon(), Duration::ZERO);
        run(&mut recorder, 0, 10, true, "a");
        recorder.tick(noon() + SECOND * 50, SECOND * 50, sample(true, "a"));
        let reports = run(&mut recorder, 50, 60, true, "a");
        assert_eq!(reports[0].cameras[0].tally.accounted, Duration::from_secs(20));
    }

    #[test]
    fn a_stop_in_a_minute_tells_what_there_is() {
        let mut recorder = Recorder::new(noon(), Duration::ZERO);
        run(&mut recorder, 0, 10, true, "a");
        assert_eq!(recorder.finish()[0].cameras[0].tally.watched, Duration::from_secs(10));
        assert_eq!(recorder.finish(), [], "once");
    }
}
