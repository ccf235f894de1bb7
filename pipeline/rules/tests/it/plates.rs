//! Plates on a list.

use vigil_base::TrackId;
use vigil_base::event::{Plate, PlateReading};
use vigil_rules::Evidence;

use crate::stage::{Actor, CAR, PERSON, Stage, brief, rules};

const LISTED: &str = r#"
[[rules]]
id = "wanted"
classes = ["car"]
min_presence = "1s"
plate_listed = { plates = ["B-AB 1234"], min_likelihood = 0.7 }
[[rules]]
id = "stranger"
plate_listed = { plates = ["B-AB 1234"], on = "unlisted" }
"#;

fn read(track: u64, text: &str, confidence: f32) -> PlateReading {
    PlateReading { track: TrackId(track), plate: Plate { text: text.into(), confidence, looks: 1, model: None } }
}

fn car(id: u64) -> Actor {
    Actor::new(id, CAR, &[(0.0, 0.1, 0.5), (20.0, 0.9, 0.5)])
}

#[test]
fn a_listed_plate_fires_once_when_its_vehicle_counts() {
    let mut stage = Stage::new(LISTED);
    stage.frame_with(0.0, &[car(1)], &[read(1, "BAB1234", 0.75)], None);
    assert!(stage.fired.is_empty());
    stage.frame(0.5, &[car(1)]);
    let fired = stage.frame(1.0, &[car(1)]);
    assert_eq!(brief(&fired), ["wanted 1 !"]);
    assert!(matches!(&fired[0].evidence, Evidence::Plate { text, listed: true, .. } if &**text == "BAB1234"));
    assert!(stage.frame_with(2.0, &[car(1)], &[read(1, "BAB1234", 0.95)], None).is_empty());
}

#[test]
fn other_plates_other_classes_and_unsure_readings_do_not_fire() {
    let mut stage = Stage::new(LISTED);
    let person = Actor::new(3, PERSON, &[(0.0, 0.1, 0.5), (20.0, 0.9, 0.5)]);
    let readings =
        [read(1, "BAB1235", 0.75), read(2, "BAB1234", 0.6), read(3, "BAB1234", 0.75), read(9, "BAB1234", 0.9)];
    stage.frame_with(0.0, &[car(1), car(2), person.clone()], &readings, None);
    stage.play(0.2, 5.0, 5.0, &[car(1), car(2), person]);
    assert!(stage.fired.is_empty());
}

#[test]
fn an_unlisted_plate_fires_and_a_better_reading_in_time_prevents_it() {
    let mut stage = Stage::new(LISTED);
    let fired = stage.frame_with(0.0, &[car(1)], &[read(1, "X1", 0.9)], None);
    assert_eq!(brief(&fired), ["stranger 1 !"]);
    let slow = LISTED.replace("id = \"stranger\"", "id = \"stranger\"\nmin_presence = \"2s\"");
    let mut stage = Stage::new(&slow);
    stage.frame_with(0.0, &[car(1)], &[read(1, "BAB1Z34", 0.85)], None);
    stage.frame_with(1.0, &[car(1)], &[read(1, "BAB1234", 0.9)], None);
    stage.play(1.2, 5.0, 5.0, &[car(1)]);
    assert_eq!(brief(&stage.fired), ["wanted 1 !"]);
}

#[test]
fn a_list_that_is_changed_looks_at_who_is_there_already() {
    let mut stage = Stage::new(LISTED);
    stage.frame_with(0.0, &[car(1)], &[read(1, "HH A 1", 0.75)], None);
    stage.play(0.2, 2.0, 5.0, &[car(1)]);
    stage.engine.replace(rules(&LISTED.replace("B-AB 1234", "HH-A1")));
    assert_eq!(brief(&stage.play(2.2, 3.0, 5.0, &[car(1)])), ["wanted 1 !"]);
}
