//! The words every room of Vigil shares.
//!
//! Types on the arrows of the pipeline ([`EncodedPacket`], [`Frame`], [`Detections`], [`Event`]), the ids and clocks they
//! carry, and the geometry they are drawn in. Nothing here opens a file or a socket; the only code that reads a clock is
//! [`SystemClock`].
//!
//! Conventions, kept everywhere:
//! - [`BoxNorm`] is 0..1 of the picture, [`BoxPx`] is pixels; origin top-left, x right, y down.
//! - [`Timestamp`] is UTC microseconds. Capture time and receive time are two fields with two names.
//! - Monotonic time ([`Clock::monotonic`]) never leaves a process.

pub mod address;
pub mod appearance;
pub mod attributes;
pub mod clock;
pub mod confidence;
pub mod config;
pub mod coverage;
pub mod detection;
pub mod error;
pub mod event;
pub mod evidence;
pub mod frame;
pub mod geometry;
pub mod ground;
pub mod ids;
pub mod packet;
pub mod rule;
pub mod time;

pub use address::StreamAddress;
pub use clock::{Clock, SharedClock, SimClock, SystemClock};
pub use confidence::{ConfidenceScale, Confidences};
pub use config::Secret;
pub use detection::{Detection, Detections, Hold};
pub use event::Event;
pub use evidence::Evidence;
pub use frame::{ColourMatrix, Frame, Plane};
pub use geometry::{BoxNorm, BoxPx, GeoPoint, PointNorm, Polygon, Size};
pub use ground::GroundPlane;
pub use ids::{CameraId, EdgeId, EventId, GatewayId, InstanceId, OperatorId, RegionId, RuleId, TrackId, ZoneId};
pub use packet::{Codec, EncodedPacket};
pub use rule::RuleKind;
pub use time::{TimeSource, Timestamp};
