//! One board per process where each component says what is wrong with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;

/// What is wrong with one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The component, as `camera/gate-1` or `index`.
    pub component: String,
    /// One sentence for people: what is wrong and what to do. Holds no secret.
    pub detail: String,
    /// The process cannot do its job while this lasts: it is not ready, and gRPC health says `NOT_SERVING`.
    pub critical: bool,
}

/// The board. Cloning shares it.
#[derive(Debug, Clone)]
pub struct HealthBoard {
    problems: Arc<Mutex<BTreeMap<String, Problem>>>,
    ready: watch::Sender<bool>,
}

impl Default for HealthBoard {
    fn default() -> Self {
        Self { problems: Arc::default(), ready: watch::Sender::new(true) }
    }
}

impl HealthBoard {
    /// A board without problems.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says what is wrong with `component`; replaces what it said before.
    pub fn report(&self, component: &str, detail: impl Into<String>, critical: bool) {
        let problem = Problem { component: component.to_owned(), detail: detail.into(), critical };
        self.change(|problems| problems.insert(component.to_owned(), problem));
    }

    /// Says that `component` is well.
    pub fn clear(&self, component: &str) {
        self.change(|problems| problems.remove(component));
    }

    /// All problems, by component.
    pub fn problems(&self) -> Vec<Problem> {
        self.problems.lock().values().cloned().collect()
    }

    /// Whether the process can do its job now, and each change of that.
    pub fn watch_ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<String, Problem>) -> T) {
        let mut problems = self.problems.lock();
        change(&mut problems);
        let ready = !problems.values().any(|p| p.critical);
        // Under the lock, so that two changes are not seen in the wrong order.
        self.ready.send_if_modified(|now| std::mem::replace(now, ready) != ready);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_critical_problems_make_a_process_unready() {
        let board = HealthBoard::new();
        board.report("camera/gate", "does not answer", false);
        assert!(*board.watch_ready().borrow());
        board.report("index", "disk full", true);
        assert!(!*board.watch_ready().borrow());
        board.clear("index");
        assert!(*board.watch_ready().borrow());
        assert_eq!(board.problems().len(), 1);
    }
}
