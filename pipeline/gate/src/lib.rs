//! Is there anything to look at? Two gates: [`PacketGate`] before the decoder, [`MotionGate`] over a frame's luma.
//!
//! A camera on which nothing goes on is not decoded but for its keyframes, which the motion gate compares (see [`PacketGate`]).
//!
//! One inference costs as much as a hundred looks of the motion gate, so a quiet camera need not be analysed at its full rate.
//! The picture is averaged down to a grid about 160 cells wide; each cell keeps a running mean and a running deviation
//! (as in Wren et al., "Pfinder", 1997, with the mean absolute deviation in place of the variance), and a cell that leaves
//! its own noise has changed. Changes of the whole picture at once (exposure, clouds, lamps) are recognised by their median.
//!
//! The motion gate errs towards motion: a first frame, a cut, another size and everything it cannot explain count as motion.
//! Two things it cannot know, and whoever uses it must answer for them:
//! - what **stands still** becomes background (after about a minute), so a camera must be analysed from time to time even
//!   when nothing moves;
//! - what differs from its background **in colour only**, not in brightness, is not seen.

mod attention;
mod background;
mod cells;
mod gate;
mod packets;
mod regions;
mod sizes;

pub use attention::{Attend, Attention, AttentionConfig, Open};
pub use gate::{GateConfig, Motion, MotionGate, Reason};
pub use packets::{PacketGate, PacketGateConfig, Step, WakeCause};
pub use regions::{Boxes, MAX_REGIONS};
