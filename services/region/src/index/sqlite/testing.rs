//! Events and an open index, for the engine's own tests.

use crate::test_events as events;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use vigil_base::SimClock;
use vigil_base::event::Event;

use super::{SqliteConfig, SqliteIndex};
pub(super) use events::NOON;

/// An index in `folder`, by a clock that stands at noon.
pub(super) fn open(folder: &Path) -> SqliteIndex {
    open_at(folder, SimClock::new(NOON))
}

/// An index in `folder`, by this clock.
pub(super) fn open_at(folder: &Path, clock: Arc<SimClock>) -> SqliteIndex {
    SqliteIndex::open(&config(folder), clock).unwrap()
}

/// Slices of an hour in `folder`.
pub(super) fn config(folder: &Path) -> SqliteConfig {
    let slice = Duration::from_hours(1);
    SqliteConfig { data_dir: folder.to_owned(), region: events::region(), reader_threads: 1, slice }
}

/// An event that begins so many seconds after noon.
pub(super) fn event(after_s: u64) -> Event {
    events::event(events::secs(after_s))
}
