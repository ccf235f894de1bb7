//! From a frame to a model's input tensor: letterbox, colour, layout. `models/README.md` states the rules.
//!
//! The three planes are resized straight to the small picture, two rows at a time, and those rows become colours while
//! they are in the first-level cache. Nothing is allocated once a frame size has been seen.

use vigil_base::{ColourMatrix, Frame, Plane, Size};

use crate::DetectError;
use crate::kernels::{self, ColourRule, Cpu};
use crate::letterbox::Letterbox;
use crate::manifest::{Anchor, Colour, Layout, ModelEntry};
use crate::mosaic::Tile;
use crate::resize::PlaneResizer;

/// Frame sizes, each at up to four scales, whose tables are kept. Cameras of one edge have few; the oldest makes room.
const MAX_PLANS: usize = 16;

/// What a model wants to be fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InputSpec {
    /// The largest canvas.
    pub size: Size,
    /// Smaller ones do as well.
    pub any_size: bool,
    pub layout: Layout,
    pub colour: Colour,
    pub anchor: Anchor,
    pub pad: u8,
}

impl InputSpec {
    pub fn of(entry: &ModelEntry) -> Self {
        let ModelEntry { input, any_size, layout, colour, anchor, pad, .. } = entry;
        Self { size: *input, any_size: *any_size, layout: *layout, colour: *colour, anchor: *anchor, pad: *pad }
    }

    /// Numbers in one picture's tensor at the most.
    pub fn len(&self) -> usize {
        tensor_len(self.size)
    }

    /// Where a frame's picture lies.
    pub fn fit(&self, frame: Size) -> Letterbox {
        Letterbox::fit(frame, self.size, self.anchor, self.any_size)
    }
}

/// Numbers in the tensor of a canvas.
pub(crate) fn tensor_len(canvas: Size) -> usize {
    3 * plane_len(canvas)
}

fn plane_len(canvas: Size) -> usize {
    (canvas.width * canvas.height) as usize
}

/// One picture's place in an input buffer.
#[derive(Debug)]
pub(crate) enum Slot<'a> {
    Bytes(&'a mut [u8]),
    Floats(&'a mut [f32]),
}

/// Fills input tensors.
#[derive(Debug)]
pub(crate) struct Preprocessor {
    spec: InputSpec,
    cpu: Cpu,
    plans: Vec<Plan>,
    rows: Rows,
    /// By slot: where the whole picture lies that was last laid there; beside it is pad.
    painted: Vec<Option<Letterbox>>,
}

/// What is worked out once per frame size and scale.
#[derive(Debug)]
struct Plan {
    fit: Letterbox,
    luma: PlaneResizer,
    chroma: [PlaneResizer; 2],
}

/// Rows on their way from planes to pixels.
#[derive(Debug, Default)]
struct Rows {
    luma: Vec<u8>,
    cb: Vec<u8>,
    cr: Vec<u8>,
    shares: [Vec<i32>; 3],
    rgb: [Vec<u8>; 3],
}

impl Rows {
    fn resize(&mut self, width: usize) {
        self.luma.resize(width, 0);
        self.cb.resize(width / 2, 0);
        self.cr.resize(width / 2, 0);
        self.shares.iter_mut().for_each(|row| row.resize(width, 0));
        self.rgb.iter_mut().for_each(|row| row.resize(width, 0));
    }
}

impl Preprocessor {
    /// For tensors of `spec`, with as many slots as a batch has pictures.
    pub fn new(spec: InputSpec, slots: usize) -> Self {
        Self::on(Cpu::detect(), spec, slots)
    }

    fn on(cpu: Cpu, spec: InputSpec, slots: usize) -> Self {
        Self { spec, cpu, plans: Vec::new(), rows: Rows::default(), painted: vec![None; slots] }
    }

    /// Lays a whole frame into a slot; says where the picture lies. The slot is as long as the canvas of its fit.
    pub fn fill(&mut self, frame: &Frame, index: usize, mut slot: Slot<'_>) -> Result<Letterbox, DetectError> {
        check(frame)?;
        let fit = self.spec.fit(frame.size);
        if self.painted[index].replace(fit) != Some(fit) {
            paint(&mut slot, &self.spec);
        }
        self.lay(frame, fit, &[Tile::whole(&fit)], fit.canvas, &mut slot);
        Ok(fit)
    }

    /// Lays parts of a frame, which was checked, into a slot as long as `canvas` asks for. Tiles are parts of the picture that
    /// `fit` makes of the frame.
    pub fn fill_tiles(
        &mut self,
        frame: &Frame,
        fit: Letterbox,
        tiles: &[Tile],
        canvas: Size,
        index: usize,
        mut slot: Slot<'_>,
    ) {
        self.painted[index] = None;
        paint(&mut slot, &self.spec);
        self.lay(frame, fit, tiles, canvas, &mut slot);
    }

    /// Resizes the rows that some tile shows, and lays each tile's stretch of them.
    fn lay(&mut self, frame: &Frame, fit: Letterbox, tiles: &[Tile], canvas: Size, slot: &mut Slot<'_>) {
        let plan = plan(&mut self.plans, self.cpu, fit);
        let content = plan.fit.content;
        self.rows.resize(content.width as usize);
        plan.luma.begin();
        plan.chroma.iter_mut().for_each(PlaneResizer::begin);
        let rule = colour_rule(frame.matrix, frame.full_range);
        for top in (0..content.height).step_by(2) {
            let here = |tile: &&Tile| (tile.top..tile.top + tile.height).contains(&top);
            if !tiles.iter().any(|tile| here(&tile)) {
                continue;
            }
            let (rows, pair) = (&mut self.rows, top as usize / 2);
            plan.chroma[0].row(&frame.planes[1], pair, &mut rows.cb);
            plan.chroma[1].row(&frame.planes[2], pair, &mut rows.cr);
            kernels::chroma(self.cpu, &rule, &rows.cb, &rows.cr, &mut rows.shares);
            for y in [top, top + 1] {
                plan.luma.row(&frame.planes[0], y as usize, &mut rows.luma);
                kernels::rgb(self.cpu, &rule, &rows.luma, &rows.shares, &mut rows.rgb);
                for tile in tiles.iter().filter(here) {
                    let place = Place { spec: &self.spec, cpu: self.cpu, canvas, x: tile.x, y: tile.y + y - tile.top };
                    let (from, to) = (tile.left as usize, (tile.left + tile.width) as usize);
                    place.lay(rows.rgb.each_ref().map(|channel| &channel[from..to]), slot);
                }
            }
        }
    }
}

fn plan(plans: &mut Vec<Plan>, cpu: Cpu, fit: Letterbox) -> &mut Plan {
    let known = plans.iter().position(|plan| plan.fit == fit);
    let index = known.unwrap_or_else(|| {
        if plans.len() == MAX_PLANS {
            plans.remove(0);
        }
        let frame = fit.frame;
        let half = |size: Size| Size::new(size.width.div_ceil(2), size.height.div_ceil(2));
        let chroma = || PlaneResizer::new(cpu, half(frame), half(fit.content));
        plans.push(Plan { fit, luma: PlaneResizer::new(cpu, frame, fit.content), chroma: [chroma(), chroma()] });
        plans.len() - 1
    });
    &mut plans[index]
}

/// A place on a canvas, from which a row of pixels goes to the right.
struct Place<'a> {
    spec: &'a InputSpec,
    cpu: Cpu,
    canvas: Size,
    x: u32,
    y: u32,
}

impl Place<'_> {
    fn lay(&self, [red, green, blue]: [&[u8]; 3], slot: &mut Slot<'_>) {
        let ordered = match self.spec.colour {
            Colour::Rgb => [red, green, blue],
            Colour::Bgr => [blue, green, red],
        };
        let from = (self.y * self.canvas.width + self.x) as usize;
        let width = red.len();
        match slot {
            Slot::Bytes(bytes) => {
                let row = &mut bytes[3 * from..3 * (from + width)];
                kernels::interleave(self.cpu, ordered[0], ordered[1], ordered[2], row);
            }
            Slot::Floats(floats) => {
                for (plane, samples) in floats.chunks_exact_mut(plane_len(self.canvas)).zip(ordered) {
                    kernels::widen(self.cpu, samples, divisor(self.spec.layout), &mut plane[from..from + width]);
                }
            }
        }
    }
}

/// What a sample is divided by.
fn divisor(layout: Layout) -> f32 {
    if layout == Layout::NchwF32Unit { 255.0 } else { 1.0 }
}

fn paint(slot: &mut Slot<'_>, spec: &InputSpec) {
    match slot {
        Slot::Bytes(bytes) => bytes.fill(spec.pad),
        Slot::Floats(floats) => floats.fill(f32::from(spec.pad) / divisor(spec.layout)),
    }
}

pub(crate) fn check(frame: &Frame) -> Result<(), DetectError> {
    let Size { width, height } = frame.size;
    let bad = |problem| Err(DetectError::BadFrame { width, height, problem });
    if width == 0 || height == 0 {
        return bad("it is empty");
    }
    let sizes = [(width, height), (width.div_ceil(2), height.div_ceil(2)), (width.div_ceil(2), height.div_ceil(2))];
    let fits = |plane: &Plane, (width, height): (u32, u32)| {
        let needed = (height as usize - 1) * plane.stride + width as usize;
        (plane.width, plane.height) == (width, height) && plane.stride >= width as usize && plane.data.len() >= needed
    };
    if !frame.planes.iter().zip(sizes).all(|(plane, size)| fits(plane, size)) {
        return bad("its planes do not have the size of a 4:2:0 picture");
    }
    Ok(())
}

/// The constants of ITU-R BT.601-7 and BT.709-6; those of BT.601 in limited range are OpenCV's.
fn colour_rule(matrix: ColourMatrix, full_range: bool) -> ColourRule {
    let [black, gain, cr_red, cr_green, cb_green, cb_blue] = match (matrix, full_range) {
        (ColourMatrix::Bt601, false) => [16, 1_220_542, 1_673_527, -852_492, -409_993, 2_116_026],
        (ColourMatrix::Bt601, true) => [0, 1_048_576, 1_470_104, -748_826, -360_853, 1_858_077],
        (ColourMatrix::Bt709, false) => [16, 1_220_945, 1_879_825, -558_796, -223_607, 2_215_014],
        (ColourMatrix::Bt709, true) => [0, 1_048_576, 1_651_297, -490_864, -196_424, 1_945_738],
    };
    ColourRule { black, gain, cr_red, cr_green, cb_green, cb_blue }
}

#[cfg(test)]
#[path = "preprocess_tests.rs"]
mod tests;
