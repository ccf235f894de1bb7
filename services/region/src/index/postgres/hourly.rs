//! Events counted by the hour of their begin, kept in the transaction that stores them.

use std::collections::BTreeMap;

use super::connect::Connection;
use super::values::At;
use crate::index::keys::HOUR_US;

/// The camera number under which the sums over all cameras are kept; no camera has it.
pub(super) const ALL_CAMERAS: i32 = 0;
/// The zone number under which events without a zone are counted; no zone has it.
pub(super) const NO_ZONE: i32 = 0;

/// Which counter an event is counted under; `hour` since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HourlyKey {
    pub(super) camera: i32,
    pub(super) hour: i64,
    pub(super) class: i32,
    pub(super) kind: i16,
    /// 0 where it has none.
    pub(super) zone: i32,
}

/// Changes of the counts, summed up over a transaction.
#[derive(Debug, Default)]
pub(super) struct CountChanges {
    hourly: BTreeMap<HourlyKey, i64>,
    pub(super) events: i64,
}

impl CountChanges {
    pub(super) fn add(&mut self, key: HourlyKey, events: i64) {
        *self.hourly.entry(key).or_default() += events;
        *self.hourly.entry(HourlyKey { camera: ALL_CAMERAS, ..key }).or_default() += events;
        self.events += events;
    }

    /// Writes the hourly counts.
    pub(super) async fn store(&self, connection: &Connection) -> Result<(), tokio_postgres::Error> {
        let changed: Vec<_> = self.hourly.iter().filter(|(_, events)| **events != 0).collect();
        if changed.is_empty() {
            return Ok(());
        }
        let cameras: Vec<i32> = changed.iter().map(|(key, _)| key.camera).collect();
        let hours: Vec<At> = changed.iter().map(|(key, _)| At::micros(key.hour * HOUR_US)).collect();
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
