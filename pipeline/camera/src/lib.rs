//! Camera to [`EncodedPacket`](vigil_base::EncodedPacket): RTSP sessions that come back after every fault, dated pictures.
//!
//! ```text
//! socket -> RTSP, RTP -> access unit -> Inbox -> Assembler (Timeline) -> PacketSink
//! '---- one thread for all cameras ----'   '------ the camera's thread ------'
//! ```
//!
//! [`Camera::run`] belongs on a thread of its own. A connection is used once; its end, whatever the reason, is followed by a
//! wait that grows and by a new connection. What the operator can do about a fault stands in [`CameraError`],
//! what is known right now in [`CameraStatus`], and how pictures get their times in [`timeline`].

pub mod assembler;
mod backoff;
mod config;
mod error;
mod inbox;
mod probe;
mod rtsp;
mod session;
mod shutdown;
mod status;
mod stream;
mod telemetry;
pub mod timeline;

pub use config::{CameraSource, Source, SourceError, TlsPolicy, Transport};
pub use error::CameraError;
pub use probe::{ProbeReport, probe};
pub use rtsp::RtspOpener;
pub use session::{Camera, PacketSink, SinkClosed};
pub use shutdown::Shutdown;
pub use status::{Awaited, CameraStatus, StreamInfo};
pub use stream::{Opener, PacketStream, RawPacket, StreamEvent};
pub use timeline::{CameraClock, ClockPolicy};
pub use vigil_base::StreamAddress;
