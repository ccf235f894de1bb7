use proptest::prelude::*;

use super::*;

fn p(x: f64, y: f64) -> PointNorm {
    PointNorm::new(x, y)
}

fn line(points: &[[f64; 2]]) -> Line {
    Line::new(ZoneId::new("l").unwrap(), points).unwrap()
}

fn zone(points: &[[f64; 2]]) -> Zone {
    Zone::new(ZoneId::new("z").unwrap(), points).unwrap()
}

fn refused(points: &[[f64; 2]]) -> Fault {
    Zone::new(ZoneId::new("z").unwrap(), points).unwrap_err()
}

#[test]
fn right_is_the_right_hand_of_who_walks_along_the_line() {
    let up = line(&[[0.5, 0.9], [0.5, 0.1]]);
    assert_eq!(up.passage(p(0.4, 0.5), p(0.6, 0.5)), Some(Passage { net: 1, share: 0.5 }));
    assert_eq!(up.passage(p(0.6, 0.5), p(0.4, 0.5)).unwrap().net, -1);
    let across = line(&[[0.1, 0.5], [0.9, 0.5]]);
    assert_eq!(across.passage(p(0.5, 0.4), p(0.5, 0.6)).unwrap().net, 1);
}

#[test]
fn passing_beside_the_end_of_a_line_is_not_passing_it() {
    let short = line(&[[0.4, 0.5], [0.6, 0.5]]);
    assert_eq!(short.passage(p(0.3, 0.4), p(0.3, 0.6)), None);
    assert_eq!(short.passage(p(0.3, 0.45), p(0.45, 0.45)), None);
}

#[test]
fn passing_where_two_pieces_meet_is_passing_once() {
    let bent = line(&[[0.1, 0.5], [0.5, 0.5], [0.9, 0.7]]);
    assert_eq!(bent.passage(p(0.5, 0.2), p(0.5, 0.8)).unwrap().net, 1);
    // Over the tip of a wedge and back: not at all.
    let wedge = line(&[[0.4, 0.9], [0.5, 0.5], [0.6, 0.9]]);
    assert_eq!(wedge.passage(p(0.2, 0.7), p(0.8, 0.7)), None);
    assert_eq!(wedge.passage(p(0.2, 0.7), p(0.5, 0.7)).unwrap().net, 1);
}

#[test]
fn distances_are_in_picture_widths() {
    let across = line(&[[0.2, 0.5], [0.8, 0.5]]);
    assert!((across.distance(p(0.5, 0.6), 0.5) - 0.05).abs() < 1e-12);
    assert!((across.distance(p(0.9, 0.5), 0.5) - 0.1).abs() < 1e-12);
}

#[test]
fn a_zone_contains_what_is_inside_also_in_its_bays() {
    let c = zone(&[[0.1, 0.1], [0.9, 0.1], [0.9, 0.3], [0.3, 0.3], [0.3, 0.7], [0.9, 0.7], [0.9, 0.9], [0.1, 0.9]]);
    assert!(c.contains(p(0.2, 0.5)) && c.contains(p(0.8, 0.8)));
    assert!(!c.contains(p(0.6, 0.5)) && !c.contains(p(0.95, 0.2)));
    assert!((c.area() - (0.64 - 0.24)).abs() < 1e-12);
    assert!((c.border(p(0.2, 0.5), p(0.6, 0.5)) - 0.25).abs() < 1e-12);
}

#[test]
fn a_zone_that_reaches_the_edge_of_the_picture_contains_who_stands_there() {
    let whole = zone(&[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]);
    for at in [p(1e-6, 0.5), p(1.0 - 1e-6, 1.0 - 1e-6), p(0.5, 1.0 - 1e-6)] {
        assert!(whole.contains(at), "{at:?}");
    }
}

#[test]
fn shapes_that_are_none_are_refused_with_the_point() {
    let bow_tie = refused(&[[0.1, 0.1], [0.9, 0.9], [0.9, 0.1], [0.1, 0.9]]);
    assert_eq!(
        bow_tie.in_no_rule().to_string(),
        "points: cross themselves: the piece after point 0 and the one after point 2 touch"
    );
    assert!(refused(&[[0.1, 0.1], [0.9, 0.9]]).in_no_rule().to_string().contains("are 2; 3 to 64"));
    assert!(
        refused(&[[0.1, 0.1], [1.9, 0.9], [0.2, 0.3]]).in_no_rule().to_string().starts_with("points[1]: is outside")
    );
    assert!(refused(&[[0.1, 0.1], [f64::NAN, 0.9], [0.2, 0.3]]).in_no_rule().to_string().starts_with("points[1]"));
    assert!(refused(&[[0.1, 0.1], [0.1, 0.1], [0.2, 0.3]]).in_no_rule().to_string().contains("point before"));
    assert!(refused(&[[0.1, 0.1], [0.2, 0.3], [0.4, 0.1], [0.1, 0.1]]).in_no_rule().to_string().contains("next point"));
    assert!(refused(&[[0.1, 0.1], [0.5, 0.1], [0.3, 0.1]]).in_no_rule().to_string().contains("cross themselves"));
    assert!(refused(&[[0.1, 0.1], [0.9, 0.1], [0.5, 0.1001]]).in_no_rule().to_string().contains("enclose"));
    // A side through a corner.
    assert!(
        Zone::new(ZoneId::new("z").unwrap(), &[[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.5, 0.1], [0.1, 0.9]]).is_err()
    );
    let spiral = [[0.1, 0.5], [0.9, 0.5], [0.5, 0.9], [0.5, 0.1]];
    assert!(Line::new(ZoneId::new("l").unwrap(), &spiral).is_err());
}

proptest! {
    /// A way that is walked in two steps passes as often as in one.
    #[test]
    fn splitting_a_way_splits_its_passages(
        a in prop::array::uniform2(0f64..1.0), b in prop::array::uniform2(0f64..1.0), share in 0f64..=1.0,
    ) {
        let bent = line(&[[0.1, 0.6], [0.4, 0.3], [0.6, 0.7], [0.95, 0.5]]);
        let net = |from, to| bent.passage(from, to).map_or(0, |passage| passage.net);
        let (a, b) = (p(a[0], a[1]), p(b[0], b[1]));
        let middle = between(a, b, share);
        prop_assert_eq!(net(a, b), net(a, middle) + net(middle, b));
        prop_assert_eq!(net(a, b), -net(b, a));
    }

    /// Inside and outside are told apart by the border between them.
    #[test]
    fn the_border_lies_between_inside_and_outside(
        a in prop::array::uniform2(0f64..1.0), b in prop::array::uniform2(0f64..1.0),
    ) {
        let field = zone(&[[0.2, 0.2], [0.8, 0.3], [0.6, 0.5], [0.7, 0.9], [0.1, 0.8]]);
        let (a, b) = (p(a[0], a[1]), p(b[0], b[1]));
        if field.contains(a) != field.contains(b) {
            let at = between(a, b, field.border(a, b));
            prop_assert!(field.distance(at, 1.0) < 1e-9);
        }
    }

    /// A ring around a point is simple, whatever its corners.
    #[test]
    fn stars_are_taken(radii in prop::collection::vec(0.05f64..0.45, 5..20)) {
        let corner = |(index, radius): (usize, &f64)| {
            let (sin, cos) = (index as f64 / radii.len() as f64 * std::f64::consts::TAU).sin_cos();
            [0.5 + radius * cos, 0.5 + radius * sin]
        };
        let ring: Vec<[f64; 2]> = radii.iter().enumerate().map(corner).collect();
        prop_assert!(zone(&ring).contains(p(0.5, 0.5)));
    }
}
