//! A connection over UDP, or over TLS: GStreamer's rtspsrc, which sorts packets that overtook each other.
//!
//! ```text
//! rtspsrc ! rtph26Xdepay ! h26Xparse ! appsink
//! ```
//!
//! What was measured and must stay so:
//! - `buffer-mode=none`: every other mode of the jitter buffer bends time stamps when the network stalls.
//! - `add-reference-timestamp-meta=true`: the sender's NTP time rides on each buffer, from the first sender report on.
//! - `timeout=0`: rtspsrc would fall back from UDP to TCP by itself; the watchdog of the session decides instead.
//! - A camera that hangs gives no message at all; one that dies gives a warning and a plain end of stream.

use std::sync::Arc;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer::prelude::*;
use gstreamer_app::{AppSink, AppSinkCallbacks};
use parking_lot::Mutex;
use vigil_base::{Codec, SharedClock};

use crate::config::{Source, TlsPolicy, Transport};
use crate::error::CameraError;
use crate::inbox::Inbox;
use crate::rtsp::diagnose::{self, Offer, codec_of};
use crate::rtsp::packets::Receiver;

pub(super) fn build(source: &Source, clock: &SharedClock, inbox: &Arc<Inbox>) -> Result<gst::Pipeline, CameraError> {
    let pipeline = gst::Pipeline::new();
    let rtspsrc = rtspsrc(source)?;
    let sink = sink(clock, inbox);
    let all = [&rtspsrc, sink.upcast_ref()];
    pipeline.add_many(all).map_err(|source| missing("build a pipeline", source))?;

    let offer = Arc::new(Mutex::new(Offer::default()));
    choose_stream(&rtspsrc, &offer);
    join_when_ready(&pipeline, &rtspsrc, &sink, inbox);
    let bus = pipeline.bus().expect("every pipeline has a bus");
    let (inbox, address) = (Arc::clone(inbox), source.address.clone());
    bus.set_sync_handler(move |_, message| {
        match message.view() {
            gst::MessageView::Error(error) => {
                inbox.end(diagnose::error(&address, &error.error(), error.debug().as_deref(), &offer.lock()));
            }
            gst::MessageView::Eos(_) => inbox.end(diagnose::end(&address, &offer.lock())),
            gst::MessageView::Warning(warning) => {
                tracing::debug!(camera = %address, warning = %warning.error(), "from GStreamer");
            }
            _ => {}
        }
        gst::BusSyncReply::Drop
    });
    Ok(pipeline)
}

fn rtspsrc(source: &Source) -> Result<gst::Element, CameraError> {
    let micros = |lasts: std::time::Duration| u64::try_from(lasts.as_micros()).unwrap_or(u64::MAX);
    let protocols = match source.transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    };
    let element = gst::ElementFactory::make("rtspsrc")
        .property("location", source.address.location())
        .property("latency", u32::try_from(source.latency.as_millis()).unwrap_or(u32::MAX))
        .property("timeout", 0u64)
        .property("tcp-timeout", micros(source.connect_timeout))
        .property("udp-reconnect", false)
        .property("add-reference-timestamp-meta", true)
        .property("user-agent", concat!("vigil/", env!("CARGO_PKG_VERSION")))
        .property_from_str("protocols", protocols)
        .property_from_str("buffer-mode", "none")
        .build()
        .map_err(|source| missing("read RTSP", source))?;
    if let Some(user) = &source.user {
        element.set_property("user-id", user);
        element.set_property("user-pw", source.password.as_ref().map_or("", |password| password.reveal()));
    }
    if source.tls == TlsPolicy::AcceptAny {
        element.set_property_from_str("tls-validation-flags", "0");
    }
    Ok(element)
}

/// Everything that comes is taken at once: the inbox behind it is the queue.
fn sink(clock: &SharedClock, inbox: &Arc<Inbox>) -> AppSink {
    let sink = AppSink::builder().sync(false).async_(false).max_buffers(1).build();
    let mut receiver = Receiver::new(SharedClock::clone(clock), Arc::clone(inbox));
    let take = move |sink: &AppSink| receiver.take(&sink.pull_sample().map_err(|_| gst::FlowError::Eos)?);
    sink.set_callbacks(AppSinkCallbacks::builder().new_sample(take).build());
    sink
}

/// Of all streams the first video that can be decoded is set up; sound, metadata and further videos are never sent.
fn choose_stream(rtspsrc: &gst::Element, offer: &Arc<Mutex<Offer>>) {
    let offer = Arc::clone(offer);
    rtspsrc.connect("select-stream", false, move |values| {
        let caps = values[2].get::<gst::Caps>().ok();
        let described = caps.as_ref().and_then(|caps| caps.structure(0));
        let text = |field: &str| described.and_then(|described| described.get::<String>(field).ok());
        let mut offer = offer.lock();
        if text("media").as_deref() != Some("video") {
            offer.others += 1;
            return Some(false.to_value());
        }
        let number = described.and_then(|described| described.get::<i32>("payload").ok()).unwrap_or(-1);
        let payload = text("encoding-name").unwrap_or_else(|| format!("RTP payload type {number}"));
        let chosen = offer.chosen.is_none().then(|| codec_of(&payload)).flatten();
        offer.chosen = offer.chosen.or(chosen);
        offer.videos.push(payload);
        Some(chosen.is_some().to_value())
    });
}

/// Depayloader and parser come with the stream, whose codec is known only then.
fn join_when_ready(pipeline: &gst::Pipeline, rtspsrc: &gst::Element, sink: &AppSink, inbox: &Arc<Inbox>) {
    let (pipeline, sink, inbox) = (pipeline.downgrade(), sink.downgrade(), Arc::clone(inbox));
    rtspsrc.connect_pad_added(move |_, pad| {
        let (Some(pipeline), Some(sink)) = (pipeline.upgrade(), sink.upgrade()) else { return };
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let payload = caps.structure(0).and_then(|described| described.get::<String>("encoding-name").ok());
        let Some(codec) = payload.as_deref().and_then(codec_of) else { return };
        if let Err(source) = join(&pipeline, pad, &sink, codec) {
            inbox.end(missing("parse the stream", source));
        }
    });
}

fn join(pipeline: &gst::Pipeline, pad: &gst::Pad, sink: &AppSink, codec: Codec) -> Result<(), glib::BoolError> {
    let (depayloader, parser, media) = match codec {
        Codec::H264 => ("rtph264depay", "h264parse", "video/x-h264"),
        Codec::H265 => ("rtph265depay", "h265parse", "video/x-h265"),
    };
    let depayloader = gst::ElementFactory::make(depayloader).build()?;
    // Parameter sets go before every keyframe, also those that only the description holds.
    let parser = gst::ElementFactory::make(parser).property("config-interval", -1i32).build()?;
    let caps = gst::Caps::builder(media).field("stream-format", "byte-stream").field("alignment", "au").build();
    sink.set_caps(Some(&caps));
    pipeline.add_many([&depayloader, &parser])?;
    gst::Element::link_many([&depayloader, &parser, sink.upcast_ref()])?;
    parser.sync_state_with_parent()?;
    depayloader.sync_state_with_parent()?;
    let entry = depayloader.static_pad("sink").expect("every depayloader has a sink pad");
    pad.link(&entry).map_err(|_| glib::bool_error!("the stream's pad cannot be linked"))?;
    Ok(())
}

fn missing(what: &'static str, source: glib::BoolError) -> CameraError {
    CameraError::GStreamer { what, source: source.into() }
}
