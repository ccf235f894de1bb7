//! A group of calls in one transaction, and the count of what the tables hold. No thread of its own.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, Row, params};
use vigil_base::Timestamp;

use crate::call::{Call, CallResult};
use crate::change::{Change, RECORD_OVERHEAD_BYTES};
use crate::reserve::Reserve;
use crate::{Backlog, OutboxError};

/// Room inside the file beyond a record's own bytes that makes a put safe on a full disk: pages of its indexes.
const SLACK_BYTES: u64 = 64 * 1024;

/// The writing side of the tables.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    connection: Connection,
    max_bytes: u64,
    backlog: Backlog,
    reserve: Reserve,
}

impl Store {
    pub(crate) fn new(
        path: &Path,
        connection: Connection,
        max_bytes: u64,
        mut reserve: Reserve,
    ) -> Result<Self, OutboxError> {
        let backlog = count(&connection).map_err(|e| OutboxError::sqlite(path, "count what waits", e))?;
        if !reserve.hold() {
            tracing::warn!(path = %path.display(), "the disk is almost full: no room can be kept back for draining the outbox");
        }
        Ok(Self { path: path.to_owned(), connection, max_bytes, backlog, reserve })
    }

    pub(crate) fn backlog(&self) -> Backlog {
        self.backlog
    }

    /// Applies `calls` in one transaction, synced once; a result for each. When the group fails as a whole, each call
    /// is tried alone.
    pub(crate) fn apply(&mut self, calls: &[Call], now: Timestamp) -> Vec<CallResult> {
        if self.has_reserve() || !calls.iter().any(Call::is_put) {
            return self.apply_together(calls, now);
        }
        let alone = |call: &Call| {
            if call.is_put() {
                self.apply_with_room(call, now)
            } else {
                self.apply_together(std::slice::from_ref(call), now).swap_remove(0)
            }
        };
        calls.iter().map(alone).collect()
    }

    fn apply_together(&mut self, calls: &[Call], now: Timestamp) -> Vec<CallResult> {
        match (self.try_group(calls, now), calls) {
            (Ok(results), _) => results,
            (Err(OutboxError::DiskFull { .. }), [call]) => vec![self.apply_with_room(call, now)],
            (Err(error), [_]) => vec![Err(error)],
            (Err(_), _) => calls.iter().flat_map(|call| self.apply_together(std::slice::from_ref(call), now)).collect(),
        }
    }

    /// The disk is full: the log is emptied into the file, and the call is tried once more. What gives room may use the
    /// reserve for its log; what takes room may do so where the file has free pages enough inside, so that it does not
    /// grow. Else the reserve would be used up and the outbox never drained.
    fn apply_with_room(&mut self, call: &Call, now: Timestamp) -> CallResult {
        self.reserve.lend();
        self.empty_log();
        let fits_inside = self.free_bytes_inside() >= 2 * call.len() as u64 + SLACK_BYTES;
        if call.is_put() && !fits_inside && !self.reserve.hold() {
            return Err(OutboxError::DiskFull { path: self.path.clone() });
        }
        let mut results = self.try_group(std::slice::from_ref(call), now)?;
        results.swap_remove(0)
    }

    /// Whether the reserve is whole, after trying to make it so.
    fn has_reserve(&mut self) -> bool {
        if self.reserve.hold() {
            return true;
        }
        self.empty_log();
        self.reserve.hold()
    }

    fn empty_log(&self) {
        if let Err(error) = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
            tracing::debug!(path = %self.path.display(), %error, "the log cannot be emptied");
        }
    }

    fn free_bytes_inside(&self) -> u64 {
        let number = |pragma: &str| self.connection.query_row(pragma, [], |row| unsigned(row, 0)).unwrap_or(0);
        number("PRAGMA freelist_count") * number("PRAGMA page_size")
    }

    fn try_group(&mut self, calls: &[Call], now: Timestamp) -> Result<Vec<CallResult>, OutboxError> {
        let applied = self.apply_group(calls, now);
        if applied.is_err() {
            self.recover();
        }
        applied
    }

    /// A commit that failed may be on the disk after all (a sync that failed halfway): its sequences are not given
    /// again.
    fn recover(&mut self) {
        let is_ahead = counter(&self.connection, "next_sequence").is_ok_and(|next| next != self.backlog.next_sequence);
        if is_ahead && let Ok(counted) = count(&self.connection) {
            self.backlog = counted;
        }
    }

    fn apply_group(&mut self, calls: &[Call], now: Timestamp) -> Result<Vec<CallResult>, OutboxError> {
        let database = |e| OutboxError::sqlite(&self.path, "write", e);
        let mut transaction = self.connection.transaction().map_err(database)?;
        let mut backlog = self.backlog;
        let mut results = Vec::with_capacity(calls.len());
        for call in calls {
            let step = transaction.savepoint().map_err(database)?;
            let mut change = Change { path: &self.path, step, backlog, max_bytes: self.max_bytes, now };
            match change.apply(call) {
                Ok(outcomes) => {
                    backlog = change.backlog;
                    change.step.commit().map_err(database)?;
                    results.push(Ok(outcomes));
                }
                Err(error) if error.is_refusal() => {
                    change.step.finish().map_err(database)?;
                    results.push(Err(error));
                }
                Err(error) => return Err(error),
            }
        }
        store_counters(&transaction, &backlog).map_err(database)?;
        transaction.commit().map_err(database)?;
        self.backlog = backlog;
        Ok(results)
    }

    #[cfg(test)]
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }
}

fn store_counters(connection: &Connection, backlog: &Backlog) -> rusqlite::Result<()> {
    let mut update = connection.prepare_cached("UPDATE counters SET value = ?2 WHERE name = ?1 AND value <> ?2")?;
    update.execute(params!["next_sequence", backlog.next_sequence as i64])?;
    update.execute(params!["set_aside_total", backlog.set_aside_total as i64])?;
    Ok(())
}

fn counter(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    connection.prepare_cached("SELECT value FROM counters WHERE name = ?1")?.query_row([name], |row| unsigned(row, 0))
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::unsigned_abs)
}

/// What the file holds, counted once when it is opened; from then on each change keeps count.
fn count(connection: &Connection) -> rusqlite::Result<Backlog> {
    let sql =
        "SELECT count(*), count(sequence), ifnull(sum(length(event) + ifnull(length(thumbnail), 0)), 0) FROM records";
    let (rows, records, bytes) =
        connection.query_row(sql, [], |row| Ok((unsigned(row, 0)?, unsigned(row, 1)?, unsigned(row, 2)?)))?;
    let sql = "SELECT count(*), ifnull(sum(length(event)), 0) FROM set_aside";
    let (set_aside, aside_bytes) = connection.query_row(sql, [], |row| Ok((unsigned(row, 0)?, unsigned(row, 1)?)))?;
    Ok(Backlog {
        records,
        bytes: bytes + aside_bytes + (rows + set_aside) * RECORD_OVERHEAD_BYTES,
        set_aside,
        set_aside_total: counter(connection, "set_aside_total")?,
        next_sequence: counter(connection, "next_sequence")?,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use vigil_base::EventId;

    use super::*;
    use crate::Record;
    use crate::record::MAX_SET_ASIDE;
    use crate::schema;

    const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

    fn record(event_id: EventId, revision: u32, bytes: usize) -> Record {
        Record { event_id, revision, is_final: true, event: vec![7; bytes].into(), thumbnail: Bytes::new() }
    }

    fn store(folder: &Path) -> Store {
        let path = folder.join("outbox.db");
        let Ok(connection) = schema::open_writer(&path) else { panic!("cannot open {}", path.display()) };
        Store::new(&path, connection, u64::MAX, Reserve::new(folder.join("reserve"))).unwrap()
    }

    fn put(store: &mut Store, record: Record) -> CallResult {
        store.apply(&[Call::Put(vec![record])], NOW).remove(0)
    }

    #[test]
    fn a_full_disk_refuses_the_put_keeps_the_rest_and_works_again_with_space() {
        let temp = tempfile::tempdir().unwrap();
        let mut store = store(temp.path());
        let kept = EventId::at(NOW);
        put(&mut store, record(kept, 1, 1_000)).unwrap();
        // SQLite refuses to grow the file, with the same code that it gives for ENOSPC.
        let pages: i64 = store.connection().query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        let limit = |store: &Store, pages: i64| {
            store.connection().pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
        };
        limit(&store, pages + 8);
        let before = store.backlog();
        let error = put(&mut store, record(EventId::at(NOW), 1, 100_000)).unwrap_err();
        assert!(matches!(error, OutboxError::DiskFull { .. }), "{error:?}");
        assert_eq!(store.backlog(), before);
        limit(&store, 1_000_000);
        put(&mut store, record(EventId::at(NOW), 1, 100_000)).unwrap();
        assert_eq!(store.backlog().records, 2);
        assert_eq!(count(store.connection()).unwrap(), store.backlog());
    }

    #[test]
    fn in_a_group_without_room_the_calls_that_need_none_still_succeed() {
        let temp = tempfile::tempdir().unwrap();
        let mut store = store(temp.path());
        let sent = EventId::at(NOW);
        put(&mut store, record(sent, 1, 1_000)).unwrap();
        let pages: i64 = store.connection().query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        store.connection().pragma_update_and_check(None, "max_page_count", pages + 8, |_| Ok(())).unwrap();
        let large = Call::Put(vec![record(EventId::at(NOW), 1, 100_000)]);
        let results = store.apply(&[Call::Acknowledge(vec![(sent, 1)]), large], NOW);
        assert!(results[0].is_ok(), "{:?}", results[0]);
        assert!(matches!(results[1], Err(OutboxError::DiskFull { .. })), "{:?}", results[1]);
        assert_eq!(store.backlog().records, 0);
    }

    #[test]
    fn a_read_only_file_is_said_to_be_read_only() {
        let temp = tempfile::tempdir().unwrap();
        let mut store = store(temp.path());
        store.connection().pragma_update(None, "query_only", true).unwrap();
        let error = put(&mut store, record(EventId::at(NOW), 1, 10)).unwrap_err();
        assert!(matches!(error, OutboxError::ReadOnly { .. }), "{error:?}");
        store.connection().pragma_update(None, "query_only", false).unwrap();
        put(&mut store, record(EventId::at(NOW), 1, 10)).unwrap();
    }

    #[test]
    fn a_put_above_the_bound_leaves_none_of_its_records() {
        let temp = tempfile::tempdir().unwrap();
        let mut store = store(temp.path());
        store.max_bytes = 2_500;
        let records = vec![record(EventId::at(NOW), 1, 1_000), record(EventId::at(NOW), 1, 2_000)];
        let error = store.apply(&[Call::Put(records)], NOW).remove(0).unwrap_err();
        assert!(matches!(error, OutboxError::Full { limit: 2_500, .. }), "{error:?}");
        assert_eq!(count(store.connection()).unwrap().records, 0);
        let event_id = EventId::at(NOW);
        put(&mut store, record(event_id, 1, 1_000)).unwrap();
        put(&mut store, record(EventId::at(NOW), 1, 1_000)).unwrap();
        assert!(put(&mut store, record(EventId::at(NOW), 1, 1_000)).is_err());
        put(&mut store, record(event_id, 2, 1_000)).expect("a revision of the same size needs no room");
        store.apply(&[Call::Acknowledge(vec![(event_id, 2)])], NOW).remove(0).unwrap();
        put(&mut store, record(EventId::at(NOW), 1, 1_000)).expect("an acknowledgement makes room");
    }

    #[test]
    fn rejected_records_are_bounded_and_counted() {
        let temp = tempfile::tempdir().unwrap();
        let mut store = store(temp.path());
        let extra = 5;
        for _ in 0..MAX_SET_ASIDE + extra {
            let event_id = EventId::at(NOW);
            let reject = Call::SetAside { event_id, revision: 1, reason: "no such camera".into() };
            for result in store.apply(&[Call::Put(vec![record(event_id, 1, 10)]), reject], NOW) {
                result.unwrap();
            }
        }
        let backlog = store.backlog();
        assert_eq!((backlog.records, backlog.set_aside), (0, MAX_SET_ASIDE));
        assert_eq!(backlog.set_aside_total, MAX_SET_ASIDE + extra);
        assert_eq!(count(store.connection()).unwrap(), backlog);
    }
}
