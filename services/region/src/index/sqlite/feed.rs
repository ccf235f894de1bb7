//! Revisions in the order of their commit.

use rusqlite::params;
use vigil_base::Timestamp;
use vigil_proto::convert::Filter;

use super::ReadError;
use super::conditions::Conditions;
use super::lookup::PayloadReader;
use super::readers::Snapshot;
use super::row::{COLUMNS, EventRow};
use super::schema::meta_number;
use crate::index::{CommitSeq, FeedItem, FeedPage};

/// Rows that one read looks at; a filter that matches few of them moves on page by page.
const MAX_ROWS: usize = 4_096;

/// The next matching events after `after`.
pub(super) fn read(
    snapshot: &Snapshot<'_>,
    after: CommitSeq,
    filter: &Filter,
    max_events: usize,
) -> Result<FeedPage, ReadError> {
    let connection = snapshot.connection();
    let conditions = Conditions::new(connection, filter)?;
    let sql = format!(
        "SELECT {COLUMNS} FROM events INDEXED BY events_by_commit WHERE commit_seq > ?1 ORDER BY commit_seq LIMIT ?2"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![after.0 as i64, MAX_ROWS as i64])?;
    let mut payloads = PayloadReader::new(connection)?;
    let (mut items, mut looked_at, mut through, mut resumes_at) = (Vec::new(), 0, after, None);
    while let Some(row) = rows.next()? {
        let row = EventRow::read(row)?;
        looked_at += 1;
        through = row.commit;
        resumes_at = resumes_at.or(Some(Timestamp::from_micros(row.receive_us)));
        if conditions.as_ref().is_some_and(|conditions| conditions.matches(&row)) {
            items.push(FeedItem { seq: row.commit, event: payloads.event(&row)? });
        }
        if items.len() == max_events {
            break;
        }
    }
    if items.len() < max_events && looked_at < MAX_ROWS {
        // The end was reached: commits up to the newest were replaced by later ones or are gone.
        through = through.max(CommitSeq(meta_number(connection, "commit_seq")?));
    }
    let purged_through = CommitSeq(meta_number(connection, "purged_through")?);
    Ok(FeedPage { items, through, purged_through, resumes_at })
}
