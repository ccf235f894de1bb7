//! Encoded streams for tests, made on the spot: each frame is one shade of grey that tells its index.

#![allow(dead_code)] // Each test file uses a part of it.
#![allow(clippy::unwrap_used)] // It is test code, outside of any test function.

use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app::{AppSink, AppSrc};
use gstreamer_video::{VideoFormat, VideoInfo};
use vigil_base::{Codec, EncodedPacket, Frame, Size, TimeSource, Timestamp};

/// Frames per second of every test stream.
pub const RATE: u64 = 25;
/// Capture time of packet 0.
pub const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

/// What is to be encoded.
#[derive(Clone, Copy)]
pub struct Stream {
    pub codec: Codec,
    pub size: Size,
    pub frames: u64,
    pub keyframe_every: u32,
    pub b_frames: u32,
    /// GStreamer's name of the pixel format.
    pub format: &'static str,
}

impl Stream {
    pub fn h264(width: u32, height: u32, frames: u64) -> Self {
        let size = Size::new(width, height);
        Self { codec: Codec::H264, size, frames, keyframe_every: 10, b_frames: 0, format: "I420" }
    }

    fn encoder(&self) -> String {
        let (gop, b_frames) = (self.keyframe_every, self.b_frames);
        match self.codec {
            Codec::H264 => format!(
                "x264enc speed-preset=ultrafast key-int-max={gop} bframes={b_frames} b-adapt=false rc-lookahead=0 \
                 sync-lookahead=0 threads=1 pass=qual quantizer=12 option-string=scenecut=0 ! \
                 video/x-h264,stream-format=byte-stream,alignment=au"
            ),
            Codec::H265 => format!(
                "x265enc speed-preset=ultrafast key-int-max={gop} \
                 option-string=bframes={b_frames}:scenecut=0:repeat-headers=1:pools=1:frame-threads=1:log-level=none ! \
                 h265parse config-interval=-1 ! video/x-h265,stream-format=byte-stream,alignment=au"
            ),
        }
    }

    /// The stream as packets of session 0, in decoding order.
    pub fn packets(&self) -> Vec<EncodedPacket> {
        let sink = self.encode(&format!("{} ! appsink name=out sync=false", self.encoder()));
        let mut first_pts = None;
        let mut packets = Vec::new();
        while let Ok(sample) = sink.pull_sample() {
            let buffer = sample.buffer().unwrap();
            let pts = buffer.pts().unwrap().nseconds();
            // x264enc starts its times at 1000 hours.
            let pts_ns = pts - *first_pts.get_or_insert(pts);
            packets.push(self.packet(buffer, pts_ns));
        }
        packets
    }

    fn packet(&self, buffer: &gst::BufferRef, pts_ns: u64) -> EncodedPacket {
        EncodedPacket {
            codec: self.codec,
            session: 0,
            pts_ns,
            capture_time: START + std::time::Duration::from_nanos(pts_ns),
            time_source: TimeSource::Ntp,
            keyframe: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
            discontinuity: false,
            data: Bytes::copy_from_slice(buffer.map_readable().unwrap().as_slice()),
        }
    }

    /// The stream as a file; `muxer` is a GStreamer element.
    pub fn file(&self, muxer: &str, path: &Path) {
        let parser = if self.codec == Codec::H264 { "h264parse" } else { "h265parse" };
        let tail = format!("{} ! {parser} ! {muxer} ! filesink name=out location={}", self.encoder(), path.display());
        let (pipeline, feeder) = self.start(&tail);
        feeder.join().unwrap();
        let bus = pipeline.bus().unwrap();
        let message =
            bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &[gst::MessageType::Eos, gst::MessageType::Error]);
        assert!(matches!(message.unwrap().view(), gst::MessageView::Eos(_)), "{muxer} failed");
        pipeline.set_state(gst::State::Null).unwrap();
    }

    fn encode(&self, tail: &str) -> AppSink {
        let (pipeline, _feeder) = self.start(tail);
        pipeline.by_name("out").unwrap().downcast().unwrap()
    }

    fn start(&self, tail: &str) -> (gst::Pipeline, std::thread::JoinHandle<()>) {
        gst::init().unwrap();
        let Size { width, height } = self.size;
        let line = format!(
            "appsrc name=in format=time block=true max-buffers=4 \
             caps=video/x-raw,format={},width={width},height={height},framerate={RATE}/1,colorimetry=bt709 ! {tail}",
            self.format
        );
        let pipeline = gst::parse::launch(&line).unwrap().downcast::<gst::Pipeline>().unwrap();
        let source = pipeline.by_name("in").unwrap().downcast::<AppSrc>().unwrap();
        pipeline.set_state(gst::State::Playing).unwrap();
        let stream = *self;
        let feed = move || {
            for index in 0..stream.frames {
                source.push_buffer(stream.picture(index)).unwrap();
            }
            source.end_of_stream().unwrap();
        };
        let feeder = std::thread::Builder::new().name("feeder".to_owned()).spawn(feed).unwrap();
        (pipeline, feeder)
    }

    fn picture(&self, index: u64) -> gst::Buffer {
        let format = self.format.parse::<VideoFormat>().unwrap();
        let info = VideoInfo::builder(format, self.size.width, self.size.height).build().unwrap();
        let mut data = vec![128; info.size()];
        data[..info.offset()[1]].fill(grey(index));
        let mut buffer = gst::Buffer::from_mut_slice(data);
        let header = buffer.get_mut().unwrap();
        header.set_pts(gst::ClockTime::from_nseconds(index * 1_000_000_000 / RATE));
        header.set_duration(gst::ClockTime::from_nseconds(1_000_000_000 / RATE));
        buffer
    }
}

/// The shade of frame `index`: far enough from its neighbours' to survive encoding.
pub fn grey(index: u64) -> u8 {
    20 + (index * 5 % 200) as u8
}

/// The index of a frame of a stream of at most 40 frames, by its shade.
pub fn index_of(frame: &Frame) -> u64 {
    let plane = &frame.planes[0];
    let rows = (0..plane.height).flat_map(|y| plane.row(y).iter().copied());
    let mean = rows.map(f64::from).sum::<f64>() / f64::from(plane.width * plane.height);
    ((mean - 20.0) / 5.0).round() as u64
}

/// What a collector has collected.
pub type Frames = Arc<Mutex<Vec<Frame>>>;

/// Collects what a decoder hands out.
pub fn collector() -> (Box<dyn FnMut(Frame) + Send>, Frames) {
    let frames = Arc::new(Mutex::new(Vec::new()));
    let into = frames.clone();
    (Box::new(move |frame| into.lock().unwrap().push(frame)), frames)
}

/// The packet as another session sends it, `later_ns` into that session's life.
pub fn moved(packet: &EncodedPacket, session: u32, pts_ns: u64) -> EncodedPacket {
    EncodedPacket { session, pts_ns, ..packet.clone() }
}
