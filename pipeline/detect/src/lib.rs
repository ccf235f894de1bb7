//! `Frame` to `Detections`: the only user of ONNX Runtime.
//!
//! ```text
//!  manifest ──▶ Model (checked, one provider chosen) ──▶ Scheduler ──▶ CameraLane: Detector, one per camera
//!
//!  detect:  Frame ──▶ Preprocessor ──▶ session ──▶ Head ──▶ NMS ──▶ Detections
//!           I420      letterboxed       ONNX       boxes     one box      in frame pixels
//!                     tensor           Runtime               per object
//! ```
//!
//! What a model takes and gives is stated by types ([`Layout`], [`HeadKind`]) and checked when it is loaded; the manifest's
//! format, and every rule of pre- and post-processing, stand in `models/README.md`, with a reference in Python beside it.
//!
//! Detections are kept down to a floor well below the model's own threshold: a tracker's second association needs
//! them (Zhang et al., "ByteTrack", ECCV 2022).
//!
//! An answer that no trained model gives, not made of numbers or with boxes nearly everywhere, is an error and no detection:
//! an empty street and a broken model must not look alike.

mod error;
mod heads;
mod kernels;
mod letterbox;
mod manifest;
mod model;
mod mosaic;
mod nms;
mod open;
mod plates;
mod preprocess;
mod provider;
mod regions;
mod resize;
mod runtime;
mod scheduler;
mod session;
mod shadow;

pub use error::{DetectError, ManifestError, RuntimeError};
pub use heads::{HeadKind, read_output};
pub use manifest::{Anchor, Colour, Layout, ModelCatalogue, ModelEntry, Thresholds};
pub use model::{Model, ModelConfig};
pub use plates::{Character, PlateFound, PlateLook, PlateModels, PlatesEntry, Quad, ReadPlates};
pub use provider::{Provider, ProviderChoice, Refusal};
pub use regions::{MAX_REGIONS, Regions};
pub use runtime::{ProviderInfo, Runtime, RuntimeInfo};
pub use scheduler::{CameraLane, Scheduler, SchedulerConfig};
pub use shadow::{ClassDifference, Comparison, Cutoffs, SAME_OBJECT_IOU, Shadow};

use std::sync::Arc;

use vigil_base::detection::ModelIdentity;
use vigil_base::{Detections, Frame};

/// Most objects told of one frame; the least confident beyond it are left out. A crowd that fills a street picture has fewer
/// that a detector can tell apart.
pub const MAX_DETECTIONS: usize = 300;

/// Finds objects on the frames of one camera.
pub trait Detector: Send {
    /// Who finds them.
    fn model(&self) -> Arc<ModelIdentity>;

    /// The objects on a frame, most confident first, in pixels of the frame. Blocks until they are found.
    fn detect(&mut self, frame: &Frame) -> Result<Detections, DetectError>;

    /// As [`Detector::detect`], of what lies in the regions. More may be told: a detector that cannot look at parts, or would
    /// save nothing by it, or finds that a region cuts an object, looks at the whole.
    fn detect_within(&mut self, frame: &Frame, regions: &Regions) -> Result<Detections, DetectError> {
        let _ = regions;
        self.detect(frame)
    }

    /// Says whether the camera's next frames matter more than those of cameras on which nothing is followed.
    fn prefer(&mut self, preferred: bool) {
        let _ = preferred;
    }
}
