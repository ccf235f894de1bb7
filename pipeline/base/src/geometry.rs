//! Boxes, points and polygons, each in a named coordinate frame.

use serde::{Deserialize, Serialize};

/// Width and height of a picture in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Size {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

impl Size {
    /// A picture's size in pixels.
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// A box in shares of the picture: 0..1, origin top-left, x right, y down.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct BoxNorm {
    /// Left edge.
    pub left: f32,
    /// Top edge.
    pub top: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
}

/// A box in pixels; may reach beyond the picture.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct BoxPx {
    /// Left edge.
    pub left: f32,
    /// Top edge.
    pub top: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
}

impl BoxPx {
    /// A box from its left, top, width and height.
    pub const fn new(left: f32, top: f32, width: f32, height: f32) -> Self {
        Self { left, top, width, height }
    }

    /// Right edge.
    pub fn right(&self) -> f32 {
        self.left + self.width
    }

    /// Bottom edge.
    pub fn bottom(&self) -> f32 {
        self.top + self.height
    }

    /// Square pixels; zero for an empty box.
    pub fn area(&self) -> f32 {
        self.width.max(0.0) * self.height.max(0.0)
    }

    /// Centre, x then y.
    pub fn centre(&self) -> (f32, f32) {
        (self.left + self.width / 2.0, self.top + self.height / 2.0)
    }

    /// Intersection over union, 0..1.
    pub fn iou(&self, other: &Self) -> f32 {
        let width = self.right().min(other.right()) - self.left.max(other.left);
        let height = self.bottom().min(other.bottom()) - self.top.max(other.top);
        if width <= 0.0 || height <= 0.0 {
            return 0.0;
        }
        let shared = width * height;
        shared / (self.area() + other.area() - shared)
    }

    /// The part inside a picture of `size`.
    #[must_use]
    pub fn clamp(&self, size: Size) -> Self {
        let (width, height) = (size.width as f32, size.height as f32);
        // max and min, not clamp: they pass a NaN over, and a box with one becomes empty instead of a panic.
        let (left, top) = (self.left.max(0.0).min(width), self.top.max(0.0).min(height));
        let (right, bottom) = (self.right().max(left).min(width), self.bottom().max(top).min(height));
        Self::new(left, top, right - left, bottom - top)
    }

    /// The same box in shares of a picture of `size`, cut to the picture.
    pub fn normalise(&self, size: Size) -> BoxNorm {
        let (width, height) = (size.width.max(1) as f32, size.height.max(1) as f32);
        let inside = self.clamp(size);
        BoxNorm {
            left: inside.left / width,
            top: inside.top / height,
            width: inside.width / width,
            height: inside.height / height,
        }
    }
}

impl BoxNorm {
    /// The same box in pixels of a picture of `size`.
    pub fn to_px(&self, size: Size) -> BoxPx {
        let (width, height) = (size.width as f32, size.height as f32);
        BoxPx::new(self.left * width, self.top * height, self.width * width, self.height * height)
    }

    /// Where the object stands on the ground: the middle of its lower edge.
    pub fn foot(&self) -> PointNorm {
        let (left, width) = (f64::from(self.left), f64::from(self.width));
        PointNorm::new(left + width / 2.0, f64::from(self.top) + f64::from(self.height))
    }

    /// Whether every side is a number within 0..1 and the box lies inside the picture (to a rounding error).
    pub fn is_valid(&self) -> bool {
        const SLACK: f32 = 1e-3;
        let sides = [self.left, self.top, self.width, self.height, self.left + self.width, self.top + self.height];
        sides.iter().all(|v| v.is_finite() && (-SLACK..=1.0 + SLACK).contains(v))
    }

    /// Centre, x then y.
    pub fn centre(&self) -> (f32, f32) {
        (self.left + self.width / 2.0, self.top + self.height / 2.0)
    }
}

/// A point in shares of the picture: 0..1, origin top-left, x right, y down.
///
/// In double precision: a place far away on the ground hangs on the last digits ([`crate::GroundPlane`]).
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct PointNorm {
    /// From the left edge.
    pub x: f64,
    /// From the top edge.
    pub y: f64,
}

impl PointNorm {
    /// A point; whether it lies in the picture is not checked.
    pub const fn new(x: f64, y: f64) -> Self {
        Self { x, y }
    }

    /// Whether both shares are numbers within 0..1.
    pub fn is_valid(&self) -> bool {
        (0.0..=1.0).contains(&self.x) && (0.0..=1.0).contains(&self.y)
    }
}

/// A point on the earth: WGS 84 degrees.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeoPoint {
    /// Degrees north, -90..90.
    pub latitude: f64,
    /// Degrees east, -180..180.
    pub longitude: f64,
}

impl GeoPoint {
    /// A point, when both degrees are within range.
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        ((-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude))
            .then_some(Self { latitude, longitude })
    }
}

/// Most corners a polygon may have.
pub const MAX_POLYGON_POINTS: usize = 256;

/// A ring of points; the last is joined to the first. Does not cross the 180th meridian.
#[derive(Debug, Clone, PartialEq)]
pub struct Polygon {
    points: Vec<GeoPoint>,
}

impl Polygon {
    /// A ring of 3 to [`MAX_POLYGON_POINTS`] points.
    pub fn new(points: Vec<GeoPoint>) -> Option<Self> {
        (3..=MAX_POLYGON_POINTS).contains(&points.len()).then_some(Self { points })
    }

    /// The corners.
    pub fn points(&self) -> &[GeoPoint] {
        &self.points
    }

    /// Whether `point` lies inside, by the even-odd rule on plain degrees.
    pub fn contains(&self, point: GeoPoint) -> bool {
        let mut inside = false;
        let mut previous = self.points[self.points.len() - 1];
        for &corner in &self.points {
            let crosses = (corner.latitude > point.latitude) != (previous.latitude > point.latitude);
            if crosses {
                let share = (point.latitude - corner.latitude) / (previous.latitude - corner.latitude);
                let at = corner.longitude + share * (previous.longitude - corner.longitude);
                inside ^= point.longitude < at;
            }
            previous = corner;
        }
        inside
    }

    /// South-west and north-east corners of the smallest upright rectangle around it.
    pub fn bounds(&self) -> (GeoPoint, GeoPoint) {
        let mut low = self.points[0];
        let mut high = self.points[0];
        for p in &self.points {
            low.latitude = low.latitude.min(p.latitude);
            low.longitude = low.longitude.min(p.longitude);
            high.latitude = high.latitude.max(p.latitude);
            high.longitude = high.longitude.max(p.longitude);
        }
        (low, high)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn iou_of_known_boxes() {
        let a = BoxPx::new(0.0, 0.0, 10.0, 10.0);
        assert_eq!(a.iou(&a), 1.0);
        assert_eq!(a.iou(&BoxPx::new(5.0, 0.0, 10.0, 10.0)), 50.0 / 150.0);
        assert_eq!(a.iou(&BoxPx::new(10.0, 0.0, 10.0, 10.0)), 0.0);
        assert_eq!(BoxPx::default().iou(&BoxPx::default()), 0.0);
    }

    #[test]
    fn latitude_and_longitude_are_not_swapped() {
        let at = |latitude, longitude| GeoPoint { latitude, longitude };
        let berlin = Polygon::new(vec![at(52.3, 13.0), at(52.3, 13.8), at(52.7, 13.8), at(52.7, 13.0)]).unwrap();
        assert!(berlin.contains(at(52.52, 13.40)));
        assert!(!berlin.contains(at(13.40, 52.52)));
        assert!(GeoPoint::new(13.4, 152.0).is_some() && GeoPoint::new(152.0, 13.4).is_none());
    }

    #[test]
    fn a_box_with_a_number_that_is_none_is_not_valid() {
        assert!(!BoxNorm { left: f32::NAN, ..BoxNorm::default() }.is_valid());
        assert!(!BoxNorm { left: 0.9, width: 0.2, ..BoxNorm::default() }.is_valid());
        assert_eq!(BoxPx::new(f32::NAN, 0.0, 20.0, 20.0).clamp(Size::new(640, 480)).area(), 0.0);
    }

    proptest! {
        #[test]
        fn normalised_boxes_are_valid_and_come_back(
            left in -50f32..700.0, top in -50f32..500.0, width in 0f32..900.0, height in 0f32..900.0,
        ) {
            let size = Size::new(640, 480);
            let px = BoxPx::new(left, top, width, height);
            let norm = px.normalise(size);
            prop_assert!(norm.is_valid());
            let (back, inside) = (norm.to_px(size), px.clamp(size));
            prop_assert!((back.left - inside.left).abs() < 0.01 && (back.width - inside.width).abs() < 0.01);
        }

        #[test]
        fn iou_is_symmetric_and_bounded(
            a in prop::array::uniform4(0f32..100.0), b in prop::array::uniform4(0f32..100.0),
        ) {
            let (a, b) = (BoxPx::new(a[0], a[1], a[2], a[3]), BoxPx::new(b[0], b[1], b[2], b[3]));
            prop_assert!((0.0..=1.0001).contains(&a.iou(&b)));
            prop_assert_eq!(a.iou(&b), b.iou(&a));
        }
    }
}
