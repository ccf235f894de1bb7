//! From a path to direction, speed and place, each with how sure it is.
//!
//! Everything is measured at the foot of the box, where a person or vehicle stands on the ground, between points a second or
//! more apart: a box trembles by a few hundredths of its size on every frame, which over a second is little beside a stride.
//! In a calibrated camera speed comes from places on the ground plane, else from the picture.

use vigil_base::event::{Attributes, GroundPosition, MotionMethod, PathPoint, Speed};
use vigil_base::{GeoPoint, GroundPlane};

/// Least time between two points that are compared, seconds.
const CHORD: f64 = 1.0;
/// An object that went less far than this, in picture widths, stands still.
const STILL: f64 = 0.02;
/// The same in metres; and no less than three standard errors of its place.
const STILL_METRES: f64 = 0.3;
const STILL_ERRORS: f64 = 3.0;
/// Standard deviation of a foot, in box heights, across and down: measured on tracks of the default detector against the
/// public truth of PETS09-S2L1 (0.04 across, 0.03 down).
const FOOT_NOISE: f64 = 0.035;
/// A box that comes this near to the picture's lower edge, as a share of its height, may be cut off there.
const CUT_OFF: f32 = 0.005;

/// A point of the path in a plane, in that plane's unit.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Since the path's first point.
    seconds: f64,
    x: f64,
    y: f64,
    /// Standard error of the place.
    error: f64,
}

impl Place {
    fn distance(&self, other: &Self) -> f64 {
        (self.x - other.x).hypot(self.y - other.y)
    }
}

/// Fills in direction, speed and position from the points of a path (in time order) in pictures of `aspect` (height over
/// width); gives the place on the map where the camera is calibrated by marks on it.
pub(crate) fn describe(
    points: &[PathPoint],
    aspect: f32,
    ground: Option<&GroundPlane>,
    attributes: &mut Attributes,
) -> Option<GeoPoint> {
    let picture = chords(picture_places(points, aspect));
    let metres = ground.map(|plane| chords(ground_places(points, aspect, plane))).filter(|places| places.len() > 1);
    (attributes.direction_degrees, attributes.direction_confidence) = direction(&picture).unzip();
    let pace = match &metres {
        Some(places) => speed(places, STILL_METRES).map(|(speed, error)| (Speed::MetresPerSecond(speed), error)),
        None => speed(&picture, STILL).map(|(speed, error)| (Speed::PictureWidthsPerSecond(speed), error)),
    };
    (attributes.speed, attributes.speed_error) = pace.unzip();
    attributes.motion_method =
        pace.map(|_| if metres.is_some() { MotionMethod::GroundPath } else { MotionMethod::PicturePath });
    let plane = ground?;
    let standing = points.iter().rev().find(|point| shows_foot(point))?;
    let place = plane.locate(standing.bbox.foot())?;
    let error_metres = plane.error_at(standing.bbox.foot(), foot_noise(standing, aspect))? as f32;
    attributes.position = Some(GroundPosition { place, error_metres });
    plane.locate_on_map(standing.bbox.foot())
}

fn shows_foot(point: &PathPoint) -> bool {
    point.bbox.top + point.bbox.height < 1.0 - CUT_OFF
}

/// Standard deviation of a point's foot, shares of the picture, across and down.
fn foot_noise(point: &PathPoint, aspect: f32) -> (f64, f64) {
    let down = FOOT_NOISE * f64::from(point.bbox.height);
    (down * f64::from(aspect), down)
}

/// In picture widths: right and down.
fn picture_places(points: &[PathPoint], aspect: f32) -> Vec<Place> {
    let at = |point: &PathPoint| {
        let foot = point.bbox.foot();
        let (x, y, error) = (foot.x, foot.y * f64::from(aspect), foot_noise(point, aspect).0);
        Place { seconds: point.time.seconds_since(points[0].time), x, y, error }
    };
    points.iter().map(at).collect()
}

/// In metres on the ground; points whose foot is out of view, or too far away, are passed over.
fn ground_places(points: &[PathPoint], aspect: f32, plane: &GroundPlane) -> Vec<Place> {
    let at = |point: &PathPoint| {
        let foot = point.bbox.foot();
        let place = plane.locate(foot)?;
        let error = plane.error_at(foot, foot_noise(point, aspect))?;
        Some(Place { seconds: point.time.seconds_since(points[0].time), x: place.x, y: place.y, error })
    };
    points.iter().filter(|point| shows_foot(point)).filter_map(at).collect()
}

/// The places at least [`CHORD`] apart, the first and the last among them.
fn chords(places: Vec<Place>) -> Vec<Place> {
    let Some(&last) = places.last() else { return places };
    let mut kept: Vec<Place> = Vec::with_capacity(places.len());
    for place in places {
        if kept.last().is_none_or(|before| place.seconds >= before.seconds + CHORD) {
            kept.push(place);
        }
    }
    if kept.last().is_some_and(|newest| newest.seconds < last.seconds) {
        // What is left over is too short to stand alone; the last chord grows by it.
        if kept.len() > 1 {
            kept.pop();
        }
        kept.push(last);
    }
    kept
}

fn travelled(places: &[Place]) -> f64 {
    places.windows(2).map(|pair| pair[0].distance(&pair[1])).sum()
}

/// Degrees and confidence, of an object that did not stand still.
fn direction(places: &[Place]) -> Option<(f32, f32)> {
    let (first, last) = (places.first()?, places.last()?);
    let went = first.distance(last);
    if went < STILL {
        return None;
    }
    let degrees = (last.x - first.x).atan2(first.y - last.y).to_degrees().rem_euclid(360.0);
    Some((degrees as f32, (went / travelled(places)).min(1.0) as f32))
}

/// Mean speed along the way, and its standard error: from how speeds differ from chord to chord, and from how exact its ends are.
fn speed(places: &[Place], still: f64) -> Option<(f32, f32)> {
    let (first, last) = (places.first()?, places.last()?);
    let seconds = last.seconds - first.seconds;
    if seconds <= 0.0 {
        return None;
    }
    let ends = first.error.hypot(last.error) / seconds;
    let farthest = places.iter().map(|place| first.distance(place)).fold(0.0, f64::max);
    // The trembling of the box of a standing object is no speed.
    if farthest < still.max(STILL_ERRORS * first.error) {
        return Some((0.0, ends as f32));
    }
    let mean = travelled(places) / seconds;
    let spread: f64 = places
        .windows(2)
        .map(|pair| {
            let passed = pair[1].seconds - pair[0].seconds;
            passed * (pair[0].distance(&pair[1]) / passed - mean).powi(2)
        })
        .sum();
    let chords = (places.len() - 1) as f64;
    Some((mean as f32, (spread / seconds / chords).sqrt().hypot(ends) as f32))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vigil_base::ground::RawMark;
    use vigil_base::{BoxNorm, Timestamp};

    use super::*;

    fn point(ms: i64, x: f32, y: f32) -> PathPoint {
        let bbox = BoxNorm { left: x - 0.05, top: y - 0.2, width: 0.1, height: 0.2 };
        PathPoint { time: Timestamp::from_micros(ms * 1000), bbox, confidence: 0.9 }
    }

    fn described(points: &[PathPoint], ground: Option<&GroundPlane>) -> (Attributes, Option<GeoPoint>) {
        let mut attributes = Attributes::default();
        let location = describe(points, 0.75, ground, &mut attributes);
        (attributes, location)
    }

    /// Looks straight down on 40 by 30 m.
    fn from_above() -> GroundPlane {
        let mark = |x: f64, y: f64| RawMark { picture: [x, y], metres: Some([40.0 * x, 30.0 * y]), location: None };
        GroundPlane::from_marks(&[mark(0.1, 0.1), mark(0.9, 0.1), mark(0.9, 0.9), mark(0.1, 0.9)]).unwrap()
    }

    #[test]
    fn direction_is_a_compass_on_the_picture() {
        for (x, y, degrees) in [(0.5, 0.3, 0.0), (0.8, 0.5, 90.0), (0.5, 0.8, 180.0), (0.1, 0.5, 270.0)] {
            let (found, _) = described(&[point(0, 0.5, 0.5), point(1000, x, y)], None);
            assert!((found.direction_degrees.unwrap() - degrees).abs() < 0.1, "{found:?} instead of {degrees}");
            assert_eq!(found.direction_confidence, Some(1.0));
        }
    }

    #[test]
    fn a_detour_makes_the_direction_less_sure() {
        let (found, _) = described(&[point(0, 0.2, 0.5), point(1000, 0.6, 0.5), point(2000, 0.4, 0.5)], None);
        assert!((found.direction_degrees.unwrap() - 90.0).abs() < 0.1);
        assert!((found.direction_confidence.unwrap() - 1.0 / 3.0).abs() < 1e-3);
    }

    #[test]
    fn without_a_calibration_speed_is_in_picture_widths_and_there_is_no_position() {
        let walk: Vec<PathPoint> = (0..=10).map(|i| point(i * 500, 0.1 + 0.05 * i as f32, 0.5)).collect();
        let (found, location) = described(&walk, None);
        let Some(Speed::PictureWidthsPerSecond(speed)) = found.speed else { panic!("{found:?}") };
        assert!((speed - 0.1).abs() < 1e-3 && found.speed_error.unwrap() < 0.005, "{found:?}");
        assert_eq!((found.motion_method, found.position), (Some(MotionMethod::PicturePath), None));
        assert_eq!(location, None);
    }

    #[test]
    fn with_a_calibration_speed_and_position_are_in_metres() {
        let walk: Vec<PathPoint> = (0..=10).map(|i| point(i * 500, 0.1 + 0.02 * i as f32, 0.5)).collect();
        let (found, location) = described(&walk, Some(&from_above()));
        let Some(Speed::MetresPerSecond(speed)) = found.speed else { panic!("{found:?}") };
        // 0.2 of 40 m in 5 s.
        assert!((speed - 1.6).abs() < 0.01, "{found:?}");
        assert_eq!(found.motion_method, Some(MotionMethod::GroundPath));
        let position = found.position.unwrap();
        assert!((position.place.x - 12.0).abs() < 0.01 && (position.place.y - 15.0).abs() < 0.01);
        assert!((0.2..0.4).contains(&position.error_metres), "{position:?}");
        assert_eq!(location, None, "these marks are not on the map");
    }

    #[test]
    fn a_position_is_where_the_foot_was_last_in_view_and_on_the_map_where_the_marks_are() {
        let mark = |x: f64, y: f64| {
            let location = GeoPoint::new(52.0 - y * 1e-3, 13.0 + x * 1e-3);
            RawMark { picture: [x, y], metres: None, location }
        };
        let plane = GroundPlane::from_marks(&[mark(0.1, 0.1), mark(0.9, 0.1), mark(0.9, 0.9), mark(0.1, 0.9)]).unwrap();
        let (_, location) =
            described(&[point(0, 0.3, 0.5), point(1000, 0.4, 0.8), point(2000, 0.5, 1.0)], Some(&plane));
        let location = location.unwrap();
        assert!(
            (location.latitude - 51.9992).abs() < 1e-6 && (location.longitude - 13.0004).abs() < 1e-6,
            "{location:?}"
        );
    }

    #[test]
    fn a_standing_object_has_no_direction_and_no_speed() {
        let standing: Vec<PathPoint> = (0..60).map(|i| point(i * 500, 0.5 + 0.002 * (i % 3) as f32, 0.5)).collect();
        let (found, _) = described(&standing, None);
        assert_eq!((found.direction_degrees, found.speed), (None, Some(Speed::PictureWidthsPerSecond(0.0))));
        let (found, _) = described(&standing, Some(&from_above()));
        assert_eq!(found.speed, Some(Speed::MetresPerSecond(0.0)));
    }

    #[test]
    fn who_comes_back_to_where_he_began_has_a_speed_and_no_direction() {
        let there_and_back = [point(0, 0.3, 0.5), point(2000, 0.5, 0.5), point(4000, 0.3, 0.5)];
        let (found, _) = described(&there_and_back, None);
        assert_eq!(found.direction_degrees, None);
        assert!(matches!(found.speed, Some(Speed::PictureWidthsPerSecond(speed)) if (speed - 0.1).abs() < 1e-3));
    }

    proptest! {
        #[test]
        fn the_true_speed_lies_within_four_standard_errors_of_a_trembling_walk(
            tremble in prop::collection::vec((-1f32..1.0, -1f32..1.0), 40), step in 0.004f32..0.012,
        ) {
            // Uniform over a range whose standard deviation is the foot's.
            let noise = FOOT_NOISE as f32 * 0.2 * 3f32.sqrt();
            let walk: Vec<PathPoint> = tremble.iter().enumerate().map(|(i, (dx, dy))| {
                point(i as i64 * 400, 0.1 + step * i as f32 + dx * noise * 0.75, 0.5 + dy * noise)
            }).collect();
            let (found, _) = described(&walk, Some(&from_above()));
            let Some(Speed::MetresPerSecond(speed)) = found.speed else { panic!("{found:?}") };
            let true_speed = step * 40.0 / 0.4;
            let off = (speed - true_speed).abs();
            prop_assert!(off <= 4.0 * found.speed_error.unwrap() + 0.15, "{off} m/s off, {found:?}");
        }

        #[test]
        fn any_path_gives_numbers(
            steps in prop::collection::vec((1i64..5000, 0.1f32..0.9, 0.3f32..1.0), 1..64), calibrated in any::<bool>(),
        ) {
            let mut now = 0;
            let points: Vec<PathPoint> = steps.into_iter().map(|(gap, x, y)| {
                now += gap;
                point(now, x, y)
            }).collect();
            let plane = from_above();
            let (found, _) = described(&points, calibrated.then_some(&plane));
            for value in [found.direction_confidence, found.speed_error] {
                prop_assert!(value.is_none_or(|value| value.is_finite() && value >= 0.0));
            }
            prop_assert_eq!(found.speed.is_some(), found.speed_error.is_some());
        }
    }
}
