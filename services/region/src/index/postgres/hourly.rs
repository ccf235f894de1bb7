//! Events counted by the time of their begin, kept in the transaction that stores them.
//!
//! Of each camera by the hour; of all together by the hour and by ten minutes, so that a count that begins or ends within an hour
//! looks at the events of minutes.

use std::collections::BTreeMap;

use super::connect::Connection;
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

/// A row of `hourly`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

impl CountChanges {
    pub(super) fn add(&mut self, counted: Counted, events: i64) {
        let Counted { begin_us, class, kind, zone, .. } = counted;
        for (camera, length_us) in [(counted.camera, HOUR_US), (ALL_CAMERAS, HOUR_US), (ALL_CAMERAS_FINE, FINE_US)] {
            let start_us = begin_us.div_euclid(length_us) * length_us;
            *self.sums.entry(Sum { camera, start_us, class, kind, zone }).or_default() += events;
        }
        self.events += events;
    }

    /// Writes the counts.
    pub(super) async fn store(&self, connection: &Connection) -> Result<(), tokio_postgres::Error> {
        let changed: Vec<_> = self.sums.iter().filter(|(_, events)| **events != 0).collect();
        if changed.is_empty() {
            return Ok(());
        }
        let cameras: Vec<i32> = changed.iter().map(|(key, _)| key.camera).collect();
        let hours: Vec<At> = changed.iter().map(|(key, _)| At::micros(key.start_us)).collect();
        let classes: Vec<i32> = changed.iter().map(|(key, _)| key.class).collect();
        let kinds: Vec<i16> = changed.iter().map(|(key, _)| key.kind).collect();
        let zones: Vec<i32> = changed.iter().map(|(key, _)| key.zone).collect();
        let events: Vec<i64> = changed.iter().map(|(_, events)| **events).collect();
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
}
