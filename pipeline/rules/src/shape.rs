//! Lines and zones in the picture: who passes them, who is inside, how far away.
//!
//! Points are shares of the picture. Whether ways meet and what is inside does not depend on the picture's shape;
//! distances do, and are told in picture widths, so `aspect` (height over width) goes with them.

use vigil_base::{PointNorm, ZoneId};

use crate::config::Fault;

/// Most points of a line or zone; a street corner needs ten.
pub const MAX_POINTS: usize = 64;
/// Shortest piece of a line or side of a zone, picture widths: two pixels of 1080p. A shorter one has no direction.
const MIN_PIECE: f64 = 0.001;
/// Smallest zone, share of the picture: 20 by 10 pixels of 1080p. No foot is ever seen in a smaller one.
const MIN_AREA: f64 = 0.0001;

/// Picture widths between two points.
pub(crate) fn distance(a: PointNorm, b: PointNorm, aspect: f64) -> f64 {
    (b.x - a.x).hypot((b.y - a.y) * aspect)
}

/// The point at `share` of the straight way.
pub(crate) fn between(a: PointNorm, b: PointNorm, share: f64) -> PointNorm {
    PointNorm::new(a.x + (b.x - a.x) * share, a.y + (b.y - a.y) * share)
}

/// A polyline with a direction.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub id: ZoneId,
    points: Vec<PointNorm>,
}

/// A straight way passed a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Passage {
    /// Times to the right less times to the left, seen along the line; not zero.
    pub net: i32,
    /// Where on the way it last passed so, 0..1.
    pub share: f64,
}

impl Line {
    pub(crate) fn new(id: ZoneId, points: &[[f64; 2]]) -> Result<Self, Fault> {
        let points = checked_points(points, 2)?;
        let pieces: Vec<_> = points.windows(2).map(|p| (p[0], p[1])).collect();
        check_simple(&pieces, false)?;
        Ok(Self { id, points })
    }

    /// How the straight way passes the line; `None` where it does not, or there and back again.
    pub(crate) fn passage(&self, from: PointNorm, to: PointNorm) -> Option<Passage> {
        let (mut net, mut right, mut left) = (0, 0.0_f64, 0.0_f64);
        for piece in self.points.windows(2) {
            if let Some(Meeting { to_the_right, share }) = meet((piece[0], piece[1]), from, to) {
                net += if to_the_right { 1 } else { -1 };
                let last = if to_the_right { &mut right } else { &mut left };
                *last = last.max(share);
            }
        }
        (net != 0).then_some(Passage { net, share: if net > 0 { right } else { left } })
    }

    /// Picture widths from the line.
    pub(crate) fn distance(&self, at: PointNorm, aspect: f64) -> f64 {
        let nearest = |nearest: f64, piece: &[PointNorm]| nearest.min(to_piece(piece[0], piece[1], at, aspect));
        self.points.windows(2).fold(f64::INFINITY, nearest)
    }
}

/// A simple polygon.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Zone {
    pub id: ZoneId,
    points: Vec<PointNorm>,
    low: PointNorm,
    high: PointNorm,
}

impl Zone {
    pub(crate) fn new(id: ZoneId, points: &[[f64; 2]]) -> Result<Self, Fault> {
        let points = checked_points(points, 3)?;
        let zone = Self { low: fold(&points, f64::min), high: fold(&points, f64::max), id, points };
        let sides: Vec<_> = zone.sides().collect();
        if let Some(index) = sides.iter().position(|(a, b)| distance(*a, *b, 1.0) < MIN_PIECE) {
            return Err(Fault::at(format!("points[{index}]"), "is where the next point is; leave one of them out"));
        }
        check_simple(&sides, true)?;
        let area = zone.area();
        if area < MIN_AREA {
            return Err(Fault::at("points", format!("enclose {area:.6} of the picture; {MIN_AREA} is the least")));
        }
        Ok(zone)
    }

    /// Corners in order.
    pub(crate) fn points(&self) -> &[PointNorm] {
        &self.points
    }

    /// Share of the picture.
    pub(crate) fn area(&self) -> f64 {
        self.sides().map(|(a, b)| a.x * b.y - b.x * a.y).sum::<f64>().abs() / 2.0
    }

    /// Whether a point is inside, by the even-odd rule.
    pub(crate) fn contains(&self, at: PointNorm) -> bool {
        let near = at.x >= self.low.x && at.x <= self.high.x && at.y >= self.low.y && at.y <= self.high.y;
        near && self.sides().filter(|(a, b)| is_below_left(*a, *b, at)).count() % 2 == 1
    }

    /// Picture widths from the zone's border.
    pub(crate) fn distance(&self, at: PointNorm, aspect: f64) -> f64 {
        self.sides().fold(f64::INFINITY, |nearest, (a, b)| nearest.min(to_piece(a, b, at, aspect)))
    }

    /// Where on the straight way the border is passed for the last time, 0..1; its end where rounding hides it.
    pub(crate) fn border(&self, from: PointNorm, to: PointNorm) -> f64 {
        let shares = self.sides().filter_map(|side| meet(side, from, to)).map(|meeting| meeting.share);
        shares.reduce(f64::max).unwrap_or(1.0)
    }

    fn sides(&self) -> impl Iterator<Item = (PointNorm, PointNorm)> {
        let next = self.points.iter().cycle().skip(1);
        self.points.iter().copied().zip(next.copied())
    }
}

type Piece = (PointNorm, PointNorm);

struct Meeting {
    to_the_right: bool,
    share: f64,
}

/// How the way from `from` to `to` passes a straight piece. A point on the piece's straight line counts as to its
/// right, so that of two ways that share it only one passes, and so for the piece's ends.
fn meet(piece: Piece, from: PointNorm, to: PointNorm) -> Option<Meeting> {
    let (a, b) = (side_of(piece, from), side_of(piece, to));
    let ends = (side_of((from, to), piece.0) >= 0.0, side_of((from, to), piece.1) >= 0.0);
    if (a >= 0.0) == (b >= 0.0) || ends.0 == ends.1 {
        return None;
    }
    Some(Meeting { to_the_right: b >= 0.0, share: (a / (a - b)).clamp(0.0, 1.0) })
}

/// Above zero to the right of somebody who walks along the piece; y runs down.
fn side_of((start, end): Piece, at: PointNorm) -> f64 {
    (end.x - start.x) * (at.y - start.y) - (end.y - start.y) * (at.x - start.x)
}

/// Whether a ray from `at` to the right meets the side.
fn is_below_left(a: PointNorm, b: PointNorm, at: PointNorm) -> bool {
    (a.y > at.y) != (b.y > at.y) && at.x < a.x + (at.y - a.y) / (b.y - a.y) * (b.x - a.x)
}

fn to_piece(a: PointNorm, b: PointNorm, at: PointNorm, aspect: f64) -> f64 {
    let (dx, dy) = (b.x - a.x, (b.y - a.y) * aspect);
    let (px, py) = (at.x - a.x, (at.y - a.y) * aspect);
    let share = ((px * dx + py * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
    (px - share * dx).hypot(py - share * dy)
}

fn fold(points: &[PointNorm], pick: fn(f64, f64) -> f64) -> PointNorm {
    let first = points[0];
    points.iter().fold(first, |so_far, p| PointNorm::new(pick(so_far.x, p.x), pick(so_far.y, p.y)))
}

fn checked_points(points: &[[f64; 2]], least: usize) -> Result<Vec<PointNorm>, Fault> {
    if !(least..=MAX_POINTS).contains(&points.len()) {
        return Err(Fault::at("points", format!("are {}; {least} to {MAX_POINTS} are taken", points.len())));
    }
    let points: Vec<PointNorm> = points.iter().map(|[x, y]| PointNorm::new(*x, *y)).collect();
    for (index, point) in points.iter().enumerate() {
        if !point.is_valid() {
            let problem = "is outside the picture: both numbers must be within 0 and 1";
            return Err(Fault::at(format!("points[{index}]"), problem));
        }
        if index > 0 && distance(points[index - 1], *point, 1.0) < MIN_PIECE {
            return Err(Fault::at(format!("points[{index}]"), "is where the point before is; leave one of them out"));
        }
    }
    Ok(points)
}

/// No piece may touch another but where one begins that the other ends at.
fn check_simple(pieces: &[Piece], closed: bool) -> Result<(), Fault> {
    for (i, a) in pieces.iter().enumerate() {
        for (j, b) in pieces.iter().enumerate().skip(i + 1) {
            let follows = j == i + 1;
            let wraps = closed && i == 0 && j == pieces.len() - 1;
            let bad = if follows {
                folds_back(*a, *b)
            } else if wraps {
                folds_back(*b, *a)
            } else {
                touch(*a, *b)
            };
            if bad {
                let problem = format!("cross themselves: the piece after point {i} and the one after point {j} touch");
                return Err(Fault::at("points", problem));
            }
        }
    }
    Ok(())
}

/// Whether `b`, which begins where `a` ends, runs back over it.
fn folds_back(a: Piece, b: Piece) -> bool {
    let (ax, ay, bx, by) = (a.1.x - a.0.x, a.1.y - a.0.y, b.1.x - b.0.x, b.1.y - b.0.y);
    side_of(a, b.1) == 0.0 && ax * bx + ay * by < 0.0
}

fn touch(a: Piece, b: Piece) -> bool {
    let (b0, b1, a0, a1) = (side_of(a, b.0), side_of(a, b.1), side_of(b, a.0), side_of(b, a.1));
    if b0 * b1 < 0.0 && a0 * a1 < 0.0 {
        return true;
    }
    // An end of one lies on the other.
    let on = |side: f64, piece: Piece, at: PointNorm| {
        let within = |v: f64, a: f64, b: f64| v >= a.min(b) && v <= a.max(b);
        side == 0.0 && within(at.x, piece.0.x, piece.1.x) && within(at.y, piece.0.y, piece.1.y)
    };
    on(b0, a, b.0) || on(b1, a, b.1) || on(a0, b, a.0) || on(a1, b, a.1)
}

#[cfg(test)]
mod tests;
