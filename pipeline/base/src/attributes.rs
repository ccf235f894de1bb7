//! How an object looked and moved: what was measured, how, and how sure it is. What is not known is not told.

use crate::event::Colour;
use crate::ground::GroundPoint;

/// How an object looked and moved.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attributes {
    /// Dominant colours by part, largest share first within each; at most [`MAX_COLOURS`].
    pub colours: Vec<ColourShare>,
    /// How the colours were found; none where there are none.
    pub colour_method: Option<ColourMethod>,
    /// From where it was first seen to where it was last: degrees in the picture, 0 up, 90 right; none when it stood still.
    pub direction_degrees: Option<f32>,
    /// How straight it went there, 0..1: the distance between the two places over the distance travelled (mean resultant
    /// length; Mardia and Jupp, *Directional Statistics*, 2000).
    pub direction_confidence: Option<f32>,
    /// Mean speed along its path.
    pub speed: Option<Speed>,
    /// Standard error of the speed, in its unit.
    pub speed_error: Option<f32>,
    /// How direction and speed were found; none where there is neither.
    pub motion_method: Option<MotionMethod>,
    /// Where it stood when its foot was last in view; only where the camera is calibrated.
    pub position: Option<GroundPosition>,
}

/// Most colours of an event: three of each part.
pub const MAX_COLOURS: usize = 9;

/// A colour that an object shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColourShare {
    /// Which part of it.
    pub part: Part,
    /// The colour.
    pub colour: Colour,
    /// Share of the part's pixels, 0..1.
    pub share: f32,
    /// How likely another sighting shows it, too, 0..1; zero where nobody reckoned it.
    pub confidence: f32,
}

/// A part of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// All of it; of a vehicle its body.
    Whole,
    /// A person's upper body.
    Upper,
    /// A person's lower body.
    Lower,
}

impl Part {
    /// All parts.
    pub const ALL: [Self; 3] = [Self::Whole, Self::Upper, Self::Lower];

    /// Its name, lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Upper => "upper",
            Self::Lower => "lower",
        }
    }
}

/// How colours are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColourMethod {
    /// Pixels on a grid are named by hue, saturation and value; sightings of a track vote. A colour's confidence is the rule of
    /// succession (Laplace): sightings that show it plus one, over all sightings plus two.
    HsvVote,
}

impl ColourMethod {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::HsvVote => "hsv_vote",
        }
    }
}

/// How fast an object moved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// The camera is not calibrated.
    PictureWidthsPerSecond(f32),
    /// On the ground plane of a calibrated camera.
    MetresPerSecond(f32),
}

/// How direction and speed are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MotionMethod {
    /// From where the object's foot was in the picture, a second or more apart.
    PicturePath,
    /// The same, speed from places on the ground plane.
    GroundPath,
}

impl MotionMethod {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::PicturePath => "picture_path",
            Self::GroundPath => "ground_path",
        }
    }
}

/// A place on the ground plane of a calibrated camera.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroundPosition {
    /// Metres, from the plane's own origin.
    pub place: GroundPoint,
    /// Root mean square error, metres, from how exact boxes are: the plane's own error comes on top.
    pub error_metres: f32,
}
