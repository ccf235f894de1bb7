//! What the detector found, kept for a file beside what became of it.

use std::sync::Arc;

use parking_lot::Mutex;
use vigil_base::detection::ModelIdentity;
use vigil_base::{Detection, Detections, Frame};
use vigil_detect::{DetectError, Detector, Regions};
use vigil_track::{MotFile, MotRow};

/// The detections of a whole run, and of the frame that was looked at last.
///
/// Memory grows with every detection: for files and trials, not for cameras that never end.
#[derive(Default)]
pub struct DetectionLog {
    last: Arc<Mutex<Vec<Detection>>>,
    rows: Vec<MotRow>,
}

impl DetectionLog {
    /// The same detector, with an ear at it. Classes outside `classes` are not told.
    pub fn listen(&self, detector: Box<dyn Detector>, classes: &[String]) -> Box<dyn Detector> {
        let model = detector.model();
        let wanted = model.classes.iter().map(|class| classes.contains(class)).collect();
        Box::new(Overheard { detector, wanted, last: Arc::clone(&self.last) })
    }

    /// The frame that was looked at last has this number.
    pub fn note(&mut self, frame: u32) {
        let found = std::mem::take(&mut *self.last.lock());
        let row =
            |found: Detection| MotRow { frame, id: None, bbox: found.bbox, confidence: found.confidence, ground: None };
        self.rows.extend(found.into_iter().map(row));
    }

    /// All of them as MOTChallenge text.
    pub fn into_text(self) -> String {
        MotFile { rows: self.rows }.to_text()
    }
}

struct Overheard {
    detector: Box<dyn Detector>,
    /// By class index.
    wanted: Vec<bool>,
    last: Arc<Mutex<Vec<Detection>>>,
}

impl Detector for Overheard {
    fn model(&self) -> Arc<ModelIdentity> {
        self.detector.model()
    }

    fn detect(&mut self, frame: &Frame) -> Result<Detections, DetectError> {
        self.detect_within(frame, &Regions::WHOLE)
    }

    fn detect_within(&mut self, frame: &Frame, regions: &Regions) -> Result<Detections, DetectError> {
        let found = self.detector.detect_within(frame, regions)?;
        let wanted = |found: &&Detection| self.wanted.get(usize::from(found.class)).copied().unwrap_or(false);
        *self.last.lock() = found.items.iter().filter(wanted).copied().collect();
        Ok(found)
    }
}
