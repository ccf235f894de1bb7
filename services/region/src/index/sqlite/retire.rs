//! Retention: a slice of which all is too old goes as one, by removing its file.
//!
//! Removing a file needs no free space, so it works on a disk that is full to the last byte; what is written about it does need
//! some, and where there is none is written right after, into the space that the file left. If the process dies in between,
//! the next start finds a slice without its file, takes all that it may have held for gone, and tells readers of a gap.

use rusqlite::config::DbConfig;
use vigil_base::Timestamp;

use super::catalogue;
use super::feed::last_seq_of;
use super::folder::{keep_reserve, remove_database, sync};
use super::schema::{meta_number, open_slice_reader, set_meta_number};
use super::seek::forget_steps;
use super::serving::Serving;
use super::slices::{Slice, SliceKind};
use crate::index::keys::AHEAD;
use crate::index::{CommitSeq, IndexError, Result};

/// What is no longer to be read: the last commit of it, and when that was received.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gone {
    number: i64,
    through: CommitSeq,
    received_us: i64,
}

impl Gone {
    fn of(slice: &Slice, latest: CommitSeq, now: Timestamp) -> Self {
        let summary = slice.state.read().summary;
        Self {
            number: slice.number,
            through: CommitSeq(last_seq_of(slice).unsigned_abs()).min(latest),
            received_us: summary.map_or(now.as_micros(), |summary| summary.latest_us),
        }
    }
}

impl Serving {
    /// Removes the oldest slice that is too old and holds events, and those before it that hold none; returns how many events.
    pub(super) fn purge(&mut self, older_than: Timestamp) -> Result<u64> {
        while let Some(gone) = self.unnoted.pop() {
            self.note_gone(gone, true).inspect_err(|_| self.unnoted.push(gone))?;
        }
        loop {
            let list = self.opened.slices.list();
            let (older_than, ahead) = (older_than.as_micros(), (self.now() + AHEAD).as_micros());
            let old = list.all().filter(|slice| is_too_old(slice, older_than, ahead));
            let Some(slice) = old.min_by_key(|slice| (slice.from_us, slice.number)) else { return Ok(0) };
            self.remove(slice)?;
            let events = slice.summary().events;
            if events > 0 {
                return Ok(events);
            }
        }
    }

    fn remove(&mut self, slice: &Slice) -> Result<()> {
        let gone = Gone::of(slice, self.opened.latest, self.now());
        let noted = match self.note_gone(gone, false) {
            Err(IndexError::DiskFull { .. }) => false,
            noted => noted.map(|()| true)?,
        };
        // Before anybody can miss anything.
        self.tail.purged(gone.through);
        self.opened.slices.remove(slice);
        for closing in self.open.extract_if(.., |open| open.slice.number == slice.number) {
            // Its log is not worth moving: best effort, to save the work.
            let _ = closing.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
        remove_database(&slice.path)?;
        sync(&self.opened.folder)?;
        keep_reserve(&self.opened.folder);
        tracing::info!(slice = %slice.path.display(), noted_before = noted, "retention removed a slice of the index");
        self.note_gone(gone, true).inspect_err(|_| self.unnoted.push(gone))
    }

    /// Tells the region's file what is gone or, before that, about to go.
    fn note_gone(&mut self, gone: Gone, is_removed: bool) -> Result<()> {
        let left = self.opened.slices.list();
        let first_seq = left.readable().map(|slice| slice.summary().first_seq).min().unwrap_or(i64::MAX);
        self.change("note what retention removes", move |changing| {
            let region = &changing.transaction;
            if gone.through.0 > meta_number(region, "purged_through")? {
                set_meta_number(region, "purged_through", gone.through.0)?;
                set_meta_number(region, "purged_us", gone.received_us.max(0).unsigned_abs())?;
            }
            if is_removed {
                forget_steps(region, first_seq)?;
                catalogue::forget(region, gone.number)?;
            } else {
                catalogue::mark_dropping(region, gone.number)?;
            }
            Ok(())
        })
    }
}

/// Whether every event of a slice began before `older_than_us`, or begins after `ahead_us`, when no camera's clock that is right can
/// be, and was last received before `older_than_us`. That it was received long ago alone says nothing: the region's clock may
/// have been wrong then.
fn is_too_old(slice: &Slice, older_than_us: i64, ahead_us: i64) -> bool {
    let summary = slice.state.read().summary.filter(|summary| summary.events > 0);
    let is_over = slice.until_us <= older_than_us;
    let Some(summary) = summary else { return is_over };
    let is_received_long_ago = summary.newest_receive_us < older_than_us;
    match slice.kind {
        SliceKind::Dated => is_over || (is_received_long_ago && slice.from_us > ahead_us),
        SliceKind::Stray => is_received_long_ago && !begins_within(slice, older_than_us, ahead_us),
    }
}

/// Whether an event of a slice begins between these times; one that cannot be read holds none.
fn begins_within(slice: &Slice, from_us: i64, until_us: i64) -> bool {
    let sql = "SELECT EXISTS (SELECT 1 FROM events WHERE begin_us BETWEEN ?1 AND ?2)";
    let found =
        open_slice_reader(&slice.path).and_then(|file| file.query_row(sql, [from_us, until_us], |row| row.get(0)));
    found.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use bytes::Bytes;
    use vigil_base::SimClock;

    use super::super::SqliteIndex;
    use super::super::testing::{NOON, event, open_at};
    use super::*;
    use crate::index::{CommitFeed, EventWriter, IndexStatus, NewRevision, Retention};

    const HOUR: Duration = Duration::from_hours(1);

    /// An event in each of three hours, all of them over.
    async fn three_slices(folder: &std::path::Path) -> SqliteIndex {
        let index = open_at(folder, SimClock::new(NOON + 4 * HOUR));
        let events = (0..3).map(|hour| NewRevision::new(event(hour * 3_600), Bytes::new())).collect();
        index.commit(events).await.unwrap();
        index
    }

    fn reopened(folder: &std::path::Path) -> SqliteIndex {
        open_at(folder, SimClock::new(NOON + 4 * HOUR))
    }

    #[tokio::test]
    async fn what_a_crash_left_of_a_removal_is_removed_at_the_start() {
        for is_unlinked in [false, true] {
            let temp = tempfile::tempdir().unwrap();
            let index = three_slices(temp.path()).await;
            let file = index.slice_files().remove(0);
            // As far as it comes before it dies: the row is marked, the file may be gone and its log not.
            let first = index.slices.list().dated[0].clone();
            let mark = move |state: &mut Serving| state.note_gone(Gone::of(&first, CommitSeq(3), NOON), false);
            index.writer.with_state(mark).await.unwrap();
            drop(index);
            let log = file.with_extension("db-wal");
            fs::write(&log, "what is left of a log").unwrap();
            if is_unlinked {
                fs::remove_file(&file).unwrap();
            }
            let index = reopened(temp.path());
            assert!(!file.exists() && !log.exists());
            assert_eq!((index.unreadable(), index.stats().await.unwrap().events), (vec![], 2));
            let page = index.read(CommitSeq(0), std::sync::Arc::default(), 10).await.unwrap();
            assert_eq!((page.items.len(), page.purged_through), (2, CommitSeq(1)));
        }
    }

    #[tokio::test]
    async fn a_removal_that_the_full_disk_kept_from_being_noted_is_a_gap_to_readers() {
        let temp = tempfile::tempdir().unwrap();
        let index = three_slices(temp.path()).await;
        let file = index.slice_files().remove(0);
        drop(index);
        // The file went first, then the process died.
        fs::remove_file(&file).unwrap();
        let index = reopened(temp.path());
        let page = index.read(CommitSeq(0), std::sync::Arc::default(), 10).await.unwrap();
        assert!(page.purged_through > CommitSeq(0));
        assert_eq!(index.unreadable().len(), 1);
        assert_eq!(index.purge(NOON + HOUR).await.unwrap(), 1, "retention forgets it in its turn");
        assert_eq!(index.unreadable(), []);
        drop(index);
        let page = reopened(temp.path()).read(CommitSeq(0), std::sync::Arc::default(), 10).await.unwrap();
        assert!(page.purged_through > CommitSeq(0));
    }
}
