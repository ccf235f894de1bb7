//! Where a frame's picture lies on a model's canvas. `models/README.md` states the rule.

use vigil_base::{BoxPx, Size};

use crate::manifest::{Anchor, SIDE_STEP};

/// A frame fitted into a canvas, its shape kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Letterbox {
    /// The frame, in its own pixels.
    pub frame: Size,
    /// The picture on the canvas, canvas pixels; both sides even, so that chroma is exactly half.
    pub content: Size,
    /// Its left edge on the canvas.
    pub left: u32,
    /// Its top edge on the canvas.
    pub top: u32,
    /// The canvas, pixels.
    pub canvas: Size,
}

impl Letterbox {
    /// Fits `frame` into `largest`, as large as it goes. Neither may be empty. With `any_size`, the canvas is then cut to
    /// what the picture needs of it.
    pub fn fit(frame: Size, largest: Size, anchor: Anchor, any_size: bool) -> Self {
        let across = f64::from(largest.width) / f64::from(frame.width);
        let down = f64::from(largest.height) / f64::from(frame.height);
        let scale = across.min(down);
        let even = |side: u32, limit: u32| {
            let half = (f64::from(side) * scale / 2.0 + 0.5).floor() as u32;
            (2 * half).max(2).min(limit)
        };
        let content = Size::new(even(frame.width, largest.width), even(frame.height, largest.height));
        let up = |side: u32| side.next_multiple_of(SIDE_STEP);
        let canvas = if any_size { Size::new(up(content.width), up(content.height)) } else { largest };
        let (left, top) = match anchor {
            Anchor::TopLeft => (0, 0),
            Anchor::Centre => ((canvas.width - content.width) / 2, (canvas.height - content.height) / 2),
        };
        Self { frame, content, left, top, canvas }
    }

    /// The same `zoom` times as large, on a canvas as large as it then needs: for parts of it, which share a smaller one.
    pub fn zoomed(&self, zoom: f64) -> Self {
        let even =
            |side: u32, frame: u32| ((2 * (f64::from(side) * zoom / 2.0).round() as u32).max(2)).min(frame & !1).max(2);
        let content =
            Size::new(even(self.content.width, self.frame.width), even(self.content.height, self.frame.height));
        let up = |side: u32| side.next_multiple_of(SIDE_STEP);
        Self { content, left: 0, top: 0, canvas: Size::new(up(content.width), up(content.height)), ..*self }
    }

    /// How much larger it can be until its pixels are the frame's; at least 1.
    pub fn room(&self) -> f64 {
        (f64::from(self.frame.width) / f64::from(self.content.width)).max(1.0)
    }

    /// A box from canvas pixels to frame pixels. It may reach beyond the frame: half-seen objects keep their size.
    pub fn to_frame(self, on_canvas: BoxPx) -> BoxPx {
        let across = self.frame.width as f32 / self.content.width as f32;
        let down = self.frame.height as f32 / self.content.height as f32;
        BoxPx::new(
            (on_canvas.left - self.left as f32) * across,
            (on_canvas.top - self.top as f32) * down,
            on_canvas.width * across,
            on_canvas.height * down,
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CANVAS: Size = Size::new(544, 416);

    #[test]
    fn known_fits() {
        let fit = |width, height, anchor| Letterbox::fit(Size::new(width, height), CANVAS, anchor, false);
        assert_eq!(fit(768, 576, Anchor::TopLeft).content, Size::new(544, 408));
        assert_eq!(fit(1920, 1080, Anchor::TopLeft).content, Size::new(544, 306));
        let tall = fit(1080, 1920, Anchor::Centre);
        assert_eq!((tall.content, tall.left, tall.top), (Size::new(234, 416), 155, 0));
    }

    #[test]
    fn a_model_of_any_size_gets_the_smallest_canvas_that_holds_the_picture() {
        let canvas = |width, height| Letterbox::fit(Size::new(width, height), CANVAS, Anchor::TopLeft, true).canvas;
        assert_eq!(canvas(768, 576), CANVAS);
        assert_eq!(canvas(1920, 1080), Size::new(544, 320));
        assert_eq!(canvas(1080, 1920), Size::new(256, 416));
    }

    proptest! {
        #[test]
        fn the_picture_lies_on_the_canvas_and_boxes_come_back(width in 1u32..8192, height in 1u32..8192) {
            for (anchor, any_size) in [(Anchor::TopLeft, false), (Anchor::Centre, false), (Anchor::Centre, true)] {
                let fit = Letterbox::fit(Size::new(width, height), CANVAS, anchor, any_size);
                prop_assert!(fit.canvas.width <= CANVAS.width && fit.canvas.height <= CANVAS.height);
                prop_assert!(fit.left + fit.content.width <= fit.canvas.width);
                prop_assert!(fit.top + fit.content.height <= fit.canvas.height);
                prop_assert!(fit.content.width.is_multiple_of(2) && fit.content.height.is_multiple_of(2));
                let whole = BoxPx::new(
                    fit.left as f32, fit.top as f32, fit.content.width as f32, fit.content.height as f32,
                );
                let back = fit.to_frame(whole);
                prop_assert!(back.left.abs() < 0.01 && back.top.abs() < 0.01);
                prop_assert!((back.width - width as f32).abs() < 0.01 && (back.height - height as f32).abs() < 0.01);
            }
        }
    }
}
