//! The gate of one camera.

use std::time::Duration;

use smallvec::smallvec;
use vigil_base::{BoxNorm, BoxPx, Frame, Timestamp};

use crate::background::{Background, Change};
use crate::cells::{Averager, Grid};
use crate::regions::{Boxes, Finder};

/// A light that changes by more than this factor between two frames is a lamp being switched, which shows another scene.
const LARGEST_LIGHT_CHANGE: f32 = 1.5;
/// From this share on, a change of the light is worth telling, 0..1.
const LEAST_LIGHT_CHANGE: f32 = 0.01;
/// Luma that means black in limited range (ITU-R BT.601-7, BT.709-6).
const LIMITED_BLACK: f32 = 16.0;

/// How a gate decides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateConfig {
    /// Share of changed cells from which the whole scene counts as another one (a cut, a camera that was turned), 0..1. No
    /// street scene changes by more than half between two frames.
    pub scene_change_share: f32,
    /// Time constant by which what stands still becomes background, and is then no longer seen.
    pub absorb: Duration,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self { scene_change_share: 0.5, absorb: Duration::from_mins(1) }
    }
}

/// Why a frame counts as moved or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There was nothing to compare with.
    First,
    /// The picture has another size than the one before.
    Resized,
    /// Nearly everything changed at once.
    SceneChanged,
    /// Something in the scene changed.
    Moved,
    /// The whole picture became brighter or darker, and nothing else happened.
    LightChanged,
    /// Nothing happened.
    Still,
}

/// What a gate says of one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Motion {
    /// Share of the picture that changed, 0..1.
    pub share_changed: f32,
    /// Where: at most [`crate::MAX_REGIONS`] boxes, largest first; the whole picture where there is nothing to compare with.
    pub boxes: Boxes,
    /// Whether the frame should be analysed.
    pub moved: bool,
    /// Why.
    pub reason: Reason,
}

impl Motion {
    fn everywhere(reason: Reason) -> Self {
        let all = BoxNorm { left: 0.0, top: 0.0, width: 1.0, height: 1.0 };
        Self { share_changed: 1.0, boxes: smallvec![all], moved: true, reason }
    }
}

/// Watches one camera for motion.
#[derive(Debug)]
pub struct MotionGate {
    config: GateConfig,
    grid: Option<Grid>,
    last_time: Timestamp,
    averager: Averager,
    cells: Vec<f32>,
    background: Background,
    changes: Vec<Change>,
    finder: Finder,
}

impl MotionGate {
    /// A gate that has seen nothing yet.
    pub fn new(config: GateConfig) -> Self {
        Self {
            config,
            grid: None,
            last_time: Timestamp::default(),
            averager: Averager::default(),
            cells: Vec::new(),
            background: Background::default(),
            changes: Vec::new(),
            finder: Finder::default(),
        }
    }

    /// Compares a frame with what the camera has shown so far, and remembers it. Time is the frames' capture time.
    ///
    /// Any steady rate does. Frames that are not analysed for lack of motion must be given too: they are the background.
    pub fn observe(&mut self, frame: &Frame) -> Motion {
        let grid = Grid::of(frame.size);
        let elapsed = frame.capture_time.since(self.last_time);
        self.last_time = frame.capture_time;
        self.averager.average(&frame.planes[0], &grid, &mut self.cells);
        match self.grid.replace(grid) {
            None => self.restart(Reason::First),
            Some(before) if before != grid => self.restart(Reason::Resized),
            Some(_) => self.compare(&grid, if frame.full_range { 0.0 } else { LIMITED_BLACK }, elapsed),
        }
    }

    /// Where the frame that was observed last changed outside of `known` (pixels of the frame): what nobody accounts for yet.
    /// At most [`crate::MAX_REGIONS`] boxes, largest first.
    pub fn changes_outside(&mut self, known: &[BoxPx]) -> Boxes {
        let Some(grid) = &self.grid else { return Boxes::new() };
        for bbox in known {
            grid.cells_in(bbox).for_each(|cells| self.changes[cells].fill(Change::None));
        }
        if self.changes.iter().all(|change| *change == Change::None) {
            return Boxes::new();
        }
        self.finder.find(&self.changes, grid)
    }

    fn restart(&mut self, reason: Reason) -> Motion {
        self.changes.clear();
        self.background.restart(&self.cells);
        Motion::everywhere(reason)
    }

    fn compare(&mut self, grid: &Grid, black: f32, elapsed: Duration) -> Motion {
        let light = self.background.light(&self.cells, black);
        let changed = self.background.compare(&self.cells, light, &mut self.changes);
        let share_changed = changed as f32 / self.changes.len() as f32;
        let switched = !(1.0 / LARGEST_LIGHT_CHANGE..LARGEST_LIGHT_CHANGE).contains(&light.gain);
        if switched || share_changed > self.config.scene_change_share {
            return self.restart(Reason::SceneChanged);
        }
        self.background.learn(&self.cells, light, &self.changes, elapsed, self.config.absorb);
        let boxes = if changed == 0 { Boxes::new() } else { self.finder.find(&self.changes, grid) };
        let reason = match (boxes.is_empty(), (light.gain - 1.0).abs() < LEAST_LIGHT_CHANGE) {
            (false, _) => Reason::Moved,
            (true, false) => Reason::LightChanged,
            (true, true) => Reason::Still,
        };
        Motion { share_changed, moved: reason == Reason::Moved, boxes, reason }
    }
}
