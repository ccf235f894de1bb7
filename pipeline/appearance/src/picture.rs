//! The appearance in a picture that somebody brings along. Whoever that is: sizes are looked at before anything is decoded.

use std::io::Cursor;

use image::{ImageError, ImageFormat, ImageReader, Limits};
use vigil_base::event::Appearance;
use vigil_base::{BoxNorm, BoxPx, Size};

use crate::looks::of_part;

/// Longest side of a picture, pixels.
pub const MAX_SIDE: u32 = 8192;
/// Most pixels of a picture: what a good camera makes.
pub const MAX_PIXELS: u64 = 24_000_000;
/// Most memory that decoding one may take: 24 million pixels in four bytes each, and as much room for the decoder.
const MAX_ALLOC: u64 = 192 * 1024 * 1024;

/// There is no appearance in a picture.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// Neither JPEG nor PNG.
    #[error("is neither JPEG nor PNG")]
    Unknown,
    /// It claims too many pixels.
    #[error("has {width} x {height} pixels; at most {MAX_SIDE} on each side and {MAX_PIXELS} in all are taken")]
    TooLarge {
        /// Across.
        width: u32,
        /// Down.
        height: u32,
    },
    /// It is damaged, or ends early.
    #[error("cannot be decoded")]
    Damaged(#[source] ImageError),
    /// The part that is meant has too few pixels.
    #[error("shows too little: the object must have 6 pixels across and 12 down at least")]
    TooSmall,
}

/// What is in `bbox` (all, where none is given) of a JPEG or PNG. Takes tens of milliseconds for a large one, and up to 200 MiB.
///
/// # Errors
/// [`PictureError`] says what is wrong with the picture.
pub fn of_picture(image: &[u8], bbox: Option<BoxNorm>) -> Result<Appearance, PictureError> {
    let open = || {
        let reader = ImageReader::new(Cursor::new(image)).with_guessed_format().ok()?;
        reader.format().filter(|format| matches!(format, ImageFormat::Jpeg | ImageFormat::Png)).map(|_| reader)
    };
    let (width, height) = open().ok_or(PictureError::Unknown)?.into_dimensions().map_err(PictureError::Damaged)?;
    if width > MAX_SIDE || height > MAX_SIDE || u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(PictureError::TooLarge { width, height });
    }
    let mut reader = open().ok_or(PictureError::Unknown)?;
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    limits.max_alloc = Some(MAX_ALLOC);
    reader.limits(limits);
    let pixels = reader.decode().map_err(PictureError::Damaged)?.into_rgb8();
    let size = Size::new(pixels.width(), pixels.height());
    let whole = BoxPx::new(0.0, 0.0, size.width as f32, size.height as f32);
    let bbox = bbox.map_or(whole, |bbox| bbox.to_px(size));
    let pixel = |x: u32, y: u32| pixels.get_pixel(x.min(size.width - 1), y.min(size.height - 1)).0;
    of_part(size, bbox, pixel).ok_or(PictureError::TooSmall)
}

#[cfg(test)]
mod tests {
    use image::codecs::jpeg::JpegEncoder;
    use image::{Rgb, RgbImage};
    use vigil_base::{Frame, Timestamp};

    use super::*;
    use crate::{Looks, Probe};

    fn encoded(format: ImageFormat, picture: &RgbImage) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn red() -> RgbImage {
        RgbImage::from_pixel(60, 120, Rgb([250, 10, 10]))
    }

    #[test]
    fn a_picture_looks_like_the_frame_it_was_taken_of() {
        let mut looks = Looks::default();
        let frame = Frame::uniform(Size::new(64, 128), [81, 90, 240], Timestamp::default());
        looks.look(&frame, BoxPx::new(0.0, 0.0, 64.0, 128.0), 1.0);
        let probe = Probe::new(&looks.appearance().unwrap().vector);
        for format in [ImageFormat::Jpeg, ImageFormat::Png] {
            let seen = of_picture(&encoded(format, &red()), None).unwrap();
            assert!(probe.similarity(&seen.vector).unwrap() > 0.99, "{format:?}");
        }
    }

    #[test]
    fn a_box_says_where_to_look() {
        let halves = RgbImage::from_fn(200, 120, |x, _| if x < 100 { Rgb([250, 10, 10]) } else { Rgb([10, 10, 250]) });
        let image = encoded(ImageFormat::Png, &halves);
        let part = |left| of_picture(&image, Some(BoxNorm { left, top: 0.0, width: 0.5, height: 1.0 })).unwrap();
        let alike = Probe::new(&part(0.0).vector).similarity(&part(0.5).vector).unwrap();
        assert!(alike < 0.01, "{alike}");
        let thin = BoxNorm { left: 0.0, top: 0.0, width: 0.01, height: 1.0 };
        assert!(matches!(of_picture(&image, Some(thin)), Err(PictureError::TooSmall)));
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        for bytes in [&b""[..], b"GIF89a...", b"<svg/>", b"MZ", &[0; 64]] {
            assert!(matches!(of_picture(bytes, None), Err(PictureError::Unknown)), "{bytes:?}");
        }
    }

    #[test]
    fn a_picture_that_ends_early_is_refused_at_every_length() {
        let png = encoded(ImageFormat::Png, &red());
        for length in 8..png.len() - 12 {
            assert!(of_picture(&png[..length], None).is_err(), "{length}");
        }
    }

    #[test]
    fn a_picture_that_claims_to_be_huge_is_refused_before_it_is_decoded() {
        // A PNG's width and height are bytes 16 to 23 (W3C PNG, section 11.2.1); their checksum is not looked at before them.
        let mut png = encoded(ImageFormat::Png, &red());
        png[16..24].copy_from_slice(&[0, 0, 0x40, 0, 0, 0, 0x40, 0]);
        let crc = crc32(&png[12..29]);
        png[29..33].copy_from_slice(&crc.to_be_bytes());
        assert!(matches!(of_picture(&png, None), Err(PictureError::TooLarge { width: 16384, height: 16384 })));
        let mut jpeg = Vec::new();
        JpegEncoder::new(&mut jpeg).encode_image(&RgbImage::new(5000, 4900)).unwrap();
        assert!(matches!(of_picture(&jpeg, None), Err(PictureError::TooLarge { .. })));
    }

    /// As PNG has it (W3C PNG, annex D).
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg()))
        })
    }
}
