//! What the files of appearances are, and how far the index's feed was followed: one small file, replaced whole.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vigil_base::event::AppearanceMethod;

use super::file::{AppearanceFile, Extent};
use crate::index::keys::HOUR_US;
use crate::index::{CommitSeq, Lineage, Locator};

/// File of the catalogue in the folder of appearances.
pub(super) const CATALOGUE: &str = "catalogue.json";
/// Layout of the catalogue and the files; another one is made anew from the index.
const VERSION: u32 = 1;
/// The class of whatever comes when there are more classes than numbers: no filter passes it over.
pub(super) const ANY_CLASS: u16 = u16::MAX;

/// What there is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Catalogue {
    version: u32,
    /// The index that all this is derived from.
    pub(super) index_id: Uuid,
    /// All commits up to this one are in the files, and those on the disk.
    pub(super) followed: u64,
    /// The starts of the index under which that is meant, none in one that an earlier version wrote.
    #[serde(default)]
    locator: Locator,
    /// Not 0: the files are derived anew, and answers lack something until `followed` is here.
    pub(super) rebuilt_at: u64,
    cameras: Names,
    classes: Names,
    pub(super) methods: Vec<Method>,
    pub(super) files: Vec<Entry>,
}

/// A method, and how many values its vectors have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Method {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) values: usize,
}

impl Method {
    pub(super) fn is(&self, method: &AppearanceMethod, values: usize) -> bool {
        *self.name == *method.name && *self.version == *method.version && self.values == values
    }

    pub(super) fn method(&self) -> AppearanceMethod {
        AppearanceMethod { name: self.name.as_str().into(), version: self.version.as_str().into() }
    }
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Its events began in this time, µs since 1970; none: at any time.
    pub(super) time: Option<(i64, i64)>,
    /// Index into the methods.
    pub(super) method: usize,
    pub(super) places: u32,
    pub(super) last_end_us: i64,
    /// It may have been written to since the catalogue was.
    pub(super) in_use: bool,
}

impl Entry {
    pub(super) fn extent(&self) -> Extent {
        Extent { places: self.places, last_end_us: self.last_end_us }
    }
}

fn hours(us: i64) -> i64 {
    us.div_euclid(HOUR_US)
}

/// Names and their numbers, which are given once.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
struct Names {
    list: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl From<Vec<String>> for Names {
    fn from(list: Vec<String>) -> Self {
        let numbers = list.iter().cloned().zip(0..).collect();
        Self { list, numbers }
    }
}

impl From<Names> for Vec<String> {
    fn from(names: Names) -> Self {
        names.list
    }
}

impl Names {
    fn number(&mut self, name: &str) -> (u32, bool) {
        if let Some(number) = self.numbers.get(name) {
            return (*number, false);
        }
        let number = self.list.len() as u32;
        self.list.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        (number, true)
    }
}

impl Catalogue {
    /// Of an index of which nothing is derived yet, and whose newest commit is `newest`.
    pub(super) fn new(index_id: Uuid, newest: u64) -> Self {
        Self {
            version: VERSION,
            index_id,
            followed: 0,
            locator: Locator::default(),
            rebuilt_at: newest,
            cameras: Names::default(),
            classes: Names::default(),
            methods: Vec::new(),
            files: Vec::new(),
        }
    }

    /// From now on the index's starts are these: goes back to where it parts from what was followed, as after a restore from
    /// a backup, which gives numbers again that mean something else now. `newest` is its newest commit.
    pub(super) fn stand_in(&mut self, lineage: &Lineage, newest: CommitSeq) {
        let followed = CommitSeq(self.followed);
        let shared =
            if self.locator.starts.is_empty() { Some(followed) } else { lineage.shared(&self.locator, followed) };
        self.locator.clone_from(lineage.locator());
        let shared = shared.filter(|shared| *shared <= newest).unwrap_or(CommitSeq(0));
        if shared < followed {
            (self.followed, self.rebuilt_at) = (shared.0, newest.0);
        }
    }

    /// The one in `folder`; none where it is not there, damaged, or of another layout.
    pub(super) fn load(folder: &Path) -> Option<Self> {
        let bytes = std::fs::read(folder.join(CATALOGUE)).ok()?;
        serde_json::from_slice(&bytes).ok().filter(|catalogue: &Self| {
            let known = |entry: &Entry| entry.method < catalogue.methods.len() && !entry.name.contains('/');
            catalogue.version == VERSION && catalogue.files.iter().all(known)
        })
    }

    /// Puts it in the place of what is there; on the disk when this returns.
    pub(super) fn save(&self, folder: &Path) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.as_file().sync_all()?;
        file.persist(folder.join(CATALOGUE)).map_err(|error| error.error)?;
        std::fs::File::open(folder)?.sync_all()
    }

    /// Numbers of a camera and a class, and whether one of them is new: then the catalogue must be saved before they are used.
    pub(super) fn numbers(&mut self, camera: &str, class: &str) -> ((u32, u16), bool) {
        let (camera, new_camera) = self.cameras.number(camera);
        if self.classes.list.len() >= usize::from(ANY_CLASS) && !self.classes.numbers.contains_key(class) {
            return ((camera, ANY_CLASS), new_camera);
        }
        let (class, new_class) = self.classes.number(class);
        ((camera, class as u16), new_camera || new_class)
    }

    pub(super) fn camera(&self, name: &str) -> Option<u32> {
        self.cameras.numbers.get(name).copied()
    }

    pub(super) fn class(&self, name: &str) -> Option<u16> {
        self.classes.numbers.get(name).map(|number| *number as u16)
    }

    /// The name of the file of a slice and method, made where there is none, and whether the catalogue must be saved before the file
    /// is written to.
    pub(super) fn file_of(&mut self, time: Option<(i64, i64)>, method: usize) -> (String, bool) {
        if let Some(known) = self.files.iter().position(|entry| entry.time == time && entry.method == method) {
            let entry = &mut self.files[known];
            return (entry.name.clone(), !std::mem::replace(&mut entry.in_use, true));
        }
        let slice =
            time.map_or_else(|| "strays".to_owned(), |(from, until)| format!("{}-{}", hours(from), hours(until)));
        let name = format!("{slice}.{method}.appearances");
        self.files.push(Entry { name: name.clone(), time, method, places: 0, last_end_us: i64::MIN, in_use: true });
        (name, true)
    }

    /// Notes what a file holds, and whether it is still written to.
    pub(super) fn note(&mut self, file: &AppearanceFile, in_use: bool) {
        let is_it = |entry: &&mut Entry| file.path().file_name().is_some_and(|name| name == &*entry.name);
        if let Some(entry) = self.files.iter_mut().find(is_it) {
            let Extent { places, last_end_us } = file.extent();
            (entry.places, entry.last_end_us, entry.in_use) = (places, last_end_us, in_use);
        }
    }

    /// The number of a method, which is made where it is not known.
    pub(super) fn method(&mut self, method: &AppearanceMethod, values: usize) -> usize {
        if let Some(known) = self.methods.iter().position(|known| known.is(method, values)) {
            return known;
        }
        let (name, version) = (method.name.to_string(), method.version.to_string());
        self.methods.push(Method { name, version, values });
        self.methods.len() - 1
    }
}
