//! `TrackUpdate` to [`Event`](vigil_base::Event): one growing event per track, and one for each firing of a rule.
//!
//! Pure: no files, no clock. An [`EventMaker`] is given what the tracker says of each frame, and the frame, and gives back the
//! revisions that are now due: the first when a track is confirmed, one at most every [`EventConfig::update_interval`] while
//! it lives, and the last when it ends. A firing that reports a moment is one revision; one that reports what goes on grows
//! and ends as a track's event does. What a break of the stream or a restart cut off goes on as the same event where it
//! surely still goes on (`interrupted.rs`).

mod colour;
mod finding;
mod interrupted;
mod live;
mod maker;
mod motion;
mod path;
mod thumbnail;

pub use interrupted::{MAX_BREAK, MAX_INTERRUPTED};
pub use maker::{EventConfig, EventContext, EventIds, EventMaker, Revision};
pub use thumbnail::ThumbnailError;
