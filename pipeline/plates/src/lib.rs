//! Number plates of tracked vehicles: which vehicle is looked at when, and what all looks together say.
//!
//! ```text
//!  TrackUpdate, Frame ──▶ PlateWatch ──▶ ReadPlates (vigil-detect) ──▶ Ballot, one a track ──▶ PlateReading
//! ```
//!
//! A look costs about as much as the detector's, so there are few: only at vehicles that are tracked and large enough, the best
//! seen first, at most [`MAX_LOOKS_PER_FRAME`] a frame and [`MAX_LOOKS`] a track, less and less often where none is found, and
//! none once the reading is certain. A model that fails is counted and told of; the camera goes on.
//!
//! Plates are personal data: they are in events and nowhere else, neither in logs nor in metrics, and nothing is read where it
//! is not switched on.

mod telemetry;
mod vote;
mod watch;

pub use vote::{Ballot, Verdict};
pub use watch::{MAX_LOOKS, MAX_LOOKS_PER_FRAME, MIN_VEHICLE_WIDTH, PlateConfig, PlateWatch};
