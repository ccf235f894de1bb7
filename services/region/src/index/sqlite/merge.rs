//! Walking back in time over all slices as over one.
//!
//! Each slice has a walk of its own; they are merged by a heap. A slice is opened only when the walk comes to its end (no event
//! of it is newer than that), so that the newest hundred events open one slice, however many there are. Strays are where
//! their begins are, between and over dated slices.

use std::collections::BinaryHeap;
use std::sync::Arc;

use vigil_proto::v1;

use super::conditions::Conditions;
use super::failure::ReadError;
use super::lookup::PayloadReader;
use super::readers::Snapshot;
use super::row::{EventRow, RowReader};
use super::slices::{Session, Slice};
use super::walk::{Entry, Key, Paths, Walk};

/// What stands at the head of a slice's walk: the end of a slice that is not open yet, or its next entry.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    key: Key,
    entry: Option<Entry>,
    source: usize,
}

enum Source {
    /// With the place below which its events lie.
    Closed(Arc<Slice>, Key),
    Open(Session, Walk),
    /// Nothing is left in it, and nothing of it is in the answer.
    Done,
}

/// Candidates of a question over all slices, newest first.
pub(super) struct Candidates<'q> {
    snapshot: &'q Snapshot<'q>,
    paths: Paths,
    from_us: Option<i64>,
    sources: Vec<Source>,
    heads: BinaryHeap<Head>,
    /// Sources of which rows are in the answer: they stay open for their payloads.
    taken: Vec<bool>,
    /// The source of the candidate that was given last: it goes on when the next one is asked for.
    given: Option<usize>,
}

impl<'q> Candidates<'q> {
    /// Walks back below `below` (older than it) by what the conditions ask for.
    pub(super) fn new(
        snapshot: &'q Snapshot<'q>,
        conditions: &Conditions,
        from_us: Option<i64>,
        below: Key,
    ) -> Result<Self, ReadError> {
        let paths = conditions.paths(snapshot.region())?;
        let touching =
            snapshot.list().readable().filter(|slice| slice.may_touch(from_us, Some(below.begin_us.saturating_add(1))));
        let sources: Vec<Source> =
            touching.map(|slice| Source::Closed(Arc::clone(slice), below.min(Key::before(slice.end_us())))).collect();
        let head = |(source, closed): (usize, &Source)| match closed {
            Source::Closed(_, below) => Some(Head { key: *below, entry: None, source }),
            Source::Open(..) | Source::Done => None,
        };
        let heads = sources.iter().enumerate().filter_map(head).collect();
        let taken = vec![false; sources.len()];
        Ok(Self { snapshot, paths, from_us, sources, heads, taken, given: None })
    }

    /// The next candidate, and which source it is of.
    pub(super) fn next(&mut self) -> Result<Option<(Entry, usize)>, ReadError> {
        if let Some(source) = self.given.take() {
            self.advance(source)?;
        }
        while let Some(Head { entry, source, .. }) = self.heads.pop() {
            if let Some(entry) = entry {
                self.given = Some(source);
                return Ok(Some((entry, source)));
            }
            self.open(source)?;
            self.advance(source)?;
        }
        Ok(None)
    }

    fn open(&mut self, source: usize) -> Result<(), ReadError> {
        let Source::Closed(slice, below) = &self.sources[source] else { return Ok(()) };
        let session = self.snapshot.session(slice)?;
        let walk = session.read(|slice| Walk::new(slice, &self.paths, self.from_us, *below))?;
        self.sources[source] = Source::Open(session, walk);
        Ok(())
    }

    fn advance(&mut self, source: usize) -> Result<(), ReadError> {
        let Source::Open(session, walk) = &mut self.sources[source] else { return Ok(()) };
        match session.read(|slice| walk.next(slice))? {
            Some(entry) => self.heads.push(Head { key: entry.key, entry: Some(entry), source }),
            None if !self.taken[source] => self.sources[source] = Source::Done,
            None => {}
        }
        Ok(())
    }

    /// The row of a candidate.
    pub(super) fn row(&self, entry: &Entry, source: usize) -> Result<Option<EventRow>, ReadError> {
        let Source::Open(session, _) = &self.sources[source] else { return Ok(None) };
        session.read(|slice| RowReader::new(slice)?.read(entry.camera, &entry.key))
    }

    /// The row is in the answer: its slice stays open.
    pub(super) fn take(&mut self, source: usize) {
        self.taken[source] = true;
    }

    /// The event of a row that was taken.
    pub(super) fn event(&self, row: &EventRow, source: usize) -> Result<v1::Event, ReadError> {
        let Source::Open(session, _) = &self.sources[source] else { return Err(ReadError::SlicesChanged) };
        session.read(|slice| PayloadReader::new(slice)?.event(row))
    }
}
