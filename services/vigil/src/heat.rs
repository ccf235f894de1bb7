//! Presence as people look at it: as text, or as a picture with a legend.
//!
//! Brightness goes by the square root of the seconds: a place where one car parked all day does not hide where people walk. The
//! legend's scale is marked at its ends and its middle, in seconds.

use std::path::Path;

use anyhow::{Context, ensure};
use font8x8::{BASIC_FONTS, UnicodeFonts};
use image::{Rgb, RgbImage, imageops};
use vigil_proto::v1;

/// Widest and highest picture that is drawn over, pixels.
const MAX_SIDE: u32 = 4_096;
/// Size without a picture of the camera.
const PLAIN: (u32, u32) = (1_280, 720);
const BACKGROUND: Rgb<u8> = Rgb([24, 24, 28]);
const INK: Rgb<u8> = Rgb([235, 235, 235]);
/// From nothing to most: dark violet, red, orange, yellow, white; each step brighter than the one before, so that it reads in grey.
const RAMP: [[u8; 3]; 5] = [[40, 11, 84], [159, 42, 99], [229, 92, 48], [246, 196, 65], [252, 255, 220]];
/// How much of the picture shows through where objects were: at the least, and at the most.
const OPACITY: [f64; 2] = [0.35, 0.85];
/// Pixels of a character, and how many times larger it is drawn.
const GLYPH: u32 = 8;
const SCALE: u32 = 2;
/// Height of the legend below the picture, pixels.
const LEGEND: u32 = 64;
const MARGIN: u32 = 12;
/// From nothing to most, in print.
const SHADES: [char; 10] = [' ', '.', ':', '-', '=', '+', '*', '#', '%', '@'];
/// Columns of the text; each character is about twice as high as wide.
const TEXT_COLUMNS: usize = 72;

/// A picture of the camera.
pub struct Picture(RgbImage);

impl Picture {
    /// Reads a JPEG or PNG.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let unreadable = || format!("cannot read the picture {}", path.display());
        let mut reader = image::ImageReader::open(path).with_context(unreadable)?;
        let mut limits = image::Limits::default();
        (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
        reader.limits(limits);
        Ok(Self(reader.with_guessed_format().with_context(unreadable)?.decode().with_context(unreadable)?.to_rgb8()))
    }
}

/// Seconds of presence of all classes together.
pub struct Heat {
    columns: usize,
    rows: usize,
    seconds: Vec<f64>,
}

impl Heat {
    /// Adds the classes of an answer up.
    pub fn new(answer: &v1::GetPresenceResponse) -> anyhow::Result<Self> {
        let (columns, rows) = (answer.columns as usize, answer.rows as usize);
        let cells = columns.checked_mul(rows).filter(|cells| *cells > 0).context("no cells")?;
        let mut seconds = vec![0.0; cells];
        for class in &answer.classes {
            ensure!(class.seconds.len() == cells, "{} of {cells} cells", class.seconds.len());
            for (sum, more) in seconds.iter_mut().zip(&class.seconds) {
                *sum += f64::from(more.max(0.0));
            }
        }
        Ok(Self { columns, rows, seconds })
    }

    fn most(&self) -> f64 {
        self.seconds.iter().copied().fold(0.0, f64::max)
    }

    /// 0..1, by the square root.
    fn warmth(&self, cell: usize) -> f64 {
        let most = self.most();
        if most > 0.0 { (self.seconds[cell] / most).sqrt() } else { 0.0 }
    }

    /// As lines of print within a frame.
    pub fn text(&self) -> String {
        let columns = TEXT_COLUMNS.min(self.columns);
        let rows = (self.rows * columns).div_ceil(self.columns * 2).max(1);
        let mut sums = vec![0.0; columns * rows];
        for (cell, seconds) in self.seconds.iter().enumerate() {
            let (row, column) = (cell / self.columns * rows / self.rows, cell % self.columns * columns / self.columns);
            sums[row * columns + column] += seconds;
        }
        let most = sums.iter().copied().fold(0.0, f64::max);
        let shade = |seconds: &f64| match *seconds {
            some if some > 0.0 => {
                let steps = (SHADES.len() - 1) as f64;
                SHADES[((some / most).sqrt() * steps).round().max(1.0) as usize]
            }
            _ => SHADES[0],
        };
        let frame = format!("+{}+", "-".repeat(columns));
        let lines = sums.chunks(columns).map(|row| format!("|{}|", row.iter().map(shade).collect::<String>()));
        let scale = format!("{} is {most:.1} s in a cell, the others by the square root", SHADES[SHADES.len() - 1]);
        [frame.clone()].into_iter().chain(lines).chain([frame, scale]).collect::<Vec<_>>().join("\n")
    }

    /// As a picture, over one of the camera where there is one, with a legend below.
    pub fn draw(&self, over: Option<Picture>, title: &str) -> RgbImage {
        let base = over.map_or_else(|| RgbImage::from_pixel(PLAIN.0, PLAIN.1, BACKGROUND), |Picture(picture)| picture);
        let (width, height) = base.dimensions();
        let mut drawn = RgbImage::from_pixel(width, height + LEGEND, BACKGROUND);
        imageops::replace(&mut drawn, &base, 0, 0);
        let cell_of = |at: u32, side: u32, count: usize| (at as usize * count / side as usize).min(count - 1);
        for (x, y, pixel) in drawn.enumerate_pixels_mut().filter(|(_, y, _)| *y < height) {
            let cell = cell_of(y, height, self.rows) * self.columns + cell_of(x, width, self.columns);
            let warmth = self.warmth(cell);
            if warmth > 0.0 {
                let opacity = OPACITY[0] + (OPACITY[1] - OPACITY[0]) * warmth;
                *pixel = mixed(*pixel, colour(warmth), opacity);
            }
        }
        self.legend(&mut drawn, height, title);
        drawn
    }

    fn legend(&self, drawn: &mut RgbImage, top: u32, title: &str) {
        let width = drawn.width();
        let bar = (MARGIN, top + MARGIN + GLYPH * SCALE + 4, (width / 3).max(1), 12);
        for x in 0..bar.2 {
            let shade = colour(f64::from(x) / f64::from(bar.2));
            for y in 0..bar.3 {
                if bar.0 + x < width {
                    drawn.put_pixel(bar.0 + x, bar.1 + y, shade);
                }
            }
        }
        // By the square root: the middle of the bar is a quarter of the most.
        let most = self.most();
        let marks = [(0, "0".to_owned()), (bar.2 / 2, tidy(most / 4.0)), (bar.2, format!("{} s", tidy(most)))];
        for (x, text) in marks {
            write(drawn, (bar.0 + x, top + MARGIN - 2), &text);
        }
        write(drawn, (bar.0 + bar.2 + 8 * GLYPH * SCALE, top + MARGIN - 2), "seconds in a cell");
        write(drawn, (bar.0 + bar.2 + 8 * GLYPH * SCALE, top + MARGIN + GLYPH * SCALE + 2), title);
    }
}

fn tidy(seconds: f64) -> String {
    if seconds < 10.0 { format!("{seconds:.1}") } else { format!("{seconds:.0}") }
}

fn colour(warmth: f64) -> Rgb<u8> {
    let place = warmth.clamp(0.0, 1.0) * (RAMP.len() - 1) as f64;
    let below = (place as usize).min(RAMP.len() - 2);
    mixed(Rgb(RAMP[below]), Rgb(RAMP[below + 1]), place - below as f64)
}

fn mixed(under: Rgb<u8>, over: Rgb<u8>, share: f64) -> Rgb<u8> {
    let mix = |i: usize| (f64::from(under.0[i]) * (1.0 - share) + f64::from(over.0[i]) * share).round() as u8;
    Rgb([mix(0), mix(1), mix(2)])
}

/// Writes a line; what does not fit is cut off.
fn write(drawn: &mut RgbImage, (left, top): (u32, u32), text: &str) {
    for (i, character) in text.chars().enumerate() {
        let glyph = BASIC_FONTS.get(character).or_else(|| BASIC_FONTS.get('?')).unwrap_or_default();
        let left = left + i as u32 * GLYPH * SCALE;
        for (y, x) in (0..GLYPH * SCALE).flat_map(|y| (0..GLYPH * SCALE).map(move |x| (y, x))) {
            let is_set = glyph[(y / SCALE) as usize] >> (x / SCALE) & 1 == 1;
            if is_set && left + x < drawn.width() && top + y < drawn.height() {
                drawn.put_pixel(left + x, top + y, INK);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heat(columns: u32, rows: u32, seconds: &[f32]) -> Heat {
        let class = v1::ClassPresence { object_class: "person".into(), seconds: seconds.into(), events: 1 };
        Heat::new(&v1::GetPresenceResponse { columns, rows, classes: vec![class], ..Default::default() }).unwrap()
    }

    #[test]
    fn print_shows_most_where_most_was_and_nothing_where_nothing_was() {
        let text = heat(4, 2, &[0.0, 0.0, 100.0, 0.0, 0.0, 1.0, 0.0, 0.0]).text();
        assert_eq!(text.lines().collect::<Vec<_>>()[..3], ["+----+", "| .@ |", "+----+"], "{text}");
        assert!(heat(1, 1, &[0.0]).text().contains("| |"));
    }

    #[test]
    fn a_cell_is_coloured_in_its_own_place_and_the_rest_is_left_alone() {
        let mut picture = RgbImage::from_pixel(400, 200, Rgb([100, 100, 100]));
        picture.put_pixel(10, 10, Rgb([1, 2, 3]));
        let drawn = heat(4, 2, &[0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0]).draw(Some(Picture(picture)), "gate");
        assert_eq!(drawn.dimensions(), (400, 200 + LEGEND));
        assert_eq!(*drawn.get_pixel(10, 10), Rgb([1, 2, 3]));
        assert_eq!(*drawn.get_pixel(199, 99), Rgb([100, 100, 100]));
        assert!(drawn.get_pixel(200, 0).0[0] > 200 && drawn.get_pixel(299, 99).0[0] > 200);
        assert_eq!(*drawn.get_pixel(250, 100), Rgb([100, 100, 100]));
    }

    #[test]
    fn an_answer_of_another_size_is_refused() {
        let class = v1::ClassPresence { seconds: vec![1.0], ..Default::default() };
        let answer = v1::GetPresenceResponse { columns: 2, rows: 2, classes: vec![class], ..Default::default() };
        assert!(Heat::new(&answer).is_err() && Heat::new(&v1::GetPresenceResponse::default()).is_err());
    }
}
