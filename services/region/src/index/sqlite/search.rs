//! Newest first, page by page.

use prost::Message;

use super::budget::{Budget, ROW_COST};
use super::conditions::Conditions;
use super::failure::ReadError;
use super::merge::Candidates;
use super::readers::Snapshot;
use super::row::EventRow;
use crate::index::keys::{Key, MAX_PAGE_BYTES};
use crate::index::{Position, SearchPage, SearchQuery};

/// Work of one search, in index entries: about half a second. A page that ends here says where to go on.
const MAX_WORK: usize = 1_000_000;

/// A page of events.
pub(super) fn search(snapshot: &Snapshot<'_>, query: &SearchQuery) -> Result<SearchPage, ReadError> {
    search_within(snapshot, query, MAX_WORK)
}

fn search_within(snapshot: &Snapshot<'_>, query: &SearchQuery, work: usize) -> Result<SearchPage, ReadError> {
    let nothing = SearchPage { events: Vec::new(), next: None };
    let Some(conditions) = Conditions::new(snapshot.region(), &query.filter)? else { return Ok(nothing) };
    let newest = conditions.until_us.map_or(Key::NEWEST, Key::before);
    let below = query.after.map_or(newest, |after| newest.min(after.into()));
    let mut candidates = Candidates::new(snapshot, &conditions, conditions.from_us, below)?;
    let mut budget = Budget::new(snapshot, work);
    let (rows, next) = matching_rows(&mut candidates, &conditions, query.max_events, &mut budget)?;
    let (mut events, mut bytes) = (Vec::with_capacity(rows.len()), 0);
    for (i, (row, source)) in rows.iter().enumerate() {
        let event = candidates.event(row, *source)?;
        bytes += event.encoded_len();
        if bytes > MAX_PAGE_BYTES && i > 0 {
            return Ok(SearchPage { events, next: Some(rows[i - 1].0.key.position()) });
        }
        events.push(event);
    }
    Ok(SearchPage { events, next })
}

/// A row, and which of the slices it is of.
type FoundRow = (EventRow, usize);

/// The rows of a page with the slices they are of, and where the next one goes on.
fn matching_rows(
    candidates: &mut Candidates<'_>,
    conditions: &Conditions,
    max_events: usize,
    budget: &mut Budget<'_>,
) -> Result<(Vec<FoundRow>, Option<Position>), ReadError> {
    let mut rows: Vec<FoundRow> = Vec::new();
    while let Some((entry, source)) = candidates.next()? {
        let may_match = conditions.may_match(&entry);
        if !budget.spend(if may_match { ROW_COST } else { 1 })? {
            return Ok((rows, Some(position_after(entry.key))));
        }
        if !may_match {
            continue;
        }
        let row = candidates.row(&entry, source)?;
        let Some(row) = row.filter(|row| conditions.matches(row)) else { continue };
        if rows.len() == max_events {
            let next = rows.last().map(|(row, _)| row.key.position());
            return Ok((rows, next));
        }
        candidates.take(source);
        rows.push((row, source));
    }
    Ok((rows, None))
}

/// The place right before `key` in the direction of search, so that the next page looks at it again: its work was not
/// paid for.
fn position_after(key: Key) -> Position {
    let next_id = u128::from_be_bytes(key.id).checked_add(1);
    match next_id {
        Some(id) => Key { id: id.to_be_bytes(), ..key }.position(),
        None => Key::before(key.begin_us.saturating_add(1)).position(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use vigil_base::event::Event;
    use vigil_proto::convert::Filter;

    use super::super::testing::{event, open};
    use super::*;
    use crate::index::{EventWriter, NewRevision};

    #[tokio::test]
    async fn a_search_that_runs_out_of_work_again_and_again_still_finds_all() {
        let temp = tempfile::tempdir().unwrap();
        let index = open(temp.path());
        // One in ten matches; some begin at the same time.
        let events: Vec<Event> = (0..200)
            .map(|i| Event { object_class: if i % 10 == 0 { "car".into() } else { "person".into() }, ..event(i / 3) })
            .collect();
        index.commit(events.iter().map(|e| NewRevision::new(e.clone(), Bytes::new())).collect()).await.unwrap();
        let filter = Filter { classes: vec!["car".into()], ..Filter::default() };
        let (mut found, mut after, mut empty_pages) = (Vec::new(), None, 0);
        loop {
            let query = SearchQuery { filter: filter.clone(), after, max_events: 100 };
            let ask = move |snapshot: &Snapshot<'_>| search_within(snapshot, &query, 8);
            let page = index.readers.run("search", ask).await.unwrap();
            empty_pages += usize::from(page.events.is_empty());
            found.extend(page.events.into_iter().map(|event| event.event_id));
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let mut cars: Vec<&Event> = events.iter().filter(|event| &*event.object_class == "car").collect();
        cars.sort_by_key(|event| std::cmp::Reverse((event.begin_time, event.id)));
        assert_eq!(found, cars.iter().map(|event| event.id.to_string()).collect::<Vec<_>>());
        assert!(empty_pages > 5, "the work was not bounded");
    }

    #[test]
    fn a_page_that_ran_out_of_work_goes_on_with_the_event_it_did_not_look_at() {
        for id in [[0; 16], [7; 16], [0xff; 16]] {
            let key = Key { begin_us: 5, id };
            assert!(key < Key::from(position_after(key)), "the next page starts below its position");
            assert!(Key::from(position_after(key)) <= Key { begin_us: 6, id: [0; 16] });
        }
    }
}
