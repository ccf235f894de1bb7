//! Where events go.

use vigil_event::Revision;

/// Takes events and keeps them.
pub trait EventSink: Send + Sync {
    /// Keeps `revisions`; returns when they are durable. While that is impossible (disk full) it waits, and the camera
    /// with it: an event that was made is never dropped.
    ///
    /// # Errors
    /// The edge shuts down: the events could not be kept.
    fn put(&self, revisions: Vec<Revision>) -> Result<(), SinkClosed>;
}

/// The sink takes nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the edge shuts down and keeps no more events")]
pub struct SinkClosed;
