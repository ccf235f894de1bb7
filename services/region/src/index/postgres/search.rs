//! Newest first, page by page.

use prost::Message;

use super::conditions::Conditions;
use super::failure::Failure;
use super::readers::Snapshot;
use super::walk::Walk;
use crate::index::keys::{Key, MAX_PAGE_BYTES};
use crate::index::{Position, SearchPage, SearchQuery};

/// Rows that one search looks at: about half a second. A page that ends here says where to go on.
const MAX_WORK: usize = 200_000;

/// A page of events.
pub(super) async fn search(snapshot: Snapshot, query: SearchQuery) -> Result<SearchPage, Failure> {
    search_within(&snapshot, &query, MAX_WORK).await
}

pub(super) async fn search_within(
    snapshot: &Snapshot,
    query: &SearchQuery,
    work: usize,
) -> Result<SearchPage, Failure> {
    let nothing = SearchPage { events: Vec::new(), next: None };
    let Some(conditions) = Conditions::new(snapshot, &query.filter).await? else { return Ok(nothing) };
    let newest = conditions.until.map_or(Key::NEWEST, |until| Key::before(until.as_micros()));
    let below = query.after.map_or(newest, |after| newest.min(after.into()));
    let mut walk = Walk::new(snapshot, &conditions, below, query.max_events).await?;
    let (mut events, mut bytes, mut last, mut looked_at) = (Vec::new(), 0, None::<Position>, 0);
    while let Some(found) = walk.next().await? {
        let place = found.key.position();
        if found.matches() && conditions.includes(found.location) {
            if events.len() == query.max_events {
                return Ok(SearchPage { events, next: last });
            }
            let event = found.event(snapshot.connection.index_name())?;
            bytes += event.as_ref().map_or(0, Message::encoded_len);
            if bytes > MAX_PAGE_BYTES && !events.is_empty() {
                return Ok(SearchPage { events, next: last });
            }
            events.extend(event);
            last = Some(place);
        }
        looked_at += 1;
        if looked_at == work {
            return Ok(SearchPage { events, next: Some(place) });
        }
    }
    Ok(SearchPage { events, next: None })
}
