//! What the two threads of a camera share.

use std::sync::atomic::{AtomicBool, Ordering};

use vigil_base::CameraId;
use vigil_camera::Shutdown;

use crate::ledger::Ledger;
use crate::slot::FrameSlot;
use crate::status::StatusCell;

/// What both threads share.
pub(crate) struct Shared {
    pub slot: FrameSlot,
    pub ledger: Ledger,
    pub status: StatusCell,
    pub shutdown: Shutdown,
    /// The gate before the decoder lets only keyframes through: no frames come, and nothing is wrong.
    resting: AtomicBool,
    /// Something is tracked that moves, or may turn out to.
    busy: AtomicBool,
}

impl Shared {
    pub fn new(camera: &CameraId) -> Self {
        Self {
            slot: FrameSlot::default(),
            ledger: Ledger::new(camera),
            status: StatusCell::new(),
            shutdown: Shutdown::new(),
            resting: AtomicBool::new(false),
            busy: AtomicBool::new(false),
        }
    }

    pub fn is_resting(&self) -> bool {
        self.resting.load(Ordering::Relaxed)
    }

    pub fn set_resting(&self, resting: bool) {
        self.resting.store(resting, Ordering::Relaxed);
    }

    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    pub fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::Relaxed);
    }
}
