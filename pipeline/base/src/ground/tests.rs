use proptest::prelude::*;

use super::*;

/// A pinhole camera over flat ground that looks ahead and down.
#[derive(Debug, Clone, Copy)]
struct Pinhole {
    height_m: f64,
    tilt_degrees: f64,
    /// In picture widths.
    focal: f64,
    aspect: f64,
}

impl Pinhole {
    const STREET: Self = Self { height_m: 6.0, tilt_degrees: 15.0, focal: 0.9, aspect: 0.5625 };

    /// Where a place `right` and `ahead` of the mast is seen.
    fn see(self, right: f64, ahead: f64) -> PointNorm {
        let (sin, cos) = self.tilt_degrees.to_radians().sin_cos();
        let depth = ahead * cos + self.height_m * sin;
        let down = self.height_m * cos - ahead * sin;
        PointNorm::new(0.5 + self.focal * right / depth, 0.5 + self.focal * down / depth / self.aspect)
    }

    /// The ground at a point of the picture, right and ahead; must be below the horizon.
    fn ground_at(self, at: PointNorm) -> (f64, f64) {
        let (sin, cos) = self.tilt_degrees.to_radians().sin_cos();
        let (x, y) = ((at.x - 0.5) / self.focal, (at.y - 0.5) * self.aspect / self.focal);
        let depth = self.height_m / (sin + y * cos);
        (x * depth, depth * (cos - y * sin))
    }

    fn mark(self, right: f64, ahead: f64) -> RawMark {
        let PointNorm { x, y } = self.see(right, ahead);
        RawMark { picture: [x, y], metres: Some([right, ahead]), location: None }
    }

    fn marks(self) -> Vec<RawMark> {
        [(-4.0, 10.0), (4.0, 10.0), (6.0, 25.0), (-6.0, 25.0)].map(|(right, ahead)| self.mark(right, ahead)).to_vec()
    }
}

#[test]
fn places_between_and_beyond_the_marks_come_out_in_metres() {
    let camera = Pinhole::STREET;
    let plane = GroundPlane::from_marks(&camera.marks()).unwrap();
    for (right, ahead) in [(0.0, 12.0), (-5.0, 30.0), (3.0, 9.0), (10.0, 45.0)] {
        let place = plane.locate(camera.see(right, ahead)).unwrap();
        assert!((place.x - right).abs() < 1e-6 && (place.y - ahead).abs() < 1e-6, "{place:?}");
    }
    assert!(plane.residual() < 1e-9);
}

#[test]
fn what_is_at_or_above_the_horizon_or_too_far_away_is_nowhere() {
    let camera = Pinhole::STREET;
    let plane = GroundPlane::from_marks(&camera.marks()).unwrap();
    let horizon = 0.5 - camera.focal * camera.tilt_degrees.to_radians().tan() / camera.aspect;
    assert!(horizon > 0.0);
    for y in [0.0, horizon, horizon + 1e-4] {
        assert_eq!(plane.locate(PointNorm::new(0.5, y)), None, "at {y}");
    }
    assert_eq!(plane.locate(camera.see(0.0, 400.0)), None);
    assert!(plane.locate(camera.see(0.0, 60.0)).is_some());
    assert_eq!(plane.area(&[camera.see(0.0, 10.0), camera.see(5.0, 10.0), camera.see(0.0, 400.0)]), None);
}

#[test]
fn an_area_is_in_square_metres_whichever_way_it_is_drawn() {
    let camera = Pinhole::STREET;
    let plane = GroundPlane::from_marks(&camera.marks()).unwrap();
    let mut corners = [(-2.0, 12.0), (2.0, 12.0), (2.0, 22.0), (-2.0, 22.0)].map(|(r, a)| camera.see(r, a));
    assert!((plane.area(&corners).unwrap() - 40.0).abs() < 1e-6);
    corners.reverse();
    assert!((plane.area(&corners).unwrap() - 40.0).abs() < 1e-6);
}

/// Marks given on the map, the mast at 52.5 N 13.4 E, looking north.
fn on_the_map(marks: &[RawMark]) -> Vec<RawMark> {
    let to_map = |mark: &RawMark| {
        let [right, ahead] = mark.metres.unwrap();
        // 60 nautical miles a degree, give or take three in a thousand.
        let location = GeoPoint { latitude: 52.5 + ahead / 111_268.0, longitude: 13.4 + right / 67_896.0 };
        RawMark { metres: None, location: Some(location), ..*mark }
    };
    marks.iter().map(to_map).collect()
}

#[test]
fn marks_on_the_map_give_metres_and_places_on_the_map() {
    let camera = Pinhole::STREET;
    let plane = GroundPlane::from_marks(&on_the_map(&camera.marks())).unwrap();
    let (near, far) = (camera.see(0.0, 12.0), camera.see(0.0, 22.0));
    let metres = plane.locate(near).unwrap().distance(plane.locate(far).unwrap());
    assert!((metres - 10.0).abs() < 0.02, "{metres}");
    let point = plane.locate_on_map(far).unwrap();
    assert!((point.latitude - (52.5 + 22.0 / 111_268.0)).abs() < 1e-7, "{point:?}");
    assert!((point.longitude - 13.4).abs() < 1e-7, "{point:?}");
    assert!(GroundPlane::from_marks(&camera.marks()).unwrap().locate_on_map(far).is_none());
}

#[test]
fn a_degree_is_as_long_as_the_ellipsoid_has_it() {
    // Table values for 0, 45 and 60 degrees of latitude.
    for (latitude, north, east) in
        [(0.0, 110_574.0, 111_320.0), (45.0, 111_132.0, 78_847.0), (60.0, 111_412.0, 55_800.0)]
    {
        let (n, e) = metres_per_degree(latitude);
        assert!((n - north).abs() < 1.0 && (e - east).abs() < 1.0, "{latitude}: {n} {e}");
    }
}

#[test]
fn marks_that_are_no_plane_are_refused_with_the_reason() {
    let camera = Pinhole::STREET;
    let good = camera.marks();
    let refused = |marks: &[RawMark]| GroundPlane::from_marks(marks).unwrap_err();
    assert_eq!(refused(&good[..3]), GroundError::Count(3));
    assert_eq!(refused(&vec![good[0]; 17]), GroundError::Count(17));
    assert_eq!(refused(&[good[0]; 4]), GroundError::InLine);

    let in_line = [(0.0, 10.0), (0.0, 15.0), (0.0, 20.0), (4.0, 12.0)].map(|(r, a)| camera.mark(r, a));
    assert_eq!(refused(&in_line), GroundError::InLine);

    let mut swapped = good.clone();
    (swapped[0].metres, swapped[1].metres) = (swapped[1].metres, swapped[0].metres);
    assert_eq!(refused(&swapped), GroundError::Swapped);

    let mut outside = good.clone();
    outside[2].picture = [0.5, 1.2];
    assert!(refused(&outside).to_string().starts_with("mark 2 is outside the picture"));
    outside[2].picture = [f64::NAN, 0.5];
    assert!(refused(&outside).to_string().starts_with("mark 2 is outside the picture"));

    let mut mixed = good.clone();
    mixed[1] = on_the_map(&good)[1];
    assert!(refused(&mixed).to_string().contains("mixes metres and location"));
    mixed[1].location = None;
    assert!(refused(&mixed).to_string().contains("says no place"));
}

#[test]
fn a_map_seen_in_a_mirror_is_refused() {
    let mut mirrored = on_the_map(&Pinhole::STREET.marks());
    for mark in &mut mirrored {
        mark.picture[0] = 1.0 - mark.picture[0];
    }
    assert_eq!(GroundPlane::from_marks(&mirrored).unwrap_err(), GroundError::Swapped);
}

#[test]
fn more_marks_even_out_and_the_one_that_is_wrong_is_named() {
    let camera = Pinhole::STREET;
    let mut marks = camera.marks();
    marks.extend([(0.0, 14.0), (-3.0, 18.0), (3.0, 21.0)].map(|(r, a)| camera.mark(r, a)));
    for (index, mark) in marks.iter_mut().enumerate() {
        mark.picture[0] += if index % 2 == 0 { 0.002 } else { -0.002 };
    }
    let plane = GroundPlane::from_marks(&marks).unwrap();
    assert!(plane.residual() > 0.0 && plane.residual() < 0.2, "{}", plane.residual());
    marks[5].metres = Some([-3.0, 15.0]);
    let refused = GroundPlane::from_marks(&marks).unwrap_err();
    assert!(matches!(refused, GroundError::Residual { index: 5, metres } if metres > 1.0), "{refused}");
    marks[5].metres = Some([-3.0, 81.0]);
    assert!(GroundPlane::from_marks(&marks).is_err());
}

#[test]
fn an_error_in_the_picture_is_so_many_metres_on_the_ground() {
    let plane = GroundPlane::from_marks(&Pinhole::STREET.marks()).unwrap();
    for at in [PointNorm::new(0.5, 0.9), PointNorm::new(0.2, 0.6)] {
        let moved = |dx, dy| {
            let there = plane.locate(PointNorm::new(at.x + dx, at.y + dy)).unwrap();
            plane.locate(at).unwrap().distance(there)
        };
        let (across, down) = (moved(1e-4, 0.0), moved(0.0, 1e-4));
        let error = plane.error_at(at, (1e-4, 1e-4)).unwrap();
        assert!((error / across.hypot(down) - 1.0).abs() < 0.01, "{error} for {across} and {down}");
    }
    assert_eq!(plane.error_at(PointNorm::new(0.5, 0.0), (1e-4, 1e-4)), None, "above the horizon");
}

proptest! {
    /// Whatever camera and marks: what is told is right.
    #[test]
    fn a_place_that_is_told_is_the_true_one(
        height_m in 2.5f64..20.0, tilt_degrees in 15f64..60.0, focal in 0.7f64..2.0,
        corners in prop::array::uniform4(prop::array::uniform2(0f64..0.2)), at in prop::array::uniform2(0.3f64..1.0),
    ) {
        let camera = Pinhole { height_m, tilt_degrees, focal, aspect: 0.5625 };
        let middle = [(0.2, 0.45), (0.6, 0.45), (0.75, 0.8), (0.05, 0.8)];
        let marks = [0, 1, 2, 3].map(|i| {
            let at = PointNorm::new(middle[i].0 + corners[i][0], middle[i].1 + corners[i][1]);
            let (right, ahead) = camera.ground_at(at);
            RawMark { picture: [at.x, at.y], metres: Some([right, ahead]), location: None }
        });
        let plane = GroundPlane::from_marks(&marks).unwrap();
        let at = PointNorm::new(at[0], at[1]);
        if let Some(place) = plane.locate(at) {
            let (x, y) = camera.ground_at(at);
            prop_assert!(place.distance(GroundPoint { x, y }) < 1e-6 * (1.0 + x.hypot(y)), "{place:?}");
        }
    }

    #[test]
    fn marks_of_any_numbers_never_panic(numbers in prop::collection::vec(prop::array::uniform4(any::<f64>()), 0..8)) {
        let mark = |[x, y, u, v]: [f64; 4]| RawMark { picture: [x, y], metres: Some([u, v]), location: None };
        let marks: Vec<RawMark> = numbers.into_iter().map(mark).collect();
        if let Ok(plane) = GroundPlane::from_marks(&marks) {
            let _ = plane.locate(PointNorm::new(0.5, 0.5));
        }
    }

    #[test]
    fn marks_within_the_picture_never_give_a_place_that_is_no_number(
        numbers in prop::collection::vec(prop::array::uniform4(0f64..1.0), 4..8),
        at in prop::array::uniform2(0f64..1.0),
    ) {
        let mark = |[x, y, u, v]: [f64; 4]| {
            RawMark { picture: [x, y], metres: Some([u * 50.0, v * 50.0]), location: None }
        };
        let marks: Vec<RawMark> = numbers.into_iter().map(mark).collect();
        if let Some(place) = GroundPlane::from_marks(&marks).ok().and_then(|p| p.locate(PointNorm::new(at[0], at[1]))) {
            prop_assert!(place.x.is_finite() && place.y.is_finite());
        }
    }
}
