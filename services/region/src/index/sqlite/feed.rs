//! Revisions in the order of their commit, over all slices as over one.
//!
//! Of each slice is known between which numbers its commits lie. It is opened when the reader comes to the first of them, so
//! that a reader near the end opens the slices that were written of late, and no other.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use rusqlite::{Connection, params};
use vigil_base::Timestamp;
use vigil_proto::convert::Filter;

use super::conditions::Conditions;
use super::failure::ReadError;
use super::lookup::PayloadReader;
use super::readers::Snapshot;
use super::row::{COLUMNS, EventRow};
use super::schema::meta_number;
use super::slices::{Session, Slice, SliceList};
use crate::index::{CommitSeq, FeedItem, FeedPage};

/// Rows that one read looks at; a filter that matches few of them moves on page by page.
const MAX_ROWS: usize = 4_096;
/// Rows that are fetched of a slice at a time.
const CHUNK_ROWS: usize = 128;

/// The next matching events after `after`. `published` is the newest commit that anybody was told of before: what is beyond it
/// may be in one slice already and not yet in another.
pub(super) fn read(
    snapshot: &Snapshot<'_>,
    (after, published): (CommitSeq, CommitSeq),
    filter: &Filter,
    max_events: usize,
) -> Result<FeedPage, ReadError> {
    let region = snapshot.region();
    let conditions = Conditions::new(region, filter)?;
    let mut commits = Commits::new(snapshot, after, published);
    let (mut items, mut looked_at, mut through, mut resumes_at) = (Vec::new(), 0, after, None);
    while items.len() < max_events && looked_at < MAX_ROWS {
        let Some((row, source)) = commits.next()? else {
            // The end was reached: commits up to the newest were replaced by later ones or are gone.
            through = through.max(published);
            break;
        };
        looked_at += 1;
        through = row.commit;
        resumes_at = resumes_at.or(Some(Timestamp::from_micros(row.receive_us)));
        if conditions.as_ref().is_some_and(|conditions| conditions.matches(&row)) {
            items.push(FeedItem { seq: row.commit, event: commits.event(&row, source)? });
        }
    }
    let purged_through =
        CommitSeq(meta_number(region, "purged_through")?).max(unreadable_through(snapshot.list(), published));
    Ok(FeedPage { items, through, purged_through, resumes_at })
}

/// The last commit that lies in a slice which cannot be read: for who reads on from before it, it is gone.
pub(super) fn unreadable_through(list: &SliceList, published: CommitSeq) -> CommitSeq {
    let last = |slice: &Arc<Slice>| last_seq_of(slice).unsigned_abs();
    CommitSeq(list.unreadable.iter().map(last).max().unwrap_or(0)).min(published)
}

/// The greatest number that a commit of the slice may have.
pub(super) fn last_seq_of(slice: &Slice) -> i64 {
    let state = slice.state.read();
    state.summary.map_or(state.seq_bound, |summary| summary.last_seq)
}

enum Source {
    Closed(Arc<Slice>),
    Open { session: Session, fetched: VecDeque<EventRow>, fetched_to: i64, is_exhausted: bool },
}

/// All commits after a place, in their order.
struct Commits<'q> {
    snapshot: &'q Snapshot<'q>,
    published: CommitSeq,
    after: CommitSeq,
    sources: Vec<Source>,
    /// The next commit of each source, or where that of a closed one may be.
    heads: BinaryHeap<Reverse<(i64, usize)>>,
}

impl<'q> Commits<'q> {
    fn new(snapshot: &'q Snapshot<'q>, after: CommitSeq, published: CommitSeq) -> Self {
        let (mut sources, mut heads) = (Vec::new(), BinaryHeap::new());
        for slice in snapshot.list().readable() {
            let summary = slice.summary();
            if summary.last_seq.unsigned_abs() > after.0 && summary.first_seq.unsigned_abs() <= published.0 {
                heads.push(Reverse((summary.first_seq, sources.len())));
                sources.push(Source::Closed(Arc::clone(slice)));
            }
        }
        Self { snapshot, published, after, sources, heads }
    }

    fn next(&mut self) -> Result<Option<(EventRow, usize)>, ReadError> {
        while let Some(Reverse((_, index))) = self.heads.pop() {
            if let Source::Closed(slice) = &self.sources[index] {
                let session = self.snapshot.session(slice)?;
                let fetched_to = self.after.0 as i64;
                self.sources[index] =
                    Source::Open { session, fetched: VecDeque::new(), fetched_to, is_exhausted: false };
                self.queue_next(index)?;
                continue;
            }
            let Source::Open { fetched, .. } = &mut self.sources[index] else { continue };
            let Some(row) = fetched.pop_front() else { continue };
            self.queue_next(index)?;
            return Ok(Some((row, index)));
        }
        Ok(None)
    }

    /// Puts the next commit of an open source among the heads, if it has one.
    fn queue_next(&mut self, index: usize) -> Result<(), ReadError> {
        let published = self.published;
        let Source::Open { session, fetched, fetched_to, is_exhausted } = &mut self.sources[index] else {
            return Ok(());
        };
        if fetched.is_empty() && !*is_exhausted {
            fetched.extend(session.read(|slice| rows_after(slice, *fetched_to, published))?);
            *is_exhausted = fetched.len() < CHUNK_ROWS;
            *fetched_to = fetched.back().map_or(*fetched_to, |row| row.commit.0 as i64);
        }
        if let Some(row) = fetched.front() {
            self.heads.push(Reverse((row.commit.0 as i64, index)));
        }
        Ok(())
    }

    fn event(&self, row: &EventRow, source: usize) -> Result<vigil_proto::v1::Event, ReadError> {
        let Source::Open { session, .. } = &self.sources[source] else { return Err(ReadError::SlicesChanged) };
        session.read(|slice| PayloadReader::new(slice)?.event(row))
    }
}

fn rows_after(slice: &Connection, after: i64, published: CommitSeq) -> rusqlite::Result<Vec<EventRow>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM events INDEXED BY events_by_commit
         WHERE commit_seq > ?1 AND commit_seq <= ?2 ORDER BY commit_seq LIMIT ?3"
    );
    let mut statement = slice.prepare_cached(&sql)?;
    statement.query_map(params![after, published.0 as i64, CHUNK_ROWS as i64], EventRow::read)?.collect()
}
