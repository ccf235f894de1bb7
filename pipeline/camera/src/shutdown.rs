//! One word to many threads: stop.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Told once, heard by everyone who holds a clone; whoever waits is woken.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    told: Arc<(Mutex<bool>, Condvar)>,
}

impl Shutdown {
    /// Not told yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells everyone to stop. For good.
    pub fn trigger(&self) {
        *self.told.0.lock() = true;
        self.told.1.notify_all();
    }

    /// It was told.
    pub fn is_triggered(&self) -> bool {
        *self.told.0.lock()
    }

    /// Waits until it is told, at most so long; true when it was told.
    pub fn wait(&self, at_most: Duration) -> bool {
        let mut told = self.told.0.lock();
        if !*told {
            self.told.1.wait_while_for(&mut told, |told| !*told, at_most);
        }
        *told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiting_thread_is_woken() {
        let shutdown = Shutdown::new();
        let waiting = shutdown.clone();
        let wait = move || waiting.wait(Duration::from_mins(1));
        let thread = std::thread::Builder::new().name("waiting".to_owned()).spawn(wait).unwrap();
        shutdown.trigger();
        assert!(thread.join().unwrap());
        assert!(shutdown.is_triggered());
    }

    #[test]
    fn a_wait_ends_by_itself() {
        assert!(!Shutdown::new().wait(Duration::from_millis(1)));
    }
}
