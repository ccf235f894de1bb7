//! Events for tests, shared by the engine's own tests, the tests over gRPC and the measurements.
#![allow(dead_code, clippy::unwrap_used)] // Each uses a part; helpers of tests.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use vigil_base::event::{
    Appearance, AppearanceMethod, AppearanceVector, Attributes, Colour, ColourMethod, ColourShare, EndReason, Event,
    EventState, Finding, GroundPosition, ModelRef, MotionMethod, Part, PathPoint, Plate, Speed,
};
use vigil_base::evidence::Spot;
use vigil_base::ground::GroundPoint;
use vigil_base::{
    BoxNorm, CameraId, EdgeId, EventId, Evidence, GeoPoint, PointNorm, RegionId, RuleId, RuleKind, SimClock,
    TimeSource, Timestamp, TrackId, ZoneId,
};

/// A whole hour: 2026-01-05T10:00:00Z.
pub const NOON: Timestamp = Timestamp::from_micros(1_767_607_200_000_000);
pub const REGION: &str = "north";

pub fn region() -> RegionId {
    RegionId::new(REGION).unwrap()
}

pub fn at(after_noon: Duration) -> Timestamp {
    NOON + after_noon
}

/// A clock that stands an hour after noon.
pub fn afternoon() -> Arc<SimClock> {
    SimClock::new(at(Duration::from_hours(1)))
}

pub fn secs(seconds: u64) -> Timestamp {
    at(Duration::from_secs(seconds))
}

/// A look that turns with `degrees`: two are as alike as the cosine of what lies between them.
pub fn look(degrees: f32) -> Appearance {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let values: Vec<f32> = (0..128).map(|i| if i % 2 == 0 { cos } else { sin }).collect();
    let method = AppearanceMethod { name: "hsv-stripes".into(), version: "1".into() };
    Appearance { vector: AppearanceVector::quantise(&values).unwrap(), method, looks: 3, quality: 0.5 }
}

/// An event of camera `gate-1` that lasts ten seconds.
pub fn event(begin: Timestamp) -> Event {
    Event {
        id: EventId::at(begin),
        revision: 1,
        state: EventState::Ongoing,
        region: region(),
        edge: EdgeId::new("edge-1").unwrap(),
        camera: CameraId::new("gate-1").unwrap(),
        object_class: "person".into(),
        track: TrackId(7),
        begin_time: begin,
        end_time: begin + Duration::from_secs(10),
        confirm_time: begin + Duration::from_millis(400),
        receive_time: None,
        time_source: TimeSource::Ntp,
        confidence: 0.75,
        best_box: BoxNorm { left: 0.25, top: 0.25, width: 0.125, height: 0.5 },
        best_time: begin + Duration::from_secs(1),
        path: path(begin),
        attributes: Attributes {
            colours: vec![
                ColourShare { part: Part::Upper, colour: Colour::Red, share: 0.5, confidence: 0.75 },
                ColourShare { part: Part::Lower, colour: Colour::Black, share: 0.25, confidence: 0.625 },
            ],
            colour_method: Some(ColourMethod::HsvVote),
            direction_degrees: Some(90.0),
            direction_confidence: Some(0.5),
            speed: Some(Speed::MetresPerSecond(1.5)),
            speed_error: Some(0.125),
            motion_method: Some(MotionMethod::GroundPath),
            position: Some(GroundPosition { place: GroundPoint { x: -4.5, y: 12.25 }, error_metres: 0.25 }),
        },
        location: Some(GeoPoint { latitude: 52.52, longitude: 13.40 }),
        finding: None,
        plate: None,
        thumbnail_key: None,
        model: ModelRef { name: "nanodet".into(), fingerprint: "ab".repeat(32).into() },
        trace_parent: None,
        appearance: None,
    }
}

fn path(begin: Timestamp) -> Vec<PathPoint> {
    let point = |i: u64| PathPoint {
        time: begin + Duration::from_secs(i),
        bbox: BoxNorm { left: 0.1 * i as f32, top: 0.25, width: 0.125, height: 0.5 },
        confidence: 0.7,
    };
    (0..8).map(point).collect()
}

/// The event as a rule found it, at a line.
pub fn found_by(event: Event, kind: RuleKind, rule: &str, zone: Option<&str>) -> Event {
    let spot = Spot { time: event.begin_time, at: PointNorm { x: 0.5, y: 0.75 } };
    let finding = Finding {
        rule: RuleId::new(rule).unwrap(),
        kind,
        zone: zone.map(|zone| ZoneId::new(zone).unwrap()),
        evidence: Evidence::Border { at: spot, from: spot, to: spot },
        suppressed: 3,
    };
    Event { finding: Some(finding), ..event }
}

/// The next revision of an event, which ends it.
pub fn ended(event: &Event) -> Event {
    Event { revision: event.revision + 1, state: EventState::Ended(EndReason::Lost), ..event.clone() }
}

pub fn camera(event: Event, camera: &str) -> Event {
    Event { camera: CameraId::new(camera).unwrap(), ..event }
}

pub fn class(event: Event, class: &str) -> Event {
    Event { object_class: Arc::from(class), ..event }
}

pub fn plate(event: Event, text: &str) -> Event {
    Event { plate: Some(Plate { text: text.to_owned(), confidence: 0.9, looks: 5, model: None }), ..event }
}

/// A JPEG as far as the region looks: start and end of image.
pub fn jpeg(fill: u8, len: usize) -> Bytes {
    let mut bytes = vec![fill; len.max(4)];
    bytes[..2].copy_from_slice(&[0xff, 0xd8]);
    let end = bytes.len() - 2;
    bytes[end..].copy_from_slice(&[0xff, 0xd9]);
    bytes.into()
}
