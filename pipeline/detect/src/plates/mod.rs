//! Number plates: where on a vehicle one is, and what stands on it.
//!
//! ```text
//!  Frame, a vehicle's box ──▶ Finder ──▶ four corners ──▶ flattened ──▶ Reader ──▶ characters, each with its confidence
//!  cut out of the planes      ONNX       in frame pixels   as from      ONNX, CTC
//!  without a copy                                          the front
//! ```
//!
//! The plate is flattened out of the frame itself, at its own resolution, whatever the finder's input was. Pairs of models
//! are shared by all cameras; nobody waits for one. Which vehicle is looked at when, and what all looks together say, is
//! decided in `pipeline/plates`.

mod cut;
mod find;
mod flatten;
pub(crate) mod manifest;
mod network;
mod read;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use vigil_base::event::ModelRef;
use vigil_base::{BoxPx, Frame};

use crate::model::{choose, report};
use crate::open::OpenError;
use crate::provider::{Provider, ProviderChoice};
use crate::{DetectError, ModelConfig, Runtime};
use find::Finder;
use read::Reader;

pub use flatten::Quad;
pub use manifest::PlatesEntry;

/// Most pairs of sessions: each holds some 20 MB, and cameras share them.
const MAX_PAIRS: usize = 4;

/// One character as it was read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Character {
    /// A letter or digit, upper case.
    pub character: char,
    /// 0..1.
    pub confidence: f32,
}

/// A plate that was found on a vehicle.
#[derive(Debug, Clone, PartialEq)]
pub struct PlateFound {
    /// That it is a plate, 0..1.
    pub confidence: f32,
    /// Where, frame pixels.
    pub corners: Quad,
    /// What stands on it, from the left; empty when nothing can be read, or what was read is no plate by the pair's format.
    pub characters: Vec<Character>,
}

/// What came of a look for a plate.
#[derive(Debug, Clone, PartialEq)]
pub enum PlateLook {
    /// All models are at work for other cameras: nobody looked.
    Busy,
    /// No plate is to be seen.
    Nothing,
    /// There is one.
    Found(PlateFound),
}

/// Looks for plates on vehicles.
pub trait ReadPlates: Send + Sync {
    /// Who reads.
    fn identity(&self) -> &ModelRef;

    /// Looks for a plate on a vehicle, whose box is in pixels of the frame. Does not wait for other cameras.
    ///
    /// # Errors
    /// A model failed on this picture; the next look may go well.
    fn look(&self, frame: &Frame, vehicle: BoxPx) -> Result<PlateLook, DetectError>;
}

/// A pair of plate models, shared by all who look. Cloning shares it.
#[derive(Clone)]
pub struct PlateModels {
    inner: Arc<Inner>,
}

struct Inner {
    runtime: Runtime,
    files: Files,
    identity: ModelRef,
    provider: ProviderChoice,
    /// Those that nobody uses now; as many as there are processors, and no more than [`MAX_PAIRS`].
    free: Mutex<Vec<Pair>>,
}

/// The files' bytes, whose fingerprints were checked.
struct Files {
    entry: PlatesEntry,
    detector: Vec<u8>,
    reader: Vec<u8>,
}

struct Pair {
    finder: Finder,
    reader: Reader,
}

impl Pair {
    fn open(runtime: &Runtime, files: &Files, on: Provider) -> Result<Self, OpenError> {
        Ok(Self {
            finder: Finder::open(runtime, &files.entry, &files.detector, on)?,
            reader: Reader::open(runtime, &files.entry, &files.reader, on)?,
        })
    }

    fn look(&mut self, frame: &Frame, vehicle: BoxPx) -> Result<PlateLook, DetectError> {
        let Some(cut) = cut::cut(frame, vehicle) else { return Ok(PlateLook::Nothing) };
        let Some((confidence, corners)) = self.finder.find(&cut)? else { return Ok(PlateLook::Nothing) };
        let characters = self.reader.read(frame, &corners)?;
        Ok(PlateLook::Found(PlateFound { confidence, corners, characters }))
    }
}

impl PlateModels {
    /// Reads both files, checks their fingerprints, chooses a provider, and runs both once: inputs, outputs and alphabet must
    /// fit each other.
    ///
    /// # Errors
    /// A file is absent, another one, or no such model.
    pub fn load(runtime: &Runtime, entry: &PlatesEntry, config: &ModelConfig) -> Result<Self, DetectError> {
        let file = |part: &manifest::Part| crate::model::read(&part.name, &part.file, &part.sha256);
        let files = Files { detector: file(&entry.detector)?, reader: file(&entry.reader)?, entry: entry.clone() };
        let (first, provider) = choose(&entry.name, config, |on| Pair::open(runtime, &files, on))?;
        report(&entry.name, &provider);
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let mut free = vec![first];
        while free.len() < processors.min(MAX_PAIRS) {
            free.push(open(runtime, &files, provider.active)?);
        }
        let fingerprint = Sha256::digest(format!("{}{}", entry.detector.sha256, entry.reader.sha256));
        let identity =
            ModelRef { name: entry.name.as_str().into(), fingerprint: format!("{fingerprint:x}").as_str().into() };
        let inner = Inner { runtime: runtime.clone(), files, identity, provider, free: Mutex::new(free) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What it runs on.
    pub fn provider(&self) -> &ProviderChoice {
        &self.inner.provider
    }
}

impl ReadPlates for PlateModels {
    /// The pair's name, and the SHA-256 of its two files' fingerprints (detector, then reader, in hex).
    fn identity(&self) -> &ModelRef {
        &self.inner.identity
    }

    fn look(&self, frame: &Frame, vehicle: BoxPx) -> Result<PlateLook, DetectError> {
        let Some(mut pair) = self.inner.free.lock().pop() else { return Ok(PlateLook::Busy) };
        let looked = catch_unwind(AssertUnwindSafe(|| pair.look(frame, vehicle)));
        let Ok(looked) = looked else {
            drop(pair);
            let fresh = open(&self.inner.runtime, &self.inner.files, self.inner.provider.active)?;
            self.inner.free.lock().push(fresh);
            return Err(DetectError::Panicked { model: self.inner.files.entry.name.clone() });
        };
        self.inner.free.lock().push(pair);
        looked
    }
}

impl std::fmt::Debug for PlateModels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlateModels").field("identity", self.identity()).finish_non_exhaustive()
    }
}

fn open(runtime: &Runtime, files: &Files, on: Provider) -> Result<Pair, DetectError> {
    Pair::open(runtime, files, on).map_err(|error| match error {
        OpenError::Model(error) => error,
        OpenError::Provider(reason) => {
            DetectError::NoProvider { model: files.entry.name.clone(), refused: format!("{on}: {reason}") }
        }
    })
}
