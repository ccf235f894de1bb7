//! Events for the module's own tests.

#[path = "../../tests/common/events.rs"]
mod events;

use vigil_base::event::Event;

/// An event that begins at noon.
pub(super) fn event() -> Event {
    events::event(events::NOON)
}
