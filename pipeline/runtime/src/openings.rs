//! Cameras take turns at being looked at in full for the first time.
//!
//! A camera's gate knows nothing at first, and learns what the camera shows when nothing goes on while everything is decoded.
//! An edge that starts with thirty cameras can afford that for a few at a time only. The others wait for their turn with their
//! keyframes alone, and are decoded at once when one of these shows motion, or somebody.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The turns that all cameras of an edge share.
#[derive(Debug)]
pub struct Openings {
    free: AtomicUsize,
}

impl Openings {
    /// So many cameras at a time; at least one.
    pub fn new(at_once: usize) -> Arc<Self> {
        Arc::new(Self { free: AtomicUsize::new(at_once.max(1)) })
    }

    /// As many at a time as the process may use processors: the decoding and analysis of a 1080p camera takes a third of one.
    pub fn for_this_machine() -> Arc<Self> {
        Self::new(std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// A turn, if one is free; it ends when it is dropped.
    pub fn take(self: &Arc<Self>) -> Option<Opening> {
        let less = |free: usize| free.checked_sub(1);
        self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).ok()?;
        Some(Opening(Arc::clone(self)))
    }
}

/// A camera's turn.
#[derive(Debug)]
pub struct Opening(Arc<Openings>);

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_free_again_when_it_ends() {
        let openings = Openings::new(2);
        let (first, second) = (openings.take(), openings.take());
        assert!(first.is_some() && second.is_some() && openings.take().is_none());
        drop(first);
        assert!(openings.take().is_some());
        assert!(Openings::new(0).take().is_some(), "nobody waits for ever");
    }
}
