//! The merge of several regions' newest-first pages into one.
//!
//! A k-way merge by begin time, then id, both descending. It stops where the page is full, or where the next in order is
//! the end of what a region has looked at: what that region gives after it is not known, and taking others' older events
//! first would put them out of order. The caller then asks such regions for more and goes on, or hands out a shorter page.

use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use prost::Message;
use vigil_base::RegionId;
use vigil_proto::v1;

use super::place::{EventKey, Places};

/// Bytes of events in one page. The default limit of gRPC clients is 4 MiB: it leaves room for the longest page token
/// (128 KiB) and for a thousand regions that all tell why they failed (at some 600 bytes).
pub(super) const MAX_PAGE_BYTES: usize = 3 * 1024 * 1024;

/// A region's checked page.
#[derive(Debug, Clone, Default)]
pub(super) struct RegionPage {
    /// Newest first, all after the place that was asked for.
    pub(super) events: Vec<(EventKey, v1::Event)>,
    /// How far the region has looked, at or after the last of the events; none when it has looked at all.
    pub(super) end: Option<EventKey>,
}

#[derive(Debug)]
struct Source {
    region: RegionId,
    /// Where it stood before this page.
    place: Option<EventKey>,
    waiting: VecDeque<(EventKey, v1::Event)>,
    end: Option<EventKey>,
}

/// A page in the making.
#[derive(Debug)]
pub(super) struct Merge {
    sources: Vec<Source>,
    /// Regions that gave nothing this time, and where they stand.
    failed: BTreeMap<RegionId, Option<EventKey>>,
    page: Vec<v1::Event>,
    page_bytes: usize,
    page_size: usize,
    last: Option<EventKey>,
}

impl Merge {
    /// An empty page for at most `page_size` events.
    pub(super) fn new(page_size: usize) -> Self {
        Self { sources: Vec::new(), failed: BTreeMap::new(), page: Vec::new(), page_bytes: 0, page_size, last: None }
    }

    /// Adds a region that stands at `place` and answered with `page`.
    pub(super) fn add(&mut self, region: RegionId, place: Option<EventKey>, page: RegionPage) {
        self.sources.push(Source { region, place, waiting: page.events.into(), end: page.end });
    }

    /// Notes a region that did not answer: it keeps its place.
    pub(super) fn add_failed(&mut self, region: RegionId, place: Option<EventKey>) {
        self.failed.insert(region, place);
    }

    /// Adds what the source of [`Merge::short`] gave when it was asked again.
    pub(super) fn refill(&mut self, source: usize, page: RegionPage) {
        let source = &mut self.sources[source];
        source.waiting.extend(page.events);
        source.end = page.end;
    }

    /// Takes events as long as it is known which is next. Whether the page is complete: full, or nothing is left.
    pub(super) fn advance(&mut self) -> bool {
        let heads = self.sources.iter().enumerate().filter_map(|(i, source)| Some((source.head()?, i)));
        let mut heads: BinaryHeap<_> = heads.collect();
        while self.page.len() < self.page_size {
            let Some((_, newest)) = heads.pop() else { return true };
            let source = &mut self.sources[newest];
            let Some((key, event)) = source.waiting.pop_front() else { return false };
            let bytes = event.encoded_len();
            if self.page_bytes + bytes > MAX_PAGE_BYTES && !self.page.is_empty() {
                source.waiting.push_front((key, event));
                return true;
            }
            heads.extend(source.head().map(|head| (head, newest)));
            self.page_bytes += bytes;
            self.last = Some(key);
            self.page.push(event);
        }
        true
    }

    /// Sources that have more and at most `soon` events waiting, with region and the place from which to ask for more.
    pub(super) fn short(&self, soon: usize) -> Vec<(usize, RegionId, Option<EventKey>)> {
        let all = self.sources.iter().enumerate();
        let short = all.filter(|(_, source)| source.end.is_some() && source.waiting.len() <= soon);
        short.map(|(i, source)| (i, source.region.clone(), source.end)).collect()
    }

    /// Events that still fit the page.
    pub(super) fn room(&self) -> usize {
        self.page_size - self.page.len()
    }

    /// The page and where it leaves each region.
    pub(super) fn finish(self) -> (Vec<v1::Event>, Places) {
        let open = self.sources.iter().filter(|source| source.head().is_some());
        let mut places: BTreeMap<_, _> = open.map(|source| (source.region.clone(), self.place_of(source))).collect();
        places.extend(self.failed);
        (self.page, Places(places))
    }

    /// Every event of a source that is newer than the page's last has been taken, so that is where it stands. Further
    /// down, if it was there already because the page was filled by regions that had failed before; or if it has looked
    /// further, and all that it found has been taken.
    fn place_of(&self, source: &Source) -> Option<EventKey> {
        let looked = source.end.filter(|_| source.waiting.is_empty());
        [source.place, self.last, looked].into_iter().flatten().min()
    }
}

impl Source {
    /// What is next in order: an event, or the end of what is known.
    fn head(&self) -> Option<EventKey> {
        self.waiting.front().map(|(key, _)| *key).or(self.end)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;
    use vigil_base::Timestamp;
    use vigil_proto::convert::time_to_wire;

    use super::*;

    fn key(second: i64) -> EventKey {
        EventKey { begin_time: Timestamp::from_micros(second * 1_000_000), id: Uuid::from_u128(1) }
    }

    fn event(second: i64) -> (EventKey, v1::Event) {
        let key = key(second);
        let wire = v1::Event {
            event_id: key.id.to_string(),
            begin_time: Some(time_to_wire(key.begin_time)),
            ..v1::Event::default()
        };
        (key, wire)
    }

    fn page(seconds: &[i64], end: Option<i64>) -> RegionPage {
        RegionPage { events: seconds.iter().map(|s| event(*s)).collect(), end: end.map(key) }
    }

    fn region(name: &str) -> RegionId {
        RegionId::new(name).unwrap()
    }

    fn seconds(events: &[v1::Event]) -> Vec<i64> {
        events.iter().map(|event| event.begin_time.unwrap().seconds).collect()
    }

    #[test]
    fn newest_first_over_regions() {
        let mut merge = Merge::new(10);
        merge.add(region("a"), None, page(&[9, 5, 1], None));
        merge.add(region("b"), None, page(&[8, 6], None));
        assert!(merge.advance());
        let (events, places) = merge.finish();
        assert_eq!(seconds(&events), [9, 8, 6, 5, 1]);
        assert!(places.0.is_empty());
    }

    #[test]
    fn the_end_of_what_a_region_has_looked_at_stops_the_merge_until_it_is_refilled() {
        let mut merge = Merge::new(4);
        merge.add(region("a"), None, page(&[9], Some(7)));
        merge.add(region("b"), None, page(&[8, 2, 1], None));
        assert!(!merge.advance());
        assert_eq!(merge.room(), 2, "8 is before the end of a, 2 is after it");
        assert_eq!(merge.short(0), [(0, region("a"), Some(key(7)))]);
        merge.refill(0, page(&[6], None));
        assert!(merge.advance());
        assert_eq!(seconds(&merge.finish().0), [9, 8, 6, 2]);
    }

    #[test]
    fn a_region_that_found_nothing_yet_moves_on_to_where_it_has_looked() {
        let mut merge = Merge::new(4);
        merge.add(region("a"), None, page(&[], Some(5)));
        merge.add(region("b"), None, page(&[4], None));
        assert!(!merge.advance());
        let (events, places) = merge.finish();
        assert!(events.is_empty());
        assert_eq!(places.0, BTreeMap::from([(region("a"), Some(key(5))), (region("b"), None)]));
    }

    #[test]
    fn a_region_that_was_ahead_keeps_its_own_place() {
        // On the first page "late" failed; "early" is down to second 5 by now.
        let mut merge = Merge::new(2);
        merge.add(region("early"), Some(key(5)), page(&[4, 3], Some(3)));
        merge.add(region("late"), None, page(&[9, 8, 7], None));
        assert!(merge.advance());
        let (events, places) = merge.finish();
        assert_eq!(seconds(&events), [9, 8]);
        assert_eq!(places.0, BTreeMap::from([(region("early"), Some(key(5))), (region("late"), Some(key(8)))]));
    }

    #[test]
    fn a_failed_region_keeps_its_place_and_the_page_goes_on_without_it() {
        let mut merge = Merge::new(10);
        merge.add(region("a"), None, page(&[9], None));
        merge.add_failed(region("b"), None);
        assert!(merge.advance());
        let (events, places) = merge.finish();
        assert_eq!(seconds(&events), [9]);
        assert_eq!(places.0, BTreeMap::from([(region("b"), None)]));
    }

    #[test]
    fn a_page_of_large_events_ends_before_a_clients_message_limit() {
        let large = |second| {
            let (key, wire) = event(second);
            (key, v1::Event { object_class: "x".repeat(1_000_000), ..wire })
        };
        let mut merge = Merge::new(10);
        let events = [9, 8, 7, 6, 5].into_iter().map(large).collect();
        merge.add(region("a"), None, RegionPage { events, end: None });
        assert!(merge.advance());
        let (events, places) = merge.finish();
        assert_eq!(seconds(&events), [9, 8, 7]);
        assert_eq!(places.0, BTreeMap::from([(region("a"), Some(key(7)))]));
    }
}
