//! Which model is in use, which one runs in its shadow, and which one was in use before: told by `vigil model`, kept in two files
//! of the edge's data folder.
//!
//! - `model.toml` is written by the command and read by the edge, which looks at it every [`LOOK_EVERY`] and follows it without a
//!   restart; it counts above `model.name` of edge.toml.
//! - `shadow.json` is written by the edge: what the shadow found so far.
//!
//! Each has one writer and is replaced as a whole, so a reader sees the old one or the new one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vigil_base::config::Share;
use vigil_detect::Comparison;

use crate::files::replace_file;

/// How soon the edge follows the command, and how old the report is at most.
pub const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Share of the analysed frames that a shadow sees unless told otherwise.
pub const DEFAULT_SHARE: f64 = 0.1;
/// Frames that a shadow must have seen before its model is promoted.
pub const ENOUGH_FRAMES: u64 = 100;
/// Largest of the two files that is read; they hold a few names and numbers.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What was decided about models. All names are of the edge's manifest.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// In use; absent: the one of edge.toml.
    pub active: Option<String>,
    /// In use before the last promotion: where a rollback leads.
    pub previous: Option<String>,
    /// In the shadow.
    pub shadow: Option<ShadowPlan>,
}

/// A model in the shadow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShadowPlan {
    /// Its name.
    pub name: String,
    /// Share of the analysed frames that it sees.
    pub share: Share,
}

/// What a shadow found so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShadowReport {
    /// The model in use.
    pub active: String,
    /// The model in its shadow.
    pub shadow: String,
    /// What is different.
    pub comparison: Comparison,
}

/// A decision about models cannot be carried out.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// One of the two files cannot be read or written.
    #[error("{} cannot be {done}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried.
        done: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// One of the two files is damaged.
    #[error("{} is damaged: {what}; delete it, and the model of edge.toml is used", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        what: String,
    },
    /// Nothing runs in the shadow.
    #[error("no model runs in the shadow: begin with vigil model shadow NAME")]
    NoShadow,
    /// The shadow has not seen enough yet.
    #[error("the shadow has seen {seen} of {ENOUGH_FRAMES} frames: wait, or promote --anyway")]
    TooEarly {
        /// Frames so far.
        seen: u64,
    },
    /// Nothing was promoted before.
    #[error("no model was promoted on this edge: there is nothing to go back to")]
    NothingBefore,
    /// The shadow is the model in use.
    #[error("{name} is the model in use")]
    IsActive {
        /// Its name.
        name: String,
    },
}

impl Rollout {
    /// Where it is kept.
    pub fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("model.toml")
    }

    /// Reads what was decided; nothing was when there is no file.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn load(data_dir: &Path) -> Result<Self, RolloutError> {
        let path = Self::path(data_dir);
        let Some(text) = read(&path)? else { return Ok(Self::default()) };
        toml::from_str(&text).map_err(|error| RolloutError::Damaged { path, what: error.message().to_owned() })
    }

    /// Replaces what was decided.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn store(&self, data_dir: &Path) -> Result<(), RolloutError> {
        let text = toml::to_string(self).expect("names and a number can be written as TOML");
        replace(&Self::path(data_dir), &text)
    }

    /// The model in use, where edge.toml names `configured`.
    pub fn active<'a>(&'a self, configured: &'a str) -> &'a str {
        self.active.as_deref().unwrap_or(configured)
    }

    /// Lets `plan` run in the shadow.
    ///
    /// # Errors
    /// It is the model in use.
    pub fn shadow(self, plan: ShadowPlan, configured: &str) -> Result<Self, RolloutError> {
        if plan.name == self.active(configured) {
            return Err(RolloutError::IsActive { name: plan.name });
        }
        Ok(Self { shadow: Some(plan), ..self })
    }

    /// The shadow's model is used from here on.
    ///
    /// # Errors
    /// There is none, or it has `seen` too few frames.
    pub fn promote(self, configured: &str, seen: Option<u64>) -> Result<Self, RolloutError> {
        let previous = self.active(configured).to_owned();
        let plan = self.shadow.ok_or(RolloutError::NoShadow)?;
        if let Some(seen) = seen.filter(|seen| *seen < ENOUGH_FRAMES) {
            return Err(RolloutError::TooEarly { seen });
        }
        Ok(Self { active: Some(plan.name), previous: Some(previous), shadow: None })
    }

    /// The model before the last promotion is used again; the one that was promoted can be promoted back from its shadow.
    ///
    /// # Errors
    /// There was none.
    pub fn roll_back(self) -> Result<Self, RolloutError> {
        let previous = self.previous.ok_or(RolloutError::NothingBefore)?;
        Ok(Self { active: Some(previous), previous: None, shadow: None })
    }
}

impl ShadowReport {
    fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("shadow.json")
    }

    /// The newest report; nothing when no shadow has run yet.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn load(data_dir: &Path) -> Result<Option<Self>, RolloutError> {
        let path = Self::path(data_dir);
        let Some(text) = read(&path)? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|error| RolloutError::Damaged { path, what: error.to_string() })
    }

    /// Replaces the report.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn store(&self, data_dir: &Path) -> Result<(), RolloutError> {
        let text = serde_json::to_string(self).expect("names and numbers can be written as JSON");
        replace(&Self::path(data_dir), &text)
    }
}

fn read(path: &Path) -> Result<Option<String>, RolloutError> {
    let failed = |source| RolloutError::File { path: path.to_owned(), done: "read", source };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(found) if found.len() > MAX_FILE_BYTES => {
            return Err(RolloutError::Damaged { path: path.to_owned(), what: "it is too large".to_owned() });
        }
        Ok(_) => {}
    }
    std::fs::read_to_string(path).map(Some).map_err(failed)
}

fn replace(path: &Path, text: &str) -> Result<(), RolloutError> {
    let failed = |source| RolloutError::File { path: path.to_owned(), done: "written", source };
    replace_file(path, text.as_bytes()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(name: &str) -> ShadowPlan {
        ShadowPlan { name: name.to_owned(), share: Share::new(0.2).unwrap() }
    }

    #[test]
    fn a_model_goes_from_the_shadow_into_use_and_back() {
        let folder = tempfile::tempdir().unwrap();
        let begun = Rollout::load(folder.path()).unwrap();
        assert_eq!((begun.clone(), begun.active("old")), (Rollout::default(), "old"));
        let shadowed = begun.shadow(plan("new"), "old").unwrap();
        shadowed.store(folder.path()).unwrap();
        assert_eq!(Rollout::load(folder.path()).unwrap(), shadowed);
        let error = shadowed.clone().promote("old", Some(3)).unwrap_err().to_string();
        assert!(error.contains("3 of 100") && error.contains("--anyway"), "{error}");
        let promoted = shadowed.promote("old", None).unwrap();
        assert_eq!(
            (promoted.active("old"), promoted.previous.as_deref(), &promoted.shadow),
            ("new", Some("old"), &None)
        );
        let back = promoted.roll_back().unwrap();
        assert_eq!(back.active("old"), "old");
        assert!(matches!(back.roll_back(), Err(RolloutError::NothingBefore)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        assert!(matches!(Rollout::default().promote("old", None), Err(RolloutError::NoShadow)));
        assert!(matches!(Rollout::default().shadow(plan("old"), "old"), Err(RolloutError::IsActive { .. })));
        let folder = tempfile::tempdir().unwrap();
        for damage in ["activ = 'x'", "[[", "[shadow]\nname = 'x'\nshare = 7.0"] {
            replace(&Rollout::path(folder.path()), damage).unwrap();
            let error = Rollout::load(folder.path()).unwrap_err().to_string();
            assert!(error.contains("model.toml is damaged") && error.contains("delete it"), "{error}");
        }
    }
}
