//! Street cameras that are not there: a real RTSP server that serves clips as live streams.
//!
//! Each clip is encoded once into access units in memory ([`Clip`]), kept in a cache folder, and then played for ever by
//! one thread per mount, paced by absolute deadlines, looped without a gap. Clients see what a camera sends: RTP over TCP
//! or UDP, RTCP sender reports with the machine's own NTP time, Digest or Basic passwords.
//!
//! On command a mount misbehaves as cameras do: see [`Fault`].
//!
//! ```text
//! clip file -> transcode -> Clip (cached) -> feeder (paced) -> appsrc -> payloader -> rtpbin -> wire faults -> clients
//! ```

mod cache;
mod clip;
mod config;
mod error;
mod fault;
mod mount;
mod player;
mod prepare;
mod server;
mod simulator;
mod transcode;
mod wire;

pub use clip::{AccessUnit, Clip, FrameRate};
pub use config::{Coding, Credentials, MountConfig, Quality, SimConfig};
pub use error::SimError;
pub use fault::{Command, Fault, FaultError, Target};
pub use mount::{MountStats, SentFrame};
pub use prepare::Progress;
pub use simulator::Simulator;
