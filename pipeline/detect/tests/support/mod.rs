//! What scripts/setup has put into the cache.

#![allow(dead_code)] // Each test file uses a part of it.
#![allow(clippy::unwrap_used)] // It is test code, outside of any test function.

use std::path::PathBuf;

use vigil_base::{ColourMatrix, Frame, Size, Timestamp};
use vigil_detect::{DetectError, Detector, Model, ModelCatalogue, ModelConfig, Runtime};

/// A file or folder below the cache; a clear failure where it is absent.
pub fn cached(path: &str) -> PathBuf {
    let home = || std::env::var("HOME").map(|home| format!("{home}/.cache/vigil"));
    let cache = std::env::var("VIGIL_CACHE").or_else(|_| home()).expect("HOME or VIGIL_CACHE is set");
    let path = PathBuf::from(cache).join(path);
    assert!(path.exists(), "{} is absent: run scripts/setup", path.display());
    path
}

pub fn runtime() -> Runtime {
    Runtime::start(None).unwrap()
}

/// The product's own manifest.
pub fn models() -> ModelCatalogue {
    cached("models");
    ModelCatalogue::load(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models/manifest.toml")).unwrap()
}

/// Tiny models with known answers, and broken ones.
pub fn test_models() -> ModelCatalogue {
    ModelCatalogue::load(&cached("test-models/manifest.toml")).unwrap()
}

pub fn load(catalogue: &ModelCatalogue, name: &str) -> Result<Model, DetectError> {
    Model::load(&runtime(), catalogue.entry(Some(name)).unwrap(), &ModelConfig::default())
}

pub fn detector(catalogue: &ModelCatalogue, name: &str) -> impl Detector {
    load(catalogue, name).unwrap().detector().unwrap()
}

/// A frame as the reference in Python describes and keeps it.
#[derive(serde::Deserialize)]
pub struct Picture {
    pub file: String,
    width: u32,
    height: u32,
    matrix: String,
    full_range: bool,
}

impl Picture {
    pub fn frame(&self) -> Frame {
        let matrix = if self.matrix == "bt709" { ColourMatrix::Bt709 } else { ColourMatrix::Bt601 };
        let samples = std::fs::read(cached("parity").join(&self.file)).unwrap();
        frame(&samples, Size::new(self.width, self.height), matrix, self.full_range)
    }
}

/// A frame from packed I420 samples.
pub fn frame(samples: &[u8], size: Size, matrix: ColourMatrix, full_range: bool) -> Frame {
    let mut frame = Frame::uniform(size, [0; 3], Timestamp::default());
    let mut rest = samples;
    for plane in &mut frame.planes {
        let (own, others) = rest.split_at((plane.width * plane.height) as usize);
        plane.data = own.to_vec().into();
        rest = others;
    }
    assert!(rest.is_empty(), "{} bytes too many for {size}", rest.len());
    Frame { matrix, full_range, ..frame }
}
