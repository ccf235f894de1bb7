//! Walking back in time over an index, or several at once, a chunk at a time.
//!
//! A walk yields events newest first by (begin, id) without reading their rows. Per-camera walks are merged by a heap,
//! so that the newest hundred events of twenty cameras cost about a hundred and twenty index entries, however many
//! events lie between them. When the walk has come to the start of the search, the events that began before it and are
//! long enough to touch it follow; see the engine's documentation. This is within one slice; `merge` walks several.

use std::collections::{BinaryHeap, VecDeque};

use rusqlite::{Connection, Row, ToSql, params};
use vigil_proto::convert::PlatePattern;

use super::plates::few_plates;
pub(super) use crate::index::keys::Key;
use crate::index::keys::{FIRST_SPAN_US, LAST_SPAN, longest_of_span};

/// First entries that a walk fetches, and most that it fetches at a time: few for a page of many cameras, more the
/// longer it goes on.
const FIRST_CHUNK: usize = 16;
const LARGEST_CHUNK: usize = 1_024;

/// What an index entry tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) camera: i64,
    pub(super) class: i64,
    /// When it ends, where the index tells.
    pub(super) end_us: Option<i64>,
    /// False when the walk itself saw that the event does not match: its plate is another.
    pub(super) may_match: bool,
}

/// Which index to walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Path {
    /// One camera's events.
    Camera(i64),
    /// All events.
    Time,
    /// Events with a plate; those with such a one may match.
    Plate(PlatePattern),
    /// Events with this plate.
    OfPlate(String),
    /// Events that rules made.
    Rules,
    /// Events of one span.
    Span(i64),
}

/// Which indexes of a slice to walk.
#[derive(Debug, Clone)]
pub(super) struct Paths {
    /// The plates that are asked for: where a slice has few of them, they are walked one by one.
    pub(super) plates: Option<PlatePattern>,
    /// What is walked else.
    pub(super) otherwise: Vec<Path>,
}

/// One index being walked.
struct Source {
    path: Path,
    /// Only events that begin at or after this.
    low_us: i64,
    /// Only events before (older than) this.
    below: Key,
    fetched: VecDeque<Entry>,
    chunk: usize,
    exhausted: bool,
}

impl Source {
    fn new(path: Path, low_us: i64, below: Key) -> Self {
        Self { path, low_us, below, fetched: VecDeque::new(), chunk: FIRST_CHUNK, exhausted: false }
    }

    fn next(&mut self, slice: &Connection) -> rusqlite::Result<Option<Entry>> {
        if self.fetched.is_empty() && !self.exhausted {
            self.fetch(slice)?;
        }
        Ok(self.fetched.pop_front())
    }

    fn fetch(&mut self, slice: &Connection) -> rusqlite::Result<()> {
        const RANGE: &str = "begin_us >= ?1 AND (begin_us, event_id) < (?2, ?3)
                             ORDER BY begin_us DESC, event_id DESC LIMIT ?4";
        let (low, below, chunk) = (self.low_us, self.below, self.chunk as i64);
        // Beside what each index tells: the plate, or the end.
        let (told, place, argument): (_, _, Option<&dyn ToSql>) = match &self.path {
            Path::Time => ("end_us", "INDEXED BY events_by_time WHERE", None),
            Path::Rules => ("NULL", "INDEXED BY events_by_rule WHERE rule IS NOT NULL AND", None),
            Path::Camera(camera) => ("end_us", "WHERE camera = ?5 AND", Some(camera)),
            Path::Span(span) => ("end_us", "INDEXED BY events_by_span WHERE span > 0 AND span = ?5 AND", Some(span)),
            Path::Plate(_) => ("plate", "INDEXED BY events_by_plate WHERE plate IS NOT NULL AND", None),
            Path::OfPlate(plate) => {
                ("NULL", "INDEXED BY events_of_plate WHERE plate IS NOT NULL AND plate = ?5 AND", Some(plate))
            }
        };
        let sql = format!("SELECT begin_us, event_id, camera, class, {told} FROM events {place} {RANGE}");
        let mut statement = slice.prepare_cached(&sql)?;
        let path = &self.path;
        let read = |row: &Row<'_>| {
            let key = Key { begin_us: row.get(0)?, id: row.get(1)? };
            let (end_us, may_match) = match path {
                Path::Plate(pattern) => (None, pattern.matches(row.get_ref(4)?.as_str()?)),
                _ => (row.get(4)?, true),
            };
            Ok(Entry { key, camera: row.get(2)?, class: row.get(3)?, end_us, may_match })
        };
        let rows = match argument {
            Some(argument) => statement.query_map(params![low, below.begin_us, below.id, chunk, argument], read)?,
            None => statement.query_map(params![low, below.begin_us, below.id, chunk], read)?,
        };
        for entry in rows {
            self.fetched.push_back(entry?);
        }
        self.exhausted = self.fetched.len() < self.chunk;
        self.chunk = (self.chunk * 2).min(LARGEST_CHUNK);
        if let Some(last) = self.fetched.back() {
            self.below = last.key;
        }
        Ok(())
    }
}

/// Several walks as one, newest first.
struct Merge {
    sources: Vec<Source>,
    /// The next entry of each source that has one.
    heads: BinaryHeap<(Entry, usize)>,
}

impl Merge {
    fn new(slice: &Connection, mut sources: Vec<Source>) -> rusqlite::Result<Self> {
        let mut heads = BinaryHeap::with_capacity(sources.len());
        for (index, source) in sources.iter_mut().enumerate() {
            if let Some(entry) = source.next(slice)? {
                heads.push((entry, index));
            }
        }
        Ok(Self { sources, heads })
    }

    fn next(&mut self, slice: &Connection) -> rusqlite::Result<Option<Entry>> {
        let Some((entry, index)) = self.heads.pop() else { return Ok(None) };
        if let Some(following) = self.sources[index].next(slice)? {
            self.heads.push((following, index));
        }
        Ok(Some(entry))
    }
}

/// Candidates of one slice for a question about [from, until), newest first: all events that begin within it, then those that
/// began before it and may touch it. Holds every event of the slice that touches the time, and some that do not. Each call is
/// given the slice that it was made for.
pub(super) struct Walk {
    merge: Merge,
    /// Where the walk over begins within the time ends, and the place the walk was started below; none once the long
    /// events are being walked, or where the time has no start.
    long_events: Option<(i64, Key)>,
}

impl Walk {
    /// Walks `paths` below `below` (older than it) back to `from_us`.
    pub(super) fn new(slice: &Connection, paths: &Paths, from_us: Option<i64>, below: Key) -> rusqlite::Result<Self> {
        let plates = paths.plates.as_ref().map(|pattern| few_plates(slice, pattern)).transpose()?;
        if let Some(plates) = plates.flatten() {
            // Each has few events in a slice: those that began long before the time are among them.
            let source = |plate| Source::new(Path::OfPlate(plate), i64::MIN, below);
            let merge = Merge::new(slice, plates.into_iter().map(source).collect())?;
            return Ok(Self { merge, long_events: None });
        }
        let low_us = from_us.map_or(i64::MIN, |from| from.saturating_sub(FIRST_SPAN_US));
        let sources = paths.otherwise.iter().map(|path| Source::new(path.clone(), low_us, below)).collect();
        Ok(Self { merge: Merge::new(slice, sources)?, long_events: from_us.map(|from| (from, below)) })
    }

    /// The next candidate.
    pub(super) fn next(&mut self, slice: &Connection) -> rusqlite::Result<Option<Entry>> {
        if let Some(entry) = self.merge.next(slice)? {
            return Ok(Some(entry));
        }
        let Some((from_us, below)) = self.long_events.take() else { return Ok(None) };
        let below = below.min(Key::before(from_us.saturating_sub(FIRST_SPAN_US)));
        let sources =
            (1..=LAST_SPAN).map(|span| Source::new(Path::Span(span), earliest_begin(span, from_us), below)).collect();
        self.merge = Merge::new(slice, sources)?;
        self.merge.next(slice)
    }
}

/// An event of this span that began earlier ended before `from_us`.
fn earliest_begin(span: i64, from_us: i64) -> i64 {
    from_us.saturating_sub(longest_of_span(span))
}
