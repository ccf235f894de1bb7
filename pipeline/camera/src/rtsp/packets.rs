//! GStreamer's buffers as packets, on the stream's own thread.

use std::sync::Arc;

use bytes::Bytes;
use gstreamer as gst;
use vigil_base::{Codec, SharedClock, Size, Timestamp};

use crate::error::CameraError;
use crate::inbox::Inbox;
use crate::rtsp::{MAX_ACCESS_UNIT, from_ntp, note_format};
use crate::status::StreamInfo;
use crate::stream::RawPacket;

/// Takes samples apart.
pub(super) struct Receiver {
    clock: SharedClock,
    inbox: Arc<Inbox>,
    caps: Option<gst::Caps>,
    first: bool,
}

impl Receiver {
    pub fn new(clock: SharedClock, inbox: Arc<Inbox>) -> Self {
        Self { clock, inbox, caps: None, first: true }
    }

    /// An error stops the stream; the inbox knows why.
    pub fn take(&mut self, sample: &gst::Sample) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.note_format(sample)?;
        let (Some(buffer), Some(segment)) = (sample.buffer_owned(), sample.segment()) else {
            return Ok(gst::FlowSuccess::Ok);
        };
        if buffer.size() > MAX_ACCESS_UNIT {
            self.inbox.end(CameraError::TooLarge { limit: MAX_ACCESS_UNIT });
            return Err(gst::FlowError::Eos);
        }
        let segment = segment.downcast_ref::<gst::ClockTime>();
        let Some(pts) = segment.and_then(|segment| segment.to_running_time(buffer.pts()?)) else {
            // Without a time it has no place in the stream; the parser gives one to all but broken units.
            return Ok(gst::FlowSuccess::Ok);
        };
        let flags = buffer.flags();
        let broken = flags.intersects(gst::BufferFlags::DISCONT | gst::BufferFlags::CORRUPTED);
        let packet = RawPacket {
            pts_ns: pts.nseconds(),
            ntp: ntp_time(&buffer),
            arrival: self.clock.now(),
            arrival_monotonic: self.clock.monotonic(),
            keyframe: !flags.contains(gst::BufferFlags::DELTA_UNIT),
            discontinuity: broken && !self.first,
            data: bytes_of(buffer).ok_or(gst::FlowError::Error)?,
        };
        self.first = false;
        self.inbox.put_packet(packet);
        Ok(gst::FlowSuccess::Ok)
    }

    fn note_format(&mut self, sample: &gst::Sample) -> Result<(), gst::FlowError> {
        let caps = sample.caps_owned();
        if caps == self.caps {
            return Ok(());
        }
        if let Some(info) = caps.as_ref().and_then(|caps| stream_info(caps))
            && let Err(reason) = note_format(&self.inbox, info)
        {
            self.inbox.end(reason);
            return Err(gst::FlowError::Eos);
        }
        self.caps = caps;
        Ok(())
    }
}

/// The buffer's memory itself, which lives as long as the bytes do.
fn bytes_of(buffer: gst::Buffer) -> Option<Bytes> {
    buffer.into_mapped_buffer_readable().ok().map(Bytes::from_owner)
}

fn stream_info(caps: &gst::CapsRef) -> Option<StreamInfo> {
    let described = caps.structure(0)?;
    let codec = match described.name().as_str() {
        "video/x-h264" => Codec::H264,
        "video/x-h265" => Codec::H265,
        _ => return None,
    };
    let side = |name: &str| u32::try_from(described.get::<i32>(name).ok()?).ok();
    let size = side("width").zip(side("height")).map(|(width, height)| Size::new(width, height));
    let rate = described.get::<gst::Fraction>("framerate").ok().filter(|rate| rate.numer() > 0 && rate.denom() > 0);
    let fps = rate.map(|rate| f64::from(rate.numer()) / f64::from(rate.denom()));
    Some(StreamInfo { codec, size, fps })
}

fn ntp_time(buffer: &gst::BufferRef) -> Option<Timestamp> {
    let meta = buffer
        .iter_meta::<gst::ReferenceTimestampMeta>()
        .find(|meta| meta.reference().structure(0).is_some_and(|reference| reference.name() == "timestamp/x-ntp"))?;
    Some(from_ntp(meta.timestamp().useconds()))
}
