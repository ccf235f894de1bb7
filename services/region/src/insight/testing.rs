//! Events for the module's own tests.

use crate::test_events as events;

use vigil_base::event::Event;

/// An event that begins at noon.
pub(super) fn event() -> Event {
    events::event(events::NOON)
}
