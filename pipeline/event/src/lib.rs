//! `TrackUpdate` to [`Event`](vigil_base::Event): one growing event per track.
//!
//! Pure: no files, no clock. An [`EventMaker`] is given what the tracker says of each frame, and the frame, and gives back the
//! revisions that are now due: the first when a track is confirmed, one at most every [`EventConfig::update_interval`] while
//! it lives, and the last when it ends.

mod colour;
mod live;
mod maker;
mod motion;
mod path;
mod thumbnail;

pub use maker::{EventConfig, EventContext, EventIds, EventMaker, Revision};
pub use thumbnail::ThumbnailError;
