//! Looking at many events, newest first, a page at a time: memory holds two pages, however many there are.

use vigil_base::Timestamp;
use vigil_proto::convert::{Filter, time_from_wire};
use vigil_proto::v1;

use super::Events;
use crate::index::{IndexError, Position, SearchQuery};

/// Events that are asked for at a time.
const PAGE: usize = 1_000;
/// Pages that may come short, or empty, because the engine bounds its own work: each takes half a second at most.
const SHORT_PAGES: usize = 20;

/// The events that match a filter, newest first, as far as a bound goes.
///
/// A begin never changes, so no event is missed or given twice while others arrive. Pages are not of one moment: an event is as it
/// is when its page is read.
pub(super) struct NewestFirst<'e, E: Events + ?Sized> {
    events: &'e E,
    filter: Filter,
    after: Option<Position>,
    left: usize,
    pages_left: usize,
    /// Events that began at the same moment as the last that was read: whether there are more of it shows on the next page.
    held: Vec<v1::Event>,
    is_done: bool,
    looked_from: Option<Timestamp>,
}

impl<'e, E: Events + ?Sized> NewestFirst<'e, E> {
    /// At most about `most` of them.
    pub(super) fn new(events: &'e E, filter: Filter, most: usize) -> Self {
        let pages_left = most.div_ceil(PAGE) + SHORT_PAGES;
        let (held, is_done) = (Vec::new(), false);
        Self { events, filter, after: None, left: most, pages_left, held, is_done, looked_from: None }
    }

    /// Some more of them; none when there are no more, or the bound was met.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<v1::Event>>, IndexError> {
        if self.is_done {
            return Ok(None);
        }
        let max_events = PAGE.min(self.left);
        let query = SearchQuery { filter: self.filter.clone(), after: self.after, max_events };
        let page = self.events.search(query).await?;
        self.left = self.left.saturating_sub(page.events.len());
        self.pages_left -= 1;
        let mut events = std::mem::take(&mut self.held);
        events.extend(page.events);
        match page.next {
            None => self.is_done = true,
            Some(next) => {
                let is_whole = |event: &v1::Event| begin(event).is_some_and(|begin| begin > next.begin_time);
                self.held = events.split_off(events.partition_point(is_whole));
                self.after = Some(next);
                if self.left == 0 || self.pages_left == 0 {
                    self.is_done = true;
                    self.looked_from = Some(Timestamp::from_micros(next.begin_time.as_micros() + 1));
                }
            }
        }
        Ok(Some(events))
    }

    /// Where the bound was met: all events from this begin on were given, and none before.
    pub(super) fn looked_from(&self) -> Option<Timestamp> {
        self.looked_from
    }
}

fn begin(event: &v1::Event) -> Option<Timestamp> {
    event.begin_time.and_then(|at| time_from_wire("begin_time", at).ok())
}
