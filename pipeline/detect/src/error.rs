//! What can go wrong between a frame and its detections, by when it goes wrong: at the manifest, the runtime, the model, a
//! frame.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A manifest, or a file it names, is not as `models/README.md` specifies.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The manifest or a class list cannot be read.
    #[error("{} cannot be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Not TOML, or with an unknown, missing or misplaced key; the cause names it.
    #[error("{} is not a model manifest", .path.display())]
    Syntax {
        /// The manifest.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A value is out of its range.
    #[error("{}: {key} {problem}", .path.display())]
    Value {
        /// The manifest.
        path: PathBuf,
        /// The key's path, such as `model "yolo11n".input.width`.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// No entry of that name.
    #[error("{}: there is no model {name:?}; there are: {known}", .path.display())]
    NoSuchModel {
        /// The manifest.
        path: PathBuf,
        /// What was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// Plates are to be read, no pair of models was named, and the manifest has no default pair.
    #[error("{}: has no default_plates to read plates with: name a pair of its [[plates]] (it has: {known}), or use the product's own manifest", .path.display())]
    NoPlates {
        /// The manifest.
        path: PathBuf,
        /// The pairs there are.
        known: String,
    },
    /// No name was asked for, and the manifest has no default.
    #[error("{}: name a model, the manifest has no default; there are: {known}", .path.display())]
    NoDefault {
        /// The manifest.
        path: PathBuf,
        /// The names there are.
        known: String,
    },
}

/// ONNX Runtime is not there, or not usable.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// No library at that path.
    #[error("ONNX Runtime is not at {}; run scripts/setup, or set ORT_DYLIB_PATH to libonnxruntime.so", .path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// There is a file, but it is no ONNX Runtime, or one that is too old.
    #[error("{} cannot be used as ONNX Runtime (1.24 or later is needed)", .path.display())]
    Unusable {
        /// The library.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A process can load only one runtime.
    #[error("ONNX Runtime {} is loaded already; {} cannot be loaded beside it", .loaded.display(), .path.display())]
    AnotherIsLoaded {
        /// The one in use.
        loaded: PathBuf,
        /// The one asked for.
        path: PathBuf,
    },
}

/// A model cannot be loaded, or a frame cannot be analysed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DetectError {
    /// The model's file cannot be read.
    #[error("model {model}: {} cannot be read; run scripts/setup, or correct `file` in the manifest", .path.display())]
    ModelFile {
        /// Name in the manifest.
        model: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The model's file is not the one the manifest means.
    #[error("model {model}: {} has sha256 {found}, the manifest says {expected}: fetch or build the file again (scripts/setup builds the default one), or correct the manifest", .path.display())]
    Fingerprint {
        /// Name in the manifest.
        model: String,
        /// The file.
        path: PathBuf,
        /// As the manifest says.
        expected: String,
        /// As it is.
        found: String,
    },
    /// ONNX Runtime refuses the model's file.
    #[error("model {model}: ONNX Runtime cannot load {}", .path.display())]
    Unloadable {
        /// Name in the manifest.
        model: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<ort::Error>,
    },
    /// The model does not take or give what the manifest says.
    #[error("model {model}: {what} should be {expected}, found {found}")]
    Interface {
        /// Name in the manifest.
        model: String,
        /// Which part: "the input", "the output", "the number of inputs".
        what: &'static str,
        /// By the manifest.
        expected: String,
        /// In the file, or out of a run.
        found: String,
    },
    /// None of the wanted execution providers works, and falling back is not allowed.
    #[error("model {model}: no wanted execution provider works ({refused}), and fallback is off")]
    NoProvider {
        /// Name in the manifest.
        model: String,
        /// Each provider and why it is out.
        refused: String,
    },
    /// A run of the model failed.
    #[error("model {model}: a run failed")]
    Run {
        /// Name in the manifest.
        model: String,
        /// Why.
        #[source]
        source: Arc<ort::Error>,
    },
    /// The model's answer is not made of numbers.
    #[error(
        "model {model}: {spoilt} of {anchors} answers on a picture are no numbers; the model is damaged, or overflows: choose another, or its float32 form"
    )]
    NotNumbers {
        /// Name in the manifest.
        model: String,
        /// Anchors whose score or box is no number.
        spoilt: usize,
        /// All anchors.
        anchors: usize,
    },
    /// The model finds something nearly everywhere.
    #[error(
        "model {model}: {found} boxes on one picture are above the limit of {limit}; it is not trained, or `head` in the manifest is not its own"
    )]
    TooMany {
        /// Name in the manifest.
        model: String,
        /// Boxes above the floor.
        found: usize,
        /// Most that are taken for an answer.
        limit: usize,
    },
    /// A frame without pixels, or with planes that do not fit its size.
    #[error("a frame of {width}x{height} cannot be analysed: {problem}")]
    BadFrame {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The code that runs the model panicked; it is set up anew for the next frame.
    #[error("model {model}: a run panicked")]
    Panicked {
        /// Name in the manifest.
        model: String,
    },
    /// The machine refuses a thread.
    #[error("model {model}: no thread for it could be started: check the limits on processes and memory")]
    Thread {
        /// Name in the manifest.
        model: String,
        /// What the system says.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// No session became free for too long.
    #[error("model {model}: no session became free within {waited:?}; analyse fewer frames a second, or use a GPU")]
    Overloaded {
        /// Name in the manifest.
        model: String,
        /// How long the frame waited.
        waited: Duration,
    },
}

impl DetectError {
    /// Whether one picture is to blame, and not the session that ran: others of its batch may go well.
    pub(crate) fn blames_picture(&self) -> bool {
        matches!(self, Self::BadFrame { .. } | Self::NotNumbers { .. } | Self::TooMany { .. })
    }
}
