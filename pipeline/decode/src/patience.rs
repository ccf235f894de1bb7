//! Waiting for a pipeline, and what it says meanwhile.

use std::time::Duration;

use gstreamer as gst;

/// How long a local file may give no frame, at its start or later. Disks that spin up take ten seconds; thirty is a file system that hangs.
pub(crate) const STALL_LIMIT: Duration = Duration::from_secs(30);
/// How often a wait for a frame looks for an error message.
pub(crate) const POLL: Duration = Duration::from_millis(100);

pub(crate) fn error_on(bus: &gst::Bus) -> Option<String> {
    match bus.pop_filtered(&[gst::MessageType::Error]).as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Error(error)) => Some(described(error)),
        _ => None,
    }
}

pub(crate) fn described(error: &gst::message::Error) -> String {
    error.error().message().trim_end_matches('.').to_owned()
}

pub(crate) fn clock_time(duration: Duration) -> gst::ClockTime {
    gst::ClockTime::from_nseconds(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX - 1))
}
