//! Connections to real cameras, each used once:
//!
//! - over TCP, which is the default, by the retina client (`interleaved`);
//! - over UDP and over TLS, which that client does not do or not well, by GStreamer's rtspsrc (`pipeline`).

mod diagnose;
mod interleaved;
mod packets;
mod pipeline;

use std::sync::Arc;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use vigil_base::{SharedClock, Size, Timestamp};

use crate::config::{Source, Transport};
use crate::error::CameraError;
use crate::inbox::Inbox;
use crate::status::StreamInfo;
use crate::stream::{Opener, PacketStream, StreamEvent};

/// Largest access unit: a keyframe of an 8K camera at its best quality is below half of it.
const MAX_ACCESS_UNIT: usize = 8 << 20;
/// Longest side of a picture: the largest that common cameras send.
const MAX_SIDE: u32 = 8192;
/// Seconds from 1900, where NTP counts from, to 1970.
const NTP_TO_UNIX_SECONDS: i64 = 2_208_988_800;
/// NTP seconds have 32 bits. Those with the first bit clear are of the era that begins in 2036 (RFC 4330, section 3).
const NTP_ERA_SECONDS: i64 = 1 << 32;

/// Connects by RTSP.
#[derive(Debug)]
pub struct RtspOpener {
    _private: (),
}

impl RtspOpener {
    /// Starts GStreamer, which fails only where it is not installed.
    pub fn new() -> Result<Self, CameraError> {
        gst::init().map_err(|source| CameraError::GStreamer { what: "start", source: source.into() })?;
        Ok(Self { _private: () })
    }
}

impl Opener for RtspOpener {
    fn open(&self, source: &Source, clock: &SharedClock) -> Result<Box<dyn PacketStream>, CameraError> {
        let inbox = Arc::new(Inbox::default());
        let connection = if source.transport == Transport::Tcp && !source.address.is_tls() {
            Connection::Interleaved { _open: interleaved::connect(source, clock, &inbox)? }
        } else {
            let pipeline = pipeline::build(source, clock, &inbox)?;
            // An error here is on the bus too, and there with its cause: the first event tells it.
            let _ = pipeline.set_state(gst::State::Playing);
            Connection::Pipeline(pipeline)
        };
        Ok(Box::new(RtspStream { _connection: connection, inbox, source: source.clone(), brought_packets: false }))
    }
}

struct RtspStream {
    _connection: Connection,
    inbox: Arc<Inbox>,
    source: Source,
    brought_packets: bool,
}

/// What fills the inbox. Dropping it closes it.
enum Connection {
    Interleaved { _open: interleaved::Connection },
    Pipeline(gst::Pipeline),
}

impl PacketStream for RtspStream {
    fn next(&mut self, at_most: Duration) -> Result<Option<StreamEvent>, CameraError> {
        match self.inbox.take(at_most) {
            Ok(event) => {
                self.brought_packets |= matches!(event, Some(StreamEvent::Packet(_)));
                Ok(event)
            }
            Err(CameraError::Rejected { answer, .. }) if !self.brought_packets => {
                Err(diagnose::why_not_open(&self.source, answer))
            }
            Err(reason) => Err(reason),
        }
    }
}

impl Drop for Connection {
    /// Says goodbye to the camera, waiting at most 100 ms for its answer (rtspsrc's teardown-timeout), and frees all.
    fn drop(&mut self) {
        let Self::Pipeline(pipeline) = self else { return };
        // Going down to NULL cannot fail.
        let _ = pipeline.set_state(gst::State::Null);
        if let Some(bus) = pipeline.bus() {
            bus.unset_sync_handler();
        }
    }
}

/// Tells the inbox what the packets from here on are.
fn note_format(inbox: &Inbox, info: StreamInfo) -> Result<(), CameraError> {
    let too_large = |size: &Size| size.width > MAX_SIDE || size.height > MAX_SIDE;
    if let Some(size) = info.size.filter(too_large) {
        return Err(CameraError::PictureTooLarge { size, limit: MAX_SIDE });
    }
    inbox.put_format(info);
    Ok(())
}

/// From microseconds since 1900, in 32-bit seconds.
fn from_ntp(micros: u64) -> Timestamp {
    let (seconds, rest) = ((micros / 1_000_000) as i64, (micros % 1_000_000) as i64);
    let era = if seconds < NTP_ERA_SECONDS / 2 { NTP_ERA_SECONDS } else { 0 };
    Timestamp::from_micros((seconds + era - NTP_TO_UNIX_SECONDS) * 1_000_000 + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ntp_times_are_read_on_both_sides_of_2036() {
        let text = |ntp_seconds: u64| from_ntp(ntp_seconds * 1_000_000 + 250_000).to_string();
        assert_eq!(text(2_208_988_800), "1970-01-01T00:00:00.250Z");
        assert_eq!(text(u64::from(u32::MAX)), "2036-02-07T06:28:15.250Z");
        assert_eq!(text(0), "2036-02-07T06:28:16.250Z");
    }
}
