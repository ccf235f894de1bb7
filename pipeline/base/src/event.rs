//! The event: what one camera saw of one object, from the confirmation of its track to its loss; or what a rule found.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

pub use crate::appearance::{Appearance, AppearanceMethod, AppearanceVector};
pub use crate::attributes::{
    Attributes, ColourMethod, ColourShare, GroundPosition, MAX_COLOURS, MotionMethod, Part, Speed,
};
use crate::evidence::Evidence;
use crate::rule::RuleKind;
use crate::{BoxNorm, CameraId, EdgeId, EventId, GeoPoint, RegionId, RuleId, TimeSource, Timestamp, TrackId, ZoneId};

/// Most points in [`Event::path`].
pub const MAX_PATH_POINTS: usize = 64;
/// Largest thumbnail, bytes of JPEG.
pub const MAX_THUMBNAIL_BYTES: usize = 256 * 1024;

/// One revision of an event: always the whole event, never a difference.
///
/// `(id, revision)` is the idempotency key of every step from the edge to a subscriber. All times are capture times but
/// `receive_time`; all boxes are shares of the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Given once on the edge.
    pub id: EventId,
    /// From 1, growing.
    pub revision: u32,
    /// Whether more revisions follow.
    pub state: EventState,
    /// The region it belongs to.
    pub region: RegionId,
    /// The edge that made it.
    pub edge: EdgeId,
    /// The camera that saw it.
    pub camera: CameraId,
    /// Class name, lower case; empty where a rule found something that is no object.
    pub object_class: Arc<str>,
    /// The track it reports; 0 where there is none.
    pub track: TrackId,
    /// First frame of the object, or of what a rule found; the same in all revisions.
    pub begin_time: Timestamp,
    /// Last frame of it so far.
    pub end_time: Timestamp,
    /// The frame that confirmed the track, or on which the rule fired; the same in all revisions.
    pub confirm_time: Timestamp,
    /// When the region committed this revision; none on the edge.
    pub receive_time: Option<Timestamp>,
    /// Which clock the capture times come from.
    pub time_source: TimeSource,
    /// Highest confidence so far, 0..1; 1 where there is no object.
    pub confidence: f32,
    /// Box at the best moment; the whole picture where there is no object.
    pub best_box: BoxNorm,
    /// The best moment.
    pub best_time: Timestamp,
    /// Sampled boxes in time order, at most [`MAX_PATH_POINTS`].
    pub path: Vec<PathPoint>,
    /// How it looked and moved.
    pub attributes: Attributes,
    /// Where the camera stands, or the object where the camera is calibrated.
    pub location: Option<GeoPoint>,
    /// What a rule found; none for plain object tracks.
    pub finding: Option<Finding>,
    /// The plate, where one was read.
    pub plate: Option<Plate>,
    /// Key of its thumbnail, where there is one.
    pub thumbnail_key: Option<Arc<str>>,
    /// Name of the model and SHA-256 of its file in hex.
    pub model: ModelRef,
    /// W3C traceparent, where there is one.
    pub trace_parent: Option<Arc<str>>,
    /// What the object looked like, where it was seen well enough.
    pub appearance: Option<Appearance>,
}

impl Event {
    /// What kind of event it is.
    pub fn kind(&self) -> EventKind {
        self.finding.as_ref().map_or(EventKind::Object, |finding| EventKind::Rule(finding.kind))
    }
}

/// What a rule found.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Which rule of the camera's.
    pub rule: RuleId,
    /// What it watches for.
    pub kind: RuleKind,
    /// The zone or line it watches.
    pub zone: Option<ZoneId>,
    /// What made it fire; of what goes on, as it is now.
    pub evidence: Evidence,
    /// How many firings of the rule its cool-down kept back since the one before.
    pub suppressed: u32,
}

/// Whether an event still grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventState {
    /// The track lives, or what the rule found goes on.
    Ongoing,
    /// The last revision; of what a rule found and a break of the watch cut off, perhaps the last.
    Ended(EndReason),
}

/// Why an event ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// The object was no longer seen.
    Lost,
    /// The camera's stream ended while the object was in view.
    StreamLost,
    /// The edge was shut down in order.
    EdgeStopped,
    /// The edge died; the event was closed when it came back.
    EdgeRestarted,
    /// What the rule found is over.
    Over,
    /// The rule was disarmed, or its schedule's window closed.
    RuleOff,
    /// The rule was changed or taken out.
    RuleChanged,
}

/// What kind of event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKind {
    /// An object of a class was seen and tracked.
    Object,
    /// A rule fired.
    Rule(RuleKind),
}

impl EventKind {
    /// All kinds.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Object].into_iter().chain(RuleKind::ALL.map(Self::Rule))
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Object => "object",
            Self::Rule(kind) => kind.name(),
        })
    }
}

/// A text names no member of a closed list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a known {what}; known are: {known}")]
pub struct UnknownName {
    /// Which list.
    pub what: &'static str,
    /// The text.
    pub value: String,
    /// The list.
    pub known: String,
}

fn known<T: fmt::Display>(all: impl Iterator<Item = T>) -> String {
    all.map(|member| member.to_string()).collect::<Vec<_>>().join(", ")
}

impl FromStr for EventKind {
    type Err = UnknownName;
    fn from_str(value: &str) -> Result<Self, UnknownName> {
        Self::all().find(|kind| kind.to_string() == value).ok_or_else(|| UnknownName {
            what: "event kind",
            value: value.chars().take(80).collect(),
            known: known(Self::all()),
        })
    }
}

/// One sampled box of a track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PathPoint {
    /// Capture time.
    pub time: Timestamp,
    /// Where.
    pub bbox: BoxNorm,
    /// Confidence of the detection, 0..1.
    pub confidence: f32,
}

/// The eleven basic colour terms (Berlin and Kay, 1969) and cyan, which lamps and signs need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // The names say it.
pub enum Colour {
    Black,
    White,
    Grey,
    Red,
    Orange,
    Yellow,
    Green,
    Cyan,
    Blue,
    Purple,
    Pink,
    Brown,
}

impl Colour {
    /// All colours.
    pub const ALL: [Self; 12] = [
        Self::Black,
        Self::White,
        Self::Grey,
        Self::Red,
        Self::Orange,
        Self::Yellow,
        Self::Green,
        Self::Cyan,
        Self::Blue,
        Self::Purple,
        Self::Pink,
        Self::Brown,
    ];

    /// The colour's name, lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Black => "black",
            Self::White => "white",
            Self::Grey => "grey",
            Self::Red => "red",
            Self::Orange => "orange",
            Self::Yellow => "yellow",
            Self::Green => "green",
            Self::Cyan => "cyan",
            Self::Blue => "blue",
            Self::Purple => "purple",
            Self::Pink => "pink",
            Self::Brown => "brown",
        }
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Colour {
    type Err = UnknownName;
    fn from_str(value: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|colour| colour.name() == value).ok_or_else(|| UnknownName {
            what: "colour",
            value: value.chars().take(80).collect(),
            known: known(Self::ALL.into_iter()),
        })
    }
}

/// Longest text of a plate, in bytes; ten characters of any script.
pub const MAX_PLATE_BYTES: usize = 32;

/// A number plate as read.
#[derive(Clone, PartialEq)]
pub struct Plate {
    /// Upper case, without blanks.
    pub text: String,
    /// That all of it is right, 0..1.
    pub confidence: f32,
    /// Readings that it was voted over; 0 where that is not known.
    pub looks: u32,
    /// Who read it, where that is known.
    pub model: Option<ModelRef>,
}

impl fmt::Debug for Plate {
    /// How sure, not what: logs are no place for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plate {{ {} characters, confidence: {} }}", self.text.chars().count(), self.confidence)
    }
}

/// What was read on a track, voted over its frames by whoever reads. Given again when a better reading replaces it.
#[derive(Debug, Clone, PartialEq)]
pub struct PlateReading {
    /// Whose plate it is.
    pub track: TrackId,
    /// The reading.
    pub plate: Plate,
}

/// Which model made an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRef {
    /// Name in the manifest.
    pub name: Arc<str>,
    /// SHA-256 of the model file, lower-case hex.
    pub fingerprint: Arc<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_closed_lists_come_back() {
        for colour in Colour::ALL {
            assert_eq!(colour.name().parse::<Colour>().unwrap(), colour);
        }
        for kind in EventKind::all() {
            assert_eq!(kind.to_string().parse::<EventKind>().unwrap(), kind);
        }
        let err = "mauve".parse::<Colour>().unwrap_err().to_string();
        assert!(err.contains("\"mauve\"") && err.contains("purple"), "{err}");
    }
}
