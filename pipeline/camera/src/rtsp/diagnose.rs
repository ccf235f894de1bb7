//! From what a client reports to what the operator must do.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::glib;
use vigil_base::{Codec, StreamAddress};

use crate::config::Source;
use crate::error::CameraError;

/// How long a plain connection may take when it is asked why a session could not be opened.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);

/// What the camera offers, as its description (SDP) says, and what was taken of it.
#[derive(Default)]
pub(super) struct Offer {
    /// Payload names of all video streams.
    pub videos: Vec<String>,
    /// Other streams, of which audio is one.
    pub others: usize,
    /// The one stream that is used.
    pub chosen: Option<Codec>,
}

/// By the payload names of RFC 6184 and RFC 7798.
pub(super) fn codec_of(payload: &str) -> Option<Codec> {
    match payload.to_ascii_uppercase().as_str() {
        "H264" => Some(Codec::H264),
        "H265" => Some(Codec::H265),
        _ => None,
    }
}

/// An error that was posted on the bus. `debug` is its long form, whose last line often tells more than the message.
pub(super) fn error(address: &StreamAddress, error: &glib::Error, debug: Option<&str>, offer: &Offer) -> CameraError {
    let shown = address.to_string();
    match error.kind::<gst::ResourceError>() {
        Some(gst::ResourceError::NotAuthorized) => return CameraError::Unauthorised { address: shown },
        Some(gst::ResourceError::NotFound) => return CameraError::NotFound { address: shown },
        _ => {}
    }
    if let Some(reason) = nothing_usable(address, offer) {
        return reason;
    }
    // Messages may quote the address, and with it a password in its query.
    let detail = debug.and_then(|debug| debug.lines().last()).unwrap_or("");
    let text = format!("{} {detail}", error.message()).replace(address.location(), &shown).trim_end().to_owned();
    if error.domain() == glib::Error::new(gst::StreamError::Failed, "").domain() {
        return CameraError::Damaged { what: text };
    }
    CameraError::Rejected { address: shown, answer: text }
}

/// The stream ended in good order.
pub(super) fn end(address: &StreamAddress, offer: &Offer) -> CameraError {
    nothing_usable(address, offer).unwrap_or(CameraError::Ended)
}

/// The camera described its streams, and none could be chosen.
fn nothing_usable(address: &StreamAddress, offer: &Offer) -> Option<CameraError> {
    if offer.chosen.is_some() || (offer.videos.is_empty() && offer.others == 0) {
        return None;
    }
    let address = address.to_string();
    Some(match offer.videos.first() {
        Some(codec) => CameraError::UnsupportedCodec { address, codec: codec.clone() },
        None => CameraError::NoVideo { address },
    })
}

/// Tells a closed port from a host that is not there, which GStreamer does not: tries a plain connection.
pub(super) fn why_not_open(source: &Source, answer: String) -> CameraError {
    let address = source.address.to_string();
    match connect(&source.address) {
        Ok(()) => CameraError::Rejected { address, answer },
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => CameraError::Refused { address },
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            CameraError::NoAnswer { address, waited: source.connect_timeout }
        }
        Err(error) => CameraError::Unreachable { address, source: error },
    }
}

fn connect(address: &StreamAddress) -> std::io::Result<()> {
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the host name has no address");
    for candidate in (address.host(), address.port()).to_socket_addrs()? {
        match TcpStream::connect_timeout(&candidate, CONNECT_PATIENCE) {
            Ok(_) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> StreamAddress {
        "rtsp://cam/live?password=hunter2".parse().unwrap()
    }

    fn offer(videos: &[&str], others: usize) -> Offer {
        Offer { videos: videos.iter().map(|&name| name.to_owned()).collect(), others, chosen: None }
    }

    #[test]
    fn a_camera_without_usable_video_is_told_what_it_sends() {
        assert!(matches!(end(&address(), &offer(&[], 1)), CameraError::NoVideo { .. }));
        let error = end(&address(), &offer(&["JPEG"], 1)).to_string();
        assert!(error.contains("sends JPEG") && error.contains("H.264"), "{error}");
        assert!(matches!(end(&address(), &offer(&[], 0)), CameraError::Ended));
    }

    #[test]
    fn messages_that_quote_the_address_show_no_password() {
        let quoting = glib::Error::new(gst::ResourceError::Read, "cannot read rtsp://cam/live?password=hunter2 now");
        let debug = Some("gstrtspsrc.c(1): in rtspsrc0:\nGot error response: 503 for rtsp://cam/live?password=hunter2");
        let error = error(&address(), &quoting, debug, &offer(&[], 0));
        assert!(error.to_string().contains("503"));
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}
