//! Parts of a picture laid side by side on a canvas no larger than they need.
//!
//! A detector's cost goes with its canvas. The parts are cut from the picture at the very scale at which the whole would be
//! looked at, so objects have the size they always have; a few of them fill a third of the whole's canvas. In detail they are
//! cut at a larger one, at most the picture's own, as long as they cost less than the whole: small objects are then found. Regions of pictures
//! packed on one canvas: Gokarn et al., "MOSAIC", ACM Multimedia Systems 2023, there of several cameras.
//!
//! Boxes whose centre lies in a tile come back from it. A box that its tile cuts (it reaches the tile's border where the
//! picture goes on) says that something is larger than was expected: [`Mosaic::cuts`] tells.

use vigil_base::{BoxPx, Size};

use crate::Regions;
use crate::letterbox::Letterbox;
use crate::manifest::SIDE_STEP;

/// Canvas between two tiles, pixels: what the first layers blur over the border is padding and not the neighbour.
const GAP: u32 = 4;
/// Two regions become one where their hull is not larger than both by more than this factor: one tile has less border.
const MERGE: f32 = 1.05;
/// A mosaic is worth its while up to this share of the whole's canvas, 0..1: it sees less and has to be laid out.
const MOST_OF_WHOLE: f32 = 0.85;
/// Scales that are tried for detail, between the whole's (0) and the frame's own (1), in equal ratios.
const DETAIL: [f64; 3] = [1.0, 2.0 / 3.0, 1.0 / 3.0];
/// A box this near to a tile's border is cut by it, canvas pixels.
const CUT: f32 = 3.0;

/// A rectangle of the shrunken picture, and where it lies on the canvas. Canvas pixels, all even.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tile {
    /// Left edge in the shrunken picture.
    pub left: u32,
    /// Top edge in the shrunken picture.
    pub top: u32,
    pub width: u32,
    pub height: u32,
    /// Left edge on the canvas.
    pub x: u32,
    /// Top edge on the canvas.
    pub y: u32,
}

impl Tile {
    /// The whole picture, where its letterbox wants it.
    pub fn whole(fit: &Letterbox) -> Self {
        let Size { width, height } = fit.content;
        Self { left: 0, top: 0, width, height, x: fit.left, y: fit.top }
    }

    fn right(&self) -> u32 {
        self.left + self.width
    }

    fn bottom(&self) -> u32 {
        self.top + self.height
    }

    fn area(&self) -> f32 {
        (self.width * self.height) as f32
    }

    fn joined(&self, other: &Self) -> Self {
        let (left, top) = (self.left.min(other.left), self.top.min(other.top));
        let (width, height) = (self.right().max(other.right()) - left, self.bottom().max(other.bottom()) - top);
        Self { left, top, width, height, ..*self }
    }

    fn holds(&self, (x, y): (f32, f32)) -> bool {
        let (left, top) = (self.x as f32, self.y as f32);
        (left..left + self.width as f32).contains(&x) && (top..top + self.height as f32).contains(&y)
    }
}

/// How parts of one picture lie on a canvas. Kept from picture to picture for its buffers.
#[derive(Debug)]
pub(crate) struct Mosaic {
    pub tiles: Vec<Tile>,
    /// Both sides are multiples of [`SIDE_STEP`].
    pub canvas: Size,
    picture: Size,
    skyline: Vec<Step>,
}

/// A stretch of the canvas's width, and how far down it is taken.
#[derive(Debug, Clone, Copy)]
struct Step {
    x: u32,
    width: u32,
    y: u32,
}

impl Mosaic {
    /// With nothing laid yet.
    pub fn new() -> Self {
        let none = Size::new(0, 0);
        Self { tiles: Vec::new(), canvas: none, picture: none, skyline: Vec::new() }
    }

    /// Lays the regions (frame pixels) of a picture whose whole fits as `whole` says; at which scale. None where the whole
    /// costs hardly more.
    pub fn plan(&mut self, regions: &Regions, whole: &Letterbox) -> Option<Letterbox> {
        let most = ((whole.canvas.width * whole.canvas.height) as f32 * MOST_OF_WHOLE) as u32;
        let room = whole.room();
        let zooms = DETAIL.map(|share| room.powf(share)).into_iter().filter(|_| regions.is_in_detail());
        let scales = zooms.map(|zoom| whole.zoomed(zoom)).chain([*whole]);
        scales.into_iter().find(|fit| self.plan_at(regions, fit, most))
    }

    fn plan_at(&mut self, regions: &Regions, fit: &Letterbox, most: u32) -> bool {
        self.tiles.clear();
        self.picture = fit.content;
        self.tiles.extend(regions.boxes().iter().filter_map(|region| tile(region, fit)));
        self.merge();
        self.tiles.sort_unstable_by_key(|tile| (std::cmp::Reverse((tile.height, tile.width)), tile.left, tile.top));
        self.choose_canvas(fit.canvas, most)
    }

    /// The tile that a box on the canvas belongs to, and the box in the shrunken picture.
    pub fn to_picture(&self, on_canvas: &BoxPx) -> Option<(Tile, BoxPx)> {
        let tile = *self.tiles.iter().find(|tile| tile.holds(on_canvas.centre()))?;
        let (dx, dy) = (tile.left as f32 - tile.x as f32, tile.top as f32 - tile.y as f32);
        Some((tile, BoxPx { left: on_canvas.left + dx, top: on_canvas.top + dy, ..*on_canvas }))
    }

    /// Whether `tile` ends within the picture where `bbox` (shrunken picture's pixels) reaches its border.
    pub fn cuts(&self, tile: &Tile, bbox: &BoxPx) -> bool {
        let inner = |border: u32, end: u32| border > 0 && border < end;
        let Size { width, height } = self.picture;
        (inner(tile.left, width) && bbox.left < tile.left as f32 + CUT)
            || (inner(tile.top, height) && bbox.top < tile.top as f32 + CUT)
            || (inner(tile.right(), width) && bbox.right() > tile.right() as f32 - CUT)
            || (inner(tile.bottom(), height) && bbox.bottom() > tile.bottom() as f32 - CUT)
    }

    /// Joins tiles as long as that costs next to nothing.
    fn merge(&mut self) {
        let mut first = 0;
        while first < self.tiles.len() {
            let tile = self.tiles[first];
            let cheap = |other: &Tile| tile.joined(other).area() <= MERGE * (tile.area() + other.area());
            match (first + 1..self.tiles.len()).find(|&second| cheap(&self.tiles[second])) {
                Some(second) => {
                    self.tiles[first] = tile.joined(&self.tiles[second]);
                    self.tiles.swap_remove(second);
                    first = 0;
                }
                None => first += 1,
            }
        }
    }

    /// The smallest canvas of at most `most` pixels that holds all tiles, each width tried in turn.
    fn choose_canvas(&mut self, largest: Size, most: u32) -> bool {
        let Some(widest) = self.tiles.iter().map(|tile| tile.width).max() else { return false };
        let narrowest = widest.next_multiple_of(SIDE_STEP);
        let mut best: Option<Size> = None;
        for width in (narrowest..=largest.width).step_by(SIDE_STEP as usize) {
            let height = self.pack(width).next_multiple_of(SIDE_STEP);
            let fits = height <= largest.height && width * height <= most;
            if fits && best.is_none_or(|best| width * height < best.width * best.height) {
                best = Some(Size::new(width, height));
            }
        }
        let Some(canvas) = best else { return false };
        self.canvas = canvas;
        self.pack(canvas.width);
        true
    }

    /// Lays the tiles, highest first, each as far up as it goes (bottom-left on a skyline: Jylänki, "A thousand ways to pack
    /// the bin", 2010); returns the height they take.
    fn pack(&mut self, width: u32) -> u32 {
        self.skyline.clear();
        self.skyline.push(Step { x: 0, width, y: 0 });
        let mut taken = 0;
        for index in 0..self.tiles.len() {
            let Tile { width: wide, height: high, .. } = self.tiles[index];
            let places = (0..self.skyline.len()).filter_map(|at| Some((self.top_at(at, wide, width)?, at)));
            let (y, at) = places.min().expect("the canvas is as wide as the widest tile, so one lies at its left edge");
            let x = self.skyline[at].x;
            (self.tiles[index].x, self.tiles[index].y) = (x, y);
            self.cover(at, Step { x, width: (wide + GAP).min(width - x), y: y + high + GAP });
            taken = taken.max(y + high);
        }
        taken
    }

    /// How far up a tile of that width lies if it begins where step `at` does; none where it would stick out.
    fn top_at(&self, at: usize, wide: u32, width: u32) -> Option<u32> {
        let x = self.skyline[at].x;
        // With its gap, which the step that covers it takes, too.
        let below = self.skyline[at..].iter().take_while(|step| step.x < x + wide + GAP);
        (x + wide <= width).then(|| below.map(|step| step.y).max().unwrap_or(0))
    }

    /// Puts a step over those it hides.
    fn cover(&mut self, at: usize, new: Step) {
        let end = new.x + new.width;
        self.skyline.insert(at, new);
        let next = at + 1;
        while let Some(step) = self.skyline.get_mut(next).filter(|step| step.x < end) {
            if step.x + step.width <= end {
                self.skyline.remove(next);
            } else {
                step.width -= end - step.x;
                step.x = end;
            }
        }
    }
}

/// A region in the shrunken picture, grown to even numbers; none where it lies outside.
fn tile(region: &BoxPx, fit: &Letterbox) -> Option<Tile> {
    let across = fit.content.width as f32 / fit.frame.width as f32;
    let down = fit.content.height as f32 / fit.frame.height as f32;
    let inside = region.clamp(fit.frame);
    let low = |side: f32| (side / 2.0).floor() as u32 * 2;
    let high = |side: f32, end: u32| ((side / 2.0).ceil() as u32 * 2).min(end);
    let (left, top) = (low(inside.left * across), low(inside.top * down));
    let (right, bottom) =
        (high(inside.right() * across, fit.content.width), high(inside.bottom() * down, fit.content.height));
    let empty = right <= left || bottom <= top;
    (!empty).then(|| Tile { left, top, width: right - left, height: bottom - top, x: 0, y: 0 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Anchor;

    const LARGEST: Size = Size::new(544, 416);

    fn fit(width: u32, height: u32) -> Letterbox {
        Letterbox::fit(Size::new(width, height), LARGEST, Anchor::TopLeft, true)
    }

    fn plan(boxes: &[BoxPx], fit: &Letterbox) -> Option<Mosaic> {
        let mut mosaic = Mosaic::new();
        mosaic.plan(&Regions::of(boxes.iter().copied()), fit).map(|_| mosaic)
    }

    #[test]
    fn two_far_people_need_a_small_canvas() {
        let people = [BoxPx::new(100.0, 100.0, 100.0, 200.0), BoxPx::new(1700.0, 600.0, 100.0, 200.0)];
        let mosaic = plan(&people, &fit(1920, 1080)).unwrap();
        assert_eq!((mosaic.tiles.len(), mosaic.canvas), (2, Size::new(32, 128)), "one above the other");
    }

    #[test]
    fn a_region_of_nearly_everything_is_the_whole() {
        assert!(plan(&[BoxPx::new(0.0, 0.0, 1800.0, 1080.0)], &fit(1920, 1080)).is_none());
        assert!(plan(&[BoxPx::new(-90.0, -90.0, 10.0, 10.0)], &fit(1920, 1080)).is_none(), "outside of the picture");
    }

    #[test]
    fn a_box_at_a_tiles_border_is_cut_unless_the_picture_ends_there() {
        let mosaic = plan(&[BoxPx::new(0.0, 400.0, 200.0, 200.0)], &fit(1920, 1080)).unwrap();
        let tile = mosaic.tiles[0];
        let inside = BoxPx::new(10.0, 120.0, 20.0, 40.0);
        assert!(!mosaic.cuts(&tile, &inside));
        assert!(!mosaic.cuts(&tile, &BoxPx { left: -1.0, ..inside }), "the picture's own edge");
        assert!(
            mosaic.cuts(&tile, &BoxPx { left: 40.0, ..inside }) && mosaic.cuts(&tile, &BoxPx { top: 110.0, ..inside })
        );
    }

    #[test]
    fn in_detail_a_few_parts_are_cut_pixel_for_pixel_and_many_smaller_but_never_above_the_wholes_cost() {
        let whole = fit(1920, 1080);
        let people = |count: usize| {
            let person = |i: usize| BoxPx::new((i % 8) as f32 * 230.0, (i / 8) as f32 * 300.0, 100.0, 200.0);
            Regions::of((0..count).map(person)).in_detail(true)
        };
        let mut scales = Vec::new();
        for count in [1, 4, 8, 16] {
            let mut mosaic = Mosaic::new();
            let at = mosaic.plan(&people(count), &whole).unwrap();
            scales.push(at.content.width);
            let area = |size: Size| size.width * size.height;
            assert!(area(mosaic.canvas) as f32 <= MOST_OF_WHOLE * area(whole.canvas) as f32, "{count}: {mosaic:?}");
            let (_, back) =
                mosaic.to_picture(&BoxPx::new(mosaic.tiles[0].x as f32, mosaic.tiles[0].y as f32, 20.0, 40.0)).unwrap();
            assert_eq!((back.left, back.top), (mosaic.tiles[0].left as f32, mosaic.tiles[0].top as f32));
        }
        assert_eq!(scales[0], 1920);
        assert!(
            scales.is_sorted_by(|a, b| a >= b) && scales[3] < 1920 && scales[3] > whole.content.width,
            "{scales:?}"
        );
        assert_eq!(Mosaic::new().plan(&people(4).in_detail(false), &whole), Some(whole));
    }

    proptest! {
        /// Tiles lie on the canvas, none over another, hold every region, and map boxes back to where they were.
        #[test]
        fn every_region_lies_on_the_canvas_once(
            boxes in prop::collection::vec((0u32..1900, 0u32..1060, 1u32..400, 1u32..400), 1..33),
            size in prop::sample::select(vec![(1920, 1080), (768, 576), (1080, 1920), (333, 77)]),
        ) {
            let fit = fit(size.0, size.1);
            let boxes: Vec<_> = boxes.into_iter().map(|(x, y, w, h)| BoxPx::new(x as f32, y as f32, w as f32, h as f32)).collect();
            let Some(mosaic) = plan(&boxes, &fit) else { return Ok(()) };
            let Size { width, height } = mosaic.canvas;
            prop_assert!(width.is_multiple_of(32) && height.is_multiple_of(32));
            prop_assert!(width <= fit.canvas.width.max(32) && height <= fit.canvas.height.max(32));
            for (index, a) in mosaic.tiles.iter().enumerate() {
                prop_assert!(a.x + a.width <= width && a.y + a.height <= height, "{a:?} on {width}x{height}");
                prop_assert!(a.right() <= fit.content.width && a.bottom() <= fit.content.height);
                let even = [a.left, a.top, a.width, a.height, a.x, a.y];
                prop_assert!(even.iter().all(|side| side.is_multiple_of(2)), "{a:?}");
                for b in &mosaic.tiles[..index] {
                    let apart = a.x >= b.x + b.width || b.x >= a.x + a.width || a.y >= b.y + b.height || b.y >= a.y + a.height;
                    prop_assert!(apart, "{a:?} {b:?}");
                }
                let there = BoxPx::new(a.x as f32, a.y as f32, a.width as f32, a.height as f32);
                let back = mosaic.to_picture(&there).expect("its centre lies in it").1;
                prop_assert_eq!((back.left, back.top), (a.left as f32, a.top as f32));
            }
            for region in boxes.iter().filter_map(|region| tile(region, &fit)) {
                let held = |a: &Tile| a.left <= region.left && a.top <= region.top && a.right() >= region.right() && a.bottom() >= region.bottom();
                prop_assert!(mosaic.tiles.iter().any(held), "{region:?}");
            }
        }
    }
}
