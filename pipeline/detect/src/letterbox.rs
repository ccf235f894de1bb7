//! Where a frame's picture lies on a model's canvas. `models/README.md` states the rule.

use vigil_base::{BoxPx, Size};

use crate::manifest::Anchor;

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
}

impl Letterbox {
    /// Fits `frame` into `canvas`, as large as it goes. Neither may be empty.
    pub fn fit(frame: Size, canvas: Size, anchor: Anchor) -> Self {
        let across = f64::from(canvas.width) / f64::from(frame.width);
        let down = f64::from(canvas.height) / f64::from(frame.height);
        let scale = across.min(down);
        let even = |side: u32, limit: u32| {
            let half = (f64::from(side) * scale / 2.0 + 0.5).floor() as u32;
            (2 * half).max(2).min(limit)
        };
        let content = Size::new(even(frame.width, canvas.width), even(frame.height, canvas.height));
        let (left, top) = match anchor {
            Anchor::TopLeft => (0, 0),
            Anchor::Centre => ((canvas.width - content.width) / 2, (canvas.height - content.height) / 2),
        };
        Self { frame, content, left, top }
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
        let fit = |width, height, anchor| Letterbox::fit(Size::new(width, height), CANVAS, anchor);
        assert_eq!(fit(768, 576, Anchor::TopLeft).content, Size::new(544, 408));
        assert_eq!(fit(1920, 1080, Anchor::TopLeft).content, Size::new(544, 306));
        let tall = fit(1080, 1920, Anchor::Centre);
        assert_eq!((tall.content, tall.left, tall.top), (Size::new(234, 416), 155, 0));
    }

    proptest! {
        #[test]
        fn the_picture_lies_on_the_canvas_and_boxes_come_back(width in 1u32..8192, height in 1u32..8192) {
            for anchor in [Anchor::TopLeft, Anchor::Centre] {
                let fit = Letterbox::fit(Size::new(width, height), CANVAS, anchor);
                prop_assert!(fit.left + fit.content.width <= CANVAS.width);
                prop_assert!(fit.top + fit.content.height <= CANVAS.height);
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
