//! The picture of a track's best moment.

use bytes::Bytes;
use image::codecs::jpeg::JpegEncoder;
use image::{ImageError, Rgb, RgbImage};
use vigil_base::event::MAX_THUMBNAIL_BYTES;
use vigil_base::{BoxPx, Frame};

/// Longest side of a thumbnail in pixels.
pub const MAX_SIDE: u32 = 320;
/// JPEG quality, 1..100.
const QUALITY: u8 = 80;
/// Room left around the object, as a share of its box, so that a person sees where it is.
const MARGIN: f32 = 0.15;

/// A thumbnail could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ThumbnailError {
    /// The encoder refused.
    #[error("cannot encode the thumbnail as JPEG")]
    Encode(#[source] ImageError),
    /// The JPEG is larger than an event may carry.
    #[error("the thumbnail has {0} bytes; at most {MAX_THUMBNAIL_BYTES} are sent")]
    TooLarge(usize),
}

/// The object's part of a frame as RGB, scaled down to [`MAX_SIDE`]. `None` when the box holds no pixel of the frame.
///
/// Nearest-neighbour sampling straight from the decoder's planes: only the thumbnail's own pixels are converted.
pub fn crop(frame: &Frame, bbox: BoxPx) -> Option<RgbImage> {
    let (dx, dy) = (bbox.width * MARGIN, bbox.height * MARGIN);
    let wide = BoxPx::new(bbox.left - dx, bbox.top - dy, bbox.width + 2.0 * dx, bbox.height + 2.0 * dy);
    let inside = wide.clamp(frame.size);
    if inside.width < 2.0 || inside.height < 2.0 {
        return None;
    }
    let scale = (MAX_SIDE as f32 / inside.width.max(inside.height)).min(1.0);
    let (width, height) = ((inside.width * scale) as u32, (inside.height * scale) as u32);
    let pixel = |x: u32, y: u32| {
        let at_x = inside.left + (x as f32 + 0.5) / scale;
        let at_y = inside.top + (y as f32 + 0.5) / scale;
        Rgb(frame.rgb_at(at_x as u32, at_y as u32))
    };
    Some(RgbImage::from_fn(width.max(1), height.max(1), pixel))
}

/// The object's picture as JPEG; `None` where there is nothing to show, or it cannot be encoded: an event without a
/// picture is worth more than none.
pub fn of(frame: &Frame, bbox: BoxPx) -> Option<Bytes> {
    crop(frame, bbox).and_then(|picture| encode(&picture).ok())
}

/// The crop as JPEG.
pub fn encode(picture: &RgbImage) -> Result<Bytes, ThumbnailError> {
    let mut jpeg = Vec::with_capacity(32 * 1024);
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode_image(picture).map_err(ThumbnailError::Encode)?;
    if jpeg.len() > MAX_THUMBNAIL_BYTES {
        return Err(ThumbnailError::TooLarge(jpeg.len()));
    }
    Ok(jpeg.into())
}

#[cfg(test)]
mod tests {
    use vigil_base::{Size, Timestamp};

    use super::*;

    #[test]
    fn a_large_object_is_scaled_and_keeps_its_shape_and_colour() {
        let frame = Frame::uniform(Size::new(1920, 1080), [81, 90, 240], Timestamp::default());
        let picture = crop(&frame, BoxPx::new(100.0, 100.0, 400.0, 800.0)).unwrap();
        assert_eq!(picture.height(), MAX_SIDE);
        assert!((150..=170).contains(&picture.width()), "{}", picture.width());
        let back = image::load_from_memory(&encode(&picture).unwrap()).unwrap().to_rgb8();
        let Rgb([r, g, b]) = *back.get_pixel(80, 160);
        assert!(r > 240 && g < 20 && b < 20, "{r} {g} {b}");
    }

    #[test]
    fn a_box_outside_the_picture_has_no_thumbnail() {
        let frame = Frame::uniform(Size::new(64, 48), [16, 128, 128], Timestamp::default());
        assert!(crop(&frame, BoxPx::new(-50.0, 0.0, 20.0, 20.0)).is_none());
        assert!(crop(&frame, BoxPx::new(f32::NAN, 0.0, 20.0, 20.0)).is_none());
        assert!(crop(&frame, BoxPx::new(60.0, 40.0, 500.0, 500.0)).is_some());
    }
}
