//! A new model in the shadow of the one in use: on the same frames, with its differences counted and nothing else done with
//! its answers.
//!
//! ```text
//!  camera's thread:  frame ─▶ model in use ─▶ detections ─▶ tracker
//!                      └──────────────┬───────────┘ (a share of the frames; dropped while one waits)
//!  thread shadow:                     ▼  the new model ─▶ Comparison
//! ```
//!
//! Where the model in use was asked for parts of a picture, so is the new one, and boxes outside of them do not count: whether a
//! detector tells more than it was asked for is its own affair. It costs one inference for each frame of the share and never makes a camera wait: there is one place, and a frame that
//! comes while it is taken is passed over and counted. Boxes count from the confidence that each model's maker takes for real.
//! Two boxes are the same object when they are of one class and overlap by [`SAME_OBJECT_IOU`]; the surest is matched first, as
//! the COCO benchmark does it (Lin et al., "Microsoft COCO", ECCV 2014).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use metrics::{Counter, Histogram, counter, gauge, histogram};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use vigil_base::detection::ModelIdentity;
use vigil_base::{BoxPx, Detection, Detections, Frame, SharedClock};

use crate::session::{Engine, Look, OnnxEngine};
use crate::{DetectError, Model, Regions};

/// Overlap from which two boxes of one class are one object.
pub const SAME_OBJECT_IOU: f32 = 0.5;
/// Frames that wait for the shadow: one, since a second would only be older.
const WAITING: usize = 1;

/// What is different between two models, summed over frames.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Comparison {
    /// Frames that both looked at.
    pub frames: u64,
    /// Frames of the share that the shadow had no time for.
    pub passed_over: u64,
    /// Frames that the new model failed on.
    pub failed: u64,
    /// Why it failed last.
    pub last_failure: Option<String>,
    /// Seconds that the new model took, in all.
    pub seconds: f64,
    /// By class.
    pub classes: BTreeMap<String, ClassDifference>,
}

/// What is different in one class.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct ClassDifference {
    /// Boxes that both models have.
    pub matched: u64,
    /// Boxes of the model in use that the new one does not have.
    pub only_old: u64,
    /// Boxes of the new model that the one in use does not have.
    pub only_new: u64,
    /// Confidence of the new model minus that of the old, summed over the matched.
    pub confidence_shift_sum: f64,
}

impl ClassDifference {
    /// Mean of the new confidence minus the old, over matched boxes; nothing without any.
    pub fn confidence_shift(&self) -> Option<f64> {
        (self.matched > 0).then(|| self.confidence_shift_sum / self.matched as f64)
    }
}

/// From which confidence on a model's boxes count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cutoffs {
    /// For the model in use.
    pub old: f32,
    /// For the new one.
    pub new: f32,
}

impl Comparison {
    /// Adds what two models say of the regions of one frame. Returns by class what this frame added.
    pub fn add(
        &mut self,
        old: &Detections,
        new: &Detections,
        regions: &Regions,
        cutoffs: Cutoffs,
    ) -> BTreeMap<String, ClassDifference> {
        self.frames += 1;
        let olds = by_class(old, regions, cutoffs.old);
        let news = by_class(new, regions, cutoffs.new);
        let names: Vec<&String> = olds.keys().chain(news.keys()).collect();
        let mut added = BTreeMap::new();
        for name in names {
            let boxes = |of: &BTreeMap<String, Vec<Detection>>| of.get(name).cloned().unwrap_or_default();
            added.entry(name.clone()).or_insert_with(|| compare(&boxes(&olds), boxes(&news)));
        }
        for (name, difference) in &added {
            let sum = self.classes.entry(name.clone()).or_default();
            sum.matched += difference.matched;
            sum.only_old += difference.only_old;
            sum.only_new += difference.only_new;
            sum.confidence_shift_sum += difference.confidence_shift_sum;
        }
        added
    }
}

/// The boxes that count, the surest first, as detectors give them.
fn by_class(found: &Detections, regions: &Regions, cutoff: f32) -> BTreeMap<String, Vec<Detection>> {
    let mut classes: BTreeMap<String, Vec<Detection>> = BTreeMap::new();
    let counts = |item: &&Detection| item.confidence >= cutoff && lies_within(regions, item);
    for item in found.items.iter().filter(counts) {
        classes.entry(found.model.class_name(item.class).to_owned()).or_default().push(*item);
    }
    classes
}

fn lies_within(regions: &Regions, item: &Detection) -> bool {
    let (x, y) = item.bbox.centre();
    let holds =
        |region: &BoxPx| (region.left..=region.right()).contains(&x) && (region.top..=region.bottom()).contains(&y);
    regions.is_whole() || regions.boxes().iter().any(holds)
}

fn compare(old: &[Detection], mut new: Vec<Detection>) -> ClassDifference {
    let mut difference = ClassDifference::default();
    for known in old {
        let overlap = |found: &Detection| found.bbox.iou(&known.bbox);
        let nearest = new.iter().enumerate().max_by(|a, b| overlap(a.1).total_cmp(&overlap(b.1)));
        match nearest.map(|(at, found)| (at, overlap(found))) {
            Some((at, iou)) if iou >= SAME_OBJECT_IOU => {
                let found = new.swap_remove(at);
                difference.matched += 1;
                difference.confidence_shift_sum += f64::from(found.confidence) - f64::from(known.confidence);
            }
            _ => difference.only_old += 1,
        }
    }
    difference.only_new = new.len() as u64;
    difference
}

/// A frame and what the model in use found on it.
struct Shown {
    look: Look,
    found: Detections,
}

/// A model that runs in the shadow. Dropping it ends its thread.
pub struct Shadow {
    identity: Arc<ModelIdentity>,
    frames: SyncSender<Shown>,
    comparison: Arc<Mutex<Comparison>>,
    passed_over: Counter,
}

impl Shadow {
    /// Starts `model` in the shadow of one whose boxes count from `old_cutoff` on.
    ///
    /// # Errors
    /// The model opens no session; or the machine refuses a thread.
    pub fn start(model: &Model, old_cutoff: f32, clock: SharedClock) -> Result<Self, DetectError> {
        let identity = model.identity().clone();
        let cutoffs = Cutoffs { old: old_cutoff, new: model.thresholds().confidence };
        let comparison = Arc::new(Mutex::new(Comparison::default()));
        let runner = Runner {
            engine: model.engine()?,
            cutoffs,
            clock,
            comparison: comparison.clone(),
            telemetry: Telemetry::new(&identity.name),
        };
        let (frames, shown) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("shadow".to_owned()).spawn(move || runner.run(&shown));
        thread.map_err(|source| DetectError::Thread { model: identity.name.clone(), source: Arc::new(source) })?;
        let passed_over = counter!("vigil_shadow_passed_over_frames_total", "model" => identity.name.clone());
        Ok(Self { identity, frames, comparison, passed_over })
    }

    /// Who is in the shadow.
    pub fn model(&self) -> &Arc<ModelIdentity> {
        &self.identity
    }

    /// Shows it regions of a frame, with what the model in use found there. Never waits.
    pub fn offer(&self, frame: &Frame, regions: &Regions, found: &Detections) {
        let look = Look { frame: frame.clone(), regions: *regions };
        match self.frames.try_send(Shown { look, found: found.clone() }) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.comparison.lock().passed_over += 1;
                self.passed_over.increment(1);
            }
        }
    }

    /// What is different so far.
    pub fn comparison(&self) -> Comparison {
        self.comparison.lock().clone()
    }
}

impl std::fmt::Debug for Shadow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shadow").field("model", &self.identity.name).finish_non_exhaustive()
    }
}

/// The shadow's thread.
struct Runner {
    engine: OnnxEngine,
    cutoffs: Cutoffs,
    clock: SharedClock,
    comparison: Arc<Mutex<Comparison>>,
    telemetry: Telemetry,
}

impl Runner {
    /// Until nobody can show frames any more.
    fn run(mut self, shown: &Receiver<Shown>) {
        while let Ok(Shown { look, found }) = shown.recv() {
            let began = self.clock.monotonic();
            let answer = self.engine.detect(std::slice::from_ref(&look));
            let took = self.clock.monotonic().saturating_sub(began).as_secs_f64();
            let mut comparison = self.comparison.lock();
            comparison.seconds += took;
            match answer.map(|mut answers| answers.pop()) {
                Ok(Some(new)) => {
                    let added = comparison.add(&found, &new, &look.regions, self.cutoffs);
                    self.telemetry.looked(took, &added, &comparison);
                }
                Ok(None) => {}
                Err(error) => {
                    comparison.failed += 1;
                    comparison.last_failure = Some(vigil_base::error::chain(&error));
                    self.telemetry.failed.increment(1);
                }
            }
        }
    }
}

/// The shadow's counters.
struct Telemetry {
    model: String,
    frames: Counter,
    failed: Counter,
    seconds: Histogram,
    classes: BTreeMap<String, [Counter; 3]>,
}

impl Telemetry {
    fn new(model: &str) -> Self {
        let label = || model.to_owned();
        Self {
            frames: counter!("vigil_shadow_frames_total", "model" => label()),
            failed: counter!("vigil_shadow_failed_frames_total", "model" => label()),
            seconds: histogram!("vigil_shadow_seconds", "model" => label()),
            classes: BTreeMap::new(),
            model: label(),
        }
    }

    fn looked(&mut self, seconds: f64, added: &BTreeMap<String, ClassDifference>, sum: &Comparison) {
        self.frames.increment(1);
        self.seconds.record(seconds);
        for (class, difference) in added {
            let model = &self.model;
            let [matched, only_old, only_new] = self.classes.entry(class.clone()).or_insert_with(|| {
                ["matched", "only_old", "only_new"].map(|outcome| {
                    counter!("vigil_shadow_boxes_total", "model" => model.clone(), "class" => class.clone(), "outcome" => outcome)
                })
            });
            matched.increment(difference.matched);
            only_old.increment(difference.only_old);
            only_new.increment(difference.only_new);
            if let Some(shift) = sum.classes.get(class).and_then(ClassDifference::confidence_shift) {
                gauge!("vigil_shadow_confidence_shift", "model" => model.clone(), "class" => class.clone()).set(shift);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vigil_base::{Size, TimeSource, Timestamp};

    use super::*;

    const CUTOFFS: Cutoffs = Cutoffs { old: 0.5, new: 0.4 };

    fn found(classes: &[&str], boxes: &[(u16, f32, f32)]) -> Detections {
        let item = |&(class, left, confidence): &(u16, f32, f32)| Detection {
            bbox: BoxPx::new(left, 0.0, 10.0, 10.0),
            class,
            confidence,
        };
        let mut items: Vec<_> = boxes.iter().map(item).collect();
        items.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
        Detections {
            capture_time: Timestamp::default(),
            time_source: TimeSource::File,
            size: Size::new(640, 480),
            items,
            model: Arc::new(ModelIdentity {
                name: "m".to_owned(),
                fingerprint: String::new(),
                classes: classes.iter().map(|class| (*class).to_owned()).collect(),
                ..ModelIdentity::default()
            }),
        }
    }

    #[test]
    fn differences_are_told_by_class_name_whatever_its_number() {
        let old = found(&["person", "car"], &[(0, 0.0, 0.9), (0, 50.0, 0.6), (1, 100.0, 0.8)]);
        let new = found(&["car", "person"], &[(1, 2.0, 0.7), (0, 100.0, 0.9), (0, 200.0, 0.45)]);
        let mut comparison = Comparison::default();
        comparison.add(&old, &new, &Regions::WHOLE, CUTOFFS);
        let [car, person] = ["car", "person"].map(|class| comparison.classes[class]);
        assert_eq!((person.matched, person.only_old, person.only_new), (1, 1, 0));
        assert!((person.confidence_shift().unwrap() + 0.2).abs() < 1e-6);
        assert_eq!((car.matched, car.only_old, car.only_new), (1, 0, 1));
    }

    #[test]
    fn boxes_below_a_models_own_threshold_do_not_count() {
        let mut comparison = Comparison::default();
        let (old, new) = (found(&["car"], &[(0, 0.0, 0.49)]), found(&["car"], &[(0, 0.0, 0.39)]));
        comparison.add(&old, &new, &Regions::WHOLE, CUTOFFS);
        assert_eq!((comparison.frames, comparison.classes.len()), (1, 0));
    }

    #[test]
    fn boxes_outside_of_the_regions_asked_for_do_not_count() {
        let both = found(&["car"], &[(0, 0.0, 0.9), (0, 300.0, 0.9)]);
        let mut comparison = Comparison::default();
        let regions = Regions::of([BoxPx::new(280.0, 0.0, 60.0, 60.0)]);
        comparison.add(&both, &found(&["car"], &[(0, 300.0, 0.9)]), &regions, CUTOFFS);
        assert_eq!((comparison.classes["car"].matched, comparison.classes["car"].only_old), (1, 0));
    }

    proptest! {
        #[test]
        fn every_box_is_counted_once(
            old in prop::collection::vec((0u16..3, 0f32..100.0, 0.5f32..1.0), 0..20),
            new in prop::collection::vec((0u16..3, 0f32..100.0, 0.4f32..1.0), 0..20),
        ) {
            let classes = ["a", "b", "c"];
            let mut comparison = Comparison::default();
            comparison.add(&found(&classes, &old), &found(&classes, &new), &Regions::WHOLE, CUTOFFS);
            let sum = |of: fn(&ClassDifference) -> u64| comparison.classes.values().map(of).sum::<u64>() as usize;
            prop_assert_eq!(sum(|class| class.matched + class.only_old), old.len());
            prop_assert_eq!(sum(|class| class.matched + class.only_new), new.len());
        }

        #[test]
        fn a_model_beside_itself_is_no_different(
            boxes in prop::collection::vec((0u16..3, 0u8..10, 0.5f32..1.0), 0..10),
        ) {
            let apart: Vec<_> = boxes.iter().enumerate().map(|(n, &(class, _, sure))| (class, n as f32 * 20.0, sure)).collect();
            let (one, mut comparison) = (found(&["a", "b", "c"], &apart), Comparison::default());
            comparison.add(&one, &one, &Regions::WHOLE, Cutoffs { old: 0.5, new: 0.5 });
            for class in comparison.classes.values() {
                prop_assert_eq!((class.only_old, class.only_new, class.confidence_shift_sum), (0, 0, 0.0));
            }
        }
    }
}
