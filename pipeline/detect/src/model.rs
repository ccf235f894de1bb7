//! A model of the manifest, loaded, checked, and put on the best provider that works.

use std::path::Path;
use std::sync::Arc;

use metrics::gauge;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use vigil_base::detection::ModelIdentity;
use vigil_base::{Detections, Frame, Timestamp};

use crate::manifest::{ModelEntry, Thresholds};
use crate::open::OpenError;
use crate::provider::{Provider, ProviderChoice, Refusal};
use crate::session::{Engine, Look, OnnxEngine, SessionPlan};
use crate::{DetectError, Detector, Regions, Runtime};

/// How a model is run.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// On what, in order of preference.
    pub providers: Vec<Provider>,
    /// Whether something less preferred, at last the CPU, may run it where the first does not work.
    pub fallback: bool,
    /// Confidence below which nothing is told, 0..1. Well below the model's own threshold, for the tracker's second look.
    pub floor: f32,
}

impl Default for ModelConfig {
    /// The CPU, and every box from 0.1 on (as in Zhang et al., "ByteTrack", ECCV 2022).
    fn default() -> Self {
        Self { providers: vec![Provider::Cpu], fallback: true, floor: 0.1 }
    }
}

/// A loaded model. Cloning shares it.
#[derive(Clone)]
pub struct Model {
    inner: Arc<Inner>,
}

struct Inner {
    runtime: Runtime,
    plan: Arc<SessionPlan>,
    provider: ProviderChoice,
    /// The session that the model was checked with, until somebody needs one.
    spare: Mutex<Option<OnnxEngine>>,
}

impl Model {
    /// Reads the file, checks its fingerprint, chooses a provider, checks input and output, and runs it once on a grey
    /// picture.
    pub fn load(runtime: &Runtime, entry: &ModelEntry, config: &ModelConfig) -> Result<Self, DetectError> {
        let file = read(&entry.name, &entry.file, &entry.sha256)?;
        let identity = Arc::new(ModelIdentity {
            name: entry.name.clone(),
            fingerprint: entry.sha256.clone(),
            classes: entry.classes.clone(),
            confidence: entry.confidence.clone(),
        });
        let plan = Arc::new(SessionPlan { entry: entry.clone(), identity, file, floor: config.floor.clamp(0.0, 1.0) });
        let (mut engine, provider) = choose(&entry.name, config, |on| OnnxEngine::open(runtime, &plan, on))?;
        let grey = Frame::uniform(entry.input, [128; 3], Timestamp::default());
        engine.detect(&[Look { frame: grey, regions: Regions::WHOLE }])?;
        report(&entry.name, &provider);
        Ok(Self {
            inner: Arc::new(Inner { runtime: runtime.clone(), plan, provider, spare: Mutex::new(Some(engine)) }),
        })
    }

    /// Its name, fingerprint and classes.
    pub fn identity(&self) -> &Arc<ModelIdentity> {
        &self.inner.plan.identity
    }

    /// Its own thresholds, from the manifest.
    pub fn thresholds(&self) -> Thresholds {
        self.inner.plan.entry.thresholds
    }

    /// What it runs on, and what does not work.
    pub fn provider(&self) -> &ProviderChoice {
        &self.inner.provider
    }

    /// A detector of its own, for one caller; [`crate::Scheduler`] shares the model among cameras.
    pub fn detector(&self) -> Result<impl Detector + use<>, DetectError> {
        Ok(SingleDetector { engine: self.engine()?, identity: self.identity().clone() })
    }

    /// A session of its own that runs the model on one and the same picture at each call, with nothing before or behind it:
    /// the floor that measurements compare a detector with.
    pub fn inference_alone(&self) -> Result<impl FnMut() -> Result<(), DetectError> + use<>, DetectError> {
        let mut engine = self.engine()?;
        Ok(move || engine.run_alone())
    }

    pub(crate) fn engine(&self) -> Result<OnnxEngine, DetectError> {
        if let Some(engine) = self.inner.spare.lock().take() {
            return Ok(engine);
        }
        let active = self.inner.provider.active;
        OnnxEngine::open(&self.inner.runtime, &self.inner.plan, active).map_err(|err| match err {
            OpenError::Model(err) => err,
            OpenError::Provider(reason) => {
                DetectError::NoProvider { model: self.identity().name.clone(), refused: format!("{active}: {reason}") }
            }
        })
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("name", &self.identity().name)
            .field("provider", self.provider())
            .finish_non_exhaustive()
    }
}

struct SingleDetector {
    engine: OnnxEngine,
    identity: Arc<ModelIdentity>,
}

impl Detector for SingleDetector {
    fn model(&self) -> Arc<ModelIdentity> {
        self.identity.clone()
    }

    fn detect(&mut self, frame: &Frame) -> Result<Detections, DetectError> {
        self.detect_within(frame, &Regions::WHOLE)
    }

    fn detect_within(&mut self, frame: &Frame, regions: &Regions) -> Result<Detections, DetectError> {
        let mut found = self.engine.detect(&[Look { frame: frame.clone(), regions: *regions }])?;
        Ok(found.pop().expect("one frame has one answer"))
    }
}

/// A model's file, if it is the one that the manifest means.
pub(crate) fn read(name: &str, path: &Path, sha256: &str) -> Result<Vec<u8>, DetectError> {
    let (model, path) = (name.to_owned(), path.to_owned());
    let file = match std::fs::read(&path) {
        Ok(file) => file,
        Err(source) => return Err(DetectError::ModelFile { model, path, source: Arc::new(source) }),
    };
    let found = format!("{:x}", Sha256::digest(&file));
    if found != sha256 {
        return Err(DetectError::Fingerprint { model, path, expected: sha256.to_owned(), found });
    }
    Ok(file)
}

/// Opens a model on the first provider that works.
pub(crate) fn choose<T>(
    name: &str,
    config: &ModelConfig,
    mut open: impl FnMut(Provider) -> Result<T, OpenError>,
) -> Result<(T, ProviderChoice), DetectError> {
    let mut wanted = config.providers.clone();
    if config.fallback || wanted.is_empty() {
        wanted.push(Provider::Cpu);
    } else {
        wanted.truncate(1);
    }
    let mut refused: Vec<Refusal> = Vec::new();
    for provider in wanted {
        match open(provider) {
            Ok(opened) => {
                return Ok((opened, ProviderChoice { requested: config.providers.clone(), active: provider, refused }));
            }
            Err(OpenError::Model(err)) => return Err(err),
            Err(OpenError::Provider(reason)) => refused.push(Refusal { provider, reason }),
        }
    }
    let refused: Vec<_> = refused.iter().map(|refusal| format!("{}: {}", refusal.provider, refusal.reason)).collect();
    Err(DetectError::NoProvider { model: name.to_owned(), refused: refused.join("; ") })
}

/// Says loudly what the model runs on: a GPU that silently became a CPU is the complaint most often heard.
pub(crate) fn report(name: &str, choice: &ProviderChoice) {
    for Refusal { provider, reason } in &choice.refused {
        tracing::warn!(model = name, %provider, reason, "execution provider does not work here");
    }
    tracing::info!(model = name, provider = %choice.active, fallback = choice.is_fallback(), "model is loaded");
    for provider in Provider::ALL {
        let labels = [("model", name.to_owned()), ("provider", provider.to_string())];
        gauge!("vigil_inference_provider_info", &labels).set(if provider == choice.active { 1.0 } else { 0.0 });
    }
}
