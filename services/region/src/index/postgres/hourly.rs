//! Events counted by the time of their begin, kept in the transaction that stores them.
//!
//! Of each camera by the hour; of all together by the hour and by ten minutes, so that a count that begins or ends within an hour
//! looks at the events of minutes.
//!
//! There is only one writer, and so what the table has no row for is known while the group's events are still being written: it is
//! copied in, which takes the server a third of what putting in each row takes that may be there or not.

use std::collections::{BTreeMap, HashSet};

use tokio_postgres::types::Type;

use super::connect::Connection;
use super::copy::CopyIn;
use super::values::At;
use crate::index::keys::HOUR_US;

/// The camera number under which the sums over all cameras are kept; no camera has it.
pub(super) const ALL_CAMERAS: i32 = 0;
/// The camera number under which those of [`FINE_US`] are kept; no camera has it.
pub(super) const ALL_CAMERAS_FINE: i32 = -1;
/// Ten minutes: a few more rows an hour, whatever the number of cameras.
pub(super) const FINE_US: i64 = HOUR_US / 6;
/// The zone number under which events without a zone are counted; no zone has it.
pub(super) const NO_ZONE: i32 = 0;

/// Under what an event is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) camera: i32,
    pub(super) begin_us: i64,
    pub(super) class: i32,
    pub(super) kind: i16,
    /// 0 where it has none.
    pub(super) zone: i32,
}

/// The columns of `hourly`, in the order of [`TYPES`].
const COLUMNS: &str = "camera, hour, class, kind, zone, events";
const TYPES: [Type; 6] = [Type::INT4, Type::TIMESTAMPTZ, Type::INT4, Type::INT2, Type::INT4, Type::INT8];

/// A row of `hourly`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Sum {
    camera: i32,
    start_us: i64,
    class: i32,
    kind: i16,
    zone: i32,
}

/// Changes of the counts, summed up over a transaction.
#[derive(Debug, Default)]
pub(super) struct CountChanges {
    sums: BTreeMap<Sum, i64>,
    pub(super) events: i64,
}

/// Counts of which the table has no row.
#[derive(Debug, Default)]
pub(super) struct NewCounts(HashSet<Sum>);

impl CountChanges {
    pub(super) fn add(&mut self, counted: Counted, events: i64) {
        let Counted { begin_us, class, kind, zone, .. } = counted;
        for (camera, length_us) in [(counted.camera, HOUR_US), (ALL_CAMERAS, HOUR_US), (ALL_CAMERAS_FINE, FINE_US)] {
            let start_us = begin_us.div_euclid(length_us) * length_us;
            *self.sums.entry(Sum { camera, start_us, class, kind, zone }).or_default() += events;
        }
        self.events += events;
    }

    /// Looks up for which of the counts that grow the table has no row.
    pub(super) async fn find_new(&self, connection: &Connection) -> Result<NewCounts, tokio_postgres::Error> {
        let grown: Vec<Sum> = self.sums.iter().filter(|(_, events)| **events > 0).map(|(sum, _)| *sum).collect();
        let times = || grown.iter().map(|sum| sum.start_us);
        let (Some(first), Some(last)) = (times().min(), times().max()) else { return Ok(NewCounts::default()) };
        let Keys { cameras, hours, classes, kinds, zones } = Keys::of(&grown);
        // A value, not a join: each is looked up in the index, whatever the server thinks it knows of the table.
        let sql = "SELECT (SELECT true FROM hourly h
                       WHERE h.camera = s.camera AND h.hour = s.hour AND h.class = s.class AND h.kind = s.kind
                             AND h.zone = s.zone AND h.hour >= $6 AND h.hour <= $7)
                   FROM unnest($1::int4[], $2::timestamptz[], $3::int4[], $4::int2[], $5::int4[])
                       WITH ORDINALITY AS s (camera, hour, class, kind, zone, number)
                   ORDER BY number";
        let (first, last) = (At::micros(first), At::micros(last));
        let rows = connection.query(sql, &[&cameras, &hours, &classes, &kinds, &zones, &first, &last]).await?;
        let is_new = rows.iter().map(|row| row.get::<_, Option<bool>>(0).is_none());
        Ok(NewCounts(grown.into_iter().zip(is_new).filter_map(|(sum, is_new)| is_new.then_some(sum)).collect()))
    }

    /// Writes the counts. Those that are not known to be new may be.
    pub(super) async fn store(&self, connection: &Connection, new: &NewCounts) -> Result<(), tokio_postgres::Error> {
        let changed = self.sums.iter().filter(|(_, events)| **events != 0).map(|(sum, events)| (*sum, *events));
        let (new, others): (Vec<_>, Vec<_>) = changed.partition(|(sum, _)| new.0.contains(sum));
        copy_new(connection, &new).await?;
        change_others(connection, &others).await
    }
}

/// Keys of rows, a column each.
struct Keys {
    cameras: Vec<i32>,
    hours: Vec<At>,
    classes: Vec<i32>,
    kinds: Vec<i16>,
    zones: Vec<i32>,
}

impl Keys {
    fn of<'s>(sums: impl IntoIterator<Item = &'s Sum, IntoIter: Clone>) -> Self {
        let sums = sums.into_iter();
        Self {
            cameras: sums.clone().map(|sum| sum.camera).collect(),
            hours: sums.clone().map(|sum| At::micros(sum.start_us)).collect(),
            classes: sums.clone().map(|sum| sum.class).collect(),
            kinds: sums.clone().map(|sum| sum.kind).collect(),
            zones: sums.map(|sum| sum.zone).collect(),
        }
    }
}

/// Puts in counts that are not there.
async fn copy_new(connection: &Connection, new: &[(Sum, i64)]) -> Result<(), tokio_postgres::Error> {
    if new.is_empty() {
        return Ok(());
    }
    let mut copying = CopyIn::begin(connection, "hourly", COLUMNS, &TYPES).await?;
    for (Sum { camera, start_us, class, kind, zone }, events) in new {
        copying.row(&[camera, &At::micros(*start_us), class, kind, zone, events]).await?;
    }
    copying.finish().await?;
    Ok(())
}

/// Changes counts that are there, or may be; those of which nothing is left go.
async fn change_others(connection: &Connection, others: &[(Sum, i64)]) -> Result<(), tokio_postgres::Error> {
    if others.is_empty() {
        return Ok(());
    }
    let Keys { cameras, hours, classes, kinds, zones } = Keys::of(others.iter().map(|(sum, _)| sum));
    let events: Vec<i64> = others.iter().map(|(_, events)| *events).collect();
    let sql = "INSERT INTO hourly (camera, hour, class, kind, zone, events)
               SELECT * FROM unnest($1::int4[], $2::timestamptz[], $3::int4[], $4::int2[], $5::int4[], $6::int8[])
               ON CONFLICT (camera, hour, class, kind, zone) DO UPDATE SET events = hourly.events + excluded.events";
    connection.execute(sql, &[&cameras, &hours, &classes, &kinds, &zones, &events]).await?;
    if events.iter().any(|events| *events < 0) {
        let clean = "DELETE FROM hourly h USING unnest($1::int4[], $2::timestamptz[]) AS changed (camera, hour)
                     WHERE h.camera = changed.camera AND h.hour = changed.hour AND h.events <= 0";
        connection.execute(clean, &[&cameras, &hours]).await?;
    }
    Ok(())
}
