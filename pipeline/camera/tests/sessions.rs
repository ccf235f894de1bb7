//! The life of a camera under a simulated clock and a scripted connection: nothing here waits for real time.

#![allow(clippy::unwrap_used)] // The helpers are tests too.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use vigil_base::{CameraId, Clock, Codec, EncodedPacket, SharedClock, SimClock, Size, Timestamp};
use vigil_camera::{
    Camera, CameraError, CameraSource, CameraStatus, Opener, PacketSink, PacketStream, RawPacket, Shutdown, SinkClosed,
    Source, StreamEvent, StreamInfo,
};

const INFO: StreamInfo = StreamInfo { codec: Codec::H264, size: Some(Size::new(640, 480)), fps: Some(10.0) };
const FRAME: Duration = Duration::from_millis(100);

/// What a scripted connection does next.
#[derive(Clone)]
enum Step {
    Format,
    /// 100 ms pass, then an access unit comes.
    Packet {
        keyframe: bool,
    },
    /// So long nothing comes.
    Silence(Duration),
    Overflow(u64),
    End,
}

const KEY: Step = Step::Packet { keyframe: true };
const DELTA: Step = Step::Packet { keyframe: false };

/// Hands out one script per connection; with the last one done it tells the camera to stop.
struct Scripts {
    connections: Mutex<VecDeque<Vec<Step>>>,
    clock: Arc<SimClock>,
    shutdown: Shutdown,
}

struct Scripted {
    steps: VecDeque<Step>,
    clock: Arc<SimClock>,
    shutdown: Shutdown,
    is_last: bool,
}

impl Opener for Scripts {
    fn open(&self, _: &Source, _: &SharedClock) -> Result<Box<dyn PacketStream>, CameraError> {
        let mut connections = self.connections.lock();
        let steps = connections.pop_front().ok_or(CameraError::Ended)?.into();
        let (clock, shutdown) = (Arc::clone(&self.clock), self.shutdown.clone());
        let is_last = connections.is_empty();
        Ok(Box::new(Scripted { steps, clock, shutdown, is_last }))
    }
}

impl PacketStream for Scripted {
    fn next(&mut self, at_most: Duration) -> Result<Option<StreamEvent>, CameraError> {
        match self.steps.front_mut() {
            Some(Step::Silence(left)) if *left > at_most => {
                *left -= at_most;
                self.clock.advance(at_most);
                return Ok(None);
            }
            Some(_) => {}
            None if self.is_last => {
                self.shutdown.trigger();
                return Ok(None);
            }
            None => return Err(CameraError::Ended),
        }
        Ok(match self.steps.pop_front() {
            Some(Step::Format) => Some(StreamEvent::Format(INFO)),
            Some(Step::Packet { keyframe }) => Some(StreamEvent::Packet(self.packet(keyframe))),
            Some(Step::Overflow(dropped)) => Some(StreamEvent::Overflow { dropped }),
            Some(Step::Silence(left)) => {
                self.clock.advance(left);
                None
            }
            Some(Step::End) | None => return Err(CameraError::Ended),
        })
    }
}

impl Scripted {
    fn packet(&mut self, keyframe: bool) -> RawPacket {
        self.clock.advance(FRAME);
        let pts = self.clock.monotonic() + Duration::from_secs(77);
        RawPacket {
            pts_ns: u64::try_from(pts.as_nanos()).unwrap(),
            ntp: None,
            arrival: self.clock.now(),
            arrival_monotonic: self.clock.monotonic(),
            keyframe,
            discontinuity: false,
            data: Bytes::from_static(b"0123456789"),
        }
    }
}

/// All that came of a camera with these connections.
fn play(connections: Vec<Vec<Step>>) -> (Vec<EncodedPacket>, Vec<CameraStatus>) {
    let packets = Mutex::new(Vec::new());
    let statuses = play_into(connections, &|packet| {
        packets.lock().push(packet);
        Ok(())
    });
    (packets.into_inner(), statuses)
}

fn play_into(connections: Vec<Vec<Step>>, sink: &dyn PacketSink) -> Vec<CameraStatus> {
    let clock = SimClock::new(Timestamp::from_micros(1_750_000_000_000_000));
    let shutdown = Shutdown::new();
    let scripts =
        Scripts { connections: Mutex::new(connections.into()), clock: Arc::clone(&clock), shutdown: shutdown.clone() };
    let source = CameraSource {
        reconnect_min: Some(Duration::from_millis(10)),
        reconnect_max: Some(Duration::from_millis(40)),
        ..CameraSource::new("rtsp://cam/1".parse().unwrap())
    };
    let id = CameraId::new("scripted").unwrap();
    let statuses = Mutex::new(Vec::new());
    Camera::with_opener(id, source.resolve().unwrap(), clock, Box::new(scripts)).run(
        sink,
        &|status| statuses.lock().push(status),
        &shutdown,
    );
    statuses.into_inner()
}

fn downs(statuses: &[CameraStatus]) -> Vec<(&CameraError, Timestamp, Duration)> {
    let down = |status| match status {
        &CameraStatus::Down { ref reason, since, retry_in } => Some((reason.as_ref(), since, retry_in)),
        _ => None,
    };
    statuses.iter().filter_map(down).collect()
}

#[test]
fn sessions_are_counted_over_connections_and_each_starts_at_a_keyframe() {
    let (packets, _) = play(vec![
        vec![Step::Format, DELTA, DELTA, KEY, DELTA, Step::End],
        vec![Step::Format, DELTA, Step::End],
        vec![Step::Format, KEY, DELTA, DELTA],
    ]);
    let seen: Vec<_> =
        packets.iter().map(|packet| (packet.session, packet.pts_ns / 1_000_000, packet.keyframe)).collect();
    assert_eq!(seen, [(1, 0, true), (1, 100, false), (2, 0, true), (2, 100, false), (2, 200, false)]);
    let marked: Vec<_> = packets.iter().map(|packet| packet.discontinuity).collect();
    assert_eq!(marked, [true, false, true, false, false]);
}

#[test]
fn a_camera_that_goes_quiet_is_given_up_after_its_patience_and_not_before() {
    let almost = Duration::from_millis(3_900);
    let (packets, statuses) = play(vec![
        vec![Step::Format, KEY, Step::Silence(almost), DELTA, Step::Silence(Duration::from_secs(4)), DELTA],
        vec![Step::Format, KEY],
    ]);
    let downs = downs(&statuses);
    assert_eq!(downs.len(), 1);
    let (reason, since, _) = downs[0];
    assert!(matches!(reason, CameraError::Stalled { waited } if *waited == Duration::from_secs(4)), "{reason:?}");
    assert_eq!(since, packets[1].capture_time, "down since the last packet");
}

#[test]
fn a_camera_that_never_says_anything_is_given_up_after_the_connect_timeout() {
    let (_, statuses) = play(vec![
        vec![Step::Silence(Duration::from_secs(9)), Step::Format, KEY, Step::End],
        vec![Step::Silence(Duration::from_secs(11)), Step::Format, KEY],
        vec![],
    ]);
    let reasons: Vec<_> = downs(&statuses).iter().map(|(reason, _, _)| reason.reason()).collect();
    assert_eq!(reasons, ["ended", "no_answer"]);
}

#[test]
fn a_camera_that_sends_no_keyframe_is_given_up() {
    let (packets, statuses) = play(vec![[vec![Step::Format], vec![DELTA; 700]].concat(), vec![Step::Format, KEY]]);
    assert_eq!(packets.len(), 1);
    assert!(matches!(downs(&statuses)[0].0, CameraError::NoKeyframe { .. }));
}

#[test]
fn waits_grow_while_nothing_comes_and_are_short_again_after_a_good_session() {
    let good = || [Step::Format].into_iter().chain(vec![KEY; 120]).chain([Step::End]).collect::<Vec<_>>();
    let bad = || vec![Step::End];
    let (_, statuses) = play(vec![bad(), bad(), bad(), bad(), good(), bad(), vec![]]);
    let waits: Vec<_> = downs(&statuses).iter().map(|(_, _, wait)| *wait).collect();
    assert!(waits[0] < waits[1] && waits[1] < waits[2], "{waits:?}");
    assert!(waits[3] >= Duration::from_millis(32) && waits[4] <= Duration::from_millis(12), "{waits:?}");
    let attempts: Vec<_> = statuses
        .iter()
        .filter_map(|status| match status {
            CameraStatus::Connecting { attempt } => Some(*attempt),
            _ => None,
        })
        .collect();
    assert_eq!(attempts, [1, 2, 3, 4, 5, 1, 2]);
}

#[test]
fn a_closed_sink_ends_the_camera() {
    let taken = Mutex::new(0);
    let statuses = play_into(vec![vec![Step::Format, KEY, DELTA, DELTA], vec![Step::Format, KEY]], &|_| {
        *taken.lock() += 1;
        if *taken.lock() == 2 { Err(SinkClosed) } else { Ok(()) }
    });
    assert_eq!(*taken.lock(), 2);
    assert!(downs(&statuses).is_empty());
}

#[test]
fn what_was_dropped_is_marked_and_everything_is_counted() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let (packets, _) = metrics::with_local_recorder(&recorder, || {
        play(vec![
            vec![Step::Format, DELTA, KEY, DELTA, Step::Overflow(7), KEY, Step::Silence(Duration::from_secs(6))],
            vec![Step::Format, KEY],
        ])
    });
    assert!(packets[2].discontinuity && packets[2].session == 1);
    let shown = recorder.handle().render();
    for line in [
        "vigil_camera_packets_total{camera=\"scripted\"} 4",
        "vigil_camera_bytes_total{camera=\"scripted\"} 40",
        "vigil_camera_sessions_total{camera=\"scripted\"} 2",
        "vigil_camera_stalls_total{camera=\"scripted\"} 1",
        "vigil_camera_reconnects_total{camera=\"scripted\",reason=\"stalled\"} 1",
        "vigil_camera_dropped_packets_total{camera=\"scripted\",cause=\"queue_full\"} 7",
        "vigil_camera_dropped_packets_total{camera=\"scripted\",cause=\"before_keyframe\"} 1",
        "vigil_camera_up{camera=\"scripted\"} 1",
    ] {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
}
