//! Which colours an object shows.
//!
//! Method: pixels on a fixed grid inside the box (its middle, where the object is and the background is not) are named by
//! thresholds on hue, saturation and value (HSV after Smith, 1978); a colour counts when it holds at least [`MIN_SHARE`].

use vigil_base::event::Colour;
use vigil_base::{BoxPx, Frame};

/// A colour below this share of the pixels is not named.
pub const MIN_SHARE: f32 = 0.15;
/// At most this many colours are named.
pub const MAX_COLOURS: usize = 3;
/// Samples along each side of the box.
const GRID: u32 = 24;
/// The middle part of the box that is looked at, as shares of its width and height.
const MIDDLE: (f32, f32) = (0.5, 0.8);

/// Dominant colours inside `bbox` (pixels of the frame) with their share of the looked-at pixels, largest first.
///
/// Empty when the box holds no pixel of the frame.
pub fn dominant_colours(frame: &Frame, bbox: BoxPx) -> Vec<(Colour, f32)> {
    let inside = bbox.clamp(frame.size);
    if inside.width < 1.0 || inside.height < 1.0 {
        return Vec::new();
    }
    let (width, height) = (inside.width * MIDDLE.0, inside.height * MIDDLE.1);
    let (left, top) = (inside.left + (inside.width - width) / 2.0, inside.top + (inside.height - height) / 2.0);
    let mut counts = [0u32; Colour::ALL.len()];
    for row in 0..GRID {
        for column in 0..GRID {
            let x = left + width * (column as f32 + 0.5) / GRID as f32;
            let y = top + height * (row as f32 + 0.5) / GRID as f32;
            counts[name_colour(frame.rgb_at(x as u32, y as u32)) as usize] += 1;
        }
    }
    let total = (GRID * GRID) as f32;
    let mut shares: Vec<(Colour, f32)> = Colour::ALL
        .into_iter()
        .map(|colour| (colour, counts[colour as usize] as f32 / total))
        .filter(|(_, share)| *share >= MIN_SHARE)
        .collect();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    shares.truncate(MAX_COLOURS);
    shares
}

/// The name of one pixel's colour.
fn name_colour([red, green, blue]: [u8; 3]) -> Colour {
    let (max, min) = (red.max(green).max(blue), red.min(green).min(blue));
    let (value, chroma) = (f32::from(max) / 255.0, f32::from(max - min));
    let saturation = if max == 0 { 0.0 } else { chroma / f32::from(max) };
    // Dark or pale pixels have no reliable hue: cameras' noise and white balance decide it.
    if value < 0.2 {
        return Colour::Black;
    }
    if saturation < 0.18 {
        return if value > 0.75 {
            Colour::White
        } else if value < 0.3 {
            Colour::Black
        } else {
            Colour::Grey
        };
    }
    let (r, g, b) = (f32::from(red), f32::from(green), f32::from(blue));
    let hue = if max == red {
        60.0 * ((g - b) / chroma).rem_euclid(6.0)
    } else if max == green {
        60.0 * ((b - r) / chroma + 2.0)
    } else {
        60.0 * ((r - g) / chroma + 4.0)
    };
    name_hue(hue, saturation, value)
}

/// The name of a hue (degrees) that is strong enough to be one.
fn name_hue(hue: f32, saturation: f32, value: f32) -> Colour {
    match hue {
        h if !(15.0..345.0).contains(&h) => {
            if saturation < 0.5 && value > 0.7 {
                Colour::Pink
            } else {
                Colour::Red
            }
        }
        h if h < 45.0 => {
            if value < 0.65 {
                Colour::Brown
            } else {
                Colour::Orange
            }
        }
        h if h < 70.0 => Colour::Yellow,
        h if h < 165.0 => Colour::Green,
        h if h < 195.0 => Colour::Cyan,
        h if h < 260.0 => Colour::Blue,
        h if h < 300.0 => Colour::Purple,
        _ => {
            if value > 0.6 {
                Colour::Pink
            } else {
                Colour::Purple
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use vigil_base::{Size, Timestamp};

    use super::*;

    #[test]
    fn pure_pixels_have_their_names() {
        let cases = [
            ([250, 250, 250], Colour::White),
            ([10, 10, 12], Colour::Black),
            ([128, 128, 130], Colour::Grey),
            ([200, 20, 20], Colour::Red),
            ([250, 140, 20], Colour::Orange),
            ([110, 70, 30], Colour::Brown),
            ([230, 220, 30], Colour::Yellow),
            ([30, 140, 40], Colour::Green),
            ([30, 200, 210], Colour::Cyan),
            ([20, 40, 200], Colour::Blue),
            ([110, 30, 170], Colour::Purple),
            ([250, 160, 170], Colour::Pink),
        ];
        for (rgb, colour) in cases {
            assert_eq!(name_colour(rgb), colour, "{rgb:?}");
        }
    }

    #[test]
    fn a_box_beyond_the_picture_has_no_colour_and_one_half_outside_has() {
        let frame = Frame::uniform(Size::new(64, 64), [81, 90, 240], Timestamp::default());
        assert!(dominant_colours(&frame, BoxPx::new(100.0, 100.0, 20.0, 20.0)).is_empty());
        let found = dominant_colours(&frame, BoxPx::new(40.0, 40.0, 60.0, 60.0));
        assert_eq!(found, vec![(Colour::Red, 1.0)]);
    }
}
