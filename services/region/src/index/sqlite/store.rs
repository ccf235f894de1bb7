//! Rows of one event in its slice, and the counts they change.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use vigil_base::{Event, Timestamp};

use super::names::{NameCache, NameKind};
use super::plates::note_plate;
use super::row::{EventRow, colours_of, kind_number, span_of};
pub(super) use crate::index::keys::HOUR_US;
use crate::index::{CommitSeq, NewRevision};

/// The camera number under which the sums over all cameras are kept; no camera has it.
pub(super) const ALL_CAMERAS: i64 = 0;
/// Ten minutes, in microseconds: over all cameras, events are counted by them, too.
pub(super) const TEN_US: i64 = HOUR_US / TENS_AN_HOUR;
pub(super) const TENS_AN_HOUR: i64 = 6;
/// The zone number under which events without a zone are counted; no zone has it.
pub(super) const NO_ZONE: i64 = 0;

/// Which counter an event is counted under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HourlyKey {
    pub(super) hour: i64,
    pub(super) camera: i64,
    pub(super) class: i64,
    pub(super) kind: i64,
    /// 0 where it has none.
    pub(super) zone: i64,
}

/// Changes of the counts, summed up over a transaction.
#[derive(Debug, Default)]
pub(super) struct CountChanges {
    hourly: BTreeMap<HourlyKey, i64>,
    /// By ten minutes, class, kind and zone.
    tens: BTreeMap<[i64; 4], i64>,
}

impl CountChanges {
    /// Of events that began at `begin_us`.
    pub(super) fn add(&mut self, key: HourlyKey, begin_us: i64, events: i64) {
        *self.hourly.entry(key).or_default() += events;
        *self.hourly.entry(HourlyKey { camera: ALL_CAMERAS, ..key }).or_default() += events;
        *self.tens.entry([begin_us.div_euclid(TEN_US), key.class, key.kind, key.zone]).or_default() += events;
    }

    pub(super) fn store(self, slice: &Connection) -> rusqlite::Result<()> {
        let add = "INSERT INTO hourly (hour, camera, class, kind, zone, events) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                   ON CONFLICT (hour, camera, class, kind, zone) DO UPDATE SET events = events + excluded.events";
        let clean = "DELETE FROM hourly
                     WHERE hour = ?1 AND camera = ?2 AND class = ?3 AND kind = ?4 AND zone = ?5 AND events <= 0";
        let (mut add, mut clean) = (slice.prepare_cached(add)?, slice.prepare_cached(clean)?);
        for (HourlyKey { hour, camera, class, kind, zone }, events) in self.hourly {
            if events != 0 {
                add.execute(params![hour, camera, class, kind, zone, events])?;
            }
            if events < 0 {
                clean.execute(params![hour, camera, class, kind, zone])?;
            }
        }
        let add = "INSERT INTO tens (ten, class, kind, zone, events) VALUES (?1, ?2, ?3, ?4, ?5)
                   ON CONFLICT (ten, class, kind, zone) DO UPDATE SET events = events + excluded.events";
        let clean = "DELETE FROM tens WHERE ten = ?1 AND class = ?2 AND kind = ?3 AND zone = ?4 AND events <= 0";
        let (mut add, mut clean) = (slice.prepare_cached(add)?, slice.prepare_cached(clean)?);
        for ([ten, class, kind, zone], events) in self.tens {
            if events != 0 {
                add.execute([ten, class, kind, zone, events])?;
            }
            if events < 0 {
                clean.execute([ten, class, kind, zone])?;
            }
        }
        Ok(())
    }
}

/// Rows going into one slice.
pub(super) struct Writing<'w> {
    pub(super) slice: &'w Connection,
    pub(super) counts: &'w mut CountChanges,
    pub(super) now: Timestamp,
}

impl Writing<'_> {
    /// Returns the revision that brought the thumbnail, 0 where there is none.
    pub(super) fn insert(
        &mut self,
        revision: &NewRevision,
        numbers: &Numbers,
        seq: CommitSeq,
    ) -> rusqlite::Result<u32> {
        let sql = "INSERT INTO payloads (event) VALUES (?1)";
        self.slice.prepare_cached(sql)?.execute([&revision.payload[..]])?;
        let row = self.slice.last_insert_rowid();
        self.store_thumbnail(row, revision)?;
        let event = &revision.event;
        let thumbnail_revision = if revision.thumbnail.is_empty() { 0 } else { event.revision };
        let sql = "INSERT INTO events (camera, begin_us, event_id, row, revision, commit_seq, receive_us, end_us, span,
                          kind, class, edge, confidence, colours, latitude, longitude, plate, thumbnail_revision,
                          rule, zone)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)";
        self.slice.prepare_cached(sql)?.execute(params![
            numbers.camera,
            event.begin_time.as_micros(),
            event.id.as_bytes(),
            row,
            event.revision,
            seq.0 as i64,
            self.now.as_micros(),
            event.end_time.as_micros(),
            span_of(length_us(event)),
            kind_number(event.kind()),
            numbers.class,
            numbers.edge,
            f64::from(event.confidence),
            colours_of(event),
            event.location.map(|at| at.latitude),
            event.location.map(|at| at.longitude),
            event.plate.as_ref().map(|plate| &plate.text),
            thumbnail_revision,
            numbers.rule,
            numbers.zone,
        ])?;
        if let Some(plate) = &event.plate {
            note_plate(self.slice, &plate.text)?;
        }
        self.counts.add(hourly_key(event, numbers), event.begin_time.as_micros(), 1);
        Ok(thumbnail_revision)
    }

    /// As [`Self::insert`], over the revision that is `stored`.
    pub(super) fn replace(
        &mut self,
        revision: &NewRevision,
        numbers: &Numbers,
        seq: CommitSeq,
        stored: &EventRow,
    ) -> rusqlite::Result<u32> {
        let sql = "UPDATE payloads SET event = ?2 WHERE row = ?1";
        self.slice.prepare_cached(sql)?.execute(params![stored.row, &revision.payload[..]])?;
        self.store_thumbnail(stored.row, revision)?;
        let event = &revision.event;
        let thumbnail_revision = if revision.thumbnail.is_empty() { stored.thumbnail_revision } else { event.revision };
        let sql =
            "UPDATE events SET revision = ?4, commit_seq = ?5, receive_us = ?6, end_us = ?7, span = ?8, edge = ?9,
                          confidence = ?10, colours = ?11, latitude = ?12, longitude = ?13, thumbnail_revision = ?14
                   WHERE camera = ?1 AND begin_us = ?2 AND event_id = ?3";
        self.slice.prepare_cached(sql)?.execute(params![
            numbers.camera,
            stored.key.begin_us,
            stored.key.id,
            event.revision,
            seq.0 as i64,
            self.now.as_micros(),
            event.end_time.as_micros(),
            span_of(length_us(event)),
            numbers.edge,
            f64::from(event.confidence),
            colours_of(event),
            event.location.map(|at| at.latitude),
            event.location.map(|at| at.longitude),
            thumbnail_revision,
        ])?;
        self.reclassify(event, numbers, stored)?;
        let (before, after) = (row_hourly_key(stored), hourly_key(event, numbers));
        if before != after {
            self.counts.add(before, stored.key.begin_us, -1);
            self.counts.add(after, stored.key.begin_us, 1);
        }
        Ok(thumbnail_revision)
    }

    /// Class, kind, plate, rule and zone are in indexes that most revisions need not touch: SQLite rewrites an index whose columns
    /// are set, changed or not.
    fn reclassify(&self, event: &Event, numbers: &Numbers, stored: &EventRow) -> rusqlite::Result<()> {
        let kind = kind_number(event.kind());
        let plate = event.plate.as_ref().map(|plate| plate.text.as_str());
        let before = (stored.class, stored.kind, stored.plate.as_deref(), stored.rule, stored.zone);
        if before == (numbers.class, kind, plate, numbers.rule, numbers.zone) {
            return Ok(());
        }
        if let Some(plate) = plate {
            note_plate(self.slice, plate)?;
        }
        let sql = "UPDATE events SET class = ?4, kind = ?5, plate = ?6, rule = ?7, zone = ?8
                   WHERE camera = ?1 AND begin_us = ?2 AND event_id = ?3";
        let key = stored.key;
        self.slice.prepare_cached(sql)?.execute(params![
            numbers.camera,
            key.begin_us,
            key.id,
            numbers.class,
            kind,
            plate,
            numbers.rule,
            numbers.zone
        ])?;
        Ok(())
    }

    fn store_thumbnail(&self, row: i64, revision: &NewRevision) -> rusqlite::Result<()> {
        if revision.thumbnail.is_empty() {
            return Ok(());
        }
        let sql = "INSERT OR REPLACE INTO thumbnails (row, jpeg) VALUES (?1, ?2)";
        self.slice.prepare_cached(sql)?.execute(params![row, &revision.thumbnail[..]])?;
        Ok(())
    }
}

/// The numbers of an event's names.
pub(super) struct Numbers {
    pub(super) camera: i64,
    pub(super) edge: i64,
    pub(super) class: i64,
    pub(super) rule: Option<i64>,
    pub(super) zone: Option<i64>,
}

impl Numbers {
    pub(super) fn of(names: &mut NameCache, connection: &Connection, event: &Event) -> rusqlite::Result<Self> {
        let finding = event.finding.as_ref();
        let rule = finding.map(|finding| names.number(connection, NameKind::Rule, finding.rule.as_str()));
        let zone = finding.and_then(|finding| finding.zone.as_ref());
        let zone = zone.map(|zone| names.number(connection, NameKind::Zone, zone.as_str()));
        Ok(Self {
            camera: names.number(connection, NameKind::Camera, event.camera.as_str())?,
            edge: names.number(connection, NameKind::Edge, event.edge.as_str())?,
            class: names.number(connection, NameKind::Class, &event.object_class)?,
            rule: rule.transpose()?,
            zone: zone.transpose()?,
        })
    }
}

pub(super) fn length_us(event: &Event) -> i64 {
    event.end_time.as_micros() - event.begin_time.as_micros()
}

fn hourly_key(event: &Event, numbers: &Numbers) -> HourlyKey {
    HourlyKey {
        camera: numbers.camera,
        hour: event.begin_time.as_micros().div_euclid(HOUR_US),
        class: numbers.class,
        kind: kind_number(event.kind()),
        zone: numbers.zone.unwrap_or(NO_ZONE),
    }
}

/// Which counter a stored event is counted under.
pub(super) fn row_hourly_key(row: &EventRow) -> HourlyKey {
    HourlyKey {
        camera: row.camera,
        hour: row.key.begin_us.div_euclid(HOUR_US),
        class: row.class,
        kind: row.kind,
        zone: row.zone.unwrap_or(NO_ZONE),
    }
}
