//! The files of appearances and their catalogue: what is written, by one writer, and what is read, by any number of questions.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::RwLock;
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;
use vigil_appearance::Probe;
use vigil_base::event::{Appearance, AppearanceMethod};
use vigil_base::{Event, EventId, Timestamp};
use vigil_proto::convert::Filter;

use super::catalogue::{Catalogue, Entry, Method};
use super::file::{AppearanceFile, BlockBuffer};
use super::mend::{check, remove_unknown};
use super::record::Record;
use super::scan::{Best, Sieve, count, scan};
use crate::index::{CommitSeq, IndexError, Lineage, Result};

/// Folder in the data folder.
const FOLDER: &str = "appearances";
/// Files that are written to at a time and know where each event is: today's and yesterday's, and those of an edge that was
/// away. Each takes some 30 MB for 700,000 events.
const MAX_IN_USE: usize = 3;
/// Questions that read at a time: each keeps a core busy.
const MAX_SCANS: usize = 2;
/// An event that began further from now belongs to no slice: a camera's clock is wrong. Retention is shorter, so the number of
/// files is bounded by it.
const BACK_US: i64 = 400 * 86_400_000_000;
const AHEAD_US: i64 = 2 * 86_400_000_000;
/// Places of one question: more would keep a core busy for seconds.
const MAX_PLACES: u64 = 50_000_000;

/// What the objects of a region's events looked like.
#[derive(Debug)]
pub struct AppearanceStore {
    folder: PathBuf,
    slice_us: i64,
    state: RwLock<State>,
    /// Commits that questions see.
    followed: watch::Sender<CommitSeq>,
    pub(super) scans: Semaphore,
}

#[derive(Debug)]
struct State {
    catalogue: Catalogue,
    /// By name: those that somebody reads or writes now.
    open: HashMap<String, Weak<AppearanceFile>>,
    /// The files that are written to; the first was written to the longest ago.
    in_use: Vec<Arc<AppearanceFile>>,
}

/// What one scan found.
#[derive(Debug)]
pub(super) struct Scanned {
    pub(super) best: Best,
    /// By other methods.
    pub(super) not_comparable: Vec<(AppearanceMethod, u64)>,
    /// Why some were not read.
    pub(super) missing: Vec<String>,
}

impl AppearanceStore {
    /// Opens what is derived from the index of this id, whose newest commit is `newest`; what is missing, damaged or of another
    /// index is derived anew. Blocks.
    pub fn open(
        data_dir: &Path,
        slice: std::time::Duration,
        index_id: Uuid,
        newest: CommitSeq,
        lineage: &Lineage,
    ) -> Result<Self> {
        let folder = data_dir.join(FOLDER);
        let failed = |e| IndexError::io(&folder, "open the appearances in", e);
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let known = Catalogue::load(&folder);
        let own = known.filter(|known| known.index_id == index_id);
        let mut catalogue = own.unwrap_or_else(|| Catalogue::new(index_id, newest.0));
        catalogue.stand_in(lineage, newest);
        let whole = check(&folder, &mut catalogue);
        if !whole {
            (catalogue.followed, catalogue.rebuilt_at) = (0, newest.0);
        }
        catalogue.save(&folder).map_err(failed)?;
        remove_unknown(&folder, &catalogue).map_err(failed)?;
        let followed = watch::Sender::new(CommitSeq(catalogue.followed));
        let state = State { catalogue, open: HashMap::new(), in_use: Vec::new() };
        Ok(Self {
            folder,
            slice_us: i64::try_from(slice.as_micros()).unwrap_or(i64::MAX).max(1),
            state: RwLock::new(state),
            followed,
            scans: Semaphore::new(MAX_SCANS),
        })
    }

    /// Has all derived anew at the next start. Blocks.
    pub(crate) fn forget(data_dir: &Path) -> Result<()> {
        let catalogue = data_dir.join(FOLDER).join(super::catalogue::CATALOGUE);
        match std::fs::remove_file(&catalogue) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(IndexError::io(&catalogue, "remove", error)),
            _ => Ok(()),
        }
    }

    /// How far the index's feed was followed.
    pub(crate) fn followed(&self) -> watch::Receiver<CommitSeq> {
        self.followed.subscribe()
    }

    /// The index was started once more: what was followed may lie in a past that is no more.
    pub(super) fn stand_in(&self, lineage: &Lineage, newest: CommitSeq) {
        let mut state = self.state.write();
        state.catalogue.followed = self.followed.borrow().0;
        state.catalogue.stand_in(lineage, newest);
        self.followed.send_replace(CommitSeq(state.catalogue.followed));
    }

    /// Not 0: appearances are derived anew, up to this commit.
    pub(super) fn rebuilt_at(&self) -> u64 {
        self.state.read().catalogue.rebuilt_at
    }

    /// Takes in events as of their last commits, all up to `through`. Called by one thread at a time; blocks.
    pub fn apply(&self, events: &[Event], through: CommitSeq, now: Timestamp) -> Result<()> {
        let failed = |e| IndexError::io(&self.folder, "write appearances in", e);
        let mut writes = Vec::new();
        let mut is_new = false;
        {
            let mut state = self.state.write();
            for event in events {
                let Some(appearance) = &event.appearance else { continue };
                let (numbers, new_name) = state.catalogue.numbers(event.camera.as_str(), &event.object_class);
                let values = appearance.vector.values();
                let method = state.catalogue.method(&appearance.method, values.len());
                let (name, new_use) = state.catalogue.file_of(self.time_of(event, now), method);
                is_new |= new_name | new_use;
                writes.push((name, Record::of(event, &appearance.vector, numbers), values));
            }
            if is_new {
                // Before the first byte: what a number means, and which files a crash may leave half written.
                state.catalogue.save(&self.folder).map_err(failed)?;
            }
        }
        for (name, record, values) in writes {
            let written = self.writable(&name).and_then(|file| match file {
                Some(file) => file.put(&record, bytemuck::cast_slice(values)),
                // Retention has just removed its slice.
                None => Ok(()),
            });
            if let Err(error) = written {
                self.rebuild(&name, &error)?;
                return Err(failed(error));
            }
        }
        self.followed.send_replace(through);
        Ok(())
    }

    /// The time of the slice that an event belongs to; none where its clock is far from the region's.
    fn time_of(&self, event: &Event, now: Timestamp) -> Option<(i64, i64)> {
        let begin = event.begin_time.as_micros();
        let ahead = begin.saturating_sub(now.as_micros());
        let from = begin.div_euclid(self.slice_us) * self.slice_us;
        (-BACK_US..=AHEAD_US).contains(&ahead).then(|| (from, from.saturating_add(self.slice_us)))
    }

    /// The file of this name, to be written to; none where there is none any more. The one that was not written to for the
    /// longest is closed.
    fn writable(&self, name: &str) -> io::Result<Option<Arc<AppearanceFile>>> {
        let Some(file) = self.file(name)? else { return Ok(None) };
        let mut state = self.state.write();
        if state.in_use.last().is_some_and(|last| Arc::ptr_eq(last, &file)) {
            return Ok(Some(file));
        }
        state.in_use.retain(|other| !Arc::ptr_eq(other, &file));
        state.in_use.push(Arc::clone(&file));
        if state.in_use.len() > MAX_IN_USE {
            let resting = state.in_use.remove(0);
            resting.sync()?;
            resting.rest();
            state.catalogue.note(&resting, false);
            state.catalogue.save(&self.folder)?;
        }
        Ok(Some(file))
    }

    /// The file of this name: one for all who use it; none where there is none any more.
    fn file(&self, name: &str) -> io::Result<Option<Arc<AppearanceFile>>> {
        if let Some(file) = self.state.read().open.get(name).and_then(Weak::upgrade) {
            return Ok(Some(file));
        }
        let mut state = self.state.write();
        if let Some(file) = state.open.get(name).and_then(Weak::upgrade) {
            return Ok(Some(file));
        }
        let Some(known) = state.catalogue.files.iter().find(|entry| *entry.name == *name) else { return Ok(None) };
        let (name, values) = (known.name.clone(), state.catalogue.methods[known.method].values);
        let file = Arc::new(AppearanceFile::open(&self.folder.join(&name), values, known.extent())?);
        state.open.retain(|_, file| file.strong_count() > 0);
        state.open.insert(name, Arc::downgrade(&file));
        Ok(Some(file))
    }

    /// Makes durable what was applied. Blocks.
    pub fn checkpoint(&self) -> Result<()> {
        let failed = |e| IndexError::io(&self.folder, "write appearances in", e);
        let (through, in_use) = (self.followed.borrow().0, self.state.read().in_use.clone());
        for file in &in_use {
            file.sync().map_err(failed)?;
        }
        let mut state = self.state.write();
        for file in &in_use {
            state.catalogue.note(file, true);
        }
        let catalogue = &mut state.catalogue;
        catalogue.followed = through;
        if through >= catalogue.rebuilt_at {
            catalogue.rebuilt_at = 0;
        }
        catalogue.save(&self.folder).map_err(failed)
    }

    /// A file cannot be used: it goes, and all is read from the index again.
    fn rebuild(&self, name: &str, error: &io::Error) -> Result<()> {
        let mut state = self.state.write();
        state.catalogue.files.retain(|entry| *entry.name != *name);
        let path = self.folder.join(name);
        tracing::warn!(file = %path.display(), %error, "a file of appearances cannot be used; they are derived anew");
        state.in_use.retain(|file| file.path() != path);
        state.open.remove(name);
        // The name may be needed again for a file that can be used.
        let _ = std::fs::remove_file(&path);
        let newest = self.followed.borrow().0.max(state.catalogue.rebuilt_at);
        (state.catalogue.followed, state.catalogue.rebuilt_at) = (0, newest);
        state.catalogue.save(&self.folder).map_err(|e| IndexError::io(&self.folder, "write appearances in", e))?;
        self.followed.send_replace(CommitSeq(0));
        Ok(())
    }

    /// Removes the files of which all events began before `older_than`. Blocks.
    pub(crate) fn purge(&self, older_than: Timestamp) -> Result<()> {
        let mut state = self.state.write();
        let old: Vec<Entry> = state
            .catalogue
            .files
            .extract_if(.., |entry| entry.time.is_some_and(|(_, until)| until <= older_than.as_micros()))
            .collect();
        if old.is_empty() {
            return Ok(());
        }
        for entry in &old {
            let path = self.folder.join(&*entry.name);
            state.open.remove(&entry.name);
            state.in_use.retain(|file| file.path() != path);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(IndexError::io(&path, "remove", error));
                }
                _ => tracing::info!(file = %path.display(), "retention removed a file of appearances"),
            }
        }
        state.catalogue.save(&self.folder).map_err(|e| IndexError::io(&self.folder, "write appearances in", e))
    }

    /// Events whose begin is far from when they were received, with where they are: no slice's end removes them. Blocks.
    pub(crate) fn strays(&self) -> Result<Vec<Stray>> {
        let failed = |e| IndexError::io(&self.folder, "read appearances in", e);
        let files = self.state.read().catalogue.files.clone();
        let mut strays = Vec::new();
        for entry in files.iter().filter(|entry| entry.time.is_none()) {
            let Some(file) = self.file(&entry.name).map_err(failed)? else { continue };
            let mut buffer = BlockBuffer::default();
            for block in 0..file.blocks() {
                file.read_block(block, &mut buffer, |_| None).map_err(failed)?;
                let first = block * super::file::BLOCK as u32;
                let found = (first..).zip(buffer.records()).filter(|(_, record)| record.is_some());
                strays.extend(found.map(|(place, record)| Stray { file: Arc::clone(&file), place, id: record.id }));
            }
        }
        Ok(strays)
    }

    /// The events most alike, the best first, as far as records tell: whether each matches all of the filter, the index must say.
    /// Blocks.
    pub fn most_alike(&self, asked: &Appearance, filter: &Filter, most: usize) -> Result<Vec<(EventId, f32)>> {
        let scanned = self.scan(asked, filter, Best::new(most, None, 0.0), &|| true)?;
        let candidates = scanned.best.in_order();
        Ok(candidates.iter().filter_map(|found| Some((found.event()?, found.similarity))).collect())
    }

    /// The best matches of one vector, in all files that may hold some. Blocks.
    pub(super) fn scan(
        &self,
        asked: &Appearance,
        filter: &Filter,
        best: Best,
        wanted: &dyn Fn() -> bool,
    ) -> Result<Scanned> {
        let (sieve, entries, methods) = {
            let state = self.state.read();
            let sieve = Sieve::new(filter, &state.catalogue);
            (sieve, state.catalogue.files.clone(), state.catalogue.methods.clone())
        };
        let probe = Probe::new(&asked.vector);
        let mut found = Scanned { best, not_comparable: Vec::new(), missing: Vec::new() };
        let mut places = 0;
        for entry in entries {
            let file = match self.file(&entry.name) {
                Ok(Some(file)) => file,
                Ok(None) => continue,
                Err(error) => {
                    found.missing.push(unreadable(&entry, &error));
                    continue;
                }
            };
            let extent = file.extent();
            if !sieve.may_hold(entry.time, extent.last_end_us) {
                continue;
            }
            places += u64::from(extent.places);
            if places > MAX_PLACES {
                return Err(IndexError::TooMuchWork { limit: MAX_PLACES as usize });
            }
            let method = &methods[entry.method];
            match look_into(&file, method, (asked, &probe), &sieve, &mut found, wanted) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(IndexError::Cancelled),
                Err(error) => found.missing.push(unreadable(&entry, &error)),
                Ok(()) => {}
            }
        }
        found.not_comparable.sort();
        Ok(found)
    }
}

/// An event that no slice's end removes.
#[derive(Debug)]
pub(crate) struct Stray {
    file: Arc<AppearanceFile>,
    place: u32,
    pub(crate) id: [u8; 16],
}

impl Stray {
    /// Empties its place. Blocks.
    pub(crate) fn remove(&self) -> Result<()> {
        self.file.empty(self.place).map_err(|e| IndexError::io(self.file.path(), "write", e))
    }
}

fn look_into(
    file: &AppearanceFile,
    method: &Method,
    (asked, probe): (&Appearance, &Probe),
    sieve: &Sieve,
    found: &mut Scanned,
    wanted: &dyn Fn() -> bool,
) -> io::Result<()> {
    if method.is(&asked.method, probe.len()) {
        return scan(file, probe, sieve, &mut found.best, wanted);
    }
    let events = count(file, sieve, wanted)?;
    let other = method.method();
    match found.not_comparable.iter_mut().find(|(method, _)| *method == other) {
        Some((_, known)) => *known += events,
        None if events > 0 => found.not_comparable.push((other, events)),
        None => {}
    }
    Ok(())
}

fn unreadable(entry: &Entry, error: &io::Error) -> String {
    format!("the appearances in {} cannot be read ({error}); vigil region reindex makes them anew", entry.name)
}
