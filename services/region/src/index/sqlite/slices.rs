//! The slices that there are, as all threads see them, and the connections that read them.
//!
//! A question takes the list of slices once, and opens those that it comes to. Connections that are not in use are kept, for
//! whoever asks next; all of them together are bounded. A slice that retention removes leaves the list first: questions that
//! have it open finish with it, and its connections are closed as they come back, so that its disk space is free at once.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rusqlite::{Connection, Row, params};
use vigil_base::Timestamp;

use super::failure::ReadError;
use super::schema;
use crate::index::UnreadablePart;

/// Connections that wait for the next question: a month of days, twice. Each keeps a MiB of pages, and three open files.
const MAX_IDLE: usize = 64;

/// What a slice holds. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SliceKind {
    /// Events by their begin.
    Dated = 1,
    /// Events whose begin is far from when they were received, by that: see `placement`.
    Stray = 2,
}

/// What a slice holds as of its last commit. Bounds may be wider than what is there: revisions replace each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) events: u64,
    pub(super) first_begin_us: i64,
    pub(super) last_begin_us: i64,
    pub(super) last_end_us: i64,
    pub(super) first_seq: i64,
    pub(super) last_seq: i64,
    /// When its last commit was received.
    pub(super) latest_us: i64,
    /// The greatest receive time in it: a clock that was set back makes it another.
    pub(super) newest_receive_us: i64,
}

impl Summary {
    /// Columns of `slice` and of `slices`, in the order of [`Self::read`].
    pub(super) const COLUMNS: &str =
        "events, first_begin_us, last_begin_us, last_end_us, first_seq, last_seq, latest_us, newest_receive_us";
    pub(super) const EMPTY: Self = Self {
        events: 0,
        first_begin_us: i64::MAX,
        last_begin_us: i64::MIN,
        last_end_us: i64::MIN,
        first_seq: i64::MAX,
        last_seq: 0,
        latest_us: i64::MIN,
        newest_receive_us: i64::MIN,
    };

    /// From a row of [`Self::COLUMNS`] that begins at `first`.
    pub(super) fn read(row: &Row<'_>, first: usize) -> rusqlite::Result<Self> {
        Ok(Self {
            events: row.get::<_, i64>(first)?.unsigned_abs(),
            first_begin_us: row.get(first + 1)?,
            last_begin_us: row.get(first + 2)?,
            last_end_us: row.get(first + 3)?,
            first_seq: row.get(first + 4)?,
            last_seq: row.get(first + 5)?,
            latest_us: row.get(first + 6)?,
            newest_receive_us: row.get(first + 7)?,
        })
    }

    /// As a slice's file has it.
    pub(super) fn load(slice: &Connection) -> rusqlite::Result<Self> {
        let sql = format!("SELECT {} FROM slice", Self::COLUMNS);
        slice.prepare_cached(&sql)?.query_row([], |row| Self::read(row, 0))
    }

    /// Into a slice's file.
    pub(super) fn store(&self, slice: &Connection) -> rusqlite::Result<usize> {
        let sql = "UPDATE slice SET events = ?1, first_begin_us = ?2, last_begin_us = ?3, last_end_us = ?4,
                   first_seq = ?5, last_seq = ?6, latest_us = ?7, newest_receive_us = ?8";
        slice.prepare_cached(sql)?.execute(params![
            self.events as i64,
            self.first_begin_us,
            self.last_begin_us,
            self.last_end_us,
            self.first_seq,
            self.last_seq,
            self.latest_us,
            self.newest_receive_us,
        ])
    }

    /// Takes in a commit that is later than all before it.
    pub(super) fn note(&mut self, (begin_us, end_us): (i64, i64), seq: i64, receive_us: i64) {
        self.first_begin_us = self.first_begin_us.min(begin_us);
        self.last_begin_us = self.last_begin_us.max(begin_us);
        self.last_end_us = self.last_end_us.max(end_us);
        self.first_seq = self.first_seq.min(seq);
        self.last_seq = seq;
        self.latest_us = receive_us;
        self.newest_receive_us = self.newest_receive_us.max(receive_us);
    }

    /// Whether an event that began at `begin_us` may be among its.
    pub(super) fn may_hold(&self, begin_us: i64) -> bool {
        (self.first_begin_us..=self.last_begin_us).contains(&begin_us)
    }
}

/// What changes about a slice.
#[derive(Debug, Clone)]
pub(super) struct SliceState {
    /// None where it could never be read.
    pub(super) summary: Option<Summary>,
    /// As the catalogue has it: no commit in it has a greater number.
    pub(super) seq_bound: i64,
    /// Whether the catalogue has its summary.
    pub(super) is_sealed: bool,
    /// Why it cannot be read.
    pub(super) problem: Option<String>,
    /// Its file is about to go, or gone.
    pub(super) is_dropped: bool,
}

/// One slice.
#[derive(Debug)]
pub(super) struct Slice {
    pub(super) number: i64,
    pub(super) kind: SliceKind,
    /// Of begin for dated slices, of receipt for strays.
    pub(super) from_us: i64,
    pub(super) until_us: i64,
    pub(super) path: PathBuf,
    pub(super) state: RwLock<SliceState>,
}

impl Slice {
    /// What it holds; nothing where that is not known.
    pub(super) fn summary(&self) -> Summary {
        self.state.read().summary.unwrap_or(Summary::EMPTY)
    }

    pub(super) fn set_summary(&self, summary: Summary) {
        self.state.write().summary = Some(summary);
    }

    pub(super) fn is_dropped(&self) -> bool {
        self.state.read().is_dropped
    }

    /// Whether its events may touch the time from `from_us` to `until_us`.
    pub(super) fn may_touch(&self, from_us: Option<i64>, until_us: Option<i64>) -> bool {
        let summary = self.summary();
        summary.events > 0
            && until_us.is_none_or(|until| summary.first_begin_us < until)
            && from_us.is_none_or(|from| summary.last_end_us >= from)
    }

    /// All its events begin before this, as far as a question that begins now can see.
    pub(super) fn end_us(&self) -> i64 {
        match self.kind {
            SliceKind::Dated => self.until_us,
            SliceKind::Stray => self.summary().last_begin_us.saturating_add(1),
        }
    }

    /// As a part of the index that cannot be read.
    fn as_unreadable(&self) -> UnreadablePart {
        let state = self.state.read();
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let (from_us, until_us) = match (self.kind, state.summary) {
            (SliceKind::Dated, _) => (self.from_us, self.until_us),
            (SliceKind::Stray, Some(summary)) => (summary.first_begin_us, summary.last_begin_us.saturating_add(1)),
            (SliceKind::Stray, None) => (i64::MIN, i64::MAX),
        };
        let (from, until) = (Timestamp::from_micros(from_us), Timestamp::from_micros(until_us));
        let problem = state.problem.as_deref().unwrap_or("it cannot be read");
        UnreadablePart {
            from,
            until,
            last_end: state.summary.map(|summary| Timestamp::from_micros(summary.last_end_us)),
            problem: format!(
                "events that began from {from} to {until} are missing: slice {name}: {problem}; put the file back from a \
                 backup and start again; retention removes it in its time"
            ),
        }
    }
}

/// The slices of one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct SliceList {
    /// By their begin; none overlaps another.
    pub(super) dated: Vec<Arc<Slice>>,
    pub(super) strays: Vec<Arc<Slice>>,
    /// They are there, and cannot be read.
    pub(super) unreadable: Vec<Arc<Slice>>,
}

impl SliceList {
    /// Those that can be read.
    pub(super) fn readable(&self) -> impl DoubleEndedIterator<Item = &Arc<Slice>> {
        self.dated.iter().chain(&self.strays)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Slice>> {
        self.readable().chain(&self.unreadable)
    }

    /// The dated slice of a time.
    pub(super) fn dated_at(&self, at_us: i64) -> Option<&Arc<Slice>> {
        let after = self.dated.partition_point(|slice| slice.from_us <= at_us);
        self.dated[..after].last().filter(|slice| at_us < slice.until_us)
    }

    /// The slice for strays that are received at a time.
    pub(super) fn stray_at(&self, at_us: i64) -> Option<&Arc<Slice>> {
        self.strays.iter().find(|slice| (slice.from_us..slice.until_us).contains(&at_us))
    }

    fn insert(&mut self, slice: Arc<Slice>) {
        if slice.state.read().problem.is_some() {
            self.unreadable.push(slice);
            return;
        }
        match slice.kind {
            SliceKind::Dated => {
                let at = self.dated.partition_point(|other| other.from_us < slice.from_us);
                self.dated.insert(at, slice);
            }
            SliceKind::Stray => self.strays.push(slice),
        }
    }

    fn remove(&mut self, number: i64) {
        for part in [&mut self.dated, &mut self.strays, &mut self.unreadable] {
            part.retain(|slice| slice.number != number);
        }
    }
}

/// All slices, and the connections that read them.
#[derive(Debug, Default)]
pub(super) struct Slices {
    list: RwLock<Arc<SliceList>>,
    /// Slice numbers with their connections, the last used at the end.
    idle: Mutex<VecDeque<(i64, Connection)>>,
}

impl Slices {
    pub(super) fn list(&self) -> Arc<SliceList> {
        Arc::clone(&self.list.read())
    }

    fn change(&self, change: impl FnOnce(&mut SliceList)) {
        let mut list = self.list.write();
        let mut next = SliceList::clone(&list);
        change(&mut next);
        *list = Arc::new(next);
    }

    pub(super) fn add(&self, slice: Arc<Slice>) {
        self.change(|list| list.insert(slice));
    }

    /// Nobody comes to the slice any more; who has it open finishes with it.
    pub(super) fn remove(&self, slice: &Slice) {
        self.change(|list| list.remove(slice.number));
        slice.state.write().is_dropped = true;
        self.close_idle_of(slice.number);
    }

    /// From now on answers lack its events, and say so.
    pub(super) fn mark_unreadable(&self, slice: &Arc<Slice>, problem: String) {
        tracing::error!(slice = %slice.path.display(), problem, "a slice of the index cannot be read");
        slice.state.write().problem = Some(problem);
        self.change(|list| {
            list.remove(slice.number);
            list.insert(Arc::clone(slice));
        });
        self.close_idle_of(slice.number);
    }

    /// Parts of the index that cannot be read.
    pub(super) fn unreadable(&self) -> Vec<UnreadablePart> {
        self.list().unreadable.iter().map(|slice| slice.as_unreadable()).collect()
    }

    pub(super) fn close_idle(&self) {
        self.idle.lock().clear();
    }

    fn close_idle_of(&self, number: i64) {
        self.idle.lock().retain(|(other, _)| *other != number);
    }

    /// Opens a slice for reading: all that is read through it is of one commit.
    ///
    /// # Errors
    /// [`ReadError::SlicesChanged`] when it was removed meanwhile: the question is to be asked anew.
    pub(super) fn session(self: &Arc<Self>, slice: &Arc<Slice>) -> Result<Session, ReadError> {
        let opened = self.connect(slice);
        if slice.is_dropped() {
            return Err(ReadError::SlicesChanged);
        }
        let connection = opened.map_err(|error| ReadError::Slice(Arc::clone(slice), error))?;
        Ok(Session { slices: Arc::clone(self), slice: Arc::clone(slice), connection: Some(connection) })
    }

    fn connect(&self, slice: &Slice) -> rusqlite::Result<Connection> {
        let mut idle = self.idle.lock();
        let kept = idle.iter().rposition(|(number, _)| *number == slice.number).and_then(|at| idle.remove(at));
        drop(idle);
        let connection = match kept {
            Some((_, connection)) => connection,
            None => schema::open_slice_reader(&slice.path)?,
        };
        connection.prepare_cached("BEGIN")?.execute([])?;
        // The first read is what the snapshot is of, and opens the log by its name: before the slice can have been removed
        // by whoever looks next.
        connection.prepare_cached("SELECT number FROM slice")?.query_row([], |row| row.get::<_, i64>(0))?;
        Ok(connection)
    }

    fn give_back(&self, slice: &Slice, connection: Connection) {
        // A connection that cannot end its transaction is of no use to anybody: it is closed.
        let ended = connection.prepare_cached("ROLLBACK").and_then(|mut end| end.execute([]));
        let state = slice.state.read();
        if ended.is_err() || state.is_dropped || state.problem.is_some() {
            return;
        }
        let mut idle = self.idle.lock();
        idle.push_back((slice.number, connection));
        let surplus = if idle.len() > MAX_IDLE { idle.pop_front() } else { None };
        // Closing may have to empty a log: not while others wait.
        drop(idle);
        drop(surplus);
    }
}

/// A slice that is open for reading.
#[derive(Debug)]
pub(super) struct Session {
    slices: Arc<Slices>,
    slice: Arc<Slice>,
    /// None only while it is dropped.
    connection: Option<Connection>,
}

impl Session {
    pub(super) fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("it is taken only when the session is dropped")
    }

    /// Says which slice a failure is of.
    pub(super) fn failed(&self, error: rusqlite::Error) -> ReadError {
        ReadError::Slice(Arc::clone(&self.slice), error)
    }

    /// Reads from the slice; its failures name it.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, ReadError> {
        read(self.connection()).map_err(|error| self.failed(error))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.slices.give_back(&self.slice, connection);
        }
    }
}
