//! Wiring of the chain behind one camera: threads, the places between them, supervision, the ledger.
//!
//! ```text
//!  thread camera-<id>                                                thread analyse-<id>
//!  ┌─────────────────────────────────────────────────────┐           ┌──────────────────────────────────────────────────────┐
//!  │ vigil_camera::run ─▶ Reader (gate, decode, sample) ─┼─▶ slot ─▶ │ Analyser (gate, detect, track, plates, rules, event) ┼─▶ EventSink
//!  └─────────────────────────────────────────────────────┘  (three)  └──────────────────────────────────────────────────────┘
//! ```
//!
//! Before the slot a frame may be dropped, and is counted; behind it nothing is.

mod analyse;
mod behind;
mod chain;
mod config;
mod keeper;
mod ledger;
mod memory;
mod openings;
mod reader;
mod readouts;
mod rules;
mod sampler;
mod shared;
mod sink;
mod slot;
mod status;
mod tracking;

pub use analyse::{Analyser, AnalyserConfig, Analysis, Unfit, UnknownClass, fits};
pub use chain::{CameraChain, StartError};
pub use config::{ChainConfig, DetectorSource, SightListener, StatusListener};
pub use keeper::SAVE_COUNTS_EVERY;
pub use ledger::{DropCause, Ledger};
pub use memory::{MemoryStore, Remembered};
pub use openings::{Opening, Openings};
pub use readouts::RuleReadout;
pub use sampler::Sampler;
pub use sink::{EventSink, SinkClosed};
pub use status::{CameraHealth, CameraState};
