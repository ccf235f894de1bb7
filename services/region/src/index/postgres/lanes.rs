//! The lanes of a walk, each an index in time order, read a chunk at a time.
//!
//! Lanes that ran dry are filled together. Where all tables lie on one server, one statement looks each of them up in turn: what
//! a statement over a partition a day costs before it finds a row, it costs once. Where they are spread by camera (Citus), each
//! lane has a statement of its own, all of them in one go over one connection, and each goes to one node.

use std::collections::VecDeque;

use futures::future::try_join_all;
use tokio_postgres::types::ToSql;
use uuid::Uuid;
use vigil_base::Timestamp;

use super::conditions::{Conditions, FIRST_OWN, MATCHES};
use super::readers::Snapshot;
use super::rows::Found;
use super::values::At;
use crate::index::keys::Key;

/// How many rows a lane fetches at a time: twice as many each time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunks {
    first: usize,
    largest: usize,
}

impl Chunks {
    /// Of each of so many lanes, of which a page of so many events is wanted.
    pub(super) fn new(lanes: usize, page: usize) -> Self {
        let lanes = lanes.max(1);
        let largest = (MOST_FETCHED / lanes).clamp(LARGEST.0, LARGEST.1);
        // Of several lanes some have more of the page than others.
        Self { first: (2 * (page + 1) / lanes).clamp(SMALLEST, largest), largest }
    }
}

/// Fewest rows that a lane fetches at a time.
const SMALLEST: usize = 16;
/// Bounds of the most rows that a lane fetches at a time, and about how many all of them fetch together: a few megabytes.
const LARGEST: (usize, usize) = (256, 4_096);
const MOST_FETCHED: usize = 16_384;

/// Which index to walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lane {
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
    /// Events of one span that have not ended when the time begins that is asked for.
    Span(i16),
}

impl Lane {
    /// What of a row the lane fixes, with `value` for what tells it from others of its kind.
    fn condition(&self, value: &str) -> String {
        match self {
            Self::Camera(_) => format!("camera = {value} AND"),
            Self::Time => String::new(),
            Self::Plate => "plate IS NOT NULL AND".to_owned(),
            Self::OfPlate(_) => format!("plate IS NOT NULL AND plate = {value} AND"),
            Self::Rules => "rule IS NOT NULL AND".to_owned(),
            Self::Span(_) => format!("span > 0 AND span = {value} AND end_time >= $1 AND"),
        }
    }

    /// The type of that value; none where there is but one of the kind.
    fn value_type(&self) -> Option<&'static str> {
        match self {
            Self::Camera(_) => Some("int4"),
            Self::OfPlate(_) => Some("text"),
            Self::Span(_) => Some("int2"),
            Self::Time | Self::Plate | Self::Rules => None,
        }
    }

    fn value(&self) -> Option<&(dyn ToSql + Sync)> {
        match self {
            Self::Camera(number) => Some(number),
            Self::OfPlate(plate) => Some(plate),
            Self::Span(span) => Some(span),
            Self::Time | Self::Plate | Self::Rules => None,
        }
    }

    /// A chunk of this lane.
    fn sql(&self) -> String {
        let [low, high, id, limit, value] = [0, 1, 2, 3, 4].map(|own| FIRST_OWN + own);
        let value = self.value_type().map_or(String::new(), |value_type| format!("${value}::{value_type}"));
        format!(
            "SELECT {} FROM events
             WHERE {} begin_time >= ${low} AND begin_time <= ${high} AND (begin_time, event_id) < (${high}, ${id})
             ORDER BY begin_time DESC, event_id DESC LIMIT ${limit}",
            Found::columns(MATCHES),
            self.condition(&value)
        )
    }

    /// A chunk of each of several lanes of this kind, after the columns of each row the lane's place among them, from 1. The
    /// time of all of them leaves out partitions before any is opened.
    fn sql_of_several(&self, value_type: &str) -> String {
        let [values, lows, highs, ids, limits, low, high] = [0, 1, 2, 3, 4, 5, 6].map(|own| FIRST_OWN + own);
        format!(
            "SELECT found.*, lane.place
             FROM unnest(${values}::{value_type}[], ${lows}::timestamptz[], ${highs}::timestamptz[], ${ids}::uuid[],
                         ${limits}::int8[]) WITH ORDINALITY AS lane (value, low, high, id, size, place)
             CROSS JOIN LATERAL (
                 SELECT {} FROM events
                 WHERE {} begin_time >= ${low} AND begin_time <= ${high}
                       AND begin_time >= lane.low AND begin_time <= lane.high
                       AND (begin_time, event_id) < (lane.high, lane.id)
                 ORDER BY begin_time DESC, event_id DESC LIMIT lane.size) AS found",
            Found::columns(MATCHES),
            self.condition("lane.value")
        )
    }
}

/// One lane being walked.
pub(super) struct Source {
    lane: Lane,
    /// Only events that begin at or after this.
    low: Timestamp,
    /// Only events before (older than) this.
    below: Key,
    fetched: VecDeque<Found>,
    chunk: usize,
    largest_chunk: usize,
    is_exhausted: bool,
}

impl Source {
    pub(super) fn new(lane: Lane, low: Timestamp, below: Key, chunks: Chunks) -> Self {
        let Chunks { first: chunk, largest: largest_chunk } = chunks;
        Self { lane, low, below, fetched: VecDeque::new(), chunk, largest_chunk, is_exhausted: false }
    }

    /// Where its newest event that was not taken lies.
    pub(super) fn newest(&self) -> Option<Key> {
        self.fetched.front().map(|found| found.key)
    }

    /// Takes its newest event.
    pub(super) fn take(&mut self) -> Option<Found> {
        self.fetched.pop_front()
    }

    fn is_dry(&self) -> bool {
        self.fetched.is_empty() && !self.is_exhausted
    }

    fn high(&self) -> Timestamp {
        Timestamp::from_micros(self.below.begin_us)
    }

    fn add(&mut self, found: Vec<Found>) {
        self.is_exhausted = found.len() < self.chunk;
        self.chunk = (self.chunk * 2).min(self.largest_chunk);
        self.fetched.extend(found);
        if let Some(last) = self.fetched.back() {
            self.below = last.key;
        }
    }

    async fn fill(&mut self, snapshot: &Snapshot, conditions: &Conditions) -> Result<(), tokio_postgres::Error> {
        let (low, high) = (At(self.low), At(self.high()));
        let (id, limit) = (Uuid::from_bytes(self.below.id), self.chunk as i64);
        let mut parameters = conditions.parameters(&[&low, &high, &id, &limit]);
        parameters.extend(self.lane.value());
        let rows = snapshot.connection.query(&self.lane.sql(), &parameters).await?;
        self.add(rows.iter().map(Found::read).collect());
        Ok(())
    }
}

/// Fetches the next chunk of each source that ran dry. They are of one kind.
pub(super) async fn fill(
    sources: &mut [Source],
    snapshot: &Snapshot,
    conditions: &Conditions,
) -> Result<(), tokio_postgres::Error> {
    let mut dry: Vec<&mut Source> = sources.iter_mut().filter(|source| source.is_dry()).collect();
    let value_type = dry.first().and_then(|source| source.lane.value_type());
    match value_type {
        Some(value_type) if dry.len() > 1 && !snapshot.shared.is_spread() => {
            fill_in_one(&mut dry, value_type, snapshot, conditions).await
        }
        _ => try_join_all(dry.into_iter().map(|source| source.fill(snapshot, conditions))).await.map(drop),
    }
}

/// What tells the lanes of one kind from each other, as an array.
fn values(sources: &[&mut Source]) -> Box<dyn ToSql + Sync + Send> {
    let (mut cameras, mut plates, mut spans) = (Vec::new(), Vec::new(), Vec::new());
    for source in sources {
        match &source.lane {
            Lane::Camera(number) => cameras.push(*number),
            Lane::OfPlate(plate) => plates.push(plate.clone()),
            Lane::Span(span) => spans.push(*span),
            Lane::Time | Lane::Plate | Lane::Rules => {}
        }
    }
    match sources.first().map(|source| &source.lane) {
        Some(Lane::OfPlate(_)) => Box::new(plates),
        Some(Lane::Span(_)) => Box::new(spans),
        _ => Box::new(cameras),
    }
}

async fn fill_in_one(
    dry: &mut [&mut Source],
    value_type: &str,
    snapshot: &Snapshot,
    conditions: &Conditions,
) -> Result<(), tokio_postgres::Error> {
    let mut found: Vec<Vec<Found>> = dry.iter().map(|_| Vec::new()).collect();
    {
        let values = values(dry);
        let lows: Vec<At> = dry.iter().map(|source| At(source.low)).collect();
        let highs: Vec<At> = dry.iter().map(|source| At(source.high())).collect();
        let ids: Vec<Uuid> = dry.iter().map(|source| Uuid::from_bytes(source.below.id)).collect();
        let limits: Vec<i64> = dry.iter().map(|source| source.chunk as i64).collect();
        let (low, high) = (lows.iter().min().copied(), highs.iter().max().copied());
        let parameters = conditions.parameters(&[&*values, &lows, &highs, &ids, &limits, &low, &high]);
        let sql = dry[0].lane.sql_of_several(value_type);
        for row in snapshot.connection.query(&sql, &parameters).await? {
            let place = usize::try_from(row.get::<_, i64>(Found::COLUMN_COUNT)).unwrap_or(0);
            if let Some(of_lane) = place.checked_sub(1).and_then(|place| found.get_mut(place)) {
                of_lane.push(Found::read(&row));
            }
        }
    }
    // A lateral join goes through the lanes one by one, and each gives its rows in order.
    dry.iter_mut().zip(found).for_each(|(source, found)| source.add(found));
    Ok(())
}
