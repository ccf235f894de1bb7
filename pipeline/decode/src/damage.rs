//! Pictures of a file that the decoder had to repair, and packets that gave none.
//!
//! Where a stream is damaged, libav fills the hole with what was there before and hands out a picture that looks whole.
//! GStreamer 1.22 neither marks it nor posts a message; it writes what libav says into its log. So the log is listened to.
//! A file's decoder works in the thread that brings its packets and takes its pictures along ([`crate::opening`] gives it no
//! others), so what is said in a thread is about the picture that comes out of it next. Decoders that are not libav's say nothing, and what a
//! decoder does not notice (H.265 hides more than H.264) stays unknown.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};

use gst::prelude::*;
use gstreamer as gst;

/// The log category of the plugin that wraps libav.
const LIBAV: &str = "libav";

thread_local! {
    /// What libav complained of in this thread.
    static COMPLAINTS: Cell<u64> = const { Cell::new(0) };
}

/// How much of a file was damaged, as far as its decoder says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileDamage {
    /// Pictures with parts that the decoder made up, or that came right after one it gave up.
    pub repaired: u64,
    /// Packets, of a file with damage, that gave no picture.
    pub lost: u64,
}

impl FileDamage {
    /// Whether there is any.
    pub fn is_any(&self) -> bool {
        *self != Self::default()
    }
}

/// Counts of one pipeline, by its own threads.
#[derive(Debug, Default)]
pub(crate) struct DamageCount {
    packets: AtomicU64,
    pictures: AtomicU64,
    repaired: AtomicU64,
    /// Of the thread, when the last picture came out.
    complaints: AtomicU64,
}

impl DamageCount {
    /// Counts what goes into a video decoder; of other elements nothing.
    pub fn watch_decoder(self: &Arc<Self>, element: &gst::Element) {
        let class = element.factory().and_then(|factory| factory.metadata("klass").map(ToOwned::to_owned));
        let is_decoder = class.is_some_and(|class| class.contains("Decoder") && class.contains("Video"));
        if let Some(pad) = element.static_pad("sink").filter(|_| is_decoder) {
            let count = Arc::clone(self);
            pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
                // The thread may have served another file before.
                if count.packets.fetch_add(1, Ordering::Relaxed) == 0 {
                    count.complaints.store(COMPLAINTS.get(), Ordering::Relaxed);
                }
                gst::PadProbeReturn::Ok
            });
        }
    }

    /// Counts what comes out of the decoder, on a pad behind it in the same thread.
    pub fn watch_pictures(self: &Arc<Self>, pad: &gst::Pad) {
        let count = Arc::clone(self);
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            let complaints = COMPLAINTS.get();
            let is_new = count.complaints.swap(complaints, Ordering::Relaxed) != complaints;
            count.repaired.fetch_add(u64::from(is_new), Ordering::Relaxed);
            count.pictures.fetch_add(1, Ordering::Relaxed);
            gst::PadProbeReturn::Ok
        });
    }

    /// What was found so far; packets are only known to be lost once all pictures are out.
    pub fn so_far(&self, is_at_end: bool) -> FileDamage {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let repaired = get(&self.repaired);
        let lost = get(&self.packets).saturating_sub(get(&self.pictures));
        FileDamage { repaired, lost: if repaired > 0 && is_at_end { lost } else { 0 } }
    }
}

/// Hears what libav says, once for the process. Whoever set `GST_DEBUG` still sees the log; else nothing is printed.
pub(crate) fn listen() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        if gst::log::get_default_threshold() == gst::DebugLevel::None {
            gst::log::remove_default_log_function();
        }
        gst::log::set_threshold_for_name(LIBAV, gst::DebugLevel::Error);
        gst::log::add_log_function(|category, level, _, _, _, _, _| {
            if level == gst::DebugLevel::Error && category.name() == LIBAV {
                COMPLAINTS.set(COMPLAINTS.get() + 1);
            }
        });
    });
}
