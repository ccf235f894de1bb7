//! Removing what is too old: whole days by dropping them, what lies in no day a bounded step at a time.

use uuid::Uuid;
use vigil_base::Timestamp;

use super::connect::Connection;
use super::days::{self, day_of, start_of};
use super::failure::Failure;
use super::hourly::{ALL_CAMERAS, CountChanges, Counted, NO_ZONE, NewCounts};
use super::plates::forget_strays;
use super::values::At;
use super::writer::Changing;
use crate::index::CommitSeq;
use crate::index::keys::AHEAD;

/// Events of no day that one step removes: some milliseconds, during which commits wait.
const STEP_EVENTS: i64 = 500;

/// What a step removed.
pub(super) struct Purged {
    pub(super) events: u64,
    /// The last commit of which nothing is left to read, of all steps so far.
    pub(super) through: CommitSeq,
    /// The days that were dropped.
    pub(super) days: Vec<i64>,
}

/// Drops the oldest day with events that is wholly older than `older_than`, and empty ones before it. Where there is none,
/// removes some of the events that lie in no day's partition and began before it, or were last received before it and begin further
/// ahead than a clock that is right can be: a camera whose clock is years ahead does not keep its events for years. That one was
/// received long ago alone says nothing: the region's clock may have been wrong then.
pub(super) async fn purge(changing: Changing, older_than: Timestamp) -> Result<Purged, Failure> {
    let connection = &changing.connection;
    let mut days = Vec::new();
    for day in changing.shared.days.ended_before(older_than) {
        let (events, through) = drop_day(connection, day).await?;
        days.push(day);
        if events > 0 {
            return Ok(Purged { events, through, days });
        }
    }
    let sql = "SELECT camera, begin_time, event_id, class, kind, commit_seq, receive_time, zone FROM events_other
               WHERE begin_time < $1 OR (receive_time < $1 AND begin_time > $2) LIMIT $3";
    let rows = Removed::read(connection.query(sql, &[&At(older_than), &At(changing.now + AHEAD), &STEP_EVENTS]).await?);
    remove(connection, &rows).await?;
    let last = rows.iter().max_by_key(|row| row.commit).map(|row| (row.commit, row.received));
    let events = rows.len() as u64;
    let through = note_removed(connection, last, events).await?;
    Ok(Purged { events, through, days })
}

/// How many events went with it, and the last commit of which nothing is left.
async fn drop_day(connection: &Connection, day: i64) -> Result<(u64, CommitSeq), Failure> {
    let (from, until) = (At(start_of(day)), At(start_of(day + 1)));
    let sql = "SELECT coalesce(sum(events), 0)::int8 FROM hourly WHERE camera = $1 AND hour >= $2 AND hour < $3";
    let row = connection.query_opt(sql, &[&ALL_CAMERAS, &from, &until]).await?;
    let events = row.map_or(0, |row| row.get::<_, i64>(0).unsigned_abs());
    let sql = "SELECT commit_seq, receive_time FROM events WHERE begin_time >= $1 AND begin_time < $2
               ORDER BY commit_seq DESC LIMIT 1";
    let last = connection.query_opt(sql, &[&from, &until]).await?;
    let last = last.map(|row| (CommitSeq(row.get::<_, i64>(0).unsigned_abs()), row.get::<_, At>(1).0));
    days::drop_day(connection, day).await?;
    let through = note_removed(connection, last, events).await?;
    Ok((events, through))
}

/// Keeps the last commit that was removed, and when it was received: readers that need what is gone are told. Forgets clock
/// steps with nothing left before them.
async fn note_removed(
    connection: &Connection,
    last: Option<(CommitSeq, Timestamp)>,
    events: u64,
) -> Result<CommitSeq, tokio_postgres::Error> {
    if let Some((commit, received)) = last {
        let sql = "UPDATE index_state SET events = events - $1,
                          purged_time = CASE WHEN $2 > purged_through THEN $3 ELSE purged_time END,
                          purged_through = greatest(purged_through, $2)";
        connection.execute(sql, &[&(events as i64), &(commit.0 as i64), &At(received)]).await?;
        let forget = "DELETE FROM clock_steps WHERE commit_seq < (SELECT min(commit_seq) FROM events)";
        connection.execute(forget, &[]).await?;
    }
    let statement = connection.prepare("SELECT purged_through FROM index_state").await?;
    let row = connection.client().query_one(&statement, &[]).await?;
    Ok(CommitSeq(row.get::<_, i64>(0).unsigned_abs()))
}

/// An event that goes.
struct Removed {
    camera: i32,
    begin: At,
    id: Uuid,
    class: i32,
    kind: i16,
    zone: Option<i32>,
    commit: CommitSeq,
    received: Timestamp,
}

impl Removed {
    fn read(rows: Vec<tokio_postgres::Row>) -> Vec<Self> {
        let read = |row: tokio_postgres::Row| Self {
            camera: row.get(0),
            begin: row.get(1),
            id: row.get(2),
            class: row.get(3),
            kind: row.get(4),
            commit: CommitSeq(row.get::<_, i64>(5).unsigned_abs()),
            received: row.get::<_, At>(6).0,
            zone: row.get(7),
        };
        rows.into_iter().map(read).collect()
    }

    fn counted(&self) -> Counted {
        let (begin_us, zone) = (self.begin.0.as_micros(), self.zone.unwrap_or(NO_ZONE));
        Counted { camera: self.camera, begin_us, class: self.class, kind: self.kind, zone }
    }
}

async fn remove(connection: &Connection, rows: &[Removed]) -> Result<(), tokio_postgres::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let cameras: Vec<i32> = rows.iter().map(|row| row.camera).collect();
    let begins: Vec<At> = rows.iter().map(|row| row.begin).collect();
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let sql =
        "DELETE FROM events e USING unnest($1::int4[], $2::timestamptz[], $3::uuid[]) AS old (camera, begin_time, id)
               WHERE e.camera = old.camera AND e.begin_time = old.begin_time AND e.event_id = old.id";
    connection.execute(sql, &[&cameras, &begins, &ids]).await?;
    forget_strays(connection, rows.iter().map(|row| day_of(row.begin.0.as_micros()))).await?;
    let mut counts = CountChanges::default();
    for row in rows {
        counts.add(row.counted(), -1);
    }
    counts.store(connection, &NewCounts::default()).await
}
