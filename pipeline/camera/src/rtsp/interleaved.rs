//! RTP interleaved with RTSP on one TCP connection (RFC 2326, 10.12): the retina client.
//!
//! All cameras of a process share one thread for their sockets: taking a 1080p stream apart costs about 3 ms of CPU a second,
//! where a rtspsrc with its three threads costs 20. The pictures' bytes are assembled once, by the depacketiser, and not
//! copied again.

use std::io;
use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use retina::client::{
    Credentials, Demuxed, Described, InitialSequenceNumberPolicy, InitialTimestampPolicy, PlayOptions, Session,
    SessionOptions, SetupOptions, TcpTransportOptions, Transport, UnassignedChannelDataPolicy, UnknownRtcpSsrcPolicy,
};
use retina::codec::{CodecItem, FrameFormat, ParametersRef, VideoFrame};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use vigil_base::{Codec, SharedClock, Size, Timestamp};

use crate::config::Source;
use crate::error::CameraError;
use crate::inbox::Inbox;
use crate::rtsp::diagnose::{self, Offer};
use crate::rtsp::{MAX_ACCESS_UNIT, from_ntp, note_format};
use crate::status::StreamInfo;
use crate::stream::RawPacket;

/// HTTP's and RTSP's numbers for what an operator can set right.
const UNAUTHORISED: u16 = 401;
const NOT_FOUND: u16 = 404;

/// A connection that is worked on until it is dropped.
pub(super) struct Connection(AbortHandle);

impl Drop for Connection {
    /// The session says goodbye to the camera by itself.
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Begins a connection, which fills `inbox` until it ends, and then tells the inbox why.
pub(super) fn connect(source: &Source, clock: &SharedClock, inbox: &Arc<Inbox>) -> Result<Connection, CameraError> {
    let (source, clock, inbox) = (source.clone(), SharedClock::clone(clock), Arc::clone(inbox));
    let work = async move {
        let mut brought = false;
        // What a camera sends must not be able to leave its inbox without an end, whatever the libraries make of it.
        let received = AssertUnwindSafe(receive(&source, &clock, &inbox, &mut brought)).catch_unwind().await;
        let reason = match received {
            Ok(Ok(())) => CameraError::Ended,
            Ok(Err(reason)) => reason,
            Err(_) => CameraError::Damaged { what: "what the camera sends made its reader panic".to_owned() },
        };
        inbox.end(reason);
    };
    Ok(Connection(sockets()?.spawn(work).abort_handle()))
}

/// The thread that all connections of the process live on.
fn sockets() -> Result<&'static Handle, CameraError> {
    static SOCKETS: OnceLock<Result<Handle, String>> = OnceLock::new();
    let started = SOCKETS.get_or_init(|| start_sockets().map_err(|error| error.to_string()));
    started.as_ref().map_err(|error| CameraError::Thread { source: io::Error::other(error.clone()) })
}

fn start_sockets() -> io::Result<Handle> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let serve = move || runtime.block_on(std::future::pending::<()>());
    std::thread::Builder::new().name("camera-sockets".to_owned()).spawn(serve)?;
    Ok(handle)
}

async fn receive(
    source: &Source,
    clock: &SharedClock,
    inbox: &Arc<Inbox>,
    brought: &mut bool,
) -> Result<(), CameraError> {
    let told = |error: &retina::Error, brought| tell(source, error, brought);
    let mut session = describe(source).await?;
    let (index, codec) = choose(source, &session)?;
    let transport = Transport::Tcp(TcpTransportOptions::default());
    let setup = SetupOptions::default().transport(transport).frame_format(FrameFormat::SIMPLE);
    session.setup(index, setup).await.map_err(|error| told(&error, false))?;
    // Cameras get these headers wrong in many ways, and none of them matters here: sessions have a timeline of their own.
    let play = PlayOptions::default()
        .initial_timestamp(InitialTimestampPolicy::Permissive)
        .initial_seq(InitialSequenceNumberPolicy::Ignore)
        .unknown_rtcp_ssrc(UnknownRtcpSsrcPolicy::ProcessPackets);
    let playing = session.play(play).await.map_err(|error| told(&error, false))?;
    let mut demuxed = playing.demuxed().map_err(|error| told(&error, false))?;
    let mut receiver = Receiver { index, codec, clock, inbox, described: false, report: None };
    while let Some(item) = demuxed.next().await {
        match item.map_err(|error| told(&error, *brought))? {
            CodecItem::VideoFrame(frame) => {
                *brought = true;
                receiver.take(&demuxed, frame)?;
            }
            CodecItem::Rtcp(packet) => receiver.note_report(&packet),
            _ => {}
        }
    }
    Ok(())
}

async fn describe(source: &Source) -> Result<Session<Described>, CameraError> {
    let address = source.address.to_string();
    let unusable = |_| CameraError::Rejected { address, answer: "the address is no valid URL".to_owned() };
    let url = source.address.location().parse().map_err(unusable)?;
    let creds = source.user.as_ref().map(|user| Credentials {
        username: user.clone(),
        password: source.password.as_ref().map_or_else(String::new, |password| password.reveal().to_owned()),
    });
    let options = SessionOptions::default()
        .creds(creds)
        .user_agent(concat!("vigil/", env!("CARGO_PKG_VERSION")).to_owned())
        .unassigned_channel_data(UnassignedChannelDataPolicy::Ignore);
    Session::describe(url, options).await.map_err(|error| tell(source, &error, false))
}

/// Of all streams the first video that can be decoded; sound, metadata and further videos are never sent.
fn choose(source: &Source, session: &Session<Described>) -> Result<(usize, Codec), CameraError> {
    let mut offer = Offer::default();
    for (index, stream) in session.streams().iter().enumerate() {
        if stream.media() != "video" {
            offer.others += 1;
            continue;
        }
        let payload = stream.encoding_name().to_ascii_uppercase();
        if let Some(codec) = diagnose::codec_of(&payload) {
            return Ok((index, codec));
        }
        offer.videos.push(payload);
    }
    Err(diagnose::end(&source.address, &offer))
}

/// From what the client says to what the operator must do. Its first line says what, the others where in the conversation.
fn tell(source: &Source, error: &retina::Error, brought: bool) -> CameraError {
    let address = source.address.to_string();
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    // Messages may quote the address, and with it a password in its query.
    let answer = first.replace(source.address.location(), &address).trim_end_matches([':', ' ']).to_owned();
    match error.status_code() {
        Some(UNAUTHORISED) => CameraError::Unauthorised { address },
        Some(NOT_FOUND) => CameraError::NotFound { address },
        _ if brought => CameraError::Broken { what: answer },
        _ => CameraError::Rejected { address, answer },
    }
}

/// Makes packets of the depacketiser's frames.
struct Receiver<'a> {
    index: usize,
    codec: Codec,
    clock: &'a SharedClock,
    inbox: &'a Arc<Inbox>,
    /// What the stream is was told.
    described: bool,
    /// The last sender report: the camera's time at a time stamp.
    report: Option<Report>,
}

#[derive(Clone, Copy)]
struct Report {
    /// RTP time stamp, unwrapped.
    ticks: i64,
    ntp: Timestamp,
}

impl Receiver<'_> {
    fn take(&mut self, demuxed: &Demuxed, frame: VideoFrame) -> Result<(), CameraError> {
        if frame.data().len() > MAX_ACCESS_UNIT {
            return Err(CameraError::TooLarge { limit: MAX_ACCESS_UNIT });
        }
        if !self.described || frame.has_new_parameters() {
            note_format(self.inbox, self.format(demuxed))?;
            self.described = true;
        }
        let (ticks, rate) = (frame.timestamp().timestamp(), frame.timestamp().clock_rate());
        self.inbox.put_packet(RawPacket {
            pts_ns: u64::try_from(i128::from(ticks) * 1_000_000_000 / i128::from(rate.get())).unwrap_or(0),
            ntp: self.report.map(|report| report.ntp.plus_ticks(ticks - report.ticks, rate)),
            arrival: self.clock.now(),
            arrival_monotonic: self.clock.monotonic(),
            keyframe: frame.is_random_access_point(),
            discontinuity: frame.loss() > 0,
            data: Bytes::from(frame.into_data()),
        });
        Ok(())
    }

    fn format(&self, demuxed: &Demuxed) -> StreamInfo {
        let Some(ParametersRef::Video(video)) = demuxed.streams()[self.index].parameters() else {
            return StreamInfo { codec: self.codec, size: None, fps: None };
        };
        let (width, height) = video.pixel_dimensions();
        let rate = video.frame_rate().filter(|(duration, scale)| *duration > 0 && *scale > 0);
        let fps = rate.map(|(duration, scale)| f64::from(scale) / f64::from(duration));
        StreamInfo { codec: self.codec, size: Some(Size::new(width, height)), fps }
    }

    fn note_report(&mut self, packet: &retina::rtcp::ReceivedCompoundPacket) {
        let Some(at) = packet.rtp_timestamp() else { return };
        let sent = packet.pkts().find_map(|part| part.as_sender_report().ok().flatten());
        if let Some(report) = sent {
            self.report = Some(Report { ticks: at.timestamp(), ntp: ntp(report.ntp_timestamp().0) });
        }
    }
}

/// From NTP's fixed point: seconds since 1900 in the upper half, their fraction in the lower (RFC 3550, section 4).
fn ntp(fixed: u64) -> Timestamp {
    from_ntp((fixed >> 32) * 1_000_000 + (((fixed & 0xFFFF_FFFF) * 1_000_000) >> 32))
}

/// Time stamps as time.
trait PlusTicks {
    fn plus_ticks(self, ticks: i64, rate: NonZeroU32) -> Self;
}

impl PlusTicks for Timestamp {
    fn plus_ticks(self, ticks: i64, rate: NonZeroU32) -> Self {
        let micros = i128::from(ticks) * 1_000_000 / i128::from(rate.get());
        Self::from_micros(self.as_micros().saturating_add(i64::try_from(micros).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_date_the_time_stamps_before_and_after_them() {
        let report = ntp(2_208_988_800 << 32 | 1 << 31);
        let rate = NonZeroU32::new(90_000).unwrap();
        assert_eq!(report.to_string(), "1970-01-01T00:00:00.500Z");
        assert_eq!(report.plus_ticks(45_000, rate).to_string(), "1970-01-01T00:00:01.000Z");
        assert_eq!(report.plus_ticks(-45_000, rate).to_string(), "1970-01-01T00:00:00.000Z");
    }
}
