//! What an object looks like, as a vector: made of pictures, averaged over a track, compared by the million.
//!
//! - [`stripes`]: samples of a box, in four stripes one above the other, and the class of a colour. The tracker's descriptor is
//!   made of the same samples.
//! - [`Looks`]: the few best looks at one track, and the [`Appearance`](vigil_base::event::Appearance) that they give.
//! - [`Probe`]: one vector against many.
//! - [`of_picture`]: the appearance in a JPEG or PNG that somebody brings along.
//!
//! It is a description of clothes, and of vehicles' bodies. Faces are not looked for; whoever changes clothes is another.

mod compare;
mod looks;
mod picture;
pub mod stripes;

pub use compare::{Kernel, Probe, inverse_length};
pub use looks::{Looks, method};
pub use picture::{MAX_PIXELS, MAX_SIDE, PictureError, of_picture};
