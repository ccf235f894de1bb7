//! One decoder element, driven directly through its pads.
//!
//! `source pad -> [parser] -> decoder -> [videoconvert] -> sink pad`, without a pipeline around it: a push decodes in the
//! caller's thread, so there is no queue, no second thread and no clock.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo, VideoMeta};
use gstreamer as gst;
use gstreamer_video as gst_video;
use parking_lot::Mutex;
use vigil_base::{Codec, Size};

use crate::MAX_SIDE;
use crate::candidates::{Candidate, make};
use crate::memory::SharedPicturePool;

/// Pictures that may wait between two pushes. Only draining gives many at once: at most the 16 that H.264 and H.265 may
/// hold back; hardware decoders with a thread of their own may add a few.
const MAX_WAITING: usize = 32;

/// Coded widths are multiples of this in H.264 (ITU-T H.264, 7.4.2.1.1); in H.265 of it or of 8.
const MACROBLOCK: u32 = 16;

/// Why a chain can go on no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The decoder gives another format than I420: a converter is needed.
    NeedsConversion(VideoFormat),
    /// Above [`MAX_SIDE`].
    TooLarge(Size),
    /// Anything else, as GStreamer put it.
    Failed(String),
}

/// How a chain is to be built.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub codec: Codec,
    pub candidate: Candidate,
    /// Put a converter to I420 behind the decoder.
    pub convert: bool,
    /// Threads of a software decoder.
    pub threads: u32,
}

/// A decoded picture and what it looks like.
pub(crate) struct Picture {
    pub buffer: gst::Buffer,
    pub info: VideoInfo,
}

/// What the sink pad has received; shared with GStreamer's side.
#[derive(Default)]
struct Received {
    info: Option<VideoInfo>,
    pictures: VecDeque<Picture>,
    refused: Option<Broken>,
}

/// A running decoder. Dropping it stops it.
pub(crate) struct Chain {
    plan: Plan,
    source: gst::Pad,
    sink: gst::Pad,
    elements: Vec<gst::Element>,
    bus: gst::Bus,
    received: Arc<Mutex<Received>>,
}

impl Chain {
    /// Builds and starts the chain; the error says why this candidate does not work here.
    pub fn start(plan: Plan) -> Result<Self, String> {
        let received = Arc::new(Mutex::new(Received::default()));
        let chain = Self {
            plan,
            source: gst::Pad::builder(gst::PadDirection::Src).name("packets").build(),
            sink: sink_pad(&received, plan.convert),
            elements: elements(plan)?,
            bus: gst::Bus::new(),
            received,
        };
        chain.link().map_err(|err| err.message.to_string())?;
        chain.play()?;
        chain.announce();
        Ok(chain)
    }

    /// The plan it was built by.
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// Decodes one access unit; its picture, or earlier ones, may then wait in [`Chain::next_picture`].
    pub fn push(&self, data: Bytes, pts_ns: u64, keyframe: bool) -> Result<(), Broken> {
        let mut buffer = gst::Buffer::from_slice(data);
        let header = buffer.get_mut().expect("nobody else holds a buffer just made");
        header.set_pts(gst::ClockTime::from_nseconds(pts_ns));
        if !keyframe {
            header.set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        match self.source.push(buffer) {
            Ok(_) => self.refusal().map_or(Ok(()), Err),
            Err(flow) => Err(self.refusal().unwrap_or_else(|| Broken::Failed(self.complaint(flow)))),
        }
    }

    /// Makes the decoder hand out what it holds back, and forget all references. The next push must be a keyframe.
    pub fn drain(&self) {
        self.source.push_event(gst::event::Eos::new());
        self.source.push_event(gst::event::FlushStart::new());
        self.source.push_event(gst::event::FlushStop::new(true));
        self.source.push_event(segment());
    }

    /// The oldest decoded picture.
    pub fn next_picture(&self) -> Option<Picture> {
        self.received.lock().pictures.pop_front()
    }

    fn link(&self) -> Result<(), gst::glib::BoolError> {
        let (first, last) = (&self.elements[0], &self.elements[self.elements.len() - 1]);
        let entry = first.static_pad("sink").ok_or_else(|| gst::glib::bool_error!("it takes no input"))?;
        let exit = last.static_pad("src").ok_or_else(|| gst::glib::bool_error!("it gives no output"))?;
        let refused = |_| gst::glib::bool_error!("it does not fit between packets and pictures");
        self.source.link(&entry).map_err(refused)?;
        exit.link(&self.sink).map_err(refused)?;
        self.elements.windows(2).try_for_each(|pair| pair[0].link(&pair[1]))
    }

    fn play(&self) -> Result<(), String> {
        let activated = self.sink.set_active(true).and_then(|()| self.source.set_active(true));
        activated.map_err(|err| err.message.to_string())?;
        for element in self.elements.iter().rev() {
            element.set_bus(Some(&self.bus));
            element.set_state(gst::State::Playing).map_err(|_| self.complaint(gst::FlowError::Error))?;
        }
        Ok(())
    }

    fn announce(&self) {
        let media = match self.plan.codec {
            Codec::H264 => "video/x-h264",
            Codec::H265 => "video/x-h265",
        };
        let caps = gst::Caps::builder(media).field("stream-format", "byte-stream").field("alignment", "au").build();
        self.source.push_event(gst::event::StreamStart::new("camera"));
        self.source.push_event(gst::event::Caps::new(&caps));
        self.source.push_event(segment());
    }

    fn refusal(&self) -> Option<Broken> {
        self.received.lock().refused.clone()
    }

    /// What the elements said on the bus, or the bare flow error.
    fn complaint(&self, flow: gst::FlowError) -> String {
        let message = self.bus.pop_filtered(&[gst::MessageType::Error]);
        match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(error)) => error.error().message().to_owned(),
            _ => format!("the stream ended with {flow:?}"),
        }
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        for element in &self.elements {
            // Nothing can be done about an element that does not stop; it is let go of all the same.
            let _ = element.set_state(gst::State::Null);
        }
        let _ = self.source.set_active(false);
        let _ = self.sink.set_active(false);
        self.bus.set_flushing(true);
    }
}

fn segment() -> gst::Event {
    gst::event::Segment::new(&gst::FormattedSegment::<gst::ClockTime>::new())
}

fn elements(plan: Plan) -> Result<Vec<gst::Element>, String> {
    let mut elements = Vec::with_capacity(3);
    if let Some(parser) = plan.candidate.parser {
        elements.push(make(parser)?);
    }
    let decoder = make(plan.candidate.element)?;
    configure(&decoder, plan.threads);
    elements.push(decoder);
    if plan.convert {
        elements.push(make("videoconvert")?);
    }
    Ok(elements)
}

/// Settings that only some decoders have.
fn configure(decoder: &gst::Element, threads: u32) {
    if decoder.has_property("max-threads") {
        decoder.set_property("max-threads", i32::try_from(threads).unwrap_or(i32::MAX));
    }
    if decoder.has_property("std-compliance") {
        // "auto" means strict outside of a live pipeline, and strict holds back up to 16 pictures of a stream that does
        // not say how far it reorders.
        decoder.set_property_from_str("std-compliance", "normal");
    }
    if decoder.has_property("qos") {
        decoder.set_property("qos", false);
    }
}

/// Answers a decoder's question about memory so that libav's decoder hands out the memory it decodes into.
///
/// It copies every picture for a sink that does not know `GstVideoMeta`, and copies pictures that are cropped (1080 rows are
/// coded as 1088) unless the sink offers a pool that can be told to pad; and it copies those that later pictures refer to
/// unless the pool is [`SharedPicturePool`]. Where the *width* is cropped, such a pool would be rebuilt for every picture:
/// there one copy is cheaper.
pub(crate) fn welcome_decoder_memory(question: &mut gst::query::Allocation) {
    question.add_allocation_meta::<VideoMeta>(None);
    let info = question.get().0.and_then(|caps| VideoInfo::from_caps(caps).ok());
    let Some(info) = info.filter(|info| info.width().is_multiple_of(MACROBLOCK)) else { return };
    let Ok(size) = u32::try_from(info.size()) else { return };
    question.add_allocation_pool(Some(&SharedPicturePool::new()), size, 0, 0);
}

fn sink_pad(received: &Arc<Mutex<Received>>, only_i420: bool) -> gst::Pad {
    let (for_chain, for_events) = (received.clone(), received.clone());
    gst::Pad::builder(gst::PadDirection::Sink)
        .name("pictures")
        .chain_function(move |_, _, buffer| for_chain.lock().take_in(buffer))
        .event_function(move |_, _, event| match event.view() {
            gst::EventView::Caps(caps) => for_events.lock().announced(caps.caps()),
            _ => true,
        })
        .query_function(move |pad, parent, query| match query.view_mut() {
            gst::QueryViewMut::Allocation(allocation) => {
                welcome_decoder_memory(allocation);
                true
            }
            gst::QueryViewMut::Caps(question) => {
                let mut accepted = acceptable(only_i420);
                if let Some(filter) = question.filter_owned() {
                    accepted = filter.intersect_with_mode(&accepted, gst::CapsIntersectMode::First);
                }
                question.set_result(&accepted);
                true
            }
            gst::QueryViewMut::AcceptCaps(question) => {
                let accepted = acceptable(only_i420).can_intersect(&question.caps_owned());
                question.set_result(accepted);
                true
            }
            _ => gst::Pad::query_default(pad, parent, query),
        })
        .build()
}

/// I420 first, so that a decoder that can choose chooses it; without a converter, anything in main memory, so that the
/// decoder's own choice becomes known.
fn acceptable(only_i420: bool) -> gst::Caps {
    let mut caps = gst::Caps::builder("video/x-raw").field("format", "I420").build();
    if !only_i420 {
        caps.merge(gst::Caps::new_empty_simple("video/x-raw"));
    }
    caps
}

impl Received {
    /// The decoder says what its pictures will look like. False refuses them.
    fn announced(&mut self, caps: &gst::CapsRef) -> bool {
        let checked = VideoInfo::from_caps(caps)
            .map_err(|_| Broken::Failed(format!("it gives {caps} instead of pictures")))
            .and_then(check);
        match checked {
            Ok(info) => self.info = Some(info),
            Err(broken) => self.refused = Some(broken),
        }
        self.refused.is_none()
    }

    fn take_in(&mut self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        let info = self.info.clone().ok_or(gst::FlowError::NotNegotiated)?;
        if self.pictures.len() == MAX_WAITING {
            self.refused = Some(Broken::Failed(format!("it gave more than {MAX_WAITING} pictures at once")));
            return Err(gst::FlowError::Error);
        }
        self.pictures.push_back(Picture { buffer, info });
        Ok(gst::FlowSuccess::Ok)
    }
}

fn check(info: VideoInfo) -> Result<VideoInfo, Broken> {
    if info.width() > MAX_SIDE || info.height() > MAX_SIDE {
        return Err(Broken::TooLarge(Size::new(info.width(), info.height())));
    }
    if info.format() != VideoFormat::I420 {
        return Err(Broken::NeedsConversion(info.format()));
    }
    Ok(info)
}
