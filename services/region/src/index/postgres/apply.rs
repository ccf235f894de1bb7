//! Writing a group, in a transaction of the writer.
//!
//! What becomes of each revision is decided (`decide`). New events are copied straight into their days; later revisions of
//! events that are there go by a staging table and one INSERT that replaces only what is older. Statements that do not wait for
//! each other's results are sent together: the server goes from one to the next without this program.
//!
//! The keys of plates are noted over the connection beside, while the rows are written, and are there before the transaction
//! ends. They may be there without an event: they say where to look, not what there is. So they need no transaction with the
//! rows, and the server works on two processors. Which counts are new is looked up there, too.

use std::collections::{BTreeSet, HashSet};

use futures::TryFutureExt;
use futures::future::{join, join4};
use vigil_base::Timestamp;

use super::Shared;
use super::connect::Connection;
use super::copy::CopyIn;
use super::days::{self, day_of};
use super::decide::Decided;
use super::extents::Extents;
use super::failure::{Failure, cause, damaged};
use super::hourly::NewCounts;
use super::plates::{self, OfDay};
use super::rows::{COLUMNS, NewRow, TYPES, copy_row};
use super::session::Session;
use super::values::At;
use crate::index::CommitSeq;

/// Makes the staging table of a connection.
pub(super) const MAKE_STAGING: &str = "CREATE TEMP TABLE grown (LIKE events) ON COMMIT DELETE ROWS";

/// What the writer stands on.
pub(super) struct Writing<'w> {
    pub(super) session: &'w Session,
    pub(super) shared: &'w Shared,
    pub(super) extents: &'w mut Extents,
    /// When the newest commit before this was made.
    pub(super) commit_time: Option<Timestamp>,
    pub(super) now: Timestamp,
}

/// Writes a group and commits it; the days that were made for it.
pub(super) async fn store(writing: Writing<'_>, group: &Decided) -> Result<BTreeSet<i64>, Failure> {
    let client = writing.session.writing.client();
    // What is written does not wait for the answer to it.
    let (begun, written) = join(client.batch_execute("BEGIN"), write(writing, group)).await;
    begun?;
    let days = written?;
    client.batch_execute("COMMIT").await?;
    Ok(days)
}

async fn write(writing: Writing<'_>, group: &Decided) -> Result<BTreeSet<i64>, Failure> {
    let Writing { session, shared, extents, commit_time, now } = writing;
    let connection = &*session.writing;
    let begins = group.rows.iter().map(|row| day_of(row.revision.event().begin_time.as_micros()));
    let days = shared.days.missing(begins, now);
    for day in &days {
        days::make(connection, *day).await?;
    }
    group.names.store(connection).await?;
    let places = group.rows.iter().filter_map(|row| Some((row.numbers.camera, row.revision.event().location?)));
    let moved = Moved { from: group.after, to: group.latest, after: commit_time, now };
    // A day that is being made is locked, and nobody else sees it yet.
    let beside = days.is_empty().then_some(&*session.finding);
    let written = join4(
        write_all(connection, beside, group, now),
        note_plates(beside, &group.plates),
        extents.grow(connection, places).map_err(Failure::from),
        note_commit(connection, moved, group.counts.events),
    )
    .await;
    cause([written.0, written.1, written.2, written.3])?;
    Ok(days)
}

/// From one commit to the newest of the next group.
struct Moved {
    from: CommitSeq,
    to: CommitSeq,
    /// When `from` was committed.
    after: Option<Timestamp>,
    now: Timestamp,
}

/// Moves the index to its newest commit, and notes where the clock was set back.
async fn note_commit(connection: &Connection, moved: Moved, more_events: i64) -> Result<(), Failure> {
    let (old, new) = (moved.from.0 as i64, moved.to.0 as i64);
    if let Some(before) = moved.after.filter(|before| moved.now < *before) {
        let sql = "INSERT INTO clock_steps (commit_seq, receive_time) VALUES ($1, $2)";
        connection.execute(sql, &[&old, &At(before)]).await?;
    }
    let sql = "UPDATE index_state SET commit_seq = $1, commit_time = $2, events = events + $3 WHERE commit_seq = $4";
    if connection.execute(sql, &[&new, &At(moved.now), &more_events, &old]).await? == 1 {
        return Ok(());
    }
    Err(damaged(connection.index_name(), std::io::Error::other("another program has written to index_state")))
}

/// Rows and counts, and the plates where no connection beside notes them; one after the other, as copies must be (`CopyIn`).
async fn write_all(
    connection: &Connection,
    beside: Option<&Connection>,
    group: &Decided,
    now: Timestamp,
) -> Result<(), Failure> {
    let new_counts = async {
        match beside {
            Some(beside) => group.counts.find_new(beside).await,
            None => Ok(NewCounts::default()),
        }
    };
    let (rows, new_counts) = join(write_rows(connection, &group.rows, now), new_counts).await;
    rows?;
    group.counts.store(connection, &new_counts?).await?;
    match beside {
        Some(_) => Ok(()),
        None => note_plates(Some(connection), &group.plates).await,
    }
}

async fn note_plates(connection: Option<&Connection>, plates: &HashSet<OfDay>) -> Result<(), Failure> {
    match connection {
        Some(connection) => Ok(plates::note(connection, plates).await?),
        None => Ok(()),
    }
}

async fn write_rows(connection: &Connection, rows: &[NewRow], now: Timestamp) -> Result<(), Failure> {
    if rows.iter().any(|row| row.is_new) {
        copy(connection, "events", rows.iter().filter(|row| row.is_new), now).await?;
    }
    if rows.iter().all(|row| row.is_new) {
        return Ok(());
    }
    let grown = copy(connection, "grown", rows.iter().filter(|row| !row.is_new), now).await?;
    let replaced = connection.execute(&replace_sql(), &[]).await?;
    if grown == replaced {
        return Ok(());
    }
    Err(damaged(connection.index_name(), std::io::Error::other("another program has written to events")))
}

/// Copies rows into a table with the columns of `events`; returns how many.
async fn copy<'r>(
    connection: &Connection,
    table: &str,
    rows: impl Iterator<Item = &'r NewRow>,
    received: Timestamp,
) -> Result<u64, tokio_postgres::Error> {
    let mut copying = CopyIn::begin(connection, table, COLUMNS, &TYPES).await?;
    for row in rows {
        copy_row(&mut copying, row, received).await?;
    }
    copying.finish().await
}

/// A revision without a thumbnail keeps the one that is there.
fn replace_sql() -> String {
    let kept = ["camera", "begin_time", "event_id", "jpeg"];
    let set: Vec<String> = COLUMNS
        .split(", ")
        .filter(|column| !kept.contains(column))
        .map(|column| format!("{column} = excluded.{column}"))
        .collect();
    format!(
        "INSERT INTO events ({COLUMNS}) SELECT {COLUMNS} FROM grown
         ON CONFLICT (camera, begin_time, event_id)
         DO UPDATE SET {}, jpeg = coalesce(excluded.jpeg, events.jpeg)
         WHERE events.revision < excluded.revision",
        set.join(", ")
    )
}
