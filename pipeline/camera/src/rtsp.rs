//! Connections to real cameras: GStreamer's rtspsrc, one pipeline per connection, never used twice.

mod diagnose;
mod packets;
mod pipeline;

use std::sync::Arc;
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use vigil_base::SharedClock;

use crate::config::Source;
use crate::error::CameraError;
use crate::inbox::Inbox;
use crate::stream::{Opener, PacketStream, StreamEvent};

/// Connects with GStreamer.
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
        let pipeline = pipeline::build(source, clock, &inbox)?;
        let stream = RtspStream { pipeline, inbox, source: source.clone(), brought_packets: false };
        // An error here is on the bus too, and there with its cause: the first event tells it.
        let _ = stream.pipeline.set_state(gst::State::Playing);
        Ok(Box::new(stream))
    }
}

struct RtspStream {
    pipeline: gst::Pipeline,
    inbox: Arc<Inbox>,
    source: Source,
    brought_packets: bool,
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

impl Drop for RtspStream {
    /// Says goodbye to the camera, waiting at most 100 ms for its answer (rtspsrc's teardown-timeout), and frees all.
    fn drop(&mut self) {
        // Going down to NULL cannot fail.
        let _ = self.pipeline.set_state(gst::State::Null);
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
        }
    }
}
