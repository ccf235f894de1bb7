//! The pipeline that reads a video file, and its way to the first frame.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gst::prelude::*;
use gstreamer as gst;
use gstreamer_app::AppSink;

use crate::DecodeError;
use crate::chain::welcome_decoder_memory;
use crate::damage::{self, DamageCount};
use crate::patience::{POLL, STALL_LIMIT, clock_time, described, error_on};

/// Decoded frames that may wait for the caller. Two keep the decoder's thread busy while the caller works on a third.
const MAX_WAITING_FRAMES: u32 = 2;
/// Polls in a row without a running thread after which nothing more will come: there is a thread from the first to the last
/// moment of opening a file, but for the instants in which one hands over to the next.
const IDLE_POLLS: u32 = 5;

/// A pipeline that reads a file.
pub(crate) struct Built {
    pub pipeline: gst::Pipeline,
    /// Its end.
    pub sink: AppSink,
    /// Raised when the file turns out to hold no video.
    pub no_video: Arc<AtomicBool>,
    pub damage: Arc<DamageCount>,
}

/// The pipeline of a file, not started yet.
pub(crate) fn build(path: &Path) -> Result<Built, DecodeError> {
    let absent = |_| DecodeError::NotVideo {
        path: path.to_owned(),
        reason: "GStreamer's base plugins (gstreamer1.0-plugins-base) are not installed".to_owned(),
    };
    let pipeline = gst::Pipeline::new();
    let source = gst::ElementFactory::make("filesrc").property("location", path).build().map_err(absent)?;
    let decoder = gst::ElementFactory::make("decodebin")
        .property("force-sw-decoders", true)
        .property("caps", gst::Caps::builder("video/x-raw").any_features().build())
        .property("expose-all-streams", false)
        .build()
        .map_err(absent)?;
    let convert = gst::ElementFactory::make("videoconvert").build().map_err(absent)?;
    let sink = app_sink();
    let chain = [&source, &decoder, &convert, sink.upcast_ref()];
    let joined = pipeline.add_many(chain).and_then(|()| source.link(&decoder)).and_then(|()| convert.link(&sink));
    joined.map_err(absent)?;
    damage::listen();
    let damage = Arc::new(DamageCount::default());
    prepare_decoders(&pipeline, &damage);
    damage.watch_pictures(&convert.static_pad("sink").expect("videoconvert has a sink pad"));
    let no_video = link_first_video(&decoder, &convert);
    Ok(Built { pipeline, sink, no_video, damage })
}

fn app_sink() -> AppSink {
    let i420 = gst::Caps::builder("video/x-raw").field("format", "I420").build();
    let sink = AppSink::builder().caps(&i420).sync(false).max_buffers(MAX_WAITING_FRAMES).build();
    let pad = sink.static_pad("sink").expect("every sink has a sink pad");
    pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, info| {
        let query = info.query_mut().map(gst::QueryRef::view_mut);
        let Some(gst::QueryViewMut::Allocation(allocation)) = query else { return gst::PadProbeReturn::Ok };
        welcome_decoder_memory(allocation);
        gst::PadProbeReturn::Handled
    });
    sink
}

/// One thread for each decoder, the one that brings its packets, and what goes in is counted.
fn prepare_decoders(pipeline: &gst::Pipeline, damage: &Arc<DamageCount>) {
    let damage = Arc::clone(damage);
    pipeline.connect_deep_element_added(move |_, _, element| {
        damage.watch_decoder(element);
        if element.has_property("max-threads") {
            element.set_property("max-threads", 1);
        }
    });
}

/// Links the first video stream; says through the returned flag that there is none.
fn link_first_video(decoder: &gst::Element, convert: &gst::Element) -> Arc<AtomicBool> {
    let input = convert.static_pad("sink").expect("videoconvert has a sink pad");
    let no_video = Arc::new(AtomicBool::new(false));
    let (raise, unlinked) = (no_video.clone(), input.clone());
    decoder.connect_pad_added(move |_, pad| {
        if !input.is_linked() {
            // A pad that does not fit stays unlinked, which is noticed below.
            let _ = pad.link(&input);
        }
    });
    decoder.connect_no_more_pads(move |decoder| {
        if !unlinked.is_linked() {
            raise.store(true, Ordering::Release);
            let _ = decoder.post_message(gst::message::Application::new(gst::Structure::new_empty("no-video")));
        }
    });
    no_video
}

/// A pipeline on its way to its first frame.
pub(crate) struct Opening<'a> {
    pub path: &'a Path,
    pub pipeline: &'a gst::Pipeline,
    pub no_video: &'a AtomicBool,
}

impl Opening<'_> {
    /// Waits for the first frame, or for the reason why there is none.
    pub fn wait(&self) -> Result<(), DecodeError> {
        let bus = self.pipeline.bus().expect("a pipeline has a bus");
        let refused = self.pipeline.set_state(gst::State::Playing).is_err();
        let message = if refused { None } else { self.first_word(&bus) };
        let not_video = |reason: String| Err(DecodeError::NotVideo { path: self.path.to_owned(), reason });
        match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Error(error)) => not_video(described(error)),
            Some(gst::MessageView::Eos(_)) => not_video("it ends before its first frame".to_owned()),
            _ if self.no_video.load(Ordering::Acquire) => not_video("it has no video stream".to_owned()),
            Some(_) => Ok(()),
            None => not_video(error_on(&bus).unwrap_or_else(|| "its index is missing or damaged".to_owned())),
        }
    }

    /// The message that decides; none when nothing will come any more.
    ///
    /// decodebin sometimes swallows a demuxer's first error (it filters errors while it connects the demuxer, which may
    /// have started already). So a pipeline in which no thread runs any more counts as failed.
    fn first_word(&self, bus: &gst::Bus) -> Option<gst::Message> {
        const DECIDING: [gst::MessageType; 4] = [
            gst::MessageType::Error,
            gst::MessageType::AsyncDone,
            gst::MessageType::Eos,
            gst::MessageType::Application,
        ];
        let (mut waited, mut idle) = (Duration::ZERO, 0);
        while waited < STALL_LIMIT && idle < IDLE_POLLS {
            let message = bus.timed_pop_filtered(clock_time(POLL), &DECIDING);
            if message.is_some() {
                return message;
            }
            waited += POLL;
            idle = if works(self.pipeline) { 0 } else { idle + 1 };
        }
        None
    }
}

/// Whether any thread still moves data in the pipeline.
fn works(pipeline: &gst::Pipeline) -> bool {
    let elements = pipeline.iterate_recurse().into_iter().flatten();
    elements.flat_map(|element| element.pads()).any(|pad| pad.task_state() == gst::TaskState::Started)
}
