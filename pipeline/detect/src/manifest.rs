//! The model manifest: which detectors there are, how each is fed, how its answer is read.
//!
//! `models/README.md` specifies the format. What is written and what is meant are two sets of types: the raw ones here, and
//! [`ModelEntry`], in which every path is resolved and every number is within its range.

use std::collections::{BTreeMap, HashSet};
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use vigil_base::{ConfidenceScale, Confidences, Size};

use crate::heads::HeadKind;
use crate::plates::manifest::{self as plates, PlatesEntry, RawPlates};
use crate::{ManifestError, runtime};

/// The format's version that this code reads.
const SCHEMA: u32 = 1;
/// Largest side of a model's input, pixels; no detector in use is larger than 1536.
const MAX_SIDE: u32 = 4096;
/// Sides are multiples of the coarsest stride of the supported heads.
pub(crate) const SIDE_STEP: u32 = 32;
/// Longest model name: it goes into every event.
const MAX_NAME: usize = 64;
/// Most classes: class indexes are 16 bits wide, and no published detector has more than 21,000.
const MAX_CLASSES: usize = u16::MAX as usize;

/// Shape, type and range of a model's input tensor; `N` is the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// uint8 `[N, height, width, 3]`, 0..255.
    NhwcU8,
    /// float32 `[N, 3, height, width]`, 0..255.
    #[serde(rename = "nchw_f32_255")]
    NchwF32,
    /// float32 `[N, 3, height, width]`, 0..1.
    #[serde(rename = "nchw_f32_unit")]
    NchwF32Unit,
}

/// Order of a tensor's three channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    /// Red first.
    Rgb,
    /// Blue first.
    Bgr,
}

/// Where the picture lies on the model's canvas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anchor {
    /// At the top left corner.
    TopLeft,
    /// In the middle.
    Centre,
}

/// From which values on a box counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Confidence from which on the model's maker takes a box for real, 0..1.
    pub confidence: f32,
    /// Intersection over union above which two boxes of a class are one object, 0..1.
    pub nms_iou: f32,
}

/// One model, everything resolved and checked but the file itself.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelEntry {
    /// Its name; goes into every event.
    pub name: String,
    /// The ONNX file.
    pub file: PathBuf,
    /// Lower-case hex of what `file` must hash to.
    pub sha256: String,
    /// How its output is read.
    pub head: HeadKind,
    /// Class names by index, lower case.
    pub classes: Vec<String>,
    /// The canvas, pixels; the largest one with `any_size`.
    pub input: Size,
    /// The model runs on every canvas whose sides are multiples of 32.
    pub any_size: bool,
    /// The input tensor.
    pub layout: Layout,
    /// Order of its channels.
    pub colour: Colour,
    /// Where the picture lies on the canvas.
    pub anchor: Anchor,
    /// Value of all three channels beside the picture.
    pub pad: u8,
    /// The model's own thresholds.
    pub thresholds: Thresholds,
    /// What its confidences are worth.
    pub confidence: Confidences,
}

/// All models of one manifest.
#[derive(Debug, Clone)]
pub struct ModelCatalogue {
    path: PathBuf,
    default: Option<String>,
    entries: Vec<ModelEntry>,
    default_plates: Option<String>,
    plates: Vec<PlatesEntry>,
}

impl ModelCatalogue {
    /// Reads and checks a manifest: the product's own, or a user's.
    pub fn load(path: &Path) -> Result<Self, ManifestError> {
        let text = read(path)?;
        let raw: RawManifest = toml::from_str(&text)
            .map_err(|source| ManifestError::Syntax { path: path.to_owned(), source: Box::new(source) })?;
        let reader = Reader { path };
        if raw.schema != SCHEMA {
            return Err(reader.wrong("schema", format!("is {}, this version reads {SCHEMA}", raw.schema)));
        }
        let mut names = HashSet::new();
        let mut entries = Vec::with_capacity(raw.model.len());
        for model in raw.model {
            if !names.insert(model.name.clone()) {
                return Err(reader.wrong(&format!("model {:?}", model.name), "stands twice"));
            }
            entries.push(reader.entry(model)?);
        }
        let plates = plates::entries(&reader, raw.plates)?;
        let path = path.to_owned();
        let catalogue = Self { path, default: raw.default, entries, default_plates: raw.default_plates, plates };
        if let Some(name) = &catalogue.default {
            catalogue.entry(Some(name))?;
        }
        if let Some(name) = &catalogue.default_plates {
            catalogue.plates(Some(name))?;
        }
        Ok(catalogue)
    }

    /// The model of that name, or the default one.
    pub fn entry(&self, name: Option<&str>) -> Result<&ModelEntry, ManifestError> {
        let Some(name) = name.or(self.default.as_deref()) else {
            return Err(ManifestError::NoDefault { path: self.path.clone(), known: self.names() });
        };
        self.entries.iter().find(|entry| entry.name == name).ok_or_else(|| ManifestError::NoSuchModel {
            path: self.path.clone(),
            name: name.to_owned(),
            known: self.names(),
        })
    }

    /// The pair of plate models of that name, or the default one.
    pub fn plates(&self, name: Option<&str>) -> Result<&PlatesEntry, ManifestError> {
        let known = || self.plates.iter().map(|pair| pair.name.as_str()).collect::<Vec<_>>().join(", ");
        let Some(name) = name.or(self.default_plates.as_deref()) else {
            return Err(ManifestError::NoPlates { path: self.path.clone(), known: known() });
        };
        self.plates.iter().find(|pair| pair.name == name).ok_or_else(|| ManifestError::NoSuchModel {
            path: self.path.clone(),
            name: name.to_owned(),
            known: known(),
        })
    }

    /// Whether it tells of plate models at all.
    pub fn has_plates(&self) -> bool {
        !self.plates.is_empty()
    }

    /// All models, in the manifest's order.
    pub fn entries(&self) -> &[ModelEntry] {
        &self.entries
    }

    fn names(&self) -> String {
        self.entries.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawManifest {
    schema: u32,
    default: Option<String>,
    #[serde(default)]
    model: Vec<RawModel>,
    default_plates: Option<String>,
    #[serde(default)]
    plates: Vec<RawPlates>,
}

/// An entry as it is written. `description`, `licence` and `source` are for people and auditors.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawModel {
    name: String,
    #[serde(rename = "description")]
    _description: Option<String>,
    file: PathBuf,
    sha256: String,
    #[serde(rename = "licence")]
    _licence: Option<String>,
    head: HeadKind,
    classes: RawClasses,
    input: RawInput,
    letterbox: RawLetterbox,
    thresholds: RawThresholds,
    confidence: Option<RawConfidence>,
    #[serde(rename = "source")]
    _source: Option<toml::Table>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "classes must be the path of a text file, or an array of names")]
enum RawClasses {
    File(PathBuf),
    Names(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInput {
    width: u32,
    height: u32,
    #[serde(default)]
    any_size: bool,
    layout: Layout,
    colour: Colour,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLetterbox {
    pub anchor: Anchor,
    pub pad: u8,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawThresholds {
    confidence: f32,
    nms_iou: f32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfidence {
    even_odds: f32,
    slope: f32,
    /// Of classes that differ, by name.
    #[serde(default)]
    classes: BTreeMap<String, RawScale>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawScale {
    even_odds: f32,
    slope: f32,
}

pub(crate) fn read(path: &Path) -> Result<String, ManifestError> {
    std::fs::read_to_string(path).map_err(|source| ManifestError::Read { path: path.to_owned(), source })
}

/// Checks the entries of one manifest.
pub(crate) struct Reader<'a> {
    path: &'a Path,
}

impl Reader<'_> {
    pub fn wrong(&self, key: &str, problem: impl Into<String>) -> ManifestError {
        ManifestError::Value { path: self.path.to_owned(), key: key.to_owned(), problem: problem.into() }
    }

    fn entry(&self, raw: RawModel) -> Result<ModelEntry, ManifestError> {
        let at = |key: &str| format!("model {:?}.{key}", raw.name);
        check_name(&raw.name).map_err(|problem| self.wrong(&at("name"), problem))?;
        check_sha256(&raw.sha256).map_err(|problem| self.wrong(&at("sha256"), problem))?;
        for (key, side) in [("input.width", raw.input.width), ("input.height", raw.input.height)] {
            check_side(side).map_err(|problem| self.wrong(&at(key), problem))?;
        }
        let thresholds = Thresholds { confidence: raw.thresholds.confidence, nms_iou: raw.thresholds.nms_iou };
        for (key, share) in [("confidence", thresholds.confidence), ("nms_iou", thresholds.nms_iou)] {
            if !(0.0..=1.0).contains(&share) {
                return Err(self.wrong(&at(&format!("thresholds.{key}")), format!("is {share}, it must be 0 to 1")));
            }
        }
        let file = self.model_file(&raw.file).map_err(|problem| self.wrong(&at("file"), problem))?;
        let classes = self.classes(&raw.classes, &at("classes"))?;
        let confidence = match raw.confidence {
            Some(worth) => self.confidences(&worth, &classes, &at("confidence"))?,
            None => ConfidenceScale::unmeasured(thresholds.confidence).into(),
        };
        Ok(ModelEntry {
            name: raw.name,
            file,
            sha256: raw.sha256,
            head: raw.head,
            classes,
            input: Size::new(raw.input.width, raw.input.height),
            any_size: raw.input.any_size,
            layout: raw.input.layout,
            colour: raw.input.colour,
            anchor: raw.letterbox.anchor,
            pad: raw.letterbox.pad,
            thresholds,
            confidence,
        })
    }

    fn confidences(&self, raw: &RawConfidence, classes: &[String], key: &str) -> Result<Confidences, ManifestError> {
        let scale = |even_odds: f32, slope: f32, key: &str| {
            let problem = "wants even_odds between 0 and 1, and a slope above 0";
            ConfidenceScale::new(even_odds, slope).ok_or_else(|| self.wrong(key, problem))
        };
        let mut others = BTreeMap::new();
        for (name, worth) in &raw.classes {
            let key = format!("{key}.classes.{name}");
            let Some(index) = classes.iter().position(|class| class == name) else {
                return Err(self.wrong(&key, "is not one of the model's classes"));
            };
            others.insert(index as u16, scale(worth.even_odds, worth.slope, &key)?);
        }
        Ok(Confidences { most: scale(raw.even_odds, raw.slope, key)?, others })
    }

    /// An absolute path as it stands; else beside the manifest, or in the cache. Never outside of those two.
    pub fn model_file(&self, file: &Path) -> Result<PathBuf, String> {
        if file.is_absolute() {
            return Ok(file.to_owned());
        }
        stays_below(file)?;
        let beside = self.folder().join(file);
        Ok(if beside.is_file() { beside } else { runtime::cache_dir().join("models").join(file) })
    }

    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    fn classes(&self, raw: &RawClasses, key: &str) -> Result<Vec<String>, ManifestError> {
        let names = match raw {
            RawClasses::Names(names) => names.clone(),
            RawClasses::File(file) => {
                if !file.is_absolute() {
                    stays_below(file).map_err(|problem| self.wrong(key, problem))?;
                }
                read(&self.folder().join(file))?.lines().map(str::to_owned).collect()
            }
        };
        check_classes(&names).map_err(|problem| self.wrong(key, problem))?;
        Ok(names)
    }
}

pub(crate) fn stays_below(file: &Path) -> Result<(), String> {
    let plain = file.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if plain { Ok(()) } else { Err(format!("{} must not lead out of its folder", file.display())) }
}

pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    if starts_well && name.len() <= MAX_NAME && name.chars().all(allowed) {
        return Ok(());
    }
    Err(format!("must be 1 to {MAX_NAME} characters of a-z 0-9 . _ - and start with a letter or digit"))
}

pub(crate) fn check_sha256(text: &str) -> Result<(), String> {
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    if text.len() == 64 && text.chars().all(hex) {
        return Ok(());
    }
    Err("must be 64 lower-case hex digits (sha256sum FILE prints them)".to_owned())
}

pub(crate) fn check_side(side: u32) -> Result<(), String> {
    if (SIDE_STEP..=MAX_SIDE).contains(&side) && side.is_multiple_of(SIDE_STEP) {
        return Ok(());
    }
    Err(format!("is {side}, it must be a multiple of {SIDE_STEP} up to {MAX_SIDE}"))
}

fn check_classes(names: &[String]) -> Result<(), String> {
    if names.is_empty() || names.len() > MAX_CLASSES {
        return Err(format!("has {} names, it must have 1 to {MAX_CLASSES}", names.len()));
    }
    let mut seen = HashSet::new();
    for name in names {
        if name.is_empty() || *name != name.to_lowercase() {
            return Err(format!("has {name:?}, names must be lower case and not empty"));
        }
        if !seen.insert(name) {
            return Err(format!("has {name:?} twice"));
        }
    }
    Ok(())
}
