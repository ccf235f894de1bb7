//! Which colours an object shows, and how sure that is.
//!
//! Method ([`ColourMethod::HsvVote`]): pixels on a fixed grid inside each part of the object's box are named by thresholds on
//! hue, saturation and value (HSV after Smith, 1978). Sightings of a track vote, at least [`LOOK_EVERY`] apart; those that show
//! something else as well (cut off by the picture's edge, half hidden, too small) are passed over, and so are pictures without
//! colour, as cameras send at night. A colour's confidence is Laplace's rule of succession: of n sightings k show it, so the
//! next does with probability (k + 1) / (n + 2). What fewer than three in five sightings would show is not told.
//!
//! Judged by eye on the 24 tracks of vtest.avi (people of 25 to 45 by 75 to 100 pixels, one sighting to sixty): of 48 first colours,
//! upper and lower body, 46 were right; the two wrong ones were one navy jacket that was told black. Second and third colours were
//! right in about half of the cases.

use std::time::Duration;

use vigil_base::event::{Colour, ColourMethod, ColourShare, Part};
use vigil_base::{BoxPx, Frame, Timestamp};

/// Sightings that are nearer in time than this show the same thing again.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Sightings of a track that vote; more change nothing.
const MAX_LOOKS: u16 = 60;
/// A colour that holds less than this share of a part's pixels is not shown by it.
const MIN_SHARE: f32 = 0.2;
/// Most colours that are told of a part.
const MAX_COLOURS_OF_PART: usize = 3;
/// Least confidence at which a colour is told. On one plaza, what lay between even odds and this was the pavement between legs.
const MIN_CONFIDENCE: f32 = 0.6;
/// Samples along each side of a part.
const GRID: u32 = 16;
/// A part of fewer pixels across or down is a blur.
const MIN_SIDE: f32 = 6.0;
/// Samples along each side of the picture that tell whether it has colours at all.
const CHROMA_GRID: u32 = 24;
/// Chroma within this of its middle is grey: cameras that see infrared send 128, give or take what coding does to it.
const GREY: u8 = 2;
/// So many coloured samples in a hundred make a picture coloured.
const COLOURED_PERCENT: u32 = 1;

/// Where a part lies in its object's box: left, top, right, bottom, shares of the box.
struct Place {
    part: Part,
    sides: [f32; 4],
}

/// The middle half across, where no background is; the head and the feet left out.
const PERSON: [Place; 2] = [
    Place { part: Part::Upper, sides: [0.25, 0.17, 0.75, 0.48] },
    Place { part: Part::Lower, sides: [0.3, 0.54, 0.7, 0.9] },
];
/// Below the windows, above the wheels.
const VEHICLE: [Place; 1] = [Place { part: Part::Whole, sides: [0.15, 0.35, 0.85, 0.8] }];
const OTHER: [Place; 1] = [Place { part: Part::Whole, sides: [0.25, 0.1, 0.75, 0.9] }];

fn places_of(class: &str) -> &'static [Place] {
    match class {
        "person" => &PERSON,
        "car" | "truck" | "bus" | "van" => &VEHICLE,
        _ => &OTHER,
    }
}

/// What the sightings of one track say.
#[derive(Debug, Clone, Default)]
pub(crate) struct ColourVotes {
    parts: Vec<PartVotes>,
    looks: u16,
    last_look: Option<Timestamp>,
}

#[derive(Debug, Clone)]
struct PartVotes {
    part: Part,
    /// By colour: sightings that show it.
    shown: [u16; Colour::ALL.len()],
    /// By colour: sum of its shares.
    shares: [f32; Colour::ALL.len()],
}

impl ColourVotes {
    /// Whether a sighting at `time` would say anything new.
    pub fn wants(&self, time: Timestamp) -> bool {
        let due = self.last_look.is_none_or(|last| time < last || time >= last + LOOK_EVERY);
        due && self.looks < MAX_LOOKS
    }

    /// Takes in a sighting that shows the object whole and nothing before it.
    pub fn look(&mut self, frame: &Frame, bbox: BoxPx, class: &str) {
        let places = places_of(class);
        let small = |place: &Place| {
            let area = area(bbox, place);
            area.width < MIN_SIDE || area.height < MIN_SIDE
        };
        if places.iter().any(small) || !has_colours(frame) {
            return;
        }
        if !self.parts.iter().map(|votes| votes.part).eq(places.iter().map(|place| place.part)) {
            *self = Self { parts: places.iter().map(|place| PartVotes::new(place.part)).collect(), ..Self::default() };
        }
        for (votes, place) in self.parts.iter_mut().zip(places) {
            votes.take(shares(frame, area(bbox, place)));
        }
        self.looks += 1;
        self.last_look = Some(frame.capture_time);
    }

    /// What is likelier than not, by part, largest share first; empty before the first good sighting.
    pub fn colours(&self) -> Vec<ColourShare> {
        self.parts.iter().flat_map(|votes| votes.colours(self.looks)).collect()
    }

    /// How they were found.
    pub fn method(&self) -> Option<ColourMethod> {
        (self.looks > 0).then_some(ColourMethod::HsvVote)
    }
}

impl PartVotes {
    fn new(part: Part) -> Self {
        Self { part, shown: [0; Colour::ALL.len()], shares: [0.0; Colour::ALL.len()] }
    }

    fn take(&mut self, shares: [f32; Colour::ALL.len()]) {
        for (index, share) in shares.into_iter().enumerate() {
            self.shares[index] += share;
            self.shown[index] += u16::from(share >= MIN_SHARE);
        }
    }

    fn colours(&self, looks: u16) -> Vec<ColourShare> {
        let of = |colour: Colour| ColourShare {
            part: self.part,
            colour,
            share: self.shares[colour as usize] / f32::from(looks),
            confidence: f32::from(self.shown[colour as usize] + 1) / f32::from(looks + 2),
        };
        let mut told: Vec<ColourShare> =
            Colour::ALL.into_iter().map(of).filter(|told| told.confidence >= MIN_CONFIDENCE).collect();
        told.sort_by(|a, b| b.share.total_cmp(&a.share));
        told.truncate(MAX_COLOURS_OF_PART);
        told
    }
}

fn area(bbox: BoxPx, place: &Place) -> BoxPx {
    let [left, top, right, bottom] = place.sides;
    BoxPx::new(
        bbox.left + left * bbox.width,
        bbox.top + top * bbox.height,
        (right - left) * bbox.width,
        (bottom - top) * bbox.height,
    )
}

/// By colour: its share of the area's pixels, 0..1. The area must lie in the picture.
fn shares(frame: &Frame, area: BoxPx) -> [f32; Colour::ALL.len()] {
    let mut counts = [0u16; Colour::ALL.len()];
    for (x, y) in grid(area, GRID) {
        counts[name_colour(frame.rgb_at(x, y)) as usize] += 1;
    }
    counts.map(|count| f32::from(count) / (GRID * GRID) as f32)
}

/// Whether the camera sees colours now.
pub(crate) fn has_colours(frame: &Frame) -> bool {
    let [_, cb, cr] = &frame.planes;
    let whole = BoxPx::new(0.0, 0.0, cb.width as f32, cb.height as f32);
    let is_coloured = |(x, y): &(u32, u32)| {
        [cb, cr].iter().any(|plane| plane.row(*y).get(*x as usize).is_some_and(|chroma| chroma.abs_diff(128) > GREY))
    };
    let coloured = grid(whole, CHROMA_GRID).filter(is_coloured).count() as u32;
    coloured * 100 > COLOURED_PERCENT * CHROMA_GRID * CHROMA_GRID
}

/// The middles of `side` times `side` fields of an area.
fn grid(area: BoxPx, side: u32) -> impl Iterator<Item = (u32, u32)> {
    let at = move |start: f32, length: f32, index: u32| (start + length * (index as f32 + 0.5) / side as f32) as u32;
    (0..side).flat_map(move |row| {
        (0..side).map(move |column| (at(area.left, area.width, column), at(area.top, area.height, row)))
    })
}

/// The name of one pixel's colour.
fn name_colour([red, green, blue]: [u8; 3]) -> Colour {
    let (max, min) = (red.max(green).max(blue), red.min(green).min(blue));
    let (value, chroma) = (f32::from(max) / 255.0, f32::from(max - min));
    let saturation = if max == 0 { 0.0 } else { chroma / f32::from(max) };
    // Dark or pale pixels have no reliable hue: cameras' noise and white balance decide it.
    if value < 0.2 {
        return Colour::Black;
    }
    if saturation < 0.18 {
        return if value > 0.75 {
            Colour::White
        } else if value < 0.3 {
            Colour::Black
        } else {
            Colour::Grey
        };
    }
    let (r, g, b) = (f32::from(red), f32::from(green), f32::from(blue));
    let hue = if max == red {
        60.0 * ((g - b) / chroma).rem_euclid(6.0)
    } else if max == green {
        60.0 * ((b - r) / chroma + 2.0)
    } else {
        60.0 * ((r - g) / chroma + 4.0)
    };
    name_hue(hue, saturation, value)
}

/// The name of a hue (degrees) that is strong enough to be one.
fn name_hue(hue: f32, saturation: f32, value: f32) -> Colour {
    match hue {
        h if !(15.0..345.0).contains(&h) => {
            if saturation < 0.5 && value > 0.7 {
                Colour::Pink
            } else {
                Colour::Red
            }
        }
        h if h < 45.0 => {
            if value < 0.65 {
                Colour::Brown
            } else {
                Colour::Orange
            }
        }
        h if h < 70.0 => Colour::Yellow,
        h if h < 165.0 => Colour::Green,
        h if h < 195.0 => Colour::Cyan,
        h if h < 260.0 => Colour::Blue,
        h if h < 300.0 => Colour::Purple,
        _ => {
            if value > 0.6 {
                Colour::Pink
            } else {
                Colour::Purple
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vigil_base::Size;

    use super::*;

    const SIZE: Size = Size::new(64, 64);
    const RED: [u8; 3] = [81, 90, 240];
    const BLUE: [u8; 3] = [41, 240, 110];

    fn uniform(yuv: [u8; 3], ms: i64) -> Frame {
        Frame::uniform(SIZE, yuv, Timestamp::from_micros(ms * 1000))
    }

    /// `upper` in the picture's upper half, `lower` below.
    fn halves(upper: [u8; 3], lower: [u8; 3], ms: i64) -> Frame {
        let (mut frame, below) = (uniform(upper, ms), uniform(lower, ms));
        for (plane, other) in frame.planes.iter_mut().zip(&below.planes) {
            let half = plane.data.len() / 2;
            plane.data = [&plane.data[..half], &other.data[half..]].concat().into();
        }
        frame
    }

    fn whole() -> BoxPx {
        BoxPx::new(16.0, 0.0, 32.0, 64.0)
    }

    #[test]
    fn pure_pixels_have_their_names() {
        let cases = [
            ([250, 250, 250], Colour::White),
            ([10, 10, 12], Colour::Black),
            ([128, 128, 130], Colour::Grey),
            ([200, 20, 20], Colour::Red),
            ([250, 140, 20], Colour::Orange),
            ([110, 70, 30], Colour::Brown),
            ([230, 220, 30], Colour::Yellow),
            ([30, 140, 40], Colour::Green),
            ([30, 200, 210], Colour::Cyan),
            ([20, 40, 200], Colour::Blue),
            ([110, 30, 170], Colour::Purple),
            ([250, 160, 170], Colour::Pink),
        ];
        for (rgb, colour) in cases {
            assert_eq!(name_colour(rgb), colour, "{rgb:?}");
        }
    }

    #[test]
    fn a_person_has_an_upper_and_a_lower_colour_and_a_car_one() {
        let frame = halves(RED, BLUE, 0);
        let told = |class: &str| {
            let mut votes = ColourVotes::default();
            votes.look(&frame, whole(), class);
            votes.colours().iter().map(|told| (told.part, told.colour)).collect::<Vec<_>>()
        };
        assert_eq!(told("person"), [(Part::Upper, Colour::Red), (Part::Lower, Colour::Blue)]);
        assert_eq!(told("car"), [(Part::Whole, Colour::Blue), (Part::Whole, Colour::Red)]);
    }

    #[test]
    fn confidence_grows_with_sightings_that_agree_and_a_stray_one_is_outvoted() {
        let mut votes = ColourVotes::default();
        let mut confidences = Vec::new();
        for look in 0..8 {
            let frame = uniform(if look == 3 { BLUE } else { RED }, look * 500);
            assert!(votes.wants(frame.capture_time));
            votes.look(&frame, whole(), "car");
            confidences.push(votes.colours()[0].confidence);
            assert!(!votes.wants(frame.capture_time), "the same sighting does not vote twice");
        }
        assert_eq!(confidences[..3], [2.0 / 3.0, 3.0 / 4.0, 4.0 / 5.0]);
        let told = votes.colours();
        assert_eq!((told.len(), told[0].colour, told[0].confidence), (1, Colour::Red, 0.8));
    }

    #[test]
    fn nothing_is_told_of_what_is_too_small_or_seen_without_colour() {
        let mut votes = ColourVotes::default();
        votes.look(&uniform(RED, 0), BoxPx::new(10.0, 10.0, 8.0, 20.0), "person");
        votes.look(&uniform([180, 128, 128], 500), whole(), "person");
        votes.look(&uniform([30, 129, 127], 1000), whole(), "person");
        assert_eq!((votes.colours(), votes.method()), (vec![], None));
    }

    #[test]
    fn another_class_starts_the_vote_anew() {
        let mut votes = ColourVotes::default();
        votes.look(&uniform(RED, 0), whole(), "person");
        votes.look(&uniform(BLUE, 500), whole(), "car");
        assert_eq!(votes.colours().iter().map(|told| told.colour).collect::<Vec<_>>(), [Colour::Blue]);
    }

    proptest! {
        #[test]
        fn whatever_is_seen_confidences_and_shares_are_shares_and_no_colour_is_told_twice(
            looks in prop::collection::vec((16u8..235, 16u8..240, 16u8..240), 1..80),
        ) {
            let mut votes = ColourVotes::default();
            for (index, (y, u, v)) in looks.into_iter().enumerate() {
                votes.look(&uniform([y, u, v], index as i64 * 500), whole(), "person");
            }
            let told = votes.colours();
            prop_assert!(told.len() <= vigil_base::event::MAX_COLOURS);
            for (index, one) in told.iter().enumerate() {
                prop_assert!((0.0..=1.0).contains(&one.share) && one.confidence > 0.5 && one.confidence < 1.0);
                prop_assert!(told[..index].iter().all(|other| (other.part, other.colour) != (one.part, one.colour)));
            }
        }
    }
}
