//! Between GStreamer's threads and the camera's: bounded, and never waited for by whoever puts something in.
//!
//! A stream's thread that waits stops reading its socket, and cameras answer that in many ways, few of them good. So a full
//! inbox throws away what comes, up to the next keyframe for which there is room: what is in it stays decodable, and what
//! follows is decodable again. The loss is counted and marked.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::error::CameraError;
use crate::status::StreamInfo;
use crate::stream::{RawPacket, StreamEvent};

/// Access units that wait at most: 8 s at 30 per second, the longest pause of a stage after this one that is no fault.
const MAX_PACKETS: usize = 240;
/// Bytes that wait at most: 8 s of a 32 Mbit/s stream.
const MAX_BYTES: usize = 32 << 20;

/// Events of one connection, in order, and its end.
#[derive(Default)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    events: VecDeque<StreamEvent>,
    packets: usize,
    bytes: usize,
    /// Thrown away since the last packet that was kept.
    dropped: u64,
    format: Option<StreamInfo>,
    end: Option<CameraError>,
    ended: bool,
}

impl Inbox {
    /// Says what the next packets are; heard once per change.
    pub fn put_format(&self, format: StreamInfo) {
        let mut state = self.state.lock();
        if state.format != Some(format) {
            state.format = Some(format);
            // Of two changes without a packet between them only the second matters; so these are bounded too.
            state.events.pop_back_if(|last| matches!(last, StreamEvent::Format(_)));
            state.events.push_back(StreamEvent::Format(format));
            self.filled.notify_all();
        }
    }

    /// Never waits.
    pub fn put_packet(&self, packet: RawPacket) {
        let mut state = self.state.lock();
        let full = state.packets >= MAX_PACKETS || state.bytes + packet.data.len() > MAX_BYTES;
        if full || (state.dropped > 0 && !packet.keyframe) {
            state.dropped += 1;
            return;
        }
        let dropped = std::mem::take(&mut state.dropped);
        if dropped > 0 {
            state.events.push_back(StreamEvent::Overflow { dropped });
        }
        state.packets += 1;
        state.bytes += packet.data.len();
        state.events.push_back(StreamEvent::Packet(packet));
        self.filled.notify_all();
    }

    /// The connection is over; the first reason stays. What came before is still handed out.
    pub fn end(&self, reason: CameraError) {
        let mut state = self.state.lock();
        if !state.ended {
            state.ended = true;
            state.end = Some(reason);
            self.filled.notify_all();
        }
    }

    /// The next event; nothing when none came in `at_most`, or after the end was told.
    pub fn take(&self, at_most: Duration) -> Result<Option<StreamEvent>, CameraError> {
        let mut state = self.state.lock();
        if state.events.is_empty() && !state.ended {
            let empty = |state: &mut State| state.events.is_empty() && !state.ended;
            self.filled.wait_while_for(&mut state, empty, at_most);
        }
        let Some(event) = state.events.pop_front() else {
            return state.end.take().map_or(Ok(None), Err);
        };
        if let StreamEvent::Packet(packet) = &event {
            state.packets -= 1;
            state.bytes -= packet.data.len();
        }
        Ok(Some(event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use vigil_base::{Codec, Size, Timestamp};

    fn packet(n: u64, keyframe: bool, bytes: usize) -> RawPacket {
        RawPacket {
            pts_ns: n,
            ntp: None,
            arrival: Timestamp::from_micros(0),
            arrival_monotonic: Duration::ZERO,
            keyframe,
            discontinuity: false,
            data: Bytes::from(vec![0; bytes]),
        }
    }

    fn drain(inbox: &Inbox) -> Vec<StreamEvent> {
        std::iter::from_fn(|| inbox.take(Duration::ZERO).unwrap()).collect()
    }

    #[test]
    fn the_end_is_told_after_everything_before_it_and_once() {
        let inbox = Inbox::default();
        inbox.put_packet(packet(1, true, 1));
        inbox.end(CameraError::Ended);
        inbox.end(CameraError::TooLarge { limit: 1 });
        assert!(matches!(inbox.take(Duration::ZERO), Ok(Some(StreamEvent::Packet(_)))));
        assert!(matches!(inbox.take(Duration::ZERO), Err(CameraError::Ended)));
        assert!(matches!(inbox.take(Duration::from_mins(1)), Ok(None)));
    }

    #[test]
    fn a_format_is_told_when_it_changes_and_only_the_last_of_several() {
        let inbox = Inbox::default();
        let info = |width| StreamInfo { codec: Codec::H264, size: Some(Size::new(width, 480)), fps: None };
        inbox.put_format(info(640));
        inbox.put_format(info(640));
        inbox.put_packet(packet(1, true, 1));
        inbox.put_format(info(640));
        inbox.put_format(info(160));
        inbox.put_format(info(320));
        let widths: Vec<_> = drain(&inbox)
            .into_iter()
            .filter_map(|event| match event {
                StreamEvent::Format(info) => info.size.map(|size| size.width),
                _ => None,
            })
            .collect();
        assert_eq!(widths, [640, 320]);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let inbox = Inbox::default();
        for n in 0..20 {
            inbox.put_packet(packet(n, true, MAX_BYTES / 8));
        }
        assert_eq!(drain(&inbox).len(), 8);
    }

    proptest! {
        #[test]
        fn it_stays_bounded_and_what_comes_out_is_decodable(
            gop in 1u64..60, takes in prop::collection::vec(0usize..400, 1..20),
        ) {
            let inbox = Inbox::default();
            let (mut n, mut next, mut lost, mut taken) = (0, 0, 0, 0);
            for take in takes {
                for _ in 0..200 {
                    inbox.put_packet(packet(n, n % gop == 0, 1));
                    n += 1;
                }
                prop_assert!(inbox.state.lock().packets <= MAX_PACKETS);
                for _ in 0..take {
                    match inbox.take(Duration::ZERO).unwrap() {
                        Some(StreamEvent::Overflow { dropped }) => lost += dropped,
                        Some(StreamEvent::Packet(packet)) => {
                            taken += 1;
                            prop_assert!(packet.pts_ns == next || packet.keyframe, "a reference is missing");
                            prop_assert_eq!(packet.pts_ns, lost + taken - 1, "every loss is told");
                            next = packet.pts_ns + 1;
                        }
                        _ => break,
                    }
                }
            }
        }
    }
}
