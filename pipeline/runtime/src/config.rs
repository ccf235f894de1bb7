//! What a camera's chain is told.

use std::sync::Arc;

use vigil_base::CameraId;
use vigil_camera::{CameraStatus, Source};
use vigil_decode::DecoderConfig;
use vigil_detect::Detector;
use vigil_event::EventContext;
use vigil_gate::PacketGateConfig;

use crate::analyse::AnalyserConfig;
use crate::memory::MemoryStore;
use crate::openings::Openings;

/// Gives a camera its place at the detector; called again after a panic.
pub type DetectorSource = Arc<dyn Fn() -> Box<dyn Detector> + Send + Sync>;

/// Told of a camera's state, with a sentence for people.
pub type StatusListener = Arc<dyn Fn(&CameraStatus, &str) + Send + Sync>;

/// Told why pictures cannot be analysed although packets come, and with `None` when they can again.
pub type SightListener = Arc<dyn Fn(Option<&str>) + Send + Sync>;

/// One camera.
#[derive(Clone)]
pub struct ChainConfig {
    /// Its id.
    pub camera: CameraId,
    /// Where its stream comes from.
    pub source: Source,
    /// How it is decoded.
    pub decoder: DecoderConfig,
    /// Frames a second that are analysed.
    pub rate: f64,
    /// Decode only keyframes while nothing goes on; `None` decodes everything.
    pub gate: Option<PacketGateConfig>,
    /// Whose turn it is to be decoded in full at the start; shared by all cameras of an edge.
    pub openings: Arc<Openings>,
    /// How.
    pub analyser: AnalyserConfig,
    /// Whose events they are.
    pub context: EventContext,
    /// Who looks at the frames.
    pub detector: DetectorSource,
    /// Told whenever the camera's state changes, with a sentence for people.
    pub on_status: StatusListener,
    /// Where what the rules remember outlives the process; nowhere when absent.
    pub memory: Option<Arc<dyn MemoryStore>>,
    /// Told when the edge goes blind on a camera that streams, and when it sees again.
    pub on_sight: SightListener,
}
