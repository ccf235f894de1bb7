//! Clip file to access units: decode, scale, encode, cut at pictures.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use gstreamer as gst;
use gstreamer::prelude::*;
use gstreamer_app::AppSink;
use vigil_base::{Codec, Size};

use crate::SimError;
use crate::clip::{AccessUnit, Clip, FrameRate};
use crate::config::{Coding, MAX_ACCESS_UNITS, MAX_CLIP_BYTES, Quality};

/// How long to wait for one encoded frame before looking for an error message.
const POLL: gst::ClockTime = gst::ClockTime::from_mseconds(100);
/// How long a clip may take to show its first picture; on a loaded machine a large one takes a second or two. It passes
/// with files whose header is cut: decodebin now and then swallows the demuxer's error.
const OPEN_PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(10);
/// Most frames between keyframes: an hour at 30 per second, above every camera's setting.
const MAX_GOP: f64 = 108_000.0;
/// Frames that may wait between the encoder's thread and ours; a handful evens out their pace.
const QUEUED_FRAMES: u32 = 8;

/// What a clip is turned into.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Encoding {
    pub codec: Codec,
    pub size: Option<Size>,
    pub fps: Option<f64>,
    pub gop: Duration,
    pub max_length: Option<Duration>,
    pub quality: Quality,
    pub coding: Coding,
}

/// Encodes a clip. `on_frame` hears the number of frames made so far.
pub(crate) fn encode(path: &Path, encoding: &Encoding, on_frame: &dyn Fn(usize)) -> Result<Clip, SimError> {
    let failed = |what: String| SimError::Encode { path: path.to_owned(), what };
    let rate = match encoding.fps {
        Some(fps) => nearest_rate(fps).ok_or_else(|| failed(format!("{fps} frames per second cannot be made")))?,
        None => clip_rate(path)?,
    };
    let running = Running::new(&describe(encoding, rate), path)?;
    let sink = running.part("out").downcast::<AppSink>().expect("the description says appsink");
    running.set_state(gst::State::Playing).map_err(failed)?;
    let clip = collect(&running, &sink, encoding, rate, on_frame).map_err(failed)?;
    tracing::debug!(clip = %path.display(), codec = %clip.codec, size = %clip.size, frames = clip.access_units.len(), "clip encoded");
    Ok(clip)
}

/// The clip's own frame rate.
fn clip_rate(path: &Path) -> Result<FrameRate, SimError> {
    let failed = |what: String| SimError::Encode { path: path.to_owned(), what };
    let running = Running::new("filesrc name=in ! decodebin ! videoconvert ! fakesink name=out", path)?;
    running.set_state(gst::State::Paused).map_err(failed)?;
    running.wait_for_first_picture().map_err(failed)?;
    let pad = running.part("out").static_pad("sink").expect("every sink has a sink pad");
    let caps = pad.current_caps().ok_or_else(|| failed("it holds no picture".to_owned()))?;
    frame_rate(&caps).ok_or_else(|| failed("its frames have no fixed rate: set fps".to_owned()))
}

fn nearest_rate(fps: f64) -> Option<FrameRate> {
    let fraction = gst::Fraction::approximate_f64(fps)?;
    let (frames, per) = (u32::try_from(fraction.numer()).ok()?, u32::try_from(fraction.denom()).ok()?);
    (frames > 0 && per > 0).then_some(FrameRate { frames, per })
}

/// A pipeline that is stopped whichever way its scope is left.
struct Running {
    pipeline: gst::Pipeline,
}

impl Running {
    /// Builds a pipeline whose element `in` reads `path`.
    fn new(description: &str, path: &Path) -> Result<Self, SimError> {
        let pipeline = gst::parse::launch(description)
            .map_err(|source| SimError::GStreamer { what: "encode clips", source })?
            .downcast::<gst::Pipeline>()
            .expect("a description of several elements makes a pipeline");
        let running = Self { pipeline };
        running.part("in").set_property("location", path);
        Ok(running)
    }

    fn part(&self, name: &str) -> gst::Element {
        self.pipeline.by_name(name).expect("the description names this element")
    }

    fn set_state(&self, state: gst::State) -> Result<(), String> {
        match self.pipeline.set_state(state) {
            Ok(_) => Ok(()),
            Err(_) => Err(self.error().unwrap_or_else(|| "cannot be opened".to_owned())),
        }
    }

    /// Waits for the message: an error that comes late leaves the state as it is.
    fn wait_for_first_picture(&self) -> Result<(), String> {
        let awaited = [gst::MessageType::AsyncDone, gst::MessageType::Error, gst::MessageType::Eos];
        let message = self.pipeline.bus().and_then(|bus| bus.timed_pop_filtered(OPEN_PATIENCE, &awaited));
        match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::AsyncDone(_)) => Ok(()),
            Some(gst::MessageView::Error(error)) => Err(error.error().to_string()),
            _ => Err(format!("no picture came of it in {}", OPEN_PATIENCE.display())),
        }
    }

    /// The first error the pipeline has posted.
    fn error(&self) -> Option<String> {
        let message = self.pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
        match message.view() {
            gst::MessageView::Error(error) => Some(error.error().to_string()),
            _ => None,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Going down to NULL cannot fail.
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

/// One thread per encoder keeps its output the same on every machine.
fn describe(encoding: &Encoding, rate: FrameRate) -> String {
    let format = if encoding.coding.wide_chroma { "Y42B" } else { "I420" };
    let mut caps = format!("video/x-raw,format={format},framerate={}/{}", rate.frames, rate.per);
    if let Some(size) = encoding.size {
        let _ = write!(caps, ",width={},height={},pixel-aspect-ratio=1/1", size.width, size.height);
    }
    let gop = (encoding.gop.as_secs_f64() * rate.fps()).round().clamp(1.0, MAX_GOP) as u32;
    let (encoder, parsed) = match encoding.codec {
        Codec::H264 => (h264_encoder(encoding.quality, encoding.coding), "h264parse config-interval=-1 ! video/x-h264"),
        Codec::H265 => (h265_encoder(encoding.quality, encoding.coding), "h265parse config-interval=-1 ! video/x-h265"),
    };
    format!(
        "filesrc name=in ! decodebin ! videoconvert ! videoscale ! videorate ! {caps} ! {encoder} key-int-max={gop} ! \
         {parsed},stream-format=byte-stream,alignment=au ! appsink name=out sync=false max-buffers={QUEUED_FRAMES}"
    )
}

fn h264_encoder(quality: Quality, coding: Coding) -> String {
    let rate = match quality {
        Quality::Crf(crf) => format!("pass=qual quantizer={crf} vbv-buf-capacity=0"),
        Quality::Kbps(kbps) => format!("pass=cbr bitrate={kbps}"),
        // Without a buffer to keep full, a bit rate is a mean. (The first of two passes has none either, but renames its notes
        // for the second into place, over whatever lies there: over /dev/null, where a root says so.)
        Quality::MeanKbps(kbps) => format!("pass=cbr vbv-buf-capacity=0 bitrate={kbps}"),
    };
    let order = match coding.b_frames {
        0 => "tune=zerolatency".to_owned(),
        b_frames => format!("bframes={b_frames} b-adapt=false"),
    };
    // The element codes fields only where the pictures that come say that they are made of fields.
    let fields = if coding.interlaced {
        "capssetter caps=video/x-raw,interlace-mode=(string)interleaved,field-order=(string)top-field-first !"
    } else {
        ""
    };
    let interlaced = coding.interlaced;
    format!(
        "{fields} x264enc name=enc threads=1 {order} interlaced={interlaced} speed-preset=veryfast \
         option-string=scenecut=0 {rate}"
    )
}

fn h265_encoder(quality: Quality, coding: Coding) -> String {
    let (rate, option) = match quality {
        Quality::Crf(crf) => (String::new(), format!(":crf={crf}")),
        Quality::Kbps(kbps) | Quality::MeanKbps(kbps) => (format!("bitrate={kbps}"), String::new()),
    };
    let (tune, b_frames) = match coding.b_frames {
        0 => ("tune=zerolatency", String::new()),
        b_frames => ("", format!(":bframes={b_frames}:b-adapt=0")),
    };
    format!(
        "x265enc name=enc {tune} speed-preset=ultrafast {rate} \
         option-string=scenecut=0:open-gop=0:pools=none:frame-threads=1{b_frames}{option}"
    )
}

fn frame_rate(caps: &gst::CapsRef) -> Option<FrameRate> {
    let rate = caps.structure(0)?.get::<gst::Fraction>("framerate").ok()?;
    let (frames, per) = (u32::try_from(rate.numer()).ok()?, u32::try_from(rate.denom()).ok()?);
    (frames > 0 && per > 0).then_some(FrameRate { frames, per })
}

fn picture_size(caps: &gst::CapsRef) -> Option<Size> {
    let structure = caps.structure(0)?;
    let side = |name: &str| u32::try_from(structure.get::<i32>(name).ok()?).ok();
    Some(Size::new(side("width")?, side("height")?))
}

fn collect(
    running: &Running,
    sink: &AppSink,
    encoding: &Encoding,
    rate: FrameRate,
    on_frame: &dyn Fn(usize),
) -> Result<Clip, String> {
    let mut clip: Option<Clip> = None;
    let mut order = Vec::new();
    let mut bytes = 0;
    while let Some(sample) = next_sample(running, sink)? {
        let clip = match &mut clip {
            Some(clip) => clip,
            none => none.insert(empty_clip(&sample, encoding.codec, rate)?),
        };
        if encoding.max_length.is_some_and(|length| clip.length() >= length) {
            break;
        }
        let unit = access_unit(&sample)?;
        bytes += unit.data.len();
        clip.access_units.push(unit);
        order.push(sample.buffer().and_then(gst::BufferRef::pts));
        if clip.access_units.len() > MAX_ACCESS_UNITS || bytes > MAX_CLIP_BYTES {
            return Err(format!("longer than {MAX_ACCESS_UNITS} frames or {MAX_CLIP_BYTES} bytes: set max_length"));
        }
        on_frame(clip.access_units.len());
    }
    let mut clip = clip.ok_or("it holds no picture")?;
    if encoding.coding.b_frames > 0 {
        note_order(&mut clip, &order);
    }
    match clip.access_units.first() {
        Some(first) if first.keyframe => Ok(clip),
        _ => Err("the encoder did not begin with a keyframe".to_owned()),
    }
}

/// Notes by how many pictures each was taken before its turn to be sent comes: the camera waits for the pictures that a B
/// frame refers to. A clip that was cut in the middle of them is cut before them, so that it can be looped.
fn note_order(clip: &mut Clip, shown_at: &[Option<gst::ClockTime>]) {
    let period = clip.rate.time_of(1).as_nanos().max(1);
    let first = shown_at.first().copied().flatten().unwrap_or_default();
    let place = |time: &Option<gst::ClockTime>| {
        let after = time.unwrap_or(first).saturating_sub(first).nseconds();
        (u128::from(after) + period / 2) / period
    };
    let places: Vec<i64> = shown_at.iter().map(|time| i64::try_from(place(time)).unwrap_or(i64::MAX)).collect();
    let ahead = places.iter().zip(0..).map(|(place, sent)| place - sent).max().unwrap_or(0);
    for ((unit, place), sent) in clip.access_units.iter_mut().zip(&places).zip(0..) {
        unit.taken_before = u8::try_from(sent + ahead - place).unwrap_or(u8::MAX);
    }
    // Whole where the pictures sent so far are just those shown so far.
    let mut newest = -1;
    let whole = places.iter().zip(0..).filter(|&(place, sent)| {
        newest = newest.max(*place);
        newest == sent
    });
    let end = whole.map(|(_, sent)| usize::try_from(sent + 1).unwrap_or(0)).last();
    clip.access_units.truncate(end.unwrap_or(clip.access_units.len()));
}

/// Nothing at the clip's end.
fn next_sample(running: &Running, sink: &AppSink) -> Result<Option<gst::Sample>, String> {
    loop {
        if let Some(sample) = sink.try_pull_sample(POLL) {
            return Ok(Some(sample));
        }
        if let Some(error) = running.error() {
            return Err(error);
        }
        if sink.is_eos() {
            return Ok(None);
        }
    }
}

fn empty_clip(sample: &gst::Sample, codec: Codec, rate: FrameRate) -> Result<Clip, String> {
    let caps = sample.caps().ok_or("the encoder says nothing about its output")?;
    let size = picture_size(caps).ok_or("the encoder does not say how large its pictures are")?;
    Ok(Clip { codec, size, rate, access_units: Vec::new() })
}

fn access_unit(sample: &gst::Sample) -> Result<AccessUnit, String> {
    let buffer = sample.buffer().ok_or("the encoder sent nothing")?;
    let data = buffer.map_readable().map_err(|error| error.to_string())?;
    let keyframe = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
    Ok(AccessUnit { keyframe, taken_before: 0, data: Bytes::copy_from_slice(&data) })
}
