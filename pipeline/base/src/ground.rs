//! The ground as a calibrated camera sees it: from a place in the picture to metres on the ground, and to the map.
//!
//! A lens without distortion shows a plane through a homography. It is estimated from marks, places whose position is
//! known both in the picture and on the ground, by the normalised direct linear transform (Hartley and Zisserman,
//! *Multiple View Geometry in Computer Vision*, 2nd edition, 2003, algorithm 4.2, with the inhomogeneous solution of
//! section 4.1.2): exactly through four marks, by least squares through more.
//!
//! What it cannot know: whether the ground is flat, whether the lens bends lines, and whether an object stands on the
//! ground where its box ends.

use serde::Deserialize;

use crate::{GeoPoint, PointNorm};

/// Fewest marks: a homography has eight degrees of freedom, a mark gives two.
pub const MIN_MARKS: usize = 4;
/// Most marks. More than a person clicks gain nothing.
pub const MAX_MARKS: usize = 16;
/// Farthest a mark may lie from the middle of all, metres: beyond, the earth is not flat enough and no camera is sharp.
const MAX_EXTENT: f64 = 5_000.0;
/// Metres on the ground per picture height (or width) above which a place is not told: a pixel of 1080 rows then stands
/// for a metre, and a box that trembles by two pixels for the stride of a runner.
const MAX_STRETCH: f64 = 1_000.0;
/// Smallest pivot of the normalised equations. Three marks in a row give 1e-16; one that is off their line by a
/// thousandth of the marks' extent, 1e-6.
const MIN_PIVOT: f64 = 1e-6;
/// More than four marks must agree this well, as a share of their extent: a click is off by less, a mistyped metre by
/// more.
const MAX_RESIDUAL: f64 = 0.05;
/// WGS 84 semi-major axis, metres.
const EARTH_RADIUS: f64 = 6_378_137.0;
/// WGS 84 first eccentricity, squared.
const ECCENTRICITY_SQUARED: f64 = 6.694_379_990_14e-3;

/// A place whose position is known in the picture and on the ground, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawMark {
    /// Shares of the picture: x, y.
    pub picture: [f64; 2],
    /// Metres on the ground from some corner: to the right, ahead. Either this or `location`, in all marks the same.
    pub metres: Option<[f64; 2]>,
    /// On the map.
    pub location: Option<GeoPoint>,
}

/// A place on the ground, metres from an origin that is the plane's own: x to the east and y to the north where the
/// marks are on the map, else as in the marks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroundPoint {
    /// Metres.
    pub x: f64,
    /// Metres.
    pub y: f64,
}

impl GroundPoint {
    /// Metres between two places.
    pub fn distance(self, other: Self) -> f64 {
        (self.x - other.x).hypot(self.y - other.y)
    }
}

/// Marks do not make a ground plane.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GroundError {
    /// Too few or too many.
    #[error("has {0} marks; {MIN_MARKS} to {MAX_MARKS} are taken")]
    Count(usize),
    /// One that says no place, or one outside.
    #[error("mark {index} {problem}")]
    Mark {
        /// From 0.
        index: usize,
        /// What is wrong with it and what to do.
        problem: &'static str,
    },
    /// Three of four stand in one line, or two at one place.
    #[error("the marks lie too nearly in one line; spread them over the ground")]
    InLine,
    /// The picture of one mark is beyond the horizon of the others, or the map is seen in a mirror.
    #[error("the marks turn the ground over; two of them are swapped, or one is far off")]
    Swapped,
    /// More than four that contradict each other.
    #[error("mark {index} is {metres:.1} m away from where the others put it")]
    Residual {
        /// The worst one, from 0.
        index: usize,
        /// How far off.
        metres: f64,
    },
}

/// A calibrated camera's ground.
#[derive(Debug, Clone, PartialEq)]
pub struct GroundPlane {
    /// From the picture (x, y, 1) to the ground (x w, y w, w); w is above zero below the horizon.
    matrix: Matrix,
    /// Where the ground's origin is on the map.
    origin: Option<GeoPoint>,
    residual: f64,
}

type Matrix = [[f64; 3]; 3];

impl GroundPlane {
    /// The plane through 4 to 16 marks.
    ///
    /// # Errors
    /// The marks are none, or do not determine a plane.
    pub fn from_marks(marks: &[RawMark]) -> Result<Self, GroundError> {
        if !(MIN_MARKS..=MAX_MARKS).contains(&marks.len()) {
            return Err(GroundError::Count(marks.len()));
        }
        let origin = map_origin(marks)?;
        let mut picture = Vec::with_capacity(marks.len());
        let mut ground = Vec::with_capacity(marks.len());
        for (index, mark) in marks.iter().enumerate() {
            let at = |problem| GroundError::Mark { index, problem };
            let [x, y] = mark.picture;
            if !PointNorm::new(x, y).is_valid() {
                return Err(at("is outside the picture: picture must be two numbers within 0 and 1"));
            }
            let place = mark_place(mark, origin).map_err(at)?;
            picture.push((x, y));
            ground.push((place.x, place.y));
        }
        let (from, to) = (Normaliser::of(&picture), Normaliser::of(&ground));
        let normalised = solve_dlt(&from.all(&picture), &to.all(&ground)).ok_or(GroundError::InLine)?;
        if determinant(&normalised).abs() < MIN_PIVOT {
            return Err(GroundError::InLine);
        }
        let matrix = product(&to.backward(), &product(&normalised, &from.forward()));
        let matrix = facing(matrix, &picture).ok_or(GroundError::Swapped)?;
        if origin.is_some() && keeps_orientation(&matrix, picture[0]) {
            // The picture's y runs down and the map's up, so seen from above the ground must be mirrored here.
            return Err(GroundError::Swapped);
        }
        let mut plane = Self { matrix, origin, residual: 0.0 };
        plane.residual = plane.check_residual(&picture, &ground, 1.0 / to.scale)?;
        Ok(plane)
    }

    /// Where on the ground a point of the picture is; `None` at, above and just below the horizon, where a pixel stands
    /// for more than a metre.
    pub fn locate(&self, at: PointNorm) -> Option<GroundPoint> {
        let [x, y, w] = apply(&self.matrix, (at.x, at.y));
        if w <= 0.0 || self.stretch(at) > MAX_STRETCH {
            return None;
        }
        Some(GroundPoint { x: x / w, y: y / w })
    }

    /// Root mean square error in metres of a place, when its point in the picture has so much error (standard deviations
    /// across and down, shares of the picture): to first order, through the Jacobian of the homography. `None` as in
    /// [`GroundPlane::locate`].
    pub fn error_at(&self, at: PointNorm, sigma: (f64, f64)) -> Option<f64> {
        self.locate(at)?;
        Some((self.column(at, 0) * sigma.0).hypot(self.column(at, 1) * sigma.1))
    }

    /// Where on the map a point of the picture is; `None` also where the marks are in metres.
    pub fn locate_on_map(&self, at: PointNorm) -> Option<GeoPoint> {
        let (origin, place) = (self.origin?, self.locate(at)?);
        let (north, east) = metres_per_degree(origin.latitude);
        GeoPoint::new(origin.latitude + place.y / north, origin.longitude + place.x / east)
    }

    /// Square metres within a simple polygon of the picture; `None` where it reaches beyond what
    /// [`GroundPlane::locate`] tells.
    pub fn area(&self, corners: &[PointNorm]) -> Option<f64> {
        let places: Vec<GroundPoint> = corners.iter().map(|corner| self.locate(*corner)).collect::<Option<_>>()?;
        let mut doubled = 0.0;
        for (index, a) in places.iter().enumerate() {
            let b = places[(index + 1) % places.len()];
            doubled += a.x * b.y - b.x * a.y;
        }
        Some(doubled.abs() / 2.0)
    }

    /// Root mean square distance of the marks from where the plane puts them, metres; zero for four.
    pub fn residual(&self) -> f64 {
        self.residual
    }

    /// Metres on the ground per picture height or width, whichever is more: the larger column of the Jacobian.
    fn stretch(&self, at: PointNorm) -> f64 {
        self.column(at, 0).max(self.column(at, 1))
    }

    /// Metres on the ground per picture width (0) or height (1): the length of the Jacobian's column.
    fn column(&self, at: PointNorm, i: usize) -> f64 {
        let ([x, y, w], m) = (apply(&self.matrix, (at.x, at.y)), &self.matrix);
        let dx = (m[0][i] * w - x * m[2][i]) / (w * w);
        let dy = (m[1][i] * w - y * m[2][i]) / (w * w);
        dx.hypot(dy)
    }

    fn check_residual(&self, picture: &[Pair], ground: &[Pair], extent: f64) -> Result<f64, GroundError> {
        let (mut sum, mut worst) = (0.0, (0, 0.0));
        for (index, (&from, &to)) in picture.iter().zip(ground).enumerate() {
            let [x, y, w] = apply(&self.matrix, from);
            let metres = (x / w - to.0).hypot(y / w - to.1);
            sum += metres * metres;
            if metres > worst.1 {
                worst = (index, metres);
            }
        }
        if worst.1 > MAX_RESIDUAL * extent {
            return Err(GroundError::Residual { index: worst.0, metres: worst.1 });
        }
        Ok((sum / picture.len() as f64).sqrt())
    }
}

type Pair = (f64, f64);

/// The middle of marks that are on the map; none where the first is in metres.
fn map_origin(marks: &[RawMark]) -> Result<Option<GeoPoint>, GroundError> {
    let points: Vec<GeoPoint> = marks.iter().filter_map(|mark| mark.location).collect();
    let outside = |point: &GeoPoint| GeoPoint::new(point.latitude, point.longitude).is_none();
    if let Some(index) = marks.iter().position(|mark| mark.location.as_ref().is_some_and(outside)) {
        return Err(GroundError::Mark { index, problem: "is not on the earth: latitude -90..90, longitude -180..180" });
    }
    let mean = |value: fn(&GeoPoint) -> f64| points.iter().map(value).sum::<f64>() / points.len().max(1) as f64;
    Ok((!points.is_empty()).then(|| GeoPoint { latitude: mean(|p| p.latitude), longitude: mean(|p| p.longitude) }))
}

fn mark_place(mark: &RawMark, origin: Option<GeoPoint>) -> Result<GroundPoint, &'static str> {
    let place = match (mark.metres, mark.location, origin) {
        (Some([x, y]), None, None) => GroundPoint { x, y },
        (None, Some(point), Some(origin)) => {
            let (north, east) = metres_per_degree(origin.latitude);
            let x = (point.longitude - origin.longitude) * east;
            GroundPoint { x, y: (point.latitude - origin.latitude) * north }
        }
        (None, None, _) => return Err("says no place on the ground: give metres or location"),
        _ => return Err("mixes metres and location: give the same one in all marks, and only one"),
    };
    if place.x.hypot(place.y) <= MAX_EXTENT { Ok(place) } else { Err("is more than 5 km away on the ground") }
}

/// Metres that a degree of latitude and one of longitude span, from the ellipsoid's two radii of curvature.
fn metres_per_degree(latitude: f64) -> Pair {
    let (sin, cos) = latitude.to_radians().sin_cos();
    let flat = 1.0 - ECCENTRICITY_SQUARED * sin * sin;
    let meridian = EARTH_RADIUS * (1.0 - ECCENTRICITY_SQUARED) / flat.powf(1.5);
    let across = EARTH_RADIUS / flat.sqrt() * cos;
    // At the poles a degree of longitude spans nothing; a metre keeps the division sane.
    (meridian.to_radians(), across.to_radians().max(1.0))
}

/// Moves points to their centroid and scales them to a mean distance of the root of two (Hartley and Zisserman, 4.4.4).
struct Normaliser {
    centre: Pair,
    scale: f64,
}

impl Normaliser {
    fn of(points: &[Pair]) -> Self {
        let count = points.len() as f64;
        let sum = points.iter().fold((0.0, 0.0), |sum, p| (sum.0 + p.0, sum.1 + p.1));
        let centre = (sum.0 / count, sum.1 / count);
        let mean = points.iter().map(|p| (p.0 - centre.0).hypot(p.1 - centre.1)).sum::<f64>() / count;
        // All points at one place: any scale does, the equations will turn out singular.
        Self { centre, scale: if mean > 0.0 { std::f64::consts::SQRT_2 / mean } else { 1.0 } }
    }

    fn all(&self, points: &[Pair]) -> Vec<Pair> {
        points.iter().map(|p| ((p.0 - self.centre.0) * self.scale, (p.1 - self.centre.1) * self.scale)).collect()
    }

    fn forward(&self) -> Matrix {
        let s = self.scale;
        [[s, 0.0, -s * self.centre.0], [0.0, s, -s * self.centre.1], [0.0, 0.0, 1.0]]
    }

    fn backward(&self) -> Matrix {
        let s = 1.0 / self.scale;
        [[s, 0.0, self.centre.0], [0.0, s, self.centre.1], [0.0, 0.0, 1.0]]
    }
}

/// The homography with its last element one that takes `from` to `to`, in the least squares of the linear equations.
///
/// The last element is zero only where the centroid lies on the horizon, which marks on the ground never give.
fn solve_dlt(from: &[Pair], to: &[Pair]) -> Option<Matrix> {
    let mut system = [[0.0; 9]; 8];
    let mut add = |row: [f64; 9]| {
        for (i, out) in system.iter_mut().enumerate() {
            for (j, cell) in out.iter_mut().enumerate() {
                *cell += row[i] * row[j];
            }
        }
    };
    for (&(x, y), &(u, v)) in from.iter().zip(to) {
        add([x, y, 1.0, 0.0, 0.0, 0.0, -u * x, -u * y, u]);
        add([0.0, 0.0, 0.0, x, y, 1.0, -v * x, -v * y, v]);
    }
    let h = eliminate(system)?;
    Some([[h[0], h[1], h[2]], [h[3], h[4], h[5]], [h[6], h[7], 1.0]])
}

/// Solves eight equations by elimination with row pivoting; `None` where they do not determine the unknowns.
fn eliminate(mut rows: [[f64; 9]; 8]) -> Option<[f64; 8]> {
    for column in 0..8 {
        let pivot = (column..8).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()))?;
        rows.swap(column, pivot);
        if rows[column][column].abs() < MIN_PIVOT {
            return None;
        }
        let lead = rows[column];
        for row in rows.iter_mut().skip(column + 1) {
            let factor = row[column] / lead[column];
            for (cell, above) in row.iter_mut().zip(lead).skip(column) {
                *cell -= factor * above;
            }
        }
    }
    let mut solution = [0.0; 8];
    for row in (0..8).rev() {
        let known: f64 = (row + 1..8).map(|column| rows[row][column] * solution[column]).sum();
        solution[row] = (rows[row][8] - known) / rows[row][row];
    }
    Some(solution)
}

fn apply(m: &Matrix, (x, y): Pair) -> [f64; 3] {
    [0, 1, 2].map(|i| m[i][0] * x + m[i][1] * y + m[i][2])
}

fn product(a: &Matrix, b: &Matrix) -> Matrix {
    [0, 1, 2].map(|i| [0, 1, 2].map(|j| (0..3).map(|k| a[i][k] * b[k][j]).sum()))
}

fn determinant(m: &Matrix) -> f64 {
    m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
        + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
}

/// The same homography with all points below the horizon; `None` where the horizon runs between them.
fn facing(matrix: Matrix, points: &[Pair]) -> Option<Matrix> {
    let depths: Vec<f64> = points.iter().map(|&point| apply(&matrix, point)[2]).collect();
    if depths.iter().all(|w| *w > 0.0) {
        Some(matrix)
    } else if depths.iter().all(|w| *w < 0.0) {
        Some(matrix.map(|row| row.map(|cell| -cell)))
    } else {
        None
    }
}

/// Whether turning one way in the picture's numbers is turning the same way in the ground's: the sign of the Jacobian's
/// determinant, which is that of the matrix below the horizon.
fn keeps_orientation(matrix: &Matrix, at: Pair) -> bool {
    let w = apply(matrix, at)[2];
    determinant(matrix) / (w * w * w) > 0.0
}

#[cfg(test)]
mod tests;
