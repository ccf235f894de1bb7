//! A decoded picture, as the decoder left it.

use bytes::Bytes;

use crate::{Size, TimeSource, Timestamp};

/// How Y, U and V become red, green and blue. Taken from the stream, not from the picture's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColourMatrix {
    /// ITU-R BT.601.
    Bt601,
    /// ITU-R BT.709.
    Bt709,
}

/// One plane of 8-bit samples.
#[derive(Debug, Clone)]
pub struct Plane {
    /// `stride * height` bytes at least (the last row may end at `width`).
    pub data: Bytes,
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Samples in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Plane {
    /// Row `y`, `width` samples.
    ///
    /// # Panics
    /// When `y` is not below `height`.
    pub fn row(&self, y: u32) -> &[u8] {
        assert!(y < self.height, "row {y} of a plane with {} rows", self.height);
        let start = y as usize * self.stride;
        &self.data[start..start + self.width as usize]
    }
}

/// A picture in planar YUV 4:2:0, limited range (16..235 luma, 16..240 chroma) unless `full_range`.
///
/// Cloning shares the samples.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Counts the decoded frames of this camera since the edge started, from 0.
    pub sequence: u64,
    /// The camera session it comes from.
    pub session: u32,
    /// When the picture was taken.
    pub capture_time: Timestamp,
    /// Which clock `capture_time` comes from.
    pub time_source: TimeSource,
    /// Luma's size.
    pub size: Size,
    /// Luma, then the two chroma planes, each half as wide and high (rounded up).
    pub planes: [Plane; 3],
    /// How to make colours of it.
    pub matrix: ColourMatrix,
    /// Samples use all of 0..255.
    pub full_range: bool,
}

impl Frame {
    /// A frame whose three planes are one colour; for tests.
    pub fn uniform(size: Size, yuv: [u8; 3], capture_time: Timestamp) -> Self {
        let half = Size::new(size.width.div_ceil(2), size.height.div_ceil(2));
        let plane = |size: Size, value: u8| Plane {
            data: vec![value; (size.width * size.height) as usize].into(),
            stride: size.width as usize,
            width: size.width,
            height: size.height,
        };
        Self {
            sequence: 0,
            session: 0,
            capture_time,
            time_source: TimeSource::File,
            size,
            planes: [plane(size, yuv[0]), plane(half, yuv[1]), plane(half, yuv[2])],
            matrix: ColourMatrix::Bt601,
            full_range: false,
        }
    }

    /// Red, green and blue at a pixel of luma; outside the picture the nearest pixel.
    pub fn rgb_at(&self, x: u32, y: u32) -> [u8; 3] {
        let (x, y) = (x.min(self.size.width - 1), y.min(self.size.height - 1));
        let luma = self.planes[0].row(y)[x as usize];
        let (cb, cr) = (self.planes[1].row(y / 2)[x as usize / 2], self.planes[2].row(y / 2)[x as usize / 2]);
        yuv_to_rgb(luma, cb, cr, self.matrix, self.full_range)
    }
}

/// One pixel from YUV to RGB (both gamma-corrected), by the constants of ITU-R BT.601-7 and BT.709-6.
pub fn yuv_to_rgb(luma: u8, cb: u8, cr: u8, matrix: ColourMatrix, full_range: bool) -> [u8; 3] {
    let (offset, luma_scale, chroma_scale) =
        if full_range { (0.0, 1.0, 1.0) } else { (16.0, 255.0 / 219.0, 255.0 / 224.0) };
    let y = (f32::from(luma) - offset) * luma_scale;
    let (u, v) = ((f32::from(cb) - 128.0) * chroma_scale, (f32::from(cr) - 128.0) * chroma_scale);
    let (kr, kb) = match matrix {
        ColourMatrix::Bt601 => (0.299, 0.114),
        ColourMatrix::Bt709 => (0.2126, 0.0722),
    };
    let red = y + 2.0 * (1.0 - kr) * v;
    let blue = y + 2.0 * (1.0 - kb) * u;
    let green = (y - kr * red - kb * blue) / (1.0 - kr - kb);
    [red, green, blue].map(|c| c.round().clamp(0.0, 255.0) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_black_and_red_in_both_matrices() {
        for matrix in [ColourMatrix::Bt601, ColourMatrix::Bt709] {
            assert_eq!(yuv_to_rgb(235, 128, 128, matrix, false), [255, 255, 255]);
            assert_eq!(yuv_to_rgb(16, 128, 128, matrix, false), [0, 0, 0]);
        }
        let [r, g, b] = yuv_to_rgb(81, 90, 240, ColourMatrix::Bt601, false);
        assert!(r > 250 && g < 5 && b < 5, "{r} {g} {b}");
        let [r, g, b] = yuv_to_rgb(63, 102, 240, ColourMatrix::Bt709, false);
        assert!(r > 250 && g < 5 && b < 5, "{r} {g} {b}");
    }

    #[test]
    fn odd_sizes_have_chroma_for_their_last_column_and_row() {
        let frame = Frame::uniform(Size::new(5, 3), [81, 90, 240], Timestamp::default());
        assert_eq!(frame.rgb_at(4, 2), frame.rgb_at(0, 0));
        assert_eq!(frame.rgb_at(99, 99), frame.rgb_at(0, 0));
    }
}
