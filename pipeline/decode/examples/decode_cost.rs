//! What decoding costs: CPU milliseconds per second of video, the bare GStreamer element against `vigil_decode::Decoder`.
//!
//! `cargo run --release -p vigil-decode --example decode_cost -- CLIP.mp4 [ROUNDS]`, where the clip is H.264 in MP4.
//! One JSON line per round; the floor and the product take turns, so that both see the same machine.

#![allow(clippy::print_stdout)] // Its output is its purpose.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app::AppSink;
use nix::sys::resource::{UsageWho, getrusage};
use vigil_base::{Codec, EncodedPacket, TimeSource, Timestamp};
use vigil_decode::{Decoder, DecoderConfig};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("name an MP4 file with H.264 video")?;
    let rounds: u32 = arguments.next().map_or(Ok(3), |text| text.parse())?;
    gst::init()?;
    let packets = packets(&path)?;
    let seconds = packets.iter().map(|packet| packet.pts_ns).max().unwrap_or(0) as f64 / 1e9;
    for _ in 0..rounds {
        let parse = cpu_ms(|| run(&format!("filesrc location={path} ! qtdemux ! h264parse ! fakesink")))?;
        let bare = cpu_ms(|| {
            run(&format!(
                "filesrc location={path} ! qtdemux ! h264parse ! avdec_h264 max-threads=1 ! fakesink sync=false"
            ))
        })?;
        let frames = Arc::new(AtomicU64::new(0));
        let ours = cpu_ms(|| decode(&packets, &frames))?;
        let line = serde_json::json!({
            "stream": path, "frames": frames.load(Ordering::Relaxed), "seconds": seconds,
            "parse_ms_per_s": parse / seconds, "element_ms_per_s": bare / seconds, "vigil_ms_per_s": ours / seconds,
            "ratio": ours / (bare - parse),
        });
        println!("{line}");
    }
    Ok(())
}

fn packets(path: &str) -> Result<Vec<EncodedPacket>, Failure> {
    let line = format!(
        "filesrc location={path} ! qtdemux ! h264parse config-interval=-1 ! \
         video/x-h264,stream-format=byte-stream,alignment=au ! appsink name=out sync=false"
    );
    let pipeline = gst::parse::launch(&line)?.downcast::<gst::Pipeline>().map_err(|_| "no pipeline")?;
    let sink = pipeline.by_name("out").and_then(|sink| sink.downcast::<AppSink>().ok()).ok_or("no sink")?;
    pipeline.set_state(gst::State::Playing)?;
    let mut packets = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        let buffer = sample.buffer().ok_or("a sample without a buffer")?;
        let pts_ns = buffer.pts().ok_or("a packet without a time")?.nseconds();
        packets.push(EncodedPacket {
            codec: Codec::H264,
            session: 0,
            pts_ns,
            capture_time: Timestamp::from_micros((pts_ns / 1_000).cast_signed()),
            time_source: TimeSource::File,
            keyframe: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
            discontinuity: false,
            data: Bytes::copy_from_slice(buffer.map_readable()?.as_slice()),
        });
    }
    pipeline.set_state(gst::State::Null)?;
    Ok(packets)
}

fn run(line: &str) -> Result<(), Failure> {
    let pipeline = gst::parse::launch(line)?;
    pipeline.set_state(gst::State::Playing)?;
    let bus = pipeline.bus().ok_or("a pipeline without a bus")?;
    let ended = bus.timed_pop_filtered(gst::ClockTime::NONE, &[gst::MessageType::Eos, gst::MessageType::Error]);
    pipeline.set_state(gst::State::Null)?;
    match ended.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Eos(_)) => Ok(()),
        _ => Err("the pipeline failed".into()),
    }
}

fn decode(packets: &[EncodedPacket], frames: &Arc<AtomicU64>) -> Result<(), Failure> {
    let count = frames.clone();
    let on_frame = Box::new(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let mut decoder = Decoder::new(Codec::H264, DecoderConfig::default(), "bench", on_frame)?;
    for packet in packets {
        decoder.push(packet)?;
    }
    decoder.drain();
    Ok(())
}

/// CPU time (user and system) of this process while `work` runs.
fn cpu_ms(work: impl FnOnce() -> Result<(), Failure>) -> Result<f64, Failure> {
    let before = used_ms()?;
    work()?;
    Ok(used_ms()? - before)
}

fn used_ms() -> Result<f64, Failure> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let ms = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e3 + time.tv_usec() as f64 / 1e3;
    Ok(ms(usage.user_time()) + ms(usage.system_time()))
}
