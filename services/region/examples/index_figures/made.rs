//! Events as a city's streets make them.

use std::time::Duration;

use bytes::Bytes;
use rand::Rng;
use rand::rngs::StdRng;
use vigil_base::event::{
    Attributes, Colour, ColourShare, EndReason, Event, EventState, ModelRef, Part, PathPoint, Plate,
};
use vigil_base::{BoxNorm, CameraId, EdgeId, GeoPoint, TrackId};
use vigil_region::index::NewRevision;

use crate::{BATCH, CAMERAS, DAYS, START, events};

pub fn camera_id(number: u32) -> CameraId {
    CameraId::new(format!("camera-{number:04}")).unwrap()
}

fn class(random: &mut StdRng) -> &'static str {
    match random.random_range(0..100) {
        0..55 => "person",
        55..90 => "car",
        90..97 => "bicycle",
        97..99 => "bus",
        _ => "truck",
    }
}

/// The `number`th of `of` events, spread evenly over the days: a street's mix of classes, lengths and colours.
fn made(random: &mut StdRng, number: u64, of: u64) -> Event {
    let span_us = DAYS * 86_400_000_000;
    let begin = START + Duration::from_micros(span_us / of * number + random.random_range(0..1_000_000));
    let camera = random.random_range(0..CAMERAS);
    let object_class = class(random);
    let seconds =
        if random.random_range(0..100) < 3 { random.random_range(60..7_200) } else { random.random_range(2..60) };
    let point = |i: u64| PathPoint {
        time: begin + Duration::from_secs(i),
        bbox: BoxNorm { left: 0.05 * i as f32, top: 0.25, width: 0.125, height: 0.5 },
        confidence: 0.7,
    };
    let has_plate = object_class == "car" && random.random_range(0..5) == 0;
    let mut letter = || char::from(b'A' + random.random_range(0..26u8));
    let letters: String = [letter(), letter(), letter()].iter().collect();
    let plate = has_plate.then(|| Plate {
        text: format!("B{letters}{}", random.random_range(100..9_999)),
        confidence: 0.9,
        looks: 5,
        model: None,
    });
    Event {
        state: EventState::Ended(EndReason::Lost),
        edge: EdgeId::new(format!("edge-{}", camera / 8)).unwrap(),
        camera: camera_id(camera),
        object_class: object_class.into(),
        track: TrackId(number),
        end_time: begin + Duration::from_secs(seconds),
        confidence: random.random_range(0.3..1.0),
        path: (0..16).map(point).collect(),
        attributes: Attributes {
            colours: [(Part::Upper, 0.5), (Part::Lower, 0.2)]
                .map(|(part, share)| {
                    let colour = Colour::ALL[random.random_range(0..12)];
                    ColourShare { part, colour, share, confidence: 0.8 }
                })
                .into(),
            direction_degrees: Some(90.0),
            ..Attributes::default()
        },
        location: Some(GeoPoint {
            latitude: 52.0 + f64::from(camera) / 4_000.0,
            longitude: 13.0 + f64::from(camera % 50) / 100.0,
        }),
        plate,
        model: ModelRef { name: "nanodet-g-416".into(), fingerprint: "ab".repeat(32).into() },
        ..events::event(begin)
    }
}

pub fn batch(random: &mut StdRng, first: u64, of: u64) -> Vec<NewRevision> {
    (first..first + BATCH as u64).map(|number| NewRevision::new(made(random, number, of), Bytes::new())).collect()
}

/// The `number`th of `of`, alone.
pub fn first_of(random: &mut StdRng, number: u64, of: u64) -> Vec<NewRevision> {
    vec![NewRevision::new(made(random, number, of), Bytes::new())]
}
