//! Walking back in time over an index of `events`, or several at once, a chunk at a time.
//!
//! A lane is one index in time order: one camera's events, all events, those with a plate, those of rules. Lanes are read in
//! chunks by plain statements, those of several cameras in one go over one connection, and merged here: the newest hundred
//! events of twenty cameras cost some hundred rows, however many lie between them, and each statement goes to one node where
//! the tables are spread. The days are walked in growing stretches, so that a page that fills soon opens one or two partitions.
//! When the walk has come to the start of the search, the events that began before it and are long enough to touch it follow,
//! by their span.

use std::collections::VecDeque;

use futures::future::try_join_all;
use uuid::Uuid;
use vigil_base::Timestamp;

use super::conditions::{Conditions, FIRST_OWN, MATCHES};
use super::plates::few_plates;
use super::readers::Snapshot;
use super::rows::Found;
use super::values::At;
use crate::index::keys::{FIRST_SPAN_US, Key, LAST_SPAN, longest_of_span};

/// Up to this many cameras are walked one by one and merged, however few events they have: a statement each.
const ALWAYS_MERGED: usize = 64;
/// More cameras are merged only when they are less than one in this many of all: else walking over all events, and
/// passing over the others, touches less.
const MERGED_SHARE: usize = 32;
/// Fewest and most rows that a lane fetches at a time.
const SMALLEST_CHUNK: usize = 16;
const LARGEST_CHUNK: usize = 1_024;

/// Which index to walk.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Lane {
    /// One camera's events.
    Camera(i32),
    /// All events.
    Time,
    /// Events with a plate.
    Plate,
    /// Events with this plate.
    OfPlate(String),
    /// Events that rules made.
    Rules,
    /// Events of one span.
    Span(i16),
}

impl Lane {
    /// What of a row the lane fixes; its number is the statement's last parameter.
    fn condition(&self) -> String {
        let number = FIRST_OWN + 4;
        match self {
            Self::Camera(_) => format!("camera = ${number}::int4 AND"),
            Self::Time => String::new(),
            Self::Plate => "plate IS NOT NULL AND".to_owned(),
            Self::OfPlate(_) => format!("plate IS NOT NULL AND plate = ${number}::text AND"),
            Self::Rules => "rule IS NOT NULL AND".to_owned(),
            Self::Span(_) => format!("span > 0 AND span = ${number}::int2 AND"),
        }
    }

    fn sql(&self) -> String {
        let (low, high, id, limit) = (FIRST_OWN, FIRST_OWN + 1, FIRST_OWN + 2, FIRST_OWN + 3);
        format!(
            "SELECT {} FROM events
             WHERE {} begin_time >= ${low} AND begin_time <= ${high} AND (begin_time, event_id) < (${high}, ${id})
             ORDER BY begin_time DESC, event_id DESC LIMIT ${limit}",
            Found::columns(MATCHES),
            self.condition()
        )
    }
}

/// One lane being walked.
struct Source {
    lane: Lane,
    /// Only events that begin at or after this.
    low: Timestamp,
    /// Only events before (older than) this.
    below: Key,
    fetched: VecDeque<Found>,
    chunk: usize,
    exhausted: bool,
}

impl Source {
    fn new(lane: Lane, low: Timestamp, below: Key, chunk: usize) -> Self {
        Self { lane, low, below, fetched: VecDeque::new(), chunk, exhausted: false }
    }

    async fn fetch(&mut self, snapshot: &Snapshot, conditions: &Conditions) -> Result<(), tokio_postgres::Error> {
        let (low, high) = (At::micros(self.low.as_micros()), At::micros(self.below.begin_us));
        let (id, limit) = (Uuid::from_bytes(self.below.id), self.chunk as i64);
        let own: [&(dyn tokio_postgres::types::ToSql + Sync); 4] = [&low, &high, &id, &limit];
        let mut parameters = conditions.parameters(&own);
        match &self.lane {
            Lane::Camera(number) => parameters.push(number),
            Lane::Span(number) => parameters.push(number),
            Lane::OfPlate(plate) => parameters.push(plate),
            Lane::Time | Lane::Plate | Lane::Rules => {}
        }
        let rows = snapshot.connection.query(&self.lane.sql(), &parameters).await?;
        self.exhausted = rows.len() < self.chunk;
        self.fetched.extend(rows.iter().map(Found::read));
        self.chunk = (self.chunk * 2).min(LARGEST_CHUNK);
        if let Some(last) = self.fetched.back() {
            self.below = last.key;
        }
        Ok(())
    }

    fn is_dry(&self) -> bool {
        self.fetched.is_empty() && !self.exhausted
    }
}

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
    chunk: usize,
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
        // Of several lanes some have more of the page than others.
        let chunk = (2 * (page + 1) / lanes.len().max(1)).clamp(SMALLEST_CHUNK, LARGEST_CHUNK);
        let (stretches, from) = if lanes.is_empty() { (Vec::new(), None) } else { (stretches, conditions.from) };
        Ok(Self { snapshot, conditions, lanes, sources: Vec::new(), stretches, below, chunk, from })
    }

    /// The next candidate.
    pub(super) async fn next(&mut self) -> Result<Option<Found>, tokio_postgres::Error> {
        loop {
            let (snapshot, conditions) = (self.snapshot, self.conditions);
            let dry = self.sources.iter_mut().filter(|source| source.is_dry());
            try_join_all(dry.map(|source| source.fetch(snapshot, conditions))).await?;
            let newest = self.sources.iter_mut().filter(|source| !source.fetched.is_empty());
            if let Some(source) = newest.max_by_key(|source| source.fetched.front().map(|found| found.key)) {
                return Ok(source.fetched.pop_front());
            }
            if !self.begin_next() {
                return Ok(None);
            }
        }
    }

    /// Turns to the next stretch, and after the last to the long events; false when all were walked.
    fn begin_next(&mut self) -> bool {
        if let Some(low) = self.stretches.pop() {
            let source = |lane: &Lane| Source::new(lane.clone(), low, self.below, self.chunk);
            self.sources = self.lanes.iter().map(source).collect();
            self.below = self.below.min(Key::before(low.as_micros()));
            return true;
        }
        let Some(from) = self.from.take() else { return false };
        let below = self.below.min(Key::before(before(from, FIRST_SPAN_US).as_micros()));
        let source =
            |span| Source::new(Lane::Span(span as i16), before(from, longest_of_span(span)), below, SMALLEST_CHUNK);
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
