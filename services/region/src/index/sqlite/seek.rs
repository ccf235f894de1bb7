//! The place in the order of commits that a moment of the region's clock has.
//!
//! Commits are in the order of their receive times for as long as that clock is not set back, so the place is found by
//! halving, over the indexes of commits of those slices that have commits in between. Where the clock was set back, the writer
//! notes a step. Between two steps the order holds: each stretch that may hold the moment is halved by itself, the oldest first.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use vigil_base::Timestamp;

use super::failure::ReadError;
use super::feed::last_seq_of;
use super::readers::Snapshot;
use super::schema::meta_number;
use super::slices::{Session, Slice};
use crate::index::CommitSeq;

/// Stretches that one question looks at. Clocks are slewed, not set: a region has a handful of steps in a year. One with more
/// than this has no clock to go by, and a reader begins where the looking ended.
const MAX_STRETCHES: usize = 1_024;

/// Notes that the clock was set back: `last` was the last commit before that, received at `receive_time`.
pub(super) fn note_step(region: &Connection, last: CommitSeq, receive_time: Timestamp) -> rusqlite::Result<()> {
    // It may be noted already, by a commit that was undone after that.
    let sql = "INSERT OR REPLACE INTO clock_steps (commit_seq, receive_us) VALUES (?1, ?2)";
    region.prepare_cached(sql)?.execute(params![last.0 as i64, receive_time.as_micros()])?;
    Ok(())
}

/// Forgets steps with nothing left before them.
pub(super) fn forget_steps(region: &Connection, first_seq: i64) -> rusqlite::Result<()> {
    region.prepare_cached("DELETE FROM clock_steps WHERE commit_seq < ?1")?.execute([first_seq])?;
    Ok(())
}

/// See [`crate::index::CommitFeed::seek`]; `newest` is the newest commit that anybody was told of.
pub(super) fn seek(snapshot: &Snapshot<'_>, newest: CommitSeq, since: Timestamp) -> Result<CommitSeq, ReadError> {
    let region = snapshot.region();
    let since_us = since.as_micros();
    let mut place = Seeking::new(snapshot).place_of(region, newest.0 as i64, since_us)?;
    let purged_us = meta_number(region, "purged_us")? as i64;
    let mut gone = vec![(meta_number(region, "purged_through")? as i64, purged_us)];
    // What cannot be read may have been received at any time.
    gone.extend(snapshot.list().unreadable.iter().map(|slice| (last_seq_of(slice).min(newest.0 as i64), i64::MAX)));
    for (through, received_us) in gone {
        if through > 0 && received_us >= since_us {
            place = place.min(through - 1);
        }
    }
    Ok(CommitSeq(place.unsigned_abs()))
}

/// The slices that are looked at, those with the oldest commits first, opened as they are needed.
struct Seeking<'q> {
    snapshot: &'q Snapshot<'q>,
    sources: Vec<(Arc<Slice>, Option<Session>)>,
}

impl<'q> Seeking<'q> {
    fn new(snapshot: &'q Snapshot<'q>) -> Self {
        let with_commits = snapshot.list().readable().filter(|slice| slice.summary().events > 0);
        let mut sources: Vec<_> = with_commits.map(|slice| (Arc::clone(slice), None)).collect();
        sources.sort_by_key(|(slice, _)| slice.summary().first_seq);
        Self { snapshot, sources }
    }

    /// Right before the first commit received from `since_us` on; the newest commit when there is none.
    fn place_of(&mut self, region: &Connection, newest: i64, since_us: i64) -> Result<i64, ReadError> {
        let mut steps =
            region.prepare_cached("SELECT commit_seq, receive_us FROM clock_steps ORDER BY commit_seq LIMIT ?1")?;
        let mut steps = steps.query([MAX_STRETCHES as i64])?;
        let (mut looked_at, mut place) = (0, 0);
        while let Some(step) = steps.next()? {
            let (last, newest_us): (i64, i64) = (step.get(0)?, step.get(1)?);
            if newest_us >= since_us
                && let Some(found) = self.halve((place, last), since_us)?
            {
                return Ok(found);
            }
            (looked_at, place) = (looked_at + 1, last);
        }
        if looked_at == MAX_STRETCHES {
            return Ok(place);
        }
        Ok(self.halve((place, newest), since_us)?.unwrap_or(newest))
    }

    /// Right before the first commit received from `since_us` on, among those after `low` and up to `high`, which are in the
    /// order of their receive times. Numbers may be missing: replaced by later revisions, or removed.
    fn halve(&mut self, (mut low, mut high): (i64, i64), since_us: i64) -> Result<Option<i64>, ReadError> {
        let mut found = None;
        while low < high {
            let middle = low + (high - low) / 2;
            match self.first_between(middle, high)? {
                Some((seq, receive_us)) if receive_us < since_us => low = seq,
                Some((seq, _)) => (found, high) = (Some(seq - 1), middle),
                None => high = middle,
            }
        }
        Ok(found)
    }

    /// The first commit after `low` and up to `high`, and when it was received.
    fn first_between(&mut self, low: i64, mut high: i64) -> Result<Option<(i64, i64)>, ReadError> {
        let mut first = None;
        for (slice, session) in &mut self.sources {
            let summary = slice.summary();
            if summary.first_seq > high {
                break;
            }
            if summary.last_seq <= low {
                continue;
            }
            let session = match session {
                Some(session) => session,
                None => session.insert(self.snapshot.session(slice)?),
            };
            if let Some(commit) = session.read(|slice| first_in_slice(slice, low, high))? {
                high = commit.0 - 1;
                first = Some(commit);
            }
        }
        Ok(first)
    }
}

fn first_in_slice(slice: &Connection, low: i64, high: i64) -> rusqlite::Result<Option<(i64, i64)>> {
    let sql = "SELECT commit_seq, receive_us FROM events INDEXED BY events_by_commit
               WHERE commit_seq > ?1 AND commit_seq <= ?2 ORDER BY commit_seq LIMIT 1";
    slice.prepare_cached(sql)?.query_row([low, high], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use vigil_base::SimClock;

    use super::super::testing::{NOON, event, open_at};
    use super::*;
    use crate::index::{CommitFeed, EventWriter, NewRevision, Retention};

    #[tokio::test]
    async fn a_clock_that_is_set_back_again_and_again_makes_no_unbounded_work() {
        let temp = tempfile::tempdir().unwrap();
        let clock = SimClock::new(NOON);
        let index = open_at(temp.path(), clock.clone());
        index.commit(vec![NewRevision::new(event(0), Bytes::new())]).await.unwrap();
        let steps = MAX_STRETCHES as u64 + 10;
        let note = move |changing: &mut super::super::writer::Changing<'_>| {
            for seq in 2..2 + steps {
                note_step(&changing.transaction, CommitSeq(seq), NOON)?;
            }
            Ok(())
        };
        index.writer.run("note steps", note).await.unwrap();
        let later = NOON + Duration::from_secs(1);
        assert_eq!(index.seek(later).await.unwrap(), CommitSeq(1 + MAX_STRETCHES as u64), "where the looking ended");
    }

    #[tokio::test]
    async fn steps_are_forgotten_with_the_events_before_them() {
        let hour = Duration::from_hours(1);
        let temp = tempfile::tempdir().unwrap();
        let clock = SimClock::new(NOON);
        let index = open_at(temp.path(), clock.clone());
        for (slice, back) in [0u64, 60, 120].into_iter().enumerate() {
            clock.jump_to(NOON + hour * 3 - Duration::from_secs(back));
            index.commit(vec![NewRevision::new(event(slice as u64 * 3_600), Bytes::new())]).await.unwrap();
        }
        let steps = async || {
            let read = |snapshot: &Snapshot<'_>| {
                let sql = "SELECT group_concat(commit_seq) FROM clock_steps";
                Ok(snapshot.region().query_row(sql, [], |row| row.get::<_, Option<String>>(0))?)
            };
            index.readers.run("read steps", read).await.unwrap().unwrap_or_default()
        };
        assert_eq!(steps().await, "1,2");
        assert_eq!(index.purge(NOON + hour).await.unwrap(), 1);
        assert_eq!(steps().await, "2");
    }
}
