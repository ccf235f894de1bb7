//! What rules are made of: who passed a line, who is in a zone, who stands, what lasts.
//!
//! All of them hold one small state per track and advance it with each sighting, in time order. Between two sightings
//! an object went straight: so how often it was looked at on its way changes nothing, and neither does a while in which
//! it was hidden.

mod hold;
mod line;
mod slots;
mod still;
mod zone;

pub(crate) use hold::Hold;
pub(crate) use line::LineWatch;
pub(crate) use slots::Slots;
pub(crate) use still::{Left, StillWatch};
pub(crate) use zone::{Change, ZoneWatch};

/// Sightings in a row that make a change: one may be a detector's slip.
pub(crate) const CONFIRMING: u8 = 2;
