//! Revisions in the order of their commit, and the place in that order that a moment of the region's clock has.
//!
//! Commits are in the order of their receive times for as long as that clock is not set back, so the place is found by
//! halving, over the index of commits. Where the clock was set back, the writer notes a step. Between two steps the order
//! holds: each stretch that may hold the moment is halved by itself, the oldest first.

use std::sync::Arc;

use vigil_base::Timestamp;
use vigil_proto::convert::Filter;

use super::conditions::{Conditions, FIRST_OWN, MATCHES};
use super::failure::Failure;
use super::readers::Snapshot;
use super::rows::Found;
use super::values::At;
use crate::index::{CommitSeq, FeedItem, FeedPage};

/// Rows that one read looks at; a filter that matches few of them moves on page by page.
const MAX_ROWS: usize = 4_096;
/// Stretches that one question looks at. Clocks are slewed, not set: a region has a handful of steps in a year. One with more
/// than this has no clock to go by, and a reader begins where the looking ended.
const MAX_STRETCHES: i64 = 1_024;

/// What the index says of its commits.
struct State {
    latest: CommitSeq,
    purged_through: CommitSeq,
    purged_time: Option<Timestamp>,
}

async fn state(snapshot: &Snapshot) -> Result<State, tokio_postgres::Error> {
    let sql = "SELECT commit_seq, purged_through, purged_time FROM index_state";
    let statement = snapshot.connection.prepare(sql).await?;
    let row = snapshot.connection.client().query_one(&statement, &[]).await?;
    let seq = |column| CommitSeq(row.get::<_, i64>(column).unsigned_abs());
    let purged_time = row.get::<_, Option<At>>(2).map(|at| at.0);
    Ok(State { latest: seq(0), purged_through: seq(1), purged_time })
}

/// The next matching events after `after`.
pub(super) async fn read(
    snapshot: Snapshot,
    after: CommitSeq,
    filter: Arc<Filter>,
    max_events: usize,
) -> Result<FeedPage, Failure> {
    let State { latest, purged_through, .. } = state(&snapshot).await?;
    let conditions = Conditions::new(&snapshot, &filter).await?;
    // A filter that passes over nothing needs no more rows than events.
    let most_rows = if *filter == Filter::default() { max_events.min(MAX_ROWS) } else { MAX_ROWS };
    let found = match &conditions {
        Some(conditions) => rows_after(&snapshot, conditions, after, most_rows).await?,
        None => Vec::new(),
    };
    let (mut items, mut through) = (Vec::new(), after);
    let resumes_at = match found.first() {
        Some(first) => Some(first.receive_time),
        None => first_receive_time(&snapshot, after).await?,
    };
    let reached_end = found.len() < most_rows;
    for row in found {
        if items.len() == max_events {
            return Ok(FeedPage { items, through, purged_through, resumes_at });
        }
        let (seq, is_inside) = (row.commit, conditions.as_ref().is_some_and(|c| c.includes(row.location)));
        if is_inside && let Some(event) = row.event(snapshot.connection.index_name())? {
            items.push(FeedItem { seq, event });
        }
        through = seq;
    }
    if reached_end && (items.len() < max_events || through >= latest) {
        // Commits up to the newest were replaced by later ones or are gone.
        through = through.max(latest);
    }
    Ok(FeedPage { items, through, purged_through, resumes_at })
}

async fn rows_after(
    snapshot: &Snapshot,
    conditions: &Conditions,
    after: CommitSeq,
    most_rows: usize,
) -> Result<Vec<Found>, tokio_postgres::Error> {
    let sql = format!(
        "SELECT {} FROM events WHERE commit_seq > ${FIRST_OWN} ORDER BY commit_seq LIMIT ${}",
        Found::columns(MATCHES),
        FIRST_OWN + 1
    );
    let (after, limit) = (after.0 as i64, most_rows as i64);
    let rows = snapshot.connection.query(&sql, &conditions.parameters(&[&after, &limit])).await?;
    Ok(rows.iter().map(Found::read).collect())
}

async fn first_receive_time(snapshot: &Snapshot, after: CommitSeq) -> Result<Option<Timestamp>, tokio_postgres::Error> {
    let sql = "SELECT receive_time FROM events WHERE commit_seq > $1 ORDER BY commit_seq LIMIT 1";
    let row = snapshot.connection.query_opt(sql, &[&(after.0 as i64)]).await?;
    Ok(row.map(|row| row.get::<_, At>(0).0))
}

/// See [`crate::index::CommitFeed::seek`].
pub(super) async fn seek(snapshot: Snapshot, since: Timestamp) -> Result<CommitSeq, Failure> {
    let state = state(&snapshot).await?;
    let place = place_of(&snapshot, since, state.latest.0 as i64).await?.unsigned_abs();
    if state.purged_through.0 > 0 && state.purged_time.is_some_and(|purged| purged >= since) {
        return Ok(CommitSeq(place.min(state.purged_through.0 - 1)));
    }
    Ok(CommitSeq(place))
}

/// Right before the first commit received from `since` on; the newest commit when there is none.
async fn place_of(snapshot: &Snapshot, since: Timestamp, newest: i64) -> Result<i64, tokio_postgres::Error> {
    let sql = "SELECT commit_seq, receive_time FROM clock_steps ORDER BY commit_seq LIMIT $1";
    let steps = snapshot.connection.query(sql, &[&MAX_STRETCHES]).await?;
    let mut place = 0;
    for step in &steps {
        let (last, newest_time): (i64, At) = (step.get(0), step.get(1));
        if newest_time.0 >= since
            && let Some(found) = halve(snapshot, (place, last), since).await?
        {
            return Ok(found);
        }
        place = last;
    }
    if steps.len() as i64 == MAX_STRETCHES {
        return Ok(place);
    }
    Ok(halve(snapshot, (place, newest), since).await?.unwrap_or(newest))
}

/// Right before the first commit received from `since` on, among those after `low` and up to `high`, which are in the
/// order of their receive times. Numbers may be missing: replaced by later revisions, or removed.
async fn halve(
    snapshot: &Snapshot,
    (mut low, mut high): (i64, i64),
    since: Timestamp,
) -> Result<Option<i64>, tokio_postgres::Error> {
    let sql = "SELECT commit_seq, receive_time FROM events
               WHERE commit_seq > $1 AND commit_seq <= $2 ORDER BY commit_seq LIMIT 1";
    let mut found = None;
    while low < high {
        let middle = low + (high - low) / 2;
        let row = snapshot.connection.query_opt(sql, &[&middle, &high]).await?;
        match row.map(|row| (row.get::<_, i64>(0), row.get::<_, At>(1).0)) {
            Some((seq, received)) if received < since => low = seq,
            Some((seq, _)) => (found, high) = (Some(seq - 1), middle),
            None => high = middle,
        }
    }
    Ok(found)
}
