//! `[[plates]]` of the manifest: pairs of a plate detector and a plate reader.

use std::collections::HashSet;
use std::path::PathBuf;

use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use vigil_base::Size;

use crate::ManifestError;
use crate::manifest::{
    Anchor, Colour, Layout, RawLetterbox, Reader, check_name, check_sha256, check_side, read, stays_below,
};
use crate::preprocess::InputSpec;

/// Largest side of a reader's input, pixels; those in use have up to 320.
const MAX_READER_SIDE: u32 = 1024;
/// Most characters of an alphabet; the largest that anybody writes has fewer than 100,000.
const MAX_ALPHABET: usize = 100_000;

/// Most memory of a compiled format; that of any country's plates has a few kilobytes.
const MAX_FORMAT_BYTES: usize = 1024 * 1024;

/// Where a reader's answer says "nothing here".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Blank {
    /// Before the alphabet.
    First,
    /// Behind it.
    Last,
}

/// One file of a pair, and how it is fed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Part {
    /// The pair's name and which part: for people.
    pub name: String,
    pub file: PathBuf,
    pub sha256: String,
    pub input: InputSpec,
}

/// One pair, everything resolved and checked but the files themselves.
#[derive(Debug, Clone, PartialEq)]
pub struct PlatesEntry {
    /// Its name; goes into every event that carries a plate.
    pub name: String,
    pub(crate) detector: Part,
    /// From which confidence on a plate is one, 0..1.
    pub(crate) confidence: f32,
    pub(crate) reader: Part,
    /// The characters by class, without the blank.
    pub(crate) alphabet: Vec<char>,
    pub(crate) blank: Blank,
    /// What the whole of a plate looks like.
    pub(crate) format: Option<Format>,
}

/// A regular expression that the whole of a plate matches.
#[derive(Debug, Clone)]
pub(crate) struct Format(Regex);

impl Format {
    pub fn fits(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPlates {
    name: String,
    #[serde(rename = "description")]
    _description: Option<String>,
    #[serde(rename = "licence")]
    _licence: Option<String>,
    detector: RawDetector,
    reader: RawReader,
    #[serde(rename = "source")]
    _source: Option<toml::Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDetector {
    file: PathBuf,
    sha256: String,
    input: RawInput,
    letterbox: RawLetterbox,
    confidence: f32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawReader {
    file: PathBuf,
    sha256: String,
    input: RawInput,
    alphabet: PathBuf,
    blank: Blank,
    format: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInput {
    width: u32,
    height: u32,
    layout: Layout,
    colour: Colour,
}

/// Checks the pairs of a manifest.
pub(crate) fn entries(reader: &Reader<'_>, raw: Vec<RawPlates>) -> Result<Vec<PlatesEntry>, ManifestError> {
    let mut names = HashSet::new();
    let mut entries = Vec::with_capacity(raw.len());
    for pair in raw {
        if !names.insert(pair.name.clone()) {
            return Err(reader.wrong(&format!("plates {:?}", pair.name), "stands twice"));
        }
        entries.push(entry(reader, pair)?);
    }
    Ok(entries)
}

fn entry(manifest: &Reader<'_>, raw: RawPlates) -> Result<PlatesEntry, ManifestError> {
    let RawPlates { name, detector, reader, .. } = raw;
    let at = |key: &str| format!("plates {name:?}.{key}");
    check_name(&name).map_err(|problem| manifest.wrong(&at("name"), problem))?;
    for (key, side) in [("width", detector.input.width), ("height", detector.input.height)] {
        check_side(side).map_err(|problem| manifest.wrong(&at(&format!("detector.input.{key}")), problem))?;
    }
    for (key, side) in [("width", reader.input.width), ("height", reader.input.height)] {
        if !(1..=MAX_READER_SIDE).contains(&side) {
            let problem = format!("is {side}, it must be 1 to {MAX_READER_SIDE}");
            return Err(manifest.wrong(&at(&format!("reader.input.{key}")), problem));
        }
    }
    if !(0.0..=1.0).contains(&detector.confidence) {
        let problem = format!("is {}, it must be 0 to 1", detector.confidence);
        return Err(manifest.wrong(&at("detector.confidence"), problem));
    }
    let part = |which: &str, file: &PathBuf, sha256: &str, input: InputSpec| {
        check_sha256(sha256).map_err(|problem| manifest.wrong(&at(&format!("{which}.sha256")), problem))?;
        let file = manifest.model_file(file);
        let file = file.map_err(|problem| manifest.wrong(&at(&format!("{which}.file")), problem))?;
        Ok(Part { name: format!("{name} {which}"), file, sha256: sha256.to_owned(), input })
    };
    // A reader's picture fills its canvas.
    let filled = RawLetterbox { anchor: Anchor::TopLeft, pad: 0 };
    Ok(PlatesEntry {
        detector: part("detector", &detector.file, &detector.sha256, spec(&detector.input, &detector.letterbox))?,
        confidence: detector.confidence,
        reader: part("reader", &reader.file, &reader.sha256, spec(&reader.input, &filled))?,
        alphabet: alphabet(manifest, &reader.alphabet, &at("reader.alphabet"))?,
        blank: reader.blank,
        format: reader.format.map(|format| whole(manifest, &format, &at("reader.format"))).transpose()?,
        name,
    })
}

fn whole(manifest: &Reader<'_>, format: &str, key: &str) -> Result<Format, ManifestError> {
    let compiled = RegexBuilder::new(&format!("^(?:{format})$")).size_limit(MAX_FORMAT_BYTES).build();
    compiled.map(Format).map_err(|error| manifest.wrong(key, format!("is no regular expression: {error}")))
}

fn spec(input: &RawInput, letterbox: &RawLetterbox) -> InputSpec {
    InputSpec {
        size: Size::new(input.width, input.height),
        any_size: false,
        layout: input.layout,
        colour: input.colour,
        anchor: letterbox.anchor,
        pad: letterbox.pad,
    }
}

/// One character a line, letters and digits only: what is read can be searched for.
fn alphabet(manifest: &Reader<'_>, file: &PathBuf, key: &str) -> Result<Vec<char>, ManifestError> {
    let wrong = |problem: String| manifest.wrong(key, problem);
    if !file.is_absolute() {
        stays_below(file).map_err(wrong)?;
    }
    let text = read(&manifest.folder().join(file))?;
    let mut characters = Vec::new();
    for line in text.lines() {
        let mut of_line = line.chars();
        let (Some(character), None) = (of_line.next(), of_line.next()) else {
            return Err(wrong(format!("has the line {line:?}, each must be one character")));
        };
        let upper = character.to_uppercase().eq([character]);
        if !character.is_alphanumeric() || !upper || characters.contains(&character) {
            return Err(wrong(format!("has {line:?}: letters and digits are taken, upper case, each once")));
        }
        characters.push(character);
        if characters.len() > MAX_ALPHABET {
            return Err(wrong(format!("has more than {MAX_ALPHABET} characters")));
        }
    }
    if characters.is_empty() { Err(wrong("is empty".to_owned())) } else { Ok(characters) }
}
