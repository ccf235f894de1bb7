//! Storing revisions inside the writer's transaction.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rusqlite::{Connection, Transaction, params};
use vigil_base::{Event, GeoPoint, Timestamp};

use super::names::{NameCache, NameKind};
use super::row::{EventRow, RowReader, begin_range, colours_of, find_place, kind_number, span_of};
use super::schema::{meta_number, set_meta_number};
use super::seek::note_step;
use super::walk::Key;
use crate::index::tail::Committed;
use crate::index::{CommitSeq, NewRevision, StoreOutcome};

/// One hour, in microseconds.
pub(super) const HOUR_US: i64 = 3_600_000_000;
/// The camera number under which the sums over all cameras are kept; no camera has it.
pub(super) const ALL_CAMERAS: i64 = 0;

/// What the writer keeps between transactions. After an undone one it is cleared.
#[derive(Debug, Default)]
pub(super) struct WriterCache {
    names: NameCache,
    extents: HashMap<i64, Extent>,
}

impl WriterCache {
    pub(super) fn clear(&mut self) {
        self.names.clear();
        self.extents.clear();
    }
}

/// Which counter an event is counted under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HourlyKey {
    pub(super) hour: i64,
    pub(super) camera: i64,
    pub(super) class: i64,
    pub(super) kind: i64,
}

/// Changes of the counts, summed up over a transaction.
#[derive(Debug, Default)]
pub(super) struct CountChanges {
    hourly: BTreeMap<HourlyKey, i64>,
    events: i64,
}

impl CountChanges {
    pub(super) fn add(&mut self, key: HourlyKey, events: i64) {
        *self.hourly.entry(key).or_default() += events;
        *self.hourly.entry(HourlyKey { camera: ALL_CAMERAS, ..key }).or_default() += events;
        self.events += events;
    }

    pub(super) fn store(self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        let add = "INSERT INTO hourly (hour, camera, class, kind, events) VALUES (?1, ?2, ?3, ?4, ?5)
                   ON CONFLICT (hour, camera, class, kind) DO UPDATE SET events = events + excluded.events";
        let clean = "DELETE FROM hourly WHERE hour = ?1 AND camera = ?2 AND class = ?3 AND kind = ?4 AND events <= 0";
        let (mut add, mut clean) = (transaction.prepare_cached(add)?, transaction.prepare_cached(clean)?);
        for (HourlyKey { hour, camera, class, kind }, events) in self.hourly {
            if events != 0 {
                add.execute(params![hour, camera, class, kind, events])?;
            }
            if events < 0 {
                clean.execute(params![hour, camera, class, kind])?;
            }
        }
        let total = meta_number(transaction, "events")?.saturating_add_signed(self.events);
        set_meta_number(transaction, "events", total)
    }
}

/// Revisions going into one transaction.
pub(super) struct Applying<'t> {
    transaction: &'t Transaction<'t>,
    cache: &'t mut WriterCache,
    now: Timestamp,
    latest: CommitSeq,
    counts: CountChanges,
    committed: Vec<Committed>,
}

impl<'t> Applying<'t> {
    /// `latest` is the newest commit so far.
    pub(super) fn new(
        transaction: &'t Transaction<'t>,
        cache: &'t mut WriterCache,
        latest: CommitSeq,
        now: Timestamp,
    ) -> Self {
        Self { transaction, cache, now, latest, counts: CountChanges::default(), committed: Vec::new() }
    }

    /// Stores one revision, or says why not.
    pub(super) fn store(&mut self, revision: &NewRevision) -> rusqlite::Result<StoreOutcome> {
        let numbers = Numbers::of(&mut self.cache.names, self.transaction, &revision.event)?;
        let key = Key { begin_us: revision.event.begin_time.as_micros(), id: *revision.event.id.as_bytes() };
        let seq = CommitSeq(self.latest.0 + 1);
        match find_place(self.transaction, revision.event.id)? {
            None if !id_carries_begin(&revision.event) => {
                return Ok(rejected("its time part is not begin_time in milliseconds"));
            }
            None => self.insert(revision, &numbers, seq)?,
            Some(place) if place != (numbers.camera, key) => {
                return Ok(rejected("is known with another begin_time or camera_id; these never change"));
            }
            Some(_) => {
                let stored = RowReader::new(self.transaction)?.read(numbers.camera, &key)?;
                let stored = stored.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
                if stored.revision >= revision.event.revision {
                    return Ok(StoreOutcome::Duplicate);
                }
                self.replace(revision, &numbers, seq, &stored)?;
            }
        }
        self.grow_extent(numbers.camera, revision.event.location)?;
        self.latest = seq;
        Ok(StoreOutcome::Accepted(seq))
    }

    /// Writes what was summed up; returns the commits, in order.
    pub(super) fn finish(self) -> rusqlite::Result<Vec<Committed>> {
        let Some(first) = self.committed.first() else { return Ok(self.committed) };
        let before = Timestamp::from_micros(meta_number(self.transaction, "commit_us")? as i64);
        if self.now < before {
            note_step(self.transaction, CommitSeq(first.seq.0 - 1), before)?;
        }
        self.counts.store(self.transaction)?;
        set_meta_number(self.transaction, "commit_seq", self.latest.0)?;
        set_meta_number(self.transaction, "commit_us", self.now.as_micros().unsigned_abs())?;
        Ok(self.committed)
    }

    fn insert(&mut self, revision: &NewRevision, numbers: &Numbers, seq: CommitSeq) -> rusqlite::Result<()> {
        let sql = "INSERT INTO payloads (event) VALUES (?1)";
        self.transaction.prepare_cached(sql)?.execute([&revision.payload[..]])?;
        let row = self.transaction.last_insert_rowid();
        self.store_thumbnail(row, revision)?;
        let event = &revision.event;
        let thumbnail_revision = if revision.thumbnail.is_empty() { 0 } else { event.revision };
        let sql = "INSERT INTO events (camera, begin_us, event_id, row, revision, commit_seq, receive_us, end_us, span,
                          kind, class, edge, confidence, colours, latitude, longitude, plate, thumbnail_revision,
                          rule, zone)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)";
        self.transaction.prepare_cached(sql)?.execute(params![
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
        self.counts.add(hourly_key(event, numbers), 1);
        self.committed(event, seq, thumbnail_revision);
        Ok(())
    }

    fn replace(
        &mut self,
        revision: &NewRevision,
        numbers: &Numbers,
        seq: CommitSeq,
        stored: &EventRow,
    ) -> rusqlite::Result<()> {
        let sql = "UPDATE payloads SET event = ?2 WHERE row = ?1";
        self.transaction.prepare_cached(sql)?.execute(params![stored.row, &revision.payload[..]])?;
        self.store_thumbnail(stored.row, revision)?;
        let event = &revision.event;
        let thumbnail_revision = if revision.thumbnail.is_empty() { stored.thumbnail_revision } else { event.revision };
        let sql =
            "UPDATE events SET revision = ?4, commit_seq = ?5, receive_us = ?6, end_us = ?7, span = ?8, edge = ?9,
                          confidence = ?10, colours = ?11, latitude = ?12, longitude = ?13, thumbnail_revision = ?14
                   WHERE camera = ?1 AND begin_us = ?2 AND event_id = ?3";
        self.transaction.prepare_cached(sql)?.execute(params![
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
            self.counts.add(before, -1);
            self.counts.add(after, 1);
        }
        self.committed(event, seq, thumbnail_revision);
        Ok(())
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
        let sql = "UPDATE events SET class = ?4, kind = ?5, plate = ?6, rule = ?7, zone = ?8
                   WHERE camera = ?1 AND begin_us = ?2 AND event_id = ?3";
        let key = stored.key;
        self.transaction.prepare_cached(sql)?.execute(params![
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
        self.transaction.prepare_cached(sql)?.execute(params![row, &revision.thumbnail[..]])?;
        Ok(())
    }

    fn committed(&mut self, event: &Arc<Event>, seq: CommitSeq, thumbnail_revision: u32) {
        let event = Arc::clone(event);
        self.committed.push(Committed { seq, receive_time: self.now, thumbnail_revision, event });
    }

    /// Keeps the rectangle of the camera's events around `location`.
    fn grow_extent(&mut self, camera: i64, location: Option<GeoPoint>) -> rusqlite::Result<()> {
        let Some(at) = location else { return Ok(()) };
        if self.cache.extents.get(&camera).is_some_and(|extent| extent.contains(at)) {
            return Ok(());
        }
        let sql = "INSERT INTO extents (camera, south, west, north, east) VALUES (?1, ?2, ?3, ?2, ?3)
                   ON CONFLICT (camera) DO UPDATE SET
                          south = min(south, excluded.south), west = min(west, excluded.west),
                          north = max(north, excluded.north), east = max(east, excluded.east)
                   RETURNING south, west, north, east";
        let extent =
            self.transaction.prepare_cached(sql)?.query_row(params![camera, at.latitude, at.longitude], |row| {
                Ok(Extent { south: row.get(0)?, west: row.get(1)?, north: row.get(2)?, east: row.get(3)? })
            })?;
        self.cache.extents.insert(camera, extent);
        Ok(())
    }
}

/// WGS 84 degrees.
#[derive(Debug, Clone, Copy)]
struct Extent {
    south: f64,
    west: f64,
    north: f64,
    east: f64,
}

impl Extent {
    fn contains(&self, at: GeoPoint) -> bool {
        (self.south..=self.north).contains(&at.latitude) && (self.west..=self.east).contains(&at.longitude)
    }
}

/// The numbers of an event's names.
struct Numbers {
    camera: i64,
    edge: i64,
    class: i64,
    rule: Option<i64>,
    zone: Option<i64>,
}

impl Numbers {
    fn of(names: &mut NameCache, connection: &Connection, event: &Event) -> rusqlite::Result<Self> {
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

fn rejected(problem: &str) -> StoreOutcome {
    StoreOutcome::Rejected(format!("event.event_id: {problem}"))
}

/// Whether the event's id carries its begin, by which it is looked up.
fn id_carries_begin(event: &Event) -> bool {
    let (first_us, last_us) = begin_range(event.id);
    (first_us..=last_us).contains(&event.begin_time.as_micros())
}

fn length_us(event: &Event) -> i64 {
    event.end_time.as_micros() - event.begin_time.as_micros()
}

fn hourly_key(event: &Event, numbers: &Numbers) -> HourlyKey {
    HourlyKey {
        camera: numbers.camera,
        hour: event.begin_time.as_micros().div_euclid(HOUR_US),
        class: numbers.class,
        kind: kind_number(event.kind()),
    }
}

/// Which counter a stored event is counted under.
pub(super) fn row_hourly_key(row: &EventRow) -> HourlyKey {
    HourlyKey { camera: row.camera, hour: row.key.begin_us.div_euclid(HOUR_US), class: row.class, kind: row.kind }
}
