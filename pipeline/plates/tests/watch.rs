//! Which vehicles are looked at, how often, and what is told of them; with a reader that answers as it is told to.

#![allow(clippy::unwrap_used)] // Test code, in part outside of test functions.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use vigil_base::detection::ModelIdentity;
use vigil_base::event::{ModelRef, PlateReading};
use vigil_base::{BoxPx, CameraId, Frame, Size, TimeSource, Timestamp, TrackId};
use vigil_detect::{Character, DetectError, PlateFound, PlateLook, Quad, ReadPlates};
use vigil_plates::{MAX_LOOKS, MAX_LOOKS_PER_FRAME, PlateConfig, PlateWatch};
use vigil_track::{TrackUpdate, TrackView};

const SIZE: Size = Size::new(1280, 720);
const CAR: BoxPx = BoxPx::new(400.0, 200.0, 320.0, 240.0);

type Answer = Box<dyn Fn(BoxPx) -> Result<PlateLook, DetectError> + Send>;

/// Answers by the vehicle's box, and notes which were asked for.
struct Scripted {
    identity: ModelRef,
    answer: Mutex<Answer>,
    asked: Mutex<Vec<BoxPx>>,
}

impl ReadPlates for Scripted {
    fn identity(&self) -> &ModelRef {
        &self.identity
    }

    fn look(&self, _frame: &Frame, vehicle: BoxPx) -> Result<PlateLook, DetectError> {
        self.asked.lock().push(vehicle);
        (self.answer.lock())(vehicle)
    }
}

struct Street {
    reader: Arc<Scripted>,
    watch: PlateWatch,
    now: Timestamp,
}

impl Street {
    fn new(answer: impl Fn(BoxPx) -> Result<PlateLook, DetectError> + Send + 'static) -> Self {
        let identity = ModelRef { name: "pair".into(), fingerprint: "0".into() };
        let (answer, asked): (Mutex<Answer>, _) = (Mutex::new(Box::new(answer)), Mutex::default());
        let reader = Arc::new(Scripted { identity, answer, asked });
        let config = PlateConfig { classes: vec!["car".into()], reader: reader.clone() };
        let watch = PlateWatch::new(config, &CameraId::new("gate").unwrap());
        Self { reader, watch, now: Timestamp::from_micros(0) }
    }

    fn answers(&self, answer: impl Fn(BoxPx) -> Result<PlateLook, DetectError> + Send + 'static) {
        *self.reader.answer.lock() = Box::new(answer);
    }

    /// The next frame, a fifth of a second later, with these tracks (number, class, box).
    fn frame(&mut self, tracks: &[(u64, u16, BoxPx)]) -> Vec<PlateReading> {
        self.now = self.now + Duration::from_millis(200);
        let view = |(id, class, bbox): &(u64, u16, BoxPx)| TrackView {
            id: TrackId(*id),
            class: *class,
            first_seen: self.now,
            last_seen: self.now,
            bbox: *bbox,
            confidence: 0.8,
            velocity: (0.0, 0.0),
            stationary: false,
            history: Vec::new(),
        };
        let update = TrackUpdate {
            capture_time: self.now,
            time_source: TimeSource::File,
            size: SIZE,
            tracks: tracks.iter().map(view).collect(),
            ended: Vec::new(),
        };
        let classes = ["person", "car"].map(str::to_owned).to_vec();
        let model = ModelIdentity { name: "m".into(), fingerprint: "f".into(), classes, ..ModelIdentity::default() };
        self.watch.observe(&update, &Frame::uniform(SIZE, [90, 128, 128], self.now), &model)
    }

    fn asked(&self) -> usize {
        self.reader.asked.lock().len()
    }
}

/// A plate in the middle of a vehicle's lower edge.
fn plate(vehicle: BoxPx, text: &str, confidence: f32) -> PlateLook {
    let (x, y) = (vehicle.centre().0, vehicle.bottom() - 30.0);
    let corners = Quad([(x - 40.0, y), (x + 40.0, y), (x + 40.0, y + 25.0), (x - 40.0, y + 25.0)]);
    let characters = text.chars().map(|character| Character { character, confidence }).collect();
    PlateLook::Found(PlateFound { confidence: 0.9, corners, characters })
}

fn failed() -> Result<PlateLook, DetectError> {
    Err(DetectError::NotNumbers { model: "pair reader".into(), spoilt: 1, anchors: 1 })
}

#[test]
fn a_plate_is_told_when_it_is_read_and_read_better_and_no_more_once_it_is_certain() {
    let mut street = Street::new(|vehicle| Ok(plate(vehicle, "京A12345", 0.99)));
    let told: Vec<_> = (0..20).flat_map(|_| street.frame(&[(1, 1, CAR)])).map(|read| read.plate).collect();
    assert!(told.len() >= 2 && told.iter().all(|plate| plate.text == "京A12345"), "{told:?}");
    assert!(told.is_sorted_by(|a, b| a.confidence <= b.confidence && a.looks < b.looks));
    assert!(told.last().unwrap().confidence >= 0.95);
    assert_eq!(told[0].model.as_ref().map(|model| &*model.name), Some("pair"));
    assert!(street.asked() <= 6, "{} looks at a plate that is certain", street.asked());
}

#[test]
fn one_wrong_reading_among_right_ones_is_outvoted() {
    let mut street = Street::new(|vehicle| Ok(plate(vehicle, "京A12345", 0.9)));
    street.frame(&[(1, 1, CAR)]);
    street.answers(|vehicle| Ok(plate(vehicle, "京A1234S", 0.8)));
    street.frame(&[(1, 1, CAR)]);
    street.answers(|vehicle| Ok(plate(vehicle, "京A12345", 0.9)));
    let last = (0..5).flat_map(|_| street.frame(&[(1, 1, CAR)])).last().unwrap();
    assert_eq!((last.plate.text.as_str(), last.track), ("京A12345", TrackId(1)));
}

#[test]
fn only_vehicles_that_are_large_enough_are_looked_at_and_few_of_them_a_frame() {
    let mut street = Street::new(|_| Ok(PlateLook::Nothing));
    street.frame(&[(1, 0, CAR), (2, 1, BoxPx::new(10.0, 10.0, 60.0, 50.0))]);
    assert_eq!(street.asked(), 0, "a person, and a car far away");
    let car = |i: u64| (i, 1, BoxPx::new(20.0 + 200.0 * i as f32, 100.0, 150.0 + 5.0 * i as f32, 120.0));
    street.frame(&(0..6).map(car).collect::<Vec<_>>());
    let asked: Vec<_> = street.reader.asked.lock().iter().map(|bbox| bbox.width).collect();
    assert_eq!(asked, [175.0, 170.0], "the largest");
    assert_eq!(asked.len(), MAX_LOOKS_PER_FRAME);
    street.frame(&(0..6).map(car).collect::<Vec<_>>());
    let asked: Vec<_> = street.reader.asked.lock().iter().skip(2).map(|bbox| bbox.width).collect();
    assert!(asked.iter().all(|width| *width < 170.0), "the others then: {asked:?}");
}

#[test]
fn a_vehicle_without_a_plate_is_looked_at_less_and_less_and_again_when_it_comes_nearer() {
    let mut street = Street::new(|_| Ok(PlateLook::Nothing));
    for _ in 0..300 {
        street.frame(&[(1, 1, CAR)]);
    }
    let far = street.asked();
    assert!((4..=14).contains(&far), "{far} looks in a minute");
    street.answers(|vehicle| Ok(plate(vehicle, "京A12345", 0.93)));
    let near = BoxPx { width: CAR.width * 1.3, height: CAR.height * 1.3, ..CAR };
    assert_eq!(street.frame(&[(1, 1, near)]).len(), 1);
    let mut parked = Street::new(|vehicle| Ok(plate(vehicle, "京A12345", 0.2)));
    for _ in 0..500 {
        assert!(parked.frame(&[(1, 1, CAR)]).is_empty(), "told although it is more likely wrong");
    }
    assert!(parked.asked() <= MAX_LOOKS as usize);
}

#[test]
fn the_plate_of_a_car_that_stands_before_another_is_not_taken_for_the_others() {
    let behind = BoxPx::new(400.0, 100.0, 320.0, 240.0);
    let before = BoxPx::new(480.0, 250.0, 320.0, 240.0);
    // Whichever is looked at, the plate that is seen is that of the car before.
    let mut street = Street::new(move |_| {
        let PlateLook::Found(found) = plate(before, "京A12345", 0.9) else { unreachable!() };
        let corners = Quad(found.corners.0.map(|(x, y)| (x - 60.0, y - 130.0)));
        Ok(PlateLook::Found(PlateFound { corners, ..found }))
    });
    let told: Vec<_> = (0..10).flat_map(|_| street.frame(&[(1, 1, behind), (2, 1, before)])).collect();
    assert!(!told.is_empty() && told.iter().all(|read| read.track == TrackId(2)), "{told:?}");
}

#[test]
fn a_model_that_fails_costs_nothing_but_the_reading_and_works_again() {
    let mut street = Street::new(|_| failed());
    for _ in 0..20 {
        assert!(street.frame(&[(1, 1, CAR)]).is_empty());
    }
    street.answers(|vehicle| Ok(plate(vehicle, "京A12345", 0.95)));
    assert!((0..60).flat_map(|_| street.frame(&[(1, 1, CAR)])).count() > 0);
}

#[test]
fn models_that_are_at_work_for_others_cost_the_vehicle_no_look() {
    let mut street = Street::new(|_| Ok(PlateLook::Busy));
    for _ in 0..2 * MAX_LOOKS {
        street.frame(&[(1, 1, CAR)]);
    }
    street.answers(|vehicle| Ok(plate(vehicle, "京A12345", 0.95)));
    assert_eq!(street.frame(&[(1, 1, CAR)]).len(), 1);
}

#[test]
fn what_is_told_can_be_logged_without_telling_the_plate() {
    let mut street = Street::new(|vehicle| Ok(plate(vehicle, "京A12345", 0.95)));
    let told = street.frame(&[(1, 1, CAR)]);
    assert!(!format!("{told:?}").contains("12345"));
}
