//! Walking back in time over an index of `events`, or several at once, a chunk at a time.
//!
//! A lane is one index in time order ([`super::lanes`]): one camera's events, all events, those with a plate, those of rules.
//! Lanes are read in chunks and merged here: the newest hundred events of twenty cameras cost some hundred rows, however many lie
//! between them. The days are walked in growing stretches, so that a page that fills soon opens one or two partitions.
//! When the walk has come to the start of the search, the events that began before it and are long enough to touch it follow,
//! by their span.

use vigil_base::Timestamp;

use super::conditions::Conditions;
use super::lanes::{Chunks, Lane, Source, fill};
use super::plates::few_plates;
use super::readers::Snapshot;
use super::rows::Found;
use crate::index::keys::{FIRST_SPAN_US, Key, LAST_SPAN, longest_of_span};

/// Up to this many cameras are walked one by one and merged, however few events they have: a statement each.
const ALWAYS_MERGED: usize = 64;
/// More cameras are merged only when they are less than one in this many of all: else walking over all events, and
/// passing over the others, touches less.
const MERGED_SHARE: usize = 32;

/// Candidates of a question about [from, until), newest first: all events that begin within it, then those that began
/// before it and may touch it. Holds every event that touches the time, and some that do not.
pub(super) struct Walk<'w> {
    snapshot: &'w Snapshot,
    conditions: &'w Conditions,
    lanes: Vec<Lane>,
    sources: Vec<Source>,
    /// Starts of the stretches that follow, the newest last.
    stretches: Vec<Timestamp>,
    below: Key,
    chunks: Chunks,
    /// Where the time starts, until the long events are being walked.
    from: Option<Timestamp>,
}

impl<'w> Walk<'w> {
    /// Walks below `below` (older than it); a page has about `page` events.
    pub(super) async fn new(
        snapshot: &'w Snapshot,
        conditions: &'w Conditions,
        below: Key,
        page: usize,
    ) -> Result<Self, tokio_postgres::Error> {
        let lanes = lanes(snapshot, conditions).await?;
        let oldest = conditions.from.map_or(Timestamp::MIN, |from| before(from, FIRST_SPAN_US));
        let newest = Timestamp::from_micros(below.begin_us);
        let mut stretches = snapshot.shared.days.stretches(newest, oldest);
        stretches.reverse();
        let chunks = Chunks::new(lanes.len(), page);
        let (stretches, from) = if lanes.is_empty() { (Vec::new(), None) } else { (stretches, conditions.from) };
        Ok(Self { snapshot, conditions, lanes, sources: Vec::new(), stretches, below, chunks, from })
    }

    /// The next candidate.
    pub(super) async fn next(&mut self) -> Result<Option<Found>, tokio_postgres::Error> {
        loop {
            let (snapshot, conditions) = (self.snapshot, self.conditions);
            fill(&mut self.sources, snapshot, conditions).await?;
            if let Some(source) = self.sources.iter_mut().max_by_key(|source| source.newest())
                && let Some(found) = source.take()
            {
                return Ok(Some(found));
            }
            if !self.begin_next() {
                return Ok(None);
            }
        }
    }

    /// Turns to the next stretch, and after the last to the long events; false when all were walked.
    fn begin_next(&mut self) -> bool {
        if let Some(low) = self.stretches.pop() {
            let source = |lane: &Lane| Source::new(lane.clone(), low, self.below, self.chunks);
            self.sources = self.lanes.iter().map(source).collect();
            self.below = self.below.min(Key::before(low.as_micros()));
            return true;
        }
        let Some(from) = self.from.take() else { return false };
        let below = self.below.min(Key::before(before(from, FIRST_SPAN_US).as_micros()));
        let chunks = Chunks::new(LAST_SPAN as usize, 0);
        let source = |span| Source::new(Lane::Span(span as i16), before(from, longest_of_span(span)), below, chunks);
        self.sources = (1..=LAST_SPAN).map(source).collect();
        true
    }
}

/// So much earlier, but not before all time.
pub(super) fn before(time: Timestamp, by_us: i64) -> Timestamp {
    Timestamp::from_micros(time.as_micros().saturating_sub(by_us)).max(Timestamp::MIN)
}

/// The lanes of a question; none where nothing can match.
async fn lanes(snapshot: &Snapshot, conditions: &Conditions) -> Result<Vec<Lane>, tokio_postgres::Error> {
    if let Some(pattern) = &conditions.plate
        && let Some(plates) = few_plates(snapshot, pattern, conditions.until).await?
    {
        return Ok(plates.into_iter().map(Lane::OfPlate).collect());
    }
    if let Some(cameras) = &conditions.cameras
        && (cameras.len() <= ALWAYS_MERGED || cameras.len() * MERGED_SHARE <= camera_count(snapshot).await?)
    {
        return Ok(cameras.iter().map(|camera| Lane::Camera(*camera)).collect());
    }
    Ok(vec![match &conditions.plate {
        Some(_) => Lane::Plate,
        None if conditions.of_rules => Lane::Rules,
        None => Lane::Time,
    }])
}

async fn camera_count(snapshot: &Snapshot) -> Result<usize, tokio_postgres::Error> {
    let sql = "SELECT coalesce(max(number), 0) FROM names WHERE kind = $1";
    let row = snapshot.connection.query_opt(sql, &[&(super::names::NameKind::Camera as i16)]).await?;
    Ok(row.map_or(0, |row| usize::try_from(row.get::<_, i32>(0)).unwrap_or(0)))
}
