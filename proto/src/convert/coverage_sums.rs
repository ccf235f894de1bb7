//! Sums of what was watched, as the answer to a question.

use std::collections::BTreeMap;

use vigil_base::coverage::{Analysis, Tally};
use vigil_base::{CameraId, RegionId, Timestamp};

use super::{CoverageQuestion, analysis_to_wire, tally_to_wire, time_to_wire};
use crate::v1;

/// Most spans in an answer.
const MAX_SPANS: usize = 100_000;
/// Most analyses that a span names: more, and somebody plays.
const MAX_ANALYSES: usize = 16;

/// Sums by camera and step.
#[derive(Debug, Clone)]
pub struct CoverageSums {
    question: CoverageQuestion,
    sums: BTreeMap<(CameraId, Timestamp), Sum>,
    truncated: bool,
}

#[derive(Debug, Clone, Default)]
struct Sum {
    tally: Tally,
    analyses: Vec<Analysis>,
    /// The newest that was told, and when.
    clock_offset: Option<(Timestamp, i64)>,
}

impl CoverageSums {
    /// Nothing yet.
    pub fn new(question: CoverageQuestion) -> Self {
        Self { question, sums: BTreeMap::new(), truncated: false }
    }

    /// Adds what is known from `at` on, for no longer than the question's step.
    pub fn add(
        &mut self,
        camera: &CameraId,
        at: Timestamp,
        tally: &Tally,
        analysis: &Analysis,
        clock_offset_ms: Option<i64>,
    ) {
        let Some(sum) = self.sum(camera, at) else { return };
        sum.tally += *tally;
        if sum.analyses.len() < MAX_ANALYSES && !sum.analyses.contains(analysis) {
            sum.analyses.push(analysis.clone());
        }
        let told = clock_offset_ms.map(|offset| (at, offset));
        sum.clock_offset = sum.clock_offset.max(told);
    }

    /// Names a camera, so that it is in an answer over all of the time even if nothing is known of it.
    pub fn name(&mut self, camera: &CameraId) {
        if self.question.step.length().is_none() {
            self.sum(camera, self.question.from);
        }
    }

    /// Leaves out the cameras that `keep` does not want.
    pub fn retain(&mut self, mut keep: impl FnMut(&CameraId) -> bool) {
        self.sums.retain(|(camera, _), _| keep(camera));
    }

    fn sum(&mut self, camera: &CameraId, at: Timestamp) -> Option<&mut Sum> {
        let key = (camera.clone(), self.question.step_around(at).0);
        if self.sums.len() >= MAX_SPANS && !self.sums.contains_key(&key) {
            self.truncated = true;
            return None;
        }
        Some(self.sums.entry(key).or_default())
    }

    /// The answer as of `now`, and whether spans are left out.
    pub fn into_spans(self, region: &RegionId, now: Timestamp) -> (Vec<v1::CoverageSpan>, bool) {
        let Self { question, sums, truncated } = self;
        let span = |((camera, begin), sum): ((CameraId, Timestamp), Sum)| v1::CoverageSpan {
            region_id: region.to_string(),
            camera_id: camera.to_string(),
            begin_time: Some(time_to_wire(begin)),
            end_time: Some(time_to_wire(question.step_around(begin).1.min(now).max(begin))),
            tally: Some(tally_to_wire(&sum.tally)),
            analyses: sum.analyses.iter().map(analysis_to_wire).collect(),
            camera_clock_offset_ms: sum.clock_offset.map(|(_, offset_ms)| offset_ms),
        };
        (sums.into_iter().map(span).collect(), truncated)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use vigil_base::coverage::{FrameCounts, MINUTE};

    use super::*;
    use crate::convert::CoverageStep;

    const NOON: Timestamp = Timestamp::from_micros(1_700_000_000_000_000 / 3_600_000_000 * 3_600_000_000);

    fn minute() -> Tally {
        let frames = FrameCounts { analysed: 300, ..FrameCounts::default() };
        Tally { accounted: MINUTE, watched: MINUTE, frames }
    }

    #[test]
    fn minutes_add_up_to_the_step_and_the_newest_clock_is_told() {
        let (gate, region) = (CameraId::new("gate").unwrap(), RegionId::new("north").unwrap());
        let until = NOON + Duration::from_hours(2);
        let question = CoverageQuestion {
            from: NOON,
            until,
            regions: vec![],
            cameras: vec![],
            step: CoverageStep::Hour,
            grain: MINUTE,
        };
        let mut sums = CoverageSums::new(question);
        let analyses = ["cpu", "cuda"].map(|provider| Analysis { provider: provider.into(), ..Analysis::default() });
        sums.add(&gate, NOON + 2 * MINUTE, &minute(), &analyses[0], Some(7));
        sums.add(&gate, NOON + MINUTE, &minute(), &analyses[1], Some(9));
        sums.add(&gate, NOON + 60 * MINUTE, &minute(), &analyses[0], None);
        let (spans, truncated) = sums.into_spans(&region, NOON + 61 * MINUTE);
        assert!(!truncated && spans.len() == 2, "{spans:?}");
        let first = &spans[0];
        let tally = first.tally.unwrap();
        assert_eq!((tally.watched_ms, tally.frames_analysed), (120_000, 600));
        assert_eq!((first.camera_clock_offset_ms, first.analyses.len()), (Some(7), 2));
        assert_eq!(spans[1].end_time, Some(time_to_wire(NOON + 61 * MINUTE)), "not beyond the answer's time");
    }

    #[test]
    fn a_camera_of_which_nothing_is_known_is_named_over_all_of_the_time() {
        for (step, named) in [(CoverageStep::Whole, 1), (CoverageStep::Minute, 0)] {
            let question = CoverageQuestion {
                from: NOON,
                until: NOON + MINUTE,
                regions: vec![],
                cameras: vec![],
                step,
                grain: MINUTE,
            };
            let mut sums = CoverageSums::new(question);
            sums.name(&CameraId::new("gate").unwrap());
            let (spans, _) = sums.into_spans(&RegionId::new("north").unwrap(), NOON + MINUTE);
            assert_eq!(spans.len(), named);
        }
    }
}
