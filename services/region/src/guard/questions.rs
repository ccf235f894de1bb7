//! Questions about events, as far as a pass goes.
//!
//! A search or count goes to the index once for each part of the pass ([`vigil_policy::Part`]): with its cameras, kinds and times
//! beside those that were asked for. Most policies make one part. Whatever comes out is cleared event by event all the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use vigil_base::{EventId, Timestamp};
use vigil_policy::{Grant, Grants, Part, Scope, Share};
use vigil_proto::convert::{CoverageQuestion, CoverageSums, Filter, time_from_wire};
use vigil_proto::v1;

use super::clearing::{cleared_event, kind_of};
use super::{Guard, Pass};
use crate::index::{
    CommitSeq, CountGroup, CountQuery, Counts, FeedItem, FeedPage, GroupKey, Position, Result, SearchPage, SearchQuery,
};

/// What became of a question for one thing.
#[derive(Debug)]
pub(crate) enum Found<T> {
    /// Here it is, as far as it is given.
    Given(T),
    /// It is there, and withheld.
    Withheld,
    /// It is not there.
    Missing,
}

/// What a filter needs to be granted beside the events: else it would tell what is withheld. A condition that is added to
/// filters does not compile until it is decided here what it needs.
pub(super) fn needs(filter: &Filter) -> Grants {
    let Filter {
        from: _,
        until: _,
        regions: _,
        cameras: _,
        edges: _,
        classes: _,
        kinds: _,
        colours,
        area,
        min_confidence: _,
        plate,
        rules: _,
        zones: _,
    } = filter;
    let conditions =
        [(Grant::Appearance, !colours.is_empty()), (Grant::Position, area.is_some()), (Grant::Plates, plate.is_some())];
    conditions.into_iter().filter_map(|(grant, is_asked)| is_asked.then_some(grant)).collect()
}

impl Guard {
    /// The filters with which the index is asked, one after the other, for what this filter asks for and the pass gives by `access`.
    /// No event matches two of them. `extra` is what the question needs beside what its filter does. What comes out still goes
    /// through [`Pass::cleared`].
    pub(crate) fn parts(pass: &Pass, access: Grant, extra: Grants, filter: &Filter) -> Vec<Filter> {
        let Some(scope) = pass.restricted() else { return vec![filter.clone()] };
        narrowed(filter, &scope.share(access, needs(filter).or(extra), &filter.cameras), pass.now)
    }

    /// Events of the past that match, newest first.
    pub(crate) async fn search(&self, pass: &Pass, query: SearchQuery) -> Result<SearchPage> {
        if pass.restricted().is_none() {
            return self.index.search(query).await;
        }
        let mut pages = Vec::new();
        for filter in Self::parts(pass, Grant::Events, Grants::NONE, &query.filter) {
            pages.push(self.index.search(SearchQuery { filter, ..query.clone() }).await?);
        }
        let page = merged(pages, query.after, query.max_events);
        let needs = needs(&query.filter);
        let clear = |event| pass.cleared(Grant::Events, needs, event);
        Ok(SearchPage { events: page.events.into_iter().filter_map(clear).collect(), next: page.next })
    }

    /// How many events match, by group.
    pub(crate) async fn count(&self, pass: &Pass, query: CountQuery) -> Result<Counts> {
        let mut parts = Vec::new();
        for filter in Self::parts(pass, Grant::Counts, Grants::NONE, &query.filter) {
            parts.push(self.index.count(CountQuery { filter, ..query.clone() }).await?);
        }
        Ok(added_up(parts, &query.group_by, query.max_groups))
    }

    /// One event.
    pub(crate) async fn event(&self, pass: &Pass, id: EventId) -> Result<Found<v1::Event>> {
        let Some(event) = self.index.event(id).await? else { return Ok(Found::Missing) };
        Ok(pass.cleared(Grant::Events, Grants::NONE, event).map_or(Found::Withheld, Found::Given))
    }

    /// The JPEG of an event's best moment: for who may be given the event, by search or live, and thumbnails of its camera.
    pub(crate) async fn thumbnail(&self, pass: &Pass, id: EventId) -> Result<Found<Bytes>> {
        if let Some(scope) = pass.restricted() {
            let Some(event) = self.index.event(id).await? else { return Ok(Found::Missing) };
            let needs = Grants::NONE.with(Grant::Thumbnails);
            let given = [Grant::Events, Grant::Live];
            if !given.into_iter().any(|access| is_given(scope, access, needs, &event, pass.now)) {
                return Ok(Found::Withheld);
            }
        }
        Ok(self.index.thumbnail(id).await?.map_or(Found::Missing, Found::Given))
    }

    /// Matching events in commit order. Those that are withheld are passed over.
    pub(crate) async fn read(
        &self,
        pass: &Pass,
        after: CommitSeq,
        filter: Arc<Filter>,
        max_events: usize,
    ) -> Result<FeedPage> {
        let needs = needs(&filter);
        let mut page = self.index.read(after, filter, max_events).await?;
        if pass.restricted().is_some() {
            let clear =
                |FeedItem { seq, event }| pass.cleared(Grant::Live, needs, event).map(|event| FeedItem { seq, event });
            page.items = page.items.into_iter().filter_map(clear).collect();
        }
        Ok(page)
    }

    /// The place in commit order of a moment. It tells nothing of any event.
    pub(crate) async fn seek(&self, since: Timestamp) -> Result<CommitSeq> {
        self.index.seek(since).await
    }

    /// What was watched, of the cameras of which that is given.
    pub(crate) async fn coverage(&self, pass: &Pass, question: CoverageQuestion) -> Result<CoverageSums> {
        let mut sums = self.index.coverage(question).await?;
        if let Some(scope) = pass.restricted() {
            sums.retain(|camera| scope.of_camera(camera).has(Grant::Coverage));
        }
        Ok(sums)
    }
}

impl Pass {
    /// The event as it is given by `access` to a question that needs `needs`; none when it is withheld.
    pub(crate) fn cleared(&self, access: Grant, needs: Grants, event: v1::Event) -> Option<v1::Event> {
        let Some(scope) = self.restricted() else { return Some(event) };
        is_given(scope, access, needs, &event, self.now)
            .then(|| scope.decide(&event.camera_id, &event.edge_id))
            .map(|ruling| cleared_event(event, ruling))
    }
}

fn is_given(scope: &Scope, access: Grant, needs: Grants, event: &v1::Event, now: Timestamp) -> bool {
    let ruling = scope.decide(&event.camera_id, &event.edge_id);
    // An event without an end is none that the index has; the oldest is withheld first.
    let end = event.end_time.and_then(|at| time_from_wire("end_time", at).ok()).unwrap_or(Timestamp::MIN);
    ruling.grants().has_all(needs) && ruling.gives(access, kind_of(event), &event.object_class, end, now)
}

/// The filter within each part; a part in which nothing can match is left out.
fn narrowed(filter: &Filter, share: &Share<'_>, now: Timestamp) -> Vec<Filter> {
    share.parts.iter().filter_map(|part| within(filter, part, now)).collect()
}

fn within(filter: &Filter, part: &Part<'_>, now: Timestamp) -> Option<Filter> {
    let from = part.back.map(|back| now - back).max(filter.from);
    if filter.until.is_some_and(|until| from.is_some_and(|from| until <= from)) {
        return None;
    }
    Some(Filter {
        from,
        cameras: both(&filter.cameras, part.cameras.as_deref())?,
        edges: both(&filter.edges, part.edges.as_deref())?,
        kinds: both(&filter.kinds, part.limit.kinds.as_deref())?,
        classes: both(&filter.classes, part.limit.classes.as_deref())?,
        ..filter.clone()
    })
}

/// What is asked for (nothing named: all) and given (none: all); none where that is nothing.
fn both<T: Clone + PartialEq>(asked: &[T], given: Option<&[T]>) -> Option<Vec<T>> {
    let Some(given) = given else { return Some(asked.to_vec()) };
    if asked.is_empty() {
        return (!given.is_empty()).then(|| given.to_vec());
    }
    let both: Vec<T> = asked.iter().filter(|one| given.contains(one)).cloned().collect();
    (!both.is_empty()).then_some(both)
}

/// The pages of several parts as one, newest first. It ends where the part that looked least far ended.
fn merged(pages: Vec<SearchPage>, after: Option<Position>, max_events: usize) -> SearchPage {
    let ends = pages.iter().filter_map(|page| page.next);
    let mut end = ends.max_by_key(|at| (at.begin_time, at.event_id));
    let mut events: Vec<(Position, v1::Event)> = Vec::new();
    for event in pages.into_iter().flat_map(|page| page.events) {
        // What an engine gives has both; one without is not given.
        let Some(at) = position_of(&event) else { continue };
        events.push((at, event));
    }
    events.sort_by_key(|(at, _)| std::cmp::Reverse((at.begin_time, at.event_id)));
    if let Some(end) = end {
        events.retain(|(at, _)| (at.begin_time, at.event_id) >= (end.begin_time, end.event_id));
    }
    if events.len() > max_events {
        events.truncate(max_events);
        end = events.last().map(|(at, _)| *at);
    }
    let next = end.map(|end| unnamed(end, events.last().map(|(at, _)| *at), after));
    SearchPage { events: events.into_iter().map(|(_, event)| event).collect(), next }
}

/// The place to go on from, without the id of an event that is not on the page: the work was bounded there, and it may be withheld.
/// What lies between is looked at again.
fn unnamed(end: Position, last: Option<Position>, after: Option<Position>) -> Position {
    let place = match last {
        Some(last) if last.begin_time == end.begin_time => last,
        _ => Position { begin_time: end.begin_time + Duration::from_micros(1), event_id: [0; 16] },
    };
    let order = |at: Position| (at.begin_time, at.event_id);
    // More at one moment than one page looks at: by place alone it would never go on.
    if after.is_some_and(|after| order(place) >= order(after)) { end } else { place }
}

fn position_of(event: &v1::Event) -> Option<Position> {
    let begin_time = time_from_wire("begin_time", event.begin_time?).ok()?;
    let id: EventId = event.event_id.parse().ok()?;
    Some(Position { begin_time, event_id: *id.as_bytes() })
}

/// Counts of parts that share no event. Where one was cut short, what comes after its last group is not known.
fn added_up(parts: Vec<Counts>, group_by: &[GroupKey], max_groups: usize) -> Counts {
    type Key = (Option<Timestamp>, Option<String>, Option<String>, Option<String>);
    let key =
        |group: &CountGroup| -> Key { (group.hour, group.class.clone(), group.camera.clone(), group.zone.clone()) };
    let is_single = parts.len() == 1;
    let mut sums: BTreeMap<Key, u64> = BTreeMap::new();
    let mut cut: Vec<CountGroup> = Vec::new();
    for part in parts {
        if is_single {
            return part;
        }
        if part.truncated {
            cut.extend(part.groups.last().cloned());
        }
        for group in part.groups {
            let sum = sums.entry(key(&group)).or_default();
            *sum = sum.saturating_add(group.events);
        }
    }
    let group = |((hour, class, camera, zone), events)| CountGroup { hour, class, camera, zone, events };
    let mut all = Counts::in_order(sums.into_iter().map(group).collect(), group_by, max_groups);
    let first_cut = Counts::in_order(cut, group_by, 1).groups.pop();
    if let Some(last) = first_cut.as_ref().map(key) {
        let end = all.groups.iter().position(|group| key(group) == last);
        all.groups.truncate(end.map_or(all.groups.len(), |at| at + 1));
        all.truncated = true;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(second: i64, id: u8) -> v1::Event {
        let mut bytes = EventId::at(Timestamp::from_micros(second * 1_000_000)).as_bytes().to_owned();
        bytes[15] = id;
        v1::Event {
            event_id: EventId::from_bytes(bytes).unwrap().to_string(),
            begin_time: Some(prost_types::Timestamp { seconds: second, nanos: 0 }),
            ..v1::Event::default()
        }
    }

    fn page(seconds: &[i64], next: Option<i64>) -> SearchPage {
        let events: Vec<_> = seconds.iter().map(|second| event(*second, 7)).collect();
        let next = next.map(|second| position_of(&event(second, 9)).unwrap());
        SearchPage { events, next }
    }

    fn seconds(page: &SearchPage) -> Vec<i64> {
        page.events.iter().map(|event| event.begin_time.unwrap().seconds).collect()
    }

    #[test]
    fn parts_are_merged_as_far_as_all_of_them_looked() {
        let whole = merged(vec![page(&[9, 5], None), page(&[8, 6], None)], None, 10);
        assert_eq!((seconds(&whole), whole.next), (vec![9, 8, 6, 5], None));
        let cut = merged(vec![page(&[9, 5], None), page(&[8], Some(7))], None, 10);
        assert_eq!(seconds(&cut), [9, 8], "5 may not be next: the other part looked down to 7 alone");
        let full = merged(vec![page(&[9, 5], None), page(&[8, 6], None)], None, 3);
        assert_eq!((seconds(&full), full.next.unwrap().begin_time), (vec![9, 8, 6], Timestamp::from_micros(6_000_000)));
    }

    #[test]
    fn a_place_names_no_event_that_is_not_on_the_page() {
        let cut = merged(vec![page(&[9], Some(7))], None, 10);
        assert_eq!(cut.next, Some(Position { begin_time: Timestamp::from_micros(7_000_001), event_id: [0; 16] }));
        let full = merged(vec![page(&[9, 8], None)], None, 1);
        assert_eq!(full.next, position_of(&full.events[0]));
        let stuck = merged(vec![page(&[], Some(7))], cut.next, 10);
        assert!(stuck.next < cut.next && stuck.next.is_some(), "a moment with more than a page looks at is got over");
    }

    #[test]
    fn counts_of_parts_add_up_and_end_where_one_was_cut() {
        let group = |class: &str, events| CountGroup {
            hour: None,
            class: Some(class.into()),
            camera: None,
            zone: None,
            events,
        };
        let part = |groups: &[(&str, u64)], truncated| Counts {
            groups: groups.iter().map(|(class, events)| group(class, *events)).collect(),
            truncated,
        };
        let sum = |parts| added_up(parts, &[GroupKey::Class], 10);
        let whole = sum(vec![part(&[("car", 2), ("person", 1)], false), part(&[("bus", 4), ("car", 3)], false)]);
        assert_eq!(whole, part(&[("bus", 4), ("car", 5), ("person", 1)], false));
        let cut = sum(vec![part(&[("a", 1), ("b", 1)], true), part(&[("b", 1), ("c", 1)], false)]);
        assert_eq!(cut, part(&[("a", 1), ("b", 2)], true));
        assert_eq!(sum(vec![]), part(&[], false));
    }
}
