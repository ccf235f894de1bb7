//! One sighting of one object, as rules see it.

use vigil_base::{BoxPx, PointNorm, Size, TrackId};

use crate::config::Anchor;
use crate::moment::{Moment, Place};

/// How near the picture's edge a point may come, share of the picture. A foot at the very edge, or cut off below it,
/// must count as inside a zone that reaches the edge.
const EDGE: f64 = 1e-6;

/// A sighting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Seen {
    pub slot: usize,
    pub track: TrackId,
    pub class: u16,
    pub moment: Moment,
    pub foot: PointNorm,
    pub centre: PointNorm,
    /// Longer side of its box, picture widths.
    pub size: f64,
    /// Picture height over width.
    pub aspect: f64,
    /// It is of the rule's classes, sure and long enough.
    pub eligible: bool,
}

impl Seen {
    pub fn at(&self, anchor: Anchor) -> PointNorm {
        match anchor {
            Anchor::BottomCentre => self.foot,
            Anchor::Centre => self.centre,
        }
    }

    pub fn place(&self, anchor: Anchor) -> Place {
        Place { moment: self.moment, at: self.at(anchor) }
    }
}

/// Foot, centre and size of a box; `None` where it is none.
pub(crate) fn outline(bbox: BoxPx, size: Size) -> Option<(PointNorm, PointNorm, f64)> {
    let sides = [bbox.left, bbox.top, bbox.width, bbox.height];
    if !sides.iter().all(|side| side.is_finite()) {
        return None;
    }
    let (width, height) = (f64::from(size.width.max(1)), f64::from(size.height.max(1)));
    let inside = |share: f64| share.clamp(EDGE, 1.0 - EDGE);
    let (x, y) = bbox.centre();
    let x = inside(f64::from(x) / width);
    let foot = PointNorm::new(x, inside(f64::from(bbox.bottom()) / height));
    let centre = PointNorm::new(x, inside(f64::from(y) / height));
    Some((foot, centre, f64::from(bbox.width.max(bbox.height)).max(0.0) / width))
}

/// Height over width.
pub(crate) fn aspect(size: Size) -> f64 {
    f64::from(size.height.max(1)) / f64::from(size.width.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foot_below_the_picture_is_at_its_edge() {
        let (foot, centre, size) = outline(BoxPx::new(600.0, 300.0, 80.0, 240.0), Size::new(640, 480)).unwrap();
        assert!(foot.y < 1.0 && foot.y > 0.999 && foot.x < 1.0);
        assert_eq!((centre.y, size), (0.875, 0.375));
        assert!(outline(BoxPx::new(f32::NAN, 0.0, 1.0, 1.0), Size::new(640, 480)).is_none());
        assert!(outline(BoxPx::new(0.0, 0.0, 1.0, 1.0), Size::new(0, 0)).is_some());
    }
}
